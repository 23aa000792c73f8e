//! A ladder of buys below the market, each followed by a sale one step higher: an example to copy.
//!
//! Prices lie on a lattice that is the same at every start, (1 + step) to a whole power, so that orders of an earlier run are
//! found again and adopted. Between two neighbouring prices there is a cell: empty it wants to buy at its lower price, full it
//! wants to sell at its upper one. Invariants: at most `levels_count` cells on each side of where it began, and nothing outside
//! them; one working order per cell; what it holds and bids for never exceeds `inventory_notional_max_quote`; all orders are
//! post-only; it sells only what it bought.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::{Context, OpenOrder, OrderUpdate, OrderUpdateKind, Residue, Strategy, Subscription, Tag};
use keel_model::{
    Bar, ClientOrderId, Fill, InstrumentId, Notional, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Rounding,
    Side, Timestamp, TopOfBook, TradingState,
};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "grid";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::whole(
        "bar_s",
        1,
        86_400,
        "60",
        "seconds",
        "It acts on best prices and on each bar of this length, for histories that hold bars alone; must divide a day.",
    )
    .fixed(),
    ParamSpec::whole("levels_count", 1, 50, "5", "levels", "Cells on each side of the price at which it begins.")
        .swept("2", "20", "2"),
    ParamSpec::real("step_bps", 1.0, 5_000.0, "20", "basis points", "Distance from one price to the next.")
        .swept("10", "100", "10"),
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "200", "quote asset", "Value of each buy."),
    ParamSpec::money(
        "inventory_notional_max_quote",
        1,
        1_000_000_000,
        "2000",
        "quote asset",
        "The most that it holds and bids for together.",
    ),
];

/// Wait after a refused order of a cell; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);
/// After refused bids in a row the whole grid waits, twice as long each time up to 2^13 times [`BACKOFF`], and then tries one
/// cell: what refuses one (no margin, a limit) refuses the others, too.
const BID_BACKOFFS_MAX: u32 = 13;

/// What is between two prices.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Its lower price is this power of the lattice.
    power: i32,
    /// What it bought and has not sold.
    held: Quantity,
    working: Option<(ClientOrderId, Side)>,
    refusals: u32,
    ts_next: Timestamp,
}

impl Cell {
    const fn empty(power: i32) -> Self {
        Self { power, held: Quantity::ZERO, working: None, refusals: 0, ts_next: Timestamp::ZERO }
    }
}

/// The grid.
#[derive(Debug)]
pub struct Grid {
    instrument: InstrumentId,
    bar: Duration,
    levels: i32,
    step: f64,
    order_notional: Notional,
    inventory_max: Notional,
    /// Lowest first; empty until there is a price to begin at.
    cells: Vec<Cell>,
    /// Orders of an earlier run, until there is a price.
    adopted: Vec<OpenOrder>,
    has_started: bool,
    /// Rounds of bids in a row that were refused.
    bid_refusals: u32,
    /// No bid before this time.
    ts_next_bid: Timestamp,
}

