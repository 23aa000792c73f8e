//! What was met, counted: faults, crash points, transitions of the order state machine, kinds of calls and outcomes.
//!
//! Invariant: every row that the tables allow is listed, so that a row at zero is seen.

use keel_execution::OrderState;
use keel_execution::state::{Next, Step, next};
use keel_sim::Fault;
use std::collections::BTreeMap;

/// A named point at which a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashPoint {
    /// P-01: before the intent is appended.
    BeforeIntent,
    /// P-02: the intent is appended and not durable.
    IntentAppended,
    /// P-03: the intent is durable and nothing was sent.
    IntentDurable,
    /// P-04: the placement has been sent.
    PlacementSent,
    /// P-05: an answer has come and is not appended.
    AnswerBeforeAppend,
    /// P-06: an answer is appended and not applied.
    AnswerAppended,
    /// P-07: a fill has come and is not appended.
    FillBeforeAppend,
    /// P-08: a fill is appended and not applied.
    FillAppended,
    /// P-09: the end of an order was applied; what it asks for is not done.
    EndApplied,
    /// P-10: what the end of an order asks for is done.
    EndWorkedOff,
    /// P-11: started, nothing read.
    BootBeforeReplay,
    /// P-12: the journal is read; nothing was asked.
    BootAfterReplay,
    /// P-13: the venue is being asked.
    BootReconciling,
    /// P-14: a batch is written and not synced.
    BatchWritten,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::BeforeIntent,
        Self::IntentAppended,
        Self::IntentDurable,
        Self::PlacementSent,
        Self::AnswerBeforeAppend,
        Self::AnswerAppended,
        Self::FillBeforeAppend,
        Self::FillAppended,
        Self::EndApplied,
        Self::EndWorkedOff,
        Self::BootBeforeReplay,
        Self::BootAfterReplay,
        Self::BootReconciling,
        Self::BatchWritten,
    ];
}

/// Other things that a run must have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Met {
    /// Orders that the venue accepted.
    OrdersAccepted,
    /// Trades.
    Trades,
    /// Outcomes that became unknown.
    Unknown,
    /// Orders proved to have never been accepted.
    NeverAccepted,
    /// Orders that rose again.
    Resurrected,
    /// Orders that were adopted.
    Adopted,
    /// Orders of somebody else that were seen.
    ForeignSeen,
    /// Cancels sent.
    Cancels,
    /// Cancel-replaces sent.
    Replaces,
    /// Cancel-replaces of which one half succeeded (V-13).
    HalfReplaces,
    /// Stop orders accepted.
    Stops,
    /// Stop orders that were triggered and traded.
    StopsTraded,
    /// Market orders accepted.
    Markets,
    /// Cancels refused because the order was over already (V-07).
    CancelRaces,
    /// Reports that came before the answer to the placement (V-08).
    ReportsFirst,
    /// Placements refused for their timestamp (T-01).
    RefusedTime,
    /// Torn tails cut off.
    TornTails,
    /// Starts.
    Boots,
    /// Roll-overs and reconnects of the account stream.
    Reconnects,
    /// Orders of the second bot of the account.
    SecondBot,
    /// Orders denied by risk.
    Denied,
}

impl Met {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::OrdersAccepted,
        Self::Trades,
        Self::Unknown,
        Self::NeverAccepted,
        Self::Resurrected,
        Self::Adopted,
        Self::ForeignSeen,
        Self::Cancels,
        Self::Replaces,
        Self::HalfReplaces,
        Self::Stops,
        Self::StopsTraded,
        Self::Markets,
        Self::CancelRaces,
        Self::ReportsFirst,
        Self::RefusedTime,
        Self::TornTails,
        Self::Boots,
        Self::Reconnects,
        Self::SecondBot,
        Self::Denied,
    ];
}

const STATES: usize = OrderState::ALL.len();

