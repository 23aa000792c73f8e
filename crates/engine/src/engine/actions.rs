//! What the order manager tells: bookings, reservations, views, news for strategies, effects.

use super::{Engine, Phase};
use crate::digest::Named;
use crate::outbox::{Effect, Notice, Outbox};
use keel_execution::{Alarm, CancelState, Change, Order, OrderAction, OrderState};
use keel_model::{ClientOrderId, Fill, InstrumentId, OrderStatus, Quantity, StrategyId, VenueOrderId};
use keel_strategy::{OpenOrderState, OrderUpdate, OrderUpdateKind, ParentUpdate};

/// One piece of news for one strategy.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// A fill of one of its orders.
    Fill(StrategyId, ClientOrderId, Fill),
    /// Anything else about one of its orders.
    Order(StrategyId, OrderUpdate),
    /// About one of its parent orders.
    Parent(StrategyId, ParentUpdate),
}

impl Engine {
    pub(super) fn on_action(&mut self, action: &OrderAction, out: &mut Outbox) {
        match *action {
            OrderAction::Changed { id, from, to, change } => self.on_changed(id, from, to, change, out),
            OrderAction::Filled { id, fill } => self.on_filled(id, &fill, out),
            OrderAction::CancelRejected { id, reject } => {
                if let Some(new) = self.orders.get(id).map(|order| order.new) {
                    self.push_update(&new, self.cum_of(id), OrderUpdateKind::CancelRejected(reject));
                }
            }
            OrderAction::Adopted { id } => {
                if let Some(new) = self.orders.get(id).map(|order| order.new) {
                    self.open_views.push(super::requests::view(&new));
                }
            }
            OrderAction::Unfilled { id } => self.on_unfilled(id, out),
            OrderAction::Query(query) => out.push(Effect::Query(query)),
            OrderAction::FetchFills(instrument, since) => out.push(Effect::FetchFills(instrument, since)),
            OrderAction::Cancel(cancel) => out.push(Effect::Cancel(cancel)),
            OrderAction::Alarm(alarm) => self.on_alarm(alarm, out),
        }
    }

    fn cum_of(&self, id: ClientOrderId) -> Quantity {
        self.orders.get(id).map_or(Quantity::ZERO, |order| order.filled)
    }

    fn on_changed(&mut self, id: ClientOrderId, from: OrderState, to: OrderState, change: Change, out: &mut Outbox) {
        let Some(order) = self.orders.get(id) else { return };
        let (new, filled, end) = (order.new, order.filled, order.end);
        let venue_order_id = order.venue_order_id.unwrap_or(VenueOrderId::EMPTY);
        let (strategy, instrument, side) = (new.strategy, new.intent.instrument, new.intent.side);
        if !out.is_terse() || !matches!(change, Change::Plain) {
            out.notify(Notice::Order { id, strategy, instrument, side, from, to, change });
        }
        self.note_outcome(&new, from, to, change);
        let kind = match (to, change) {
            (OrderState::Live, _) => Some(OrderUpdateKind::Accepted { venue_order_id }),
            (OrderState::Unknown, Change::Unknown(reason)) => Some(OrderUpdateKind::Unknown(reason)),
            (OrderState::Rejected, Change::Rejected(reject)) => Some(OrderUpdateKind::Rejected(reject)),
            (OrderState::Abandoned, Change::NotSent(reason)) => Some(OrderUpdateKind::NotSent(reason)),
            (OrderState::NeverAccepted, _) => Some(OrderUpdateKind::NeverAccepted),
            (OrderState::Done, _) => Some(match end {
                Some(OrderStatus::Filled) => OrderUpdateKind::Filled,
                Some(OrderStatus::Expired) => OrderUpdateKind::Expired,
                _ if new.intent.quantity == filled => OrderUpdateKind::Filled,
                _ => OrderUpdateKind::Canceled,
            }),
            _ => None,
        };
        if let Some(kind) = kind {
            self.push_update(&new, filled, kind);
        }
    }

    fn on_filled(&mut self, id: ClientOrderId, fill: &Fill, out: &mut Outbox) {
        let owner = self.orders.get(id).map(|order| (order.new.strategy, order.is_protective()));
        let (strategy, is_stop) = owner.unwrap_or((keel_risk::HOUSE, false));
        self.risk.on_fill_of(Some(id), strategy, is_stop, fill);
        self.book_balances(fill, out);
        if let Err(error) = self.portfolio.apply_fill(fill) {
            let reason = format!("fill {} of order {id} could not be booked: {error}", fill.trade_id);
            self.hold(fill.instrument, keel_model::HoldCause::Booking, reason, out);
            out.notify(Notice::Booking { instrument: Some(fill.instrument), error });
        } else if let Err(error) = self.owners.book(strategy, fill) {
            let reason = format!("whose fill {} of order {id} is could not be booked: {error}", fill.trade_id);
            self.hold(fill.instrument, keel_model::HoldCause::Booking, reason, out);
        }
        let order = self.orders.get(id);
        let number = order.map_or(0, Order::ordinal);
        let price = keel_model::Notional::of(fill.price, Quantity::from_int(1)).normalized();
        let (quantity, fee) = (fill.quantity.normalized(), fill.fee.normalized());
        self.fills_part.record(|line| {
            line.number(number).number(fill.instrument.0.into()).word(fill.side.name());
            line.decimal(price.mantissa(), price.scale()).decimal(quantity.mantissa().into(), quantity.scale());
            line.decimal(fee.mantissa(), fee.scale()).word(fill.fee_asset.as_str()).word(fill.liquidity.name());
        });
        let Some((new, state, filled)) = order.map(|order| (order.new, order.state, order.filled)) else { return };
        self.note_exit_fill(&new);
        out.notify(Notice::Fill { id, strategy: new.strategy, fill: *fill });
        self.news.push(News::Fill(new.strategy, id, *fill));
        if state == OrderState::Live {
            self.push_update(&new, filled, OrderUpdateKind::PartiallyFilled);
        }
    }

