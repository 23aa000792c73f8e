//! The state machine as one exhaustive table: state × step → what follows.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderState {
    /// Wanted by a strategy, not yet reviewed. Lives only inside one call of the engine.
    Draft,
    /// Approved by risk; not durable yet.
    Intent,
    /// Durable; may be sent as soon as the gate is found open.
    Armed,
    /// The first byte is on its way.
    Sent,
    /// The venue has it and it may fill.
    Live,
    /// Nobody knows whether the venue has it. Keeps its reservation and freezes its instrument.
    Unknown,
    /// Over at the venue; not all of its fills have arrived.
    Settling,
    /// Over, and the fills add up.
    Done,
    /// Refused by the venue.
    Rejected,
    /// Was unknown; the venue proved that it never accepted it.
    NeverAccepted,
    /// Refused by risk.
    Denied,
    /// Surely never left.
    Abandoned,
}

impl OrderState {
    /// All states, for tests and tables.
    pub const ALL: [Self; 12] = [
        Self::Draft,
        Self::Intent,
        Self::Armed,
        Self::Sent,
        Self::Live,
        Self::Unknown,
        Self::Settling,
        Self::Done,
        Self::Rejected,
        Self::NeverAccepted,
        Self::Denied,
        Self::Abandoned,
    ];

    /// Is nothing expected any more? A late trade or proof of existence can still raise it again.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Done | Self::Rejected | Self::NeverAccepted | Self::Denied | Self::Abandoned)
    }

    /// May the order still fill at the venue, as far as we know?
    #[must_use]
    pub const fn may_fill(self) -> bool {
        matches!(self, Self::Intent | Self::Armed | Self::Sent | Self::Live | Self::Unknown)
    }

    /// The state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Intent => "Intent",
            Self::Armed => "Armed",
            Self::Sent => "Sent",
            Self::Live => "Live",
            Self::Unknown => "Unknown",
            Self::Settling => "Settling",
            Self::Done => "Done",
            Self::Rejected => "Rejected",
            Self::NeverAccepted => "NeverAccepted",
            Self::Denied => "Denied",
            Self::Abandoned => "Abandoned",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What moves an order: evidence of one kind, whatever brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Risk approved it.
    Approved,
    /// Risk denied it.
    Denied,
    /// The intent is durable.
    Armed,
    /// The first byte leaves.
    Sent,
    /// It surely never left.
    NotSent,
    /// The venue definitively refused it.
    Refused,
    /// The outcome is not known.
    Unsure,
    /// The venue has or had it: ack, report, trade, open-order hit, found by query.
    Exists,
    /// It is over at the venue: filled, cancelled, expired.
    Ends,
    /// Over at the venue, and all fills have arrived.
    Settled,
    /// "Not found" past the fence.
    Disproved,
    /// A trade that was not known, or a count of the venue that says there was one.
    NewTrade,
}

impl Step {
    /// All steps, for tests and tables.
    pub const ALL: [Self; 12] = [
        Self::Approved,
        Self::Denied,
        Self::Armed,
        Self::Sent,
        Self::NotSent,
        Self::Refused,
        Self::Unsure,
        Self::Exists,
        Self::Ends,
        Self::Settled,
        Self::Disproved,
        Self::NewTrade,
    ];
}

/// What follows from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A new state.
    To(OrderState),
    /// Nothing new: late, repeated or reordered news.
    Stay,
    /// A closed order rises again: alarm, hold, apply.
    Resurrect(OrderState),
    /// The news contradicts what is known: alarm, and ask the venue.
    Conflict,
}

