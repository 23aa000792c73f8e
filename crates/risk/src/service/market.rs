//! What market and account tell: reference prices, streams, rules, balances, and the profit of the day.

use super::{DAY_NS, RiskError, RiskService};
use crate::row::Row;
use crate::strategies::Cell;
use crate::units::money_down;
use keel_model::{Balance, Instrument, InstrumentId, Price, Timestamp};

impl RiskService {
    /// A new best bid and ask; a side without orders is a price of zero.
    #[inline]
    pub fn on_quote(&mut self, instrument: InstrumentId, bid: Price, ask: Price, ts: Timestamp) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let before = row.reference.mid;
        row.on_quote(bid, ask, ts, self.limits.reference_jump_bps_max, self.limits.reference_jump_hold_ms);
        if row.reference.mid == before {
            return;
        }
        if row.position != 0 || !row.open.is_empty() {
            self.update_exposure(instrument);
            self.guards.now = self.guards.now.max(ts);
            self.mark(instrument);
        }
        self.guard_price(instrument, ts);
    }

    /// Is the market data stream of an instrument live?
    pub fn on_feed(&mut self, instrument: InstrumentId, is_live: bool) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            row.is_feed_live = is_live;
        }
    }

    /// New rules for a known instrument, or a new instrument at the end of the table.
    pub fn set_instrument(&mut self, instrument: &Instrument) -> Result<(), RiskError> {
        let refused = || RiskError::Instrument { symbol: instrument.symbol.to_string() };
        let row = Row::compile(instrument, &self.limits, &mut self.ledger).ok_or_else(refused)?;
        let count = self.rows.len();
        match self.rows.get_mut(instrument.id.index()) {
            Some(old) => match row.inherit(old) {
                Some(row) => {
                    let scales = |row: &Row| (row.price_scale, row.quantity_scale);
                    let (before, after) = (scales(old), scales(&row));
                    *old = row;
                    if before != after {
                        let cells = self.guards.strategies.iter_mut();
                        cells
                            .filter_map(|strategy| strategy.cells.get_mut(instrument.id.index()))
                            .for_each(|cell| cell.rescale(before, after));
                    }
                }
                None => {
                    old.is_held = true;
                    return Err(refused());
                }
            },
            None if instrument.id.index() == count => {
                self.rows.push(row);
                self.guards.strategies.iter_mut().for_each(|strategy| strategy.cells.push(Cell::default()));
            }
            None => return Err(refused()),
        }
        Ok(())
    }

    /// Balances as the venue reports them; all of them when `complete`.
    pub fn on_balances(&mut self, balances: &[Balance], complete: bool, ts_event: Timestamp) {
        self.ledger.on_balances(balances, complete, ts_event);
    }

    #[inline]
    pub(super) fn mark(&mut self, instrument: InstrumentId) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        if row.is_foreign_quote {
            return;
        }
        let open = i128::from(row.position) * i128::from(row.valuation());
        let pnl = money_down(row.cash.saturating_add(open), row.price_scale + row.quantity_scale);
        let pnl = pnl.unwrap_or(row.pnl);
        self.pnl = self.pnl.saturating_sub(row.pnl).saturating_add(pnl);
        row.pnl = pnl;
        self.mark_strategies(instrument);
        self.check_loss();
    }

    /// Profit since the first fill, fees subtracted.
    pub(super) const fn net(&self) -> i128 {
        self.pnl.saturating_sub(self.fees)
    }

    pub(super) const fn day_pnl_money(&self) -> i128 {
        self.net().saturating_sub(self.day_base)
    }

    /// Tells the time, so that a new UTC day starts a new loss account. The latch stays until a person resumes.
    pub fn on_time(&mut self, now: Timestamp) {
        let day = now.as_ns() / DAY_NS;
        if day > self.day {
            self.day = day;
            self.day_base = self.net();
            for strategy in &mut self.guards.strategies {
                strategy.day_base = strategy.pnl;
            }
        }
        self.guard_time(now);
    }

    /// Has the daily loss limit been reached since the last call?
    pub fn take_breach(&mut self) -> bool {
        std::mem::take(&mut self.breach)
    }
}
