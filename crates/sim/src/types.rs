//! Requests that go into the engine and views of orders that come out. All are `Copy`; numbers are exact decimals.

use keel_model::{
    InlineStr, InstrumentId, Notional, OrderStatus, OrderType, Price, Quantity, Side, TimeInForce, Timestamp,
};

/// A client's own order id: any text of at most 36 bytes.
pub type ClientId = InlineStr<36>;
/// The venue's order id; unique over all instruments, ascending with time.
pub type OrderId = u64;
/// The venue's id of an order list; ascending with time.
pub type ListId = u64;

/// Dense index of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

impl AccountId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What happens when an order would trade with another of the same account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StpMode {
    /// They trade.
    None,
    /// The resting order expires and the incoming one goes on.
    #[default]
    ExpireMaker,
    /// The incoming order expires.
    ExpireTaker,
    /// Both expire.
    ExpireBoth,
    /// Both lose the smaller of their open quantities; what has none left expires.
    Decrement,
}

/// State of an order in FIX words; unlike [`OrderStatus`] it names self-trade prevention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderState {
    /// Open, nothing filled. Stop orders that wait for their trigger are `New` and not working.
    #[default]
    New,
    /// Open, partly filled.
    PartiallyFilled,
    /// Completely filled.
    Filled,
    /// Cancelled on request.
    Canceled,
    /// Ended by the venue's rules: rest of an IOC, FOK that could not be filled, no liquidity, other leg of a list.
    Expired,
    /// Ended by self-trade prevention.
    ExpiredInMatch,
}

impl OrderState {
    /// Can it still trade?
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }

    /// In the words of the model, where both ways to expire are one.
    #[must_use]
    pub const fn to_model(self) -> OrderStatus {
        match self {
            Self::New => OrderStatus::New,
            Self::PartiallyFilled => OrderStatus::PartiallyFilled,
            Self::Filled => OrderStatus::Filled,
            Self::Canceled => OrderStatus::Canceled,
            Self::Expired | Self::ExpiredInMatch => OrderStatus::Expired,
        }
    }
}

/// Why an order expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpiryReason {
    /// It did not expire.
    #[default]
    None,
    /// Rest of an immediate-or-cancel order.
    UnfilledIoc,
    /// A fill-or-kill order that could not be filled at once.
    UnfilledFok,
    /// A market order found no (more) liquidity.
    InsufficientLiquidity,
    /// A triggered stop order found less balance than it needs.
    InsufficientBalance,
    /// The other leg of its list traded or was triggered.
    OcoTrigger,
    /// A triggered order broke a rule that holds when it starts to work.
    Rejected,
    /// Self-trade prevention.
    SelfTrade,
    /// The position that it might have reduced is closed.
    NothingToReduce,
}

/// How much to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderSize {
    /// Amount of the base asset.
    Base(Quantity),
    /// Amount of the quote asset to spend or receive at most; market orders only (`quoteOrderQty`).
    Quote(Quantity),
}

/// A new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// The client's id; the engine makes one up when it is empty.
    pub client_order_id: ClientId,
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// Pricing and trigger.
    pub order_type: OrderType,
    /// How long it works; ignored for types without a limit price.
    pub time_in_force: TimeInForce,
    /// How much.
    pub size: OrderSize,
    /// Limit price, where the type has one.
    pub price: Option<Price>,
    /// Trigger price, where the type has one.
    pub stop_price: Option<Price>,
    /// Self-trade prevention; `None` takes the engine's default.
    pub stp_mode: Option<StpMode>,
    /// On a perpetual: may it only make the position smaller? Without meaning on spot.
    pub reduce_only: bool,
}

impl OrderRequest {
    /// A market order for an amount of the base asset.
    #[must_use]
    pub const fn market(instrument: InstrumentId, side: Side, quantity: Quantity) -> Self {
        Self {
            client_order_id: ClientId::EMPTY,
            instrument,
            side,
            order_type: OrderType::Market,
            time_in_force: TimeInForce::Gtc,
            size: OrderSize::Base(quantity),
            price: None,
            stop_price: None,
            stp_mode: None,
            reduce_only: false,
        }
    }

    /// A limit order that works until it is cancelled.
    #[must_use]
    pub const fn limit(instrument: InstrumentId, side: Side, quantity: Quantity, price: Price) -> Self {
        Self { order_type: OrderType::Limit, price: Some(price), ..Self::market(instrument, side, quantity) }
    }

    /// The same order under a client id.
    #[must_use]
    pub const fn with_client_id(self, client_order_id: ClientId) -> Self {
        Self { client_order_id, ..self }
    }
}

/// Which order is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRef {
    /// By the venue's id.
    Id(OrderId),
    /// By the client's id: the open order that has it, else the latest that had it.
    Client(ClientId),
    /// By the venue's id, which must also have this client id.
    Both(OrderId, ClientId),
}

/// In which state an order may be cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CancelRestriction {
    /// In any open state.
    #[default]
    Any,
    /// Only while nothing of it is filled.
    OnlyNew,
    /// Only when it is partly filled.
    OnlyPartiallyFilled,
}

