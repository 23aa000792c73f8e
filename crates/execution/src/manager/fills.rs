//! Fills: each applied once, whoever brings it first, and never dropped.

use super::{Actions, OrderManager};
use crate::action::{Alarm, Change, OrderAction};
use crate::state::Step;
use keel_model::{ClientOrderId, Fill, OrderIntent, OrderPurpose, OrderType, Timestamp, VenueOrderId};

impl OrderManager {
    /// Fills found by asking.
    pub(super) fn on_fills(&mut self, fills: &[(Option<ClientOrderId>, Fill)], now: Timestamp, out: &mut Actions) {
        for (id, fill) in fills {
            match id.filter(|id| id.instance == self.config.instance) {
                Some(id) => self.apply_fill(id, fill, now, out),
                None => {
                    let is_known = self.trades.contains(fill.instrument, &fill.trade_id);
                    if !is_known {
                        self.foreign_fill(fill, out);
                    }
                }
            }
        }
        // The answer is in: whoever still misses fills asks again at its own pace.
        for at in 0..self.open.len() {
            let Some(slot) = self.open.get(at).copied() else { break };
            if let Some(order) = self.slot_mut(slot) {
                order.fills.sent = Timestamp::ZERO;
            }
        }
    }

    /// Applies one fill of an order of ours, once.
    pub(super) fn apply_fill(&mut self, id: ClientOrderId, fill: &Fill, now: Timestamp, out: &mut Actions) {
        let (trade_id, instrument) = (fill.trade_id, fill.instrument);
        if !fill.quantity.is_positive() || !fill.price.is_positive() || trade_id.is_empty() {
            self.alarm(Alarm::BadFill { id, trade_id, instrument }, out);
            return;
        }
        if keel_model::mutant!(13, self.trades.contains(instrument, &trade_id), false) {
            self.counters.fills_repeated += 1;
            return;
        }
        if self.get(id).is_none() {
            if fill.ts_event <= self.trades.horizon() {
                self.alarm(Alarm::FillBeyondMemory { id, trade_id, instrument }, out);
                return;
            }
            self.adopt_by_fill(id, fill, now, out);
        }
        let Some(order) = self.order_mut(id) else { return };
        if keel_model::mutant!(14, false, order.state.is_closed()) {
            return;
        }
        let Ok(filled) = order.filled.checked_add(fill.quantity) else {
            self.alarm(Alarm::Overflow { id, instrument }, out);
            return;
        };
        order.filled = filled;
        order.cum = order.cum.max(filled);
        let quantity = order.new.intent.quantity;
        let is_overfill = quantity.is_positive() && filled > quantity;
        let is_mismatch = order.new.intent.side != fill.side || order.new.intent.instrument != instrument;
        self.trades.insert(instrument, &trade_id, fill.ts_event);
        self.counters.fills += 1;
        out.push(OrderAction::Filled { id, fill: *fill });
        if is_mismatch {
            self.alarm(Alarm::FillMismatch { id, trade_id, instrument }, out);
        }
        if is_overfill {
            self.alarm(Alarm::Overfill { id, instrument, quantity, filled }, out);
        }
        self.step(id, Step::NewTrade, Change::Plain, now, out);
    }

    /// A fill of an order that is not in the books: the order is adopted and asked about.
    fn adopt_by_fill(&mut self, id: ClientOrderId, fill: &Fill, now: Timestamp, out: &mut Actions) {
        let intent = OrderIntent {
            order_type: OrderType::Limit,
            price: Some(fill.price),
            quantity: keel_model::Quantity::ZERO,
            ..OrderIntent::market(fill.instrument, fill.side, fill.quantity, OrderPurpose::Entry)
        };
        self.adopt(intent, id, VenueOrderId::EMPTY, now, out);
        if let Some(order) = self.order_mut(id) {
            order.query.start(now);
        }
    }
}
