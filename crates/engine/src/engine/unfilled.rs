//! Orders that were cancelled because they did not fill in time: told, and exits that time out again and again are closed at
//! the market instead.
//!
//! Bounded: one market order follows the n-th time-out in a row of a strategy's exits on one instrument, never more than what
//! is left of the order that timed out, and the count starts again.

use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_execution::{Order, OrderState};
use keel_model::{ClientOrderId, InstrumentId, NewOrder, OrderIntent, OrderPurpose, OrderType, StrategyId};

/// Time-outs of exits in a row, and the exits that are to be followed by a market order. As many entries as there are
/// strategies times instruments that they exit, and open orders, at the most.
#[derive(Clone, Debug, Default)]
pub(super) struct ExitTimeouts {
    in_a_row: Vec<(StrategyId, InstrumentId, u32)>,
    pub(super) to_close: Vec<ClientOrderId>,
}

impl ExitTimeouts {
    /// Is no exit waiting to be followed by a market order?
    pub(super) const fn is_idle(&self) -> bool {
        self.to_close.is_empty()
    }

    fn count(&mut self, strategy: StrategyId, instrument: InstrumentId) -> Option<&mut u32> {
        let is_same = |entry: &(StrategyId, InstrumentId, u32)| entry.0 == strategy && entry.1 == instrument;
        if !self.in_a_row.iter().any(is_same) {
            self.in_a_row.push((strategy, instrument, 0));
        }
        self.in_a_row.iter_mut().find(|entry| is_same(entry)).map(|entry| &mut entry.2)
    }
}

impl Engine {
    /// An order has worked for too long; its cancel is on the way.
    pub(super) fn on_unfilled(&mut self, id: ClientOrderId, out: &mut Outbox) {
        let Some(new) = self.orders.get(id).map(|order| order.new) else { return };
        let (strategy, instrument, purpose) = (new.strategy, new.intent.instrument, new.intent.purpose);
        out.notify(Notice::Unfilled { id, strategy, instrument, purpose });
        if purpose != OrderPurpose::Exit || self.config.exit_timeouts_max == 0 {
            return;
        }
        let limit = self.config.exit_timeouts_max;
        let Some(count) = self.exit_timeouts.count(strategy, instrument) else { return };
        *count += 1;
        if *count >= limit {
            *count = 0;
            self.exit_timeouts.to_close.push(id);
        }
    }

    /// A fill of an exit: the next time-out is the first again.
    pub(super) fn note_exit_fill(&mut self, new: &NewOrder) {
        if new.intent.purpose == OrderPurpose::Exit
            && !self.exit_timeouts.in_a_row.is_empty()
            && let Some(count) = self.exit_timeouts.count(new.strategy, new.intent.instrument)
        {
            *count = 0;
        }
    }

    /// The cancel of an exit that timed out too often is confirmed: what is left of it is closed at the market.
    pub(super) fn close_timed_out(&mut self, out: &mut Outbox) {
        if self.exit_timeouts.to_close.is_empty() {
            return;
        }
        if self.phase != Phase::Running {
            self.exit_timeouts.to_close.clear();
            return;
        }
        let ids = std::mem::take(&mut self.exit_timeouts.to_close);
        for id in ids {
            match self.orders.get(id) {
                Some(order) if !order.state.is_closed() => self.exit_timeouts.to_close.push(id),
                Some(order) if order.state == OrderState::Done => {
                    if let Some(intent) = self.market_exit(order) {
                        let (strategy, client_order_id) = (order.new.strategy, self.house_id());
                        let new = NewOrder { client_order_id, strategy, ts_decided: self.now, intent };
                        self.submit(new, out);
                    }
                }
                _ => {}
            }
        }
    }

    fn market_exit(&self, order: &Order) -> Option<OrderIntent> {
        let intent = &order.new.intent;
        let rules = self.instruments.get(intent.instrument)?;
        let left = order.leaves().min(self.risk.closable(intent.instrument, intent.side));
        let quantity = rules.tradable(left, intent.price, OrderType::Market)?;
        let reduce_only = intent.reduce_only;
        Some(OrderIntent {
            reduce_only,
            ..OrderIntent::market(intent.instrument, intent.side, quantity, intent.purpose)
        })
    }
}
