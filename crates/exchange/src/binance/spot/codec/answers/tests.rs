//! Tests of the answers: documented examples, the independent oracle's payloads, and rubbish.

use super::*;
use crate::binance::spot::testing::{fixture_lines, instruments, shared};
use keel_model::{InstrumentStatus, OrderType, Side};
use proptest::prelude::*;

fn symbols() -> SymbolTable {
    SymbolTable::new(&instruments(&["BTCUSDT", "ETHUSDT", "LTCBTC", "BNBBTC", "ADAUSDT"]))
}

const FULL: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"k1-2-3","transactTime":1507725176595,
"price":"0.00000000","origQty":"10.00000000","executedQty":"10.00000000","origQuoteOrderQty":"0.0","cummulativeQuoteQty":"40000.0",
"status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"SELL","workingTime":1507725176595,"selfTradePreventionMode":"NONE",
"fills":[{"price":"4000.00000000","qty":"1.00000000","commission":"4.00000000","commissionAsset":"USDT","tradeId":56},
{"price":"3999.00000000","qty":"9.00000000","commission":"19.99500000","commissionAsset":"USDT","tradeId":57}]}"#;

#[test]
fn a_placement_is_answered_with_its_fills() {
    let ack = submit_ack(FULL.as_bytes(), &symbols(), Timestamp::from_ns(9)).unwrap();
    assert_eq!((ack.venue_order_id.as_str(), ack.status), ("28", OrderStatus::Filled));
    assert_eq!(ack.ts_event, Timestamp::from_ms(1_507_725_176_595));
    let [first, last] = ack.reports.as_slice() else { panic!() };
    assert_eq!((first.status, last.status), (OrderStatus::PartiallyFilled, OrderStatus::Filled));
    assert_eq!(
        (first.cum_quantity.to_string(), last.cum_quantity.to_string()),
        ("1.00000000".into(), "10.00000000".into())
    );
    let fill = last.fill.unwrap();
    assert_eq!((fill.trade_id.as_str(), fill.side, fill.liquidity), ("57", Side::Sell, Liquidity::Taker));
    assert_eq!((fill.fee.to_string(), fill.fee_asset.as_str()), ("19.99500000".into(), "USDT"));
    assert_eq!(last.client_order_id, Some(ClientOrderId { instance: 1, epoch: 2, sequence: 3 }));
    assert_eq!((last.price, last.ts_recv), (None, Timestamp::from_ns(9)));
}

#[test]
fn a_bare_acknowledgement_is_accepted_and_says_no_more() {
    let body =
        br#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"x","transactTime":1507725176595}"#;
    let ack = submit_ack(body, &symbols(), Timestamp::ZERO).unwrap();
    assert_eq!((ack.status, ack.reports.len()), (OrderStatus::New, 0));
}

#[test]
fn v19_an_order_with_a_status_we_do_not_know_is_an_error_and_one_of_an_unknown_type_is_not() {
    let body = FULL.replace("FILLED", "ARCHIVED_2027");
    assert!(submit_ack(body.as_bytes(), &symbols(), Timestamp::ZERO).unwrap_err().contains("ARCHIVED_2027"));
    let body = FULL.replace("\"MARKET\"", "\"PEGGED\"").replace("\"GTC\"", "\"GTX\"");
    let snapshot = order(body.as_bytes(), &symbols()).unwrap();
    assert_eq!((snapshot.order_type, snapshot.time_in_force), (None, None));
}

#[test]
fn the_answer_of_a_cancel_is_about_the_order_not_about_the_cancel() {
    let body = r#"{"symbol":"LTCBTC","origClientOrderId":"k1-1-1","orderId":4,"orderListId":-1,"clientOrderId":"cancelMyOrder1",
    "transactTime":1684804350068,"price":"2.00000000","origQty":"1.00000000","executedQty":"0.40000000","cummulativeQuoteQty":"0.8",
    "status":"CANCELED","timeInForce":"GTC","type":"LIMIT","side":"BUY","selfTradePreventionMode":"NONE"}"#;
    let snapshot = order(body.as_bytes(), &symbols()).unwrap();
    assert_eq!(snapshot.client_order_id, Some(ClientOrderId { instance: 1, epoch: 1, sequence: 1 }));
    assert_eq!((snapshot.status, snapshot.cum_quantity.to_string()), (OrderStatus::Canceled, "0.40000000".into()));
    assert_eq!(
        (snapshot.price.unwrap().to_string(), snapshot.order_type),
        ("2.00000000".into(), Some(OrderType::Limit))
    );
}

