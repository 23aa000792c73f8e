//! What time brings: questions, missing fills, cancels to repeat, orders without an answer, orders unfilled for too long,
//! and closed orders that leave memory.

use super::{Actions, OrderManager};
use crate::action::{Alarm, Change, OrderAction};
use crate::cancel::CancelStep;
use crate::order::{CancelState, Order};
use crate::state::{OrderState, Step};
use keel_model::{InstrumentId, Timestamp, UnknownReason};
use std::time::Duration;

const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

impl OrderManager {
    /// Time has passed. Cost: one look at each open order.
    pub fn on_timer(&mut self, now: Timestamp, out: &mut Actions) {
        let mut due = std::mem::take(&mut self.scratch);
        due.clear();
        due.extend_from_slice(&self.open);
        for slot in &due {
            self.check_answer(*slot, now, out);
            self.check_query(*slot, now, out);
            self.check_unfilled(*slot, now, out);
            self.check_cancel(*slot, now, out);
            self.check_stuck(*slot, now, out);
        }
        self.check_fills(&due, now, out);
        self.scratch = due;
        self.retire(now);
    }

    /// A placement that left and that nobody answered is unknown. One that has not left is still in our own hands.
    fn check_answer(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let timeout = ms(self.config.answer_timeout_ms);
        let Some(order) = self.slot_mut(slot) else { return };
        if order.state == OrderState::Sent && now.since(order.ts_changed) > timeout {
            let (id, reason) = (order.id(), UnknownReason::Timeout);
            self.step(id, Step::Unsure, Change::Unknown(reason), now, out);
        }
    }

    fn check_query(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let timeout = ms(self.config.query_timeout_ms);
        let (first_ms, max_ms) = (self.config.query_first_ms, self.config.query_pause_ms_max);
        let Some(order) = self.slot_mut(slot) else { return };
        let is_under_way = order.query.sent != Timestamp::ZERO && now.since(order.query.sent) < timeout;
        let is_early = !order.query.is_running() || now < order.query.due || is_under_way;
        if keel_model::mutant!(20, is_early, true) {
            return;
        }
        order.query.sent = now;
        order.query.attempts = order.query.attempts.saturating_add(1);
        order.query.due = now.plus(ms(order.query.pause_ms(first_ms, max_ms)));
        out.push(OrderAction::Query(order.query_request()));
    }

    /// Repeats cancels without an answer.
    fn check_cancel(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let timeout = ms(self.config.answer_timeout_ms);
        let (first_ms, max_ms) = (self.config.cancel_retry_ms, self.config.query_pause_ms_max);
        let Some(order) = self.slot_mut(slot) else { return };
        if order.cancel == CancelState::Sent && now.since(order.cancel_retry.sent) > timeout {
            order.step_cancel(CancelStep::Lost);
            order.cancel_retry.due = now.plus(ms(order.cancel_retry.pause_ms(first_ms, max_ms)));
        }
        let may_cancel = order.state.may_fill() && order.is_cancel_wanted && order.cancel == CancelState::Unknown;
        if may_cancel && order.cancel_retry.is_running() && now >= order.cancel_retry.due {
            order.step_cancel(CancelStep::Again);
            order.cancel_retry.due = Timestamp::ZERO;
            order.cancel_retry.sent = now;
            order.cancel_retry.attempts = order.cancel_retry.attempts.saturating_add(1);
            out.push(OrderAction::Cancel(order.cancel_request()));
        }
    }

    fn check_stuck(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let limit = ms(self.config.stuck_alarm_ms);
        let Some(order) = self.slot_mut(slot) else { return };
        let age = now.since(order.unresolved_since);
        if order.state != OrderState::Live && !order.state.is_closed() && !order.is_stuck_told && age > limit {
            order.is_stuck_told = true;
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let alarm = Alarm::Stuck { id: order.id(), state: order.state, age_ms };
            self.alarm(alarm, out);
        }
    }

    /// Asks for missing fills: one question per instrument, reaching back to the oldest order that misses some.
    fn check_fills(&mut self, open: &[u32], now: Timestamp, out: &mut Actions) {
        let timeout = ms(self.config.query_timeout_ms);
        let (first_ms, max_ms) = (self.config.query_first_ms, self.config.query_pause_ms_max);
        let overlap = ms(self.config.fills_overlap_ms);
        let start = out.len();
        for slot in open {
            let Some(order) = self.slot_mut(*slot) else { continue };
            let is_under_way = order.fills.sent != Timestamp::ZERO && now.since(order.fills.sent) < timeout;
            let is_early = !order.fills.is_running() || now < order.fills.due || is_under_way;
            if keel_model::mutant!(21, is_early, true) {
                continue;
            }
            order.fills.sent = now;
            order.fills.attempts = order.fills.attempts.saturating_add(1);
            order.fills.due = now.plus(ms(order.fills.pause_ms(first_ms, max_ms)));
            let since = order.born().minus(overlap);
            // Every second time the order itself is asked as well: its count may have been the lie.
            if order.fills.attempts.is_multiple_of(2) {
                order.query.start(now);
            }
            merge_fetch(out, start, order.new.intent.instrument, since);
        }
    }

    /// Lets closed orders leave memory by age and by number, the oldest first. Part of every [`Self::on_timer`].
    pub fn retire(&mut self, now: Timestamp) {
        // Whoever wants them has taken the last ones by now; nobody may let them pile up.
        self.evicted.clear();
        let retention = ms(self.config.retention_ms);
        while let Some((closed, id)) = self.closed.front().copied() {
            if self.closed.len() <= self.config.closed_orders_max && now.since(closed) <= retention {
                break;
            }
            self.closed.pop_front();
            // An order that rose and closed again has a later entry of its own.
            let is_current = |order: &Order| order.state.is_closed() && order.ts_changed == closed;
            if !self.get(id).is_some_and(is_current) {
                continue;
            }
            if let Some(slot) = self.index.remove(&id) {
                if let Some(order) = self.slots.get_mut(slot as usize).and_then(Option::take) {
                    self.evicted.push(order);
                }
                self.free.push(slot);
            }
        }
    }
}

fn merge_fetch(out: &mut Actions, start: usize, instrument: InstrumentId, since: Timestamp) {
    for action in out.iter_mut().skip(start) {
        if let OrderAction::FetchFills(known, earliest) = action
            && *known == instrument
        {
            *earliest = (*earliest).min(since);
            return;
        }
    }
    out.push(OrderAction::FetchFills(instrument, since));
}
