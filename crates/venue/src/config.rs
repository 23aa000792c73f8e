//! Settings of the venue. Defaults are Binance spot's own limits and a seeded synthetic market on any free loopback port.
//! A limit of zero means "none".

use crate::error::VenueError;
use keel_model::{Asset, Notional};
use keel_sim::rng::Rng;
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Most accounts of one venue.
pub const ACCOUNTS_MAX: usize = 1_024;

/// Settings of the venue.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// Where to listen: a loopback address, since the venue has no TLS; port 0 takes any free one.
    pub bind: SocketAddr,
    /// Seed of the synthetic market, of latencies and, when [`Self::accounts`] is empty, of the demo accounts' keys.
    pub seed: u64,
    /// Accounts; when empty, two funded demo accounts are made up.
    pub accounts: Vec<AccountConfig>,
    /// The market.
    pub market: MarketSource,
    /// Time added to each answer to a signed request, on top of what the machine needs.
    pub latency: LatencyConfig,
    /// Rate limits and bounds.
    pub limits: VenueLimits,
    /// Maker and taker fee; 0.1 % each by default.
    pub fees: keel_sim::FeeModel,
    /// Where to write down, line by line, what happens to clients' orders and balances; `None`: nowhere. Each line is
    /// written before the clients hear of it, within the venue's lock, so it costs speed: it is for tests and audits.
    pub log: Option<PathBuf>,
}

impl Default for VenueConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            seed: 0,
            accounts: Vec::new(),
            market: MarketSource::Synthetic,
            latency: LatencyConfig::default(),
            limits: VenueLimits::default(),
            fees: keel_sim::FeeModel::default(),
            log: None,
        }
    }
}

impl VenueConfig {
    /// A synthetic market on `port` of the loopback interface.
    #[must_use]
    pub fn synthetic(port: u16, seed: u64) -> Self {
        Self { bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), seed, ..Self::default() }
    }

    /// A recorded session on `port` of the loopback interface.
    #[must_use]
    pub fn replay(port: u16, path: impl Into<PathBuf>, speed: ReplaySpeed) -> Self {
        let market = MarketSource::Replay { path: path.into(), speed, start: ReplayStart::OnFirstSubscriber };
        Self { market, ..Self::synthetic(port, 0) }
    }
}

/// Extra time between a signed request and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyConfig {
    /// Before the request reaches the matching engine.
    pub request: Duration,
    /// Before the answer leaves.
    pub answer: Duration,
    /// At most this much more on each way, uniform, from the seed.
    pub jitter: Duration,
}

/// The market that the venue shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum MarketSource {
    /// Seeded, made up: BTCUSDT from 60,000 and ETHUSDT from 3,000, on the wall clock.
    #[default]
    Synthetic,
    /// No market at all but what accounts do: an empty book, instruments as in the synthetic market. For tests.
    Empty,
    /// A recorded session: one line = receive time in ns, a space, the frame as it came; gzip.
    Replay {
        /// The file.
        path: PathBuf,
        /// How fast.
        speed: ReplaySpeed,
        /// When.
        start: ReplayStart,
    },
}

/// How fast a recording is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReplaySpeed {
    /// As it was.
    #[default]
    Real,
    /// So many times as fast; positive.
    Times(f64),
    /// As fast as the subscribers take it.
    Max,
}

impl std::str::FromStr for ReplaySpeed {
    type Err = VenueError;

    /// `1`, `N` or `max`.
    fn from_str(text: &str) -> Result<Self, VenueError> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        let wrong = || VenueError::Config(format!("speed '{text}' is not 'max' or a number from 0.001 to 1000000"));
        let factor: f64 = text.trim_end_matches(['x', '\u{d7}']).parse().map_err(|_| wrong())?;
        if !(0.001..=1_000_000.0).contains(&factor) {
            return Err(wrong());
        }
        Ok(if (factor - 1.0).abs() < f64::EPSILON { Self::Real } else { Self::Times(factor) })
    }
}

/// When a recording starts to run. What comes before the first book snapshot is applied at once either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayStart {
    /// With the venue.
    AtOnce,
    /// With the first subscription to a market stream, so that nothing is missed.
    #[default]
    OnFirstSubscriber,
}

