//! Long spot and short the perpetual of the same pair while funding pays for it: an example of a strategy with two legs.
//!
//! Each call compares both legs with what is wanted and takes one step: the spot leg first, then as much of the perpetual as
//! is held on spot. Invariants: one order on its way; the short leg is never larger than the spot leg for longer than it takes
//! to buy it back; legs that stay uneven for `leg_timeout_s` are both closed, and it waits for the next funding period; without
//! a current book of both it opens nothing.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::{Context, OrderUpdate, OrderUpdateKind, Residue, Strategy, Subscription, Tag};
use keel_model::{
    ClientOrderId, FundingRate, InstrumentId, Notional, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Side,
    Timestamp, TopOfBook, TradingState,
};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "carry";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "1000", "quote asset", "Value of the spot leg."),
    ParamSpec::real(
        "enter_funding_bps",
        -100.0,
        1_000.0,
        "2",
        "basis points",
        "It opens when longs pay shorts at least this for one funding period.",
    )
    .swept("0.5", "5", "0.5"),
    ParamSpec::real(
        "exit_funding_bps",
        -100.0,
        1_000.0,
        "0",
        "basis points",
        "It closes when the rate of a period is not above this any more.",
    )
    .fixed(),
    ParamSpec::real(
        "basis_min_bps",
        -1_000.0,
        1_000.0,
        "0",
        "basis points",
        "It opens only while the perpetual is at least this far above spot, at the prices that its orders would take.",
    )
    .fixed(),
    ParamSpec::whole(
        "leg_timeout_s",
        1,
        86_400,
        "30",
        "seconds",
        "Legs that are uneven for longer than this are closed.",
    )
    .fixed(),
];

/// Why it opens and closes.
const FUNDING: Tag = Tag::new("funding");
/// Why it closes legs that stay uneven.
const UNEVEN: Tag = Tag::new("uneven-legs");

/// Wait after a refused order; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// Best prices of both legs.
#[derive(Clone, Copy, Debug)]
struct Markets {
    spot: (Price, Price),
    perpetual: (Price, Price),
}

/// What is held: what can be closed of each leg, and what the legs differ by.
#[derive(Clone, Copy, Debug)]
struct Legs {
    spot: Quantity,
    short: Quantity,
}

/// Funding carry.
#[derive(Debug)]
pub struct Carry {
    spot: InstrumentId,
    perpetual: InstrumentId,
    notional: Notional,
    enter_rate: f64,
    exit_rate: f64,
    basis_min: f64,
    leg_timeout: Duration,
    wants: bool,
    why_not: Tag,
    ts_blocked: Timestamp,
    ts_next_funding: Timestamp,
    uneven_since: Option<Timestamp>,
    pending: Option<ClientOrderId>,
    refusals: u32,
    ts_next: Timestamp,
    residue: Residue,
}

impl Carry {
    /// Trades a spot instrument and its perpetual.
    pub fn new(spot: InstrumentId, perpetual: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let (enter, exit) = (settings.real("enter_funding_bps")?, settings.real("exit_funding_bps")?);
        if exit >= enter {
            let cause = format!("exit_funding_bps {exit} is not below enter_funding_bps {enter}; lower or raise one");
            return Err(settings.contradiction(cause));
        }
        Ok(Self {
            spot,
            perpetual,
            notional: settings.money("order_notional_quote")?,
            enter_rate: enter / 1e4,
            exit_rate: exit / 1e4,
            basis_min: settings.real("basis_min_bps")? / 1e4,
            leg_timeout: Duration::from_secs(settings.whole("leg_timeout_s")?),
            wants: false,
            why_not: FUNDING,
            ts_blocked: Timestamp::ZERO,
            ts_next_funding: Timestamp::ZERO,
            uneven_since: None,
            pending: None,
            refusals: 0,
            ts_next: Timestamp::ZERO,
            residue: Residue::new(),
        })
    }

    /// One step from what is there to what is wanted.
    fn step(&mut self, ctx: &mut Context<'_>) {
        let legs = self.legs(ctx);
        if !self.wants && legs.spot.is_zero() && legs.short.is_zero() {
            return;
        }
        let Some(markets) = self.markets(ctx) else { return };
        self.watch_evenness(ctx, legs, &markets);
        if self.pending.is_some() || ctx.now() < self.ts_next || ctx.trading_state() == TradingState::Halted {
            return;
        }
        if self.wants { self.step_open(ctx, legs, &markets) } else { self.step_close(ctx, legs, &markets) }
    }

