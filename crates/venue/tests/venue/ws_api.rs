//! Requests over the WebSocket API.

use crate::support::{ALICE, BOB, Fixture, empty, sign_ws, synthetic};
use serde_json::{Value, json};

#[tokio::test]
async fn trading_over_the_websocket_api() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let mut ws = venue.ws("/ws-api/v3").await;
    let order = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "59000.00", "newClientOrderId": "w1"});
    assert_eq!(ws.call_signed(ALICE, "order.test", order.clone()).await["result"], json!({}));
    let placed = ws.call_signed(ALICE, "v3/order.place", order.clone()).await;
    assert_eq!((&placed["status"], &placed["result"]["status"]), (&json!(200), &json!("NEW")));
    let kinds: Vec<_> =
        placed["rateLimits"].as_array().unwrap().iter().map(|limit| limit["rateLimitType"].clone()).collect();
    assert_eq!(kinds, ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]);
    assert_eq!(placed["rateLimits"][0]["count"], 1);
    let id = placed["result"]["orderId"].clone();
    let status = ws
        .call_signed(ALICE, "order.status", json!({"symbol": "BTCUSDT", "orderId": id, "returnRateLimits": false}))
        .await;
    assert_eq!((&status["result"]["clientOrderId"], status.get("rateLimits")), (&json!("w1"), None));
    let twice = ws.call_signed(ALICE, "order.place", order).await;
    assert_eq!(
        (&twice["status"], &twice["error"]),
        (&json!(400), &json!({"code": -2010, "msg": "Duplicate order sent."}))
    );
    let open = ws.call_signed(ALICE, "openOrders.status", json!({"symbol": "BTCUSDT"})).await;
    assert_eq!(open["result"].as_array().unwrap().len(), 1);
    let replace = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.02", "price": "59000", "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": id});
    let replaced = ws.call_signed(ALICE, "order.cancelReplace", replace.clone()).await;
    assert_eq!(replaced["result"]["newOrderResult"], "SUCCESS");
    let failed = ws.call_signed(ALICE, "order.cancelReplace", replace).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!(400), &json!(-2022)));
    assert_eq!(failed["error"]["data"]["cancelResult"], "FAILURE");
    let all = ws.call_signed(ALICE, "openOrders.cancelAll", json!({"symbol": "BTCUSDT"})).await;
    assert_eq!(all["result"].as_array().unwrap().len(), 1);
    let oco = json!({"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000", "belowType": "STOP_LOSS", "belowStopPrice": "59000"});
    let list = ws.call_signed(ALICE, "orderList.place.oco", oco).await;
    let list_id = list["result"]["orderListId"].clone();
    assert_eq!(
        ws.call_signed(ALICE, "orderList.status", json!({"orderListId": list_id})).await["result"]["listOrderStatus"],
        "EXECUTING"
    );
    assert_eq!(ws.call_signed(ALICE, "openOrderLists.status", json!({})).await["result"].as_array().unwrap().len(), 1);
    let ended = ws.call_signed(ALICE, "orderList.cancel", json!({"symbol": "BTCUSDT", "orderListId": list_id})).await;
    assert_eq!(ended["result"]["listOrderStatus"], "ALL_DONE");
    let bought = ws
        .call_signed(
            ALICE,
            "order.place",
            json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}),
        )
        .await;
    assert_eq!(bought["result"]["fills"].as_array().unwrap().len(), 1);
    for (method, params, rows) in [
        ("myTrades", json!({"symbol": "BTCUSDT"}), 2),
        ("allOrders", json!({"symbol": "BTCUSDT"}), 6),
        ("allOrderLists", json!({}), 1),
        ("account.rateLimits.orders", json!({}), 2),
    ] {
        let answer = ws.call_signed(ALICE, method, params).await;
        assert_eq!(answer["result"].as_array().map(Vec::len), Some(rows), "{method}: {answer}");
    }
    assert_eq!(ws.call_signed(ALICE, "account.status", json!({})).await["result"]["accountType"], "SPOT");
    assert_eq!(
        ws.call_signed(ALICE, "account.commission", json!({"symbol": "BTCUSDT"})).await["result"]["standardCommission"]
            ["maker"],
        "0.00100000"
    );
    venue.stop().await;
}

#[tokio::test]
async fn public_methods_and_refusals_over_the_websocket_api() {
    let venue = Fixture::start(synthetic());
    let mut ws = venue.ws("/ws-api/v3?returnRateLimits=false").await;
    assert_eq!(ws.call("ping", json!({})).await, json!({"id": 1, "status": 200, "result": {}}));
    let time = ws.call("time", json!({"returnRateLimits": true})).await;
    assert!(time["result"]["serverTime"].is_u64() && time["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT");
    for (method, params) in [
        ("exchangeInfo", json!({"symbols": ["BTCUSDT"]})),
        ("depth", json!({"symbol": "BTCUSDT", "limit": 5})),
        ("trades.recent", json!({"symbol": "BTCUSDT"})),
        ("trades.historical", json!({"symbol": "BTCUSDT", "limit": 1})),
        ("trades.aggregate", json!({"symbol": "BTCUSDT"})),
        ("klines", json!({"symbol": "BTCUSDT", "interval": "1m", "limit": 3})),
        ("uiKlines", json!({"symbol": "BTCUSDT", "interval": "1m"})),
        ("avgPrice", json!({"symbol": "BTCUSDT"})),
        ("ticker.24hr", json!({"symbol": "BTCUSDT"})),
        ("ticker.price", json!({})),
        ("ticker.book", json!({"symbol": "BTCUSDT"})),
        ("ticker", json!({"symbol": "BTCUSDT", "windowSize": "1h"})),
        ("ticker.tradingDay", json!({"symbol": "BTCUSDT"})),
    ] {
        let answer = ws.call(method, params).await;
        assert_eq!(answer["status"], 200, "{method}: {answer}");
    }
    let mut bad = sign_ws(ALICE, json!({}));
    bad["signature"] = json!("00");
    for (method, params, status, code) in [
        ("fly", json!({}), 400, -1130),
        ("depth", json!({}), 400, -1102),
        ("depth", json!({"symbol": "X"}), 400, -1121),
        ("depth", json!({"symbol": "BTCUSDT", "more": 1}), 400, -1104),
        ("account.status", json!({}), 401, -2014),
        ("account.status", json!({"apiKey": "nobody"}), 401, -2015),
        ("account.status", json!({"apiKey": ALICE.0}), 400, -1102),
        ("account.status", bad, 400, -1022),
        ("account.status", sign_ws(BOB, json!({"timestamp": 1})), 400, -1021),
        ("orderList.place.oto", sign_ws(BOB, json!({})), 400, -1020),
    ] {
        let answer = ws.call(method, params).await;
        assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(status), &json!(code)), "{method}: {answer}");
    }
    ws.send("{not json").await;
    let broken = ws.json().await;
    assert_eq!((&broken["id"], &broken["error"]["code"]), (&Value::Null, &json!(-1135)));
    ws.send(r#"{"id":"abc","method":7}"#).await;
    assert_eq!(ws.json().await["id"], "abc");
    venue.stop().await;
}
