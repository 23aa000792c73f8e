//! A seeded synthetic market: house accounts that quote and trade around a wandering fair price, so that a strategy sees
//! books, trades, trends and fills without a network. Its profit and loss means nothing.
//!
//! Invariants: the house's own spread is never below three ticks; each symbol has a trade at least every 450 ms of simulated
//! time while it is stepped; only integer arithmetic, so that a seed gives the same market on every machine. A gap longer
//! than [`CATCH_UP_MAX`] between two steps is skipped, not replayed.

use crate::engine::{MatchingEngine, SimError};
use crate::rng::Rng;
use crate::tape::Candle;
use crate::types::{AccountId, CancelRequest, OrderId, OrderRef, OrderRequest};
use keel_model::instrument::{LotRule, PercentPriceRule};
use keel_model::{
    Asset, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Notional, Price, Quantity, Side, Timestamp,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Longest gap between two steps that is made up for.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// Earlier one-minute candles.
pub const HISTORY_MINUTES: u64 = 1_000;
/// How often the house quotes anew.
const QUOTE_EVERY: Duration = Duration::from_millis(100);
/// Grid levels on each side, beside those at the touch.
const GRID_LEVELS: i64 = 24;
/// Former best prices that stay in the book for a while.
const TOUCH_LEVELS: usize = 4;

/// One symbol of a synthetic market. Amounts in the instrument's smallest steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticSpec {
    /// The instrument.
    pub instrument: Instrument,
    /// First price.
    pub start: Price,
    /// Typical size of a quote.
    pub quote_size: Quantity,
    /// Typical size of a trade.
    pub trade_size: Quantity,
}

/// The two default symbols: BTCUSDT from 60,000 and ETHUSDT from 3,000, with Binance's filters; instrument ids 0 and 1.
#[must_use]
pub fn default_specs() -> Vec<SyntheticSpec> {
    vec![
        SyntheticSpec {
            instrument: spot(0, "BTC", 5, 120),
            start: Price::from_int(60_000),
            quote_size: decimal(40_000, 5),
            trade_size: decimal(1_500, 5),
        },
        SyntheticSpec {
            instrument: spot(1, "ETH", 4, 2_400),
            start: Price::from_int(3_000),
            quote_size: decimal(80_000, 4),
            trade_size: decimal(3_000, 4),
        },
    ]
}

/// What each demonstration account holds: 100,000 USDT, 2 BTC and 20 ETH.
#[must_use]
pub fn demo_balances() -> Vec<(Asset, Notional)> {
    [("USDT", 100_000), ("BTC", 2), ("ETH", 20)]
        .into_iter()
        .map(|(asset, amount)| (Asset::truncated(asset), Notional::from_int(amount)))
        .collect()
}

fn decimal(mantissa: i64, scale: u8) -> Quantity {
    Quantity::new(mantissa, scale).unwrap_or(Quantity::ZERO)
}

