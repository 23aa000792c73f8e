//! Two exits of which one counts, and two ways in of which one counts.

use super::parent::{Parent, Role};
use super::{GRACE, ParentAction, ParentNews, Surroundings, less, part, plus};
use crate::manager::OrderManager;
use crate::state::OrderState;
use keel_model::parent::{Oco, ParentEnd, Stop};
use keel_model::{InstrumentKind, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Side, TimeInForce, Timestamp};

/// How often stop and target are exchanged; after that the stop stays.
const SWAPS_MAX: u32 = 20;
/// Most exits of one role at once; beyond that the newest is cancelled and placed anew with what was added.
const EXITS_MAX: usize = 3;

/// What the exits of a parent come to at this moment.
#[derive(Clone, Copy, Debug, Default)]
struct Exits {
    /// What all of them may still fill.
    left: Quantity,
    /// The same of those that are to stay.
    working: Quantity,
    /// The same of those that the venue has confirmed.
    confirmed: Quantity,
    /// How many are to stay.
    count: usize,
    /// The newest that is to stay.
    newest: Option<u32>,
    newest_left: Quantity,
}

impl Parent {
    fn exits(&self, is_meant: impl Fn(Role) -> bool, orders: &OrderManager) -> Exits {
        let mut sum = Exits::default();
        for at in &self.open {
            let Some(child) = self.children.get(*at as usize) else { continue };
            if !is_meant(child.role) {
                continue;
            }
            let left = Self::left(child, orders);
            sum.left = plus(sum.left, left);
            if !child.is_cancel_asked {
                sum.working = plus(sum.working, left);
                if orders.get(child.id).is_some_and(|order| order.state == OrderState::Live) {
                    sum.confirmed = plus(sum.confirmed, left);
                }
                sum.count += 1;
                sum.newest = Some(*at);
                sum.newest_left = left;
            }
        }
        sum
    }

    /// Keeps exits for `wanted` at the venue, never for more: one role at a time, the other role's orders gone before its
    /// own are placed. Answers whether there is anything left to protect.
    #[allow(clippy::too_many_arguments, reason = "the plan's prices differ between a bracket and an OCO")]
    pub(crate) fn protect(
        &mut self,
        wanted: Quantity,
        exit: Side,
        stop: Stop,
        target: Option<Price>,
        is_growing: bool,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) -> bool {
        let role = self.choose(wanted, exit, stop, target, around);
        self.cancel_children(|other| other != role && other != Role::Entry, out);
        let all = self.exits(|other| other != Role::Entry, orders);
        let reachable = wanted.min(plus(all.left, around.closable));
        let intent = self.exit_intent(role, exit, stop, target, around);
        let price = intent.price.or(intent.stop_price).or(around.bid).or(around.ask);
        let tradable = |quantity| around.rules.tradable(quantity, price, intent.order_type);
        self.watch(wanted, all.confirmed, around.now, out);
        let is_dust = tradable(wanted).is_none() || (self.is_rest_of_fees(wanted) && tradable(reachable).is_none());
        if is_dust {
            self.unprotected = Quantity::ZERO;
            self.cancel_children(|other| other != Role::Entry, out);
            return all.left.is_positive();
        }
        if all.working > wanted {
            if let Some(newest) = all.newest {
                self.cancel_child(newest, out);
            }
            return true;
        }
        let missing = less(reachable, all.left);
        match tradable(missing) {
            Some(_) if all.count >= EXITS_MAX => {
                if let Some(newest) = all.newest {
                    self.cancel_child(newest, out);
                }
            }
            Some(quantity) if self.may_place(around.now) => {
                let intent = OrderIntent { quantity, ..intent };
                out.push(ParentAction::Place { parent: self.id, strategy: self.strategy, role, intent });
            }
            None if !is_growing => {
                // Too little for an order of its own, but not next to one that works already.
                let together = tradable(plus(all.newest_left, missing)).filter(|it| *it > all.newest_left);
                if let (Some(newest), Some(_)) = (all.newest, together) {
                    self.cancel_child(newest, out);
                }
            }
            _ => {}
        }
        true
    }

    /// Fees taken out of what was bought cannot be sold: a rest of that size is left behind.
    fn is_rest_of_fees(&self, wanted: Quantity) -> bool {
        let total = if self.is_bracket() { self.filled } else { self.plan.quantity() };
        wanted < total && wanted <= part(total, 1, 100)
    }

    /// Which exit is to rest at the venue now.
    fn choose(
        &mut self,
        wanted: Quantity,
        exit: Side,
        stop: Stop,
        target: Option<Price>,
        around: &Surroundings<'_>,
    ) -> Role {
        let price = match exit {
            Side::Sell => around.bid,
            Side::Buy => around.ask,
        };
        let is_at_or_beyond = |price: Price, line: Price| match exit {
            Side::Sell => price >= line,
            Side::Buy => price <= line,
        };
        if self.active == Role::Target && self.failures > 0 {
            // A target that cannot be placed: the stop stays from now on.
            (self.active, self.swaps, self.failures) = (Role::Stop, SWAPS_MAX, 0);
            self.retry_at = Timestamp::ZERO;
        }
        if let (Some(price), false) = (price, self.is_close_wanted) {
            let is_through = price == stop.stop_price || !is_at_or_beyond(price, stop.stop_price);
            let has_stop = self.open_children().any(|child| child.role == Role::Stop);
            if is_through && !has_stop && wanted.is_positive() && self.is_protecting() {
                // No stop rests and the price is through it already: it would be refused.
                self.is_close_wanted = true;
            }
            let middle = target.and_then(|target| middle(target, stop.stop_price));
            match (self.active, target, middle) {
                (Role::Target, Some(_), Some(middle)) if !is_at_or_beyond(price, middle) => {
                    (self.active, self.swaps) = (Role::Stop, self.swaps + 1);
                }
                (Role::Stop, Some(target), _) if is_at_or_beyond(price, target) && self.swaps < SWAPS_MAX => {
                    self.active = Role::Target;
                }
                _ => {}
            }
        }
        if self.is_close_wanted { Role::Close } else { self.active }
    }

