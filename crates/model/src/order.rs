//! Orders as requests and the outcomes of those requests.
//!
//! `Unknown` is an outcome of its own: whatever does not prove acceptance or refusal is unknown, and is resolved by asking
//! the venue, never by guessing.

use crate::ids::InlineStr;
use crate::{
    ClientOrderId, ExecutionReport, InstrumentId, OrderSnapshot, Price, Quantity, StrategyId, Timestamp, VenueOrderId,
};
use serde::{Deserialize, Serialize};

/// Text of a venue's or our own reason; cut to what fits.
pub type ReasonText = InlineStr<95>;

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// +1 for buy, −1 for sell.
    #[must_use]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }
}

/// How an order is priced and triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderType {
    /// At any price, now.
    Market,
    /// At `price` or better.
    Limit,
    /// A limit order that is refused if it would trade at once (post-only).
    LimitMaker,
    /// A market order once the price falls (sell) or rises (buy) to `stop_price`.
    StopLoss,
    /// A limit order once the price falls (sell) or rises (buy) to `stop_price`.
    StopLossLimit,
    /// A market order once the price rises (sell) or falls (buy) to `stop_price`.
    TakeProfit,
    /// A limit order once the price rises (sell) or falls (buy) to `stop_price`.
    TakeProfitLimit,
}

impl OrderType {
    /// Does it carry a limit price?
    #[must_use]
    pub const fn has_price(self) -> bool {
        matches!(self, Self::Limit | Self::LimitMaker | Self::StopLossLimit | Self::TakeProfitLimit)
    }

    /// Does it carry a trigger price?
    #[must_use]
    pub const fn has_stop_price(self) -> bool {
        matches!(self, Self::StopLoss | Self::StopLossLimit | Self::TakeProfit | Self::TakeProfitLimit)
    }
}

/// How long an order works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Immediate or cancel.
    Ioc,
    /// Fill or kill.
    Fok,
}

/// What an order is for; decides what happens to it when the system stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderPurpose {
    /// Opens or adds to a position.
    Entry,
    /// Closes or reduces a position now.
    Exit,
    /// Protects an open position (stop, target) and stays while it is open.
    Protective,
}

/// What a strategy wants: an order without identity, not yet reviewed by risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderIntent {
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// Pricing and trigger.
    pub order_type: OrderType,
    /// How long it works.
    pub time_in_force: TimeInForce,
    /// Amount in base asset or contracts; positive.
    pub quantity: Quantity,
    /// Limit price, where the type has one.
    pub price: Option<Price>,
    /// Trigger price, where the type has one.
    pub stop_price: Option<Price>,
    /// May only reduce a position.
    pub reduce_only: bool,
    /// What it is for.
    pub purpose: OrderPurpose,
}

impl OrderIntent {
    /// A market order.
    #[must_use]
    pub const fn market(instrument: InstrumentId, side: Side, quantity: Quantity, purpose: OrderPurpose) -> Self {
        Self {
            instrument,
            side,
            order_type: OrderType::Market,
            time_in_force: TimeInForce::Gtc,
            quantity,
            price: None,
            stop_price: None,
            reduce_only: false,
            purpose,
        }
    }

    /// A limit order that works until it is cancelled.
    #[must_use]
    pub const fn limit(
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        price: Price,
        purpose: OrderPurpose,
    ) -> Self {
        Self {
            instrument,
            side,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::Gtc,
            quantity,
            price: Some(price),
            stop_price: None,
            reduce_only: false,
            purpose,
        }
    }

    /// A post-only limit order.
    #[must_use]
    pub const fn post_only(
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        price: Price,
        purpose: OrderPurpose,
    ) -> Self {
        Self { order_type: OrderType::LimitMaker, ..Self::limit(instrument, side, quantity, price, purpose) }
    }
}

/// An order with identity, ready to be reviewed and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Which strategy wants it.
    pub strategy: StrategyId,
    /// When it was decided, on the run's clock.
    pub ts_decided: Timestamp,
    /// What is wanted.
    pub intent: OrderIntent,
}

/// Cancel an order of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// The venue's id, when known.
    pub venue_order_id: Option<VenueOrderId>,
    /// Instrument of the order.
    pub instrument: InstrumentId,
}

/// Cancel an order of ours and place another in one request (Binance `cancelReplace`, FIX 35=G).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceOrder {
    /// The order to cancel.
    pub cancel: CancelOrder,
    /// The order to place; reviewed by risk like any other.
    pub new: NewOrder,
}

