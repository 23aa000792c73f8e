//! What a run led to, and its last lines.

use std::sync::Arc;
use std::time::Duration;

use super::Lifecycle;
use crate::console::console_line;
use crate::control::ControlPlane;
use crate::exit::ExitStatus;
use crate::leak::LeakReport;
use crate::monitor::ResourcePeak;
use crate::plan::StopReport;
use crate::reason::StopReason;
use crate::supervisor::TaskFailure;
use crate::watchdog::Watchdog;

/// How long the control thread may take to end.
const CONTROL_LIMIT: Duration = Duration::from_secs(1);

/// Keeps signals and watchdog working until the very end.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) watchdog: Watchdog,
    pub(super) control: Option<ControlPlane>,
}

impl Guard {
    fn release(&mut self) {
        if let Err(error) = self.watchdog.disarm() {
            tracing::warn!(%error, "the watchdog did not end");
        }
        if let Some(control) = self.control.take()
            && let Err(error) = control.shutdown(CONTROL_LIMIT)
        {
            tracing::warn!(%error, "the control thread did not end");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a run led to. The watchdog stays armed until it is finished or dropped.
#[derive(Debug)]
#[must_use = "finish it and return its status from main"]
pub struct RunOutcome {
    /// Why it stopped, first reason first.
    pub reasons: Vec<StopReason>,
    /// What the stop did.
    pub stop: Arc<StopReport>,
    /// What is left.
    pub leaks: LeakReport,
    /// Background tasks that failed or panicked.
    pub failures: Vec<TaskFailure>,
    /// The most that was used.
    pub peak: ResourcePeak,
    /// How many things went wrong: failed reasons, failed steps, leaks, panicked background tasks.
    pub errors: usize,
    status: ExitStatus,
    guard: Guard,
}

/// Puts together what is known: 1 beats 130 beats 0.
pub(super) fn conclude(lifecycle: Lifecycle, stop: Arc<StopReport>, leaks: LeakReport) -> RunOutcome {
    let (guard, monitor, supervisor) = lifecycle.into_guard();
    let signal = supervisor.stop_signal();
    let reasons = signal.reasons();
    let panics = usize::try_from(supervisor.background_panics()).unwrap_or(usize::MAX);
    let failed_reasons = reasons.iter().filter(|reason| reason.is_failure()).count();
    let errors = failed_reasons + stop.failures() + leaks.count() + panics;
    let mut status = signal.worst();
    if errors > 0 {
        status = status.and(ExitStatus::Failed);
    }
    if leaks.is_clean() {
        tracing::debug!(leaks = leaks.json(), "leak report");
    } else {
        tracing::error!(leaks = leaks.json(), "leak report");
    }
    RunOutcome { reasons, stop, leaks, failures: supervisor.failures(), peak: monitor.peak(), errors, status, guard }
}

impl RunOutcome {
    /// The exit status so far.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Adds a failure that was found after the run, such as a summary that could not be written.
    pub fn add_failure(&mut self, what: &str) {
        tracing::error!(what, "failed after the stop");
        self.errors += 1;
        self.status = self.status.and(ExitStatus::Failed);
    }

    /// What went wrong, one line each; without the leaks, which have a table of their own.
    #[must_use]
    pub fn error_lines(&self) -> Vec<String> {
        let reasons =
            self.reasons.iter().filter(|reason| reason.is_failure()).map(|reason| format!("stopped because: {reason}"));
        let steps = self.stop.steps.iter().filter(|step| step.is_failure());
        let steps = steps.map(|step| format!("stop step {}: {}", step.name, step.outcome));
        let panics = self.failures.iter().filter(|failure| failure.panicked);
        let panics = panics.map(|failure| format!("background task {} panicked: {}", failure.task, failure.cause));
        reasons.chain(steps).chain(panics).collect()
    }

    /// Prints what went wrong and what is left, if anything, then the final line (S3-023), ends watchdog and control
    /// thread, and returns what `main` returns. From here on signals do nothing, so return at once.
    pub fn finish(mut self) -> ExitStatus {
        self.error_lines().iter().for_each(|line| console_line(line));
        if !self.leaks.is_clean() {
            self.leaks.table().lines().for_each(console_line);
        }
        console_line(&final_line(self.errors));
        self.guard.release();
        self.status
    }
}

/// The two final lines that scripts look for (S3-023).
pub(crate) fn final_line(errors: usize) -> String {
    match errors {
        0 => "CLEANUP COMPLETED SUCCESSFULLY".to_owned(),
        n => format!("CLEANUP COMPLETED WITH {n} ERRORS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_final_lines_are_as_scripts_expect_them_s3_023() {
        assert_eq!(final_line(0), "CLEANUP COMPLETED SUCCESSFULLY");
        assert_eq!(final_line(3), "CLEANUP COMPLETED WITH 3 ERRORS");
    }
}