impl Grid {
    /// Trades one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let order_notional = settings.money("order_notional_quote")?;
        let inventory_max = settings.money("inventory_notional_max_quote")?;
        if inventory_max < order_notional {
            return Err(settings.contradiction(format!(
                "inventory_notional_max_quote {inventory_max} is below order_notional_quote {order_notional}: it would never buy"
            )));
        }
        Ok(Self {
            instrument,
            bar: settings.bar_length("bar_s")?,
            levels: i32::try_from(settings.whole("levels_count")?).unwrap_or(1),
            step: settings.real("step_bps")? / 1e4,
            order_notional,
            inventory_max,
            cells: Vec::new(),
            adopted: Vec::new(),
            has_started: false,
            bid_refusals: 0,
            ts_next_bid: Timestamp::ZERO,
        })
    }

    /// The price of a power of the lattice, on the tick, rounded away from the market for this side.
    fn price(&self, ctx: &Context<'_>, power: i32, side: Side) -> Option<Price> {
        let near = Price::from_f64((1.0 + self.step).powi(power), 8, Rounding::HalfUp).ok()?;
        ctx.instrument(self.instrument)?.round_passive(near, side).ok()
    }

    /// The power whose price is nearest.
    fn power_of(&self, price: f64) -> i32 {
        (price.ln() / self.step.ln_1p()).round() as i32
    }

    /// Lays the cells where those of an earlier run were, as its orders tell, or else around the market.
    fn begin(&mut self, ctx: &mut Context<'_>, mid: f64) {
        let adopted: Vec<(i32, OpenOrder)> = std::mem::take(&mut self.adopted)
            .into_iter()
            .filter_map(|order| {
                let power = self.power_of(order.price?.to_f64());
                let on_lattice = self.price(ctx, power, order.side) == order.price;
                on_lattice.then_some((if order.side == Side::Buy { power } else { power - 1 }, order))
            })
            .collect();
        let here = self.power_of(mid);
        // The lowest cell always has an order: it bids, or it sells what it bought.
        let lowest = adopted.iter().map(|(power, _)| *power).min().unwrap_or(here - self.levels);
        self.cells = (lowest..lowest.saturating_add(2 * self.levels)).map(Cell::empty).collect();
        let mut residue = Residue::new();
        residue.on_start(ctx, self.instrument);
        let mut unassigned = residue.without(ctx.own_position(self.instrument).quantity);
        for (power, order) in adopted {
            let cell = self.cells.iter_mut().find(|cell| cell.power == power && cell.working.is_none());
            let Some(cell) = cell else { continue };
            cell.working = Some((order.client_order_id, order.side));
            if order.side == Side::Sell {
                cell.held = order.leaves();
                unassigned = unassigned.checked_sub(cell.held).unwrap_or(Quantity::ZERO);
            }
        }
        let known = |id| self.cells.iter().any(|cell| cell.working.is_some_and(|(own, _)| own == id));
        let strangers: Vec<_> =
            ctx.open_orders().filter(|it| it.instrument == self.instrument && !known(it.client_order_id)).collect();
        strangers.into_iter().for_each(|order| ctx.cancel(order.client_order_id));
        self.assign(ctx, unassigned, here);
    }

    /// Gives what is held without an order to the free cells, the nearest above the market first.
    fn assign(&mut self, ctx: &Context<'_>, mut held: Quantity, here: i32) {
        let mut free: Vec<usize> =
            (0..self.cells.len()).filter(|at| self.cells.get(*at).is_some_and(|cell| cell.working.is_none())).collect();
        free.sort_by_key(|at| {
            let power = self.cells.get(*at).map_or(0, |cell| cell.power);
            (power < here, (power - here).abs())
        });
        let count = free.len();
        for (turn, at) in free.into_iter().enumerate() {
            let power = self.cells.get(at).map_or(0, |cell| cell.power);
            let price = self.price(ctx, power, Side::Buy);
            let usual = price.and_then(|price| {
                ctx.quantity_worth(self.instrument, self.order_notional, price, OrderType::LimitMaker)
            });
            let part = if turn + 1 == count { held } else { held.min(usual.unwrap_or(Quantity::ZERO)) };
            if !part.is_positive() {
                return;
            }
            if let Some(cell) = self.cells.get_mut(at) {
                cell.held = part;
                held = held.checked_sub(part).unwrap_or(Quantity::ZERO);
            }
        }
    }

    /// One step of each cell from what is there to what is wanted.
    fn step(&mut self, ctx: &mut Context<'_>) {
        let Some((bid, ask)) = self.market(ctx) else { return };
        if self.cells.is_empty() && self.has_started {
            self.begin(ctx, (bid.to_f64() + ask.to_f64()) * 0.5);
        }
        if ctx.trading_state() == TradingState::Halted {
            return;
        }
        if !ctx.own_position(self.instrument).quantity.is_positive() {
            // The house or an exit has closed for it.
            self.cells.iter_mut().filter(|cell| cell.working.is_none()).for_each(|cell| cell.held = Quantity::ZERO);
        }
        let mut room = self.room(ctx, ask);
        let mut bids_left = match self.bid_refusals {
            _ if ctx.now() < self.ts_next_bid => 0,
            0 => self.cells.len(),
            _ => 1,
        };
        for at in 0..self.cells.len() {
            let Some(cell) = self.cells.get(at).copied() else { return };
            if cell.working.is_some() || ctx.now() < cell.ts_next {
                continue;
            }
            let asked = match self.sale(ctx, &cell, bid) {
                Some(sale) => sale.map(|(quantity, price)| (Side::Sell, quantity, price)),
                None if bids_left > 0 && ctx.trading_state() == TradingState::Active => {
                    let buy =
                        self.buy(ctx, &cell, ask).filter(|(quantity, price)| Notional::of(*price, *quantity) <= room);
                    buy.map(|(quantity, price)| (Side::Buy, quantity, price))
                }
                None => None,
            };
            let Some((side, quantity, price)) = asked else { continue };
            let purpose = if side == Side::Buy { OrderPurpose::Entry } else { OrderPurpose::Exit };
            let mut intent = OrderIntent::post_only(self.instrument, side, quantity, price, purpose);
            intent.reduce_only = side == Side::Sell && !ctx.is_spot(self.instrument);
            if side == Side::Buy {
                bids_left -= 1;
                room = room.checked_sub(Notional::of(price, quantity)).unwrap_or(Notional::ZERO);
            }
            let id = ctx.submit_tagged(intent, if side == Side::Buy { Tag::ENTRY } else { Tag::TARGET });
            if let Some(cell) = self.cells.get_mut(at) {
                cell.working = Some((id, side));
            }
        }
    }

    /// What a full cell wants to sell: `None` where it is not full, `Some(None)` where it cannot sell now.
    fn sale(&self, ctx: &Context<'_>, cell: &Cell, bid: Price) -> Option<Option<(Quantity, Price)>> {
        let price = self.price(ctx, cell.power + 1, Side::Sell)?;
        ctx.tradable(self.instrument, cell.held, price, OrderType::LimitMaker)?;
        // Above its price it sells at the best place behind the bid.
        let tick = ctx.instrument(self.instrument)?.tick_size;
        let price = price.max(bid.checked_add(tick).ok()?);
        let free = if ctx.is_spot(self.instrument) { cell.held.min(ctx.free_base(self.instrument)) } else { cell.held };
        Some(ctx.tradable(self.instrument, free, price, OrderType::LimitMaker).map(|quantity| (quantity, price)))
    }

    /// What an empty cell below the market wants to buy.
    fn buy(&self, ctx: &Context<'_>, cell: &Cell, ask: Price) -> Option<(Quantity, Price)> {
        let price = self.price(ctx, cell.power, Side::Buy).filter(|price| *price < ask)?;
        let quantity = ctx.quantity_worth(self.instrument, self.order_notional, price, OrderType::LimitMaker)?;
        let is_paid = !ctx.is_spot(self.instrument)
            || ctx.balance(ctx.instrument(self.instrument)?.quote).free >= Notional::of(price, quantity);
        is_paid.then_some((quantity, price))
    }

    /// How much more may be bid for.
    fn room(&self, ctx: &Context<'_>, ask: Price) -> Notional {
        let held = ctx.own_position(self.instrument).quantity.max(Quantity::ZERO);
        let bids = ctx.open_orders().filter(|it| it.instrument == self.instrument && it.side == Side::Buy);
        let mut bids = bids.map(|it| Notional::of(it.price.unwrap_or(ask), it.leaves()));
        let used = bids.try_fold(Notional::of(ask, held), |sum, value| sum.checked_add(value).ok());
        used.and_then(|used| self.inventory_max.checked_sub(used).ok()).unwrap_or(Notional::ZERO)
    }

    fn market(&self, ctx: &Context<'_>) -> Option<(Price, Price)> {
        let book = ctx.fresh_book(self.instrument)?;
        Some((book.best_bid()?.price, book.best_ask()?.price))
    }

    fn cell_of(&mut self, id: ClientOrderId) -> Option<&mut Cell> {
        self.cells.iter_mut().find(|cell| cell.working.is_some_and(|(own, _)| own == id))
    }
}

