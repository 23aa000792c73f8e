//! Brings the position of one instrument to what a strategy wants, one step at a time: what strategies that are long, short
//! or flat are built on.
//!
//! A strategy says [`Trader::enter`] or [`Trader::leave`] and forwards its events; each call compares what is wanted with what
//! is there and takes at most one step, so a restart, a lost message or a refused order needs no special case. Invariants: at
//! most one working order besides the protective stop; the stop rests at the venue as long as something is held, and goes
//! before anything else is sold; only what the strategy itself bought or sold is closed; spot is never sold short; after a
//! refusal it waits, twice as long each time, instead of hammering. An exit rule that is due closes, whatever is wanted.

use crate::context::FRESH;
use crate::exits::{ExitRules, Exits};
use crate::{Context, OrderUpdate, OrderUpdateKind, Residue, Tag};
use keel_model::{
    ClientOrderId, Fill, InstrumentId, Notional, OrderIntent, OrderPurpose, OrderType, Position, Price, Quantity,
    Reject, RejectReason, Rounding, Side, Timestamp, TradingState,
};
use std::time::Duration;

/// Wait after a refused order; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);
/// So long the venue has to trigger a stop whose price is reached, before the position is closed without it.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The one order (or cancel) whose end is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    Order(ClientOrderId),
    StopCancel,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    side: Side,
    stop: Option<f64>,
    target: Option<f64>,
    has_entered: bool,
}

/// The protective stop at the venue.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Resting {
    id: ClientOrderId,
    price: f64,
}

#[derive(Clone, Copy, Debug)]
struct Market {
    bid: Price,
    ask: Price,
}

impl Market {
    /// The price at which an order of this side takes.
    const fn taken_by(self, side: Side) -> Price {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }
}

/// What is held and could be closed.
#[derive(Clone, Copy, Debug)]
struct Held {
    position: Position,
    /// The side that opened it.
    side: Side,
    /// As much of it as one order may close.
    quantity: Quantity,
    market: Market,
}

impl Held {
    /// What closing it now would get.
    fn exit_price(&self) -> f64 {
        self.market.taken_by(self.side.opposite()).to_f64()
    }

    /// Is the market at or beyond `price`, on the side where it costs?
    fn has_fallen_to(&self, price: f64) -> bool {
        (self.exit_price() - price) * self.side.sign() as f64 <= 0.0
    }
}

/// Takes the steps.
#[derive(Debug)]
pub struct Trader {
    instrument: InstrumentId,
    notional: Notional,
    exits: Exits,
    plan: Option<Plan>,
    /// Why what is held is being closed, until nothing is held.
    closing: Option<Tag>,
    pending: Pending,
    stop: Option<Resting>,
    /// Since when the price of the resting stop is reached.
    stop_due: Option<Timestamp>,
    refusals: u32,
    ts_next: Timestamp,
    stop_refusals: u32,
    ts_next_stop: Timestamp,
    residue: Residue,
    /// The last fill: what is held is worth this where quotes are older, such as at the first price after a gap.
    last_fill: Option<(Timestamp, Price)>,
}

impl Trader {
    /// Trades one instrument, with entries worth `notional` and exits by these rules.
    #[must_use]
    pub const fn new(instrument: InstrumentId, notional: Notional, rules: ExitRules) -> Self {
        Self {
            instrument,
            notional,
            exits: Exits::new(rules),
            plan: None,
            closing: None,
            pending: Pending::Nothing,
            stop: None,
            stop_due: None,
            refusals: 0,
            ts_next: Timestamp::ZERO,
            stop_refusals: 0,
            ts_next_stop: Timestamp::ZERO,
            residue: Residue::new(),
            last_fill: None,
        }
    }

    /// May it be short? Only on a perpetual.
    #[must_use]
    pub fn can_short(&self, ctx: &Context<'_>) -> bool {
        !ctx.is_spot(self.instrument)
    }

    /// On which side is it in the market, or on its way there?
    #[must_use]
    pub fn side(&self, ctx: &Context<'_>) -> Option<Side> {
        let quantity = ctx.own_position(self.instrument).quantity;
        let held = self.held(ctx).map(|_| if quantity.is_positive() { Side::Buy } else { Side::Sell });
        self.plan.map(|plan| plan.side).or(held)
    }