/// Cancel an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// Instrument of the order.
    pub instrument: InstrumentId,
    /// Which order.
    pub order: OrderRef,
    /// Id of this cancel, reported as the client id of the report; empty: made up.
    pub cancel_client_id: ClientId,
    /// In which state it may be cancelled.
    pub restriction: CancelRestriction,
}

impl CancelRequest {
    /// Cancel `order` in any state.
    #[must_use]
    pub const fn new(instrument: InstrumentId, order: OrderRef) -> Self {
        Self { instrument, order, cancel_client_id: ClientId::EMPTY, restriction: CancelRestriction::Any }
    }
}

/// What a cancel-replace does when the cancel fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceMode {
    /// The new order is not tried.
    StopOnFailure,
    /// The new order is tried all the same.
    AllowFailure,
}

/// Cancel one order and place another in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelReplace {
    /// What to cancel.
    pub cancel: CancelRequest,
    /// What to place.
    pub new: OrderRequest,
    /// What to do when the cancel fails.
    pub mode: ReplaceMode,
}

/// Both halves of a cancel-replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaceResult {
    /// The cancelled order, or why it was not.
    pub cancel: Result<OrderView, crate::Reject>,
    /// The new order, or why there is none; `None` when it was not tried.
    pub new: Option<Result<OrderView, crate::Reject>>,
}

/// Reduce an order's quantity and keep its place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmendRequest {
    /// Instrument of the order.
    pub instrument: InstrumentId,
    /// Which order.
    pub order: OrderRef,
    /// New total quantity; smaller than before, larger than what is filled.
    pub quantity: Quantity,
    /// New client id; empty keeps the old one.
    pub new_client_order_id: ClientId,
}

/// One leg of an order list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcoLeg {
    /// The client's id; the engine makes one up when it is empty.
    pub client_order_id: ClientId,
    /// A stop or take-profit type, with or without limit, or `LimitMaker`.
    pub order_type: OrderType,
    /// How long it works once triggered.
    pub time_in_force: TimeInForce,
    /// Limit price, where the type has one.
    pub price: Option<Price>,
    /// Trigger price, where the type has one.
    pub stop_price: Option<Price>,
}

/// Two orders of which one cancels the other; one above the market, one below. They lock the larger of their needs, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcoRequest {
    /// The client's id of the list; the engine makes one up when it is empty.
    pub list_client_order_id: ClientId,
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell, both legs.
    pub side: Side,
    /// Quantity of either leg.
    pub quantity: Quantity,
    /// The leg priced above the last price.
    pub above: OcoLeg,
    /// The leg priced below the last price.
    pub below: OcoLeg,
    /// Self-trade prevention; `None` takes the engine's default.
    pub stp_mode: Option<StpMode>,
}

/// How the orders of a list depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contingency {
    /// One cancels the other.
    Oco,
}

/// State of an order list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStatus {
    /// Some order of it is open.
    Executing,
    /// None is.
    AllDone,
}

/// An order list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderListView {
    /// The venue's id.
    pub list_id: ListId,
    /// The client's id.
    pub list_client_order_id: ClientId,
    /// Account.
    pub account: AccountId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Kind of list.
    pub contingency: Contingency,
    /// State.
    pub status: ListStatus,
    /// Its orders: (order id, client id); above first.
    pub orders: [(OrderId, ClientId); 2],
    /// When it was placed or last changed.
    pub ts_transact: Timestamp,
}

/// An order as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// The venue's id.
    pub order_id: OrderId,
    /// The list it belongs to.
    pub list_id: Option<ListId>,
    /// The client's id.
    pub client_order_id: ClientId,
    /// Account.
    pub account: AccountId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Type.
    pub order_type: OrderType,
    /// Time in force.
    pub time_in_force: TimeInForce,
    /// State.
    pub state: OrderState,
    /// Quantity ordered; of an order by quote amount, what it bought or sold.
    pub quantity: Quantity,
    /// Quote amount ordered; zero unless ordered that way.
    pub quote_quantity: Quantity,
    /// Limit price; zero when there is none.
    pub price: Price,
    /// Trigger price; zero when there is none.
    pub stop_price: Price,
    /// Filled so far.
    pub cum_quantity: Quantity,
    /// Value filled so far.
    pub cum_quote: Notional,
    /// Taken away by self-trade prevention.
    pub prevented_quantity: Quantity,
    /// Self-trade prevention.
    pub stp_mode: StpMode,
    /// Does it work: in the book or done (`true`), or does it wait for its trigger (`false`)?
    pub is_working: bool,
    /// When it was placed.
    pub ts_created: Timestamp,
    /// When it last changed.
    pub ts_updated: Timestamp,
    /// When it started to work; zero when it has not.
    pub ts_working: Timestamp,
    /// Why it expired.
    pub expiry_reason: ExpiryReason,
}

impl OrderView {
    /// What is still open of it.
    #[must_use]
    pub fn remaining(&self) -> Quantity {
        let left = self.quantity.checked_sub(self.cum_quantity).and_then(|q| q.checked_sub(self.prevented_quantity));
        if self.state.is_open() { left.unwrap_or(Quantity::ZERO) } else { Quantity::ZERO }
    }
}
