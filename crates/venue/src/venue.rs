//! What all connections of a venue share, and the gate that every request passes: rate limits, key, signature, freshness,
//! faults, latency.

use crate::api_error::ApiError;
use crate::auth::{self, ApiKey, Keys};
use crate::config::{LatencyConfig, VenueLimits};
use crate::core::Core;
use crate::faults::{FaultEffect, FaultMoment, FaultState};
use crate::hub::{HubCounters, UserForm};
use crate::json::{Json, TimeUnit};
use crate::limits::Limiter;
use crate::listen_keys::ListenKeys;
use crate::ops::{self, Ctx};
use crate::params::Params;
use crate::routes::{Op, Route, Security};
use crate::stats::{Counters, VenueStats};
use keel_lifecycle::{Clock, ResourceLedger, TaskGroup};
use keel_model::{InstrumentId, Timestamp};
use keel_sim::AccountId;
use keel_sim::rng::Rng;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The venue.
#[derive(Debug)]
pub(crate) struct Venue {
    pub(crate) core: Mutex<Core>,
    pub(crate) limiter: Mutex<Limiter>,
    pub(crate) listen_keys: Mutex<ListenKeys>,
    pub(crate) keys: Keys,
    pub(crate) limits: VenueLimits,
    pub(crate) latency: Mutex<LatencyConfig>,
    pub(crate) faults: FaultState,
    pub(crate) counters: Arc<Counters>,
    pub(crate) hub_counters: Arc<HubCounters>,
    pub(crate) group: TaskGroup,
    pub(crate) ledger: ResourceLedger,
    /// When the venue was started.
    pub(crate) started: Timestamp,
    /// Cancelled with the first subscription to a market stream: a recording may start then.
    pub(crate) subscribed: CancellationToken,
    symbols: HashMap<String, (u32, InstrumentId)>,
    jitter: Mutex<Rng>,
    clock: Clock,
    next_conn: AtomicU64,
}

/// What a venue is built of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) core: Core,
    pub(crate) accounts: usize,
    pub(crate) keys: Keys,
    pub(crate) limits: VenueLimits,
    pub(crate) latency: LatencyConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) group: TaskGroup,
    pub(crate) ledger: ResourceLedger,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
}

/// How a request was signed.
pub(crate) enum Proof<'a> {
    /// On REST: the key from the header, query string and body as they were sent.
    Rest { api_key: Option<&'a str>, query: &'a str, body: &'a str },
    /// On the WebSocket API: the parameters as they were sent.
    Ws { raw: &'a std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>, session: Option<&'a str> },
}

/// A request with its way in.
pub(crate) struct Request<'a> {
    pub(crate) route: &'static Route,
    pub(crate) params: &'a Params,
    pub(crate) proof: Proof<'a>,
    pub(crate) ip: IpAddr,
    pub(crate) unit: TimeUnit,
}

/// What leaves the venue as an answer.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// JSON or a refusal, and whose request it was.
    Answer { answer: Result<String, ApiError>, account: Option<u32> },
    /// A status with any body and perhaps a location.
    Raw { status: u16, body: String, location: Option<String> },
    /// Nothing, ever.
    Hang,
    /// The connection is to be closed.
    Reset,
}

impl Venue {
    /// Puts the parts together.
    pub(crate) fn new(parts: Parts) -> Self {
        let symbols = parts.core.symbols.iter().enumerate();
        let symbols = symbols.map(|(at, symbol)| (symbol.name.clone(), (at as u32, symbol.id))).collect();
        Self {
            core: Mutex::new(parts.core),
            limiter: Mutex::new(Limiter::new(parts.limits.clone(), parts.accounts)),
            listen_keys: Mutex::new(ListenKeys::new(parts.limits.listen_key_lifetime)),
            keys: parts.keys,
            latency: Mutex::new(parts.latency),
            limits: parts.limits,
            faults: FaultState::default(),
            counters: parts.counters,
            hub_counters: Arc::default(),
            group: parts.group,
            ledger: parts.ledger,
            started: Timestamp::from_ns(parts.clock.now_ns()),
            subscribed: CancellationToken::new(),
            symbols,
            jitter: Mutex::new(Rng::fork(parts.seed, 0x6a69_7474_6572)),
            clock: parts.clock,
            next_conn: AtomicU64::new(1),
        }
    }