    fn on_alarm(&mut self, alarm: Alarm, out: &mut Outbox) {
        let instrument = self.instrument_of(&alarm);
        let held = if self.hold_for_alarm(&alarm, instrument, out) { instrument } else { None };
        out.notify(Notice::Alarm { alarm, held });
    }

    fn instrument_of(&self, alarm: &Alarm) -> Option<InstrumentId> {
        match *alarm {
            Alarm::Resurrected { id, .. }
            | Alarm::Conflict { id, .. }
            | Alarm::Adopted { id }
            | Alarm::IdClash { id }
            | Alarm::Stuck { id, .. } => self.orders.get(id).map(|order| order.new.intent.instrument),
            Alarm::ForeignOrder { instrument, .. }
            | Alarm::ForeignFill { instrument, .. }
            | Alarm::BadFill { instrument, .. }
            | Alarm::FillMismatch { instrument, .. }
            | Alarm::Overfill { instrument, .. }
            | Alarm::EndedByVenue { instrument, .. }
            | Alarm::FillBeyondMemory { instrument, .. }
            | Alarm::Missing { instrument, .. }
            | Alarm::Overflow { instrument, .. } => Some(instrument),
        }
    }

    /// After a batch: what risk holds for an order, and what strategies see of it, is made what the order manager knows.
    pub(super) fn sync_touched(&mut self, actions: &[OrderAction]) {
        let is_alone = !self.parents.has_children();
        let mut last = None;
        for action in actions {
            self.note_children(action);
            match *action {
                OrderAction::Changed { id, .. }
                | OrderAction::Filled { id, .. }
                | OrderAction::CancelRejected { id, .. }
                | OrderAction::Adopted { id } => {
                    // Nothing has changed since it was last looked at.
                    if !is_alone || last.replace(id) != Some(id) {
                        self.sync_order(id);
                    }
                }
                OrderAction::Cancel(cancel) => self.sync_order(cancel.client_order_id),
                OrderAction::Alarm(Alarm::Missing { id, .. }) => self.sync_order(id),
                OrderAction::Query(_)
                | OrderAction::FetchFills(..)
                | OrderAction::Unfilled { .. }
                | OrderAction::Alarm(_) => {}
            }
        }
    }

    pub(super) fn sync_order(&mut self, id: ClientOrderId) {
        let Some(order) = self.orders.get(id) else { return };
        self.parents.note(order);
        if order.state.is_closed() {
            self.risk.release(order.new.intent.instrument, id);
            if let Some(at) = self.open_views.iter().rposition(|view| view.client_order_id == id) {
                // Order of birth is kept, so that strategies and digests see the same list in each run.
                self.open_views.remove(at);
            }
            return;
        }
        let remaining = match order.state {
            // Over at the venue: only the fills that are still owed may come.
            OrderState::Settling => {
                let owed = order.cum.checked_sub(order.filled).unwrap_or(Quantity::ZERO);
                keel_model::mutant!(40, owed, Quantity::ZERO)
            }
            _ => order.leaves(),
        };
        let is_unknown = order.state == OrderState::Unknown;
        let is_forgotten = keel_model::mutant!(41, keel_model::mutant!(42, false, order.is_cancel_wanted), is_unknown);
        if is_forgotten {
            self.risk.release(order.new.intent.instrument, id);
        } else {
            self.risk.sync(&order.new, remaining, is_unknown);
            let intent = &order.new.intent;
            self.risk.set_rests(intent.instrument, id, intent.price.is_some() && !order.is_missing);
        }
        let state = match (order.state, order.cancel) {
            (OrderState::Unknown, _) => OpenOrderState::Unknown,
            (_, CancelState::Sent | CancelState::Acked) => OpenOrderState::Canceling,
            (OrderState::Live | OrderState::Settling, _) => OpenOrderState::Live,
            _ => OpenOrderState::Pending,
        };
        let mut fresh = super::requests::view(&order.new);
        (fresh.cum_quantity, fresh.state) = (order.filled, state);
        match self.open_views.iter_mut().rfind(|view| view.client_order_id == id) {
            Some(view) => *view = fresh,
            None => self.open_views.push(fresh),
        }
    }

    /// Tells a strategy; the house and strategies of former runs have nobody to tell.
    pub(super) fn tell_strategy(&mut self, news: &News) {
        if self.phase != Phase::Running {
            return;
        }
        match news {
            News::Fill(strategy, id, fill) => {
                self.call(usize::from(strategy.0), |strategy, ctx| strategy.on_fill(ctx, *id, fill));
            }
            News::Order(strategy, update) => {
                self.call(usize::from(strategy.0), |strategy, ctx| strategy.on_order(ctx, update));
            }
            News::Parent(strategy, update) => {
                self.call(usize::from(strategy.0), |strategy, ctx| strategy.on_parent(ctx, update));
            }
        }
    }
}
