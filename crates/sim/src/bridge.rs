//! Between the engine's words and those of the model: requests in, outcomes and reports out. What drives the live engine
//! over the simulated venue in process (backtest, simulated fills on real data) shares these, so that both say the same.

use crate::engine::FilledAtOnce;
use crate::event::{AccountTrade, BalanceUpdate, ExecReport};
use crate::reject::Reject;
use crate::types::{
    CancelReplace, CancelRequest, ClientId, ExpiryReason, OrderRef, OrderRequest, OrderSize, OrderView, ReplaceMode,
    ReplaceResult,
};
use keel_model::ids::CLIENT_ORDER_ID_LENGTH_MAX;
use keel_model::order::ReasonText;
use keel_model::{
    Balance, CancelOrder, CancelOutcome, ClientOrderId, ExecType, ExecutionReport, Fill, InlineStr, Liquidity,
    NewOrder, OrderSnapshot, OrderStatus, Price, QueryOutcome, RejectReason, ReplaceOrder, ReplaceOutcome, SubmitAck,
    SubmitOutcome, Timestamp, VenueOrderId,
};

/// Our client order id as the venue's.
#[must_use]
pub fn client_id(id: ClientOrderId) -> ClientId {
    let mut buffer = [0u8; CLIENT_ORDER_ID_LENGTH_MAX];
    let text = id.write_to(&mut buffer).and_then(|length| buffer.get(..length));
    text.and_then(|bytes| std::str::from_utf8(bytes).ok()).map_or(ClientId::EMPTY, ClientId::truncated)
}

/// The venue's client order id as ours; `None` when it is not one of ours.
#[must_use]
pub fn our_id(client: ClientId) -> Option<ClientOrderId> {
    client.as_str().parse().ok()
}

/// A placement.
#[must_use]
pub fn order_request(order: &NewOrder) -> OrderRequest {
    let intent = &order.intent;
    OrderRequest {
        client_order_id: client_id(order.client_order_id),
        instrument: intent.instrument,
        side: intent.side,
        order_type: intent.order_type,
        time_in_force: intent.time_in_force,
        size: OrderSize::Base(intent.quantity),
        price: intent.price,
        stop_price: intent.stop_price,
        stp_mode: None,
        reduce_only: intent.reduce_only,
    }
}

/// A cancel.
#[must_use]
pub fn cancel_request(cancel: &CancelOrder) -> CancelRequest {
    CancelRequest::new(cancel.instrument, OrderRef::Client(client_id(cancel.client_order_id)))
}

/// A cancel-replace; the new order is not tried when the cancel fails.
#[must_use]
pub fn replace_request(replace: &ReplaceOrder) -> CancelReplace {
    CancelReplace {
        cancel: cancel_request(&replace.cancel),
        new: order_request(&replace.new),
        mode: ReplaceMode::StopOnFailure,
    }
}

/// The venue's order id.
#[must_use]
pub fn venue_order_id(order_id: u64) -> VenueOrderId {
    InlineStr::of_number(order_id)
}

fn given(price: Price) -> Option<Price> {
    price.is_positive().then_some(price)
}

/// An order as the venue describes it.
#[must_use]
pub fn snapshot(order: &OrderView) -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: our_id(order.client_order_id),
        venue_order_id: venue_order_id(order.order_id),
        instrument: order.instrument,
        side: order.side,
        order_type: Some(order.order_type),
        time_in_force: Some(order.time_in_force),
        status: order.state.to_model(),
        quantity: order.quantity,
        price: given(order.price),
        stop_price: given(order.stop_price),
        cum_quantity: order.cum_quantity,
        cum_quote: Some(order.cum_quote),
        ts_event: order.ts_updated,
    }
}

/// A report of the account stream that arrives at `ts_recv`.
#[must_use]
pub fn report(report: &ExecReport, ts_recv: Timestamp) -> ExecutionReport {
    let order = &report.order;
    ExecutionReport {
        exec_type: report.exec_type,
        client_order_id: our_id(order.client_order_id),
        venue_order_id: venue_order_id(order.order_id),
        instrument: order.instrument,
        side: order.side,
        status: order.state.to_model(),
        quantity: order.quantity,
        price: given(order.price),
        cum_quantity: order.cum_quantity,
        fill: fill_of_report(report),
        ts_event: report.ts_transact,
        ts_recv,
        text: reason_text(order.expiry_reason),
    }
}

fn reason_text(reason: ExpiryReason) -> ReasonText {
    ReasonText::truncated(match reason {
        ExpiryReason::None => "",
        ExpiryReason::UnfilledIoc => "immediate-or-cancel: the rest found no liquidity",
        ExpiryReason::UnfilledFok => "fill-or-kill: not enough liquidity",
        ExpiryReason::InsufficientLiquidity => "no more liquidity",
        ExpiryReason::InsufficientBalance => "the balance does not suffice",
        ExpiryReason::OcoTrigger => "the other order of its list traded or was triggered",
        ExpiryReason::Rejected => "broke a rule when it was triggered",
        ExpiryReason::SelfTrade => "self-trade prevention",
        ExpiryReason::NothingToReduce => "reduce-only: nothing left to reduce",
    })
}

