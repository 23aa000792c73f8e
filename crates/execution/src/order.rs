//! One order: what was asked for, what is known, and its sub-machines for cancel, questions and missing fills.

use crate::cancel::CancelStep;
use crate::state::OrderState;
use keel_model::{
    CancelOrder, ClientOrderId, NewOrder, OrderPurpose, OrderStatus, Quantity, QueryOrder, Timestamp, VenueOrderId,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far our clock may be ahead of the venue's where nothing better is known than our own time.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(3_600);

/// How far a cancel has come. Sending a cancel again is always safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelState {
    /// Not asked for.
    #[default]
    None,
    /// On its way.
    Sent,
    /// The venue cancelled the order.
    Acked,
    /// The venue refused: mostly because the order is over or not there yet. The order is queried.
    Rejected,
    /// No answer, or it never left: sent again after a pause.
    Unknown,
}

/// A schedule with growing pauses: one thing under way at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// When it is due; zero means never.
    pub(crate) due: Timestamp,
    /// When the one under way was sent; zero means none is.
    pub(crate) sent: Timestamp,
    /// How many were sent.
    pub(crate) attempts: u32,
}

impl Schedule {
    pub(crate) fn start(&mut self, due: Timestamp) {
        if self.due == Timestamp::ZERO || due < self.due {
            self.due = due;
        }
    }

    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.due != Timestamp::ZERO
    }

    /// The pause before the next attempt: doubled each time up to the longest. What is still unanswered after
    /// [`ATTEMPTS_QUICK`] is a venue that is out, and is tried more and more rarely (V-17).
    pub(crate) fn pause_ms(&self, first_ms: u64, pause_ms_max: u64) -> u64 {
        let late = self.attempts.saturating_sub(ATTEMPTS_QUICK) / ATTEMPTS_PER_STAGE;
        let longest_ms = pause_ms_max.saturating_mul(1 << late.min(STAGES_MAX));
        first_ms.saturating_mul(1u64 << self.attempts.min(20)).min(longest_ms)
    }
}

/// So often something is tried within the longest pause.
const ATTEMPTS_QUICK: u32 = 40;
/// After so many more the longest pause doubles.
const ATTEMPTS_PER_STAGE: u32 = 4;
/// It doubles at most this often: eight times the longest pause.
const STAGES_MAX: u32 = 3;

/// One order of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What was asked for.
    pub new: NewOrder,
    /// Where it stands.
    pub state: OrderState,
    /// The venue's id, when known.
    pub venue_order_id: Option<VenueOrderId>,
    /// Sum of the fills applied.
    pub filled: Quantity,
    /// The venue's own count; never below `filled`.
    pub cum: Quantity,
    /// How it ended at the venue, when it has.
    pub end: Option<OrderStatus>,
    /// How far a cancel has come.
    pub cancel: CancelState,
    /// Does somebody want it cancelled? Stays until the order is closed, so that a refused or lost cancel is followed up.
    pub is_cancel_wanted: bool,
    /// The signed timestamp on the venue's clock, when known.
    pub signed_at: Option<Timestamp>,
    /// Validity of the signature; unit: milliseconds.
    pub recv_window_ms: u64,
    /// Was it risen from a closed state?
    pub is_resurrected: bool,
    /// Did it come from the venue, without a placement in our books?
    pub is_adopted: bool,
    /// When it came into our books.
    pub ts_created: Timestamp,
    /// When its state last changed.
    pub ts_changed: Timestamp,
    /// Has the venue ever shown that it had it?
    pub was_accepted: bool,
    /// Was it open when a former process ended? What was wanted of it then is not known.
    pub is_restored: bool,
    /// It was accepted once, and the venue has said for longer than its answers may lag that it does not know it. It is not
    /// closed by that: fills may still be owed.
    pub is_missing: bool,
    /// Does a plan decide how long it works?
    #[serde(default)]
    pub is_planned: bool,
    pub(crate) ordinal: u64,
    /// It was not on a complete list of open orders, and the question about it is not answered yet.
    pub(crate) is_doubted: bool,
    /// Since when the venue says that it does not know it; zero while it does.
    pub(crate) not_found_since: Timestamp,
    pub(crate) query: Schedule,
    pub(crate) fills: Schedule,
    pub(crate) cancel_retry: Schedule,
    /// Lower bound for `signed_at` proofs when it is not known: the first venue time that was told after the request must
    /// have been signed.
    pub(crate) signed_before: Option<Timestamp>,
    pub(crate) unresolved_since: Timestamp,
    /// When, on our clock, "not found" begins to prove something; zero while that is not known.
    #[serde(default)]
    pub(crate) fence_at: Timestamp,
    pub(crate) is_stuck_told: bool,
}