    /// Wants to be long (`Buy`) or short (`Sell`), with a stop and a target where given. What is held on the other side is
    /// closed first. The entry is tried until it fills, [`Self::forget_entry`] or [`Self::leave`]. Short on spot: nothing.
    pub fn enter(&mut self, ctx: &mut Context<'_>, side: Side, stop: Option<f64>, target: Option<f64>) {
        if side == Side::Sell && !self.can_short(ctx) {
            return;
        }
        if self.plan.is_none_or(|plan| plan.side != side) {
            self.plan = Some(Plan { side, stop, target, has_entered: false });
            self.step(ctx);
        }
    }

    /// Wants to be flat, for this reason.
    pub fn leave(&mut self, ctx: &mut Context<'_>, why: Tag) {
        self.plan = None;
        // An entry on its way may still fill.
        if self.pending != Pending::Nothing || self.held(ctx).is_some() {
            self.closing = self.closing.or(Some(why));
            self.step(ctx);
        }
    }

    /// Gives up an entry that has not filled; what is held stays.
    pub fn forget_entry(&mut self) {
        if self.pending == Pending::Nothing {
            self.plan = self.plan.filter(|plan| plan.has_entered);
        }
    }

    /// Gives a position that was taken over from an earlier run its stop and target, where it has none.
    pub fn protect(&mut self, ctx: &mut Context<'_>, stop: impl Fn(Side, f64) -> (Option<f64>, Option<f64>)) {
        if self.plan.is_some_and(|plan| plan.target.is_some()) || self.closing.is_some() {
            return;
        }
        let Some(held) = self.held(ctx) else { return };
        if self.plan.is_some_and(|plan| plan.side != held.side || !plan.has_entered) {
            return;
        }
        let entry = held.position.cost.to_f64() / held.position.quantity.to_f64();
        let (stop, target) = stop(held.side, entry);
        let known = self.plan.and_then(|plan| plan.stop);
        self.plan = Some(Plan { side: held.side, stop: known.or(stop), target, has_entered: true });
    }

    /// To be called from `on_start`: finds the stop of an earlier run again, and cancels its other orders.
    pub fn on_start(&mut self, ctx: &mut Context<'_>) {
        let instrument = self.instrument;
        self.residue.on_start(ctx, instrument);
        for order in ctx.open_orders().filter(|order| order.instrument == instrument) {
            match order.stop_price {
                Some(price) if order.purpose == OrderPurpose::Protective && self.stop.is_none() => {
                    let price = price.to_f64();
                    self.stop = Some(Resting { id: order.client_order_id, price });
                    let side = order.side.opposite();
                    self.plan = Some(Plan { side, stop: Some(price), target: None, has_entered: true });
                }
                _ => ctx.cancel(order.client_order_id),
            }
        }
    }

