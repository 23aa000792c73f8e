//! A named group of tasks: spawning into it and stopping it as one.

use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::restart::{self, Budget, RestartPolicy};
use super::task::{TaskEnd, TaskHandle, TaskKind, TaskOutput, Watched};
use crate::error::LifecycleError;
use crate::ledger::LeaseKind;
use crate::reason::StopReason;
use crate::registry::TaskState;
use crate::thread::{ThreadHandle, spawn_thread};

/// The share of a stop's time that is kept for aborting, and its limits.
const ABORT_SHARE: u32 = 5;
const ABORT_MARGIN_MAX: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct GroupShared {
    name: Arc<str>,
    token: CancellationToken,
    tracker: TaskTracker,
    shared: Arc<Shared>,
}

impl GroupShared {
    pub(super) fn new(name: &str, shared: &Arc<Shared>) -> Self {
        Self {
            name: Arc::from(name),
            token: shared.root.child_token(),
            tracker: TaskTracker::new(),
            shared: shared.clone(),
        }
    }
}

/// What became of a group's tasks when it was stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// The group.
    pub group: String,
    /// Tasks that ended by themselves after their token was cancelled.
    pub ended: usize,
    /// Tasks that ignored their token and had to be aborted.
    pub stragglers: Vec<String>,
    /// Tasks that did not even end when aborted: they block their thread.
    pub stuck: Vec<String>,
}

impl GroupReport {
    /// Whether every task ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stragglers.is_empty() && self.stuck.is_empty()
    }

    /// As the result of a stop step: stragglers are an error that names them.
    ///
    /// # Errors
    /// When a task had to be aborted or is stuck.
    pub fn into_result(self) -> Result<(), crate::plan::StopError> {
        if self.is_clean() { Ok(()) } else { Err(crate::plan::StopError::from(self)) }
    }
}

impl std::fmt::Display for GroupReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ended", self.group, self.ended)?;
        if !self.stragglers.is_empty() {
            write!(f, "; ignored their token and were aborted: {}", self.stragglers.join(", "))?;
        }
        if !self.stuck.is_empty() {
            write!(f, "; stuck, could not be aborted: {}", self.stuck.join(", "))?;
        }
        Ok(())
    }
}

/// A handle to a group of tasks. Clones share the group; usable from tasks and from threads.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    group: Arc<GroupShared>,
    runtime: Option<Handle>,
}

impl TaskGroup {
    pub(super) fn new(group: Arc<GroupShared>, runtime: Option<Handle>) -> Self {
        Self { group, runtime }
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.group.name
    }

