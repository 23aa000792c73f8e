//! What a strategy sees and acts through: borrowed engine state in, requests out.
//!
//! Invariants: a context lives for one call; nothing here allocates once the request buffer has grown, but for plans of parent
//! orders; every submitted order has its id at once and the id is never used again; at most [`REQUESTS_MAX`] requests leave one
//! call.

use crate::Tag;
use keel_marketdata::OrderBook;
use keel_model::{
    Asset, Balance, Bracket, ClientOrderId, Iceberg, Instrument, InstrumentId, InstrumentKind, Instruments, NewOrder,
    Notional, Oco, OrderIntent, OrderPurpose, OrderType, ParentId, ParentPlan, Portfolio, Position, Price, Quantity,
    Side, StrategyId, Timestamp, TradingState, Twap,
};
use std::time::Duration;

/// The most requests of one call. What exceeds it is refused and counted in [`StrategyRequest::Overflow`].
pub const REQUESTS_MAX: usize = 256;

/// Prices without news for longer than this are no ground for an order; the default of `risk.reference_age_max_ms`.
pub const FRESH: Duration = Duration::from_secs(10);

/// Decimal places of a quantity that is worked out from a value, before it is rounded down to the lot step.
const QUOTIENT_SCALE: u8 = 10;

/// Makes client order ids: (instance, epoch) are fixed for a run, the sequence counts up from 1 and never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderIdGenerator {
    last: ClientOrderId,
}

impl OrderIdGenerator {
    /// Starts at sequence 1.
    #[must_use]
    pub const fn new(instance: u32, epoch: u32) -> Self {
        Self { last: ClientOrderId { instance, epoch, sequence: 0 } }
    }

    /// The next id. The sequence is 64 bits wide and does not come around.
    #[inline]
    pub fn next_id(&mut self) -> ClientOrderId {
        self.last.sequence = self.last.sequence.saturating_add(1);
        self.last
    }

    /// The sequence given out last; zero when none was.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.last.sequence
    }
}

/// What a strategy asks of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrategyRequest {
    /// Place an order, if risk agrees.
    Submit(NewOrder),
    /// Cancel one order of its own.
    Cancel(ClientOrderId),
    /// Cancel an order of its own and place another in its stead.
    Replace {
        /// The order to cancel.
        cancel: ClientOrderId,
        /// The order to place.
        new: NewOrder,
    },
    /// Cancel all orders of its own on an instrument.
    CancelAll(InstrumentId),
    /// Carry out a plan of several orders.
    Parent(ParentId, Box<ParentPlan>),
    /// Cancel a parent order of its own.
    CancelParent(ParentId),
    /// Cancel a parent order of its own and close what it holds.
    CloseParent(ParentId),
    /// Why one of its orders was asked for; for reports. Stands before the request of the order.
    Tag(ClientOrderId, Tag),
    /// More than [`REQUESTS_MAX`] requests in one call: this many were refused. Always the last one of a call.
    Overflow {
        /// How many were refused.
        refused: u32,
    },
}

/// Where an open order stands, as far as a strategy needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOrderState {
    /// On its way; the venue has not answered.
    Pending,
    /// Working at the venue.
    Live,
    /// A cancel is on its way.
    Canceling,
    /// Nobody knows yet whether the venue has it; the instrument takes no new exposure until that is resolved.
    Unknown,
}

/// An order that is not terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Whose order.
    pub strategy: StrategyId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Type.
    pub order_type: OrderType,
    /// What it is for.
    pub purpose: OrderPurpose,
    /// Limit price, where there is one.
    pub price: Option<Price>,
    /// Trigger price, where there is one.
    pub stop_price: Option<Price>,
    /// Quantity ordered.
    pub quantity: Quantity,
    /// Quantity filled.
    pub cum_quantity: Quantity,
    /// Where it stands.
    pub state: OpenOrderState,
}

