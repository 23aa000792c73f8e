//! Freeze, save, clear: in this order, and no other.

use super::RiskService;
use crate::alerts::Alerts;
use crate::breaker::BreakerKind;
use crate::row::Row;
use crate::snapshot::{ReservationView, RiskSnapshot};
use crate::units::{notional_down, notional_up, to_notional};
use keel_model::{InstrumentId, Quantity, Timestamp, TradingState};

impl RiskService {
    /// Freezes: halts and takes the state, so that it can be saved before anything is cleared.
    pub fn freeze(&mut self, now: Timestamp) -> RiskSnapshot {
        self.state = TradingState::Halted;
        self.snapshot(now)
    }

    /// The state as it is, for a digest or a status.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> RiskSnapshot {
        let with_id = || self.rows.iter().zip(0u32..).map(|(row, id)| (row, InstrumentId(id)));
        let quantity = |row: &Row, units| Quantity::new(units, row.quantity_scale).unwrap_or_default();
        let mut reservations: Vec<ReservationView> = with_id()
            .flat_map(|(row, instrument)| {
                row.open.iter().map(move |own| ReservationView {
                    client_order_id: own.id,
                    instrument,
                    side: own.side,
                    remaining: quantity(row, own.remaining),
                    is_unknown: own.is_unknown,
                })
            })
            .collect();
        reservations.sort_by_key(|view| view.client_order_id);
        let mut slots: Vec<usize> = self.rows.iter().flat_map(|row| [row.base, row.quote]).collect();
        slots.sort_unstable();
        slots.dedup();
        RiskSnapshot {
            ts: now,
            trading_state: self.state(),
            is_emergency: self.is_emergency,
            is_loss_latched: self.guards.is_open(BreakerKind::DailyLoss),
            day: self.day,
            day_pnl: self.day_pnl(),
            approved_total: self.approved_total,
            denied_total: self.denied_total,
            gross_exposure: self.gross_exposure(),
            positions: with_id().map(|(row, id)| (id, quantity(row, row.position))).collect(),
            held: with_id().filter(|(row, _)| row.is_held).map(|(_, id)| id).collect(),
            reservations,
            reserved: slots
                .into_iter()
                .filter_map(|slot| self.ledger.get(slot).map(|asset| (asset.asset, to_notional(asset.reserved))))
                .collect(),
            guards: self.guards_snapshot(),
        }
    }

    /// The latches alone, to be saved the moment they change: reservations are rebuilt from the intents in the journal.
    #[must_use]
    pub fn latches(&self, now: Timestamp) -> RiskSnapshot {
        let whole = self.snapshot(now);
        RiskSnapshot { reservations: Vec::new(), reserved: Vec::new(), ..whole }
    }

    /// Ends the replay of a journal: latches of days gone by are forgotten, today's loss counts. Takes latches and holds over
    /// from the state that was saved last, if there is one.
    pub fn end_replay(&mut self, saved: Option<&RiskSnapshot>, now: Timestamp) {
        if let Some(breaker) = self.guards.breaker_mut(BreakerKind::DailyLoss) {
            breaker.close(now);
        }
        self.on_time(now);
        self.check_loss();
        if let Some(saved) = saved {
            self.restore(saved);
        }
        self.breach = false;
        // What was told then is not told again; what still stands is in the status.
        self.guards.alerts = Alerts::new();
        self.take_unsaved();
        self.guards.refresh();
    }

    /// Takes latches and the day's loss over from a former run. Positions and reservations come back through
    /// [`Self::on_fill`] and [`Self::sync`].
    pub fn restore(&mut self, saved: &RiskSnapshot) {
        self.is_emergency |= saved.is_emergency;
        self.restore_guards(&saved.guards, saved.ts);
        if saved.is_loss_latched
            && let Some(breaker) = self.guards.breaker_mut(BreakerKind::DailyLoss)
        {
            breaker.open(saved.ts);
        }
        self.guards.refresh();
        if saved.day >= self.day && self.pnl == 0 {
            // Nothing was replayed: the day's profit is known from here alone.
            self.day = saved.day;
            let day_pnl = notional_down(saved.day_pnl).unwrap_or(0);
            self.day_base = self.pnl.saturating_sub(self.fees).saturating_sub(day_pnl);
        }
        for id in &saved.held {
            self.hold(*id);
        }
    }

    /// Drops all reservations. Takes the snapshot as proof that the state was frozen first; answers `false`, and clears
    /// nothing, when the state has moved on since.
    pub fn clear(&mut self, saved: &RiskSnapshot) -> bool {
        if self.snapshot(saved.ts) != *saved {
            return false;
        }
        for row in &mut self.rows {
            row.open.clear();
            (row.open_buy, row.open_sell, row.unknown_count) = (0, 0, 0);
        }
        for view in &saved.reserved {
            let slot = self.ledger.slot(view.0);
            self.ledger.reserve(slot, notional_up(view.1).unwrap_or(0).saturating_neg());
        }
        self.open_orders = 0;
        for id in 0..self.rows.len() {
            self.update_exposure(InstrumentId(u32::try_from(id).unwrap_or(u32::MAX)));
        }
        true
    }
}