/// The counts of one run or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    faults: [u64; Fault::COUNT],
    crash_points: [u64; CrashPoint::ALL.len()],
    met: [u64; Met::ALL.len()],
    transitions: [[u64; STATES]; STATES],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            faults: [0; Fault::COUNT],
            crash_points: [0; CrashPoint::ALL.len()],
            met: [0; Met::ALL.len()],
            transitions: [[0; STATES]; STATES],
        }
    }
}

fn raise<const N: usize>(row: &mut [u64; N], at: usize, by: u64) {
    if let Some(count) = row.get_mut(at) {
        *count += by;
    }
}

impl Coverage {
    /// A fault struck.
    pub fn fault(&mut self, fault: Fault) {
        raise(&mut self.faults, fault as usize, 1);
    }

    /// A process died here.
    pub fn crash(&mut self, point: CrashPoint) {
        raise(&mut self.crash_points, point as usize, 1);
    }

    /// Something was met.
    pub fn met(&mut self, what: Met) {
        raise(&mut self.met, what as usize, 1);
    }

    /// How often something was met.
    #[must_use]
    pub fn count(&self, what: Met) -> u64 {
        self.met.get(what as usize).copied().unwrap_or_default()
    }

    /// How often a process died at a point.
    #[must_use]
    pub fn crashes(&self, point: CrashPoint) -> u64 {
        self.crash_points.get(point as usize).copied().unwrap_or_default()
    }

    /// An order moved.
    pub fn moved(&mut self, from: OrderState, to: OrderState) {
        if let Some(row) = self.transitions.get_mut(from as usize) {
            raise(row, to as usize, 1);
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        other.faults.iter().enumerate().for_each(|(at, count)| raise(&mut self.faults, at, *count));
        other.crash_points.iter().enumerate().for_each(|(at, count)| raise(&mut self.crash_points, at, *count));
        other.met.iter().enumerate().for_each(|(at, count)| raise(&mut self.met, at, *count));
        for (row, others) in self.transitions.iter_mut().zip(&other.transitions) {
            others.iter().enumerate().for_each(|(at, count)| raise(row, at, *count));
        }
    }

    /// Every row with its count: faults, crash points, what must be met, and the moves of the state machine's table.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows = Vec::new();
        rows.extend(Fault::ALL.iter().zip(self.faults).map(|(fault, count)| (format!("fault {fault:?}"), count)));
        let points = CrashPoint::ALL.iter().zip(self.crash_points).enumerate();
        rows.extend(points.map(|(at, (point, count))| (format!("crash P-{:02} {point:?}", at + 1), count)));
        rows.extend(Met::ALL.iter().zip(self.met).map(|(met, count)| (format!("met {met:?}"), count)));
        rows.extend(Self::moves().into_iter().map(|(from, to)| {
            let count = self.transitions.get(from as usize).and_then(|row| row.get(to as usize)).copied();
            (format!("move {from} -> {to}"), count.unwrap_or_default())
        }));
        rows
    }

    /// Moves that the state machine's table allows and that can happen to an order of the manager. Drafts and denied orders
    /// live inside one call of the engine and have no news. An armed order is not in the journal and is signed in the same
    /// step here, so no news of the venue meets it; a signed one cannot be "not sent", and a refusal needs a signature.
    fn moves() -> Vec<(OrderState, OrderState)> {
        let mut moves = BTreeMap::new();
        for from in OrderState::ALL {
            for step in Step::ALL {
                let is_excluded = |to: &OrderState| {
                    use OrderState::{Abandoned, Armed, Intent, Live, Rejected, Sent, Settling, Unknown};
                    matches!(
                        (from, *to),
                        (Armed, Live | Unknown | Settling | Rejected) | (Sent, Abandoned) | (Intent, Rejected)
                    )
                };
                if let (false, Next::To(to) | Next::Resurrect(to)) =
                    (matches!(from, OrderState::Draft | OrderState::Denied), next(from, step))
                    && !is_excluded(&to)
                {
                    moves.insert((from, to), ());
                }
            }
        }
        moves.into_keys().collect()
    }
}