/// A Binance spot instrument against USDT with a tick of 0.01.
fn spot(id: u32, base: &str, quantity_scale: u8, market_max: i64) -> Instrument {
    let step = decimal(1, quantity_scale);
    let cent = Price::new(1, 2).unwrap_or(Price::ZERO);
    let (five, fifth) = (Quantity::from_int(5), decimal(2, 1));
    Instrument {
        id: InstrumentId(id),
        symbol: keel_model::InlineStr::truncated(&format!("{base}USDT")),
        base: Asset::truncated(base),
        quote: Asset::truncated("USDT"),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: cent,
        min_price: cent,
        max_price: Price::from_int(1_000_000),
        lot: LotRule { min: step, max: Quantity::from_int(9_000), step },
        market_lot: LotRule { min: Quantity::ZERO, max: Quantity::from_int(market_max), step: Quantity::ZERO },
        min_notional: Notional::from_int(5),
        min_notional_applies_to_market: true,
        max_notional: Some(Notional::from_int(9_000_000)),
        percent_price: Some(PercentPriceRule { bid_up: five, bid_down: fifth, ask_up: five, ask_down: fifth }),
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

/// The market makers and takers of a synthetic market.
#[derive(Debug)]
pub struct SyntheticMarket {
    maker: AccountId,
    taker: AccountId,
    symbols: Vec<Symbol>,
}

#[derive(Debug)]
struct Symbol {
    instrument: InstrumentId,
    rng: Rng,
    scales: (u8, u8),
    tick: i64,
    grid: i64,
    start: i64,
    /// In thousandths of a price unit.
    fair: i64,
    drift: i64,
    drift_until: Timestamp,
    next_quote: Timestamp,
    next_trade: Timestamp,
    quote_size: i64,
    trade_size: i64,
    sides: [Ladder; 2],
    refused: u64,
}

/// The house's orders on one side, by price.
#[derive(Debug, Default)]
struct Ladder {
    orders: BTreeMap<i64, OrderId>,
    touches: VecDeque<i64>,
}

impl SyntheticMarket {
    /// Adds the instruments, their history and the house to the engine, and quotes for the first time.
    pub fn start(engine: &mut MatchingEngine, specs: &[SyntheticSpec], now: Timestamp) -> Result<Self, SimError> {
        let (maker, taker) = (engine.add_house_account(), engine.add_house_account());
        let seed = engine.config().seed;
        let mut symbols = Vec::with_capacity(specs.len());
        for spec in specs {
            let instrument = engine.add_instrument(spec.instrument.clone())?;
            let mut symbol = Symbol::new(engine, spec, instrument, seed, now)?;
            let history = symbol.history(now);
            engine.load_history(instrument, history)?;
            symbol.quote(engine, maker, now);
            symbols.push(symbol);
        }
        Ok(Self { maker, taker, symbols })
    }

    /// Lets everything happen that is due by `now`, in order of time.
    pub fn step(&mut self, engine: &mut MatchingEngine, now: Timestamp) {
        let earliest = now.minus(CATCH_UP_MAX);
        for symbol in &mut self.symbols {
            symbol.next_quote = symbol.next_quote.max(earliest);
            symbol.next_trade = symbol.next_trade.max(earliest);
        }
        loop {
            let due = self.symbols.iter_mut().min_by_key(|symbol| symbol.next_at());
            let Some(symbol) = due.filter(|symbol| symbol.next_at() <= now) else { return };
            if symbol.next_quote <= symbol.next_trade {
                let at = symbol.next_quote;
                symbol.wander(at);
                symbol.quote(engine, self.maker, at);
                symbol.next_quote = at.plus(QUOTE_EVERY);
            } else {
                let at = symbol.next_trade;
                symbol.trade(engine, self.taker, at);
                symbol.next_trade = at.plus(Duration::from_millis(60 + symbol.rng.below(390)));
            }
        }
    }

    /// How many of the house's requests were refused; zero unless filters or histories were made too tight for it.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.symbols.iter().map(|symbol| symbol.refused).sum()
    }

    /// When the next step does something.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.symbols.iter().map(Symbol::next_at).min()
    }
}

impl Symbol {
    fn new(
        engine: &MatchingEngine,
        spec: &SyntheticSpec,
        instrument: InstrumentId,
        seed: u64,
        now: Timestamp,
    ) -> Result<Self, SimError> {
        let market = engine.market(instrument).ok_or(crate::Reject::UnknownInstrument)?;
        let rules = &market.rules;
        let start = rules.check_price(spec.start)?;
        let size = |quantity: Quantity| quantity.rescale(rules.quantity_scale).map_or(1, Quantity::mantissa).max(1);
        let tick = rules.tick();
        Ok(Self {
            instrument,
            rng: Rng::fork(seed, 0x0051_u64 + u64::from(instrument.0)),
            scales: (rules.price_scale, rules.quantity_scale),
            tick,
            // One sixty-thousandth of the price, on the tick.
            grid: (start / 60_000 / tick).max(1) * tick,
            start,
            fair: start.saturating_mul(1000),
            drift: 0,
            drift_until: now,
            next_quote: now.plus(QUOTE_EVERY),
            next_trade: now.plus(Duration::from_millis(50)),
            quote_size: size(spec.quote_size),
            trade_size: size(spec.trade_size),
            sides: [Ladder::default(), Ladder::default()],
            refused: 0,
        })
    }

