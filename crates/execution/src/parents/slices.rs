//! TWAP and iceberg: a large quantity in small pieces, one piece at a time.

use super::parent::{Parent, Role};
use super::{ParentAction, Surroundings, less, part, plus, random};
use crate::manager::OrderManager;
use keel_model::parent::{BPS, Iceberg, ParentEnd, Twap};
use keel_model::{InstrumentKind, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Timestamp};
use std::time::Duration;

/// No piece is larger than this many times its share, however much the schedule has fallen behind.
const CATCH_UP_MAX: u64 = 2;

/// How many slices of a TWAP that began at `start` are due at `now`.
pub(crate) fn slices_due(plan: &Twap, start: Timestamp, now: Timestamp) -> u32 {
    let interval_ns = interval(plan).as_nanos() as u64;
    let elapsed_ns = u64::try_from(now.since(start).as_nanos()).unwrap_or(u64::MAX);
    let whole = elapsed_ns / interval_ns.max(1);
    // Each slice is moved by less than an interval, so all but the newest are due.
    let moved_ns = u128::from(interval_ns) * u128::from(plan.randomise_bps) / u128::from(BPS);
    let moved_ns = u64::try_from(moved_ns).unwrap_or(u64::MAX).min(interval_ns.saturating_sub(1));
    let shift_ns = if moved_ns == 0 { 0 } else { random(plan.seed, whole) % (moved_ns + 1) };
    let is_newest_due = elapsed_ns - whole * interval_ns >= shift_ns;
    u32::try_from(whole.saturating_add(u64::from(is_newest_due))).unwrap_or(u32::MAX).min(plan.slices)
}

fn interval(plan: &Twap) -> Duration {
    Duration::from_nanos((plan.duration_ms.saturating_mul(1_000_000) / u64::from(plan.slices.max(1))).max(1))
}

impl Parent {
    pub(crate) fn step_twap(
        &mut self,
        plan: &Twap,
        around: &Surroundings<'_>,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        let interval = interval(plan);
        let due = slices_due(plan, self.ts_created, around.now);
        let over_at = self.ts_created.plus(Duration::from_millis(plan.duration_ms)).plus(interval);
        let is_over = around.now >= over_at;
        let rest = less(plan.quantity, self.filled);
        let order_type = if plan.limit.is_some() { OrderType::Limit } else { OrderType::Market };
        let price = plan.limit.or(around.bid).or(around.ask);
        let tradable = |quantity| around.rules.tradable(quantity, price, order_type);
        if self.is_cancel_wanted || is_over || self.is_exhausted() || tradable(rest).is_none() {
            return self.end_slices(rest, tradable(rest).is_none(), is_over, out);
        }
        if !self.open.is_empty() {
            if due > self.slices_done {
                // What this piece could not fill goes into the next one.
                self.cancel_children(|_| true, out);
            }
            return None;
        }
        let is_last = due >= plan.slices;
        if (due == self.slices_done && !is_last) || !self.may_place(around.now) || self.must_wait(around) {
            return None;
        }
        let scheduled = if is_last { plan.quantity } else { part(plan.quantity, due.into(), plan.slices.into()) };
        let piece = part(plan.quantity, CATCH_UP_MAX, plan.slices.into()).max(around.rules.lot.min);
        let mut wanted = less(scheduled, self.filled).min(piece);
        let after = less(rest, wanted);
        if after.is_positive() && tradable(after).is_none() {
            // The rest would be too small for an order of its own.
            wanted = rest;
        }
        if let Some(part_bps) = plan.participation_bps_max {
            wanted = wanted.min(part(self.volume, part_bps.into(), BPS.into()));
        }
        let quantity = tradable(wanted)?;
        self.slices_done = due;
        self.volume = Quantity::ZERO;
        // Only the last slice may come again; not faster than this.
        self.retry_at = self.retry_at.max(around.now.plus(interval / 4));
        self.place_slice(order_type, plan.limit, quantity, around, out);
        None
    }

    pub(crate) fn step_iceberg(
        &mut self,
        plan: &Iceberg,
        around: &Surroundings<'_>,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        let rest = less(plan.quantity, self.filled);
        let order_type = if plan.is_post_only { OrderType::LimitMaker } else { OrderType::Limit };
        let tradable = |quantity| around.rules.tradable(quantity, Some(plan.price), order_type);
        if self.is_cancel_wanted || self.is_exhausted() || tradable(rest).is_none() {
            return self.end_slices(rest, tradable(rest).is_none(), false, out);
        }
        if !self.open.is_empty() || !self.may_place(around.now) || self.must_wait(around) {
            return None;
        }
        let less_bps = match plan.randomise_bps {
            0 => 0,
            bps => random(plan.seed, self.children.len() as u64) % u64::from(bps + 1),
        };
        let mut wanted = part(plan.display, u64::from(BPS) - less_bps, BPS.into()).min(rest);
        let after = less(rest, wanted);
        if after.is_positive() && tradable(after).is_none() {
            wanted = rest;
        }
        let quantity = tradable(wanted)?;
        self.place_slice(order_type, Some(plan.price), quantity, around, out);
        None
    }

    /// Nothing is asked for that risk would not take anyway.
    fn must_wait(&self, around: &Surroundings<'_>) -> bool {
        self.plan.purpose() == OrderPurpose::Entry && !around.may_open
    }

    /// Cancels what works; once nothing is left, says how it ended.
    fn end_slices(
        &mut self,
        rest: Quantity,
        is_rest_dust: bool,
        is_over: bool,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        self.cancel_children(|_| true, out);
        if !self.open.is_empty() {
            return None;
        }
        Some(match () {
            () if !rest.is_positive() || is_rest_dust => ParentEnd::Completed,
            () if self.is_cancel_wanted => ParentEnd::Canceled,
            () if is_over => ParentEnd::Expired,
            () => ParentEnd::Failed,
        })
    }

    fn place_slice(
        &mut self,
        order_type: OrderType,
        price: Option<Price>,
        quantity: Quantity,
        around: &Surroundings<'_>,
        out: &mut Vec<ParentAction>,
    ) {
        let (instrument, side, purpose) = (self.plan.instrument(), self.plan.side(), self.plan.purpose());
        let market = OrderIntent::market(instrument, side, quantity, purpose);
        let is_perpetual = around.rules.kind == InstrumentKind::LinearPerpetual;
        let reduce_only = purpose != OrderPurpose::Entry && is_perpetual;
        let intent = OrderIntent { order_type, price, reduce_only, ..market };
        out.push(ParentAction::Place { parent: self.id, strategy: self.strategy, role: Role::Slice, intent });
    }

    /// What may still come of it: filled, and what its open children could fill. Never above the plan.
    #[must_use]
    pub fn potential(&self, orders: &OrderManager) -> Quantity {
        plus(self.filled, self.left_of_all(orders))
    }
}
