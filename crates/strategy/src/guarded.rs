//! Exits around a strategy that knows nothing of them.
//!
//! The strategy inside is called as ever. When an exit is due it is told through [`Strategy::on_exit`]; until what it holds is
//! closed, whatever it asks for that could add exposure is denied, its working orders are cancelled, and then its position is
//! closed at the market. Invariants: one closing order at a time; only what the strategy itself holds is closed; a refusal is
//! followed by a wait that doubles. These exits watch from inside the program: a stop that rests at the venue needs a
//! strategy that is built on [`crate::Trader`].

use crate::exits::{ExitRules, Exits, closing_side};
use crate::{
    Context, OpenOrderState, OrderUpdate, OrderUpdateKind, ParentUpdate, Residue, Strategy, Subscription, Tag,
};
use keel_model::order::ReasonText;
use keel_model::{
    Bar, ClientOrderId, FeedState, Fill, FundingRate, InstrumentId, MarkPrice, OrderIntent, OrderPurpose, OrderType,
    Quantity, Side, Timestamp, TopOfBook, Trade, TradingState,
};
use std::time::Duration;

/// Wait after a refused closing order; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);
/// A cancel that has not been answered is asked for again after this time.
const CANCEL_AGAIN: Duration = Duration::from_secs(2);
/// How often the strategy inside may answer a denial with another order within one call.
const ROUNDS_MAX: usize = 4;

/// A strategy with exits around it.
#[derive(Debug)]
pub struct Guarded {
    inner: Box<dyn Strategy>,
    instrument: InstrumentId,
    exits: Exits,
    closing: Option<Tag>,
    order: Option<ClientOrderId>,
    refusals: u32,
    ts_next: Timestamp,
    residue: Residue,
}

impl Guarded {
    /// Puts exits around a strategy of one instrument.
    #[must_use]
    pub fn new(inner: Box<dyn Strategy>, instrument: InstrumentId, rules: ExitRules) -> Self {
        let exits = Exits::new(rules);
        let (ts_next, residue) = (Timestamp::ZERO, Residue::new());
        Self { inner, instrument, exits, closing: None, order: None, refusals: 0, ts_next, residue }
    }

    /// Calls the strategy inside; while a position is being closed it may not add to it.
    fn forward(&mut self, ctx: &mut Context<'_>, handler: impl FnOnce(&mut dyn Strategy, &mut Context<'_>)) {
        let mark = ctx.mark();
        handler(self.inner.as_mut(), ctx);
        if self.closing.is_none() {
            return;
        }
        for _ in 0..ROUNDS_MAX {
            let denied = ctx.take_orders_since(mark);
            if denied.is_empty() {
                return;
            }
            for new in denied {
                let update = OrderUpdate {
                    client_order_id: new.client_order_id,
                    instrument: new.intent.instrument,
                    side: new.intent.side,
                    quantity: new.intent.quantity,
                    cum_quantity: Quantity::ZERO,
                    ts: ctx.now(),
                    kind: OrderUpdateKind::Denied(ReasonText::truncated("an exit closes the position")),
                };
                self.inner.on_order(ctx, &update);
            }
        }
        drop(ctx.take_orders_since(mark));
    }

    fn step(&mut self, ctx: &mut Context<'_>) {
        let position = ctx.own_position(self.instrument);
        let Some(side) = closing_side(&position) else {
            self.exits.reset();
            (self.closing, self.order) = (None, None);
            return;
        };
        let best = ctx.fresh_book(self.instrument).and_then(|book| match side {
            Side::Sell => book.best_bid(),
            Side::Buy => book.best_ask(),
        });
        let Some(price) = best.map(|level| level.price) else { return };
        let held = self.residue.without(position.quantity).abs().unwrap_or_default();
        if ctx.tradable(self.instrument, held, price, OrderType::Market).is_none() {
            // Too little to be closed, such as what fees taken in coins leave: not a position.
            self.exits.reset();
            self.closing = None;
            return;
        }
        let due = self.exits.update(&position, price.to_f64(), ctx.now());
        if let (None, Some(why)) = (self.closing, due) {
            self.closing = Some(why);
            self.forward(ctx, |inner, ctx| inner.on_exit(ctx, why));
        }
        let Some(why) = self.closing else { return };
        if self.order.is_some() || ctx.now() < self.ts_next || ctx.trading_state() == TradingState::Halted {
            return;
        }
        if self.cancel_working(ctx) {
            return;
        }
        let closable = ctx.sellable(self.instrument, held);
        match ctx.tradable(self.instrument, closable, price, OrderType::Market) {
            Some(quantity) => {
                let mut intent = OrderIntent::market(self.instrument, side, quantity, OrderPurpose::Exit);
                intent.reduce_only = !ctx.is_spot(self.instrument);
                self.order = Some(ctx.submit_tagged(intent, why));
            }
            None => self.back_off(ctx.now()),
        }
    }

    /// Cancels what works in the instrument; are there such orders?
    fn cancel_working(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut is_any = false;
        for order in ctx.open_orders() {
            if order.instrument == self.instrument {
                is_any = true;
                if order.state != OpenOrderState::Canceling {
                    ctx.cancel(order.client_order_id);
                }
            }
        }
        if is_any {
            self.ts_next = ctx.now().plus(CANCEL_AGAIN);
        }
        is_any
    }

    fn back_off(&mut self, now: Timestamp) {
        self.ts_next = now.plus(BACKOFF * (1 << self.refusals.min(6)));
        self.refusals = self.refusals.saturating_add(1);
    }
}