impl OpenOrder {
    /// What is still to be filled.
    #[must_use]
    pub fn leaves(&self) -> Quantity {
        self.quantity.checked_sub(self.cum_quantity).unwrap_or(Quantity::ZERO)
    }
}

/// State that the engine lends for one call, and the buffers it gets back.
#[derive(Debug)]
pub struct Lent<'a> {
    /// Whose call.
    pub strategy: StrategyId,
    /// Engine time.
    pub now: Timestamp,
    /// What risk allows.
    pub trading_state: TradingState,
    /// Instruments by dense index.
    pub instruments: &'a Instruments,
    /// Books by dense index of the instrument.
    pub books: &'a [OrderBook],
    /// Positions and balances.
    pub portfolio: &'a Portfolio,
    /// What the strategy itself has bought and sold; `None` where nobody keeps it apart, and everything is its own.
    pub own: Option<&'a Portfolio>,
    /// Orders that are not terminal, of all strategies.
    pub open_orders: &'a [OpenOrder],
    /// Source of order ids.
    pub ids: &'a mut OrderIdGenerator,
    /// Where requests go; the engine clears and reuses it.
    pub requests: &'a mut Vec<StrategyRequest>,
}

/// What a strategy sees and acts through, for one call.
#[derive(Debug)]
pub struct Context<'a> {
    lent: Lent<'a>,
    // Requests that were there before this call do not count against it.
    requests_before: usize,
}

impl<'a> Context<'a> {
    /// Wraps what the engine lends.
    #[must_use]
    #[inline]
    pub fn new(lent: Lent<'a>) -> Self {
        let requests_before = lent.requests.len();
        Self { lent, requests_before }
    }

