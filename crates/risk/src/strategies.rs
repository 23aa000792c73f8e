//! What risk knows of each strategy: its share of positions and profit, how often it enters again, whether it is disabled.
//!
//! A fill belongs to the strategy whose order it was. Orders of the house close what strategies hold: their fills are booked
//! on the strategies that hold the other side, in the order of their numbers.

use crate::alerts::KillCause;
use crate::guards::GuardLimits;
use crate::throttle::Throttle;
use crate::units::{money_down, rescale};
use crate::window::EventRing;
use keel_model::{InlineStr, Timestamp};
use serde::{Deserialize, Serialize};

/// A strategy's name, cut to what fits.
pub(crate) type Name = InlineStr<31>;

/// One strategy in one instrument. Money in the cell is in the instrument's own units until it is valued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) position: i64,
    cash: i128,
    /// Fees in money.
    fees: i128,
    /// Profit in money at the last mark, fees subtracted.
    pnl: i128,
    /// Value and fees when the round trip at hand began.
    trip: (i128, i128),
    /// Was something filled since the strategy last entered?
    pub(crate) has_filled: bool,
}

/// What a fill is to a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellFill {
    /// Signed quantity.
    pub(crate) signed: i64,
    pub(crate) price: i64,
    /// In money.
    pub(crate) fee: i128,
    /// Price and quantity scale together.
    pub(crate) scale: u8,
    /// Less than this, in money, is dust: a round trip ends there, since the venue takes no order that small.
    pub(crate) dust: i128,
}

impl Cell {
    /// Was there never a fill?
    pub(crate) fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// Books a fill; answers the profit of the round trip that it ended, fees subtracted, in money.
    pub(crate) fn on_fill(&mut self, fill: &CellFill) -> Option<i128> {
        let (signed, price) = (fill.signed, i128::from(fill.price));
        let closes = self.position != 0 && (self.position > 0) != (signed > 0);
        let part = if closes {
            signed.abs().min(self.position.saturating_abs()).saturating_mul(signed.signum())
        } else {
            signed
        };
        self.has_filled = true;
        self.book(part, price);
        self.fees = self.fees.saturating_add(fill.fee);
        if !closes {
            return None;
        }
        let open = i128::from(self.position).saturating_mul(price);
        let is_flat =
            self.position == 0 || money_down(open.saturating_abs(), fill.scale).is_some_and(|it| it < fill.dust);
        let ended = is_flat.then(|| {
            let value = self.cash.saturating_add(open);
            let gain = money_down(value.saturating_sub(self.trip.0), fill.scale).unwrap_or(0);
            let profit = gain.saturating_sub(self.fees.saturating_sub(self.trip.1));
            self.trip = (value, self.fees);
            profit
        });
        self.book(signed.saturating_sub(part), price);
        ended
    }

    fn book(&mut self, signed: i64, price: i128) {
        self.position = self.position.saturating_add(signed);
        self.cash = self.cash.saturating_sub(i128::from(signed).saturating_mul(price));
    }

    /// Values the cell; answers by how much its profit changed.
    pub(crate) fn mark(&mut self, price: i64, scale: u8) -> i128 {
        let open = i128::from(self.position).saturating_mul(price.into());
        let value = money_down(self.cash.saturating_add(open), scale).unwrap_or(self.pnl);
        let pnl = value.saturating_sub(self.fees);
        let change = pnl.saturating_sub(self.pnl);
        self.pnl = pnl;
        change
    }

    /// The instrument's rules changed their scales. A value that does not fit is lost to the cell: the account's own sums,
    /// which the limits are about, are checked separately.
    pub(crate) fn rescale(&mut self, old: (u8, u8), new: (u8, u8)) {
        let cash = |value: i128| {
            let value = i64::try_from(value).ok().and_then(|value| rescale(value, old.0 + old.1, new.0 + new.1));
            value.map_or(0, i128::from)
        };
        self.position = rescale(self.position, old.1, new.1).unwrap_or(0);
        (self.cash, self.trip.0) = (cash(self.cash), cash(self.trip.0));
    }
}

