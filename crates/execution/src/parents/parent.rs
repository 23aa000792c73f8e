//! One parent: its plan, its children, and what follows from both.

use super::{
    ATTEMPTS_MAX, ParentAction, ParentId, ParentNews, ParentPlan, ParentState, Surroundings, less, pause, plus,
};
use crate::manager::OrderManager;
use crate::order::Order;
use crate::state::OrderState;
use keel_model::parent::{Bracket, CHILDREN_MAX, Oco, ParentEnd, ParentView};
use keel_model::{ClientOrderId, OrderPurpose, Quantity, Side, StrategyId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a child is in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Entry of a bracket.
    Entry,
    /// Stop of a bracket, or stop leg of an OCO.
    Stop,
    /// Target of a bracket, or limit leg of an OCO.
    Target,
    /// Market order that closes what a bracket holds.
    Close,
    /// A piece of a TWAP or an iceberg.
    Slice,
}

/// One child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its order.
    pub id: ClientOrderId,
    /// What it is.
    pub role: Role,
    /// Ordered.
    pub quantity: Quantity,
    /// Filled, as far as is known.
    pub filled: Quantity,
    /// Has the order manager it, and not as closed?
    pub is_open: bool,
    /// Has this parent asked for its cancel?
    pub(crate) is_cancel_asked: bool,
}

/// One parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its id.
    pub id: ParentId,
    /// Whose plan.
    pub strategy: StrategyId,
    /// What is to be done.
    pub plan: ParentPlan,
    /// When it was taken.
    pub ts_created: Timestamp,
    /// How it ended.
    pub end: Option<ParentEnd>,
    /// All its children, in the order of birth.
    pub(crate) children: Vec<Child>,
    /// Places of the open ones.
    pub(crate) open: Vec<u32>,
    /// What entries and pieces, or both legs of an OCO, have filled.
    pub(crate) filled: Quantity,
    /// What the exits of a bracket have filled.
    pub(crate) closed: Quantity,
    pub(crate) is_cancel_wanted: bool,
    pub(crate) is_close_wanted: bool,
    /// Was it begun by a former process?
    pub(crate) is_restored: bool,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Nothing is placed before.
    pub(crate) retry_at: Timestamp,
    pub(crate) has_given_up: bool,
    /// Since when part of its position has no exit; zero while all has.
    pub(crate) unprotected_since: Timestamp,
    pub(crate) unprotected: Quantity,
    pub(crate) is_unprotected_told: bool,
    /// Which of two exits rests at the venue, where only one may.
    pub(crate) active: Role,
    pub(crate) swaps: u32,
    /// Slices that have been acted on.
    pub(crate) slices_done: u32,
    /// Public volume since the last slice.
    pub(crate) volume: Quantity,
}

impl Parent {
    pub(crate) fn new(id: ParentId, strategy: StrategyId, plan: ParentPlan, ts_created: Timestamp) -> Self {
        Self {
            id,
            strategy,
            plan,
            ts_created,
            end: None,
            children: Vec::new(),
            open: Vec::new(),
            filled: Quantity::ZERO,
            closed: Quantity::ZERO,
            is_cancel_wanted: false,
            is_close_wanted: false,
            is_restored: false,
            failures: 0,
            retry_at: Timestamp::ZERO,
            has_given_up: false,
            unprotected_since: Timestamp::ZERO,
            unprotected: Quantity::ZERO,
            is_unprotected_told: false,
            active: Role::Stop,
            swaps: 0,
            slices_done: 0,
            volume: Quantity::ZERO,
        }
    }

    pub(crate) const fn is_bracket(&self) -> bool {
        matches!(self.plan, ParentPlan::Bracket(_))
    }

    /// Does it protect a position?
    #[must_use]
    pub fn is_protecting(&self) -> bool {
        match self.plan {
            ParentPlan::Bracket(_) => true,
            ParentPlan::Oco(plan) => plan.purpose == OrderPurpose::Protective,
            ParentPlan::Twap(_) | ParentPlan::Iceberg(_) => false,
        }
    }

    /// Must prices or public trades be told to it?
    pub(crate) fn is_watching(&self) -> bool {
        let counts = matches!(self.plan, ParentPlan::Twap(plan) if plan.participation_bps_max.is_some());
        counts || self.waits_for_price()
    }

    /// Does it hold one exit back until the price touches it?
    pub(crate) fn waits_for_price(&self) -> bool {
        match self.plan {
            ParentPlan::Bracket(plan) => plan.target.is_some(),
            ParentPlan::Oco(plan) => plan.purpose != OrderPurpose::Entry,
            ParentPlan::Twap(_) | ParentPlan::Iceberg(_) => false,
        }
    }