    /// The venue's time: the wall clock, moved by a fault if one asks for it.
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::from_ns(self.clock.now_ns());
        let offset = Duration::from_millis(self.faults.clock_offset_ms.load(Ordering::Relaxed).unsigned_abs());
        match self.faults.clock_offset_ms.load(Ordering::Relaxed) {
            0 => now,
            ahead if ahead > 0 => now.plus(offset),
            _ => now.minus(offset),
        }
    }

    /// The number of a new connection.
    pub(crate) fn next_conn(&self) -> u64 {
        self.next_conn.fetch_add(1, Ordering::Relaxed)
    }

    /// A symbol's indices by its name.
    pub(crate) fn find_symbol(&self, name: &str) -> Result<(u32, InstrumentId), ApiError> {
        self.symbols.get(name).copied().ok_or_else(ApiError::bad_symbol)
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<'_>) -> Outcome {
        Counters::add(&self.counters.requests);
        let key = match self.admit(&request) {
            Ok(key) => key,
            Err(error) => return Outcome::Answer { answer: Err(error), account: None },
        };
        let account = key.map(|key| key.account.0);
        let met = self.faults.meet(request.route.op);
        let mut is_late = false;
        if let Some((FaultMoment::Before, effect)) = &met {
            match effect {
                FaultEffect::Delay(by) => {
                    tokio::time::sleep(*by).await;
                    is_late = true;
                }
                other => return effect_alone(other, account),
            }
        }
        if key.is_some() {
            is_late |= self.wait(|latency| latency.request).await;
        }
        // Freshness is looked at once more right before the matching engine.
        if is_late
            && request.route.security != Security::Open
            && request.route.security != Security::Key
            && let Err(error) = auth::check_time(request.params, self.now())
        {
            return Outcome::Answer { answer: Err(error), account };
        }
        let ctx = Ctx { venue: self, params: request.params, key, unit: request.unit, now: self.now(), view: None };
        let mut answer = ops::run(request.route.op, ctx);
        if key.is_some() {
            self.wait(|latency| latency.answer).await;
        }
        match met {
            Some((FaultMoment::After, FaultEffect::Delay(by))) => tokio::time::sleep(by).await,
            Some((FaultMoment::After, FaultEffect::Rewrite { from, to })) => {
                answer = answer.map(|body| body.replace(&from, &to));
            }
            Some((FaultMoment::After, effect)) => return effect_alone(&effect, account),
            Some((FaultMoment::Before, _)) | None => {}
        }
        Outcome::Answer { answer, account }
    }

    /// Sleeps for the latency asked for; says whether it did.
    async fn wait(&self, part: impl Fn(&LatencyConfig) -> Duration) -> bool {
        let latency = *self.latency.lock();
        let base = part(&latency);
        let jitter_ns = u64::try_from(latency.jitter.as_nanos()).unwrap_or(u64::MAX);
        let extra = if jitter_ns > 0 { self.jitter.lock().below(jitter_ns) } else { 0 };
        let total = base.saturating_add(Duration::from_nanos(extra));
        if total.is_zero() {
            return false;
        }
        tokio::time::sleep(total).await;
        true
    }

    /// Rate limit, key, freshness, signature, permission.
    pub(crate) fn admit(&self, request: &Request<'_>) -> Result<Option<&ApiKey>, ApiError> {
        let weight = crate::routes::weight(request.route, request.params);
        let now = self.now();
        self.limiter.lock().charge(request.ip, weight, now)?;
        let params = request.params;
        let key = match (&request.proof, request.route.security) {
            (Proof::Ws { .. }, Security::Open) => {
                params.ignore(&["returnRateLimits"]);
                return Ok(None);
            }
            (Proof::Rest { .. }, Security::Open) => return Ok(None),
            (Proof::Rest { api_key, .. }, Security::Key) => return self.keys.find(*api_key).map(Some),
            (Proof::Rest { api_key, query, body }, _) => {
                let key = self.keys.find(*api_key)?;
                auth::check_rest(key, params, query, body, now)?;
                key
            }
            (Proof::Ws { raw, session }, security) => {
                params.ignore(&["apiKey", "returnRateLimits", "signature", "timestamp", "recvWindow"]);
                let sent = params.peek("apiKey");
                let key = self.keys.find(sent.or(*session))?;
                if security == Security::Key {
                    return Ok(Some(key));
                }
                if params.peek("signature").is_none()
                    && session.is_some_and(|session| sent.is_none_or(|s| s == session))
                {
                    auth::check_time(params, now)?;
                } else {
                    auth::check_ws(key, params, raw, now)?;
                }
                key
            }
        };
        params.ignore(&["signature", "timestamp", "recvWindow"]);
        if request.route.security == Security::Trade && !key.can_trade() {
            return Err(ApiError::rejected_key());
        }
        Ok(Some(key))
    }

    /// Ends the streams of a listenKey that is no more.
    pub(crate) fn end_listen_key(&self, key: &str, now: Timestamp) {
        let mut core = self.core.lock();
        let is_it = |form: &UserForm| matches!(form, UserForm::ListenKey(other) if &**other == key);
        let conns: Vec<_> = core.hub.conns().cloned().collect();
        for conn in conns {
            if core.hub.unsubscribe_user(conn.id, is_it) > 0 {
                let event = Json::object(conn.unit, |j| {
                    j.str("e", "listenKeyExpired");
                    j.time("E", now);
                    j.str("listenKey", key);
                });
                core.tell_user(&conn, &UserForm::ListenKey(Arc::from(key)), &event);
            }
        }
    }

    /// Ends listenKeys whose time is over (all, if asked so).
    pub(crate) fn expire_listen_keys(&self, all: bool) {
        let now = self.now();
        for key in self.listen_keys.lock().expire(now, all) {
            self.end_listen_key(&key, now);
        }
    }

    /// Whose listenKey it is.
    pub(crate) fn listen_key_account(&self, key: &str) -> Option<AccountId> {
        self.listen_keys.lock().account(key, self.now())
    }

    /// What the venue has done.
    pub(crate) fn stats(&self) -> VenueStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (market_streams, user_streams) = self.core.lock().hub.counts();
        let used = self.limiter.lock().used(IpAddr::V4(Ipv4Addr::LOCALHOST), None, self.now());
        let c = &self.counters;
        VenueStats {
            requests: read(&c.requests),
            orders: read(&c.orders),
            orders_refused: read(&c.orders_refused),
            cancels: read(&c.cancels),
            fills: read(&c.fills),
            http_connections: read(&c.http_connections),
            ws_connections: read(&c.ws_connections),
            http_open: read(&c.http_open),
            ws_open: read(&c.ws_open),
            market_streams: market_streams as u64,
            user_streams: user_streams as u64,
            frames_sent: read(&self.hub_counters.frames),
            slow_dropped: read(&self.hub_counters.slow_dropped),
            weight_used: used.weight,
            frames_replayed: read(&c.frames_replayed),
            replay_gaps: read(&c.replay_gaps),
            replay_finished: c.is_replay_finished.load(Ordering::Acquire),
        }
    }

    /// Is this operation one of a WebSocket API session?
    pub(crate) const fn is_session(op: Op) -> bool {
        matches!(
            op,
            Op::SessionLogon
                | Op::SessionStatus
                | Op::SessionLogout
                | Op::SessionSubscriptions
                | Op::UserSubscribe
                | Op::UserSubscribeSigned
                | Op::UserUnsubscribe
        )
    }
}

/// The answer that a fault gives by itself.
pub(crate) fn effect_alone(effect: &FaultEffect, account: Option<u32>) -> Outcome {
    match effect {
        FaultEffect::Error { status, code, msg } => {
            let error = ApiError::new(*code, msg.clone()).with_status(*status);
            Outcome::Answer { answer: Err(error), account }
        }
        FaultEffect::Body { status, body } => Outcome::Raw { status: *status, body: body.clone(), location: None },
        FaultEffect::Redirect { status, location } => {
            Outcome::Raw { status: *status, body: String::new(), location: Some(location.clone()) }
        }
        FaultEffect::Reset => Outcome::Reset,
        FaultEffect::Hang => Outcome::Hang,
        // There is no answer yet that could be delayed or rewritten.
        FaultEffect::Delay(_) | FaultEffect::Rewrite { .. } => {
            Outcome::Answer { answer: Err(ApiError::internal()), account }
        }
    }
}
