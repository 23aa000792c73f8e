//! Long while the fast moving average is above the slow one: an example to copy.
//!
//! Each call compares what is wanted with what is there and takes one step, so a restart, a lost message or a refused
//! order needs no special case. It holds at most one working order besides its stop, sells only what it bought (another
//! strategy may trade the same instrument), and waits after a refusal instead of hammering. After a restart it takes over
//! the whole position of the instrument.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::{Context, OrderUpdate, OrderUpdateKind, Residue, Strategy, Subscription, Tag};
use keel_marketdata::Ema;
use keel_model::{
    Bar, ClientOrderId, Fill, InstrumentId, Notional, OrderIntent, OrderPurpose, OrderType, Position, Price, Quantity,
    Reject, RejectReason, Rounding, Side, TimeInForce, Timestamp, TradingState,
};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "ema-cross";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::whole("bar_s", 1, 86_400, "1", "seconds", "Length of the bars that are averaged; must divide a day.")
        .fixed(),
    ParamSpec::whole("fast_bars_count", 1, 10_000, "5", "bars", "Bars of the fast average.").swept("2", "50", "1"),
    ParamSpec::whole(
        "slow_bars_count",
        2,
        10_000,
        "20",
        "bars",
        "Bars of the slow average; more than of the fast one.",
    )
    .swept("10", "200", "5"),
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "500", "quote asset", "Value of each entry."),
    ParamSpec::word(
        "entry",
        &["market", "limit"],
        "market",
        "How to enter and leave: `market`, or `limit` for a limit order through the spread that is cancelled if it does not fill at once.",
    ),
    ParamSpec::real(
        "slippage_bps",
        0.0,
        1_000.0,
        "5",
        "basis points",
        "How far beyond the best price a `limit` entry or exit may fill.",
    ),
    ParamSpec::real(
        "stop_loss_bps",
        0.0,
        5_000.0,
        "0",
        "basis points",
        "Distance of the protective stop below the average entry price; 0 places none.",
    ),
];

/// Wait after a refused order; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// The one order (or cancel) whose end is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    Order(ClientOrderId),
    StopCancel,
}

/// Bars of the fast and of the slow average, and seconds of a bar, checked against each other.
pub(crate) fn spans(settings: &Settings) -> Result<(usize, usize, u64), StrategyError> {
    let (fast, slow) = (settings.count("fast_bars_count")?, settings.count("slow_bars_count")?);
    if fast >= slow {
        let cause = format!("fast_bars_count {fast} is not below slow_bars_count {slow}; swap or spread them");
        return Err(settings.contradiction(cause));
    }
    let bar_s = settings.whole("bar_s")?;
    if !86_400u64.is_multiple_of(bar_s) {
        return Err(settings.contradiction(format!("bar_s {bar_s} does not divide a day; try 1, 5, 60 or 300")));
    }
    Ok((fast, slow, bar_s))
}

/// The moving-average cross.
#[derive(Debug)]
pub struct EmaCross {
    instrument: InstrumentId,
    bar: Duration,
    fast: Ema,
    slow: Ema,
    order_notional: Notional,
    is_limit: bool,
    slippage: f64,
    stop_loss: Option<f64>,
    wants_long: Option<bool>,
    /// What its own fills have made.
    own: Position,
    /// Stopped out: the averages have to cross again before the next entry.
    waits_for_cross: bool,
    pending: Pending,
    stop: Option<ClientOrderId>,
    refusals: u32,
    ts_next: Timestamp,
    residue: Residue,
}

