//! What the venue says about our orders.

use crate::order::{OrderStatus, OrderType, ReasonText, Side, TimeInForce};
use crate::{Asset, ClientOrderId, InstrumentId, Notional, Price, Quantity, Timestamp, TradeId, VenueOrderId};
use serde::{Deserialize, Serialize};

/// FIX ExecType (150): why a report was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecType {
    /// Accepted.
    New,
    /// A fill; [`ExecutionReport::fill`] holds it.
    Trade,
    /// Cancelled, by us or by the venue.
    Canceled,
    /// Replaced by another order.
    Replaced,
    /// Refused.
    Rejected,
    /// Ended by the venue's rules.
    Expired,
    /// Quantity taken away by self-trade prevention.
    TradePrevention,
    /// A status report without a change (answer to a query, restatement).
    Status,
}

/// Did the fill add or remove liquidity?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Liquidity {
    /// Rested in the book.
    Maker,
    /// Took from the book.
    Taker,
}

/// One fill of one of our orders, identified by the venue's trade id and applied exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The venue's trade id; unique per instrument.
    pub trade_id: TradeId,
    /// Instrument traded.
    pub instrument: InstrumentId,
    /// Our side.
    pub side: Side,
    /// Price of this fill.
    pub price: Price,
    /// Quantity of this fill; positive.
    pub quantity: Quantity,
    /// Fee paid (positive) or rebate received (negative).
    pub fee: Notional,
    /// Asset the fee is paid in.
    pub fee_asset: Asset,
    /// Maker or taker.
    pub liquidity: Liquidity,
    /// The venue's time of the trade.
    pub ts_event: Timestamp,
}

/// One message about one order, in FIX words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionReport {
    /// Why it was sent.
    pub exec_type: ExecType,
    /// Our id; `None` for an order whose client id is not one of ours (a foreign order).
    pub client_order_id: Option<ClientOrderId>,
    /// The venue's id.
    pub venue_order_id: VenueOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Status after this report.
    pub status: OrderStatus,
    /// Quantity ordered.
    pub quantity: Quantity,
    /// Limit price, where there is one.
    pub price: Option<Price>,
    /// Total quantity filled so far, by the venue's account.
    pub cum_quantity: Quantity,
    /// The fill, when `exec_type` is [`ExecType::Trade`].
    pub fill: Option<Fill>,
    /// The venue's time.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// The venue's reason for a refusal, cancel or expiry.
    pub text: ReasonText,
}

/// An order as the venue describes it in answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSnapshot {
    /// Our id; `None` for a foreign order.
    pub client_order_id: Option<ClientOrderId>,
    /// The venue's id.
    pub venue_order_id: VenueOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Type; `None` for a word we do not know.
    pub order_type: Option<OrderType>,
    /// Time in force; `None` for a word we do not know.
    pub time_in_force: Option<TimeInForce>,
    /// Status.
    pub status: OrderStatus,
    /// Quantity ordered.
    pub quantity: Quantity,
    /// Limit price, where there is one.
    pub price: Option<Price>,
    /// Trigger price, where there is one.
    pub stop_price: Option<Price>,
    /// Total quantity filled.
    pub cum_quantity: Quantity,
    /// Total value filled in quote asset, where the venue says it.
    pub cum_quote: Option<Notional>,
    /// The venue's time of the last change.
    pub ts_event: Timestamp,
}
