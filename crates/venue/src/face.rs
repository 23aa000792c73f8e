//! The venue's protocol without sockets and without a runtime: bytes in, bytes out, at the time of the clock that it was
//! given. What simulation tests drive; keys, signatures, limits, words and matching are those of the server.
//!
//! Invariant: an answer depends on nothing but the requests so far, the clock and the seed.

use crate::auth::Keys;
use crate::config::{AccountConfig, LatencyConfig, VenueLimits};
use crate::core::Core;
use crate::error::VenueError;
use crate::hub::{Conn, Frame};
use crate::json::TimeUnit;
use crate::ops::{self, Ctx};
use crate::params::Params;
use crate::replica::ReadView;
use crate::routes::find_rest;
use crate::server::VenueContext;
use crate::stats::Counters;
use crate::venue::{Parts, Proof, Request, Venue};
use crate::ws_api::ApiSession;
use crate::ws_market::MarketSession;
use hyper::Method;
use keel_model::{Instrument, Timestamp};
use keel_sim::rng::Rng;
use keel_sim::{ExecReport, FeeModel, MatchingEngine, SimConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a venue without sockets is made of.
#[derive(Clone, Debug)]
pub struct FaceConfig {
    /// What is traded; liquidity comes from accounts alone.
    pub instruments: Vec<Instrument>,
    /// Who trades.
    pub accounts: Vec<AccountConfig>,
    /// Rate limits and bounds.
    pub limits: VenueLimits,
    /// Fees.
    pub fees: FeeModel,
    /// Seed of made-up ids.
    pub seed: u64,
}

/// A REST request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct FaceRequest<'a> {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'a str,
    /// `/api/v3/order`
    pub path: &'a str,
    /// What stands after the question mark.
    pub query: &'a str,
    /// The urlencoded body.
    pub body: &'a str,
    /// The `X-MBX-APIKEY` header.
    pub api_key: Option<&'a str>,
}

/// A REST answer as it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaceAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// `x-mbx-used-weight-1m`
    pub used_weight: u64,
    /// `x-mbx-order-count-10s` and `-1d`.
    pub orders: Option<(u64, u64)>,
    /// `retry-after`; unit: seconds.
    pub retry_after_s: Option<u64>,
}

/// The venue behind its protocol, driven by hand.
#[derive(Debug)]
pub struct VenueFace {
    venue: Arc<Venue>,
}

