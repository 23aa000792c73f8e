//! Orders, order lists and an account's trades as answers show them.

use super::{OrderLabels, list_id};
use crate::json::{Decimal, Json};
use crate::words;
use keel_model::{OrderType, Quantity, Side, Timestamp};
use keel_sim::{AccountTrade, ExecReport, OrderListView, OrderView, StpMode};

/// The members of an order list, without reports.
pub(crate) fn write_list(j: &mut Json, symbol: &str, list: &OrderListView) {
    let (status, orders) = words::list_words(list.status);
    j.num("orderListId", list.list_id);
    j.str("contingencyType", "OCO");
    j.str("listStatusType", status);
    j.str("listOrderStatus", orders);
    j.str("listClientOrderId", list.list_client_order_id.as_str());
    j.time("transactionTime", list.ts_transact);
    j.str("symbol", symbol);
    j.arr("orders", |j| {
        for (id, client_id) in &list.orders {
            j.item_obj(|j| {
                j.str("symbol", symbol);
                j.num("orderId", *id);
                j.str("clientOrderId", client_id.as_str());
            });
        }
    });
}

/// How much a placement's answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResponseType {
    /// Ids and time.
    Ack,
    /// The order too.
    Result,
    /// And its fills.
    Full,
}

/// The members of a placement's answer.
pub(crate) fn write_placed(
    j: &mut Json,
    symbol: &str,
    order: &OrderView,
    fills: &[ExecReport],
    labels: OrderLabels,
    response: ResponseType,
) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", order.client_order_id.as_str());
    j.time("transactTime", order.ts_updated);
    if response == ResponseType::Ack {
        return;
    }
    write_body(j, order);
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    } else {
        j.num("workingTime", -1);
    }
    write_tail(j, order, labels);
    if response == ResponseType::Full {
        j.arr("fills", |j| {
            for fill in fills {
                j.item_obj(|j| {
                    j.dec("price", fill.last_price);
                    j.dec("qty", fill.last_quantity);
                    j.dec("commission", fill.fee);
                    j.str("commissionAsset", fill.fee_asset.unwrap_or_default().as_str());
                    j.num("tradeId", fill.trade_id.unwrap_or_default());
                });
            }
        });
    }
}

/// The members of a cancel's answer. `cancel_id` is the id of the cancel itself.
pub(crate) fn write_canceled(j: &mut Json, symbol: &str, order: &OrderView, cancel_id: &str, labels: OrderLabels) {
    j.str("symbol", symbol);
    j.str("origClientOrderId", order.client_order_id.as_str());
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", cancel_id);
    j.time("transactTime", order.ts_updated);
    write_body(j, order);
    write_tail(j, order, labels);
}

/// The members of an order as queries show it.
pub(crate) fn write_queried(j: &mut Json, symbol: &str, order: &OrderView, labels: OrderLabels) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", order.client_order_id.as_str());
    j.dec("price", order.price);
    j.dec("origQty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("cummulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
    j.dec("stopPrice", order.stop_price);
    j.dec("icebergQty", Quantity::ZERO);
    j.time("time", order.ts_created);
    j.time("updateTime", order.ts_updated);
    j.bool("isWorking", order.is_working);
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    } else {
        j.num("workingTime", -1);
    }
    j.dec("origQuoteOrderQty", order.quote_quantity);
    write_conditionals(j, order, labels, false);
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

fn write_body(j: &mut Json, order: &OrderView) {
    j.dec("price", order.price);
    j.dec("origQty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("origQuoteOrderQty", order.quote_quantity);
    j.dec("cummulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
}

fn write_tail(j: &mut Json, order: &OrderView, labels: OrderLabels) {
    write_conditionals(j, order, labels, order.order_type.has_stop_price());
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

fn write_conditionals(j: &mut Json, order: &OrderView, labels: OrderLabels, with_stop: bool) {
    if with_stop {
        j.dec("stopPrice", order.stop_price);
    }
    if let Some(id) = labels.strategy_id {
        j.num("strategyId", id);
    }
    if let Some(kind) = labels.strategy_type {
        j.num("strategyType", kind);
    }
    if order.prevented_quantity.is_positive() {
        j.dec("preventedQuantity", order.prevented_quantity);
    }
    if let Some(reason) = words::expiry_word(order.expiry_reason) {
        j.str("expiryReason", reason);
    }
}

/// An order after an amendment.
pub(crate) fn write_amended(j: &mut Json, symbol: &str, order: &OrderView, original_id: &str) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("origClientOrderId", original_id);
    j.str("clientOrderId", order.client_order_id.as_str());
    j.dec("price", order.price);
    j.dec("qty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("preventedQty", order.prevented_quantity);
    j.dec("quoteOrderQty", order.quote_quantity);
    j.dec("cumulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    }
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

/// A trade of an account.
pub(crate) fn write_my_trade(j: &mut Json, symbol: &str, trade: &AccountTrade) {
    j.item_obj(|j| {
        j.str("symbol", symbol);
        j.num("id", trade.trade_id);
        j.num("orderId", trade.order_id);
        j.num("orderListId", list_id(trade.list_id));
        j.dec("price", trade.price);
        j.dec("qty", trade.quantity);
        j.dec("quoteQty", trade.quote);
        j.dec("commission", trade.fee);
        j.str("commissionAsset", trade.fee_asset.as_str());
        j.time("time", trade.ts);
        j.bool("isBuyer", trade.side == Side::Buy);
        j.bool("isMaker", trade.is_maker);
        j.bool("isBestMatch", true);
    });
}

/// Does the type answer with everything unless asked otherwise?
pub(crate) const fn default_response(order_type: OrderType) -> ResponseType {
    match order_type {
        OrderType::Market | OrderType::Limit => ResponseType::Full,
        _ => ResponseType::Ack,
    }
}

/// A rate with eight places.
pub(crate) fn rate_text(rate: impl Decimal) -> String {
    crate::json::decimal_text(rate)
}

/// Modes of self-trade prevention that symbols allow.
pub(crate) const STP_MODES: [StpMode; 5] =
    [StpMode::None, StpMode::ExpireMaker, StpMode::ExpireTaker, StpMode::ExpireBoth, StpMode::Decrement];
