//! Binance's words for the model's values, both ways.

use crate::api_error::ApiError;
use keel_model::{ExecType, OrderType, Side, TimeInForce};
use keel_sim::{ExpiryReason, ListStatus, OrderState, StpMode};

/// Reads a side.
pub(crate) fn side(text: &str) -> Result<Side, ApiError> {
    match text {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err(ApiError::new(-1117, "Invalid side.")),
    }
}

/// Reads an order type.
pub(crate) fn order_type(text: &str) -> Result<OrderType, ApiError> {
    match text {
        "LIMIT" => Ok(OrderType::Limit),
        "MARKET" => Ok(OrderType::Market),
        "LIMIT_MAKER" => Ok(OrderType::LimitMaker),
        "STOP_LOSS" => Ok(OrderType::StopLoss),
        "STOP_LOSS_LIMIT" => Ok(OrderType::StopLossLimit),
        "TAKE_PROFIT" => Ok(OrderType::TakeProfit),
        "TAKE_PROFIT_LIMIT" => Ok(OrderType::TakeProfitLimit),
        _ => Err(ApiError::new(-1116, "Invalid orderType.")),
    }
}

/// Reads a time in force.
pub(crate) fn time_in_force(text: &str) -> Result<TimeInForce, ApiError> {
    match text {
        "GTC" => Ok(TimeInForce::Gtc),
        "IOC" => Ok(TimeInForce::Ioc),
        "FOK" => Ok(TimeInForce::Fok),
        _ => Err(ApiError::new(-1115, "Invalid timeInForce.")),
    }
}

/// Reads a self-trade prevention mode.
pub(crate) fn stp_mode(text: &str) -> Result<StpMode, ApiError> {
    match text {
        "NONE" => Ok(StpMode::None),
        "EXPIRE_MAKER" => Ok(StpMode::ExpireMaker),
        "EXPIRE_TAKER" => Ok(StpMode::ExpireTaker),
        "EXPIRE_BOTH" => Ok(StpMode::ExpireBoth),
        "DECREMENT" => Ok(StpMode::Decrement),
        "TRANSFER" => Err(ApiError::new(-1013, "This symbol does not allow the specified self-trade prevention mode.")),
        _ => Err(ApiError::invalid("selfTradePreventionMode")),
    }
}

/// Writes a side.
pub(crate) const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// Writes an order type.
pub(crate) const fn order_type_word(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Limit => "LIMIT",
        OrderType::Market => "MARKET",
        OrderType::LimitMaker => "LIMIT_MAKER",
        OrderType::StopLoss => "STOP_LOSS",
        OrderType::StopLossLimit => "STOP_LOSS_LIMIT",
        OrderType::TakeProfit => "TAKE_PROFIT",
        OrderType::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
    }
}

/// Writes a time in force.
pub(crate) const fn time_in_force_word(tif: TimeInForce) -> &'static str {
    match tif {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
    }
}

/// Writes a self-trade prevention mode.
pub(crate) const fn stp_word(mode: StpMode) -> &'static str {
    match mode {
        StpMode::None => "NONE",
        StpMode::ExpireMaker => "EXPIRE_MAKER",
        StpMode::ExpireTaker => "EXPIRE_TAKER",
        StpMode::ExpireBoth => "EXPIRE_BOTH",
        StpMode::Decrement => "DECREMENT",
    }
}

/// Writes an order's state.
pub(crate) const fn state_word(state: OrderState) -> &'static str {
    match state {
        OrderState::New => "NEW",
        OrderState::PartiallyFilled => "PARTIALLY_FILLED",
        OrderState::Filled => "FILLED",
        OrderState::Canceled => "CANCELED",
        OrderState::Expired => "EXPIRED",
        OrderState::ExpiredInMatch => "EXPIRED_IN_MATCH",
    }
}

/// Writes an execution type.
pub(crate) const fn exec_type_word(exec_type: ExecType) -> &'static str {
    match exec_type {
        ExecType::New | ExecType::Status => "NEW",
        ExecType::Trade => "TRADE",
        ExecType::Canceled => "CANCELED",
        ExecType::Replaced => "REPLACED",
        ExecType::Rejected => "REJECTED",
        ExecType::Expired => "EXPIRED",
        ExecType::TradePrevention => "TRADE_PREVENTION",
    }
}

/// Writes why an order expired; `None` when it did not.
pub(crate) const fn expiry_word(reason: ExpiryReason) -> Option<&'static str> {
    match reason {
        ExpiryReason::None | ExpiryReason::SelfTrade => None,
        ExpiryReason::UnfilledIoc => Some("UNFILLED_IOC_QUANTITY_EXPIRED"),
        ExpiryReason::UnfilledFok => Some("UNFILLED_FOK_ORDER_EXPIRED"),
        ExpiryReason::InsufficientLiquidity => Some("INSUFFICIENT_LIQUIDITY"),
        ExpiryReason::InsufficientBalance | ExpiryReason::Rejected | ExpiryReason::NothingToReduce => Some("REJECTED"),
        ExpiryReason::OcoTrigger => Some("OCO_TRIGGER"),
    }
}

/// Writes an order list's (status type, order status).
pub(crate) const fn list_words(status: ListStatus) -> (&'static str, &'static str) {
    match status {
        ListStatus::Executing => ("EXEC_STARTED", "EXECUTING"),
        ListStatus::AllDone => ("ALL_DONE", "ALL_DONE"),
    }
}
