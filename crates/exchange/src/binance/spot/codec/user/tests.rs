//! Tests of account frames: the documented and the oracle's examples, unknown words, rubbish.

use super::*;
use crate::binance::spot::testing::{instruments, shared};
use keel_model::{ClientOrderId, OrderStatus, Side};
use proptest::prelude::*;

const TRADE: &str = r#"{"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,"s":"ETHUSDT","c":"k1-2-z","S":"BUY","o":"LIMIT",
"f":"GTC","q":"1.00000000","p":"2500.10","P":"0.00000000","F":"0.00000000","g":-1,"C":"","x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE","i":4293153,
"l":"0.40000000","z":"0.40000000","L":"2500.00","n":"0.00040000","N":"ETH","T":1499405658657,"t":77,"v":3,"I":8641984,"w":false,"m":true,"M":true,
"O":1499405658657,"Z":"1000.0","Y":"1000.0","Q":"0.0","W":1499405658657,"V":"NONE"}}"#;

fn table() -> SymbolTable {
    SymbolTable::new(&instruments(&["BTCUSDT", "ETHUSDT"]))
}

fn read(frame: &str) -> UserFrame {
    decode(frame.as_bytes(), &table(), Timestamp::from_ns(5)).unwrap_or_else(|error| panic!("{error}: {frame}"))
}

