//! Trading over REST.

use crate::support::{ALICE, BOB, Fixture, empty, number};
use serde_json::json;

#[tokio::test]
async fn an_order_goes_from_placement_to_fill_between_two_accounts() {
    let venue = Fixture::start(empty());
    let placed = venue
        .signed(
            ALICE,
            "POST",
            "/api/v3/order",
            "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=60000&newClientOrderId=mine-1",
        )
        .await;
    assert_eq!((placed.header("x-mbx-order-count-10s"), placed.header("x-mbx-order-count-1d")), (Some(1), Some(1)));
    assert!(placed.header("x-mbx-used-weight-1m").unwrap() >= 1);
    let placed = placed.ok();
    assert_eq!(
        (&placed["status"], &placed["clientOrderId"], &placed["fills"]),
        (&json!("NEW"), &json!("mine-1"), &json!([]))
    );
    assert_eq!((&placed["price"], &placed["origQty"]), (&json!("60000.00000000"), &json!("1.00000000")));
    let id = placed["orderId"].as_u64().unwrap();
    let held = venue.signed(ALICE, "GET", "/api/v3/account", "omitZeroBalances=true").await.ok();
    let btc = held["balances"].as_array().unwrap().iter().find(|b| b["asset"] == "BTC").unwrap().clone();
    assert_eq!((&btc["free"], &btc["locked"]), (&json!("1.00000000"), &json!("1.00000000")));

    let bought = venue.order(BOB, "side=BUY&type=MARKET&quantity=0.4").await;
    assert_eq!((&bought["status"], &bought["executedQty"]), (&json!("FILLED"), &json!("0.40000000")));
    let fill = &bought["fills"][0];
    assert_eq!(
        (&fill["price"], &fill["qty"], &fill["commissionAsset"]),
        (&json!("60000.00000000"), &json!("0.40000000"), &json!("BTC"))
    );
    assert_eq!(fill["commission"], "0.00040000");
    let rest = venue.signed(ALICE, "GET", "/api/v3/order", &format!("symbol=BTCUSDT&orderId={id}")).await.ok();
    assert_eq!((&rest["status"], &rest["executedQty"]), (&json!("PARTIALLY_FILLED"), &json!("0.40000000")));
    assert_eq!((&rest["cummulativeQuoteQty"], &rest["isWorking"]), (&json!("24000.00000000"), &json!(true)));
    let spent = venue.order(BOB, "side=BUY&type=MARKET&quoteOrderQty=6000").await;
    assert_eq!((&spent["executedQty"], &spent["origQuoteOrderQty"]), (&json!("0.10000000"), &json!("6000.00000000")));

    let mine = venue.signed(ALICE, "GET", "/api/v3/myTrades", "symbol=BTCUSDT").await.ok();
    let mine = mine.as_array().unwrap();
    assert_eq!(mine.len(), 2);
    assert_eq!(
        (&mine[0]["isMaker"], &mine[0]["isBuyer"], &mine[0]["commission"]),
        (&json!(true), &json!(false), &json!("24.00000000"))
    );
    assert_eq!(mine[0]["id"], fill["tradeId"], "both sides name the same trade");
    let one = venue
        .signed(BOB, "GET", "/api/v3/myTrades", &format!("symbol=BTCUSDT&orderId={}", bought["orderId"]))
        .await
        .ok();
    assert_eq!(one.as_array().unwrap().len(), 1);
    let open = venue.signed(ALICE, "GET", "/api/v3/openOrders", "").await.ok();
    assert_eq!((open.as_array().unwrap().len(), &open[0]["orderId"]), (1, &json!(id)));

    let gone = venue
        .signed(ALICE, "DELETE", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=mine-1&newClientOrderId=cancel-1")
        .await
        .ok();
    assert_eq!(
        (&gone["status"], &gone["origClientOrderId"], &gone["clientOrderId"]),
        (&json!("CANCELED"), &json!("mine-1"), &json!("cancel-1"))
    );
    let all = venue.signed(ALICE, "GET", "/api/v3/allOrders", "symbol=BTCUSDT").await.ok();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["status"]), (1, &json!("CANCELED")));
    // Fills gave the unfilled order count back: the maker's first fill five, the taker's one each.
    let counts = venue.signed(BOB, "GET", "/api/v3/rateLimit/order", "").await.ok();
    assert_eq!((&counts[0]["count"], &counts[1]["count"]), (&json!(0), &json!(0)));
    let stats = venue.handle.stats();
    assert_eq!((stats.orders, stats.cancels, stats.fills), (3, 1, 4));
    venue.stop().await;
}

