//! Supervision and stopping: tasks, token tree, stop plan, control thread, watchdog, resource ledger, exit status.
//!
//! This crate knows nothing of trading. Its map:
//!
//! - [`Clock`]: the only place that reads a clock.
//! - [`Supervisor`] → [`TaskGroup`] → task: the token tree; [`spawn_thread`] for OS threads.
//! - [`StopSignal`]: who asks for the stop, why ([`StopReason`]) and how urgently ([`Urgency`]).
//! - [`StopPlan`], [`StopStep`], [`Stopper`] → [`StopReport`]: how the system stops.
//! - [`ResourceLedger`], [`Lease`]: who holds what.
//! - [`ControlPlane`], [`Watchdog`]: what still acts when the trading runtime does not.
//! - [`LeakReport`], [`ResourceMonitor`]: what is left, what is used.
//! - [`CleanupScope`]: closing a few things under one deadline.
//! - [`Lifecycle`] puts all of it together into one run that ends with an [`ExitStatus`]: 0, 1 or 130.

mod alert;
mod clock;
mod console;
mod control;
mod error;
mod exit;
mod leak;
mod ledger;
mod monitor;
mod notify;
mod panics;
mod plan;
mod proc;
mod reason;
mod registry;
mod run;
mod scope;
mod signal_mask;
mod supervisor;
mod thread;
mod watchdog;

pub use alert::{Alert, AlertHub, Severity};
pub use clock::{Clock, Deadline};
pub use console::{console_line, set_console_json};
pub use control::ControlPlane;
pub use error::{LifecycleError, PlanError};
pub use exit::ExitStatus;
pub use leak::{Baseline, DescriptorChange, LeakCheck, LeakReport, LeakSection};
pub use ledger::{LEASES_NAMED_MAX, Lease, LeaseInfo, LeaseKind, ResourceLedger};
pub use monitor::{MonitorConfig, ResourceMonitor, ResourcePeak, Thresholds};
pub use notify::Notifier;
pub use panics::install_panic_hook;
pub use plan::{
    STEPS_MAX, StepOutcome, StepReport, StopContext, StopError, StopPlan, StopPlanBuilder, StopReport, StopStep,
    Stopper, TOTAL_DEFAULT, URGENT_GRACE,
};
pub use proc::{
    Descriptor, DescriptorCounts, DescriptorKind, ProcessSample, descriptors_max, open_descriptors, threads,
};
pub use reason::{StopReason, StopRequest, StopSignal, Urgency};
pub use registry::{TaskInfo, TaskRegistry};
pub use run::{Lifecycle, LifecycleConfig, Program, RunContext, RunOutcome, RuntimeKind};
pub use scope::{CleanupReport, CleanupScope};
pub use signal_mask::{hold_signals, release_signals};
pub use supervisor::{
    GroupReport, RestartPolicy, Supervisor, TaskEnd, TaskFailure, TaskGroup, TaskHandle, TaskKind, TaskOutput,
};
pub use thread::{ThreadHandle, spawn_thread};
pub use tokio_util::sync::CancellationToken;
pub use watchdog::{EscapeCause, Watchdog, WatchdogConfig};
