//! Why a request was refused. One variant per rule, so that a venue can say exactly what the real one says.

use keel_model::RejectReason;

/// A definitive refusal: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// No such account.
    #[error("no such account")]
    UnknownAccount,
    /// No such instrument.
    #[error("no such instrument")]
    UnknownInstrument,
    /// The instrument takes no orders now.
    #[error("the instrument is not trading")]
    NotTrading,
    /// A price is missing, or given where the type has none, or not positive; or a size is of the wrong kind.
    #[error("this order type needs a positive price where it has one and none where it has not")]
    Shape,
    /// `PRICE_FILTER`: price or trigger price outside the bounds or off the tick.
    #[error("price outside the bounds or off the tick")]
    PriceFilter,
    /// `PERCENT_PRICE_BY_SIDE`: too far from the recent average price.
    #[error("price too far from the recent average price")]
    PercentPrice,
    /// `LOT_SIZE`: quantity outside the bounds or off the step.
    #[error("quantity outside the bounds or off the step")]
    LotSize,
    /// `MARKET_LOT_SIZE`: quantity of a market order outside its bounds or off its step.
    #[error("quantity of a market order outside its bounds or off its step")]
    MarketLotSize,
    /// `NOTIONAL`, `MIN_NOTIONAL`: value of the order too small or too large.
    #[error("order value outside the bounds")]
    Notional,
    /// `MAX_NUM_ORDERS`: too many open orders on the instrument.
    #[error("too many open orders on the instrument")]
    MaxNumOrders,
    /// `MAX_NUM_ALGO_ORDERS`: too many open stop and take-profit orders on the instrument.
    #[error("too many open stop and take-profit orders on the instrument")]
    MaxNumAlgoOrders,
    /// `MAX_NUM_ORDER_LISTS`: too many open order lists on the instrument.
    #[error("too many open order lists on the instrument")]
    MaxNumOrderLists,
    /// Free balance does not suffice.
    #[error("insufficient balance")]
    InsufficientBalance,
    /// A reduce-only order, and no position on the other side.
    #[error("the reduce-only order has no position to reduce")]
    ReduceOnly,
    /// A post-only order would trade at once.
    #[error("the post-only order would trade at once")]
    WouldTake,
    /// A stop order would be triggered at once.
    #[error("the stop order would be triggered at once")]
    WouldTrigger,
    /// A stop order, but the instrument has not traded yet.
    #[error("the instrument has no last price yet")]
    NoLastPrice,
    /// The client order id is in use by an open order of the account.
    #[error("the client order id is in use by an open order")]
    DuplicateClientId,
    /// The prices of a list do not lie on the two sides of the market in the right order.
    #[error("the prices of the order list do not relate as they must")]
    ListPrices,
    /// The legs of a list have types that do not go together.
    #[error("the types of the legs do not go together")]
    ListTypes,
    /// There is no open order (or list) like that to cancel.
    #[error("no such open order")]
    UnknownOrder,
    /// There is no order (or list) like that.
    #[error("no such order")]
    NoSuchOrder,
    /// The order is not in the state that the cancel asks for.
    #[error("the order is not in the state that the cancel asks for")]
    CancelRestriction,
    /// The new quantity of an amendment is not below the old one and above what is filled.
    #[error("the new quantity must be below the old one and above what is filled")]
    AmendQuantity,
    /// An order by quote amount found too little liquidity for the least quantity.
    #[error("too little liquidity for the least quantity")]
    NoLiquidity,
    /// A number does not fit.
    #[error("a number is too large")]
    TooLarge,
    /// The venue holds as many open orders as it can.
    #[error("the venue holds as many open orders as it can")]
    VenueFull,
}

impl Reject {
    /// Binance spot's code and words for it when it comes from placing, cancelling or asking.
    #[must_use]
    pub const fn binance(self) -> (i32, &'static str) {
        match self {
            Self::UnknownAccount => (-2015, "Invalid API-key, IP, or permissions for action."),
            Self::UnknownInstrument => (-1121, "Invalid symbol."),
            Self::NotTrading => (-1013, "Market is closed."),
            Self::Shape => (-1106, "Parameter sent when not required."),
            Self::PriceFilter => (-1013, "Filter failure: PRICE_FILTER"),
            Self::PercentPrice => (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
            Self::LotSize => (-1013, "Filter failure: LOT_SIZE"),
            Self::MarketLotSize => (-1013, "Filter failure: MARKET_LOT_SIZE"),
            Self::Notional => (-1013, "Filter failure: NOTIONAL"),
            Self::MaxNumOrders => (-1013, "Filter failure: MAX_NUM_ORDERS"),
            Self::MaxNumAlgoOrders => (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
            Self::MaxNumOrderLists => (-1013, "Filter failure: MAX_NUM_ORDER_LISTS"),
            Self::InsufficientBalance => (-2010, "Account has insufficient balance for requested action."),
            Self::ReduceOnly => (-2022, "ReduceOnly Order is rejected."),
            Self::WouldTake => (-2010, "Order would immediately match and take."),
            Self::WouldTrigger => (-2010, "Stop price would trigger immediately."),
            Self::NoLastPrice => (-2010, "There is no last price for the symbol."),
            Self::DuplicateClientId => (-2010, "Duplicate order sent."),
            Self::ListPrices => (-2010, "The relationship of the prices for the orders is not correct."),
            Self::ListTypes => (-1014, "Unsupported order combination."),
            Self::UnknownOrder => (-2011, "Unknown order sent."),
            Self::NoSuchOrder => (-2013, "Order does not exist."),
            Self::CancelRestriction => (-2011, "Order was not canceled due to cancel restrictions."),
            Self::AmendQuantity => (-2038, "Quantity must be less than the current quantity and above the filled one."),
            Self::NoLiquidity => (-2010, "Order book liquidity is less than `LOT_SIZE` filter minimum quantity."),
            Self::TooLarge => (-1013, "Invalid quantity."),
            Self::VenueFull => (-2010, "Too many open orders."),
        }
    }

    /// What it means for whoever placed the order, in the words of the model.
    #[must_use]
    pub const fn reason(self) -> RejectReason {
        match self {
            Self::UnknownAccount => RejectReason::Authentication,
            Self::UnknownInstrument | Self::NotTrading => RejectReason::InstrumentNotTradable,
            Self::Shape | Self::ListPrices | Self::ListTypes | Self::AmendQuantity => RejectReason::BadRequest,
            Self::PriceFilter
            | Self::PercentPrice
            | Self::LotSize
            | Self::MarketLotSize
            | Self::Notional
            | Self::TooLarge => RejectReason::Filter,
            Self::MaxNumOrders | Self::MaxNumAlgoOrders | Self::MaxNumOrderLists | Self::VenueFull => {
                RejectReason::TooManyOrders
            }
            Self::InsufficientBalance => RejectReason::InsufficientFunds,
            Self::WouldTake => RejectReason::WouldTake,
            Self::WouldTrigger => RejectReason::WouldTrigger,
            Self::DuplicateClientId => RejectReason::DuplicateId,
            Self::UnknownOrder | Self::NoSuchOrder | Self::CancelRestriction => RejectReason::UnknownOrder,
            Self::NoLastPrice | Self::NoLiquidity | Self::ReduceOnly => RejectReason::Other,
        }
    }

    /// As the refusal of a venue, in the words of the model.
    #[must_use]
    pub fn to_model(self) -> keel_model::Reject {
        let (code, text) = self.binance();
        keel_model::Reject {
            reason: self.reason(),
            code: i64::from(code),
            text: keel_model::InlineStr::truncated(text),
        }
    }
}
