//! Recorded markets as rows: one level or one trade after the other, at the venue's own times.
//!
//! The same rules as for whole events (see `recorded.rs`); a row is a delta of one level. A stream of rows begins with an
//! empty book. What no order of an account can feel, which is nearly every row, goes straight into the recorded book; a row
//! is looked at closely when an order rests at its price, when it reaches an order's price from the other side, and when it
//! crosses the recorded book.

use super::{Market, MatchingEngine};
use crate::book::Book;
use crate::reject::Reject;
use crate::tape::TapeTrade;
use keel_marketdata::{L2Row, L2Rows};
use keel_model::{InstrumentId, Price, Quantity, Side, Timestamp};

/// More own levels on a side than this are not told apart: each row there is looked at closely.
const OWN_LEVELS_MAX: usize = 32;

/// Where orders of accounts rest on one side.
#[derive(Clone, Copy, Debug)]
struct OwnSide {
    /// The best price; a number that nothing reaches without one.
    best: i64,
    /// Of each price the bit with the number of its six lowest bits.
    prices: u64,
}

impl OwnSide {
    fn of(book: &Book, side: Side) -> Self {
        let levels = book.side(side);
        let unreachable = if side == Side::Buy { 0 } else { i64::MAX };
        let best = book.best(side).map_or(unreachable, |(price, _)| price);
        let prices = match levels.len() {
            0 => 0,
            1..=OWN_LEVELS_MAX => levels.keys().fold(0, |bits, price| bits | 1 << (price & 63)),
            _ => u64::MAX,
        };
        Self { best, prices }
    }

    /// May an order rest at this price?
    #[inline]
    const fn is_at(&self, price: i64) -> bool {
        self.prices >> (price & 63) & 1 == 1
    }
}

/// Largest price or quantity, in units, that is taken without a closer look.
const UNITS_MAX: i64 = 1 << 60;

/// Whole numbers of the rows in units of the instrument: the factors, where the rows are not finer.
#[derive(Clone, Copy, Debug)]
struct Factors {
    price: i64,
    quantity: i64,
}

impl Factors {
    fn of(market: &Market, rows: &L2Rows<'_>) -> Option<Self> {
        let factor = |from: u8, to: u8| 10i64.checked_pow(u32::from(to.checked_sub(from)?));
        Some(Self {
            price: factor(rows.price_scale, market.rules.price_scale)?,
            quantity: factor(rows.quantity_scale, market.rules.quantity_scale)?,
        })
    }
}

impl MatchingEngine {
    /// Feeds rows of a recorded market before `until`; the venue's time of each becomes the engine's time. Stops behind the
    /// first row after which there is something to drain; returns how many rows were taken. Refused for instruments whose
    /// liquidity comes from accounts.
    pub fn on_rows(
        &mut self,
        instrument: InstrumentId,
        rows: &L2Rows<'_>,
        until: Timestamp,
    ) -> Result<usize, Reject> {
        let m = self.market_index(instrument)?;
        let Some(external) = &mut self.markets[m].external else { return Err(Reject::UnknownInstrument) };
        external.has_snapshot = true;
        let mut taken = 0;
        loop {
            taken += self.skim(m, &rows.since(taken), until);
            let Some(row) = rows.get(taken).filter(|row| row.ts_event_ns < until.as_ns()) else { return Ok(taken) };
            taken += 1;
            self.begin(Timestamp::from_ns(row.ts_event_ns));
            self.recorded_row(m, rows, &row);
            self.watch_margin(m);
            self.finish(m);
            if self.has_events() {
                return Ok(taken);
            }
        }
    }

    /// Takes the rows before `until` and before the first one that has to be looked at closely; returns how many.
    fn skim(&mut self, m: usize, rows: &L2Rows<'_>, until: Timestamp) -> usize {
        let is_margin_far = self.is_margin_far(m);
        let market = &mut self.markets[m];
        let is_watched = self.config.publish_market_data
            || !is_margin_far
            || !market.stops_up.is_empty()
            || !market.stops_down.is_empty();
        let Some(factors) = Factors::of(market, rows).filter(|_| !is_watched) else { return 0 };
        let (bids, asks) = (OwnSide::of(&market.book, Side::Buy), OwnSide::of(&market.book, Side::Sell));
        let Some(external) = &mut market.external else { return 0 };
        external.top = None;
        let (mut taken, mut last, mut levels) = (0, self.now, 0);
        for row in rows.iter() {
            if row.ts_event_ns >= until.as_ns() {
                break;
            }
            let price = row.price.wrapping_mul(factors.price);
            let quantity = row.quantity.wrapping_mul(factors.quantity);
            if price.max(quantity) > UNITS_MAX || price < row.price || quantity < row.quantity {
                break;
            }
            if let Some(side) = row.kind.book_side() {
                let (own, opposite) = if side == Side::Buy { (&bids, &asks) } else { (&asks, &bids) };
                let reaches = |price: i64, other: i64| if side == Side::Buy { price >= other } else { price <= other };
                let is_crossed = quantity > 0
                    && (reaches(price, opposite.best)
                        || external.best_shown(side.opposite()).is_some_and(|(other, _)| reaches(price, other)));
                if own.is_at(price) || is_crossed {
                    break;
                }
                external.show(side, price, quantity);
                levels += 1;
            } else if let Some(aggressor) = row.kind.aggressor() {
                let is_felt = if aggressor == Side::Buy { price >= asks.best } else { price <= bids.best };
                if is_felt || quantity == 0 {
                    break;
                }
                let id = market.tape.last.map_or(0, |last| last.id) + 1;
                let ts = Timestamp::from_ns(row.ts_event_ns).max(last);
                market.tape.add(TapeTrade { id, ts, price, quantity, aggressor, buyer: 0, seller: 0 });
                external.traded(aggressor.opposite(), price, quantity);
            }
            last = Timestamp::from_ns(row.ts_event_ns).max(last);
            taken += 1;
        }
        external.last_id += levels;
        market.update_id = market.update_id.max(external.last_id);
        self.now = last;
        taken
    }

    fn recorded_row(&mut self, m: usize, rows: &L2Rows<'_>, row: &L2Row) {
        let price = Price::new(row.price, rows.price_scale).ok();
        let quantity = Quantity::new(row.quantity, rows.quantity_scale).ok();
        let Some(price) = price.and_then(|price| self.price_units(m, price)) else { return };
        let Some(quantity) = quantity.and_then(|quantity| self.quantity_units(m, quantity)) else { return };
        match (row.kind.book_side(), row.kind.aggressor()) {
            (Some(side), _) => self.recorded_level(m, side, price, quantity),
            (None, Some(aggressor)) => self.trade_in_units(m, None, price, quantity, aggressor),
            (None, None) => {}
        }
    }

    fn recorded_level(&mut self, m: usize, side: Side, price: i64, quantity: i64) {
        let Some(external) = &mut self.markets[m].external else { return };
        external.last_id += 1;
        external.top = None;
        let mut changes = std::mem::take(&mut self.changes);
        changes.extend(external.show(side, price, quantity));
        if quantity > 0 {
            let (bid, ask) = if side == Side::Buy { (Some(price), None) } else { (None, Some(price)) };
            external.uncross(bid, ask, &mut changes);
        }
        if !changes.is_empty() {
            self.apply_changes(m, &changes);
            self.fill_crossed(m, Side::Buy);
            self.fill_crossed(m, Side::Sell);
            changes.clear();
        }
        self.changes = changes;
    }
}