/// How an account signs.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A shared secret, HMAC-SHA256, hex.
    Hmac(SecretString),
    /// The public half of an Ed25519 key as PEM (`-----BEGIN PUBLIC KEY-----`).
    Ed25519Pem(String),
    /// The public half of an Ed25519 key, raw.
    Ed25519([u8; 32]),
}

/// An account of the venue.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// The key that names it in requests.
    pub api_key: String,
    /// How it signs.
    pub credential: Credential,
    /// What it holds at the start.
    pub balances: Vec<(Asset, Notional)>,
    /// May its key trade? If not, trading requests are refused with -2015.
    pub can_trade: bool,
}

impl AccountConfig {
    /// An account with a shared secret that holds what each account holds by default: 100,000 USDT, 2 BTC, 20 ETH.
    #[must_use]
    pub fn hmac(api_key: impl Into<String>, secret: impl Into<String>) -> Self {
        let credential = Credential::Hmac(SecretString::from(secret.into()));
        Self { api_key: api_key.into(), credential, balances: default_balances(), can_trade: true }
    }

    /// An account with an Ed25519 key in PEM that holds what each account holds by default.
    #[must_use]
    pub fn ed25519_pem(api_key: impl Into<String>, public_key_pem: impl Into<String>) -> Self {
        let credential = Credential::Ed25519Pem(public_key_pem.into());
        Self { api_key: api_key.into(), credential, balances: default_balances(), can_trade: true }
    }

    /// Reads `KEY:SECRET`, as the command line has it.
    ///
    /// # Errors
    /// When there is no colon, or one half is empty.
    pub fn parse(text: &str) -> Result<Self, VenueError> {
        match text.split_once(':') {
            Some((key, secret)) if !key.is_empty() && !secret.is_empty() => Ok(Self::hmac(key, secret)),
            // The text may hold a secret, so it is not repeated.
            _ => Err(VenueError::Config("an account must be KEY:SECRET, both not empty".to_owned())),
        }
    }
}

/// 100,000 USDT, 2 BTC, 20 ETH.
#[must_use]
pub fn default_balances() -> Vec<(Asset, Notional)> {
    [("USDT", 100_000), ("BTC", 2), ("ETH", 20)]
        .into_iter()
        .map(|(asset, amount)| (Asset::truncated(asset), Notional::from_int(amount)))
        .collect()
}

/// An account made up by the venue, with its secret, for whoever started the venue.
#[derive(Clone, Debug)]
pub struct DemoAccount {
    /// Its key.
    pub api_key: String,
    /// Its HMAC secret.
    pub secret: SecretString,
}

impl DemoAccount {
    /// As an account of the venue.
    #[must_use]
    pub fn to_config(&self) -> AccountConfig {
        AccountConfig::hmac(self.api_key.clone(), self.secret.expose_secret())
    }
}

/// Two accounts with keys of Binance's shape, made from the seed: the same seed gives the same keys.
pub(crate) fn demo_accounts(seed: u64) -> Vec<DemoAccount> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rng = Rng::fork(seed, 0x0064_656d_6f6b_6579);
    let mut word = || -> String {
        (0..64).map(|_| char::from(DIGITS.get(rng.below(62) as usize).copied().unwrap_or(b'0'))).collect()
    };
    (0..2).map(|_| DemoAccount { api_key: word(), secret: SecretString::from(word()) }).collect()
}

/// Rate limits and bounds. Zero means "none" for rates; the other bounds must be positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueLimits {
    /// Request weight per minute and address.
    pub request_weight_per_minute: u32,
    /// Requests per five minutes and address.
    pub raw_requests_per_5m: u32,
    /// Unfilled orders per ten seconds and account.
    pub orders_per_10s: u32,
    /// Unfilled orders per day and account.
    pub orders_per_day: u32,
    /// Open orders per account and instrument of the synthetic market; zero means as at Binance.
    pub open_orders_per_instrument: u32,
    /// Refusals with 429 within a minute before the address is banned with 418.
    pub refusals_before_ban: u32,
    /// First ban; it doubles each time, up to three days.
    pub ban: Duration,
    /// WebSocket connections per five minutes and address.
    pub ws_connections_per_5m: u32,
    /// Incoming messages per second on a market stream connection (with a burst of twice that).
    pub ws_messages_per_second: u32,
    /// Streams on one connection.
    pub streams_per_connection: usize,
    /// Frames that may wait for one slow connection; beyond, it is dropped with a reason.
    pub outbound_frames_max: usize,
    /// Open connections of any kind.
    pub connections_max: usize,
    /// Bytes of a request body or of an incoming WebSocket message.
    pub body_bytes_max: usize,
    /// Time until a WebSocket connection is closed (24 hours at Binance).
    pub connection_lifetime: Duration,
    /// Time between pings.
    pub ping_interval: Duration,
    /// Time without a pong until the connection is dropped.
    pub pong_timeout: Duration,
    /// Time until an unused listenKey expires.
    pub listen_key_lifetime: Duration,
    /// Time an idle HTTP connection stays open, and time to send a request's head.
    pub http_idle: Duration,
}

