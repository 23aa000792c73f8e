//! Tests of cancel-replace answers.

use super::*;
use crate::binance::spot::testing::instruments;
use keel_model::OrderStatus;

const CANCELED: &str = r#"{"symbol":"BTCUSDT","origClientOrderId":"k1-1-1","orderId":9,"orderListId":-1,"clientOrderId":"x","transactTime":1,
"price":"0.01","origQty":"0.1","executedQty":"0.0","cummulativeQuoteQty":"0.0","status":"CANCELED","timeInForce":"GTC","type":"LIMIT","side":"SELL"}"#;
const NEW: &str = r#"{"symbol":"BTCUSDT","orderId":10,"orderListId":-1,"clientOrderId":"k1-1-2","transactTime":2,"price":"0.02","origQty":"0.04",
"executedQty":"0.0","cummulativeQuoteQty":"0.0","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY","fills":[]}"#;

fn read(status: u16, body: &str) -> ReplaceOutcome {
    outcome(status, body.as_bytes(), &SymbolTable::new(&instruments(&["BTCUSDT"])), Timestamp::ZERO)
}

fn is_canceled(outcome: &CancelOutcome) -> bool {
    matches!(outcome, CancelOutcome::Canceled(order) if order.status == OrderStatus::Canceled)
}

fn is_accepted(outcome: &SubmitOutcome) -> bool {
    matches!(outcome, SubmitOutcome::Accepted(ack) if ack.venue_order_id.as_str() == "10")
}

#[test]
fn both_halves_succeed() {
    let got = read(
        200,
        &format!(
            r#"{{"cancelResult":"SUCCESS","newOrderResult":"SUCCESS","cancelResponse":{CANCELED},"newOrderResponse":{NEW}}}"#
        ),
    );
    assert!(is_canceled(&got.cancel) && is_accepted(&got.new), "{got:?}");
}

#[test]
fn v13_one_half_fails_alone() {
    let got = read(
        409,
        &format!(
            r#"{{"code":-2021,"msg":"Order cancel-replace partially failed.","data":{{"cancelResult":"SUCCESS","newOrderResult":"FAILURE",
        "cancelResponse":{CANCELED},"newOrderResponse":{{"code":-2010,"msg":"Order would immediately match and take."}}}}}}"#
        ),
    );
    assert!(is_canceled(&got.cancel), "{got:?}");
    assert!(matches!(got.new, SubmitOutcome::Rejected(Reject { reason: RejectReason::WouldTake, .. })), "{got:?}");
    let got = read(
        409,
        &format!(
            r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"FAILURE","newOrderResult":"SUCCESS",
        "cancelResponse":{{"code":-2011,"msg":"Unknown order sent."}},"newOrderResponse":{NEW}}}}}"#
        ),
    );
    assert!(
        matches!(got.cancel, CancelOutcome::Rejected(Reject { reason: RejectReason::UnknownOrder, .. })),
        "{got:?}"
    );
    assert!(is_accepted(&got.new), "{got:?}");
}

#[test]
fn v13_a_failed_cancel_stops_the_placement() {
    let got = read(
        400,
        r#"{"code":-2022,"msg":"Order cancel-replace failed.","data":{"cancelResult":"FAILURE",
        "newOrderResult":"NOT_ATTEMPTED","cancelResponse":{"code":-2011,"msg":"Unknown order sent."},"newOrderResponse":null}}"#,
    );
    assert!(matches!(got.cancel, CancelOutcome::Rejected(_)), "{got:?}");
    assert!(matches!(got.new, SubmitOutcome::Rejected(_)), "{got:?}");
}

#[test]
fn a_request_refused_as_a_whole_refuses_both_halves() {
    let got = read(400, r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#);
    assert!(matches!(got.cancel, CancelOutcome::Rejected(Reject { reason: RejectReason::Timestamp, .. })));
    assert!(matches!(got.new, SubmitOutcome::Rejected(Reject { reason: RejectReason::Timestamp, .. })));
}

#[test]
fn v04_what_proves_nothing_leaves_both_halves_unknown() {
    let unsure = |got: ReplaceOutcome| {
        assert!(matches!((&got.cancel, &got.new), (CancelOutcome::Unknown(_), SubmitOutcome::Unknown(_))), "{got:?}");
    };
    unsure(read(503, r#"{"code":-2022,"msg":"x","data":{"cancelResult":"FAILURE","newOrderResult":"NOT_ATTEMPTED"}}"#));
    unsure(read(200, "{}"));
    unsure(read(200, "not json"));
    unsure(read(403, "<html>"));
    unsure(read(400, r#"{"code":-9999,"msg":"new"}"#));
    unsure(read(409, r#"{"data":{"cancelResult":"MAYBE","newOrderResult":"PERHAPS"}}"#));
    let half = read(
        200,
        &format!(
            r#"{{"cancelResult":"SUCCESS","newOrderResult":"SUCCESS","cancelResponse":{CANCELED},"newOrderResponse":{{}}}}"#
        ),
    );
    assert!(is_canceled(&half.cancel) && half.new == SubmitOutcome::Unknown(UnknownReason::Unreadable), "{half:?}");
    let timeout = read(
        409,
        &format!(
            r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":{CANCELED},
        "newOrderResponse":{{"code":-1007,"msg":"Timeout"}}}}}}"#
        ),
    );
    assert_eq!(timeout.new, SubmitOutcome::Unknown(UnknownReason::VenueUnsure));
}