    fn next_at(&self) -> Timestamp {
        self.next_quote.min(self.next_trade)
    }

    /// Moves the fair price: noise, a trend that changes every few seconds, and a faint pull home.
    fn wander(&mut self, now: Timestamp) {
        if now >= self.drift_until {
            let most = self.start.saturating_mul(1000) / 40_000;
            // Mostly the other way round, so that there is something to trade on within a minute.
            let is_up = if self.rng.chance(750) { self.drift <= 0 } else { self.drift > 0 };
            let strength = self.rng.between(most / 4, most);
            self.drift = if is_up { strength } else { -strength };
            self.drift_until = now.plus(Duration::from_millis(3_000 + self.rng.below(5_000)));
        }
        let sigma = self.start.saturating_mul(1000) / 30_000;
        let pull = (self.start.saturating_mul(1000) - self.fair) / 50_000;
        self.fair = (self.fair + self.rng.bell(sigma) + self.drift + pull).max(self.start.saturating_mul(100));
    }

    /// Brings both ladders to the fair price.
    fn quote(&mut self, engine: &mut MatchingEngine, maker: AccountId, now: Timestamp) {
        let middle = self.fair / 1000 / self.tick * self.tick;
        let bid = middle - self.tick * self.rng.between(2, 5);
        let ask = middle + self.tick * self.rng.between(2, 5);
        // First out of the way, then in: the house never meets itself.
        self.retreat(engine, maker, now, Side::Buy, bid);
        self.retreat(engine, maker, now, Side::Sell, ask);
        self.refill(engine, maker, now, Side::Buy, bid);
        self.refill(engine, maker, now, Side::Sell, ask);
    }