impl Default for VenueLimits {
    fn default() -> Self {
        Self {
            request_weight_per_minute: 6_000,
            raw_requests_per_5m: 61_000,
            orders_per_10s: 100,
            orders_per_day: 200_000,
            open_orders_per_instrument: 0,
            refusals_before_ban: 20,
            ban: Duration::from_secs(120),
            ws_connections_per_5m: 300,
            ws_messages_per_second: 5,
            streams_per_connection: 1_024,
            outbound_frames_max: 8_192,
            connections_max: 4_096,
            body_bytes_max: 64 * 1024,
            connection_lifetime: Duration::from_secs(24 * 3_600),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(60),
            listen_key_lifetime: Duration::from_secs(3_600),
            http_idle: Duration::from_secs(120),
        }
    }
}

impl VenueLimits {
    /// No rate limits at all, for load tests; the bounds on memory stay.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            request_weight_per_minute: 0,
            raw_requests_per_5m: 0,
            orders_per_10s: 0,
            orders_per_day: 0,
            open_orders_per_instrument: 1_000_000,
            ws_connections_per_5m: 0,
            ws_messages_per_second: 0,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), VenueError> {
        let bounds = [
            (self.streams_per_connection, "streams_per_connection"),
            (self.outbound_frames_max, "outbound_frames_max"),
            (self.connections_max, "connections_max"),
            (self.body_bytes_max, "body_bytes_max"),
        ];
        for (value, name) in bounds {
            if value == 0 {
                return Err(VenueError::Config(format!("limit {name} must be positive")));
            }
        }
        let times = [
            (self.connection_lifetime, "connection_lifetime"),
            (self.ping_interval, "ping_interval"),
            (self.pong_timeout, "pong_timeout"),
            (self.http_idle, "http_idle"),
        ];
        for (value, name) in times {
            if value.is_zero() {
                return Err(VenueError::Config(format!("limit {name} must be positive")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_keys_follow_the_seed_and_have_the_venues_shape() {
        let (a, b, c) = (demo_accounts(1), demo_accounts(1), demo_accounts(2));
        assert_eq!(a[0].api_key, b[0].api_key);
        assert_ne!(a[0].api_key, c[0].api_key);
        assert_ne!(a[0].api_key, a[1].api_key);
        assert_eq!((a[0].api_key.len(), a[0].secret.expose_secret().len()), (64, 64));
        assert!(!format!("{:?}", a[0]).contains(a[0].secret.expose_secret()), "secrets are never printed");
    }

    #[test]
    fn speeds_and_accounts_are_read_and_refused() {
        assert_eq!("max".parse::<ReplaySpeed>().unwrap(), ReplaySpeed::Max);
        assert_eq!("1".parse::<ReplaySpeed>().unwrap(), ReplaySpeed::Real);
        assert_eq!("10".parse::<ReplaySpeed>().unwrap(), ReplaySpeed::Times(10.0));
        for wrong in ["0", "-1", "fast", "nan", "inf", ""] {
            assert!(wrong.parse::<ReplaySpeed>().is_err(), "{wrong}");
        }
        assert_eq!(AccountConfig::parse("k:s:t").unwrap().api_key, "k");
        assert!(AccountConfig::parse("nosecret").is_err() && AccountConfig::parse(":s").is_err());
        assert!(VenueLimits { outbound_frames_max: 0, ..VenueLimits::default() }.check().is_err());
    }
}