#[test]
fn v18_v19_exchange_info_gives_every_rule_and_unknown_words_are_not_tradable() {
    let body = br#"{"timezone":"UTC","serverTime":1,"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}],
    "symbols":[{"symbol":"BTCUSDT","status":"PRE_AUCTION_9","baseAsset":"BTC","quoteAsset":"USDT","isSpotTradingAllowed":true,"newField":{"a":[1]},
    "filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"},
    {"filterType":"LOT_SIZE","minQty":"0.00001000","maxQty":"9000.00000000","stepSize":"0.00001000"},
    {"filterType":"MARKET_LOT_SIZE","minQty":"0.00000000","maxQty":"76.79","stepSize":"0.00000000"},
    {"filterType":"NOTIONAL","minNotional":"5.00000000","applyMinToMarket":true,"maxNotional":"9000000.00000000","applyMaxToMarket":false,"avgPriceMins":5},
    {"filterType":"PERCENT_PRICE_BY_SIDE","bidMultiplierUp":"5","bidMultiplierDown":"0.2","askMultiplierUp":"4","askMultiplierDown":"0.3","avgPriceMins":5},
    {"filterType":"MAX_NUM_ORDERS","maxNumOrders":200},{"filterType":"MAX_NUM_ALGO_ORDERS","maxNumAlgoOrders":5},
    {"filterType":"BRAND_NEW","x":1}]},
    {"symbol":"LONGNAMEDASSETXYZ","status":"TRADING","baseAsset":"THISASSETNAMEISTOOLONG","quoteAsset":"USDT","filters":[]},
    {"symbol":"MARGINONLY","status":"TRADING","baseAsset":"A","quoteAsset":"B","isSpotTradingAllowed":false,"filters":[]}]}"#;
    let info = exchange_info(body).unwrap();
    assert_eq!((info.instruments.len(), info.skipped.len(), info.rate_limits.len()), (1, 1, 1));
    let one = &info.instruments[0];
    assert_eq!(one.status, InstrumentStatus::Unknown);
    assert!(!one.status.is_tradable());
    assert_eq!(
        (one.tick_size.to_string(), one.lot.step.to_string(), one.lot.max.to_string()),
        ("0.01".into(), "0.00001".into(), "9000".into())
    );
    assert_eq!((one.min_notional.to_string(), one.max_notional.unwrap().to_string()), ("5".into(), "9000000".into()));
    assert!(one.min_notional_applies_to_market && one.market_lot.step.is_zero());
    assert_eq!((one.max_open_orders, one.max_open_algo_orders), (200, 5));
    let percent = one.percent_price.unwrap();
    assert_eq!((percent.bid_up.to_string(), percent.ask_down.to_string()), ("5".into(), "0.3".into()));
}

#[test]
fn v19_every_documented_filter_example_is_read_or_ignored() {
    let Some(table) = crate::binance::spot::testing::venue_table("filters.json") else { return };
    let mut count = 0;
    for row in table.as_array().unwrap().iter().filter(|row| row["scope"] == "Symbol filters") {
        let body = format!(
            r#"{{"symbols":[{{"symbol":"A","status":"TRADING","baseAsset":"A","quoteAsset":"B","filters":[{}]}}]}}"#,
            row["example"].as_str().unwrap()
        );
        let info = exchange_info(body.as_bytes()).unwrap();
        assert_eq!((info.instruments.len(), info.skipped.len()), (1, 0), "{row}");
        count += 1;
    }
    assert!(count >= 12);
}

