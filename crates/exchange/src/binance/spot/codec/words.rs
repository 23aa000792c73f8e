//! Binance's words for the model's enums, both ways.
//!
//! Invariant: a word we do not know gives `None` (or `Unknown`), never a guess: the venue adds words without notice (V-19).

use keel_model::{ExecType, InstrumentStatus, OrderStatus, OrderType, Side, TimeInForce};

/// The word for a side.
#[must_use]
pub const fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// The side of a word.
#[must_use]
pub fn side(word: &str) -> Option<Side> {
    match word {
        "BUY" => Some(Side::Buy),
        "SELL" => Some(Side::Sell),
        _ => None,
    }
}

/// The word for an order type.
#[must_use]
pub const fn order_type_word(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market => "MARKET",
        OrderType::Limit => "LIMIT",
        OrderType::LimitMaker => "LIMIT_MAKER",
        OrderType::StopLoss => "STOP_LOSS",
        OrderType::StopLossLimit => "STOP_LOSS_LIMIT",
        OrderType::TakeProfit => "TAKE_PROFIT",
        OrderType::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
    }
}

/// The order type of a word.
#[must_use]
pub fn order_type(word: &str) -> Option<OrderType> {
    Some(match word {
        "MARKET" => OrderType::Market,
        "LIMIT" => OrderType::Limit,
        "LIMIT_MAKER" => OrderType::LimitMaker,
        "STOP_LOSS" => OrderType::StopLoss,
        "STOP_LOSS_LIMIT" => OrderType::StopLossLimit,
        "TAKE_PROFIT" => OrderType::TakeProfit,
        "TAKE_PROFIT_LIMIT" => OrderType::TakeProfitLimit,
        _ => return None,
    })
}

/// The word for a time in force.
#[must_use]
pub const fn time_in_force_word(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
    }
}

/// The time in force of a word.
#[must_use]
pub fn time_in_force(word: &str) -> Option<TimeInForce> {
    match word {
        "GTC" => Some(TimeInForce::Gtc),
        "IOC" => Some(TimeInForce::Ioc),
        "FOK" => Some(TimeInForce::Fok),
        _ => None,
    }
}

/// The order status of a word.
#[must_use]
pub fn order_status(word: &str) -> Option<OrderStatus> {
    Some(match word {
        "NEW" => OrderStatus::New,
        "PENDING_NEW" => OrderStatus::PendingNew,
        "PARTIALLY_FILLED" => OrderStatus::PartiallyFilled,
        "FILLED" => OrderStatus::Filled,
        "CANCELED" => OrderStatus::Canceled,
        "PENDING_CANCEL" => OrderStatus::PendingCancel,
        "REJECTED" => OrderStatus::Rejected,
        "EXPIRED" | "EXPIRED_IN_MATCH" => OrderStatus::Expired,
        _ => return None,
    })
}

/// The execution type of a word.
#[must_use]
pub fn exec_type(word: &str) -> Option<ExecType> {
    Some(match word {
        "NEW" => ExecType::New,
        "CANCELED" => ExecType::Canceled,
        "REPLACED" => ExecType::Replaced,
        "REJECTED" => ExecType::Rejected,
        "TRADE" => ExecType::Trade,
        "EXPIRED" => ExecType::Expired,
        "TRADE_PREVENTION" => ExecType::TradePrevention,
        _ => return None,
    })
}

/// The instrument status of a word.
#[must_use]
pub fn instrument_status(word: &str) -> InstrumentStatus {
    match word {
        "TRADING" => InstrumentStatus::Trading,
        "CANCEL_ONLY" => InstrumentStatus::CancelOnly,
        "HALT" | "BREAK" | "END_OF_DAY" => InstrumentStatus::Halted,
        _ => InstrumentStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::spot::testing::venue_table;

    fn list(table: &serde_json::Value, key: &str) -> Vec<String> {
        table[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn v19_every_documented_word_is_known_and_others_are_not_tradable() {
        let Some(table) = venue_table("enums.json") else { return };
        for word in list(&table, "Symbol status (status)") {
            assert_ne!(instrument_status(&word), InstrumentStatus::Unknown, "{word}");
            assert_eq!(instrument_status(&word).is_tradable(), word == "TRADING");
        }
        // The table lists EXPIRE_TAKER among the statuses; it is a self-trade prevention mode.
        for word in list(&table, "Order status (status)").iter().filter(|word| *word != "EXPIRE_TAKER") {
            assert!(order_status(word).is_some(), "{word}");
        }
        for word in list(&table, "Order types (orderTypes, type)") {
            assert_eq!(order_type(&word).map(order_type_word), Some(word.as_str()));
        }
        for word in list(&table, "Order side (side)") {
            assert_eq!(side(&word).map(side_word), Some(word.as_str()));
        }
        for word in list(&table, "Time in force (timeInForce)") {
            assert_eq!(time_in_force(&word).map(time_in_force_word), Some(word.as_str()));
        }
        for word in list(&table, "Execution types:") {
            assert!(exec_type(&word).is_some(), "{word}");
        }
        assert_eq!(instrument_status("PRE_AUCTION_9"), InstrumentStatus::Unknown);
        assert!(!instrument_status("PRE_AUCTION_9").is_tradable());
        assert_eq!((order_status("ARCHIVED"), order_type("PEGGED"), exec_type("AMENDED")), (None, None, None));
    }
}
