//! The three exit codes and how they combine: 1 beats 130 beats 0.

use std::process::ExitCode;

use serde::Serialize;

/// How the process ends. The order is the precedence: the greater one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// 0: the duration was reached, somebody asked, SIGTERM or SIGHUP; and the stop was clean.
    #[default]
    Clean,
    /// 130: SIGINT, and the stop was clean.
    Interrupted,
    /// 1: anything failed: start, a critical task, a stop step, a leak, the watchdog.
    Failed,
}

impl ExitStatus {
    /// The code that the process returns.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Interrupted => 130,
            Self::Failed => 1,
        }
    }

    /// The one that wins: 1 beats 130 beats 0.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status.code())
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::StopReason;

    #[test]
    fn precedence_is_1_over_130_over_0() {
        use ExitStatus::{Clean, Failed, Interrupted};
        for (a, b, want) in [
            (Clean, Clean, 0),
            (Clean, Interrupted, 130),
            (Interrupted, Failed, 1),
            (Clean, Failed, 1),
            (Interrupted, Interrupted, 130),
        ] {
            assert_eq!(a.and(b).code(), want);
            assert_eq!(b.and(a).code(), want);
        }
    }

    #[test]
    fn reasons_lead_to_the_codes_of_the_table() {
        // S3-029, S3-030, S3-031, S3-032, D5, D18
        let task = || "strategies/ema".to_owned();
        for (reason, want) in [
            (StopReason::DurationElapsed, 0),
            (StopReason::Requested { by: "operator".into() }, 0),
            (StopReason::Finished { what: "recording".into() }, 0),
            (StopReason::Terminate, 0),
            (StopReason::Hangup, 0),
            (StopReason::Interrupt, 130),
            (StopReason::TaskPanicked { task: task(), message: String::new() }, 1),
            (StopReason::TaskFailed { task: task(), error: String::new() }, 1),
            (StopReason::TaskReturned { task: task() }, 1),
            (StopReason::RestartsExhausted { task: task(), restarts: 3, last: String::new() }, 1),
            (StopReason::StartFailed { cause: String::new() }, 1),
            (StopReason::Fault { what: String::new() }, 1),
        ] {
            assert_eq!(reason.exit_status().code(), want, "{reason}");
        }
    }
}
