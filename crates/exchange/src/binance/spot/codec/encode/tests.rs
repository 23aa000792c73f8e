//! Tests of the encoder: against the independent oracle's signed requests, and its refusals.

use super::*;
use crate::binance::spot::sign::Credentials;
use crate::binance::spot::testing::fixture_lines;
use keel_model::{InstrumentId, OrderIntent, OrderPurpose, Side, StrategyId, TimeInForce, Timestamp};
use std::collections::BTreeMap;

fn order(intent: OrderIntent) -> NewOrder {
    let client_order_id = ClientOrderId { instance: 7, epoch: 3, sequence: 41 };
    NewOrder { client_order_id, strategy: StrategyId(0), ts_decided: Timestamp::ZERO, intent }
}

fn limit(price: &str, quantity: &str) -> OrderIntent {
    let (price, quantity) = (price.parse().unwrap(), quantity.parse().unwrap());
    OrderIntent::limit(InstrumentId(0), Side::Buy, quantity, price, OrderPurpose::Entry)
}

fn text(symbol: &str, order: &NewOrder) -> Result<String, EncodeError> {
    let mut out = b"left over".to_vec();
    encode_submit_into(&mut out, symbol, order)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn orders_of_each_type_carry_exactly_what_the_venue_takes() {
    let base = limit("61837.63", "0.00100000");
    let check = |intent: OrderIntent, expected: &str| {
        let rest = "newClientOrderId=k7-3-15&newOrderRespType=FULL";
        assert_eq!(text("BTCUSDT", &order(intent)).unwrap(), format!("symbol=BTCUSDT&side=BUY&{expected}&{rest}"));
    };
    let stop = Some("62000".parse().unwrap());
    let market = OrderIntent { price: None, ..base };
    check(base, "type=LIMIT&timeInForce=GTC&quantity=0.00100000&price=61837.63");
    check(
        OrderIntent { time_in_force: TimeInForce::Ioc, ..base },
        "type=LIMIT&timeInForce=IOC&quantity=0.00100000&price=61837.63",
    );
    check(
        OrderIntent { order_type: OrderType::LimitMaker, ..base },
        "type=LIMIT_MAKER&quantity=0.00100000&price=61837.63",
    );
    check(OrderIntent { order_type: OrderType::Market, ..market }, "type=MARKET&quantity=0.00100000");
    check(
        OrderIntent { order_type: OrderType::StopLossLimit, stop_price: stop, ..base },
        "type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.00100000&price=61837.63&stopPrice=62000",
    );
    check(
        OrderIntent { order_type: OrderType::TakeProfit, stop_price: stop, ..market },
        "type=TAKE_PROFIT&quantity=0.00100000&stopPrice=62000",
    );
}

#[test]
fn what_cannot_be_said_is_refused() {
    let base = limit("1", "1");
    let refused = |intent: OrderIntent, error: EncodeError| {
        assert_eq!(text("BTCUSDT", &order(intent)), Err(error));
    };
    refused(OrderIntent { price: None, ..base }, EncodeError::PriceShape);
    refused(OrderIntent { order_type: OrderType::Market, ..base }, EncodeError::PriceShape);
    refused(OrderIntent { order_type: OrderType::StopLoss, price: None, ..base }, EncodeError::PriceShape);
    refused(limit("0", "1"), EncodeError::NotPositive);
    refused(limit("1", "0"), EncodeError::NotPositive);
    refused(limit("-1", "1"), EncodeError::NotPositive);
}

#[test]
fn symbols_outside_ascii_are_percent_encoded_before_signing() {
    let text = text("１２３", &order(limit("1", "1"))).unwrap();
    assert!(text.starts_with("symbol=%EF%BC%91%EF%BC%92%EF%BC%93&side=BUY&"), "{text}");
}

#[test]
fn a_buffer_that_has_grown_is_used_again_without_allocating() {
    let signer = Signer::new(&Credentials::hmac("key", "secret")).unwrap();
    let mut out = Vec::with_capacity(512);
    let before = (out.as_ptr(), out.capacity());
    for n in 0..1_000 {
        encode_signed_submit_into(&mut out, &signer, "BTCUSDT", &order(limit("61837.63", "0.5")), 5_000, n).unwrap();
    }
    assert_eq!((out.as_ptr(), out.capacity()), before);
}

fn fields(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            (name.to_owned(), value.into_owned())
        })
        .collect()
}