impl EmaCross {
    /// Trades one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let (fast, slow, bar_s) = spans(settings)?;
        let average = |period| Ema::new(period).map_err(|error| settings.contradiction(error.to_string()));
        let stop_loss = settings.real("stop_loss_bps")? / 1e4;
        Ok(Self {
            instrument,
            bar: Duration::from_secs(bar_s),
            fast: average(fast)?,
            slow: average(slow)?,
            order_notional: settings.money("order_notional_quote")?,
            is_limit: settings.word("entry")? == "limit",
            slippage: settings.real("slippage_bps")? / 1e4,
            stop_loss: (stop_loss > 0.0).then_some(stop_loss),
            wants_long: None,
            own: Position::flat(instrument),
            waits_for_cross: false,
            pending: Pending::Nothing,
            stop: None,
            refusals: 0,
            ts_next: Timestamp::ZERO,
            residue: Residue::new(),
        })
    }

    /// One step from what is there to what is wanted.
    fn act(&mut self, ctx: &mut Context<'_>) {
        let Some(wants_long) = self.wants_long else { return };
        if self.pending != Pending::Nothing || ctx.now() < self.ts_next || ctx.trading_state() == TradingState::Halted {
            return;
        }
        match (wants_long, self.held(ctx), self.stop) {
            (true, None, None) => self.enter(ctx),
            (true, Some(held), None) => self.protect(ctx, held),
            (true, Some(_), Some(_)) => {}
            // The stop holds the coins; it has to go first.
            (false, _, Some(stop)) | (true, None, Some(stop)) => {
                ctx.cancel(stop);
                self.pending = Pending::StopCancel;
            }
            (false, Some(held), None) => self.leave(ctx, held),
            (false, None, None) => {}
        }
    }

    /// The position, where it is large enough to be sold.
    fn held(&self, ctx: &Context<'_>) -> Option<Quantity> {
        let bid = ctx.book(self.instrument)?.best_bid()?.price;
        ctx.tradable(self.instrument, self.residue.without(self.own.quantity), bid, OrderType::Market)
    }

    fn enter(&mut self, ctx: &mut Context<'_>) {
        let Some(ask) = ctx.book(self.instrument).and_then(|book| book.best_ask()).map(|level| level.price) else {
            return;
        };
        let Some(quantity) = ctx.quantity_worth(self.instrument, self.order_notional, ask, OrderType::Market) else {
            return self.back_off(ctx.now());
        };
        self.take(ctx, Side::Buy, quantity, ask, OrderPurpose::Entry);
    }

    fn leave(&mut self, ctx: &mut Context<'_>, held: Quantity) {
        let Some(bid) = ctx.book(self.instrument).and_then(|book| book.best_bid()).map(|level| level.price) else {
            return;
        };
        // A fee taken in coins leaves less than was bought; and the balance may be told after the fill.
        let sellable = ctx.sellable(self.instrument, held);
        let Some(quantity) = ctx.tradable(self.instrument, sellable, bid, OrderType::Market) else {
            return self.back_off(ctx.now());
        };
        self.take(ctx, Side::Sell, quantity, bid, OrderPurpose::Exit);
    }

    /// Takes liquidity at `best` or, as a limit order, a little beyond.
    fn take(&mut self, ctx: &mut Context<'_>, side: Side, quantity: Quantity, best: Price, purpose: OrderPurpose) {
        let mut intent = OrderIntent::market(self.instrument, side, quantity, purpose);
        if self.is_limit {
            let reach = 1.0 + side.sign() as f64 * self.slippage;
            let Some(price) = self.price_near(ctx, best, reach, side) else { return };
            intent = OrderIntent::limit(self.instrument, side, quantity, price, purpose);
            intent.time_in_force = TimeInForce::Ioc;
        }
        intent.reduce_only = purpose == OrderPurpose::Exit && !ctx.is_spot(self.instrument);
        self.pending = Pending::Order(ctx.submit(intent));
    }

    fn protect(&mut self, ctx: &mut Context<'_>, held: Quantity) {
        let Some(stop_loss) = self.stop_loss else { return };
        let quantity = ctx.instrument(self.instrument).and_then(|instrument| {
            instrument.round_quantity(ctx.sellable(self.instrument, held), OrderType::StopLoss).ok()
        });
        let entry = self.own.average_price(8).ok();
        let price = entry.and_then(|entry| self.price_near(ctx, entry, 1.0 - stop_loss, Side::Buy));
        let (Some(quantity), Some(stop_price)) = (quantity.filter(|quantity| quantity.is_positive()), price) else {
            return self.back_off(ctx.now());
        };
        let mut intent = OrderIntent::market(self.instrument, Side::Sell, quantity, OrderPurpose::Protective);
        (intent.order_type, intent.stop_price) = (OrderType::StopLoss, Some(stop_price));
        intent.reduce_only = !ctx.is_spot(self.instrument);
        self.stop = Some(ctx.submit(intent));
    }

    /// `price · factor` on the tick; rounded down towards `Side::Buy`, up towards `Side::Sell`.
    fn price_near(&self, ctx: &Context<'_>, price: Price, factor: f64, towards: Side) -> Option<Price> {
        let instrument = ctx.instrument(self.instrument)?;
        let near = Price::from_f64(price.to_f64() * factor, 8, Rounding::HalfUp).ok()?;
        instrument.round_passive(near, towards).ok()
    }

    fn back_off(&mut self, now: Timestamp) {
        self.ts_next = now.plus(BACKOFF * (1 << self.refusals.min(6)));
        self.refusals = self.refusals.saturating_add(1);
    }
}