impl Strategy for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let mut wanted = self.inner.subscriptions();
        wanted.push(Subscription::top_of_book(self.instrument));
        wanted
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.residue.on_start(ctx, self.instrument);
        self.forward(ctx, |inner, ctx| inner.on_start(ctx));
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
        self.step(ctx);
        self.forward(ctx, |inner, ctx| inner.on_top_of_book(ctx, top));
    }

    fn on_trade(&mut self, ctx: &mut Context<'_>, trade: &Trade) {
        self.forward(ctx, |inner, ctx| inner.on_trade(ctx, trade));
    }

    fn on_book(&mut self, ctx: &mut Context<'_>, instrument: InstrumentId) {
        self.forward(ctx, |inner, ctx| inner.on_book(ctx, instrument));
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        self.step(ctx);
        self.forward(ctx, |inner, ctx| inner.on_bar(ctx, bar));
    }

    fn on_funding(&mut self, ctx: &mut Context<'_>, funding: &FundingRate) {
        self.forward(ctx, |inner, ctx| inner.on_funding(ctx, funding));
    }

    fn on_mark_price(&mut self, ctx: &mut Context<'_>, mark: &MarkPrice) {
        self.forward(ctx, |inner, ctx| inner.on_mark_price(ctx, mark));
    }

    fn on_fill(&mut self, ctx: &mut Context<'_>, client_order_id: ClientOrderId, fill: &Fill) {
        self.forward(ctx, |inner, ctx| inner.on_fill(ctx, client_order_id, fill));
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        if update.instrument == self.instrument && matches!(update.kind, OrderUpdateKind::Filled) {
            self.residue.on_closed(ctx, self.instrument, update.side, update.quantity);
        }
        if self.order == Some(update.client_order_id) {
            if !update.kind.is_terminal() {
                return;
            }
            self.order = None;
            match update.kind {
                OrderUpdateKind::Filled => {
                    self.refusals = 0;
                    // Its fills were told, so is its end: what fees left is known from it.
                    self.forward(ctx, |inner, ctx| inner.on_order(ctx, update));
                }
                _ => self.back_off(ctx.now()),
            }
        } else {
            // The cancel that was waited for.
            if self.closing.is_some() && update.kind.is_terminal() {
                self.ts_next = ctx.now();
            }
            self.forward(ctx, |inner, ctx| inner.on_order(ctx, update));
        }
        self.step(ctx);
    }

    fn on_parent(&mut self, ctx: &mut Context<'_>, update: &ParentUpdate) {
        self.forward(ctx, |inner, ctx| inner.on_parent(ctx, update));
    }

    fn on_feed(&mut self, ctx: &mut Context<'_>, instrument: InstrumentId, state: FeedState) {
        self.forward(ctx, |inner, ctx| inner.on_feed(ctx, instrument, state));
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.step(ctx);
        self.forward(ctx, |inner, ctx| inner.on_timer(ctx));
    }

    fn on_stop(&mut self, ctx: &mut Context<'_>) {
        self.inner.on_stop(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{Answer, Desk, ID, quantity};
    use crate::{Params, registry};

    fn ema(params: Params) -> Box<dyn Strategy> {
        let params = params.with("fast_bars_count", 2).with("slow_bars_count", 4);
        registry::build("ema-cross", ID, &params).unwrap()
    }

    fn rise(desk: &mut Desk, strategy: &mut dyn Strategy, from: f64) {
        (0..7).for_each(|bar| desk.bar(strategy, from + 10.0 * f64::from(bar)));
    }

    #[test]
    fn a_stop_loss_closes_for_a_strategy_that_knows_nothing_of_it_and_waits_for_its_next_signal() {
        let mut strategy = ema(Params::new().with("exits.stop_loss_bps", 100));
        let mut desk = Desk::new("0", "100000");
        rise(&mut desk, strategy.as_mut(), 60_000.0);
        assert_eq!((desk.fills.len(), desk.orders.len()), (1, 0));
        desk.tick(strategy.as_mut(), 10, "59300", "59300.03");
        assert_eq!((desk.fills.len(), desk.last_tag()), (2, "stop-loss"));
        assert!(desk.portfolio.position(ID).is_flat());
        rise(&mut desk, strategy.as_mut(), 60_070.0);
        assert_eq!(desk.fills.len(), 2, "the averages never crossed down");
    }

    #[test]
    fn working_orders_go_first_and_nothing_is_added_meanwhile() {
        let params = Params::new().with("exits.time_exit_s", 3).with("inventory_notional_max_quote", 600);
        let mut strategy = registry::build("market-maker", ID, &params).unwrap();
        let mut desk = Desk::new("0", "100000");
        desk.tick(strategy.as_mut(), 300, "60000", "60000.02");
        desk.tick(strategy.as_mut(), 300, "59990", "59990.02");
        assert!(desk.position().is_positive(), "its bid was hit");
        for _ in 0..20 {
            desk.tick(strategy.as_mut(), 300, "59990", "59990.02");
            if desk.tags.last().is_some() {
                break;
            }
        }
        assert_eq!((desk.last_tag(), desk.position()), ("time", quantity("0")));
        assert!(!desk.orders.iter().any(|order| order.side == Side::Sell), "its asks were cancelled before the sale");
    }

    #[test]
    fn what_fees_in_coins_leave_is_no_position() {
        let mut strategy = ema(Params::new().with("exits.stop_loss_bps", 100));
        let mut desk = Desk::new("0", "100000");
        desk.fee = 0.001;
        rise(&mut desk, strategy.as_mut(), 60_000.0);
        desk.tick(strategy.as_mut(), 10, "59300", "59300.03");
        assert_eq!(desk.fills.len(), 2);
        assert!(desk.position().is_positive(), "dust: {}", desk.position());
        (0..8).for_each(|bar| desk.bar(strategy.as_mut(), 59_000.0 - 10.0 * f64::from(bar)));
        rise(&mut desk, strategy.as_mut(), 58_900.0);
        assert_eq!(desk.fills.len(), 3, "it trades on, although the dust has lost more than one percent");
    }

    #[test]
    fn the_strategy_inside_knows_what_fees_left_of_a_position_that_was_closed_for_it() {
        let mut strategy = ema(Params::new().with("exits.stop_loss_bps", 100));
        let mut desk = Desk::new("0", "100000");
        desk.fee = 0.001;
        desk.take_small_orders();
        for round in 0..3 {
            rise(&mut desk, strategy.as_mut(), 60_000.0);
            desk.tick(strategy.as_mut(), 10, "59300", "59300.03");
            (0..8).for_each(|bar| desk.bar(strategy.as_mut(), 59_000.0 - 10.0 * f64::from(bar)));
            assert_eq!(desk.fills.len(), 2 * (round + 1));
        }
    }

    #[test]
    fn a_refused_closing_order_is_tried_again_and_not_hammered_at() {
        let mut strategy = ema(Params::new().with("exits.stop_loss_bps", 100));
        let mut desk = Desk::new("0", "100000");
        rise(&mut desk, strategy.as_mut(), 60_000.0);
        desk.answer = Answer::Deny;
        let before = desk.submits.len();
        desk.tick(strategy.as_mut(), 10, "59300", "59300.03");
        for _ in 0..300 {
            desk.timer(strategy.as_mut(), 100);
        }
        assert!((4..=12).contains(&(desk.submits.len() - before)), "{}", desk.submits.len() - before);
        desk.answer = Answer::Accept;
        for _ in 0..400 {
            desk.timer(strategy.as_mut(), 100);
        }
        assert!(desk.portfolio.position(ID).is_flat());
    }
}
