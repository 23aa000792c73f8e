//! What an account stream says: executions, balances, order lists.

use super::{OrderLabels, list_id};
use crate::json::{Json, TimeUnit};
use crate::words;
use keel_model::{Balance, ExecType, Notional, Quantity, Rounding, Timestamp};
use keel_sim::{BalanceUpdate, ExecReport, ListReport};

/// A fee without more zeros than it needs: `"0"` for nothing, as the real venue writes it.
fn fee_text(fee: Notional) -> String {
    if fee.is_zero() {
        return "0".to_owned();
    }
    crate::json::decimal_text(fee)
}

/// `executionReport`. `r` tells orders that were refused after they were triggered.
pub(crate) fn execution_report(unit: TimeUnit, symbol: &str, report: &ExecReport, labels: OrderLabels) -> String {
    let order = &report.order;
    // A cancel has an id of its own; the order's id is then the original one.
    let is_cancel = matches!(report.exec_type, ExecType::Canceled | ExecType::Replaced);
    let (id, original) = if is_cancel && !report.request_client_id.is_empty() {
        (report.request_client_id.as_str(), order.client_order_id.as_str())
    } else {
        (order.client_order_id.as_str(), "")
    };
    Json::object(unit, |j| {
        j.str("e", "executionReport");
        j.time("E", report.ts_transact);
        j.str("s", symbol);
        j.str("c", id);
        j.str("S", words::side_word(order.side));
        j.str("o", words::order_type_word(order.order_type));
        j.str("f", words::time_in_force_word(order.time_in_force));
        j.dec("q", order.quantity);
        j.dec("p", order.price);
        j.dec("P", order.stop_price);
        j.dec("F", Quantity::ZERO);
        j.num("g", list_id(order.list_id));
        j.str("C", original);
        j.str("x", words::exec_type_word(report.exec_type));
        j.str("X", words::state_word(order.state));
        j.str("r", "NONE");
        j.num("i", order.order_id);
        j.dec("l", report.last_quantity);
        j.dec("z", order.cum_quantity);
        j.dec("L", report.last_price);
        j.str("n", &fee_text(report.fee));
        match report.fee_asset {
            Some(asset) => j.str("N", asset.as_str()),
            None => j.null("N"),
        }
        j.time("T", report.ts_transact);
        j.num("t", list_id(report.trade_id));
        write_report_conditionals(j, symbol, report, labels);
        j.num("I", report.execution_id);
        j.bool("w", report.is_on_book);
        j.bool("m", report.is_maker);
        j.bool("M", report.trade_id.is_some());
        j.time("O", order.ts_created);
        j.dec("Z", order.cum_quote);
        j.dec("Y", report.last_quote);
        j.dec("Q", order.quote_quantity);
        if order.ts_working > Timestamp::ZERO {
            j.time("W", order.ts_working);
        }
        j.str("V", words::stp_word(order.stp_mode));
        if let Some(reason) = words::expiry_word(order.expiry_reason) {
            j.str("eR", reason);
        }
    })
}

fn write_report_conditionals(j: &mut Json, symbol: &str, report: &ExecReport, labels: OrderLabels) {
    if let Some(id) = labels.strategy_id {
        j.num("j", id);
    }
    if let Some(kind) = labels.strategy_type {
        j.num("J", kind);
    }
    if let Some(id) = report.prevented_match_id {
        j.num("v", id);
        j.dec("A", report.order.prevented_quantity);
        j.dec("B", report.last_prevented_quantity);
        j.num("u", id);
        if let Some(counter) = report.counter_order_id {
            j.num("U", counter);
        }
        j.str("Cs", symbol);
        j.dec("pl", report.last_prevented_quantity);
        j.dec("pL", report.prevented_price);
        let value = Notional::of(report.prevented_price, report.last_prevented_quantity);
        j.dec("pY", value.round(8, Rounding::HalfUp).unwrap_or(value));
    }
}

fn write_balance(j: &mut Json, balance: &Balance) {
    j.item_obj(|j| {
        j.str("a", balance.asset.as_str());
        j.dec("f", balance.free);
        j.dec("l", balance.locked);
    });
}

/// `outboundAccountPosition` after a request.
pub(crate) fn account_position(unit: TimeUnit, update: &BalanceUpdate) -> String {
    account_position_of(unit, update.ts, &[update.base, update.quote])
}

/// `outboundAccountPosition`.
pub(crate) fn account_position_of(unit: TimeUnit, ts: Timestamp, balances: &[Balance]) -> String {
    Json::object(unit, |j| {
        j.str("e", "outboundAccountPosition");
        j.time("E", ts);
        j.time("u", ts);
        j.arr("B", |j| balances.iter().for_each(|balance| write_balance(j, balance)));
    })
}

/// `balanceUpdate`.
pub(crate) fn balance_update(unit: TimeUnit, ts: Timestamp, asset: &str, delta: Notional) -> String {
    Json::object(unit, |j| {
        j.str("e", "balanceUpdate");
        j.time("E", ts);
        j.str("a", asset);
        j.dec("d", delta);
        j.time("T", ts);
    })
}

/// `listStatus`.
pub(crate) fn list_status(unit: TimeUnit, symbol: &str, report: &ListReport) -> String {
    let list = &report.list;
    let (status, orders) = words::list_words(list.status);
    Json::object(unit, |j| {
        j.str("e", "listStatus");
        j.time("E", list.ts_transact);
        j.str("s", symbol);
        j.num("g", list.list_id);
        j.str("c", "OCO");
        j.str("l", status);
        j.str("L", orders);
        j.str("r", "NONE");
        j.str("C", list.list_client_order_id.as_str());
        j.time("T", list.ts_transact);
        j.arr("O", |j| {
            for (id, client_id) in &list.orders {
                j.item_obj(|j| {
                    j.str("s", symbol);
                    j.num("i", *id);
                    j.str("c", client_id.as_str());
                });
            }
        });
    })
}

/// Is this the first fill of its order?
pub(crate) fn is_first_fill(report: &ExecReport) -> bool {
    report.exec_type == ExecType::Trade && report.order.cum_quantity == report.last_quantity
}
