//! Supervised tasks: every task has a group, a name, a token and a kind, and none can end unseen.
//!
//! The token tree is root → group → task; cancelling a branch tells everything below it. Invariants: a task is in the
//! registry from before its first poll until its future is gone; a critical task that ends before its token was cancelled,
//! however it ends, asks for the stop; nothing is spawned in a group that has been told to stop.

mod group;
mod restart;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use self::group::{GroupReport, TaskGroup};
pub use self::restart::RestartPolicy;
pub use self::task::{TaskEnd, TaskHandle, TaskKind, TaskOutput};

use self::group::GroupShared;
use crate::clock::Clock;
use crate::ledger::ResourceLedger;
use crate::reason::StopSignal;
use crate::registry::{TaskInfo, TaskRegistry};

/// Most failures of background tasks that are kept by name; beyond that they are counted.
const FAILURES_MAX: usize = 64;

/// What all groups of one supervisor share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: CancellationToken,
    pub(crate) registry: TaskRegistry,
    pub(crate) stop: StopSignal,
    pub(crate) clock: Clock,
    pub(crate) ledger: ResourceLedger,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    first: Vec<TaskFailure>,
    panics: u64,
    errors: u64,
}

/// A background task that did not end well; it did not stop the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskFailure {
    /// group/name.
    pub task: String,
    /// How it ended.
    pub cause: String,
    /// Whether it panicked.
    pub panicked: bool,
}

impl Shared {
    pub(crate) fn record_failure(&self, task: &str, cause: String, panicked: bool) {
        let mut failures = self.failures.lock();
        if panicked {
            failures.panics += 1;
        } else {
            failures.errors += 1;
        }
        if failures.first.len() < FAILURES_MAX {
            failures.first.push(TaskFailure { task: task.to_owned(), cause, panicked });
        }
    }
}

/// Owns the token tree and hands out groups. Clones share it.
///
/// ```
/// use keel_lifecycle::{Supervisor, TaskKind};
/// use std::time::Duration;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let supervisor = Supervisor::default();
/// let streams = supervisor.group("market-streams");
/// streams.spawn_with("binance", TaskKind::Critical, |token| async move {
///     token.cancelled().await; // read frames until told to stop
///     Ok::<(), std::io::Error>(())
/// });
/// assert_eq!(supervisor.registry().names(), ["market-streams/binance"]);
/// let report = streams.stop(Duration::from_secs(1)).await;
/// assert!(report.is_clean());
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    groups: Arc<Mutex<BTreeMap<String, Arc<GroupShared>>>>,
    runtime: Option<Handle>,
}

impl Default for Supervisor {
    fn default() -> Self {
        let clock = Clock::system();
        Self::new(StopSignal::new(clock.clone()), clock.clone(), ResourceLedger::new(clock))
    }
}

impl Supervisor {
    /// A supervisor without tasks. Critical tasks ask for the stop through `stop`.
    #[must_use]
    pub fn new(stop: StopSignal, clock: Clock, ledger: ResourceLedger) -> Self {
        let shared = Shared {
            root: CancellationToken::new(),
            registry: TaskRegistry::default(),
            stop,
            clock,
            ledger,
            failures: Mutex::new(Failures::default()),
        };
        Self { shared: Arc::new(shared), groups: Arc::default(), runtime: None }
    }

    /// The same supervisor, whose groups spawn on `runtime` instead of the caller's.
    #[must_use]
    pub fn on(&self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self.clone() }
    }

    /// The group called `name`; made at the first call, the same one afterwards. A group lives as long as the supervisor,
    /// so it stands for a part of the system (`exchange/binance`), not for a connection: those are tasks.
    #[must_use]
    pub fn group(&self, name: &str) -> TaskGroup {
        let mut groups = self.groups.lock();
        let group =
            groups.entry(name.to_owned()).or_insert_with(|| Arc::new(GroupShared::new(name, &self.shared))).clone();
        TaskGroup::new(group, self.runtime.clone())
    }

    /// The root of the token tree; cancelling it tells every task.
    #[must_use]
    pub fn root_token(&self) -> CancellationToken {
        self.shared.root.clone()
    }

    /// The live tasks.
    #[must_use]
    pub fn registry(&self) -> TaskRegistry {
        self.shared.registry.clone()
    }

    /// Where critical tasks ask for the stop.
    #[must_use]
    pub fn stop_signal(&self) -> StopSignal {
        self.shared.stop.clone()
    }

    /// The clock handed in.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// The ledger handed in.
    #[must_use]
    pub fn ledger(&self) -> ResourceLedger {
        self.shared.ledger.clone()
    }

    /// The live tasks and threads, oldest first.
    #[must_use]
    pub fn live_tasks(&self) -> Vec<TaskInfo> {
        self.shared.registry.live()
    }

    /// Background tasks that failed or panicked without stopping the system (the first few).
    #[must_use]
    pub fn failures(&self) -> Vec<TaskFailure> {
        self.shared.failures.lock().first.clone()
    }

    /// How many background tasks have panicked.
    #[must_use]
    pub fn background_panics(&self) -> u64 {
        self.shared.failures.lock().panics
    }

    /// How many background tasks have ended with an error.
    #[must_use]
    pub fn background_errors(&self) -> u64 {
        self.shared.failures.lock().errors
    }

    /// Cancels every token, waits, aborts what is left and says which that was: the last sweep after a plan (S3-021).
    /// Takes at most `limit`.
    pub async fn stop_all(&self, limit: Duration) -> GroupReport {
        self.shared.root.cancel();
        let groups: Vec<Arc<GroupShared>> = self.groups.lock().values().cloned().collect();
        group::stop_groups("all", &groups, &self.shared, limit).await
    }
}

#[cfg(test)]
mod tests;
