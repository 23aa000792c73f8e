//! What the client and the feeds of one venue share, and the making of them.

use super::ban::Ban;
use super::client::BinanceSpotClient;
use super::config::{BinanceSpotConfig, Endpoints};
use super::http::{Answer, Call, CallError, RestPool};
use super::limits::{Lane, RateLimits, Times};
use super::names::{Names, Resolver, SystemResolver};
use super::sign::Signer;
use super::transport::{Connector, tls_config};
use super::venue_clock::VenueClock;
use super::{VENUE, account_feed::BinanceSpotAccountFeed, market_feed::BinanceSpotMarketFeed};
use crate::binance::spot::classify::VenueError;
use crate::binance::spot::codec::answers;
use crate::binance::spot::session::backoff::ConnectBudget;
use crate::{ExchangeError, Subscription};
use hyper::Method;
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::{Instruments, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;

/// One venue address with its limits, its clock and its keys; makes clients and feeds.
#[derive(Debug)]
pub struct BinanceSpot {
    pub(crate) config: BinanceSpotConfig,
    pub(crate) endpoints: Endpoints,
    pub(crate) clock: Clock,
    pub(crate) ledger: ResourceLedger,
    pub(crate) connector: Arc<Connector>,
    pub(crate) limits: Mutex<RateLimits>,
    ban: Arc<Ban>,
    pub(crate) venue_clock: VenueClock,
    pub(crate) connects: Mutex<ConnectBudget>,
    pub(crate) signer: Option<Signer>,
}

impl BinanceSpot {
    /// Checks the configuration and prepares the keys; connects nowhere.
    pub fn new(config: BinanceSpotConfig, clock: Clock, ledger: ResourceLedger) -> Result<Arc<Self>, ExchangeError> {
        Self::with_resolver(config, clock, ledger, Arc::new(SystemResolver))
    }

    /// As [`Self::new`], with a resolver of one's own.
    pub fn with_resolver(
        config: BinanceSpotConfig,
        clock: Clock,
        ledger: ResourceLedger,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Arc<Self>, ExchangeError> {
        let endpoints = config.endpoints()?;
        let signer = config.credentials.as_ref().map(Signer::new).transpose()?;
        let is_encrypted = [&endpoints.rest, &endpoints.stream, &endpoints.ws_api].iter().any(|one| one.is_tls);
        let tls = is_encrypted.then(|| tls_config(config.extra_roots_pem.as_deref())).transpose()?;
        let ban = Arc::new(Ban::new(&config.rest_url, config.ban_file.clone(), clock.clone())?);
        let names = Names::new(resolver, clock.clone());
        let connector = Connector::new(config.connect_timeout_ms, tls, ledger.clone(), names, ban.clone());
        Ok(Arc::new(Self {
            endpoints,
            connector: Arc::new(connector),
            ban,
            limits: Mutex::new(RateLimits::default()),
            venue_clock: VenueClock::new(clock.clone()),
            connects: Mutex::new(ConnectBudget::new(config.streams.connects_per_5min_max)),
            signer,
            clock,
            ledger,
            config,
        }))
    }

    /// A client of the account; the gateway has one, the escape path another.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> BinanceSpotClient {
        BinanceSpotClient::new(self.clone())
    }

    /// Market data of these instruments.
    #[must_use]
    pub fn market_feed(
        self: &Arc<Self>,
        instruments: Arc<Instruments>,
        subscriptions: Vec<Subscription>,
    ) -> BinanceSpotMarketFeed {
        BinanceSpotMarketFeed::new(self.clone(), instruments, subscriptions)
    }

    /// The account stream. Errors without keys.
    pub fn account_feed(
        self: &Arc<Self>,
        instruments: Arc<Instruments>,
    ) -> Result<BinanceSpotAccountFeed, ExchangeError> {
        self.need_signer()?;
        Ok(BinanceSpotAccountFeed::new(self.clone(), instruments))
    }

    /// The venue's time less ours, and the round trip that it was measured with; unit: nanoseconds.
    #[must_use]
    pub fn clock_offset_ns(&self) -> Option<(i64, u64)> {
        self.venue_clock.offset_ns()
    }

    /// Request weight used in the current minute, and its limit.
    #[must_use]
    pub fn weight_used(&self) -> (u64, u64) {
        self.limits.lock().weight_used()
    }

    pub(crate) fn need_signer(&self) -> Result<&Signer, ExchangeError> {
        self.signer.as_ref().ok_or_else(|| ExchangeError::Credentials {
            venue: VENUE.into(),
            cause: "this needs an API key and a secret; none is configured".into(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.clock.run_ns())
    }

    /// The times that the venue's limits go by.
    fn limit_times(&self) -> Times {
        let venue_ms = self.venue_clock.now().map_or_else(|| self.clock.now_ms(), Timestamp::as_ms);
        Times { mono_ms: self.clock.mono_ns() / 1_000_000, venue_ms }
    }

    pub(crate) fn admit(&self, lane: Lane, weight: u64, orders: u64) -> Result<(), ExchangeError> {
        self.ban.check()?;
        let admitted = self.limits.lock().admit(self.limit_times(), lane, weight, orders);
        admitted.map_err(|retry_after_ms| ExchangeError::RateLimited { venue: VENUE.into(), retry_after_ms })
    }

    pub(crate) fn observe(&self, answer: &Answer) {
        let now = self.limit_times();
        let is_limited = matches!(answer.status, 429 | 418);
        let code = if is_limited { VenueError::read(&answer.body).code } else { None };
        let mut limits = self.limits.lock();
        limits.observe(now, answer.status, code, &answer.limits);
        let held_ms = limits.held_ms(now);
        drop(limits);
        if answer.status == 418 {
            self.ban.begin(held_ms);
        }
        if is_limited {
            tracing::warn!(status = answer.status, code, held_ms, "{VENUE} limits our requests");
        }
    }

    pub(crate) fn pool(self: &Arc<Self>, connections_max: usize) -> RestPool {
        let (connector, endpoint) = (self.connector.clone(), self.endpoints.rest.clone());
        RestPool::new(connector, endpoint, self.clock.clone(), self.config.call_timeout_ms, connections_max)
    }

    /// An unsigned question.
    pub(crate) async fn get(
        &self,
        pool: &RestPool,
        what: &'static str,
        path: &'static str,
        params: Vec<u8>,
        (lane, weight): (Lane, u64),
    ) -> Result<Answer, ExchangeError> {
        self.admit(lane, weight, 0)?;
        let make = || Some(Call { method: Method::GET, path, params, api_key: None });
        let answer = pool.call(lane, make).await.map_err(|error| call_error(what, pool, error))?;
        self.observe(&answer);
        success(what, answer)
    }

    /// Asks the venue's time and measures the offset of its clock.
    pub(crate) async fn measure_clock(&self, pool: &RestPool, lane: Lane) -> Result<Timestamp, ExchangeError> {
        const WHAT: &str = "the server time";
        self.admit(lane, 1, 0)?;
        let mut sent_mono_ns = 0;
        let make = || {
            sent_mono_ns = self.clock.mono_ns();
            Some(Call { method: Method::GET, path: "/api/v3/time", params: Vec::new(), api_key: None })
        };
        let answer = pool.call(lane, make).await.map_err(|error| call_error(WHAT, pool, error))?;
        let answered_mono_ns = self.clock.mono_ns();
        self.observe(&answer);
        let answer = success(WHAT, answer)?;
        let time = answers::server_time(&answer.body).map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
        self.venue_clock.measure(time, sent_mono_ns, answered_mono_ns);
        Ok(time)
    }
}

/// The answer, or the venue's refusal as an error.
pub(crate) fn success(what: &'static str, answer: Answer) -> Result<Answer, ExchangeError> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    if matches!(answer.status, 429 | 418) {
        let retry_after_ms = answer.limits.retry_after_s.unwrap_or(10).saturating_mul(1_000);
        return Err(ExchangeError::RateLimited { venue: VENUE.into(), retry_after_ms });
    }
    let error = VenueError::read(&answer.body);
    Err(ExchangeError::Refused {
        venue: VENUE.into(),
        what: what.into(),
        status: answer.status,
        code: error.code.unwrap_or_default(),
        text: error.text,
    })
}

pub(crate) fn call_error(what: &'static str, pool: &RestPool, error: CallError) -> ExchangeError {
    match error {
        CallError::NotConnected(error) => error,
        CallError::NotMade => ExchangeError::Unreadable {
            venue: VENUE.into(),
            place: what.into(),
            cause: "the request could not be put into words".into(),
            excerpt: String::new(),
        },
        CallError::Closed => ExchangeError::Closed { venue: VENUE.into() },
        CallError::Timeout => {
            ExchangeError::Timeout { venue: VENUE.into(), what: what.into(), after_ms: pool.timeout_ms() }
        }
        CallError::Lost(cause) => ExchangeError::Unreadable {
            venue: VENUE.into(),
            place: what.into(),
            cause: format!("the connection was lost: {cause}"),
            excerpt: String::new(),
        },
    }
}

pub(crate) fn unreadable(what: &'static str, cause: String, body: &[u8]) -> ExchangeError {
    let excerpt = super::classify::excerpt(body);
    ExchangeError::Unreadable { venue: VENUE.into(), place: what.into(), cause, excerpt }
}