impl Strategy for Grid {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument), Subscription::bars(self.instrument, self.bar)]
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.adopted = ctx.open_orders().filter(|order| order.instrument == self.instrument).copied().collect();
        self.has_started = true;
        self.step(ctx);
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        self.step(ctx);
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, _bar: &Bar) {
        self.step(ctx);
    }

    fn on_exit(&mut self, _ctx: &mut Context<'_>, _why: Tag) {
        self.cells.iter_mut().for_each(|cell| cell.held = Quantity::ZERO);
    }

    fn on_fill(&mut self, _ctx: &mut Context<'_>, id: ClientOrderId, fill: &Fill) {
        let Some(cell) = self.cell_of(id) else { return };
        let held = match fill.side {
            Side::Buy => cell.held.checked_add(fill.quantity),
            Side::Sell => cell.held.checked_sub(fill.quantity),
        };
        cell.held = held.unwrap_or(Quantity::ZERO).max(Quantity::ZERO);
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        let now = ctx.now();
        if update.side == Side::Buy {
            match update.kind {
                OrderUpdateKind::Accepted { .. } | OrderUpdateKind::Filled => self.bid_refusals = 0,
                // The others of a round are refused together with the first.
                OrderUpdateKind::Denied(_) if now >= self.ts_next_bid => {
                    self.ts_next_bid = now.plus(BACKOFF * (1 << self.bid_refusals.min(BID_BACKOFFS_MAX)));
                    self.bid_refusals = self.bid_refusals.saturating_add(1);
                }
                _ => {}
            }
        }
        if !update.kind.is_terminal() {
            return;
        }
        if let Some(cell) = self.cell_of(update.client_order_id) {
            cell.working = None;
            if matches!(update.kind, OrderUpdateKind::Filled) {
                if update.side == Side::Sell {
                    // All that was there: a rest is what fees in coins were.
                    cell.held = Quantity::ZERO;
                }
                cell.refusals = 0;
            } else {
                cell.ts_next = now.plus(BACKOFF * (1 << cell.refusals.min(6)));
                cell.refusals = cell.refusals.saturating_add(1);
            }
        }
        self.adopted.retain(|order| order.client_order_id != update.client_order_id);
        self.step(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.step(ctx);
    }
}

#[cfg(test)]
mod tests;