    pub(crate) fn count_volume(&mut self, quantity: Quantity) {
        if matches!(self.plan, ParentPlan::Twap(plan) if plan.participation_bps_max.is_some()) {
            self.volume = plus(self.volume, quantity);
        }
    }

    /// What of the plan is filled: entries, pieces, or both legs of an OCO.
    #[must_use]
    pub const fn filled(&self) -> Quantity {
        self.filled
    }

    /// What the exits of a bracket have closed.
    #[must_use]
    pub const fn closed(&self) -> Quantity {
        self.closed
    }

    /// What of its position has no exit at the venue.
    #[must_use]
    pub const fn unprotected(&self) -> Quantity {
        self.unprotected
    }

    /// All its children, in the order of birth.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// Children that may still fill.
    pub fn open_children(&self) -> impl Iterator<Item = &Child> {
        self.open.iter().filter_map(|at| self.children.get(*at as usize))
    }

    pub(crate) fn link(&mut self, id: ClientOrderId, role: Role, quantity: Quantity) -> u32 {
        if let Some(at) = self.children.iter().rposition(|child| child.id == id) {
            return u32::try_from(at).unwrap_or(u32::MAX);
        }
        let child = Child { id, role, quantity, filled: Quantity::ZERO, is_open: false, is_cancel_asked: false };
        self.children.push(child);
        if matches!(role, Role::Stop | Role::Target) {
            self.active = role;
        }
        u32::try_from(self.children.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_cancel_asked(&self, at: u32) -> bool {
        self.children.get(at as usize).is_some_and(|child| child.is_cancel_asked)
    }

    /// Brings one child up to date; answers whether it has filled since.
    pub(crate) fn note(&mut self, at: u32, order: &Order) -> bool {
        let is_bracket = self.is_bracket();
        let Some(child) = self.children.get_mut(at as usize) else { return false };
        let is_open = !order.state.is_closed();
        let fresh = less(order.filled, child.filled);
        if is_open != child.is_open {
            child.is_open = is_open;
            match is_open {
                true => self.open.push(at),
                false => self.open.retain(|open| *open != at),
            }
        }
        child.filled = order.filled;
        if !fresh.is_positive() {
            return false;
        }
        (self.failures, self.retry_at) = (0, Timestamp::ZERO);
        match child.role {
            Role::Stop | Role::Target | Role::Close if is_bracket => self.closed = plus(self.closed, fresh),
            _ => self.filled = plus(self.filled, fresh),
        }
        true
    }

    /// The venue says that the stop would trigger at once: the price is through it, and the position is closed instead.
    pub(crate) fn note_triggered(&mut self, at: u32) {
        let is_stop = self.children.get(at as usize).is_some_and(|child| child.role == Role::Stop);
        if is_stop && self.is_protecting() {
            self.is_close_wanted = true;
        }
    }

    pub(crate) fn fail(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.plus(pause(self.failures));
    }

    pub(crate) fn may_place(&self, now: Timestamp) -> bool {
        now >= self.retry_at && !self.is_exhausted()
    }

    /// Has it failed too often in a row, or used up its children?
    pub(crate) fn is_exhausted(&self) -> bool {
        self.failures >= ATTEMPTS_MAX || self.children.len() >= CHILDREN_MAX as usize
    }

    /// What a child may still fill: all of it while nobody knows better.
    pub(crate) fn left(child: &Child, orders: &OrderManager) -> Quantity {
        match orders.get(child.id) {
            Some(order) if order.state == OrderState::Settling => less(order.cum, order.filled),
            Some(order) if order.state.is_closed() => Quantity::ZERO,
            Some(order) => less(child.quantity.max(order.new.intent.quantity), order.filled),
            None => Quantity::ZERO,
        }
    }

    /// What all open children may still fill.
    pub(crate) fn left_of_all(&self, orders: &OrderManager) -> Quantity {
        self.open_children().map(|child| Self::left(child, orders)).fold(Quantity::ZERO, plus)
    }

    /// Asks for the cancel of every open child of these roles, once each.
    pub(crate) fn cancel_children(&mut self, is_meant: impl Fn(Role) -> bool, out: &mut Vec<ParentAction>) {
        for at in &self.open {
            if let Some(child) = self.children.get_mut(*at as usize)
                && is_meant(child.role)
                && !child.is_cancel_asked
            {
                child.is_cancel_asked = true;
                out.push(ParentAction::Cancel(child.id));
            }
        }
    }

    pub(crate) fn cancel_child(&mut self, at: u32, out: &mut Vec<ParentAction>) {
        if let Some(child) = self.children.get_mut(at as usize).filter(|child| !child.is_cancel_asked) {
            child.is_cancel_asked = true;
            out.push(ParentAction::Cancel(child.id));
        }
    }

    /// What an entry brought in and no exit has taken out, as far as it is still held: the position is the truth.
    pub(crate) fn at_stake(&self, around: &Surroundings<'_>) -> Quantity {
        let held = match self.plan.side() {
            Side::Buy => around.held,
            Side::Sell => around.held.neg().unwrap_or(Quantity::ZERO),
        };
        less(self.filled, self.closed).min(held.max(Quantity::ZERO))
    }

    pub(crate) fn wants_revival(&self, around: &Surroundings<'_>) -> bool {
        around.rules.tradable(self.at_stake(around), around.bid.or(around.ask), keel_model::OrderType::Market).is_some()
    }

    /// One look: what follows from what is true now. Answers how it ended, when it has.
    pub(crate) fn step(
        &mut self,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        if around.is_protecting_only && !self.is_protecting() {
            // The strategies are gone: what works stays as it is, for the exit policy or for the next start.
            return None;
        }
        match self.plan {
            ParentPlan::Bracket(plan) => self.step_bracket(&plan, around, orders, out),
            ParentPlan::Oco(plan) => self.step_oco(&plan, around, orders, out),
            ParentPlan::Twap(plan) => self.step_twap(&plan, around, out),
            ParentPlan::Iceberg(plan) => self.step_iceberg(&plan, around, out),
        }
    }

    fn step_bracket(
        &mut self,
        plan: &Bracket,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        let has_entry = self.children.iter().any(|child| child.role == Role::Entry);
        let is_entering = self.open_children().any(|child| child.role == Role::Entry);
        let timeout = plan.entry_timeout_ms.map(Duration::from_millis);
        self.is_cancel_wanted |= timeout.is_some_and(|limit| around.now.since(self.ts_created) > limit);
        if !has_entry {
            // An entry that a former process has not sent is not sent now: the market has moved on.
            if self.is_cancel_wanted || self.is_restored || around.is_protecting_only {
                return Some(ParentEnd::Canceled);
            }
            let (parent, strategy) = (self.id, self.strategy);
            out.push(ParentAction::Place { parent, strategy, role: Role::Entry, intent: plan.entry });
            return None;
        }
        if is_entering && self.is_cancel_wanted {
            self.cancel_children(|role| role == Role::Entry, out);
        }
        let wanted = self.at_stake(around);
        let exit = plan.entry.side.opposite();
        let is_open = self.protect(wanted, exit, plan.stop, plan.target, is_entering, around, orders, out);
        if is_entering || is_open || !self.open.is_empty() {
            return None;
        }
        Some(match (self.filled.is_positive(), self.is_cancel_wanted, self.failures) {
            (true, ..) => ParentEnd::Completed,
            (false, false, 1..) => ParentEnd::Failed,
            _ => ParentEnd::Canceled,
        })
    }

    fn step_oco(
        &mut self,
        plan: &Oco,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) -> Option<ParentEnd> {
        let rest = less(plan.quantity, self.filled);
        if plan.purpose == OrderPurpose::Entry {
            return self.step_both(plan, rest, around, orders, out);
        }
        let wanted = match plan.purpose {
            // Protection of what is held, and of no more.
            OrderPurpose::Protective => {
                let held = match plan.side {
                    Side::Sell => around.held,
                    Side::Buy => around.held.neg().unwrap_or(Quantity::ZERO),
                };
                rest.min(held.max(Quantity::ZERO))
            }
            _ => rest,
        };
        if self.is_cancel_wanted && !self.is_close_wanted {
            self.cancel_children(|_| true, out);
            let is_full = !rest.is_positive();
            let end = if is_full { ParentEnd::Completed } else { ParentEnd::Canceled };
            return self.open.is_empty().then_some(end);
        }
        let is_open = self.protect(wanted, plan.side, plan.stop, Some(plan.price), false, around, orders, out);
        if is_open || !self.open.is_empty() {
            return None;
        }
        Some(if rest.is_positive() && wanted == rest { ParentEnd::Failed } else { ParentEnd::Completed })
    }

    /// News about it, with its figures.
    pub(crate) fn tell(&self, news: ParentNews) -> ParentAction {
        let (instrument, side, quantity) = (self.plan.instrument(), self.plan.side(), self.plan.quantity());
        let (id, strategy, filled, closed) = (self.id, self.strategy, self.filled, self.closed);
        ParentAction::Tell { about: ParentState { id, strategy, instrument, side, quantity, filled, closed }, news }
    }

    /// For people.
    pub(crate) fn view(&self) -> ParentView {
        ParentView {
            id: self.id,
            kind: self.plan.word().to_owned(),
            instrument: self.plan.instrument(),
            side: self.plan.side(),
            quantity: self.plan.quantity(),
            filled: self.filled,
            closed: self.closed,
            unprotected: self.unprotected,
            open_orders: u32::try_from(self.open.len()).unwrap_or(u32::MAX),
        }
    }
}