    const fn ladder(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.sides[0],
            Side::Sell => &mut self.sides[1],
        }
    }

    /// Cancels what is better than the new touch, too deep, or a touch of long ago; now and then one grid level, so that
    /// sizes change.
    fn retreat(&mut self, engine: &mut MatchingEngine, maker: AccountId, now: Timestamp, side: Side, touch: i64) {
        let (grid, sign) = (self.grid, side.sign());
        let deepest = touch - sign * grid * (GRID_LEVELS + 8);
        let is_renewed = self.rng.below(GRID_LEVELS as u64) as usize;
        let ladder = self.ladder(side);
        ladder.touches.retain(|price| (touch - price) * sign >= 0);
        while ladder.touches.len() > TOUCH_LEVELS {
            ladder.touches.pop_front();
        }
        let touches = &ladder.touches;
        let stays = |at: usize, price: i64| {
            let is_between = (touch - price) * sign >= 0 && (price - deepest) * sign >= 0;
            let is_known = price % grid == 0 || touches.contains(&price);
            is_between && is_known && at != is_renewed
        };
        let gone: Vec<(i64, OrderId)> = ladder
            .orders
            .iter()
            .enumerate()
            .filter(|(at, (price, _))| !stays(*at, **price))
            .map(|(_, (price, id))| (*price, *id))
            .collect();
        for (price, id) in gone {
            self.ladder(side).orders.remove(&price);
            // It may have been filled meanwhile, which is as good.
            if engine.is_open(id) {
                let request = CancelRequest::new(self.instrument, OrderRef::Id(id));
                self.refused += u64::from(engine.cancel(now, maker, &request).is_err());
            }
        }
    }

    /// Places what is missing: the touch and the grid behind it.
    fn refill(&mut self, engine: &mut MatchingEngine, maker: AccountId, now: Timestamp, side: Side, touch: i64) {
        let (grid, sign) = (self.grid, side.sign());
        let first = match side {
            Side::Buy => (touch - 1) / grid * grid,
            Side::Sell => (touch / grid + 1) * grid,
        };
        self.place(engine, maker, now, side, touch, self.quote_size / 4);
        let ladder = self.ladder(side);
        if ladder.touches.back() != Some(&touch) {
            ladder.touches.push_back(touch);
        }
        for level in 0..GRID_LEVELS {
            let size = self.quote_size / 2 + self.quote_size * level / 8;
            self.place(engine, maker, now, side, first - sign * grid * level, size);
        }
    }

    fn place(
        &mut self,
        engine: &mut MatchingEngine,
        maker: AccountId,
        now: Timestamp,
        side: Side,
        price: i64,
        size: i64,
    ) {
        if price <= 0 {
            return;
        }
        let known = self.ladder(side).orders.get(&price).copied();
        if known.is_some_and(|id| engine.is_open(id)) {
            return;
        }
        let units = self.rng.between(size / 2, size + size / 2).max(self.trade_size);
        let request = OrderRequest::limit(self.instrument, side, self.quantity(units), self.price(price));
        match engine.submit(now, maker, &request) {
            Ok(view) if view.state.is_open() => {
                self.ladder(side).orders.insert(price, view.order_id);
            }
            Ok(_) => {
                self.ladder(side).orders.remove(&price);
            }
            Err(_) => self.refused += 1,
        }
    }

    /// One market order: mostly small, with the trend, now and then a large one.
    fn trade(&mut self, engine: &mut MatchingEngine, taker: AccountId, now: Timestamp) {
        let bias = if self.drift > 0 { 580 } else { 420 };
        let side = if self.rng.chance(bias) { Side::Buy } else { Side::Sell };
        let scale = if self.rng.chance(20) { 40 } else { 2 };
        let size = self.trade_size.saturating_mul(scale);
        // The square of a uniform number: many small trades, few large ones.
        let part = self.rng.below(1000);
        let units = i128::from(size) * i128::from(part * part) / 1_000_000;
        let units = i64::try_from(units).unwrap_or(size).max(self.trade_size / 5).max(1);
        let request = OrderRequest::market(self.instrument, side, self.quantity(units));
        // Refused only when a filter was changed by hand; the market goes on without this trade.
        self.refused += u64::from(engine.submit(now, taker, &request).is_err());
    }

    fn price(&self, units: i64) -> Price {
        Price::new(units, self.scales.0).unwrap_or(Price::ZERO)
    }

    fn quantity(&self, units: i64) -> Quantity {
        Quantity::new(units, self.scales.1).unwrap_or(Quantity::ZERO)
    }

    /// One-minute candles before `now` that end at the first price.
    fn history(&mut self, now: Timestamp) -> Vec<Candle> {
        let minute = now.as_ms() / 60_000;
        let sigma = self.start / 1_500;
        let mut candles = Vec::new();
        let mut close = self.start;
        for back in 1..=HISTORY_MINUTES.min(minute) {
            let open = (close - self.rng.bell(sigma) / self.tick * self.tick).max(self.start / 2).max(self.tick);
            let mut wick = || self.rng.bell(sigma / 3).abs() / self.tick * self.tick;
            let (high, low) = (open.max(close) + wick(), (open.min(close) - wick()).max(self.tick));
            let trades = 150 + self.rng.below(300);
            let volume = self.trade_size.saturating_mul(trades as i64) / 2;
            let bought = volume / 100 * self.rng.between(35, 65);
            let average = i128::from(open + (close - open) / 2);
            candles.push(Candle {
                open_ms: (minute - back) * 60_000,
                open,
                high,
                low,
                close,
                volume,
                quote: average * i128::from(volume),
                buy_volume: bought,
                buy_quote: average * i128::from(bought),
                trades,
                first_id: 0,
                last_id: 0,
            });
            close = open;
        }
        candles.reverse();
        let mut id = 0;
        for candle in &mut candles {
            (candle.first_id, candle.last_id) = (id + 1, id + candle.trades);
            id += candle.trades;
        }
        candles
    }
}

#[cfg(test)]
mod tests;
