//! Orders that work for too long without filling: entries and exits are cancelled after a time of their own, which may differ
//! from strategy to strategy. Protective orders and the children of a plan stay: the one is there to wait, the others' plan
//! knows when to give up. Each order is cancelled for this once, and it is told.

use super::{Actions, OrderManager};
use crate::action::OrderAction;
use crate::cancel::CancelStep;
use crate::state::OrderState;
use keel_model::{ClientOrderId, OrderPurpose, OrderType, StrategyId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long orders of one strategy may work without filling. `None` takes the run's own limit; zero means for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Orders that open or add; unit: milliseconds.
    pub entry_ms: Option<u64>,
    /// Orders that close or reduce; unit: milliseconds.
    pub exit_ms: Option<u64>,
}

impl OrderManager {
    /// Gives the strategies limits of their own, by their number.
    pub fn set_timeouts(&mut self, timeouts: Vec<Timeouts>) {
        self.timeouts = timeouts;
    }

    /// An order whose plan decides how long it works.
    pub fn leave_to_plan(&mut self, id: ClientOrderId) {
        if let Some(order) = self.order_mut(id) {
            order.is_planned = true;
        }
    }

    /// How long an order may work; `None` means for ever.
    fn limit_of(&self, strategy: StrategyId, purpose: OrderPurpose, order_type: OrderType) -> Option<Duration> {
        let own = self.timeouts.get(usize::from(strategy.0)).copied().unwrap_or_default();
        let limit_ms = match purpose {
            OrderPurpose::Entry => own.entry_ms.or(self.config.unfilled_timeout_ms),
            OrderPurpose::Exit if order_type != OrderType::Market => own.exit_ms.or(self.config.exit_timeout_ms),
            OrderPurpose::Exit | OrderPurpose::Protective => None,
        };
        limit_ms.filter(|limit| *limit > 0).map(Duration::from_millis)
    }

    pub(super) fn check_unfilled(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let Some(order) = self.slot(slot) else { return };
        if order.state != OrderState::Live || order.is_cancel_wanted || order.is_planned {
            return;
        }
        let (id, strategy, intent) = (order.id(), order.new.strategy, order.new.intent);
        let age = now.since(order.ts_created);
        if self.limit_of(strategy, intent.purpose, intent.order_type).is_none_or(|limit| age <= limit) {
            return;
        }
        let Some(order) = self.slot_mut(slot) else { return };
        order.is_cancel_wanted = true;
        order.step_cancel(CancelStep::Wanted);
        order.cancel_retry.due = now;
        out.push(OrderAction::Unfilled { id });
    }
}