fn report(frame: &str) -> ExecutionReport {
    match read(frame) {
        UserFrame::Report(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trade_becomes_a_report_with_its_fill() {
    let got = report(TRADE);
    assert_eq!(got.client_order_id, Some(ClientOrderId { instance: 1, epoch: 2, sequence: 35 }));
    assert_eq!((got.exec_type, got.status, got.side), (ExecType::Trade, OrderStatus::PartiallyFilled, Side::Buy));
    assert_eq!((got.venue_order_id.as_str(), got.cum_quantity.to_string()), ("4293153", "0.40000000".into()));
    let fill = got.fill.unwrap();
    assert_eq!(
        (fill.trade_id.as_str(), fill.price.to_string(), fill.quantity.to_string()),
        ("77", "2500.00".into(), "0.40000000".into())
    );
    assert_eq!(
        (fill.fee.to_string(), fill.fee_asset.as_str(), fill.liquidity),
        ("0.00040000".into(), "ETH", Liquidity::Maker)
    );
    assert_eq!((got.ts_event, got.ts_recv), (Timestamp::from_ms(1_499_405_658_657), Timestamp::from_ns(5)));
    assert!(got.text.is_empty());
}

#[test]
fn a_cancel_names_the_order_and_not_the_cancel() {
    let frame = TRADE
        .replace(r#""c":"k1-2-z""#, r#""c":"web_cancel""#)
        .replace(r#""C":"""#, r#""C":"k1-2-z""#)
        .replace(r#""x":"TRADE","X":"PARTIALLY_FILLED""#, r#""x":"CANCELED","X":"CANCELED""#);
    let got = report(&frame);
    assert_eq!(got.client_order_id.map(|id| id.sequence), Some(35));
    assert_eq!((got.exec_type, got.fill), (ExecType::Canceled, None));
}

#[test]
fn v12_orders_that_are_not_ours_have_no_id_of_ours() {
    assert_eq!(report(&TRADE.replace("k1-2-z", "web_123")).client_order_id, None);
}

#[test]
fn v14_v19_reasons_and_new_words_are_carried_or_looked_up() {
    let expired = TRADE.replace(
        r#""x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE""#,
        r#""x":"EXPIRED","X":"EXPIRED_IN_MATCH","r":"NONE","eR":"INSUFFICIENT_LIQUIDITY""#,
    );
    let got = report(&expired);
    assert_eq!((got.status, got.text.as_str()), (OrderStatus::Expired, "INSUFFICIENT_LIQUIDITY"));
    assert!(matches!(read(&TRADE.replace("PARTIALLY_FILLED", "FROZEN")), UserFrame::Reconcile(_)));
    assert_eq!(report(&TRADE.replace(r#""x":"TRADE""#, r#""x":"AMENDED""#)).exec_type, ExecType::Status);
    assert!(matches!(read(&TRADE.replace("ETHUSDT", "XRPUSDT")), UserFrame::Reconcile(_)));
}

#[test]
fn v21_balances_and_what_changes_them_from_outside() {
    let position = r#"{"subscriptionId":1,"event":{"e":"outboundAccountPosition","E":1564034571105,"u":1564034571073,
        "B":[{"a":"ETH","f":"10000.000000","l":"0.5"},{"a":"USDT","f":"0.00000000","l":"0.00000000"}]}}"#;
    let UserFrame::Balances(balances, ts) = read(position) else { panic!() };
    assert_eq!(ts, Timestamp::from_ms(1_564_034_571_073));
    assert_eq!((balances.len(), balances[0].asset.as_str(), balances[0].locked.to_string()), (2, "ETH", "0.5".into()));
    assert!(balances[1].free.is_zero(), "an asset that went to zero must be told");
    let frame = |event: &str| {
        format!(
            r#"{{"subscriptionId":0,"event":{{"e":"{event}","E":1573200697110,"a":"BTC","d":"-100.5","T":1573200697068}}}}"#
        )
    };
    let UserFrame::Transfer(asset, change, ts) = read(&frame("balanceUpdate")) else { panic!() };
    assert_eq!((asset.as_str(), change.to_string(), ts.as_ms()), ("BTC", "-100.5".to_owned(), 1_573_200_697_068));
    assert!(matches!(read(&frame("externalLockUpdate")), UserFrame::Reconcile(_)));
}

#[test]
fn n10_endings_replies_and_the_rest() {
    assert_eq!(read(r#"{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}"#), UserFrame::Terminated);
    assert_eq!(read(r#"{"event":{"e":"serverShutdown","E":1}}"#), UserFrame::ServerShutdown);
    assert_eq!(
        read(r#"{"subscriptionId":0,"event":{"e":"listStatus","s":"ETHBTC","g":2,"O":[{"s":"ETHBTC"}]}}"#),
        UserFrame::Ignored
    );
    assert_eq!(read(r#"{"subscriptionId":0,"event":{"e":"somethingNew","B":[1,2]}}"#), UserFrame::Ignored);
    let ok = r#"{"id":7,"status":200,"result":{"subscriptionId":0},"rateLimits":[{"count":2}]}"#;
    assert_eq!(read(ok), UserFrame::Reply { id: 7, status: 200, error: None });
    let refused =
        r#"{"id":"8","status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}"#;
    let UserFrame::Reply { id: 8, status: 401, error: Some(error) } = read(refused) else { panic!() };
    assert_eq!(error.code, Some(-2015));
    for frame in ["", "7", "{", "\u{1}"] {
        assert!(decode(frame.as_bytes(), &table(), Timestamp::ZERO).is_err(), "{frame:?}");
    }
}

/// Spot reports among the collected examples are all read, with the status the oracle gives them.
#[test]
fn collected_examples_are_read() {
    let Some(file) = shared("fixtures/fetched/ws.jsonl") else { return };
    let mut checked = 0;
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = &row["message"];
        let event = if message["event"].is_object() { &message["event"] } else { message };
        if row["exchange"] != "binance" || event["e"] != "executionReport" {
            continue;
        }
        let table = SymbolTable::new(&instruments(&[event["s"].as_str().unwrap()]));
        let UserFrame::Report(own) = decode(message.to_string().as_bytes(), &table, Timestamp::ZERO).unwrap() else {
            panic!("{row}")
        };
        assert_eq!(Some(own.venue_order_id.as_str().parse().unwrap()), event["i"].as_u64());
        assert_eq!(own.fill.is_some(), event["x"] == "TRADE");
        assert_eq!(own.quantity.to_string(), event["q"].as_str().unwrap());
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

proptest! {
    #[test]
    fn n15_mutated_and_arbitrary_account_frames_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut frame = TRADE.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        for frame in [&bytes, &frame] {
            let _ignored = decode(frame, &table(), Timestamp::ZERO).is_ok();
        }
    }
}