fn fill_of_report(report: &ExecReport) -> Option<Fill> {
    let is_fill = report.exec_type == ExecType::Trade;
    let (trade_id, fee_asset) = report.trade_id.zip(report.fee_asset).filter(|_| is_fill)?;
    Some(Fill {
        trade_id: InlineStr::of_number(trade_id),
        instrument: report.order.instrument,
        side: report.order.side,
        price: report.last_price,
        quantity: report.last_quantity,
        fee: report.fee.normalized(),
        fee_asset,
        liquidity: if report.is_maker { Liquidity::Maker } else { Liquidity::Taker },
        ts_event: report.ts_transact,
    })
}

/// The report of a market order that was filled the moment it arrived, as the account stream would have told it at `ts_recv`.
#[must_use]
pub fn filled_at_once(order: &NewOrder, filled: &FilledAtOnce, ts_recv: Timestamp) -> ExecutionReport {
    let (instrument, side, ts) = (order.intent.instrument, order.intent.side, filled.balances.ts);
    ExecutionReport {
        exec_type: ExecType::Trade,
        client_order_id: Some(order.client_order_id),
        venue_order_id: venue_order_id(filled.order_id),
        instrument,
        side,
        status: OrderStatus::Filled,
        quantity: filled.quantity,
        price: None,
        cum_quantity: filled.quantity,
        fill: Some(Fill {
            trade_id: InlineStr::of_number(filled.trade_id),
            instrument,
            side,
            price: filled.price,
            quantity: filled.quantity,
            fee: filled.fee.normalized(),
            fee_asset: filled.fee_asset,
            liquidity: Liquidity::Taker,
            ts_event: ts,
        }),
        ts_event: ts,
        ts_recv,
        text: ReasonText::EMPTY,
    }
}

/// A trade of the account as a fill.
#[must_use]
pub fn fill(trade: &AccountTrade) -> Fill {
    Fill {
        trade_id: InlineStr::of_number(trade.trade_id),
        instrument: trade.instrument,
        side: trade.side,
        price: trade.price,
        quantity: trade.quantity,
        fee: trade.fee.normalized(),
        fee_asset: trade.fee_asset,
        liquidity: if trade.is_maker { Liquidity::Maker } else { Liquidity::Taker },
        ts_event: trade.ts,
    }
}

/// Trades of the account as found by asking, with our id where the order is known to be ours.
#[must_use]
pub fn fills(trades: &[(ClientId, AccountTrade)]) -> Vec<(Option<ClientOrderId>, Fill)> {
    trades.iter().map(|(client, trade)| (our_id(*client), fill(trade))).collect()
}

/// The answer to a placement that arrives at `ts_recv`.
#[must_use]
pub fn submit_outcome(result: &Result<(OrderView, Vec<ExecReport>), Reject>, ts_recv: Timestamp) -> SubmitOutcome {
    match result {
        Ok((order, fills)) => SubmitOutcome::Accepted(SubmitAck {
            venue_order_id: venue_order_id(order.order_id),
            ts_event: order.ts_created,
            status: order.state.to_model(),
            reports: fills.iter().map(|fill| report(fill, ts_recv)).collect(),
        }),
        Err(reject) => SubmitOutcome::Rejected(reject.to_model()),
    }
}

/// The answer to a cancel.
#[must_use]
pub fn cancel_outcome(result: &Result<OrderView, Reject>) -> CancelOutcome {
    match result {
        Ok(order) => CancelOutcome::Canceled(snapshot(order)),
        Err(reject) => CancelOutcome::Rejected(reject.to_model()),
    }
}

/// The answer to a cancel-replace that arrives at `ts_recv`; `fills` are those of the new order.
#[must_use]
pub fn replace_outcome(
    result: &Result<ReplaceResult, Reject>,
    fills: &[ExecReport],
    ts_recv: Timestamp,
) -> ReplaceOutcome {
    match result {
        Ok(halves) => ReplaceOutcome {
            cancel: cancel_outcome(&halves.cancel),
            new: match &halves.new {
                Some(new) => submit_outcome(&new.map(|order| (order, fills.to_vec())), ts_recv),
                None => SubmitOutcome::Rejected(keel_model::Reject {
                    reason: RejectReason::Other,
                    code: -2022,
                    text: ReasonText::truncated("not attempted: the cancel half failed"),
                }),
            },
        },
        Err(reject) => ReplaceOutcome {
            cancel: CancelOutcome::Rejected(reject.to_model()),
            new: SubmitOutcome::Rejected(reject.to_model()),
        },
    }
}

/// The answer to a question about an order; `asked` is a venue time before the question was sent.
#[must_use]
pub fn query_outcome(result: &Result<OrderView, Reject>, asked: Timestamp) -> QueryOutcome {
    match result {
        Ok(order) => QueryOutcome::Found(snapshot(order)),
        Err(_) => QueryOutcome::NotFound { venue_time_before: Some(asked) },
    }
}

/// Balances that changed.
#[must_use]
pub fn balances(update: &BalanceUpdate) -> Vec<Balance> {
    changed_balances(update).to_vec()
}

/// Balances that changed: of the base and of the quote asset.
#[must_use]
pub fn changed_balances(update: &BalanceUpdate) -> [Balance; 2] {
    [update.base, update.quote].map(|balance| Balance {
        free: balance.free.normalized(),
        locked: balance.locked.normalized(),
        ..balance
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_there_and_back() {
        let id = ClientOrderId { instance: 7, epoch: 12, sequence: u64::MAX };
        assert_eq!(our_id(client_id(id)), Some(id));
        assert_eq!(our_id(ClientId::truncated("web_12345")), None);
        for value in [0, 1, 9, 10, 1 << 42, u64::MAX] {
            assert_eq!(venue_order_id(value).as_str(), value.to_string());
        }
    }
}
