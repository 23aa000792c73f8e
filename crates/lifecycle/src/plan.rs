//! The stop plan: a small validated graph of steps, each with a deadline, within one total.
//!
//! Invariants, held by construction and tested over random plans: each step starts at most once and not before all its
//! predecessors have ended, in whatever way; a step that fails, panics or hangs never keeps another from starting; every
//! essential step gets its full deadline, because each step before it must leave the time that the longest chain of
//! essential steps after it needs; the plan ends within its total; the report has one line for each step.
//!
//! A step gets min(its own deadline, what is left of the total less that reserve). Steps that do not depend on each other
//! run side by side. Urgency cuts: `Urgent` the non-essential steps, of which those that close something keep a moment for it;
//! `Abort` all of them.

mod report;
mod run;
mod stopper;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use self::report::{StepOutcome, StepReport, StopReport};
pub use self::run::StopContext;
pub use self::stopper::Stopper;

use crate::error::PlanError;

/// The total when nobody says otherwise.
pub const TOTAL_DEFAULT: Duration = Duration::from_secs(30);
/// What a step that closes something gets in an urgent stop.
pub const URGENT_GRACE: Duration = Duration::from_millis(100);
/// Most steps in a plan.
pub const STEPS_MAX: usize = 128;

pub(crate) type StepFuture = Pin<Box<dyn Future<Output = Result<(), StopError>> + Send>>;
type StepRun = Box<dyn FnOnce(StopContext) -> StepFuture + Send>;

/// Why a step did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StopError {
    message: String,
}

impl StopError {
    /// An error with what people should read.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string() }
    }
}

impl From<String> for StopError {
    fn from(message: String) -> Self {
        Self { message }
    }
}

impl From<&str> for StopError {
    fn from(message: &str) -> Self {
        Self { message: message.to_owned() }
    }
}

impl From<std::io::Error> for StopError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<crate::supervisor::GroupReport> for StopError {
    fn from(report: crate::supervisor::GroupReport) -> Self {
        Self::new(report)
    }
}

impl From<crate::error::LifecycleError> for StopError {
    fn from(error: crate::error::LifecycleError) -> Self {
        Self::new(error)
    }
}

/// One step of the stop.
#[must_use = "a step does nothing until it is part of a plan"]
pub struct StopStep {
    name: String,
    after: Vec<String>,
    deadline: Duration,
    essential: bool,
    closes: bool,
    run: StepRun,
}

impl std::fmt::Debug for StopStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopStep")
            .field("name", &self.name)
            .field("after", &self.after)
            .field("deadline", &self.deadline)
            .field("essential", &self.essential)
            .field("closes", &self.closes)
            .finish_non_exhaustive()
    }
}

impl StopStep {
    /// A step that does `run` within `deadline`. Not essential, and after nothing, until said otherwise.
    pub fn new<F, Fut>(name: impl Into<String>, deadline: Duration, run: F) -> Self
    where
        F: FnOnce(StopContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StopError>> + Send + 'static,
    {
        let run: StepRun = Box::new(move |context| Box::pin(run(context)));
        Self { name: name.into(), after: Vec::new(), deadline, essential: false, closes: false, run }
    }

    /// A step that stops a task group: its stragglers are aborted, and an error that names them.
    pub fn stop_group(name: impl Into<String>, deadline: Duration, group: crate::supervisor::TaskGroup) -> Self {
        Self::new(name, deadline, move |context| async move { group.stop(context.inner_limit()).await.into_result() })
    }

    /// Starts only when all of these have ended, well or not.
    pub fn after(mut self, steps: &[&str]) -> Self {
        self.after.extend(steps.iter().map(|step| (*step).to_owned()));
        self
    }

    /// Runs also in an urgent stop, and its time is kept for it.
    pub fn essential(mut self) -> Self {
        self.essential = true;
        self
    }

    /// It closes what is held: in an urgent stop it still gets a moment ([`URGENT_GRACE`]) for that. If it is cut then, what
    /// it would have closed is listed and not judged as a leak.
    pub fn closes(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The step's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A step in a valid plan.
pub(crate) struct Node {
    pub(crate) step: StopStep,
    pub(crate) predecessors: Vec<usize>,
    /// What the longest chain of essential steps after this one needs.
    pub(crate) reserve: Duration,
}

/// Collects steps; [`StopPlanBuilder::build`] checks them.
#[derive(Debug)]
pub struct StopPlanBuilder {
    total: Duration,
    steps: Vec<StopStep>,
}

impl StopPlanBuilder {
    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: StopStep) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step.
    pub fn push(&mut self, step: StopStep) {
        self.steps.push(step);
    }

    /// Checks the steps and makes the plan.
    ///
    /// # Errors
    /// A duplicate or empty name, an unknown predecessor, a circle, a deadline of zero, too many steps, or essential steps
    /// that need more than the total.
    pub fn build(self) -> Result<StopPlan, PlanError> {
        let index = index_names(&self.steps)?;
        let predecessors = resolve(&self.steps, &index)?;
        let order = topological_order(&self.steps, &predecessors)?;
        let reserve = reserves(&self.steps, &predecessors, &order);
        let needed =
            self.steps.iter().zip(&reserve).map(|(step, reserve)| own_need(step).saturating_add(*reserve)).max();
        if let Some(needed) = needed
            && needed > self.total
        {
            return Err(PlanError::ReserveExceedsTotal { needed, total: self.total });
        }
        let nodes = self.steps.into_iter().zip(predecessors).zip(reserve);
        let nodes = nodes.map(|((step, predecessors), reserve)| Node { step, predecessors, reserve }).collect();
        Ok(StopPlan { nodes, total: self.total })
    }
}

/// A stop plan that can be carried out.
///
/// ```
/// use keel_lifecycle::{StopPlan, StopStep, Urgency};
/// use std::time::Duration;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let plan = StopPlan::builder(Duration::from_secs(30))
///     .step(StopStep::new("close-gate", Duration::from_millis(100), |_| async { Ok(()) }).essential())
///     .step(StopStep::new("flush-store", Duration::from_secs(3), |_| async { Err("disk full".into()) })
///         .after(&["close-gate"])
///         .essential())
///     .build()
///     .unwrap();
/// let (_raise, urgency) = tokio::sync::watch::channel(Urgency::Orderly);
/// let report = plan.run(urgency).await;
/// assert_eq!(report.steps.len(), 2);
/// assert_eq!(report.failures(), 1);
/// # });
/// ```
pub struct StopPlan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) total: Duration,
}

