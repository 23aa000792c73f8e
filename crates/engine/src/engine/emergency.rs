//! The emergency stop as a state: thrown once, followed until the venue has confirmed what it asked for.
//!
//! Order: the flag (the gate has one of its own, before the engine hears of it), then the latch is made durable, then it is
//! told, then orders are cancelled and positions closed instrument by instrument, so that one that fails stops no other.
//! Orders that protect a position stay until it can be closed: the venue holds the coins for them, so they go right before
//! the closing order. A restart keeps the latch until a person re-arms the account.

use super::Engine;
use keel_execution::Order;
use keel_model::{ClientOrderId, EmergencyReport, InstrumentId, OrderPurpose, Side, Timestamp};

/// An emergency stop under way.
#[derive(Clone, Debug)]
pub(super) struct Emergency {
    reason: String,
    since: Timestamp,
    is_persisted: bool,
    is_notified: bool,
    /// Was nothing closed because the books had not been compared with the venue's?
    is_blind: bool,
    /// Open then; bounded by the limit of open orders.
    orders: Vec<ClientOrderId>,
    positions: Vec<InstrumentId>,
}

impl Engine {
    /// Begins to follow an emergency stop; `false` when one is under way.
    pub(super) fn begin_emergency(&mut self, reason: &str) -> bool {
        let is_blind = self.phase == super::Phase::Recovering;
        let before = self.emergency.take();
        if let Some(known) = before.as_ref().filter(|known| !known.is_blind || is_blind) {
            self.emergency = Some(known.clone());
            return false;
        }
        let positions = self.portfolio.positions().filter(|position| !position.is_flat());
        self.emergency = Some(Emergency {
            reason: before.map_or_else(|| reason.to_owned(), |known| known.reason),
            since: self.now,
            is_persisted: false,
            is_notified: false,
            is_blind,
            orders: self.orders.open().map(Order::id).collect(),
            positions: positions.map(|position| position.instrument).collect(),
        });
        true
    }

    /// How far the emergency stop has come, as far as the venue has confirmed it; `None` while there is none.
    #[must_use]
    pub fn emergency_report(&self) -> Option<EmergencyReport> {
        let emergency = self.emergency.as_ref()?;
        let is_over = |id: &&ClientOrderId| self.orders.get(**id).is_none_or(|order| order.state.is_closed());
        let is_closed = |id: &&InstrumentId| {
            self.portfolio.position(**id).is_flat()
                || (self.closing_order(**id).is_none() && self.risk.can_trade(**id, self.now))
        };
        let status = self.position_views();
        Some(EmergencyReport {
            reason: emergency.reason.clone(),
            since: emergency.since,
            is_persisted: emergency.is_persisted,
            is_notified: emergency.is_notified,
            orders: emergency.orders.len(),
            orders_confirmed: emergency.orders.iter().filter(is_over).count(),
            positions: emergency.positions.len(),
            positions_closed: emergency.positions.iter().filter(is_closed).count(),
            unprotected: status.iter().filter(|view| !view.is_protected).map(|view| view.instrument).collect(),
        })
    }

    /// The driver says that the latch is durable.
    pub fn note_emergency_persisted(&mut self) {
        if let Some(emergency) = self.emergency.as_mut() {
            emergency.is_persisted = true;
        }
    }

    /// The driver says that the emergency stop was told to logs and alerts.
    pub fn note_emergency_notified(&mut self) {
        if let Some(emergency) = self.emergency.as_mut() {
            emergency.is_notified = true;
        }
    }

    /// Must an order stay for now because it protects a position that cannot be closed yet: others of the instrument are
    /// still open, or no order of ours could trade?
    pub(super) fn still_protects(&self, order: &Order) -> bool {
        let (instrument, side) = (order.new.intent.instrument, order.new.intent.side);
        let held = self.portfolio.position(instrument).quantity;
        let reduces = if side == Side::Sell { held.is_positive() } else { held.is_negative() };
        if order.new.intent.purpose != OrderPurpose::Protective || !reduces {
            return false;
        }
        let is_other = |other: &&Order| other.new.intent.purpose != OrderPurpose::Protective && !other.is_missing;
        self.orders.open_of(instrument).any(|other| is_other(&other))
            || !self.risk.can_trade(instrument, self.now)
            || self.closing_order(instrument).is_none()
    }
}