    /// The group's token, a child of the root; each task has a child of it.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.group.token.clone()
    }

    /// The same group, spawning on `runtime` instead of the caller's.
    #[must_use]
    pub fn on(&self, runtime: Handle) -> Self {
        Self { group: self.group.clone(), runtime: Some(runtime) }
    }

    /// How many tasks of the group are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.group.tracker.len()
    }

    /// Whether no task of the group is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.tracker.is_empty()
    }

    /// Spawns a task called `group/name`; it learns of the stop through [`TaskGroup::token`]. In a group that has been
    /// told to stop nothing is spawned: the future is dropped and the handle says `Refused`.
    pub fn spawn<F>(&self, name: &str, kind: TaskKind, future: F) -> TaskHandle
    where
        F: Future + Send + 'static,
        F::Output: TaskOutput,
    {
        self.spawn_with(name, kind, move |_token| future)
    }

    /// Spawns a task that is handed its own token.
    pub fn spawn_with<F, Fut>(&self, name: &str, kind: TaskKind, make: F) -> TaskHandle
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: TaskOutput,
    {
        let Some((runtime, state)) = self.admit(name) else { return self.refused(name) };
        let future = make(state.token.clone());
        let shared = self.group.shared.clone();
        let body_state = state.clone();
        self.launch(&runtime, state, async move {
            let state = body_state;
            let end = Watched::new(state.clone(), future).await;
            judge(&shared, &state, kind, &end);
            end
        })
    }

    /// Spawns a task that is made anew by `make` each time it ends before its token is cancelled, with backoff, until the
    /// budget of `policy` is used up; then the stop is asked for.
    pub fn spawn_restartable<F, Fut>(&self, name: &str, policy: RestartPolicy, mut make: F) -> TaskHandle
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: TaskOutput,
    {
        let Some((runtime, state)) = self.admit(name) else { return self.refused(name) };
        let shared = self.group.shared.clone();
        let body_state = state.clone();
        self.launch(&runtime, state, async move {
            let state = body_state;
            let mut budget = Budget::new(policy, &state.name);
            loop {
                let began = crate::clock::runtime_now();
                let token = state.token.clone();
                // `make` runs inside the watched future, so that its panic counts as the task's.
                let end = {
                    let made = &mut make;
                    Watched::new(state.clone(), async move { made(token).await.into_result() }).await
                };
                let ran_for = crate::clock::runtime_now().saturating_duration_since(began);
                if state.token.is_cancelled() {
                    // It would have been restarted after an error anyway, so that is no reason to stop; it is recorded.
                    judge(&shared, &state, TaskKind::Background, &end);
                    return end;
                }
                if !restart::after_end(&state.name, &end, &mut budget, ran_for, &state.token, &shared.stop).await {
                    return end;
                }
            }
        })
    }

    /// Starts an OS thread called `name`, in the registry as `group/name` and in the ledger as a thread, which is handed
    /// its token. A critical thread that panics, fails or returns early asks for the stop, like a task. It cannot be
    /// aborted: it must look at its token.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn spawn_thread<T, F>(&self, name: &str, kind: TaskKind, f: F) -> Result<ThreadHandle<TaskEnd>, LifecycleError>
    where
        T: TaskOutput,
        F: FnOnce(CancellationToken) -> T + Send + 'static,
    {
        let state = self.state(name, true);
        let guard = self.group.shared.registry.enter(state.clone());
        let tracked = self.group.tracker.token();
        let shared = self.group.shared.clone();
        let lease = shared.ledger.lease(LeaseKind::Thread, "lifecycle", state.name.to_string());
        spawn_thread(name, lease, move || {
            let token = state.token.clone();
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(token).into_result()));
            let end = match ran {
                Ok(Ok(())) => TaskEnd::Finished,
                Ok(Err(error)) => TaskEnd::Failed(error),
                Err(panic) => TaskEnd::Panicked(crate::panics::message_of(panic.as_ref())),
            };
            judge(&shared, &state, kind, &end);
            drop(guard);
            drop(tracked);
            end
        })
    }

    /// Cancels the group's tokens, waits until its tasks have ended, aborts what is left when most of `limit` has passed,
    /// and says by name which had to be aborted. Always returns within `limit`. Calling it again is harmless.
    pub async fn stop(&self, limit: Duration) -> GroupReport {
        self.group.token.cancel();
        stop_groups(&self.group.name, std::slice::from_ref(&self.group), &self.group.shared, limit).await
    }

    /// Aborts every task of the group without waiting, and returns their names.
    pub fn abort_all(&self) -> Vec<String> {
        self.group.token.cancel();
        abort_live(std::slice::from_ref(&self.group), &self.group.shared)
    }

    /// The names of the group's live tasks.
    #[must_use]
    pub fn live(&self) -> Vec<String> {
        live_names(std::slice::from_ref(&self.group), &self.group.shared)
    }

    fn state(&self, name: &str, is_thread: bool) -> Arc<TaskState> {
        let shared = &self.group.shared;
        Arc::new(TaskState {
            id: shared.registry.next_id(),
            group: self.group.name.clone(),
            name: Arc::from(format!("{}/{name}", self.group.name)),
            since_mono_ns: shared.clock.mono_ns(),
            polls: AtomicU64::new(0),
            is_thread,
            token: self.group.token.child_token(),
            abort: OnceLock::new(),
        })
    }

    fn admit(&self, name: &str) -> Option<(Handle, Arc<TaskState>)> {
        if self.group.token.is_cancelled() {
            tracing::debug!(group = %self.group.name, task = name, "not spawned: the group has been told to stop");
            return None;
        }
        let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) else {
            let task = format!("{}/{name}", self.group.name);
            let error = "spawned outside a runtime; bind the group with TaskGroup::on".to_owned();
            self.group.shared.stop.request(StopReason::TaskFailed { task, error });
            return None;
        };
        Some((runtime, self.state(name, false)))
    }

    fn launch(
        &self,
        runtime: &Handle,
        state: Arc<TaskState>,
        body: impl Future<Output = TaskEnd> + Send + 'static,
    ) -> TaskHandle {
        let guard = self.group.shared.registry.enter(state.clone());
        let tracked = self.group.tracker.token();
        let join = runtime.spawn(async move {
            let _guards = (guard, tracked);
            body.await
        });
        // Set once, here; the state is new.
        drop(state.abort.set(join.abort_handle()));
        TaskHandle { name: state.name.clone(), token: state.token.clone(), join: Some(join) }
    }

    fn refused(&self, name: &str) -> TaskHandle {
        TaskHandle {
            name: Arc::from(format!("{}/{name}", self.group.name)),
            token: self.group.token.child_token(),
            join: None,
        }
    }
}