/// Ask the venue about an order of ours by client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryOrder {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Instrument of the order.
    pub instrument: InstrumentId,
}

/// Status of an order in FIX words, as the venue reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Accepted, not yet working (Binance `PENDING_NEW`, held contingent orders).
    PendingNew,
    /// Working, nothing filled.
    New,
    /// Working, partly filled.
    PartiallyFilled,
    /// Completely filled.
    Filled,
    /// Cancel accepted, not done.
    PendingCancel,
    /// Cancelled.
    Canceled,
    /// Refused by the venue.
    Rejected,
    /// Ended by the venue's rules (IOC rest, FOK, self-trade prevention, time).
    Expired,
}

impl OrderStatus {
    /// Can nothing more happen to the order at the venue?
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Canceled | Self::Rejected | Self::Expired)
    }
}

/// Why the venue refused, in words that decide what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectReason {
    /// Balance or margin does not suffice.
    InsufficientFunds,
    /// Price, size or value breaks a filter of the instrument.
    Filter,
    /// Post-only order would have traded.
    WouldTake,
    /// A stop order would trigger at once.
    WouldTrigger,
    /// The client order id is in use by an open order.
    DuplicateId,
    /// The order to cancel, replace or query is not known.
    UnknownOrder,
    /// The instrument is not known or not trading.
    InstrumentNotTradable,
    /// Request or order rate limit; the request was surely not executed.
    RateLimit,
    /// Timestamp outside the receive window; surely not executed.
    Timestamp,
    /// Key, signature or permission.
    Authentication,
    /// The venue does not take the parameters; our mistake.
    BadRequest,
    /// Too many open orders.
    TooManyOrders,
    /// Anything else that the venue documents as not executed.
    Other,
}

/// A definitive refusal by the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// What it means.
    pub reason: RejectReason,
    /// The venue's code, zero when it gave none.
    pub code: i64,
    /// The venue's words.
    pub text: ReasonText,
}

/// Why an outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownReason {
    /// No answer in time.
    Timeout,
    /// The connection ended after bytes were written.
    ConnectionLost,
    /// The venue answered 5xx, or a code documented as "execution status unknown".
    VenueUnsure,
    /// The answer could not be read.
    Unreadable,
    /// A code or word we do not know.
    Unclassified,
    /// We restarted before the answer was recorded.
    Restart,
}

/// Why a request surely did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotSentReason {
    /// The gate was closed.
    GateClosed,
    /// No connection could be made, so no byte was written.
    NotConnected,
    /// A rate limit of ours held it back.
    RateLimited,
    /// It could not be made durable first.
    NotDurable,
    /// The client is closed.
    Closed,
    /// It could not be expressed in the venue's protocol.
    NotExpressible,
}

/// The venue accepted an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitAck {
    /// The venue's id.
    pub venue_order_id: VenueOrderId,
    /// The venue's time of acceptance.
    pub ts_event: Timestamp,
    /// Status right after acceptance.
    pub status: OrderStatus,
    /// Fills that came with the answer; they also come over the account stream and count once.
    pub reports: Vec<ExecutionReport>,
}

/// What became of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubmitOutcome {
    /// The venue has it.
    Accepted(SubmitAck),
    /// The venue surely does not have it, and said why.
    Rejected(Reject),
    /// It surely never left.
    NotSent(NotSentReason),
    /// Nobody knows yet: ask.
    Unknown(UnknownReason),
}

/// What became of a cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelOutcome {
    /// The venue cancelled it; the order as it ended.
    Canceled(OrderSnapshot),
    /// The venue refused, mostly because the order is no longer open: query.
    Rejected(Reject),
    /// It surely never left; cancelling again is safe.
    NotSent(NotSentReason),
    /// Nobody knows yet; cancelling again is safe.
    Unknown(UnknownReason),
}

/// What became of a cancel-replace: two outcomes, since one half may succeed alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceOutcome {
    /// The cancel half.
    pub cancel: CancelOutcome,
    /// The placement half.
    pub new: SubmitOutcome,
}

/// What the venue says about an order when asked by client order id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryOutcome {
    /// It has the order.
    Found(OrderSnapshot),
    /// It says it has none. Proves non-acceptance only if `venue_time_before`, a venue time answered before the query was
    /// sent, lies past the fence (signed timestamp + recvWindow + staleness bound).
    NotFound {
        /// The venue's clock before the query was sent; `None` when it could not be had.
        venue_time_before: Option<Timestamp>,
    },
    /// The question itself failed; ask again.
    Unknown(UnknownReason),
}