/// One strategy.
#[derive(Clone, Debug)]
pub(crate) struct StrategyRow {
    pub(crate) name: Name,
    pub(crate) killed: Option<KillCause>,
    throttle: Option<Throttle>,
    reentries: EventRing,
    pub(crate) cells: Vec<Cell>,
    /// Sum over the cells.
    pub(crate) pnl: i128,
    pub(crate) day_base: i128,
    pub(crate) peak: i128,
}

impl StrategyRow {
    pub(crate) fn new(name: Name, limits: &GuardLimits, instruments: usize) -> Self {
        let has_rate = limits.strategy_rate_per_s > 0;
        Self {
            name,
            killed: None,
            throttle: has_rate.then(|| Throttle::new(limits.strategy_rate_per_s, limits.strategy_burst)),
            reentries: EventRing::new(limits.reentries_max, limits.reentry_window_ms),
            cells: vec![Cell::default(); instruments],
            pnl: 0,
            day_base: 0,
            peak: 0,
        }
    }

    /// Takes one token of the strategy's order rate (RC-08).
    #[inline]
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        self.throttle.as_mut().is_none_or(|throttle| throttle.take(now))
    }

    /// Would one more entry after a fill be one too many (RC-10)?
    #[inline]
    pub(crate) fn enters_too_often(&self, instrument: usize, now: Timestamp) -> bool {
        self.cells.get(instrument).is_some_and(|cell| cell.has_filled) && self.reentries.is_full(now)
    }

    /// An order that opens or adds was approved.
    #[inline]
    pub(crate) fn on_entry(&mut self, instrument: usize, now: Timestamp) {
        if let Some(cell) = self.cells.get_mut(instrument).filter(|cell| cell.has_filled) {
            cell.has_filled = false;
            self.reentries.push(now);
        }
    }

    /// Values one cell.
    pub(crate) fn mark(&mut self, instrument: usize, price: i64, scale: u8) {
        let change = self.cells.get_mut(instrument).map_or(0, |cell| cell.mark(price, scale));
        self.pnl = self.pnl.saturating_add(change);
        self.peak = self.peak.max(self.pnl);
    }

    /// A person re-arms it: what was lost until now counts no more.
    pub(crate) fn rearm(&mut self) -> bool {
        self.reentries.clear();
        (self.day_base, self.peak) = (self.pnl, self.pnl);
        self.killed.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(signed: i64, price: i64, fee: i128) -> CellFill {
        CellFill { signed, price, fee, scale: 8, dust: 0 }
    }

    #[test]
    fn a_round_trip_ends_flat_and_its_profit_is_after_fees() {
        let mut cell = Cell::default();
        assert_eq!(cell.on_fill(&fill(10, 100, 1)), None);
        assert_eq!(cell.on_fill(&fill(-4, 110, 1)), None);
        assert_eq!(cell.on_fill(&fill(-6, 110, 1)), Some(100 - 3));
        assert_eq!(cell.on_fill(&fill(5, 100, 1)), None);
        assert_eq!(cell.on_fill(&fill(-9, 90, 1)), Some(-50 - 2), "the rest opens the other way");
        assert_eq!(cell.position, -4);
        assert_eq!(cell.on_fill(&fill(4, 80, 1)), Some(40 - 1));
    }

    #[test]
    fn v_18_a_round_trip_ends_in_dust() {
        let mut cell = Cell::default();
        let dusty = |signed, price| CellFill { dust: 50, ..fill(signed, price, 0) };
        cell.on_fill(&dusty(1_000, 1));
        assert_eq!(cell.on_fill(&dusty(-950, 2)), None, "a hundred left are not dust");
        assert_eq!(
            cell.on_fill(&dusty(-30, 2)),
            Some(1_000),
            "twenty left, worth forty, are; valued at the last price"
        );
        assert_eq!(cell.position, 20);
    }
}
