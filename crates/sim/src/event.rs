//! What the engine reports: executions, balances, order lists, public trades, book changes; and rows of its histories.

use crate::types::{AccountId, ClientId, OrderId, OrderListView, OrderView};
use keel_model::{Asset, Balance, ExecType, InstrumentId, Level, Notional, Price, Quantity, Side, Timestamp};

/// One event, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "events live in one reused buffer; boxing would allocate per report")]
pub enum SimEvent {
    /// Something happened to an order of an account.
    Execution(ExecReport),
    /// Something happened to an order list.
    List(ListReport),
    /// Balances of an account changed; once per account and request.
    Balances(BalanceUpdate),
    /// A trade for everyone.
    Trade(PublicTrade),
    /// A level of a book changed.
    Book(BookChange),
    /// The best bid or ask changed; once per request.
    Top(BookTicker),
}

/// An execution report: the order after the event, and what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecReport {
    /// The order after the event.
    pub order: OrderView,
    /// Why this is reported.
    pub exec_type: ExecType,
    /// When it happened.
    pub ts_transact: Timestamp,
    /// Client id of the request: of the order itself, or of the cancel that ended it (then [`OrderView::client_order_id`]
    /// is the original id).
    pub request_client_id: ClientId,
    /// Quantity of this fill.
    pub last_quantity: Quantity,
    /// Price of this fill.
    pub last_price: Price,
    /// Value of this fill.
    pub last_quote: Notional,
    /// Fee of this fill.
    pub fee: Notional,
    /// Asset of the fee; `None` unless this is a fill.
    pub fee_asset: Option<Asset>,
    /// Trade id of this fill.
    pub trade_id: Option<u64>,
    /// Did the order rest?
    pub is_maker: bool,
    /// Is the order in the book after the event?
    pub is_on_book: bool,
    /// The other order that self-trade prevention found.
    pub counter_order_id: Option<OrderId>,
    /// Quantity taken away by this prevention.
    pub last_prevented_quantity: Quantity,
    /// Id of the prevention.
    pub prevented_match_id: Option<u64>,
    /// Price at which the prevented match would have been.
    pub prevented_price: Price,
    /// Ascending number of account events, over all accounts.
    pub execution_id: u64,
}

/// A change of an order list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListReport {
    /// The list after the change.
    pub list: OrderListView,
    /// Was it placed by this event?
    pub is_new: bool,
}

/// Base and quote balance of an account after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceUpdate {
    /// Account.
    pub account: AccountId,
    /// When.
    pub ts: Timestamp,
    /// The base asset's balance.
    pub base: Balance,
    /// The quote asset's balance.
    pub quote: Balance,
}

/// A trade as everyone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicTrade {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Ascending by one per instrument; a recording's own number in recorded markets.
    pub trade_id: u64,
    /// When.
    pub ts: Timestamp,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// Value.
    pub quote: Notional,
    /// Side of the taker.
    pub aggressor: Side,
    /// Buyer's order; zero in recorded markets.
    pub buyer_order_id: OrderId,
    /// Seller's order; zero in recorded markets.
    pub seller_order_id: OrderId,
}

/// New total of one level; zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookChange {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Ascending by one per change of the instrument's book.
    pub update_id: u64,
    /// When.
    pub ts: Timestamp,
    /// Side of the book.
    pub side: Side,
    /// The level as it is now.
    pub level: Level,
}

/// Best bid and ask; a side without orders is all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookTicker {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Last change of the book.
    pub update_id: u64,
    /// When.
    pub ts: Timestamp,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

/// A trade of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountTrade {
    /// Trade id.
    pub trade_id: u64,
    /// Order.
    pub order_id: OrderId,
    /// List of the order.
    pub list_id: Option<u64>,
    /// Instrument.
    pub instrument: InstrumentId,
    /// When.
    pub ts: Timestamp,
    /// Side of the order.
    pub side: Side,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// Value.
    pub quote: Notional,
    /// Fee.
    pub fee: Notional,
    /// Asset of the fee.
    pub fee_asset: Asset,
    /// Did the order rest?
    pub is_maker: bool,
}

/// A candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kline {
    /// Start, inclusive.
    pub ts_open: Timestamp,
    /// End, exclusive.
    pub ts_close: Timestamp,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Base volume.
    pub volume: Quantity,
    /// Quote volume.
    pub quote_volume: Notional,
    /// Base volume bought by takers.
    pub taker_buy_volume: Quantity,
    /// Quote volume of it.
    pub taker_buy_quote: Notional,
    /// Number of trades.
    pub trades: u64,
    /// Id of its first trade; `None` without trades.
    pub first_trade_id: Option<u64>,
    /// Id of its last trade; `None` without trades.
    pub last_trade_id: Option<u64>,
    /// Is its span over?
    pub is_closed: bool,
}

/// Statistics of the last 24 hours, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker24h {
    /// Start of the window.
    pub ts_open: Timestamp,
    /// End of the window.
    pub ts_close: Timestamp,
    /// First price in the window.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub last: Price,
    /// Quantity of the last trade.
    pub last_quantity: Quantity,
    /// Last price of the window before.
    pub previous_close: Price,
    /// Base volume.
    pub volume: Quantity,
    /// Quote volume.
    pub quote_volume: Notional,
    /// Volume-weighted average price.
    pub average: Price,
    /// Number of trades.
    pub trades: u64,
    /// Id of the first trade; `None` without trades.
    pub first_trade_id: Option<u64>,
    /// Id of the last trade; `None` without trades.
    pub last_trade_id: Option<u64>,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}
