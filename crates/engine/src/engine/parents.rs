//! Parent orders in the engine: plans of strategies become parents, what parents ask for goes through the same review as any
//! order, and what must survive is told to the journal before the child's intent.
//!
//! Parents act only while the run is on: not before recovery is complete, and after the stop only to protect, unless the exit
//! policy takes orders and positions over itself.

use super::actions::News;
use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_execution::OrderAction;
use keel_execution::parents::{Parent, ParentAction, ParentNews, ParentRecord, ParentState, Role, Surroundings};
use keel_model::order::ReasonText;
use keel_model::parent::{ParentEnd, ParentId, ParentPlan};
use keel_model::{
    ClientOrderId, ExitPolicy, HoldCause, InstrumentId, NewOrder, OrderIntent, Quantity, Side, StrategyId, TradingState,
};
use keel_strategy::{ParentUpdate, ParentUpdateKind};

/// How often parents are looked at within one event: what they do may call for another look.
const LOOKS_MAX: usize = 4;

impl Engine {
    /// A strategy asks for a plan to be carried out.
    pub(super) fn create_parent(&mut self, id: ParentId, strategy: StrategyId, plan: &ParentPlan, out: &mut Outbox) {
        let rules = self.instruments.get(plan.instrument());
        let refused = match rules.map(|rules| plan.check(rules)) {
            None => Some(ReasonText::truncated("the instrument is not known")),
            Some(Err(error)) => Some(ReasonText::truncated(&error.to_string())),
            Some(Ok(())) if !self.parents.has_room() => Some(ReasonText::truncated("too many parent orders are open")),
            Some(Ok(())) if self.phase != Phase::Running => {
                Some(ReasonText::truncated("the run has not begun or is over"))
            }
            Some(Ok(())) => None,
        };
        let kind = match refused {
            Some(reason) => ParentUpdateKind::Refused(reason),
            None => {
                let record = self.parents.create(id, strategy, *plan, self.now);
                out.notify(Notice::ParentRecord(record));
                ParentUpdateKind::Accepted
            }
        };
        let update = ParentUpdate {
            parent: id,
            instrument: plan.instrument(),
            side: plan.side(),
            quantity: plan.quantity(),
            filled: Quantity::ZERO,
            closed: Quantity::ZERO,
            ts: self.now,
            kind,
        };
        self.news.push(News::Parent(strategy, update));
    }

    /// A strategy ends a parent of its own.
    pub(super) fn end_parent(&mut self, id: ParentId, strategy: StrategyId, is_closing: bool, out: &mut Outbox) {
        if self.parents.get(id).is_none_or(|parent| parent.strategy != strategy) {
            return;
        }
        let record = if is_closing { self.parents.close(id) } else { self.parents.cancel(id) };
        if let Some(record) = record {
            out.notify(Notice::ParentRecord(record));
        }
    }

    /// Orders have changed: their parents are told.
    pub(super) fn note_children(&mut self, action: &OrderAction) {
        if let OrderAction::Changed { id, change, .. } = action
            && let Some(order) = self.orders.get(*id)
        {
            self.parents.note_change(order, *change, self.now);
        }
    }

