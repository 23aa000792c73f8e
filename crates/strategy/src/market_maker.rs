//! Bids and asks around the middle of the book: an example to copy.
//!
//! Invariants: at most one working order per side and level; a quote that is off is cancelled first, and the new one is
//! placed when the venue has said that the old one is gone, so exposure never doubles; at most one request per quote and
//! `requote_interval_ms`; on spot it offers no more than the account holds free; without a live book it has no quotes.
//! Per tick it does a few float operations; exact decimals come in only when an order is made.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::{Context, OrderUpdate, OrderUpdateKind, Strategy, Subscription};
use keel_model::{
    ClientOrderId, FeedState, Fill, InstrumentId, InstrumentKind, Notional, OrderIntent, OrderPurpose, OrderType,
    Position, Price, Quantity, Rounding, Side, Timestamp, TopOfBook, TradingState,
};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "market-maker";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::money("quote_notional_quote", 1, 1_000_000_000, "500", "quote asset", "Value of each quote."),
    ParamSpec::whole("levels_count", 1, 20, "1", "quotes", "Quotes on each side."),
    ParamSpec::real(
        "level_step_bps",
        0.0,
        1_000.0,
        "1",
        "basis points",
        "Distance from one quote to the next on the same side.",
    ),
    ParamSpec::real(
        "half_spread_bps",
        0.0,
        1_000.0,
        "0.5",
        "basis points",
        "Distance of each quote from the middle of the book.",
    ),
    ParamSpec::real(
        "requote_bps",
        0.0,
        1_000.0,
        "0.5",
        "basis points",
        "A quote is moved when it is off by more than this, and by more than a tick.",
    ),
    ParamSpec::whole(
        "requote_interval_ms",
        1,
        60_000,
        "250",
        "milliseconds",
        "Least time between two requests on one side.",
    ),
    ParamSpec::money(
        "inventory_notional_max_quote",
        1,
        1_000_000_000,
        "5000",
        "quote asset",
        "The most that may be held or owed before one side is no longer quoted.",
    ),
    ParamSpec::real(
        "skew_bps",
        0.0,
        1_000.0,
        "0.5",
        "basis points",
        "How far both quotes move against a full inventory, so that it is worked off.",
    ),
];

/// The longest wait after refusals in a row.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Working {
    id: ClientOrderId,
    price: f64,
    is_canceling: bool,
}

/// One quote.
#[derive(Clone, Copy, Debug)]
struct Quote {
    working: Option<Working>,
    /// No request before this time.
    ts_next: Timestamp,
    refusals: u32,
}

impl Quote {
    const fn new() -> Self {
        Self { working: None, ts_next: Timestamp::ZERO, refusals: 0 }
    }
}

/// Which quote: the side and its distance from the middle, in levels.
#[derive(Clone, Copy, Debug)]
struct Place {
    side: Side,
    level: usize,
}

/// What the market looks like at one tick, in floats.
#[derive(Clone, Copy, Debug)]
struct Market {
    bid: f64,
    ask: f64,
    mid: f64,
}

/// The market maker.
#[derive(Debug)]
pub struct MarketMaker {
    instrument: InstrumentId,
    quote_notional: Notional,
    quote_value: f64,
    half_spread: f64,
    requote: f64,
    requote_interval: Duration,
    inventory_max: f64,
    skew: f64,
    tick: f64,
    /// What its own fills have made; another strategy may trade the same instrument.
    own: Position,
    position: f64,
    level_step: f64,
    /// Nearest to the middle first.
    bids: Vec<Quote>,
    asks: Vec<Quote>,
}

