//! Where the venue is, with which keys, and how patient we are.
//!
//! Invariants: unencrypted addresses are accepted on loopback only; every time-out is positive and the receive window is
//! within what the venue allows.

use super::sign::Credentials;
use crate::ExchangeError;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Addresses, keys and deadlines of one account at one venue.
#[derive(Clone, Debug)]
pub struct BinanceSpotConfig {
    /// REST base address: `https://api.binance.com`.
    pub rest_url: String,
    /// Market streams: `wss://stream.binance.com:9443`.
    pub stream_url: String,
    /// WebSocket API: `wss://ws-api.binance.com:443/ws-api/v3`.
    pub ws_api_url: String,
    /// Keys; public data needs none.
    pub credentials: Option<Credentials>,
    /// How long the venue accepts a signed request; unit: milliseconds, at most 60,000.
    pub recv_window_ms: u64,
    /// Longest time to resolve, connect and shake hands; unit: milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time of a whole REST call; unit: milliseconds.
    pub call_timeout_ms: u64,
    /// Most REST connections at once; two more are kept for cancels and queries. Beyond that, calls wait within their deadline.
    pub connections_max: usize,
    /// More root certificates (PEM), for a venue or proxy behind a certificate authority of one's own.
    pub extra_roots_pem: Option<String>,
    /// Levels of a depth snapshot: 100, 500, 1000 or 5000.
    pub snapshot_levels: u32,
    /// What the streams do when something is wrong.
    pub streams: StreamConfig,
    /// Where a ban by the venue is remembered over restarts; `None`: it is not.
    pub ban_file: Option<PathBuf>,
}

/// How stream sessions keep alive and reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Roll over to a new connection after this time, before the venue's 24 hours are up; unit: milliseconds.
    pub lifetime_ms: u64,
    /// Longest time that old and new connection overlap in a roll-over; unit: milliseconds.
    pub overlap_ms: u64,
    /// A connection without a frame for this long is asked with a ping; unit: milliseconds.
    pub ping_after_ms: u64,
    /// A connection without a frame for this long is dead; unit: milliseconds.
    pub dead_after_ms: u64,
    /// A book or top-of-book stream is never called silent before this; unit: milliseconds.
    pub silence_min_ms: u64,
    /// It is called silent after this at the latest; unit: milliseconds.
    pub silence_max_ms: u64,
    /// First pause before a reconnect; it doubles with each failure; unit: milliseconds.
    pub backoff_min_ms: u64,
    /// Longest pause before a reconnect; unit: milliseconds.
    pub backoff_max_ms: u64,
    /// Most connects within five minutes; the venue allows 300 per address.
    pub connects_per_5min_max: u32,
    /// Give up when there was no connection for this long; unit: milliseconds. Zero: never.
    pub outage_max_ms: u64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            lifetime_ms: 23 * 3_600_000,
            overlap_ms: 5_000,
            ping_after_ms: 5_000,
            dead_after_ms: 10_000,
            silence_min_ms: 5_000,
            silence_max_ms: 60_000,
            backoff_min_ms: 100,
            backoff_max_ms: 30_000,
            connects_per_5min_max: 100,
            outage_max_ms: 0,
        }
    }
}

impl BinanceSpotConfig {
    /// The real venue.
    #[must_use]
    pub fn live() -> Self {
        Self::at("https://api.binance.com", "wss://stream.binance.com:9443", "wss://ws-api.binance.com:443/ws-api/v3")
    }

    /// The venue's test network.
    #[must_use]
    pub fn testnet() -> Self {
        Self::at(
            "https://testnet.binance.vision",
            "wss://stream.testnet.binance.vision:9443",
            "wss://ws-api.testnet.binance.vision/ws-api/v3",
        )
    }

    /// A venue on this machine, without encryption.
    #[must_use]
    pub fn loopback(address: SocketAddr) -> Self {
        Self::at(&format!("http://{address}"), &format!("ws://{address}"), &format!("ws://{address}/ws-api/v3"))
    }

    fn at(rest_url: &str, stream_url: &str, ws_api_url: &str) -> Self {
        Self {
            rest_url: rest_url.to_owned(),
            stream_url: stream_url.to_owned(),
            ws_api_url: ws_api_url.to_owned(),
            credentials: None,
            recv_window_ms: 5_000,
            connect_timeout_ms: 3_000,
            call_timeout_ms: 10_000,
            connections_max: 8,
            extra_roots_pem: None,
            snapshot_levels: 1_000,
            streams: StreamConfig::default(),
            ban_file: None,
        }
    }

