//! Carrying out a plan: one loop that starts what is ready and ends what has had its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::{Node, StepOutcome, StepReport, StopError, StopPlan, StopReport, URGENT_GRACE};
use crate::clock::runtime_now;
use crate::reason::Urgency;

/// Most notes of one step.
const NOTES_MAX: usize = 64;
/// A step that stops a group keeps this share of its time for reporting, so that it is not cut while it names stragglers.
const INNER_SHARE: u32 = 10;
const INNER_MARGIN_MAX: Duration = Duration::from_millis(100);

/// What a step is handed when it runs.
#[derive(Clone, Debug)]
pub struct StopContext {
    deadline: Instant,
    urgency: watch::Receiver<Urgency>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl StopContext {
    /// What is left of the step's time. When it is gone the step is cut.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(runtime_now())
    }

    /// What is left, less a little for telling how it went: the limit to hand to awaits inside the step.
    #[must_use]
    pub fn inner_limit(&self) -> Duration {
        let left = self.remaining();
        left.saturating_sub((left / INNER_SHARE).min(INNER_MARGIN_MAX))
    }

    /// How urgent the stop is now.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        *self.urgency.borrow()
    }

    /// The urgency as a channel, for a step that hurries when it rises.
    #[must_use]
    pub fn urgency_channel(&self) -> watch::Receiver<Urgency> {
        self.urgency.clone()
    }

    /// Adds a line to the step's report, such as an order that was kept. At most 64; further ones are dropped.
    pub fn note(&self, line: impl Into<String>) {
        let mut notes = self.notes.lock();
        if notes.len() < NOTES_MAX {
            notes.push(line.into());
        }
    }
}

/// A step that has been started.
struct Running {
    at: usize,
    started: Instant,
    deadline: Instant,
    budget: Duration,
    abort: AbortHandle,
    notes: Arc<Mutex<Vec<String>>>,
}

/// What is known of a step however it ends.
#[derive(Clone)]
struct Kind {
    name: String,
    essential: bool,
    closes: bool,
}

/// The state of the loop.
struct Runner {
    waiting: Vec<Option<Node>>,
    kinds: Vec<Kind>,
    ended: Vec<bool>,
    running: BTreeMap<usize, Running>,
    by_task: BTreeMap<Id, usize>,
    tasks: JoinSet<Result<(), StopError>>,
    reports: Vec<StepReport>,
    urgency: watch::Receiver<Urgency>,
    began: Instant,
    total: Duration,
}

impl StopPlan {
    /// Carries the plan out on the current runtime and reports. Never fails, never panics, never outlasts its total by
    /// more than scheduling.
    pub async fn run(self, urgency: watch::Receiver<Urgency>) -> StopReport {
        let kind = |node: &Node| Kind {
            name: node.step.name.clone(),
            essential: node.step.essential,
            closes: node.step.closes,
        };
        let kinds = self.nodes.iter().map(kind).collect();
        let mut runner = Runner {
            ended: vec![false; self.nodes.len()],
            waiting: self.nodes.into_iter().map(Some).collect(),
            kinds,
            running: BTreeMap::new(),
            by_task: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports: Vec::new(),
            urgency,
            began: runtime_now(),
            total: self.total,
        };
        runner.run().await;
        let urgency = *runner.urgency.borrow();
        StopReport {
            took: runtime_now().saturating_duration_since(runner.began),
            total: runner.total,
            urgency,
            steps: runner.reports,
        }
    }
}

impl Runner {
    async fn run(&mut self) {
        let mut urgency_open = true;
        loop {
            self.apply_urgency();
            self.start_ready();
            // Nothing runs and nothing could be started: as the plan has no circle, nothing is left.
            let Some(next_deadline) = self.running.values().map(|running| running.deadline).min() else { return };
            tokio::select! {
                biased;
                Some(joined) = self.tasks.join_next_with_id() => self.on_joined(joined),
                changed = self.urgency.changed(), if urgency_open => urgency_open = changed.is_ok(),
                () = tokio::time::sleep_until(next_deadline) => self.on_deadline(),
            }
        }
    }

    fn cuts(&self, at: usize) -> Option<StepOutcome> {
        let Kind { essential, closes, .. } = self.kinds[at];
        match *self.urgency.borrow() {
            Urgency::Abort => Some(StepOutcome::Aborted),
            Urgency::Urgent if !essential && !closes => Some(StepOutcome::CutByUrgency),
            Urgency::Urgent | Urgency::Orderly => None,
        }
    }

    /// Whether the step has only a moment, because the stop is urgent and it closes something.
    fn is_hurried(&self, at: usize) -> bool {
        let Kind { essential, closes, .. } = self.kinds[at];
        closes && !essential && *self.urgency.borrow() == Urgency::Urgent
    }