    fn exit_intent(
        &self,
        role: Role,
        side: Side,
        stop: Stop,
        target: Option<Price>,
        around: &Surroundings<'_>,
    ) -> OrderIntent {
        let purpose = match role {
            Role::Close => OrderPurpose::Exit,
            _ if self.is_bracket() => OrderPurpose::Protective,
            _ => self.plan.purpose(),
        };
        let (order_type, price, stop_price) = match (role, stop.limit_price) {
            (Role::Close, _) => (OrderType::Market, None, None),
            (Role::Target, _) if target.is_some() => (OrderType::Limit, target, None),
            (_, None) => (OrderType::StopLoss, None, Some(stop.stop_price)),
            (_, Some(limit)) => (OrderType::StopLossLimit, Some(limit), Some(stop.stop_price)),
        };
        OrderIntent {
            instrument: self.plan.instrument(),
            side,
            order_type,
            time_in_force: TimeInForce::Gtc,
            quantity: Quantity::ZERO,
            price,
            stop_price,
            reduce_only: purpose != OrderPurpose::Entry && around.rules.kind == InstrumentKind::LinearPerpetual,
            purpose,
        }
    }

    /// Keeps account of what has no exit that the venue has confirmed, and tells it.
    fn watch(&mut self, wanted: Quantity, confirmed: Quantity, now: Timestamp, out: &mut Vec<ParentAction>) {
        if !self.is_protecting() {
            return;
        }
        let mut missing = less(wanted, confirmed);
        if self.is_rest_of_fees(missing) {
            missing = Quantity::ZERO;
        }
        self.unprotected = missing;
        if !missing.is_positive() {
            self.unprotected_since = Timestamp::ZERO;
            if std::mem::take(&mut self.is_unprotected_told) {
                out.push(self.tell(ParentNews::Protected));
            }
            return;
        }
        if self.unprotected_since == Timestamp::ZERO {
            self.unprotected_since = now;
        }
        let is_time = self.failures > 0 || now.since(self.unprotected_since) >= GRACE;
        if is_time && !self.is_unprotected_told {
            self.is_unprotected_told = true;
            out.push(self.tell(ParentNews::Unprotected { quantity: missing }));
        }
        if self.is_exhausted() && !self.has_given_up {
            self.has_given_up = true;
            out.push(self.tell(ParentNews::GaveUp { quantity: missing }));
        }
    }

    /// Two ways in, both at the venue: what one fills is taken from the other, and the end of one is the end of both.
    pub(crate) fn step_both(
        &mut self,
        plan: &Oco,
        rest: Quantity,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        let quantity = around.rules.tradable(rest, Some(plan.price), OrderType::Limit);
        let mut places: [Option<Role>; 2] = [None; 2];
        for (role, place) in [Role::Target, Role::Stop].into_iter().zip(&mut places) {
            let leg = self.exits(|other| other == role, orders);
            let last = self.children.iter().rev().find(|child| child.role == role);
            let is_resized =
                last.is_none_or(|child| child.is_cancel_asked || (self.is_restored && self.filled.is_positive()));
            if leg.left.is_positive() || last.is_some_and(|child| child.is_open) {
                if leg.working > rest
                    && let Some(newest) = leg.newest
                {
                    self.cancel_child(newest, out);
                }
            } else if is_resized {
                *place = Some(role);
            } else {
                // Refused, or ended by somebody else.
                self.is_cancel_wanted = true;
            }
        }
        let Some(quantity) = quantity.filter(|_| !self.is_cancel_wanted) else {
            self.cancel_children(|_| true, out);
            if !self.open.is_empty() {
                return None;
            }
            if self.filled > plan.quantity {
                let quantity = less(self.filled, plan.quantity);
                out.push(self.tell(ParentNews::Overfilled { quantity }));
            }
            return Some(match (quantity, self.failures) {
                (None, _) => ParentEnd::Completed,
                (Some(_), 1..) => ParentEnd::Failed,
                (Some(_), 0) => ParentEnd::Canceled,
            });
        };
        if !self.children.is_empty() && !around.may_open {
            // What is to be placed again waits until risk takes it.
            return None;
        }
        for role in places.into_iter().flatten() {
            let intent = self.exit_intent(role, plan.side, plan.stop, Some(plan.price), around);
            let intent = OrderIntent { quantity, ..intent };
            out.push(ParentAction::Place { parent: self.id, strategy: self.strategy, role, intent });
        }
        None
    }
}

fn middle(a: Price, b: Price) -> Option<Price> {
    let sum = a.checked_add(b).ok()?;
    Price::new(sum.mantissa() / 2, sum.scale()).ok()
}