#[tokio::test]
async fn order_types_behave_as_documented() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let maker = venue
        .signed(ALICE, "POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=0.01&price=60010")
        .await;
    assert_eq!((maker.status, maker.code()), (400, -2010));
    assert_eq!(maker.body["msg"], "Order would immediately match and take.");
    let ioc = venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.6&price=60010").await;
    assert_eq!((&ioc["status"], &ioc["executedQty"]), (&json!("EXPIRED"), &json!("0.50000000")));
    assert_eq!(ioc["expiryReason"], "UNFILLED_IOC_QUANTITY_EXPIRED");
    let fok = venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=FOK&quantity=0.6&price=60020").await;
    assert_eq!((&fok["status"], &fok["executedQty"]), (&json!("EXPIRED"), &json!("0.00000000")));
    let stop = venue
        .order(ALICE, "side=SELL&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.01&price=59970&stopPrice=59995")
        .await;
    assert_eq!(
        (&stop["status"], &stop["stopPrice"], &stop["workingTime"]),
        (&json!("NEW"), &json!("59995.00000000"), &json!(-1))
    );
    let would = venue
        .signed(ALICE, "POST", "/api/v3/order", "symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=0.01&stopPrice=60100")
        .await;
    assert_eq!((would.status, would.code()), (400, -2010));
    // A trade at 59990 triggers the stop order, which takes the next bid at once.
    venue.order(ALICE, "side=SELL&type=MARKET&quantity=0.001").await;
    let done =
        venue.signed(ALICE, "GET", "/api/v3/order", &format!("symbol=BTCUSDT&orderId={}", stop["orderId"])).await.ok();
    assert_eq!((&done["status"], &done["isWorking"]), (&json!("FILLED"), &json!(true)));
    assert!(done["workingTime"].as_u64().unwrap() > 0);
    let take = venue.order(ALICE, "side=SELL&type=TAKE_PROFIT&quantity=0.01&stopPrice=61000").await;
    let ack = venue
        .signed(ALICE, "POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=0.01&price=59000")
        .await
        .ok();
    assert!(ack.get("status").is_none() && ack["orderId"].is_u64(), "post-only orders answer with an ACK: {ack}");
    let own = venue
        .order(
            BOB,
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60020&selfTradePreventionMode=EXPIRE_TAKER",
        )
        .await;
    assert_eq!((&own["status"], &own["executedQty"]), (&json!("EXPIRED_IN_MATCH"), &json!("0.00000000")));
    let prevented = venue
        .signed(BOB, "GET", "/api/v3/myPreventedMatches", &format!("symbol=BTCUSDT&orderId={}", own["orderId"]))
        .await
        .ok();
    assert_eq!(
        (&prevented[0]["takerOrderId"], &prevented[0]["selfTradePreventionMode"]),
        (&own["orderId"], &json!("EXPIRE_TAKER"))
    );
    let gone = venue.signed(ALICE, "DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await.ok();
    let ids: Vec<_> = gone.as_array().unwrap().iter().map(|order| order["orderId"].clone()).collect();
    assert!(ids.contains(&take["orderId"]) && ids.contains(&ack["orderId"]), "{gone}");
    let none = venue.signed(ALICE, "DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await;
    assert_eq!((none.status, none.code()), (400, -2011));
    venue.stop().await;
}

#[tokio::test]
async fn v_13_cancel_replace_has_two_outcomes() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let path = "/api/v3/order/cancelReplace";
    let first = venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000").await;
    let new = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.02&price=59100";
    let both = venue
        .signed(
            ALICE,
            "POST",
            path,
            &format!("{new}&cancelReplaceMode=STOP_ON_FAILURE&cancelOrderId={}", first["orderId"]),
        )
        .await
        .ok();
    assert_eq!((&both["cancelResult"], &both["newOrderResult"]), (&json!("SUCCESS"), &json!("SUCCESS")));
    assert_eq!(both["cancelResponse"]["orderId"], first["orderId"]);
    assert_eq!(both["newOrderResponse"]["origQty"], "0.02000000");
    let stopped = venue
        .signed(ALICE, "POST", path, &format!("{new}&cancelReplaceMode=STOP_ON_FAILURE&cancelOrderId=999999"))
        .await;
    assert_eq!((stopped.status, stopped.code()), (400, -2022));
    assert_eq!(stopped.body["data"]["newOrderResult"], "NOT_ATTEMPTED");
    assert_eq!(stopped.body["data"]["cancelResponse"], json!({"code": -2011, "msg": "Unknown order sent."}));
    let half =
        venue.signed(ALICE, "POST", path, &format!("{new}&cancelReplaceMode=ALLOW_FAILURE&cancelOrderId=999999")).await;
    assert_eq!((half.status, half.code()), (409, -2021));
    assert_eq!(half.body["data"]["newOrderResult"], "SUCCESS");
    let id = half.body["data"]["newOrderResponse"]["orderId"].clone();
    let taker = "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=0.02&price=60015";
    let other = venue
        .signed(ALICE, "POST", path, &format!("{taker}&cancelReplaceMode=STOP_ON_FAILURE&cancelOrderId={id}"))
        .await;
    assert_eq!((other.status, other.code()), (409, -2021));
    assert_eq!(
        (&other.body["data"]["cancelResult"], &other.body["data"]["newOrderResult"]),
        (&json!("SUCCESS"), &json!("FAILURE"))
    );
    assert_eq!(other.body["data"]["newOrderResponse"]["code"], -2010);
    let none =
        venue.signed(ALICE, "POST", path, &format!("{taker}&cancelReplaceMode=ALLOW_FAILURE&cancelOrderId={id}")).await;
    assert_eq!((none.status, none.code()), (400, -2022));
    venue.stop().await;
}

