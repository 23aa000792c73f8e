//! Recorded markets as rows: one level or one trade after the other, at the venue's own times.
//!
//! The same rules as for whole events (see `recorded.rs`); a row is a delta of one level. A stream of rows begins with an
//! empty book. What no order of an account can feel, which is nearly every row, goes straight into the recorded book; a row
//! is looked at closely when an order rests at its price, when it reaches an order's price from the other side, and when it
//! crosses the recorded book.

use super::recorded::move_queue;
use super::{Market, MatchingEngine};
use crate::book::Book;
use crate::reject::Reject;
use crate::store::{NIL, OrderStore};
use crate::tape::TapeTrade;
use keel_marketdata::{L2Row, L2Rows};
use keel_model::{InstrumentId, Price, Quantity, Side, Timestamp};

/// More own levels on a side than this are not told apart: each row there is looked at closely.
const OWN_LEVELS_MAX: usize = 32;

/// Where orders of accounts rest on one side.
#[derive(Clone, Copy, Debug)]
struct OwnSide {
    /// Key of the best price (see [`crate::external`]); [`NOTHING`] without one.
    best: i64,
    /// The only order at the best price; [`NIL`] when there is none or more than one.
    single: u32,
    /// Of each price the bit with the number of its six lowest bits.
    prices: u64,
}

impl OwnSide {
    fn of(book: &Book, store: &OrderStore, side: Side) -> Self {
        let Some((best, level)) = book.best(side) else {
            return Self { best: NOTHING, single: NIL, prices: 0 };
        };
        let levels = book.side(side);
        let prices = match levels.len() {
            1 => 1 << (best & 63),
            ..=OWN_LEVELS_MAX => levels.keys().fold(0, |bits, price| bits | 1 << (price & 63)),
            _ => u64::MAX,
        };
        let is_single = store[level.head].level_next == NIL;
        Self { best: best * side.sign(), single: if is_single { level.head } else { NIL }, prices }
    }

    /// May an order rest at this price?
    #[inline]
    const fn is_at(&self, price: i64) -> bool {
        self.prices >> (price & 63) & 1 == 1
    }
}

/// A key that no price of the other side reaches.
const NOTHING: i64 = i64::MIN / 2;

/// What holds for the rows until an order of an account is touched.
#[derive(Clone, Copy, Debug)]
struct Calm {
    /// Bids and asks.
    own: [OwnSide; 2],
    factors: Factors,
}

/// Largest price or quantity, in units, that is taken without a closer look.
const UNITS_MAX: i64 = 1 << 60;

/// Whole numbers of the rows in units of the instrument: the factors, where the rows are not finer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Factors {
    price: i64,
    quantity: i64,
}

impl Factors {
    const ONE: Self = Self { price: 1, quantity: 1 };

    /// Price and quantity in units; `None` when they are too large for the fast way.
    #[inline]
    fn scale(&self, row: &L2Row) -> Option<(i64, i64)> {
        let (price, quantity) = (row.price.checked_mul(self.price)?, row.quantity.checked_mul(self.quantity)?);
        (price.max(quantity) <= UNITS_MAX).then_some((price, quantity))
    }

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
    pub fn on_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, until: Timestamp) -> Result<usize, Reject> {
        let m = self.market_index(instrument)?;
        let Some(external) = &mut self.markets[m].external else { return Err(Reject::UnknownInstrument) };
        external.has_snapshot = true;
        external.top = None;
        // Orders of accounts change with a report alone, and that ends the rows.
        let calm = self.calm(m, rows);
        let mut taken = 0;
        loop {
            if let Some(calm) = &calm {
                taken += match calm.factors {
                    Factors::ONE => self.skim::<false>(m, calm, &rows.since(taken), until),
                    _ => self.skim::<true>(m, calm, &rows.since(taken), until),
                };
            }
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

    /// May rows be skimmed? Not while each is reported, a stop order or a margin waits for prices, or their numbers are finer
    /// than the instrument's.
    fn calm(&self, m: usize, rows: &L2Rows<'_>) -> Option<Calm> {
        let market = &self.markets[m];
        let is_watched =
            self.config.publish_market_data || !market.stops_up.is_empty() || !market.stops_down.is_empty();
        if is_watched || !self.is_margin_far(m) {
            return None;
        }
        let own = |side| OwnSide::of(&market.book, &self.store, side);
        Some(Calm { own: [own(Side::Buy), own(Side::Sell)], factors: Factors::of(market, rows)? })
    }

    /// Takes the rows before `until` and before the first one that has to be looked at closely; returns how many.
    fn skim<const IS_SCALED: bool>(&mut self, m: usize, calm: &Calm, rows: &L2Rows<'_>, until: Timestamp) -> usize {
        let market = &mut self.markets[m];
        let Some(external) = &mut market.external else { return 0 };
        let (mut taken, mut last, mut levels) = (0, self.now.as_ns(), 0);
        for row in rows.iter() {
            if row.ts_event_ns >= until.as_ns() {
                break;
            }
            let (price, quantity) = if IS_SCALED {
                let Some(scaled) = calm.factors.scale(&row) else { break };
                scaled
            } else {
                (row.price, row.quantity)
            };
            // Which side a row is about cannot be foretold, so that it chooses an address and not a way through the code.
            let side = row.kind.side_index();
            let key = price * row.kind.sign();
            let (own, opposite) = (&calm.own[side], &calm.own[1 - side]);
            if row.kind.is_level() {
                let reached = opposite.best.max(external.sides[1 - side].best_key_or(NOTHING));
                if quantity > 0 && key + reached >= 0 {
                    break;
                }
                let levels_here = &mut external.sides[side];
                if own.is_at(price) {
                    let side = if side == 0 { Side::Buy } else { Side::Sell };
                    if let Some(change) = external.show(side, price, quantity) {
                        move_queue(&market.book, &mut self.store, self.config.queue, &change);
                    }
                } else if quantity == 0 {
                    levels_here.remove(key);
                } else if let Some(level) = levels_here.entry(key) {
                    level.show(quantity);
                }
                levels += 1;
            } else {
                // A taker meets the other side.
                if key + opposite.best >= 0 {
                    // At the price of a single order, and not through the queue in front of it?
                    if key + opposite.best > 0 || opposite.single == NIL || quantity > self.store[opposite.single].ahead
                    {
                        break;
                    }
                    self.store[opposite.single].ahead -= quantity;
                }
                let id = market.tape.last.map_or(0, |last| last.id) + 1;
                let ts = Timestamp::from_ns(row.ts_event_ns.max(last));
                let aggressor = if side == 0 { Side::Buy } else { Side::Sell };
                market.tape.add(TapeTrade { id, ts, price, quantity, aggressor, buyer: 0, seller: 0 });
                if let Some(level) = external.sides[1 - side].get_mut(-key) {
                    level.traded = level.traded.saturating_add(quantity);
                }
            }
            last = row.ts_event_ns.max(last);
            taken += 1;
        }
        external.last_id += levels;
        market.update_id = market.update_id.max(external.last_id);
        self.now = Timestamp::from_ns(last);
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
