//! What a run is made of, where the start puts it and the stop plan finds it: a signal may come at any moment of the start,
//! so each part is stored here before the start awaits again.

use super::database::DatabasePart;
use super::observe::Tally;
use super::recent::Recent;
use super::summary::LatencyLine;
use crate::config::Config;
use crate::logging::Logging;
use crate::run::market::VenueProcess;
use keel_exchange::ExchangeClient;
use keel_gateway::{CoordinatorHandle, EscapePath, Snapshots, SubmitGate};
use keel_lifecycle::{RunContext, TaskGroup};
use keel_model::{Instruments, StatusSnapshot};
use keel_store::Journal;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// Names of the task groups.
pub mod groups {
    /// Market data sockets.
    pub const MARKET: &str = "market-streams";
    /// The account stream's socket.
    pub const ACCOUNT: &str = "account-streams";
    /// The engine's task.
    pub const ENGINE: &str = "engine";
    /// Requests under way.
    pub const REQUESTS: &str = "requests";
    /// The embedded venue.
    pub const VENUE: &str = "venue";
    /// The database's thread.
    pub const STORE: &str = "store";
    /// What runs beside trading on the control thread: heartbeat line, escape path, engine watch.
    pub const BESIDE: &str = "beside";
    /// All of them, in the order of the last sweep.
    pub const ALL: [&str; 7] = [MARKET, ACCOUNT, REQUESTS, VENUE, STORE, BESIDE, ENGINE];
}

/// Parts that exist so far.
#[derive(Debug, Default)]
pub struct Parts {
    /// The embedded venue.
    pub venue: Option<VenueProcess>,
    /// Clients to be closed: the gateway's and the escape path's.
    pub clients: Vec<Arc<dyn ExchangeClient>>,
    /// The journal.
    pub journal: Option<Journal>,
    /// Takes snapshots of the journal.
    pub snapshots: Option<Snapshots>,
    /// The database.
    pub database: Option<DatabasePart>,
    /// Its pool, once it was closed: what is still open in it is a leak.
    pub closed_database: Option<keel_database::Database>,
    /// The engine's handle.
    pub engine: Option<CoordinatorHandle>,
    /// The escape path.
    pub escape: Option<Arc<EscapePath>>,
    /// Instruments of the run.
    pub instruments: Arc<Instruments>,
    /// What people call the venue, with its address.
    pub venue_name: String,
    /// Which start of this journal it is, once the journal is open.
    pub epoch: Option<u32>,
    /// What the engine said last, once it was let go.
    pub last: Option<Last>,
}

/// The last word about trading.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// Digest of the trading state; absent when trading never began or did not end in order.
    pub digest: Option<String>,
    /// The last state.
    pub status: StatusSnapshot,
    /// The way of an order, stage by stage.
    pub latency: Vec<LatencyLine>,
    /// Was the start complete, so that strategies could trade?
    pub has_begun: bool,
    /// Has there been an engine that read the journal? Without one nobody knows what is open.
    pub is_known: bool,
}

impl Last {
    fn of(engine: &CoordinatorHandle) -> Self {
        let latency = engine.latency().stages.into_iter().map(LatencyLine::from).collect();
        let has_begun = engine.phase().is_started;
        match engine.end() {
            Some(end) => Self { digest: Some(end.digest), status: end.status, latency, has_begun, is_known: true },
            None => Self { digest: None, status: engine.status().as_ref().clone(), latency, has_begun, is_known: true },
        }
    }
}

/// What everything of one run shares.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The configuration as it is shown: each key with its origin, secrets redacted.
    pub effective: Arc<serde_json::Value>,
    /// What has happened lately, when somebody may look.
    pub recent: Option<Arc<Recent>>,
    /// The parts.
    pub parts: Arc<Mutex<Parts>>,
    /// Read last before each placement.
    pub gate: Arc<SubmitGate>,
    /// Counts what the engine tells.
    pub tally: Arc<Mutex<Tally>>,
    /// The log.
    pub logging: Logging,
    /// Folder of the session.
    pub folder: PathBuf,
    /// Which bot.
    pub instance: u32,
    /// When the program began, on the monotonic clock.
    pub began_mono_ns: u64,
}

impl Shared {
    /// The engine's handle, when there is one.
    #[must_use]
    pub fn engine(&self) -> Option<CoordinatorHandle> {
        self.parts.lock().engine.clone()
    }

    /// The last published status.
    #[must_use]
    pub fn status(&self) -> Arc<StatusSnapshot> {
        self.engine().map(|engine| engine.status()).unwrap_or_default()
    }

    /// Lets everything go that belongs to the trading runtime, and keeps the last word.
    pub fn release(&self) {
        let mut parts = self.parts.lock();
        let Some(engine) = parts.engine.take() else { return };
        parts.last = Some(Last::of(&engine));
        parts.escape = None;
    }

    /// The last word about trading.
    #[must_use]
    pub fn last(&self) -> Last {
        let parts = self.parts.lock();
        parts.last.clone().or_else(|| parts.engine.as_ref().map(Last::of)).unwrap_or_default()
    }

    /// Instruments of the run.
    #[must_use]
    pub fn instruments(&self) -> Arc<Instruments> {
        self.parts.lock().instruments.clone()
    }
}

/// A group of the trading runtime.
#[must_use]
pub fn group(context: &RunContext, name: &str) -> TaskGroup {
    context.supervisor.group(name)
}

/// A group's tasks on the control thread.
#[must_use]
pub fn control_group(context: &RunContext) -> TaskGroup {
    context.supervisor.group(groups::BESIDE).on(context.control.clone())
}