impl MarketMaker {
    /// Quotes one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let quote_notional = settings.money("quote_notional_quote")?;
        let inventory_max = settings.money("inventory_notional_max_quote")?;
        if inventory_max < quote_notional {
            let cause = format!(
                "inventory_notional_max_quote {inventory_max} is below quote_notional_quote {quote_notional}: it would never quote"
            );
            return Err(settings.contradiction(cause));
        }
        let levels = usize::try_from(settings.whole("levels_count")?).unwrap_or(1);
        Ok(Self {
            instrument,
            quote_notional,
            quote_value: quote_notional.to_f64(),
            half_spread: settings.real("half_spread_bps")? / 1e4,
            requote: settings.real("requote_bps")? / 1e4,
            requote_interval: Duration::from_millis(settings.whole("requote_interval_ms")?),
            inventory_max: inventory_max.to_f64(),
            skew: settings.real("skew_bps")? / 1e4,
            tick: 0.0,
            own: Position::flat(instrument),
            position: 0.0,
            level_step: settings.real("level_step_bps")? / 1e4,
            bids: vec![Quote::new(); levels],
            asks: vec![Quote::new(); levels],
        })
    }

    /// Brings all quotes to where they belong, or away when there is no market.
    #[inline]
    fn requote(&mut self, ctx: &mut Context<'_>, market: Option<Market>) {
        for side in [Side::Buy, Side::Sell] {
            let reach = market.map_or(0.0, |market| (self.requote * market.mid).max(self.tick));
            for level in 0..self.bids.len() {
                let at = Place { side, level };
                let target = market.and_then(|market| self.target(ctx, at, market));
                self.requote_one(ctx, at, target, reach);
            }
        }
    }

    #[inline]
    fn requote_one(&mut self, ctx: &mut Context<'_>, at: Place, target: Option<f64>, reach: f64) {
        let now = ctx.now();
        let interval = self.requote_interval;
        let Some(quote) = self.quote_mut(at) else { return };
        match (quote.working, target) {
            (Some(working), _) if working.is_canceling => {}
            (Some(working), Some(target)) if (working.price - target).abs() <= reach => {}
            (None, None) => {}
            _ if now < quote.ts_next => {}
            (Some(working), _) => {
                quote.working = Some(Working { is_canceling: true, ..working });
                quote.ts_next = now.plus(interval);
                ctx.cancel(working.id);
            }
            (None, Some(target)) => {
                quote.ts_next = now.plus(interval);
                self.place(ctx, at, target);
            }
        }
    }

    /// Where a quote belongs; `None` where it should not be.
    #[inline]
    fn target(&self, ctx: &Context<'_>, Place { side, level }: Place, market: Market) -> Option<f64> {
        let (sign, depth) = (side.sign() as f64, level as f64);
        let held = self.position * market.mid;
        let is_reducing = held * sign < 0.0;
        match ctx.trading_state() {
            TradingState::Active => {}
            TradingState::Reducing if is_reducing => {}
            TradingState::Reducing | TradingState::Halted => return None,
        }
        if held * sign + self.quote_value * (depth + 1.0) > self.inventory_max && (!is_reducing || level > 0) {
            return None;
        }
        let fullness = (held / self.inventory_max).clamp(-1.0, 1.0);
        let center = market.mid * (1.0 - self.skew * fullness);
        let target = center * (1.0 - sign * (self.half_spread + self.level_step * depth));
        // Post-only: never at or beyond the other side's best.
        Some(match side {
            Side::Buy => target.min(market.ask - self.tick),
            Side::Sell => target.max(market.bid + self.tick),
        })
    }

    fn place(&mut self, ctx: &mut Context<'_>, at: Place, target: f64) {
        let Some(intent) = self.intent(ctx, at.side, target) else { return self.refused(at, ctx.now()) };
        let price = intent.price.map_or(target, Price::to_f64);
        let id = ctx.submit(intent);
        if let Some(quote) = self.quote_mut(at) {
            quote.working = Some(Working { id, price, is_canceling: false });
        }
    }

    /// The order for a quote; `None` when the account does not hold enough for the least order.
    fn intent(&self, ctx: &Context<'_>, side: Side, target: f64) -> Option<OrderIntent> {
        let instrument = ctx.instrument(self.instrument)?;
        let near = Price::from_f64(target, 8, Rounding::HalfUp).ok()?;
        let price = instrument.round_passive(near, side).ok()?;
        let mut quantity = ctx.quantity_worth(self.instrument, self.quote_notional, price, OrderType::LimitMaker)?;
        if instrument.kind == InstrumentKind::Spot {
            quantity = match side {
                Side::Buy => affordable(ctx, self.instrument, quantity, price)?,
                Side::Sell => quantity.min(ctx.free_base(self.instrument)),
            };
            quantity = ctx.tradable(self.instrument, quantity, price, OrderType::LimitMaker)?;
        }
        Some(OrderIntent::post_only(self.instrument, side, quantity, price, OrderPurpose::Entry))
    }

    fn quote_mut(&mut self, at: Place) -> Option<&mut Quote> {
        match at.side {
            Side::Buy => self.bids.get_mut(at.level),
            Side::Sell => self.asks.get_mut(at.level),
        }
    }

    /// The quote that an order of ours is working for.
    fn find(&self, side: Side, id: ClientOrderId) -> Option<(Place, Working)> {
        let quotes = if side == Side::Buy { &self.bids } else { &self.asks };
        quotes.iter().enumerate().find_map(|(level, quote)| {
            quote.working.filter(|working| working.id == id).map(|working| (Place { side, level }, working))
        })
    }

    fn refused(&mut self, at: Place, now: Timestamp) {
        let interval = self.requote_interval;
        let Some(quote) = self.quote_mut(at) else { return };
        let wait = interval.saturating_mul(1 << quote.refusals.min(16)).clamp(interval, BACKOFF_MAX.max(interval));
        quote.ts_next = now.plus(wait);
        quote.refusals = quote.refusals.saturating_add(1);
    }

    fn market(&self, ctx: &Context<'_>) -> Option<Market> {
        let book = ctx.book(self.instrument)?;
        Some(Market::of(book.best_bid()?.price, book.best_ask()?.price))
    }
}

