//! The sub-machine of a cancel as one exhaustive table, and that of a replacement, which is a cancel and a placement with
//! outcomes of their own (V-13): each half moves by its own table, and neither says anything about the other.
//!
//! Sending a cancel again is always safe: what is cancelled cannot be cancelled twice.

use crate::order::CancelState;
use serde::{Deserialize, Serialize};

/// What moves a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CancelStep {
    /// Somebody asks for it, and it is sent at once.
    Asked,
    /// Somebody wants it; it is sent by the schedule.
    Wanted,
    /// The pause is over and it is sent again.
    Again,
    /// The venue cancelled the order.
    Canceled,
    /// The venue refused: the order is over, or not there yet. The order is queried.
    Refused,
    /// No answer, or it never left.
    Lost,
    /// The order works at the venue, whatever was answered to a cancel before.
    Working,
    /// The process that sent it is gone, and so is the answer.
    Restart,
}

impl CancelStep {
    /// All steps, for tests and tables.
    pub const ALL: [Self; 8] = [
        Self::Asked,
        Self::Wanted,
        Self::Again,
        Self::Canceled,
        Self::Refused,
        Self::Lost,
        Self::Working,
        Self::Restart,
    ];
}

impl CancelState {
    /// All states, for tests and tables.
    pub const ALL: [Self; 5] = [Self::None, Self::Sent, Self::Acked, Self::Rejected, Self::Unknown];

    /// The table. Every pair is named; there is no default arm over states.
    #[must_use]
    pub const fn next(self, step: CancelStep) -> Self {
        use CancelStep as T;
        match self {
            Self::None => match step {
                T::Asked => Self::Sent,
                T::Wanted => Self::Unknown,
                // Cancelled by somebody else, or by the escape path.
                T::Canceled => Self::Acked,
                T::Again | T::Refused | T::Lost | T::Working | T::Restart => Self::None,
            },
            Self::Sent => match step {
                T::Canceled => Self::Acked,
                T::Refused => Self::Rejected,
                T::Lost | T::Restart => Self::Unknown,
                T::Asked | T::Wanted | T::Again | T::Working => Self::Sent,
            },
            Self::Acked => match step {
                // The venue says both: that it is cancelled, and that it works. It is cancelled once more.
                T::Working => Self::Unknown,
                T::Asked | T::Wanted | T::Again | T::Canceled | T::Refused | T::Lost | T::Restart => Self::Acked,
            },
            Self::Rejected => match step {
                T::Asked => Self::Sent,
                T::Canceled => Self::Acked,
                // It came before the order; now it will be understood.
                T::Working => Self::Unknown,
                T::Wanted | T::Again | T::Refused | T::Lost | T::Restart => Self::Rejected,
            },
            Self::Unknown => match step {
                T::Asked | T::Again => Self::Sent,
                T::Canceled => Self::Acked,
                T::Refused => Self::Rejected,
                T::Wanted | T::Lost | T::Working | T::Restart => Self::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn the_whole_cancel_table_is_written_down() {
        let mut text = String::new();
        for state in CancelState::ALL {
            for step in CancelStep::ALL {
                let to = state.next(step);
                if to != state {
                    writeln!(text, "{state:?} --{step:?}--> {to:?}").unwrap();
                }
            }
        }
        expect_test::expect_file!["cancel_table.txt"].assert_eq(&text);
    }

    #[test]
    fn v_07_a_cancel_that_is_wanted_is_never_forgotten() {
        // From each state in which the order may still work there is a way to one more cancel.
        for state in CancelState::ALL {
            let again = state.next(CancelStep::Working).next(CancelStep::Again);
            let is_under_way = matches!(state, CancelState::None | CancelState::Sent);
            assert!(is_under_way || again == CancelState::Sent, "{state:?}");
            assert_eq!(state.next(CancelStep::Canceled), CancelState::Acked);
        }
        assert_eq!(CancelState::Sent.next(CancelStep::Restart), CancelState::Unknown);
    }
}
