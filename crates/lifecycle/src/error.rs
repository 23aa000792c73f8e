//! What can go wrong in this crate, named by cause. Every message says the place, the cause and the remedy.

use std::time::Duration;

/// Errors of the lifecycle crate.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// A thread could not be started.
    #[error("cannot start thread {name:?}: {source}; raise the process limit (ulimit -u) or free memory")]
    ThreadSpawn {
        /// Name of the thread.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread ended by a panic.
    #[error("thread {name:?} panicked: {message}")]
    ThreadPanicked {
        /// Name of the thread.
        name: String,
        /// The panic's message.
        message: String,
    },
    /// A thread did not end in time.
    #[error("thread {name:?} did not end within {waited:?}; it is left behind")]
    ThreadStuck {
        /// Name of the thread.
        name: String,
        /// How long we waited.
        waited: Duration,
    },
    /// A runtime could not be built.
    #[error(
        "cannot build the {which} runtime: {source}; check the limits on descriptors and threads (ulimit -n, ulimit -u)"
    )]
    Runtime {
        /// Which runtime.
        which: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signal handler could not be installed.
    #[error("cannot install the handler for {signal}: {source}; nothing was started")]
    Signal {
        /// Name of the signal.
        signal: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The stop plan is not one that can be carried out.
    #[error("stop plan: {0}")]
    Plan(#[from] PlanError),
    /// Reading the process's own figures failed.
    #[error("cannot read {path}: {source}; is /proc mounted?")]
    Proc {
        /// The file that was read.
        path: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a stop plan was refused; found when it is built, never when it runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two steps carry the same name.
    #[error("two steps are called {0:?}; give each its own name")]
    DuplicateName(String),
    /// A step has no name.
    #[error("a step has an empty name")]
    EmptyName,
    /// A step comes after one that does not exist.
    #[error("step {step:?} comes after {predecessor:?}, which is not in the plan")]
    UnknownPredecessor {
        /// The step.
        step: String,
        /// What it refers to.
        predecessor: String,
    },
    /// Steps wait for each other.
    #[error("steps wait for each other in a circle: {}", .0.join(", "))]
    Cycle(Vec<String>),
    /// A deadline of zero: the step could never run.
    #[error("step {0:?} has a deadline of zero; every step needs time")]
    ZeroDeadline(String),
    /// Essential steps alone need more than there is.
    #[error(
        "essential steps need {needed:?} one after another, the total is {total:?}; raise the total or shorten a step"
    )]
    ReserveExceedsTotal {
        /// The longest chain of essential deadlines.
        needed: Duration,
        /// The total.
        total: Duration,
    },
    /// More steps than a plan may have.
    #[error("{count} steps, at most {max} are allowed")]
    TooManySteps {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}