impl Order {
    pub(crate) fn new(new: NewOrder, now: Timestamp, ordinal: u64) -> Self {
        Self {
            new,
            state: OrderState::Intent,
            venue_order_id: None,
            filled: Quantity::ZERO,
            cum: Quantity::ZERO,
            end: None,
            cancel: CancelState::None,
            is_cancel_wanted: false,
            signed_at: None,
            recv_window_ms: 0,
            is_resurrected: false,
            is_adopted: false,
            was_accepted: false,
            is_restored: false,
            ts_created: now,
            ts_changed: now,
            is_missing: false,
            is_planned: false,
            ordinal,
            is_doubted: false,
            not_found_since: Timestamp::ZERO,
            query: Schedule::default(),
            fills: Schedule::default(),
            cancel_retry: Schedule::default(),
            signed_before: None,
            unresolved_since: now,
            fence_at: Timestamp::ZERO,
            is_stuck_told: false,
        }
    }

    /// Our id.
    #[must_use]
    pub const fn id(&self) -> ClientOrderId {
        self.new.client_order_id
    }

    /// What may still fill.
    #[must_use]
    pub fn leaves(&self) -> Quantity {
        self.new.intent.quantity.checked_sub(self.filled).ok().filter(|q| q.is_positive()).unwrap_or(Quantity::ZERO)
    }

    /// No trade of it is older, by the venue's clock: when it was signed, or, where that is not known, our own time less the
    /// most that our clock is allowed to be ahead.
    pub(crate) fn born(&self) -> Timestamp {
        self.signed_at.unwrap_or_else(|| self.new.ts_decided.min(self.ts_created).minus(CLOCK_AHEAD_MAX))
    }

    /// Number of the order in this run, from 1, in the order of birth.
    #[must_use]
    pub const fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Does it protect a position?
    #[must_use]
    pub fn is_protective(&self) -> bool {
        self.new.intent.purpose == OrderPurpose::Protective
    }

    /// Moves the cancel by its table; answers whether it moved.
    pub(crate) fn step_cancel(&mut self, step: CancelStep) -> bool {
        let before = self.cancel;
        self.cancel = before.next(step);
        before != self.cancel
    }

    pub(crate) fn cancel_request(&self) -> CancelOrder {
        CancelOrder {
            client_order_id: self.id(),
            venue_order_id: self.venue_order_id,
            instrument: self.new.intent.instrument,
        }
    }

    pub(crate) fn query_request(&self) -> QueryOrder {
        QueryOrder { client_order_id: self.id(), instrument: self.new.intent.instrument }
    }

    /// Is something about it not accounted for: its outcome, fills, or where it went?
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.is_missing || self.is_unresolved() || self.cum > self.filled
    }

    /// Is the outcome, or are fills, still owed?
    pub(crate) fn is_unresolved(&self) -> bool {
        matches!(self.state, OrderState::Unknown | OrderState::Settling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_17_what_stays_unanswered_is_tried_ever_more_rarely_and_never_given_up() {
        let mut schedule = Schedule::default();
        let mut at_ms = Vec::new();
        let mut now_ms = 0;
        while now_ms < 6_000_000 {
            at_ms.push(now_ms);
            now_ms += schedule.pause_ms(200, 2_000);
            schedule.attempts += 1;
        }
        let within = |from_ms: u64, to_ms: u64| at_ms.iter().filter(|at| (from_ms..to_ms).contains(at)).count();
        assert!(within(0, 60_000) >= 30, "quick at first");
        assert!((3..=4).contains(&within(5_940_000, 6_000_000)), "and rarely in the end");
        assert!(at_ms.len() < 450, "{} attempts in 100 minutes", at_ms.len());
    }
}