    fn step_open(&mut self, ctx: &mut Context<'_>, legs: Legs, markets: &Markets) {
        let missing = legs.spot.checked_sub(legs.short).unwrap_or(Quantity::ZERO);
        if let Some(excess) = self.tradable_short(ctx, missing.neg().unwrap_or_default(), markets) {
            // More is short than spot backs.
            return self.order(ctx, self.perpetual, Side::Buy, excess, OrderPurpose::Exit, UNEVEN);
        }
        if ctx.trading_state() != TradingState::Active {
            return;
        }
        if let Some(quantity) = self.tradable_short(ctx, missing, markets) {
            return self.order(ctx, self.perpetual, Side::Sell, quantity, OrderPurpose::Entry, FUNDING);
        }
        let is_open = ctx.tradable(self.spot, legs.spot, markets.spot.0, OrderType::Market).is_some();
        let basis = markets.perpetual.0.to_f64() / markets.spot.1.to_f64() - 1.0;
        if is_open || basis < self.basis_min {
            return;
        }
        // What both venues' rules allow, so that the legs come out even.
        let quantity = ctx.quantity_worth(self.spot, self.notional, markets.spot.1, OrderType::Market);
        let quantity = quantity.and_then(|quantity| self.tradable_short(ctx, quantity, markets));
        let quantity = quantity.and_then(|it| ctx.tradable(self.spot, it, markets.spot.1, OrderType::Market));
        match quantity {
            Some(quantity) => self.order(ctx, self.spot, Side::Buy, quantity, OrderPurpose::Entry, FUNDING),
            None => self.back_off(ctx.now()),
        }
    }

    fn step_close(&mut self, ctx: &mut Context<'_>, legs: Legs, markets: &Markets) {
        if let Some(quantity) = self.tradable_short(ctx, legs.short, markets) {
            return self.order(ctx, self.perpetual, Side::Buy, quantity, OrderPurpose::Exit, self.why_not);
        }
        // A fee taken in coins leaves less than was bought.
        let sellable = ctx.sellable(self.spot, legs.spot);
        if let Some(quantity) = ctx.tradable(self.spot, sellable, markets.spot.0, OrderType::Market) {
            self.order(ctx, self.spot, Side::Sell, quantity, OrderPurpose::Exit, self.why_not);
        }
    }

    /// Legs that stay uneven are given up.
    fn watch_evenness(&mut self, ctx: &Context<'_>, legs: Legs, markets: &Markets) {
        let off = legs.spot.checked_sub(legs.short).and_then(|off| off.abs()).unwrap_or_default();
        if !self.wants || self.tradable_short(ctx, off, markets).is_none() {
            self.uneven_since = None;
        } else if ctx.now().since(*self.uneven_since.get_or_insert(ctx.now())) >= self.leg_timeout {
            (self.wants, self.why_not, self.uneven_since) = (false, UNEVEN, None);
            self.ts_blocked = self.ts_next_funding.max(ctx.now().plus(self.leg_timeout));
        }
    }

    fn order(
        &mut self,
        ctx: &mut Context<'_>,
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        purpose: OrderPurpose,
        why: Tag,
    ) {
        let mut intent = OrderIntent::market(instrument, side, quantity, purpose);
        intent.reduce_only = instrument == self.perpetual && side == Side::Buy;
        self.pending = Some(ctx.submit_tagged(intent, why));
    }

    fn tradable_short(&self, ctx: &Context<'_>, quantity: Quantity, markets: &Markets) -> Option<Quantity> {
        ctx.tradable(self.perpetual, quantity, markets.perpetual.0, OrderType::Market)
    }

    fn legs(&self, ctx: &Context<'_>) -> Legs {
        let held = |id| ctx.own_position(id).quantity;
        Legs {
            spot: self.residue.without(held(self.spot)).max(Quantity::ZERO),
            short: held(self.perpetual).neg().unwrap_or_default().max(Quantity::ZERO),
        }
    }

    fn markets(&self, ctx: &Context<'_>) -> Option<Markets> {
        let of = |id| {
            let book = ctx.fresh_book(id)?;
            Some((book.best_bid()?.price, book.best_ask()?.price))
        };
        Some(Markets { spot: of(self.spot)?, perpetual: of(self.perpetual)? })
    }

    fn back_off(&mut self, now: Timestamp) {
        self.ts_next = now.plus(BACKOFF * (1 << self.refusals.min(6)));
        self.refusals = self.refusals.saturating_add(1);
    }
}

impl Strategy for Carry {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.spot), Subscription::top_of_book(self.perpetual)]
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.residue.on_start(ctx, self.spot);
        let legs = self.legs(ctx);
        // What an earlier run opened stays until funding says otherwise.
        self.wants = legs.spot.is_positive() || legs.short.is_positive();
    }

    fn on_funding(&mut self, ctx: &mut Context<'_>, funding: &FundingRate) {
        if funding.instrument != self.perpetual {
            return;
        }
        let rate = funding.rate.to_f64();
        self.ts_next_funding = funding.ts_next;
        if self.wants && rate <= self.exit_rate {
            (self.wants, self.why_not) = (false, FUNDING);
        } else if rate >= self.enter_rate && ctx.now() >= self.ts_blocked {
            self.wants = true;
        }
        self.step(ctx);
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        self.step(ctx);
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        if self.pending != Some(update.client_order_id) || !update.kind.is_terminal() {
            return;
        }
        self.pending = None;
        if update.instrument == self.spot && matches!(update.kind, OrderUpdateKind::Filled) {
            self.residue.on_closed(ctx, self.spot, update.side, update.quantity);
        }
        match update.kind {
            OrderUpdateKind::Filled => self.refusals = 0,
            _ => self.back_off(ctx.now()),
        }
        self.step(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.step(ctx);
    }
}

#[cfg(test)]
mod tests;