/// The table. Every pair is named; there is no default arm over states.
#[must_use]
pub const fn next(state: OrderState, step: Step) -> Next {
    use OrderState as S;
    use Step as T;
    match state {
        S::Draft => match step {
            T::Approved => Next::To(S::Intent),
            T::Denied => Next::To(S::Denied),
            T::Exists | T::Ends | T::NewTrade => Next::Resurrect(S::Live),
            T::Armed | T::Sent | T::NotSent | T::Refused | T::Unsure | T::Settled | T::Disproved => Next::Conflict,
        },
        S::Intent | S::Armed | S::Sent => match step {
            T::Armed => match state {
                S::Intent => Next::To(S::Armed),
                _ => Next::Stay,
            },
            T::Sent => match state {
                S::Sent => Next::Stay,
                _ => Next::To(S::Sent),
            },
            T::NotSent => Next::To(S::Abandoned),
            T::Refused => Next::To(S::Rejected),
            T::Unsure => Next::To(S::Unknown),
            T::Exists | T::NewTrade => Next::To(S::Live),
            T::Ends => Next::To(S::Settling),
            T::Approved | T::Denied | T::Settled | T::Disproved => Next::Conflict,
        },
        S::Live => match step {
            T::Armed | T::Sent | T::Unsure | T::Exists | T::NewTrade => Next::Stay,
            T::Ends => Next::To(S::Settling),
            T::Approved | T::Denied | T::NotSent | T::Refused | T::Settled | T::Disproved => Next::Conflict,
        },
        S::Unknown => match step {
            T::Armed | T::Sent | T::Unsure => Next::Stay,
            T::Exists | T::NewTrade => Next::To(S::Live),
            T::Ends => Next::To(S::Settling),
            T::Refused => Next::To(S::Rejected),
            T::Disproved => Next::To(S::NeverAccepted),
            T::Approved | T::Denied | T::NotSent | T::Settled => Next::Conflict,
        },
        S::Settling => match step {
            T::Armed | T::Sent | T::Unsure | T::Exists | T::Ends | T::NewTrade => Next::Stay,
            T::Settled => Next::To(S::Done),
            T::Approved | T::Denied | T::NotSent | T::Refused | T::Disproved => Next::Conflict,
        },
        S::Done => match step {
            // Repeated reports of a closed order are normal; a trade that nobody knew is not.
            T::Armed | T::Sent | T::Unsure | T::Exists | T::Ends | T::Settled => Next::Stay,
            T::NewTrade => Next::Resurrect(S::Settling),
            T::Approved | T::Denied | T::NotSent | T::Refused | T::Disproved => Next::Conflict,
        },
        S::Rejected | S::NeverAccepted | S::Abandoned => match step {
            T::Exists | T::NewTrade => Next::Resurrect(S::Live),
            T::Ends => Next::Resurrect(S::Settling),
            T::Armed | T::Sent | T::NotSent | T::Refused | T::Unsure | T::Disproved => Next::Stay,
            T::Approved | T::Denied | T::Settled => Next::Conflict,
        },
        S::Denied => match step {
            T::Exists | T::Ends | T::NewTrade => Next::Resurrect(S::Live),
            T::Approved
            | T::Denied
            | T::Armed
            | T::Sent
            | T::NotSent
            | T::Refused
            | T::Unsure
            | T::Settled
            | T::Disproved => Next::Conflict,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_no_step_but_proof_closes_an_unknown_order() {
        for step in Step::ALL {
            if let Next::To(to) = next(OrderState::Unknown, step) {
                let proof = matches!(step, Step::Refused | Step::Disproved);
                assert_eq!(to.is_closed(), proof, "{step:?}");
            }
        }
    }

    #[test]
    fn i4_a_trade_is_never_dropped_in_any_state() {
        for state in OrderState::ALL {
            let follows = next(state, Step::NewTrade);
            assert!(follows != Next::Conflict, "{state}");
            if state.is_closed() {
                assert!(matches!(follows, Next::Resurrect(_)), "{state}");
            }
        }
    }

    #[test]
    fn i5_an_order_is_done_only_from_settling() {
        for state in OrderState::ALL {
            for step in Step::ALL {
                if next(state, step) == Next::To(OrderState::Done) {
                    assert_eq!((state, step), (OrderState::Settling, Step::Settled));
                }
                if let Next::To(to) = next(state, step) {
                    assert_ne!(to, state, "a move goes somewhere");
                    assert!(!state.is_closed(), "closed orders only rise by resurrection");
                }
            }
        }
    }

    #[test]
    fn the_whole_table_is_written_down() {
        let mut text = String::new();
        for state in OrderState::ALL {
            for step in Step::ALL {
                match next(state, step) {
                    Next::To(to) => text += &format!("{state} --{step:?}--> {to}\n"),
                    Next::Resurrect(to) => text += &format!("{state} --{step:?}--> {to} (resurrected)\n"),
                    Next::Stay | Next::Conflict => {}
                }
            }
        }
        expect_test::expect_file!["state/table.txt"].assert_eq(&text);
    }
}