/// Payloads of the independent oracle: prices, quantities, ids and statuses must come out the same.
#[test]
fn answers_equal_the_independent_oracles() {
    let (Some(mut rows), Some(fetched)) =
        (fixture_lines("responses.jsonl"), shared("fixtures/fetched/responses.jsonl"))
    else {
        return;
    };
    let text = std::fs::read_to_string(fetched).unwrap();
    rows.extend(text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
    let mut checked = 0;
    for row in rows.iter().filter(|row| row["exchange"] == "binance") {
        let request = row["request"].as_str().unwrap_or_default();
        if !request.contains(" /api/v3/") {
            continue;
        }
        let body = row["response"].to_string();
        let names: Vec<String> = row["response"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&row["response"]])
            .filter_map(|item| item["symbol"].as_str().map(str::to_owned))
            .collect();
        let table = SymbolTable::new(&instruments(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        match row["method"].as_str().unwrap() {
            "fetchOrders" | "fetchOpenOrders" => {
                for (own, expected) in
                    orders(body.as_bytes(), &table).unwrap().iter().zip(row["expect"].as_array().unwrap())
                {
                    check_order(own, expected);
                    checked += 1;
                }
            }
            "fetchOrder" => {
                check_order(&order(body.as_bytes(), &table).unwrap(), &row["expect"]);
                checked += 1;
            }
            "fetchMyTrades" => {
                for ((id, _, own), expected) in
                    my_trades(body.as_bytes(), &table).unwrap().iter().zip(row["expect"].as_array().unwrap())
                {
                    assert_eq!(Some(own.trade_id.as_str()), expected["id"].as_str());
                    assert_eq!(Some(id.to_string().as_str()), expected["order"].as_str());
                    same(own.price.into_notional(), &expected["price"]);
                    same(own.quantity.into(), &expected["amount"]);
                    same(own.fee, &expected["fee"]["cost"]);
                    assert_eq!(Some(own.fee_asset.as_str()), expected["fee"]["currency"].as_str());
                    checked += 1;
                }
            }
            "fetchBalance" => {
                for balance in account(body.as_bytes()).unwrap().0 {
                    same(balance.free, &row["expect"][balance.asset.as_str()]["free"]);
                    same(balance.locked, &row["expect"][balance.asset.as_str()]["used"]);
                    checked += 1;
                }
            }
            "fetchTime" => {
                assert_eq!(Some(server_time(body.as_bytes()).unwrap().as_ms()), row["expect"].as_u64());
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked >= 6, "{checked}");
}

trait IntoNotional {
    fn into_notional(self) -> Notional;
}

impl IntoNotional for Price {
    fn into_notional(self) -> Notional {
        Notional::of(self, Quantity::from_int(1))
    }
}

fn same(own: Notional, expected: &serde_json::Value) {
    assert_eq!(Some(own), expected.as_str().map(|text| text.parse().unwrap()), "{expected}");
}

fn check_order(own: &OrderSnapshot, expected: &serde_json::Value) {
    assert_eq!(Some(own.venue_order_id.as_str()), expected["id"].as_str());
    assert_eq!(Some(words::side_word(own.side).to_lowercase().as_str()), expected["side"].as_str());
    same(own.quantity.into(), &expected["amount"]);
    same(own.cum_quantity.into(), &expected["filled"]);
    let status = match own.status {
        OrderStatus::Filled => "closed",
        OrderStatus::Canceled => "canceled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Expired => "expired",
        _ => "open",
    };
    assert_eq!(Some(status), expected["status"].as_str());
}

proptest! {
    #[test]
    fn n15_no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte: u8) {
        let mut body = FULL.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        for body in [&bytes, &body] {
            let _ignored = (server_time(body).is_ok(), exchange_info(body).is_ok(), account(body).is_ok());
            let _ignored = (order(body, &symbols()).is_ok(), orders(body, &symbols()).is_ok());
            let _ignored = (submit_ack(body, &symbols(), Timestamp::ZERO).is_ok(), my_trades(body, &symbols()).is_ok());
        }
    }
}
