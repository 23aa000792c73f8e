//! A small trading desk for the tests of strategies: a market, an account and a venue that answers, all in one thread.
//!
//! It checks on every request what every strategy must keep: spot sells no more than is free, and orders are within the
//! instrument's rules. What a test tells it must make sense: it panics where it does not, and where a rule is broken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a desk of tests: a panic is how a test fails"
)]

use crate::{
    Context, Lent, OpenOrder, OpenOrderState, OrderIdGenerator, OrderUpdate, OrderUpdateKind, Strategy,
    StrategyRequest, Tag,
};
use keel_marketdata::OrderBook;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Balance, Bar, ClientOrderId, FeedState, Fill, Instrument, InstrumentId, InstrumentKind, InstrumentStatus,
    Instruments, Level, Liquidity, NewOrder, Notional, OrderType, Portfolio, Price, Quantity, Reject, RejectReason,
    Side, StrategyId, Timestamp, TopOfBook, TradingState, VenueOrderId, order::ReasonText,
};
use std::time::Duration;

/// The instrument of a desk: spot, or the perpetual where it has only that.
pub const ID: InstrumentId = InstrumentId(0);
/// The perpetual of a desk made with [`Desk::pair`].
pub const PERPETUAL: InstrumentId = InstrumentId(1);

/// A price, out of text.
#[must_use]
pub fn price(text: &str) -> Price {
    text.parse().unwrap()
}
/// A quantity, out of text.
#[must_use]
pub fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn instrument(kind: InstrumentKind) -> Instrument {
    let symbol = if kind == InstrumentKind::Spot { "BTCUSDT" } else { "BTCUSDT-PERP" };
    Instrument {
        id: ID,
        symbol: symbol.parse().unwrap(),
        base: "BTC".parse().unwrap(),
        quote: "USDT".parse().unwrap(),
        kind,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01"),
        min_price: price("0.01"),
        max_price: price("1000000"),
        lot: LotRule { min: quantity("0.00001"), max: quantity("9000"), step: quantity("0.00001") },
        market_lot: LotRule { min: Quantity::ZERO, max: quantity("100"), step: Quantity::ZERO },
        min_notional: "5".parse().unwrap(),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

/// What the venue does with placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes the order and says so.
    Accept,
    /// Takes the order and says nothing.
    Silence,
    /// Risk says no.
    Deny,
    /// The venue says no.
    Reject(RejectReason),
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    /// The time.
    pub now: Timestamp,
    /// What risk allows.
    pub trading_state: TradingState,
    /// What the venue does with placements.
    pub answer: Answer,
    /// Orders that work.
    pub orders: Vec<OpenOrder>,
    /// Positions and balances.
    pub portfolio: Portfolio,
    /// What the strategy's own fills come to.
    own: Portfolio,
    /// Every order that was asked for.
    pub submits: Vec<NewOrder>,
    /// How often a cancel was asked for.
    pub cancels: u32,
    /// Every fill.
    pub fills: Vec<Fill>,
    /// Orders with a word, as they were asked for.
    pub tags: Vec<(ClientOrderId, Tag)>,
    /// Fee on what is bought, in base asset.
    pub fee: f64,
    instruments: Instruments,
    books: Vec<OrderBook>,
    ids: OrderIdGenerator,
    requests: Vec<StrategyRequest>,
    base: Notional,
    quote: Notional,
}

impl Desk {
    /// One spot instrument.
    #[must_use]
    pub fn new(base: &str, quote: &str) -> Self {
        Self::of(&[InstrumentKind::Spot], base, quote)
    }

    /// One perpetual.
    #[must_use]
    pub fn perpetual() -> Self {
        Self::of(&[InstrumentKind::LinearPerpetual], "0", "0")
    }

    /// A spot instrument and its perpetual.
    #[must_use]
    pub fn pair(base: &str, quote: &str) -> Self {
        Self::of(&[InstrumentKind::Spot, InstrumentKind::LinearPerpetual], base, quote)
    }

    fn of(kinds: &[InstrumentKind], base: &str, quote: &str) -> Self {
        let mut instruments = Instruments::new();
        for kind in kinds {
            instruments.upsert(instrument(*kind));
        }
        let mut desk = Self {
            now: Timestamp::from_ms(1_700_000_000_000),
            trading_state: TradingState::Active,
            answer: Answer::Accept,
            orders: Vec::new(),
            portfolio: Portfolio::new(),
            own: Portfolio::new(),
            submits: Vec::new(),
            cancels: 0,
            fills: Vec::new(),
            tags: Vec::new(),
            fee: 0.0,
            instruments,
            books: (0..kinds.len() as u32).map(|id| OrderBook::new(InstrumentId(id))).collect(),
            ids: OrderIdGenerator::new(1, 1),
            requests: Vec::new(),
            base: base.parse().unwrap(),
            quote: quote.parse().unwrap(),
        };
        desk.tell_balances();
        desk
    }

    /// Calls a handler and carries out what it asks for.
    pub fn call(&mut self, strategy: &mut dyn Strategy, handler: impl FnOnce(&mut dyn Strategy, &mut Context<'_>)) {
        let mut ctx = Context::new(Lent {
            strategy: StrategyId(0),
            now: self.now,
            trading_state: self.trading_state,
            instruments: &self.instruments,
            books: &self.books,
            portfolio: &self.portfolio,
            own: Some(&self.own),
            open_orders: &self.orders,
            ids: &mut self.ids,
            requests: &mut self.requests,
        });
        handler(strategy, &mut ctx);
        for request in std::mem::take(&mut self.requests) {
            match request {
                StrategyRequest::Submit(new) => self.place(strategy, new),
                StrategyRequest::Cancel(id) => self.cancel(strategy, id),
                StrategyRequest::Tag(id, tag) => self.tags.push((id, tag)),
                StrategyRequest::CancelAll(_) => {
                    for id in self.orders.iter().map(|order| order.client_order_id).collect::<Vec<_>>() {
                        self.cancel(strategy, id);
                    }
                }
                other => panic!("not expected of these strategies: {other:?}"),
            }
        }
    }

    /// A new best bid and ask after `ms` milliseconds; resting orders that it reaches are filled.
    pub fn tick(&mut self, strategy: &mut dyn Strategy, ms: u64, bid: &str, ask: &str) {
        self.tick_of(strategy, ID, ms, bid, ask);
    }

    /// The same of any instrument.
    pub fn tick_of(&mut self, strategy: &mut dyn Strategy, instrument: InstrumentId, ms: u64, bid: &str, ask: &str) {
        self.now = self.now.plus(Duration::from_millis(ms));
        let level = |text: &str| Level { price: price(text), quantity: quantity("3") };
        let top = TopOfBook {
            instrument,
            ts_event: Timestamp::ZERO,
            ts_recv: self.now,
            update_id: 0,
            bid: level(bid),
            ask: level(ask),
        };
        self.books[instrument.index()].apply_top(&top).unwrap();
        self.fill_what_is_reached(strategy);
        self.call(strategy, |strategy, ctx| strategy.on_top_of_book(ctx, &top));
        self.fill_what_is_reached(strategy);
    }

    /// A closed bar at `close`, with the market one tick around it.
    pub fn bar(&mut self, strategy: &mut dyn Strategy, close: f64) {
        self.tick(strategy, 1_000, &format!("{close:.2}"), &format!("{:.2}", close + 0.03));
        let close = Price::from_f64(close, 2, keel_model::Rounding::HalfUp).unwrap();
        let bar = Bar {
            instrument: ID,
            ts_open: self.now,
            ts_close: self.now,
            ts_recv: self.now,
            open: close,
            high: close,
            low: close,
            close,
            volume: quantity("1"),
            is_closed: true,
        };
        self.call(strategy, |strategy, ctx| strategy.on_bar(ctx, &bar));
        self.fill_what_is_reached(strategy);
    }

    /// The engine's timer, `ms` milliseconds later, while quotes come in that change nothing.
    pub fn timer(&mut self, strategy: &mut dyn Strategy, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        for book in &mut self.books {
            if let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) {
                let (instrument, ts_event, ts_recv) = (book.instrument(), Timestamp::ZERO, self.now);
                book.apply_top(&TopOfBook { instrument, ts_event, ts_recv, update_id: 0, bid, ask }).unwrap();
            }
        }
        self.call(strategy, |strategy, ctx| strategy.on_timer(ctx));
        self.fill_what_is_reached(strategy);
    }

    /// The data of the instrument became current, stale, or is down; the book is gone while it is not current.
    pub fn feed(&mut self, strategy: &mut dyn Strategy, state: FeedState) {
        if state != FeedState::Live {
            self.books[0].reset();
        }
        self.call(strategy, |strategy, ctx| strategy.on_feed(ctx, ID, state));
    }

    /// What is held of the instrument, by everybody.
    #[must_use]
    pub fn position(&self) -> Quantity {
        self.portfolio.position(ID).quantity
    }

    /// From now on orders of any value are taken.
    pub fn take_small_orders(&mut self) {
        let mut all = Instruments::new();
        for known in self.instruments.iter() {
            all.upsert(Instrument { min_notional: Notional::ZERO, ..known.clone() });
        }
        self.instruments = all;
    }

    /// What the strategy holds of an instrument.
    #[must_use]
    pub fn position_of(&self, id: InstrumentId) -> Quantity {
        self.own.position(id).quantity
    }

    fn is_spot(&self, id: InstrumentId) -> bool {
        self.instruments.get(id).unwrap().kind == InstrumentKind::Spot
    }

    fn best(&self, id: InstrumentId, side: Side) -> Option<Price> {
        let book = &self.books[id.index()];
        let level = if side == Side::Buy { book.best_bid() } else { book.best_ask() };
        level.map(|level| level.price)
    }

    fn place(&mut self, strategy: &mut dyn Strategy, new: NewOrder) {
        self.submits.push(new);
        let intent = new.intent;
        let reference = self.best(intent.instrument, intent.side.opposite());
        self.instruments
            .get(intent.instrument)
            .unwrap()
            .check(&intent, reference)
            .unwrap_or_else(|error| panic!("{intent:?}: {error}"));
        let order = OpenOrder {
            client_order_id: new.client_order_id,
            strategy: new.strategy,
            instrument: intent.instrument,
            side: intent.side,
            order_type: intent.order_type,
            purpose: intent.purpose,
            price: intent.price,
            stop_price: intent.stop_price,
            quantity: intent.quantity,
            cum_quantity: Quantity::ZERO,
            state: OpenOrderState::Pending,
        };
        let refusal = match self.answer {
            Answer::Deny => Some(OrderUpdateKind::Denied(ReasonText::truncated("no"))),
            Answer::Reject(reason) => {
                Some(OrderUpdateKind::Rejected(Reject { reason, code: -1, text: ReasonText::EMPTY }))
            }
            Answer::Accept | Answer::Silence => None,
        };
        if let Some(kind) = refusal {
            return self.tell(strategy, &order, kind);
        }
        if !self.is_spot(intent.instrument) {
            let held = self.position_of(intent.instrument);
            let closes = if intent.side == Side::Sell { held } else { held.neg().unwrap() };
            assert!(!intent.reduce_only || intent.quantity <= closes, "reduce-only opens: {intent:?}, held {held}");
        } else if intent.side == Side::Sell {
            assert!(!intent.reduce_only, "spot knows no reduce-only");
            let free = self.free_base();
            assert!(Notional::from(intent.quantity) <= free, "spot sells only what is held: {intent:?}, free {free}");
        } else {
            let value = Notional::of(intent.price.or(reference).unwrap(), intent.quantity);
            assert!(value <= self.free_quote(), "spot buys only what can be paid: {value} of {}", self.free_quote());
        }
        self.orders.push(order);
        self.tell_balances();
        if self.answer == Answer::Accept {
            self.orders.last_mut().unwrap().state = OpenOrderState::Live;
            let venue_order_id = VenueOrderId::new("1").unwrap();
            self.tell(strategy, &order, OrderUpdateKind::Accepted { venue_order_id });
        }
    }

    fn cancel(&mut self, strategy: &mut dyn Strategy, id: ClientOrderId) {
        self.cancels += 1;
        let Some(at) = self.orders.iter().position(|order| order.client_order_id == id) else { return };
        let order = self.orders.remove(at);
        self.tell_balances();
        self.tell(strategy, &order, OrderUpdateKind::Canceled);
    }

    fn fill_what_is_reached(&mut self, strategy: &mut dyn Strategy) {
        loop {
            let reached = self.orders.iter().position(|order| {
                let Some(opposite) = self.best(order.instrument, order.side.opposite()) else { return false };
                match (order.order_type, order.side) {
                    _ if order.state == OpenOrderState::Pending => false,
                    (OrderType::StopLoss, Side::Sell) => opposite <= order.stop_price.unwrap(),
                    (OrderType::StopLoss, Side::Buy) => opposite >= order.stop_price.unwrap(),
                    (_, Side::Buy) => order.price.is_none_or(|price| price >= opposite),
                    (_, Side::Sell) => order.price.is_none_or(|price| price <= opposite),
                }
            });
            let Some(at) = reached else { return };
            let order = self.orders.remove(at);
            let taken = self.best(order.instrument, order.side.opposite()).unwrap();
            self.book_fill(strategy, &order, order.price.unwrap_or(taken));
        }
    }

    fn book_fill(&mut self, strategy: &mut dyn Strategy, order: &OpenOrder, price: Price) {
        let fill = Fill {
            trade_id: self.fills.len().to_string().parse().unwrap(),
            instrument: order.instrument,
            side: order.side,
            price,
            quantity: order.quantity,
            fee: Notional::ZERO,
            fee_asset: "BNB".parse().unwrap(),
            liquidity: Liquidity::Taker,
            ts_event: self.now,
        };
        let value = Notional::of(price, order.quantity);
        match order.side {
            _ if !self.is_spot(order.instrument) => {}
            Side::Buy => {
                let fee = Quantity::from_f64(order.quantity.to_f64() * self.fee, 8, keel_model::Rounding::Up).unwrap();
                let got = order.quantity.checked_sub(fee).unwrap();
                self.base = self.base.checked_add(got.into()).unwrap();
                self.quote = self.quote.checked_sub(value).unwrap();
            }
            Side::Sell => {
                self.base = self.base.checked_sub(order.quantity.into()).unwrap();
                self.quote = self.quote.checked_add(value).unwrap();
            }
        }
        assert!(!self.base.is_negative() && !self.quote.is_negative());
        self.portfolio.apply_fill(&fill).unwrap();
        self.own.apply_fill(&fill).unwrap();
        self.fills.push(fill);
        self.tell_balances();
        let id = order.client_order_id;
        self.call(strategy, |strategy, ctx| strategy.on_fill(ctx, id, &fill));
        self.tell(strategy, order, OrderUpdateKind::Filled);
    }

    fn tell(&mut self, strategy: &mut dyn Strategy, order: &OpenOrder, kind: OrderUpdateKind) {
        let update = OrderUpdate {
            client_order_id: order.client_order_id,
            instrument: order.instrument,
            side: order.side,
            quantity: order.quantity,
            cum_quantity: order.cum_quantity,
            ts: self.now,
            kind,
        };
        self.call(strategy, |strategy, ctx| strategy.on_order(ctx, &update));
    }

    /// The word that the last order of the desk was given.
    #[must_use]
    pub fn last_tag(&self) -> &'static str {
        self.tags.last().map_or("", |(_, tag)| tag.as_str())
    }

    /// The funding rate of an instrument, in basis points for one period.
    pub fn funding(&mut self, strategy: &mut dyn Strategy, instrument: InstrumentId, bps: f64) {
        let rate = Quantity::from_f64(bps / 1e4, 8, keel_model::Rounding::HalfUp).unwrap();
        let ts_next = self.now.plus(Duration::from_secs(3_600));
        let funding = keel_model::FundingRate { instrument, ts_event: self.now, ts_recv: self.now, rate, ts_next };
        self.call(strategy, |strategy, ctx| strategy.on_funding(ctx, &funding));
        self.fill_what_is_reached(strategy);
    }

    fn locked(&self, side: Side) -> Notional {
        let of = |order: &OpenOrder| match side {
            Side::Sell => order.quantity.into(),
            Side::Buy => Notional::of(order.price.unwrap_or(Price::ZERO), order.quantity),
        };
        let orders = self.orders.iter().filter(|order| order.side == side && self.is_spot(order.instrument));
        orders.map(of).fold(Notional::ZERO, |sum, value| sum.checked_add(value).unwrap())
    }

    fn free_base(&self) -> Notional {
        self.base.checked_sub(self.locked(Side::Sell)).unwrap()
    }

    fn free_quote(&self) -> Notional {
        self.quote.checked_sub(self.locked(Side::Buy)).unwrap()
    }

    fn tell_balances(&mut self) {
        let balance = |asset: &str, free, locked| Balance { asset: Asset::new(asset).unwrap(), free, locked };
        let balances = [
            balance("BTC", self.free_base(), self.locked(Side::Sell)),
            balance("USDT", self.free_quote(), self.locked(Side::Buy)),
        ];
        self.portfolio.apply_balances(&balances, true, self.now).unwrap();
    }
}