/// What the end of a task means for the system.
fn judge(shared: &Shared, state: &TaskState, kind: TaskKind, end: &TaskEnd) {
    let task = state.name.to_string();
    match (kind, end) {
        (_, TaskEnd::Aborted | TaskEnd::Refused) => {}
        (TaskKind::Critical, TaskEnd::Panicked(message)) => {
            shared.stop.request(StopReason::TaskPanicked { task, message: message.clone() });
        }
        (TaskKind::Critical, TaskEnd::Failed(error)) => {
            shared.stop.request(StopReason::TaskFailed { task, error: error.clone() });
        }
        (TaskKind::Critical, TaskEnd::Finished) => {
            if !state.token.is_cancelled() {
                shared.stop.request(StopReason::TaskReturned { task });
            }
        }
        (TaskKind::Background, TaskEnd::Panicked(message)) => {
            tracing::error!(task, message, "a background task panicked");
            shared.record_failure(&task, message.clone(), true);
        }
        (TaskKind::Background, TaskEnd::Failed(error)) => {
            tracing::warn!(task, error, "a background task failed");
            shared.record_failure(&task, error.clone(), false);
        }
        (TaskKind::Background, TaskEnd::Finished) => {}
    }
}

/// The common part of stopping one group and stopping all of them. The tokens are cancelled already.
pub(super) async fn stop_groups(
    name: &str,
    groups: &[Arc<GroupShared>],
    shared: &Shared,
    limit: Duration,
) -> GroupReport {
    let began = crate::clock::runtime_now();
    let before = live_names(groups, shared).len();
    let margin = (limit / ABORT_SHARE).min(ABORT_MARGIN_MAX);
    for group in groups {
        group.tracker.close();
    }
    let all_ended = async {
        for group in groups {
            group.tracker.wait().await;
        }
    };
    tokio::pin!(all_ended);
    let mut report = GroupReport { group: name.to_owned(), ..GroupReport::default() };
    if tokio::time::timeout_at(began + limit.saturating_sub(margin), &mut all_ended).await.is_err() {
        let aborted = abort_live(groups, shared);
        // An aborted task is dropped at its next scheduling; one that blocks its thread never is.
        drop(tokio::time::timeout_at(began + limit.saturating_sub(margin / 4), &mut all_ended).await);
        report.stuck = live_names(groups, shared);
        report.stragglers = aborted.into_iter().filter(|name| !report.stuck.contains(name)).collect();
        tracing::warn!(group = name, stragglers = ?report.stragglers, stuck = ?report.stuck, "tasks ignored their token");
    }
    report.ended = before.saturating_sub(report.stragglers.len() + report.stuck.len());
    report
}

fn of_groups(groups: &[Arc<GroupShared>], state: &TaskState) -> bool {
    groups.iter().any(|group| Arc::ptr_eq(&group.name, &state.group))
}

fn live_names(groups: &[Arc<GroupShared>], shared: &Shared) -> Vec<String> {
    shared.registry.select(|state| of_groups(groups, state)).iter().map(|state| state.name.to_string()).collect()
}

fn abort_live(groups: &[Arc<GroupShared>], shared: &Shared) -> Vec<String> {
    let live = shared.registry.select(|state| of_groups(groups, state));
    for state in &live {
        if let Some(abort) = state.abort.get() {
            abort.abort();
        }
    }
    live.iter().map(|state| state.name.to_string()).collect()
}