    /// Lets parents act until none has anything to do. Part of the end of each event.
    pub(super) fn step_parents(&mut self, out: &mut Outbox) {
        if self.parents.is_idle() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.parents_dirty);
        let mut actions = std::mem::take(&mut self.parent_actions);
        for _ in 0..LOOKS_MAX {
            self.parents.take_dirty(&mut dirty);
            if dirty.is_empty() {
                break;
            }
            for id in &dirty {
                self.step_parent(*id, &mut actions);
                for action in actions.drain(..) {
                    self.on_parent_action(&action, out);
                }
            }
        }
        (self.parents_dirty, self.parent_actions) = (dirty, actions);
        if !self.news.is_empty() {
            self.pump_rounds(out);
        }
    }

    fn step_parent(&mut self, id: ParentId, actions: &mut Vec<ParentAction>) {
        let Some(plan) = self.parents.get(id).map(|parent| parent.plan) else { return };
        let instrument = plan.instrument();
        let Some(rules) = self.instruments.get(instrument) else { return };
        let book = self.books.get(instrument.index()).filter(|book| book.is_live());
        let exit = match plan {
            ParentPlan::Bracket(plan) => plan.entry.side.opposite(),
            _ => plan.side(),
        };
        let is_free = !self.risk.is_held(instrument) && !self.risk.is_frozen(instrument);
        let around = Surroundings {
            now: self.now,
            rules,
            bid: book.and_then(|book| book.best_bid()).map(|level| level.price),
            ask: book.and_then(|book| book.best_ask()).map(|level| level.price),
            held: self.portfolio.position(instrument).quantity,
            closable: self.exit_room(&plan, exit),
            is_protecting_only: self.phase != Phase::Running,
            may_open: is_free && self.phase == Phase::Running && self.risk.state() == TradingState::Active,
        };
        self.parents.step(id, &around, &self.orders, actions);
    }

    /// What may be placed on the exit side: what reduces the position, or, for an exit of coins that this system did not buy,
    /// what the account holds free.
    fn exit_room(&self, plan: &ParentPlan, exit: Side) -> Quantity {
        let closable = self.risk.closable(plan.instrument(), exit);
        match plan {
            ParentPlan::Oco(oco) if oco.purpose == keel_model::OrderPurpose::Exit => oco.quantity,
            _ => closable,
        }
    }

    fn on_parent_action(&mut self, action: &ParentAction, out: &mut Outbox) {
        match *action {
            ParentAction::Place { parent, strategy, role, intent } => {
                self.place_child(parent, strategy, role, intent, out);
            }
            ParentAction::Cancel(id) => self.cancel(id, out),
            ParentAction::Record(record) => out.notify(Notice::ParentRecord(record)),
            ParentAction::Tell { about, news } => self.tell_parent(&about, news, out),
        }
    }

    /// The list of children first, then the order: an intent in the journal is never without its parent.
    fn place_child(
        &mut self,
        parent: ParentId,
        strategy: StrategyId,
        role: Role,
        intent: OrderIntent,
        out: &mut Outbox,
    ) {
        let client_order_id = self.house_id();
        let record = ParentRecord::Child { parent, child: client_order_id, role, quantity: intent.quantity };
        out.notify(Notice::ParentRecord(record));
        self.parents.link(parent, client_order_id, role, intent.quantity);
        let new = NewOrder { client_order_id, strategy, ts_decided: self.now, intent };
        if self.submit(new, out) {
            self.orders.leave_to_plan(client_order_id);
            self.note_order(client_order_id);
        } else {
            self.parents.note_denied(client_order_id, self.now);
        }
    }

    /// An order is what it is now, for its parent.
    pub(super) fn note_order(&mut self, id: ClientOrderId) {
        if let Some(order) = self.orders.get(id) {
            self.parents.note(order);
        }
    }

    fn tell_parent(&mut self, about: &ParentState, news: ParentNews, out: &mut Outbox) {
        out.notify(Notice::Parent { about: *about, news });
        let kind = match news {
            ParentNews::GaveUp { quantity } => {
                let reason = format!("{quantity} of the position of bracket {} could not be protected", about.id);
                self.hold(about.instrument, HoldCause::Unprotected, reason, out);
                return;
            }
            ParentNews::Unprotected { quantity } => ParentUpdateKind::Unprotected { quantity },
            ParentNews::Protected => ParentUpdateKind::Protected,
            ParentNews::Overfilled { quantity } => ParentUpdateKind::Overfilled { quantity },
            ParentNews::Ended(end) => ParentUpdateKind::Ended(end),
        };
        let update = ParentUpdate {
            parent: about.id,
            instrument: about.instrument,
            side: about.side,
            quantity: about.quantity,
            filled: about.filled,
            closed: about.closed,
            ts: self.now,
            kind,
        };
        self.news.push(News::Parent(about.strategy, update));
    }

    /// The exit policy begins: parents that open are over; those that protect stay where protection stays.
    pub(super) fn wind_parents(&mut self, policy: ExitPolicy, instruments: &[InstrumentId], out: &mut Outbox) {
        let mut actions = std::mem::take(&mut self.parent_actions);
        let covers = |id: InstrumentId| instruments.is_empty() || instruments.contains(&id);
        match policy {
            ExitPolicy::Keep => {}
            ExitPolicy::CancelEntries => {
                let is_opening = |parent: &Parent| covers(parent.plan.instrument()) && !parent.is_protecting();
                self.parents.end_where(ParentEnd::Stopped, is_opening, &mut actions);
                self.parents.cancel_entries(|parent| covers(parent.plan.instrument()), &mut actions);
            }
            ExitPolicy::CancelAll | ExitPolicy::Flatten => {
                let is_meant = |parent: &Parent| covers(parent.plan.instrument());
                self.parents.end_where(ParentEnd::Stopped, is_meant, &mut actions);
            }
        }
        for action in actions.drain(..) {
            self.on_parent_action(&action, out);
        }
        self.parent_actions = actions;
    }
}