    /// To be called from `on_fill`.
    pub fn on_fill(&mut self, fill: &Fill) {
        if fill.instrument == self.instrument {
            self.last_fill = Some((fill.ts_event, fill.price));
        }
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.side == fill.side) {
            plan.has_entered = true;
        }
    }

    /// To be called from `on_order`.
    pub fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        let is_stop = self.stop.is_some_and(|stop| stop.id == update.client_order_id);
        let is_order = self.pending == Pending::Order(update.client_order_id);
        if !is_stop && !is_order {
            return;
        }
        if let OrderUpdateKind::CancelRejected(_) = update.kind {
            // The stop is filling or gone; its own end will say so.
            self.pending = Pending::Nothing;
            return self.back_off(ctx.now());
        }
        if !update.kind.is_terminal() {
            return;
        }
        if matches!(update.kind, OrderUpdateKind::Filled) {
            self.residue.on_closed(ctx, self.instrument, update.side, update.quantity);
        }
        if is_order || self.pending == Pending::StopCancel {
            self.pending = Pending::Nothing;
        }
        if is_stop {
            self.end_of_stop(ctx.now(), &update.kind);
        } else if matches!(update.kind, OrderUpdateKind::Filled) {
            self.refusals = 0;
        } else {
            self.back_off(ctx.now());
        }
        self.step(ctx);
    }

    fn end_of_stop(&mut self, now: Timestamp, kind: &OrderUpdateKind) {
        (self.stop, self.stop_due) = (None, None);
        let would_trigger = |reject: &Reject| reject.reason == RejectReason::WouldTrigger;
        match kind {
            OrderUpdateKind::Filled | OrderUpdateKind::Canceled => self.stop_refusals = 0,
            // The price is there already: out.
            OrderUpdateKind::Rejected(reject) if would_trigger(reject) => self.closing = Some(Tag::STOP_LOSS),
            _ => self.back_off_stop(now),
        }
    }

    /// One step from what is there to what is wanted; to be called from `on_top_of_book` and `on_timer`.
    #[inline]
    pub fn step(&mut self, ctx: &mut Context<'_>) {
        let position = ctx.own_position(self.instrument);
        let is_idle = self.plan.is_none() && self.stop.is_none() && self.pending == Pending::Nothing;
        if position.is_flat() && is_idle {
            self.exits.reset();
            self.closing = None;
            return;
        }
        let held = self.held(ctx);
        // Followed in any case, so that the best price is never missed.
        let due = held.and_then(|held| self.exits.update(&held.position, held.exit_price(), ctx.now()));
        if self.pending != Pending::Nothing || ctx.now() < self.ts_next || ctx.trading_state() == TradingState::Halted {
            return;
        }
        match held {
            Some(held) => self.step_held(ctx, &held, due),
            None => self.step_flat(ctx),
        }
    }

    fn step_flat(&mut self, ctx: &mut Context<'_>) {
        let Some(market) = self.market(ctx) else { return };
        self.exits.reset();
        self.closing = None;
        if self.stop.is_some() {
            return self.cancel_stop(ctx);
        }
        match self.plan {
            Some(plan) if plan.has_entered => self.plan = None,
            Some(plan) if ctx.trading_state() == TradingState::Active => self.open(ctx, plan.side, market),
            _ => {}
        }
    }

    fn step_held(&mut self, ctx: &mut Context<'_>, held: &Held, due: Option<Tag>) {
        match &mut self.plan {
            Some(plan) if plan.side == held.side => plan.has_entered = true,
            Some(_) => self.closing = self.closing.or(Some(Tag::SIGNAL)),
            None => {}
        }
        let stop = self.wanted_stop(held);
        let sign = held.side.sign() as f64;
        let target = self.plan.filter(|plan| plan.side == held.side).and_then(|plan| plan.target);
        let has_target = target.is_some_and(|target| (held.exit_price() - target) * sign >= 0.0);
        let fallen = stop.filter(|(price, _)| held.has_fallen_to(*price)).map(|(_, tag)| tag);
        let why = self.closing.or(due).or(fallen).or(has_target.then_some(Tag::TARGET));
        let Some(why) = why else {
            self.stop_due = None;
            return self.keep_stop(ctx, held, stop);
        };
        if self.closing.is_none() && self.leaves_it_to_the_venue(ctx.now(), held, why) {
            return;
        }
        self.closing = Some(why);
        if self.stop.is_some() {
            return self.cancel_stop(ctx);
        }
        self.close(ctx, held, why);
    }

    /// A stop that rests at the venue and whose price is reached is the venue's to fill, for a while.
    fn leaves_it_to_the_venue(&mut self, now: Timestamp, held: &Held, why: Tag) -> bool {
        let is_stop = why == Tag::STOP_LOSS || why == Tag::TRAILING_STOP;
        if !is_stop || !self.stop.is_some_and(|stop| held.has_fallen_to(stop.price)) {
            return false;
        }
        now.since(*self.stop_due.get_or_insert(now)) < STOP_GRACE
    }

    /// The tighter of the stop of the plan and that of the rules.
    fn wanted_stop(&self, held: &Held) -> Option<(f64, Tag)> {
        let own = self.plan.filter(|plan| plan.side == held.side).and_then(|plan| plan.stop);
        let sign = held.side.sign() as f64;
        match (own.map(|price| (price, Tag::STOP_LOSS)), self.exits.stop()) {
            (Some(own), Some(rule)) if (rule.0 - own.0) * sign > 0.0 => Some(rule),
            (Some(own), _) => Some(own),
            (None, rule) => rule,
        }
    }

    fn keep_stop(&mut self, ctx: &mut Context<'_>, held: &Held, wanted: Option<(f64, Tag)>) {
        match (wanted, self.stop) {
            (Some((price, tag)), None) if ctx.now() >= self.ts_next_stop => self.place_stop(ctx, held, price, tag),
            (Some((price, _)), Some(resting)) => {
                // Moved when it is worth it: by a tenth of the trailing distance.
                let worth = price * self.exits.trailing_distance().unwrap_or(0.01) * 0.1;
                if (price - resting.price) * held.side.sign() as f64 > worth && ctx.now() >= self.ts_next_stop {
                    self.cancel_stop(ctx);
                }
            }
            _ => {}
        }
    }

    fn place_stop(&mut self, ctx: &mut Context<'_>, held: &Held, price: f64, tag: Tag) {
        let rounded = ctx.instrument(self.instrument).and_then(|instrument| {
            let near = Price::from_f64(price, 8, Rounding::HalfUp).ok()?;
            let quantity =
                instrument.round_quantity(ctx.sellable(self.instrument, held.quantity), OrderType::StopLoss).ok()?;
            Some((instrument.round_passive(near, held.side).ok()?, quantity))
        });
        let Some((stop_price, quantity)) = rounded.filter(|(_, quantity)| quantity.is_positive()) else {
            return self.back_off_stop(ctx.now());
        };
        let side = held.side.opposite();
        let mut intent = OrderIntent::market(self.instrument, side, quantity, OrderPurpose::Protective);
        (intent.order_type, intent.stop_price) = (OrderType::StopLoss, Some(stop_price));
        intent.reduce_only = self.can_short(ctx);
        let id = ctx.submit_tagged(intent, tag);
        self.stop = Some(Resting { id, price: stop_price.to_f64() });
    }

    fn cancel_stop(&mut self, ctx: &mut Context<'_>) {
        if let Some(stop) = self.stop {
            self.pending = Pending::StopCancel;
            ctx.cancel(stop.id);
        }
    }

    fn open(&mut self, ctx: &mut Context<'_>, side: Side, market: Market) {
        let price = market.taken_by(side);
        match ctx.quantity_worth(self.instrument, self.notional, price, OrderType::Market) {
            Some(quantity) => {
                let intent = OrderIntent::market(self.instrument, side, quantity, OrderPurpose::Entry);
                self.pending = Pending::Order(ctx.submit_tagged(intent, Tag::ENTRY));
            }
            None => self.back_off(ctx.now()),
        }
    }

    fn close(&mut self, ctx: &mut Context<'_>, held: &Held, why: Tag) {
        let side = held.side.opposite();
        let price = held.market.taken_by(side);
        let quantity =
            ctx.tradable(self.instrument, ctx.sellable(self.instrument, held.quantity), price, OrderType::Market);
        let Some(quantity) = quantity else { return self.back_off(ctx.now()) };
        let mut intent = OrderIntent::market(self.instrument, side, quantity, OrderPurpose::Exit);
        intent.reduce_only = self.can_short(ctx);
        self.pending = Pending::Order(ctx.submit_tagged(intent, why));
    }

    /// The position, where it is large enough to be closed and there is a market.
    fn held(&self, ctx: &Context<'_>) -> Option<Held> {
        let position = ctx.own_position(self.instrument);
        if position.is_flat() {
            return None;
        }
        let market = self.market(ctx).or_else(|| self.market_of_fill(ctx))?;
        let side = if position.quantity.is_positive() { Side::Buy } else { Side::Sell };
        let price = market.taken_by(side.opposite());
        let quantity = self.residue.without(position.quantity).abs().ok()?;
        let quantity = ctx.tradable(self.instrument, quantity, price, OrderType::Market)?;
        Some(Held { position, side, quantity, market })
    }

    fn market(&self, ctx: &Context<'_>) -> Option<Market> {
        let book = ctx.fresh_book(self.instrument)?;
        Some(Market { bid: book.best_bid()?.price, ask: book.best_ask()?.price })
    }

    /// The market at a fill of a moment ago.
    fn market_of_fill(&self, ctx: &Context<'_>) -> Option<Market> {
        let (ts, price) = self.last_fill?;
        (ctx.now().since(ts) < FRESH).then_some(Market { bid: price, ask: price })
    }

    fn back_off(&mut self, now: Timestamp) {
        self.ts_next = now.plus(BACKOFF * (1 << self.refusals.min(6)));
        self.refusals = self.refusals.saturating_add(1);
    }

    fn back_off_stop(&mut self, now: Timestamp) {
        self.ts_next_stop = now.plus(BACKOFF * (1 << self.stop_refusals.min(6)));
        self.stop_refusals = self.stop_refusals.saturating_add(1);
    }
}