impl std::fmt::Debug for StopPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopPlan").field("total", &self.total).field("steps", &self.step_names()).finish()
    }
}

impl StopPlan {
    /// Begins a plan that must end within `total`.
    #[must_use]
    pub fn builder(total: Duration) -> StopPlanBuilder {
        StopPlanBuilder { total, steps: Vec::new() }
    }

    /// A plan without steps.
    #[must_use]
    pub fn empty() -> Self {
        Self { nodes: Vec::new(), total: TOTAL_DEFAULT }
    }

    /// Within which time the plan ends.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The names of the steps, in the order in which they were added.
    #[must_use]
    pub fn step_names(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| node.step.name.as_str()).collect()
    }
}

fn index_names(steps: &[StopStep]) -> Result<BTreeMap<String, usize>, PlanError> {
    if steps.len() > STEPS_MAX {
        return Err(PlanError::TooManySteps { count: steps.len(), max: STEPS_MAX });
    }
    let mut index = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if step.name.is_empty() {
            return Err(PlanError::EmptyName);
        }
        if step.deadline.is_zero() {
            return Err(PlanError::ZeroDeadline(step.name.clone()));
        }
        if index.insert(step.name.clone(), at).is_some() {
            return Err(PlanError::DuplicateName(step.name.clone()));
        }
    }
    Ok(index)
}

fn resolve(steps: &[StopStep], index: &BTreeMap<String, usize>) -> Result<Vec<Vec<usize>>, PlanError> {
    let one = |step: &StopStep| {
        let mut found = Vec::with_capacity(step.after.len());
        for predecessor in &step.after {
            let Some(at) = index.get(predecessor) else {
                return Err(PlanError::UnknownPredecessor {
                    step: step.name.clone(),
                    predecessor: predecessor.clone(),
                });
            };
            if !found.contains(at) {
                found.push(*at);
            }
        }
        Ok(found)
    };
    steps.iter().map(one).collect()
}

fn topological_order(steps: &[StopStep], predecessors: &[Vec<usize>]) -> Result<Vec<usize>, PlanError> {
    let mut order = Vec::with_capacity(steps.len());
    let mut placed = vec![false; steps.len()];
    while order.len() < steps.len() {
        let ready = (0..steps.len()).filter(|&at| !placed[at] && predecessors[at].iter().all(|&p| placed[p]));
        let ready: Vec<usize> = ready.collect();
        if ready.is_empty() {
            let circle = (0..steps.len()).filter(|&at| !placed[at]).map(|at| steps[at].name.clone()).collect();
            return Err(PlanError::Cycle(circle));
        }
        for at in ready {
            placed[at] = true;
            order.push(at);
        }
    }
    Ok(order)
}

fn own_need(step: &StopStep) -> Duration {
    if step.essential { step.deadline } else { Duration::ZERO }
}

/// For each step: the longest chain of essential deadlines among the steps after it.
fn reserves(steps: &[StopStep], predecessors: &[Vec<usize>], order: &[usize]) -> Vec<Duration> {
    let mut reserve = vec![Duration::ZERO; steps.len()];
    for &at in order.iter().rev() {
        let chain = own_need(&steps[at]).saturating_add(reserve[at]);
        for &predecessor in &predecessors[at] {
            reserve[predecessor] = reserve[predecessor].max(chain);
        }
    }
    reserve
}
