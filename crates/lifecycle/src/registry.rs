//! The live tasks by name, readable from any plain thread without touching a runtime.
//!
//! The watchdog reads it while every worker is blocked, so nothing here awaits and no lock is held while user code runs.
//! A task's `polls` counter is odd while the task is being polled: two equal odd readings some time apart mean that the
//! task blocks its worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// What a live task is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskInfo {
    /// Number of the task, unique in the process's registry.
    pub id: u64,
    /// group/name.
    pub name: String,
    /// Since when, on the monotonic clock.
    pub since_mono_ns: u64,
    /// Odd while the task is being polled (or its thread runs).
    pub polls: u64,
    /// Whether it is an OS thread of its own.
    pub is_thread: bool,
    /// Whether it has been told to stop.
    pub cancelled: bool,
}

/// One live task.
#[derive(Debug)]
pub(crate) struct TaskState {
    pub(crate) id: u64,
    pub(crate) group: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) since_mono_ns: u64,
    pub(crate) polls: AtomicU64,
    pub(crate) is_thread: bool,
    pub(crate) token: CancellationToken,
    pub(crate) abort: OnceLock<AbortHandle>,
}

impl TaskState {
    /// Marks the beginning and the end of a poll. One poller at a time, so a plain add is enough.
    pub(crate) fn poll_edge(&self) {
        let edge = self.polls.load(Ordering::Relaxed).wrapping_add(1);
        self.polls.store(edge, Ordering::Release);
    }

    fn info(&self) -> TaskInfo {
        TaskInfo {
            id: self.id,
            name: self.name.to_string(),
            since_mono_ns: self.since_mono_ns,
            polls: self.polls.load(Ordering::Acquire),
            is_thread: self.is_thread,
            cancelled: self.token.is_cancelled(),
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    live: Mutex<BTreeMap<u64, Arc<TaskState>>>,
    next_id: AtomicU64,
    started: AtomicU64,
}

/// The live tasks and supervised threads of a supervisor. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TaskRegistry {
    shared: Arc<Shared>,
}

impl TaskRegistry {
    pub(crate) fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, state: Arc<TaskState>) -> RegistryGuard {
        let id = state.id;
        self.shared.live.lock().insert(id, state);
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        RegistryGuard { registry: self.clone(), id }
    }

    /// How many tasks are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.live.lock().len()
    }

    /// Whether no task is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tasks were ever started.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.shared.started.load(Ordering::Relaxed)
    }

    /// The live tasks, oldest first.
    #[must_use]
    pub fn live(&self) -> Vec<TaskInfo> {
        self.shared.live.lock().values().map(|state| state.info()).collect()
    }

    /// The names of the live tasks, oldest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.shared.live.lock().values().map(|state| state.name.to_string()).collect()
    }

    /// The names of tasks that were being polled at `earlier` and still are in the very same poll: they block a worker.
    #[must_use]
    pub fn blocked_since(&self, earlier: &[TaskInfo]) -> Vec<String> {
        let live = self.shared.live.lock();
        earlier
            .iter()
            .filter(|then| !then.is_thread && then.polls % 2 == 1)
            .filter(|then| live.get(&then.id).is_some_and(|now| now.polls.load(Ordering::Acquire) == then.polls))
            .map(|then| then.name.clone())
            .collect()
    }

    pub(crate) fn select(&self, keep: impl Fn(&TaskState) -> bool) -> Vec<Arc<TaskState>> {
        self.shared.live.lock().values().filter(|state| keep(state)).cloned().collect()
    }
}

/// Takes the task out of the registry when its future is gone, however that came about.
#[derive(Debug)]
pub(crate) struct RegistryGuard {
    registry: TaskRegistry,
    id: u64,
}

impl Drop for RegistryGuard {
    fn drop(&mut self) {
        let state = self.registry.shared.live.lock().remove(&self.id);
        drop(state);
    }
}