    /// The same with keys.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Checks everything and takes the addresses apart.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, ExchangeError> {
        let wrong = |cause: String| ExchangeError::Credentials { venue: super::VENUE.into(), cause };
        if self.recv_window_ms == 0 || self.recv_window_ms > 60_000 {
            return Err(wrong(format!("recv_window_ms is {}; Binance takes 1 to 60000", self.recv_window_ms)));
        }
        if self.connect_timeout_ms == 0 || self.call_timeout_ms == 0 || self.connections_max == 0 {
            return Err(wrong("connect_timeout_ms, call_timeout_ms and connections_max must not be zero".to_owned()));
        }
        Ok(Endpoints {
            rest: Endpoint::parse(&self.rest_url, "http")?,
            stream: Endpoint::parse(&self.stream_url, "ws")?,
            ws_api: Endpoint::parse(&self.ws_api_url, "ws")?,
        })
    }
}

/// The three addresses of the venue, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) rest: Endpoint,
    pub(crate) stream: Endpoint,
    pub(crate) ws_api: Endpoint,
}

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// Begins with `/` or is empty.
    pub(crate) path: String,
}

impl Endpoint {
    /// Reads `https://host:port/path`; `plain` is the unencrypted scheme (`http`, `ws`), `plain` + `s` the encrypted one.
    pub(crate) fn parse(url: &str, plain: &str) -> Result<Self, ExchangeError> {
        let wrong = |cause: &str| ExchangeError::Connect {
            venue: super::VENUE.into(),
            address: url.chars().take(120).collect(),
            cause: cause.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("the address has no scheme"))?;
        let is_tls = match scheme.strip_prefix(plain) {
            Some("s") => true,
            Some("") => false,
            _ => return Err(wrong(&format!("the address must begin with {plain}s:// (or {plain}:// on loopback)"))),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(wrong("the address must not hold a user or password"));
        }
        let default_port = if is_tls { 443 } else { 80 };
        let (host, port) = split_port(authority, default_port).ok_or_else(|| wrong("the port is not a number"))?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_'));
        if !is_name {
            return Err(wrong("the host name is empty or has characters that cannot be"));
        }
        let is_loopback = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !is_tls && !is_loopback {
            return Err(wrong("unencrypted addresses are allowed on loopback only"));
        }
        let path = path.trim_end_matches('/').to_owned();
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("the path has characters that cannot be sent"));
        }
        Ok(Self { host: name.to_owned(), port, is_tls, path })
    }

    /// What goes into the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.is_tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

fn split_port(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, port.parse().ok()?)),
        _ => Some((authority, default_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_encrypted_but_on_loopback() {
        for (config, is_tls) in [
            (BinanceSpotConfig::live(), true),
            (BinanceSpotConfig::testnet(), true),
            (BinanceSpotConfig::loopback("127.0.0.1:9000".parse().unwrap()), false),
            (BinanceSpotConfig::loopback("[::1]:9000".parse().unwrap()), false),
        ] {
            let endpoints = config.endpoints().unwrap();
            for endpoint in [&endpoints.rest, &endpoints.stream, &endpoints.ws_api] {
                assert_eq!(endpoint.is_tls, is_tls, "{endpoint:?}");
            }
            assert_eq!(endpoints.ws_api.path, "/ws-api/v3");
        }
        let live = BinanceSpotConfig::live().endpoints().unwrap();
        assert_eq!(
            (live.rest.authority(), live.stream.authority()),
            ("api.binance.com".into(), "stream.binance.com:9443".into())
        );
        let loopback = BinanceSpotConfig::loopback("[::1]:9000".parse().unwrap()).endpoints().unwrap();
        assert_eq!((loopback.rest.host.as_str(), loopback.rest.authority().as_str()), ("::1", "[::1]:9000"));
    }

    #[test]
    fn addresses_that_cannot_be_meant_are_refused_with_the_reason() {
        for (url, reason) in [
            ("http://api.binance.com", "loopback only"),
            ("http://10.0.0.1", "loopback only"),
            ("ws://127.0.0.1", "must begin with"),
            ("ftp://127.0.0.1", "must begin with"),
            ("127.0.0.1:80", "no scheme"),
            ("https://user:pass@host", "user or password"),
            ("https://host:99999", "port"),
            ("https://", "host name"),
            ("https://ho st", "host name"),
        ] {
            let error = Endpoint::parse(url, "http").unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn a_receive_window_the_venue_refuses_is_refused_here() {
        for recv_window_ms in [0, 60_001] {
            let config = BinanceSpotConfig { recv_window_ms, ..BinanceSpotConfig::live() };
            assert!(config.endpoints().unwrap_err().to_string().contains("recv_window_ms"));
        }
    }

    #[test]
    fn x02_debug_of_a_config_shows_no_secret() {
        let config = BinanceSpotConfig::live().with_credentials(Credentials::hmac("canary-a", "canary-b"));
        assert!(!format!("{config:?}").contains("canary"));
    }
}