    /// Ends the running steps that the urgency does not allow any more.
    fn apply_urgency(&mut self) {
        let cut: Vec<(usize, StepOutcome)> =
            self.running.keys().filter_map(|&at| self.cuts(at).map(|outcome| (at, outcome))).collect();
        for (at, outcome) in cut {
            self.end_running(at, outcome);
        }
        let until = runtime_now() + URGENT_GRACE;
        let hurried: Vec<usize> = self.running.keys().copied().filter(|&at| self.is_hurried(at)).collect();
        for at in hurried {
            if let Some(running) = self.running.get_mut(&at) {
                running.deadline = running.deadline.min(until);
            }
        }
    }

    /// Starts every step whose predecessors have all ended. A step that is cut at once may make others ready, so it goes
    /// round until nothing changes.
    fn start_ready(&mut self) {
        let mut waiting_before = usize::MAX;
        loop {
            let waiting = self.waiting.iter().flatten().count();
            if waiting == 0 || waiting == waiting_before {
                return;
            }
            waiting_before = waiting;
            self.start_ready_once();
        }
    }

    fn start_ready_once(&mut self) {
        for at in 0..self.waiting.len() {
            let is_ready = |node: &Node| node.predecessors.iter().all(|&predecessor| self.ended[predecessor]);
            if !self.waiting[at].as_ref().is_some_and(is_ready) {
                continue;
            }
            let Some(node) = self.waiting[at].take() else { continue };
            let left = self.total.saturating_sub(runtime_now().saturating_duration_since(self.began));
            let own = if self.is_hurried(at) { node.step.deadline.min(URGENT_GRACE) } else { node.step.deadline };
            let budget = own.min(left.saturating_sub(node.reserve));
            if let Some(outcome) = self.cuts(at) {
                self.end(at, None, Duration::ZERO, budget, outcome, Vec::new());
            } else if budget.is_zero() {
                self.end(at, None, Duration::ZERO, budget, StepOutcome::NoTimeLeft, Vec::new());
            } else {
                self.start(at, node, budget);
            }
        }
    }

    fn start(&mut self, at: usize, node: Node, budget: Duration) {
        let started = runtime_now();
        let deadline = started + budget;
        let notes = Arc::new(Mutex::new(Vec::new()));
        let context = StopContext { deadline, urgency: self.urgency.clone(), notes: notes.clone() };
        let run = node.step.run;
        tracing::debug!(step = node.step.name, budget_ms = budget.as_millis() as u64, "stop step begins");
        let abort = self.tasks.spawn(async move { run(context).await });
        self.by_task.insert(abort.id(), at);
        self.running.insert(at, Running { at, started, deadline, budget, abort, notes });
    }

    fn on_joined(&mut self, joined: Result<(Id, Result<(), StopError>), JoinError>) {
        let (id, outcome) = match joined {
            Ok((id, Ok(()))) => (id, StepOutcome::Done),
            Ok((id, Err(error))) => (id, StepOutcome::Failed(error.to_string())),
            Err(error) => {
                let id = error.id();
                let outcome = match error.try_into_panic() {
                    Ok(panic) => StepOutcome::Panicked(crate::panics::message_of(panic.as_ref())),
                    Err(_) => StepOutcome::Lost,
                };
                (id, outcome)
            }
        };
        // A step that was cut before has been reported then; its late end changes nothing.
        if let Some(at) = self.by_task.remove(&id)
            && self.running.contains_key(&at)
        {
            self.end_running(at, outcome);
        }
    }

    fn on_deadline(&mut self) {
        let now = runtime_now();
        let past: Vec<usize> =
            self.running.values().filter(|running| running.deadline <= now).map(|running| running.at).collect();
        for at in past {
            let is_hurried = self.is_hurried(at);
            self.end_running(at, if is_hurried { StepOutcome::CutByUrgency } else { StepOutcome::DeadlinePassed });
        }
    }

    fn end_running(&mut self, at: usize, outcome: StepOutcome) {
        let Some(running) = self.running.remove(&at) else { return };
        if outcome != StepOutcome::Done {
            running.abort.abort();
        }
        let took = runtime_now().saturating_duration_since(running.started);
        let started = running.started.saturating_duration_since(self.began);
        let mut notes = std::mem::take(&mut *running.notes.lock());
        let outcome = match outcome {
            // It had not the time that it would have had.
            StepOutcome::Failed(error) if self.is_hurried(at) => {
                notes.push(error);
                StepOutcome::CutByUrgency
            }
            outcome => outcome,
        };
        self.end(at, Some(started), took, running.budget, outcome, notes);
    }

    fn end(
        &mut self,
        at: usize,
        started: Option<Duration>,
        took: Duration,
        budget: Duration,
        outcome: StepOutcome,
        notes: Vec<String>,
    ) {
        let Kind { name, essential, closes } = self.kinds[at].clone();
        let report = StepReport { name, essential, closes, started, took, budget, outcome, notes };
        let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        if report.is_failure() {
            tracing::error!(step = report.name, outcome = %report.outcome, took_ms, "stop step failed; the next ones still run");
        } else {
            tracing::info!(step = report.name, outcome = %report.outcome, took_ms, "stop step ended");
        }
        self.ended[at] = true;
        self.reports.push(report);
    }
}
