//! Supervision and stopping: tasks, token tree, stop plan, control thread, watchdog, resource ledger, exit status.
//!
//! This crate knows nothing of trading. Its map:
//!
//! - [`Clock`]: the only place that reads a clock.
//! - [`Supervisor`] → [`TaskGroup`] → task: the token tree; [`spawn_thread`] for OS threads.
//! - [`StopSignal`]: who asks for the stop, why ([`StopReason`]) and how urgently ([`Urgency`]).
//! - [`StopPlan`], [`StopStep`], [`Stopper`] → [`StopReport`]: how the system stops.
//! - [`ResourceLedger`], [`Lease`]: who holds what.
//! - [`ExitStatus`]: 0, 1 or 130.

mod clock;
mod console;
mod error;
mod exit;
mod ledger;
mod panics;
mod plan;
mod reason;
mod registry;
mod supervisor;
mod thread;

pub use clock::{Clock, Deadline};
pub use console::console_line;
pub use error::{LifecycleError, PlanError};
pub use exit::ExitStatus;
pub use ledger::{LEASES_NAMED_MAX, Lease, LeaseInfo, LeaseKind, ResourceLedger};
pub use panics::install_panic_hook;
pub use plan::{
    STEPS_MAX, StepOutcome, StepReport, StopContext, StopError, StopPlan, StopPlanBuilder, StopReport, StopStep,
    Stopper, TOTAL_DEFAULT,
};
pub use reason::{StopReason, StopRequest, StopSignal, Urgency};
pub use registry::{TaskInfo, TaskRegistry};
pub use supervisor::{
    GroupReport, RestartPolicy, Supervisor, TaskEnd, TaskFailure, TaskGroup, TaskHandle, TaskKind, TaskOutput,
};
pub use thread::{ThreadHandle, spawn_thread};