fn same_number(a: &str, b: &str) -> bool {
    a.parse::<keel_model::Notional>().is_ok() && a.parse::<keel_model::Notional>() == b.parse::<keel_model::Notional>()
}

/// Orders of the independent oracle that our model can say: same fields, same values, but its habits.
#[test]
fn orders_equal_the_independent_oracles() {
    let Some(lines) = fixture_lines("requests.jsonl") else { return };
    let mut checked = 0;
    for row in lines.iter().filter(|row| row["exchange"] == "binance" && row["method"] == "createOrder") {
        if row["http"]["path"] != "/api/v3/order" || row["http"]["method"] != "POST" {
            continue;
        }
        let Some(theirs) = row["http"]["body"].as_object() else { continue };
        let get = |name: &str| theirs.get(name).and_then(|value| value.as_str());
        let known = [
            "timestamp",
            "symbol",
            "side",
            "newClientOrderId",
            "newOrderRespType",
            "type",
            "quantity",
            "price",
            "stopPrice",
            "timeInForce",
            "recvWindow",
            "signature",
        ];
        let (Some(order_type), Some(quantity)) = (get("type").and_then(words::order_type), get("quantity")) else {
            continue;
        };
        if theirs.keys().any(|name| !known.contains(&name.as_str())) {
            continue;
        }
        let intent = OrderIntent {
            instrument: InstrumentId(0),
            side: words::side(get("side").unwrap()).unwrap(),
            order_type,
            time_in_force: get("timeInForce").and_then(words::time_in_force).unwrap_or(TimeInForce::Gtc),
            quantity: quantity.parse().unwrap(),
            price: get("price").map(|text| text.parse().unwrap()),
            stop_price: get("stopPrice").map(|text| text.parse().unwrap()),
            reduce_only: false,
            purpose: OrderPurpose::Entry,
        };
        let ours = fields(&text(get("symbol").unwrap(), &order(intent)).unwrap_or_else(|e| panic!("{e}: {row}")));
        for (name, value) in theirs {
            let value = value.as_str().unwrap();
            match name.as_str() {
                "timestamp" | "recvWindow" | "signature" | "newClientOrderId" => {}
                _ => {
                    let own = ours.get(name).unwrap_or_else(|| panic!("{name} is missing: {row}"));
                    assert!(own == value || same_number(own, value), "{name}: {own} and {value}");
                }
            }
        }
        assert_eq!(ours.len(), theirs.len() - 3, "{ours:?} {theirs:?}");
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

/// The oracle's own bytes, signed by us, give its signature.
#[test]
fn signatures_equal_the_independent_oracles() {
    let Some(lines) = fixture_lines("requests.jsonl") else { return };
    let signer = Signer::new(&Credentials::hmac("key", "secretsecret")).unwrap();
    let mut checked = 0;
    for row in lines.iter().filter(|row| row["exchange"] == "binance" && row["private"] == true) {
        let (url, body) = (row["wire"]["url"].as_str().unwrap(), row["wire"]["body"].as_str());
        let signed = body.unwrap_or_else(|| url.split_once('?').map_or("", |(_, query)| query));
        let Some((payload, signature)) = signed.split_once("&signature=") else { continue };
        if body.is_some() && url.contains('?') || signature.contains('&') {
            continue;
        }
        assert_eq!(signer.signature(payload.as_bytes()), signature, "{payload}");
        let mut out = payload.as_bytes().to_vec();
        signer.append_signature(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), signed);
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}

#[test]
fn control_messages_are_what_the_streams_take() {
    let names = vec!["btcusdt@trade".to_owned(), "btcusdt@depth@100ms".to_owned()];
    assert_eq!(
        subscribe_message(9, true, &names),
        r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":9}"#
    );
    assert!(subscribe_message(9, false, &names).starts_with(r#"{"method":"UNSUBSCRIBE""#));
    let signer = Signer::new(&Credentials::hmac("key", "secretsecret")).unwrap();
    let message: serde_json::Value = serde_json::from_str(&user_subscribe_message(2, &signer, 5_000, 1_000)).unwrap();
    assert_eq!(
        (message["method"].as_str(), message["id"].as_u64()),
        (Some("userDataStream.subscribe.signature"), Some(2))
    );
    let expected = signer.signature(b"apiKey=key&recvWindow=5000&timestamp=1000");
    assert_eq!(message["params"]["signature"].as_str(), Some(expected.as_str()));
}
