//! Start is recovery: the journal's intents and events are taken again by the same code that took them first, and what is
//! open afterwards is unknown until the venue has answered.

use super::{Actions, ExecutionError, OrderManager};
use crate::action::Change;
use crate::cancel::CancelStep;
use crate::order::CancelState;
use crate::state::{OrderState, Step};
use keel_model::{NewOrder, Timestamp, UnknownReason};

impl OrderManager {
    /// Takes an intent from the journal. It was approved when it was written; whether it left, later records or the venue
    /// will tell.
    pub fn restore_intent(&mut self, new: NewOrder, ts: Timestamp) -> Result<(), ExecutionError> {
        self.book_intent(new, ts)
    }

    /// Ends the replay of the journal: whatever is still open is unknown from now on and will be asked about at once.
    pub fn begin_recovery(&mut self, now: Timestamp, out: &mut Actions) {
        let open = self.open.clone();
        for slot in open {
            let Some(order) = self.slot_mut(slot) else { continue };
            let id = order.id();
            order.is_restored = true;
            // Requests of the former process have no answer any more.
            order.query.stop();
            order.fills.stop();
            order.cancel_retry.stop();
            order.step_cancel(CancelStep::Restart);
            if order.is_cancel_wanted && order.cancel == CancelState::Unknown {
                order.cancel_retry.due = now;
            }
            match order.state {
                OrderState::Intent | OrderState::Armed | OrderState::Sent => {
                    let step = keel_model::mutant!(19, Step::Unsure, Step::NotSent);
                    self.step(id, step, Change::Unknown(UnknownReason::Restart), now, out);
                }
                OrderState::Live => {
                    // It was at the venue when we went; what became of it meanwhile only the venue knows.
                    self.force_unknown(slot, now, out);
                }
                OrderState::Settling => {
                    if let Some(order) = self.slot_mut(slot) {
                        order.fills.start(now);
                    }
                }
                OrderState::Unknown => {}
                OrderState::Draft
                | OrderState::Done
                | OrderState::Rejected
                | OrderState::NeverAccepted
                | OrderState::Denied
                | OrderState::Abandoned => {
                    debug_assert!(false, "closed orders are not on the list of open ones");
                }
            }
            if let Some(order) = self.slot_mut(slot).filter(|order| order.state == OrderState::Unknown) {
                order.query.stop();
                order.query.start(now);
                order.unresolved_since = now;
            }
        }
    }

    fn force_unknown(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        self.enter(slot, OrderState::Unknown, Change::Unknown(UnknownReason::Restart), now, out);
    }
}