#[tokio::test]
async fn amendments_keep_the_order_and_are_remembered() {
    let venue = Fixture::start(empty());
    let order =
        venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.05&price=59000&newClientOrderId=a").await;
    let path = "/api/v3/order/amend/keepPriority";
    let amended = venue
        .signed_body(ALICE, "PUT", path, "symbol=BTCUSDT&origClientOrderId=a&newQty=0.02&newClientOrderId=b")
        .await
        .ok();
    assert_eq!(
        (&amended["amendedOrder"]["orderId"], &amended["amendedOrder"]["qty"]),
        (&order["orderId"], &json!("0.02000000"))
    );
    assert_eq!(
        (&amended["amendedOrder"]["origClientOrderId"], &amended["amendedOrder"]["clientOrderId"]),
        (&json!("a"), &json!("b"))
    );
    let more = venue.signed(ALICE, "PUT", path, "symbol=BTCUSDT&origClientOrderId=b&newQty=0.03").await;
    assert_eq!((more.status, more.code()), (400, -2038));
    let history = venue
        .signed(ALICE, "GET", "/api/v3/order/amendments", &format!("symbol=BTCUSDT&orderId={}", order["orderId"]))
        .await
        .ok();
    assert_eq!((&history[0]["origQty"], &history[0]["newQty"]), (&json!("0.05000000"), &json!("0.02000000")));
    venue.stop().await;
}

#[tokio::test]
async fn one_order_of_a_list_cancels_the_other() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let old = venue
        .signed(ALICE, "POST", "/api/v3/order/oco", "symbol=BTCUSDT&side=SELL&quantity=0.1&price=61000&stopPrice=59000&stopLimitPrice=58900&stopLimitTimeInForce=GTC&listClientOrderId=l1")
        .await
        .ok();
    assert_eq!((&old["contingencyType"], &old["listOrderStatus"]), (&json!("OCO"), &json!("EXECUTING")));
    let types: Vec<_> = old["orderReports"].as_array().unwrap().iter().map(|report| report["type"].clone()).collect();
    assert!(types.contains(&json!("LIMIT_MAKER")) && types.contains(&json!("STOP_LOSS_LIMIT")), "{types:?}");
    let leg = old["orderReports"][0]["orderId"].clone();
    let gone = venue.signed(ALICE, "DELETE", "/api/v3/order", &format!("symbol=BTCUSDT&orderId={leg}")).await.ok();
    assert_eq!((&gone["listOrderStatus"], gone["orderReports"].as_array().unwrap().len()), (&json!("ALL_DONE"), 2));
    let new = venue
        .signed_body(ALICE, "POST", "/api/v3/orderList/oco", "symbol=BTCUSDT&side=SELL&quantity=0.1&aboveType=TAKE_PROFIT&aboveStopPrice=61000&belowType=STOP_LOSS&belowStopPrice=59985&aboveStrategyId=5")
        .await
        .ok();
    assert_eq!(new["orderReports"][0]["strategyId"], 5);
    let open = venue.signed(ALICE, "GET", "/api/v3/openOrderList", "").await.ok();
    assert_eq!((open.as_array().unwrap().len(), &open[0]["orderListId"]), (1, &new["orderListId"]));
    // The stop leg is triggered by a trade at 59980, and the other leg expires.
    venue.order(ALICE, "side=SELL&type=LIMIT&timeInForce=IOC&quantity=0.6&price=59980").await;
    let done =
        venue.signed(ALICE, "GET", "/api/v3/orderList", &format!("orderListId={}", new["orderListId"])).await.ok();
    assert_eq!(done["listOrderStatus"], "ALL_DONE");
    let above = venue
        .signed(ALICE, "GET", "/api/v3/order", &format!("symbol=BTCUSDT&orderId={}", new["orders"][0]["orderId"]))
        .await
        .ok();
    assert_eq!((&above["status"], &above["expiryReason"]), (&json!("EXPIRED"), &json!("OCO_TRIGGER")));
    let all = venue.signed(ALICE, "GET", "/api/v3/allOrderList", "").await.ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    for (params, code) in [
        ("aboveType=LIMIT_MAKER&abovePrice=61000&belowType=LIMIT_MAKER&belowPrice=59000", -1168),
        ("aboveType=STOP_LOSS&aboveStopPrice=61000&belowType=LIMIT_MAKER&belowPrice=59000", -1197),
        ("aboveType=STOP_LOSS&aboveStopPrice=61000&belowType=STOP_LOSS&belowStopPrice=59000", -1197),
        ("aboveType=LIMIT&abovePrice=61000&aboveTimeInForce=GTC&belowType=STOP_LOSS&belowStopPrice=59000", -1158),
        ("aboveType=LIMIT_MAKER&abovePrice=59000&belowType=STOP_LOSS&belowStopPrice=61000", -2010),
    ] {
        let refused = venue
            .signed(ALICE, "POST", "/api/v3/orderList/oco", &format!("symbol=BTCUSDT&side=SELL&quantity=0.1&{params}"))
            .await;
        assert_eq!((refused.status, refused.code()), (400, code), "{params}: {}", refused.body);
    }
    venue.stop().await;
}