impl Strategy for EmaCross {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument), Subscription::bars(self.instrument, self.bar)]
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        let is_stop = |order: &&crate::OpenOrder| {
            order.instrument == self.instrument && order.purpose == OrderPurpose::Protective
        };
        self.stop = ctx.open_orders().find(is_stop).map(|order| order.client_order_id);
        self.own = ctx.own_position(self.instrument);
        self.residue.on_start(ctx, self.instrument);
    }

    fn on_fill(&mut self, ctx: &mut Context<'_>, _id: ClientOrderId, fill: &Fill) {
        if self.own.apply(fill.side, fill.price, fill.quantity).is_err() {
            self.own = ctx.own_position(self.instrument);
        }
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        // The house may have closed for it.
        let own = ctx.own_position(self.instrument);
        if own.quantity != self.own.quantity {
            self.own = own;
        }
        let close = bar.close.to_f64();
        if let (Some(fast), Some(slow)) = (self.fast.update(close), self.slow.update(close)) {
            self.waits_for_cross &= fast > slow;
            self.wants_long = Some(fast > slow && !self.waits_for_cross);
            self.act(ctx);
        }
    }

    fn on_exit(&mut self, _ctx: &mut Context<'_>, _why: Tag) {
        (self.waits_for_cross, self.wants_long) = (true, Some(false));
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        if let OrderUpdateKind::CancelRejected(_) = update.kind {
            // The stop is filling or gone; its own end will say so.
            if self.stop == Some(update.client_order_id) {
                self.pending = Pending::Nothing;
                self.back_off(ctx.now());
            }
            return;
        }
        if !update.kind.is_terminal() {
            return;
        }
        if matches!(update.kind, OrderUpdateKind::Filled) {
            self.residue.on_closed(ctx, self.instrument, update.side, update.quantity);
        }
        let is_stop = self.stop == Some(update.client_order_id);
        if is_stop {
            self.stop = None;
            // Filled, or refused because the price is there already: out, and not in again at once.
            let would_trigger = |reject: &Reject| reject.reason == RejectReason::WouldTrigger;
            if matches!(&update.kind, OrderUpdateKind::Filled)
                || matches!(&update.kind, OrderUpdateKind::Rejected(reject) if would_trigger(reject))
            {
                (self.waits_for_cross, self.wants_long) = (true, Some(false));
            }
        }
        if self.pending == Pending::Order(update.client_order_id) || (is_stop && self.pending == Pending::StopCancel) {
            self.pending = Pending::Nothing;
        }
        match update.kind {
            OrderUpdateKind::Filled => self.refusals = 0,
            OrderUpdateKind::Canceled if is_stop => self.refusals = 0,
            _ => self.back_off(ctx.now()),
        }
        self.act(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        if ctx.fresh_book(self.instrument).is_some() {
            self.act(ctx);
        }
    }
}

#[cfg(test)]
mod tests;