impl Market {
    #[inline]
    fn of(bid: Price, ask: Price) -> Self {
        let (bid, ask) = (bid.to_f64(), ask.to_f64());
        Self { bid, ask, mid: (bid + ask) * 0.5 }
    }
}

/// As much of `quantity` as the free quote asset pays for.
fn affordable(ctx: &Context<'_>, id: InstrumentId, quantity: Quantity, price: Price) -> Option<Quantity> {
    let free = ctx.balance(ctx.instrument(id)?.quote).free;
    if free >= Notional::of(price, quantity) {
        return Some(quantity);
    }
    ctx.quantity_worth(id, free, price, OrderType::LimitMaker)
}

impl Strategy for MarketMaker {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument)]
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.tick = ctx.instrument(self.instrument).map_or(0.0, |instrument| instrument.tick_size.to_f64());
        self.own = ctx.own_position(self.instrument);
        self.position = self.own.quantity.to_f64();
        // Quotes of an earlier start are not worth adopting: their place in the market is long gone.
        ctx.cancel_all(self.instrument);
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
        // The house may have closed for it.
        let own = ctx.own_position(self.instrument);
        if own.quantity != self.own.quantity {
            (self.own, self.position) = (own, own.quantity.to_f64());
        }
        if top.bid.quantity.is_positive() && top.ask.quantity.is_positive() {
            self.requote(ctx, Some(Market::of(top.bid.price, top.ask.price)));
        } else {
            self.requote(ctx, None);
        }
    }

    fn on_fill(&mut self, ctx: &mut Context<'_>, _id: ClientOrderId, fill: &Fill) {
        if self.own.apply(fill.side, fill.price, fill.quantity).is_err() {
            self.own = ctx.own_position(self.instrument);
        }
        self.position = self.own.quantity.to_f64();
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        let now = ctx.now();
        let Some((at, working)) = self.find(update.side, update.client_order_id) else { return };
        let Some(quote) = self.quote_mut(at) else { return };
        match update.kind {
            OrderUpdateKind::CancelRejected(_) => {
                // Filled or gone meanwhile, mostly; its own end will say so. If not, the next tick cancels again.
                quote.working = Some(Working { is_canceling: false, ..working });
                self.refused(at, now);
            }
            kind if kind.is_terminal() => {
                quote.working = None;
                match kind {
                    OrderUpdateKind::Filled | OrderUpdateKind::Canceled => quote.refusals = 0,
                    _ => self.refused(at, now),
                }
            }
            _ => {}
        }
    }

    fn on_feed(&mut self, ctx: &mut Context<'_>, instrument: InstrumentId, state: FeedState) {
        if instrument == self.instrument && state != FeedState::Live {
            self.requote(ctx, None);
        }
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        // On an old price nothing is placed or moved; the feed's state says when the market is gone.
        if ctx.book(self.instrument).is_some() && ctx.fresh_book(self.instrument).is_none() {
            return;
        }
        let market = self.market(ctx);
        self.requote(ctx, market);
    }
}

#[cfg(test)]
mod tests;