    /// Engine time: the largest time that any event has brought.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.lent.now
    }

    /// Which strategy is being called.
    #[must_use]
    pub const fn strategy(&self) -> StrategyId {
        self.lent.strategy
    }

    /// What risk allows now: anything, only what reduces, nothing.
    #[must_use]
    pub const fn trading_state(&self) -> TradingState {
        self.lent.trading_state
    }

    /// The instruments of the run.
    #[must_use]
    pub const fn instruments(&self) -> &'a Instruments {
        self.lent.instruments
    }

    /// One instrument with its rules.
    #[must_use]
    pub fn instrument(&self, id: InstrumentId) -> Option<&'a Instrument> {
        self.lent.instruments.get(id)
    }

    /// The order book, while it may be decided on; `None` before data and after a gap.
    #[must_use]
    #[inline]
    pub fn book(&self, id: InstrumentId) -> Option<&'a OrderBook> {
        self.lent.books.get(id.index()).filter(|book| book.is_live())
    }

    /// The order book as [`Self::book`], while its last news is not older than [`FRESH`]: what may be decided on between
    /// quotes, as on a timer. Risk would deny orders on older prices.
    #[must_use]
    pub fn fresh_book(&self, id: InstrumentId) -> Option<&'a OrderBook> {
        self.book(id).filter(|book| self.lent.now.since(book.ts_recv()) < FRESH)
    }

    /// What this system, all its strategies together, has bought and sold of an instrument. What the account held
    /// before does not show here.
    #[must_use]
    pub fn position(&self, id: InstrumentId) -> Position {
        self.lent.portfolio.position(id)
    }

    /// What this strategy itself has bought and sold of an instrument, over restarts, too. Another strategy's part, adopted
    /// orders and trades by hand do not show here.
    #[must_use]
    pub fn own_position(&self, id: InstrumentId) -> Position {
        self.lent.own.unwrap_or(self.lent.portfolio).position(id)
    }

    /// What the account holds of an asset, by the venue's last word.
    #[must_use]
    pub fn balance(&self, asset: Asset) -> Balance {
        self.lent.portfolio.balance(asset)
    }

    /// Its own orders that are not terminal. Those asked for in this very call are not among them yet.
    pub fn open_orders(&self) -> impl Iterator<Item = &'a OpenOrder> + use<'a> {
        let (strategy, orders) = (self.lent.strategy, self.lent.open_orders);
        orders.iter().filter(move |order| order.strategy == strategy)
    }

    /// One of its own orders, while it is not terminal.
    #[must_use]
    pub fn open_order(&self, id: ClientOrderId) -> Option<&'a OpenOrder> {
        self.open_orders().find(|order| order.client_order_id == id)
    }

    /// Asks for an order. The answer comes to `on_order`: `Denied` by risk, `Rejected` by the venue, or `Accepted`.
    pub fn submit(&mut self, intent: OrderIntent) -> ClientOrderId {
        let new = self.new_order(intent);
        self.push(StrategyRequest::Submit(new));
        new.client_order_id
    }

    /// Asks for an order and says why, for reports: [`Tag::STOP_LOSS`] and the like. The tag counts as a request of its own.
    pub fn submit_tagged(&mut self, intent: OrderIntent, tag: Tag) -> ClientOrderId {
        let new = self.new_order(intent);
        self.push(StrategyRequest::Tag(new.client_order_id, tag));
        self.push(StrategyRequest::Submit(new));
        new.client_order_id
    }

    /// Where the requests of this call end now.
    pub(crate) fn mark(&self) -> usize {
        self.lent.requests.len()
    }

    /// Takes back what was asked for since `mark` that could add exposure: orders, and plans without a word. Cancels stay.
    pub(crate) fn take_orders_since(&mut self, mark: usize) -> Vec<NewOrder> {
        let mut taken = Vec::new();
        let since = self.lent.requests.split_off(mark.min(self.lent.requests.len()));
        for request in since {
            match request {
                StrategyRequest::Submit(new) => taken.push(new),
                StrategyRequest::Replace { cancel, new } => {
                    taken.push(new);
                    self.lent.requests.push(StrategyRequest::Cancel(cancel));
                }
                StrategyRequest::Parent(..) => {}
                other => self.lent.requests.push(other),
            }
        }
        taken
    }

    /// Asks to cancel one of its own orders. Cancelling twice is harmless.
    pub fn cancel(&mut self, id: ClientOrderId) {
        self.push(StrategyRequest::Cancel(id));
    }

    /// Asks to cancel an order and place another in its stead, in one request where the venue can.
    pub fn replace(&mut self, cancel: ClientOrderId, intent: OrderIntent) -> ClientOrderId {
        let new = self.new_order(intent);
        self.push(StrategyRequest::Replace { cancel, new });
        new.client_order_id
    }

    /// Asks to cancel all its own orders on an instrument.
    pub fn cancel_all(&mut self, instrument: InstrumentId) {
        self.push(StrategyRequest::CancelAll(instrument));
    }

    /// Asks for an entry whose exits are placed as it fills. See [`keel_model::Bracket`]; the answers come to `on_parent`,
    /// those about its orders to `on_order` and `on_fill` as ever.
    pub fn bracket(&mut self, plan: Bracket) -> ParentId {
        self.parent(plan.into())
    }

    /// Asks for two orders of which only one is to fill. See [`keel_model::Oco`].
    pub fn oco(&mut self, plan: Oco) -> ParentId {
        self.parent(plan.into())
    }

    /// Asks for a quantity spread over time. See [`keel_model::Twap`].
    pub fn twap(&mut self, plan: Twap) -> ParentId {
        self.parent(plan.into())
    }

    /// Asks for a large order shown in small pieces. See [`keel_model::Iceberg`].
    pub fn iceberg(&mut self, plan: Iceberg) -> ParentId {
        self.parent(plan.into())
    }

    fn parent(&mut self, plan: ParentPlan) -> ParentId {
        let id = ParentId(self.lent.ids.next_id());
        self.push(StrategyRequest::Parent(id, Box::new(plan)));
        id
    }

    /// Asks to cancel a parent order of its own: nothing is opened any more. The exits of a bracket stay as long as there is
    /// a position that they protect.
    pub fn cancel_parent(&mut self, id: ParentId) {
        self.push(StrategyRequest::CancelParent(id));
    }

    /// Asks to cancel a parent order of its own and, where it is a bracket or protects a position, to close what it holds at
    /// the market.
    pub fn close_parent(&mut self, id: ParentId) {
        self.push(StrategyRequest::CloseParent(id));
    }

    /// Free base asset of an instrument: the most that can be sold on spot.
    #[must_use]
    pub fn free_base(&self, id: InstrumentId) -> Quantity {
        let base = self.instrument(id).map(|instrument| self.balance(instrument.base).free);
        base.and_then(|free| free.to_quantity().ok()).unwrap_or(Quantity::ZERO)
    }

    /// Is it a spot instrument, whose base asset has to be there to be sold?
    #[must_use]
    pub fn is_spot(&self, id: InstrumentId) -> bool {
        self.instrument(id).is_none_or(|instrument| instrument.kind == InstrumentKind::Spot)
    }

    /// How much of what is held can be sold now: on spot no more than is free, since open orders hold coins and a fee taken in
    /// coins leaves less than was bought; on a perpetual all of it.
    #[must_use]
    pub fn sellable(&self, id: InstrumentId, held: Quantity) -> Quantity {
        if self.is_spot(id) { held.min(self.free_base(id)) } else { held }
    }

    /// As much of `quantity` as the instrument's rules allow in one order at `price`; `None` when that is too little.
    #[must_use]
    pub fn tradable(
        &self,
        id: InstrumentId,
        quantity: Quantity,
        price: Price,
        order_type: OrderType,
    ) -> Option<Quantity> {
        let instrument = self.instrument(id)?;
        let market_lot = (!order_type.has_price()).then_some(&instrument.market_lot);
        let mut quantity = quantity;
        for lot in std::iter::once(&instrument.lot).chain(market_lot) {
            if lot.max.is_positive() {
                quantity = quantity.min(lot.max);
            }
        }
        quantity = instrument.round_quantity(quantity, order_type).ok()?;
        let is_enough = quantity.is_positive()
            && quantity >= instrument.lot.min
            && market_lot.is_none_or(|lot| quantity >= lot.min)
            && Notional::of(price, quantity) >= instrument.min_notional;
        is_enough.then_some(quantity)
    }

    /// The largest tradable quantity that is worth at most `value` at `price`.
    #[must_use]
    pub fn quantity_worth(
        &self,
        id: InstrumentId,
        value: Notional,
        price: Price,
        order_type: OrderType,
    ) -> Option<Quantity> {
        let step = self.instrument(id)?.lot.step;
        let divisor = Quantity::new(price.mantissa(), price.scale()).ok()?;
        let quotient = value.mul_div(Quantity::from_int(1), divisor, step.scale().max(QUOTIENT_SCALE)).ok()?;
        let mut quantity = self.tradable(id, quotient.to_quantity().ok()?, price, order_type)?;
        if Notional::of(price, quantity) > value {
            // The quotient was rounded up to just a whole step.
            quantity = self.tradable(id, quantity.checked_sub(step).ok()?, price, order_type)?;
        }
        Some(quantity)
    }

    fn new_order(&mut self, intent: OrderIntent) -> NewOrder {
        NewOrder {
            client_order_id: self.lent.ids.next_id(),
            strategy: self.lent.strategy,
            ts_decided: self.lent.now,
            intent,
        }
    }

    fn push(&mut self, request: StrategyRequest) {
        if self.lent.requests.len() - self.requests_before < REQUESTS_MAX {
            self.lent.requests.push(request);
        } else if let Some(StrategyRequest::Overflow { refused }) = self.lent.requests.last_mut() {
            *refused = refused.saturating_add(1);
        } else {
            self.lent.requests.push(StrategyRequest::Overflow { refused: 1 });
        }
    }
}