impl VenueFace {
    /// A venue with an empty book that keeps the log of all reports.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn new(config: &FaceConfig, context: VenueContext) -> Result<Self, VenueError> {
        config.limits.check()?;
        let failed = |error: keel_sim::SimError| VenueError::Sim(error.to_string());
        let mut engine =
            MatchingEngine::new(SimConfig { seed: config.seed, fees: config.fees, ..SimConfig::default() });
        for instrument in &config.instruments {
            engine.add_instrument(instrument.clone()).map_err(failed)?;
        }
        let mut keys = Keys::default();
        for account in &config.accounts {
            let id = engine.add_account(&account.balances).map_err(failed)?;
            keys.add(account, id)?;
        }
        let counters = Arc::new(Counters::default());
        let mut core = Core::new(engine, config.accounts.len(), Rng::fork(config.seed, 0x6964), counters.clone());
        core.reports.is_kept = true;
        let venue = Venue::new(Parts {
            core,
            accounts: config.accounts.len(),
            keys,
            limits: config.limits.clone(),
            latency: LatencyConfig::default(),
            counters,
            group: context.group,
            ledger: context.ledger,
            clock: context.clock,
            seed: config.seed,
        });
        Ok(Self { venue: Arc::new(venue) })
    }

    /// The venue's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.venue.now()
    }

    /// Moves the venue's clock against the one it was given; unit: milliseconds.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.venue.faults.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Answers a request. Questions about orders and trades are answered as of `view`, if one is given.
    #[must_use]
    pub fn handle(&self, request: FaceRequest<'_>, view: Option<ReadView>) -> FaceAnswer {
        Counters::add(&self.venue.counters.requests);
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::GET);
        let route = match find_rest(&method, request.path) {
            Ok(route) => route,
            Err(status) => return FaceAnswer { status, ..FaceAnswer::default() },
        };
        let mut account = None;
        let answer = Params::parse(request.query, request.body).and_then(|params| {
            let proof = Proof::Rest { api_key: request.api_key, query: request.query, body: request.body };
            let unit = TimeUnit::Milliseconds;
            let key = self.venue.admit(&Request { route, params: &params, proof, ip: IP, unit })?;
            account = key.map(|key| key.account.0);
            ops::run(route.op, Ctx { venue: &self.venue, params: &params, key, unit, now: self.venue.now(), view })
        });
        let used = self.venue.limiter.lock().used(IP, account, self.venue.now());
        let (status, body, retry_after_s) = match answer {
            Ok(body) => (200, body, None),
            Err(error) => (error.status, error.body(), error.retry_after_s),
        };
        FaceAnswer { status, body, used_weight: used.weight, orders: used.orders, retry_after_s }
    }

    /// Opens a connection to the WebSocket API.
    #[must_use]
    pub fn connect_api(&self) -> FacePeer {
        let (conn, frames) = self.conn(true);
        let session = ApiSession::new(self.venue.clone(), conn.clone(), IP, false);
        FacePeer { venue: self.venue.clone(), conn, frames, side: Side::Api(Box::new(session)) }
    }

    /// Opens a connection to the market streams.
    #[must_use]
    pub fn connect_market(&self) -> FacePeer {
        let (conn, frames) = self.conn(false);
        let session = MarketSession::new(self.venue.clone(), conn.clone(), "");
        FacePeer { venue: self.venue.clone(), conn, frames, side: Side::Market(Box::new(session)) }
    }

    fn conn(&self, is_api: bool) -> (Arc<Conn>, mpsc::Receiver<Frame>) {
        let venue = &self.venue;
        let (frames_max, counters) = (venue.limits.outbound_frames_max, venue.hub_counters.clone());
        let (conn, frames) =
            Conn::new(venue.next_conn(), is_api, !is_api, TimeUnit::Milliseconds, frames_max, counters);
        venue.core.lock().hub.add(conn.clone());
        (conn, frames)
    }

    /// Acts on the matching engine itself, as somebody else's orders do; what follows from it is handed on.
    pub fn with_engine<R>(&self, act: impl FnOnce(&mut MatchingEngine, Timestamp) -> R) -> R {
        let now = self.venue.now();
        let mut core = self.venue.core.lock();
        let result = act(&mut core.engine, now);
        core.pump(&self.venue.limiter);
        result
    }

    /// Looks at the reports of all accounts so far, oldest first.
    pub fn with_log<R>(&self, look: impl FnOnce(&[ExecReport]) -> R) -> R {
        look(&self.venue.core.lock().reports.reports)
    }
}

#[derive(Debug)]
enum Side {
    Api(Box<ApiSession>),
    Market(Box<MarketSession>),
}

/// One WebSocket connection, driven by hand. Dropping it closes it.
#[derive(Debug)]
pub struct FacePeer {
    venue: Arc<Venue>,
    conn: Arc<Conn>,
    frames: mpsc::Receiver<Frame>,
    side: Side,
}

impl FacePeer {
    /// A text frame of the client. Requests that the server answers only after waiting are not taken here.
    pub fn on_text(&mut self, text: &str) {
        match &mut self.side {
            Side::Api(session) => drop(session.on_text(text)),
            Side::Market(session) => drop(session.on_text(text)),
        }
    }

    /// Ends the account subscriptions of this connection and says so, as the venue does from time to time (N-10).
    pub fn end_user_streams(&mut self) {
        let now = self.venue.now();
        if let Side::Api(session) = &mut self.side {
            session.end_all_subscriptions(now);
        }
    }

    /// The next frame that waits to be sent to the client.
    pub fn next_frame(&mut self) -> Option<String> {
        loop {
            match self.frames.try_recv() {
                Ok(Frame::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for FacePeer {
    fn drop(&mut self) {
        self.venue.core.lock().hub.remove(self.conn.id);
    }
}