#[tokio::test]
async fn parameters_may_be_in_query_or_body_and_time_may_be_in_microseconds() {
    let venue = Fixture::start(empty());
    let params = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000";
    assert_eq!(venue.signed_body(ALICE, "POST", "/api/v3/order", params).await.status, 200);
    let micros = format!("{params}&timestamp={}", crate::support::now_ms() * 1000);
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", &micros).await.status, 200);
    // Half and half: what is signed is the query followed by the body.
    let (query, body) = (
        "symbol=BTCUSDT&side=BUY",
        format!("type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000&timestamp={}", crate::support::now_ms()),
    );
    let signature = crate::support::hmac_hex(ALICE.1, &format!("{query}{body}"));
    let sent = venue
        .send(
            reqwest::Method::POST,
            "/api/v3/order",
            query,
            Some(format!("{body}&signature={signature}")),
            Some(ALICE.0),
        )
        .await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    let gone = venue.signed_body(ALICE, "DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await.ok();
    assert_eq!(gone.as_array().unwrap().len(), 3);
    let account = venue.signed(ALICE, "GET", "/api/v3/account", "").await.ok();
    let usdt = account["balances"].as_array().unwrap().iter().find(|b| b["asset"] == "USDT").unwrap().clone();
    assert_eq!((number(&usdt["free"]), number(&usdt["locked"])), (100_000.0, 0.0));
    venue.stop().await;
}

#[tokio::test]
async fn the_log_has_each_acceptance_trade_cancel_and_balance_in_order_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("venue.jsonl");
    let venue = Fixture::start(keel_venue::VenueConfig { log: Some(path.clone()), ..empty() });
    let sell = "side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=60000&newClientOrderId=mine-1";
    venue.order(ALICE, sell).await;
    venue.order(BOB, "side=BUY&type=MARKET&quantity=0.4&newClientOrderId=his-1").await;
    venue.signed(ALICE, "DELETE", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=mine-1").await.ok();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().zip(1u64..).all(|(line, seq)| line["seq"] == seq), "{text}");
    let of = |id: &str| -> Vec<_> {
        let mine = lines.iter().filter(|line| line["client_order_id"] == id);
        mine.map(|line| (line["exec"].as_str().unwrap().to_owned(), line["cum_quantity"].clone())).collect()
    };
    let (none, some) = (json!("0.00000000"), json!("0.40000000"));
    assert_eq!(
        of("mine-1"),
        [("NEW".to_owned(), none.clone()), ("TRADE".into(), some.clone()), ("CANCELED".into(), some.clone())]
    );
    assert_eq!(of("his-1"), [("NEW".to_owned(), none), ("TRADE".into(), some)]);
    let last = |account: u64, asset: &str| {
        let found = lines.iter().rev().find(|line| line["account"] == account && line["asset"] == asset).unwrap();
        (found["free"].as_str().unwrap().to_owned(), found["locked"].as_str().unwrap().to_owned())
    };
    assert_eq!(last(0, "BTC"), ("1.60000000".into(), "0.00000000".into()));
    assert_eq!(last(1, "BTC"), ("2.39960000".into(), "0.00000000".into()));
    venue.stop().await;
    let config = keel_venue::VenueConfig { log: Some(folder.path().join("none/log")), ..empty() };
    let error = keel_venue::VenueServer::start(config, keel_venue::VenueContext::standalone()).unwrap_err();
    assert!(error.to_string().contains("none/log"), "{error}");
}
