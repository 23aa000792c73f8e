//! Each documented refusal that the venue gives, with status, code and words.

use crate::support::{ALICE, Fixture, empty, now_ms, signed_query};
use reqwest::Method;

const ORDER: &str = "/api/v3/order";

#[tokio::test]
async fn bad_orders_are_refused_in_the_venues_words() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let limit = "side=BUY&type=LIMIT&timeInForce=GTC";
    let mandatory = |name: &str| format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed.");
    let unwanted = |name: &str| format!("Parameter '{name}' sent when not required.");
    let filter = |name: &str| format!("Filter failure: {name}");
    let text = str::to_owned;
    let table: Vec<(&str, i64, String)> = vec![
        ("type=LIMIT", -1102, mandatory("side")),
        ("side=BUY", -1102, mandatory("type")),
        ("side=HOLD&type=LIMIT", -1117, text("Invalid side.")),
        ("side=BUY&type=ICE", -1116, text("Invalid orderType.")),
        ("side=BUY&type=LIMIT&timeInForce=DAY&quantity=1&price=60000", -1115, text("Invalid timeInForce.")),
        ("side=BUY&type=LIMIT&quantity=1&price=60000", -1102, mandatory("timeInForce")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&price=60000", -1102, mandatory("quantity")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1", -1102, mandatory("price")),
        (
            "side=BUY&type=MARKET",
            -1102,
            text("Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
        ),
        ("side=BUY&type=MARKET&quantity=1&price=60000", -1106, unwanted("price")),
        ("side=BUY&type=MARKET&quantity=1&timeInForce=GTC", -1106, unwanted("timeInForce")),
        ("side=BUY&type=MARKET&quantity=1&quoteOrderQty=5", -1106, unwanted("quoteOrderQty")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=60000&stopPrice=1", -1106, unwanted("stopPrice")),
        ("side=SELL&type=STOP_LOSS&quantity=1", -1102, mandatory("stopPrice")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=", -1105, text("Parameter 'price' was empty.")),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1e3&price=1",
            -1100,
            text(
                r"Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\.[0-9]{1,20})?$'.",
            ),
        ),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.000000001&price=1",
            -1111,
            text("Parameter 'quantity' has too much precision."),
        ),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0&price=60000", -1013, text("Invalid quantity.")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=60000.001", -1013, filter("PRICE_FILTER")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2000000", -1013, filter("PRICE_FILTER")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.000001&price=60000", -1013, filter("LOT_SIZE")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=9001&price=60000", -1013, filter("LOT_SIZE")),
        ("side=SELL&type=MARKET&quantity=200", -1013, filter("MARKET_LOT_SIZE")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.00001&price=60000", -1013, filter("NOTIONAL")),
        ("side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=400000", -1013, filter("PERCENT_PRICE_BY_SIDE")),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=10&price=59000",
            -2010,
            text("Account has insufficient balance for requested action."),
        ),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=1&icebergQty=0.1",
            -2010,
            text("Iceberg orders are not supported for this symbol."),
        ),
        (
            "side=SELL&type=STOP_LOSS&quantity=1&trailingDelta=10",
            -2010,
            text("Trailing stop orders are not supported for this symbol."),
        ),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=1&strategyType=5",
            -1134,
            text("`strategyType` was less than 1000000."),
        ),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=1&newOrderRespType=ALL",
            -1130,
            text("Data sent for parameter 'newOrderRespType' is not valid."),
        ),
        (
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=1&newClientOrderId=a%20b",
            -1100,
            text(
                r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'.",
            ),
        ),
        ("side=BUY&type=MARKET&quantity=1&side=SELL", -1101, text("Duplicate values for a parameter detected.")),
        (
            "side=BUY&type=MARKET&quantity=1&fast=1",
            -1104,
            text("Not all sent parameters were read; read '6' parameter(s) but was sent '7'."),
        ),
    ];
    for (params, code, msg) in table {
        let reply = venue.signed(ALICE, "POST", ORDER, &format!("symbol=BTCUSDT&{params}")).await;
        assert_eq!(
            (reply.status, reply.code(), reply.body["msg"].as_str().unwrap_or_default()),
            (400, code, msg.as_str()),
            "{params}"
        );
    }
    assert_eq!(venue.handle.stats().orders, 6, "nothing was placed by a refused request");
    let symbol = venue.signed(ALICE, "POST", ORDER, &format!("symbol=DOGE&{limit}&quantity=1&price=1")).await;
    assert_eq!((symbol.status, symbol.code()), (400, -1121));
    let twice = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000&newClientOrderId=twin";
    assert_eq!(venue.signed(ALICE, "POST", ORDER, twice).await.status, 200);
    let twin = venue.signed(ALICE, "POST", ORDER, twice).await;
    assert_eq!((twin.code(), twin.body["msg"].as_str()), (-2010, Some("Duplicate order sent.")));
    venue.stop().await;
}

#[tokio::test]
async fn cancels_and_questions_that_find_nothing() {
    let venue = Fixture::start(empty());
    let table = [
        ("DELETE", ORDER, "symbol=BTCUSDT&orderId=99", -2011, "Unknown order sent."),
        (
            "DELETE",
            ORDER,
            "symbol=BTCUSDT",
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        ),
        (
            "DELETE",
            ORDER,
            "symbol=BTCUSDT&orderId=1&cancelRestrictions=X",
            -1145,
            "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`.",
        ),
        ("GET", ORDER, "symbol=BTCUSDT&orderId=99", -2013, "Order does not exist."),
        ("GET", "/api/v3/orderList", "orderListId=99", -2013, "Order does not exist."),
        ("DELETE", "/api/v3/orderList", "symbol=BTCUSDT&orderListId=99", -2011, "Unknown order sent."),
        (
            "GET",
            "/api/v3/allOrders",
            "symbol=BTCUSDT&startTime=1000&endTime=100000000",
            -1127,
            "More than 24 hours between startTime and endTime.",
        ),
        (
            "GET",
            "/api/v3/myTrades",
            "symbol=BTCUSDT&fromId=1&startTime=1000",
            -1128,
            "Combination of optional parameters invalid.",
        ),
        ("POST", "/api/v3/orderList/oto", "symbol=BTCUSDT", -1020, "This operation is not supported."),
    ];
    for (method, path, params, code, msg) in table {
        let reply = venue.signed(ALICE, method, path, params).await;
        assert_eq!(
            (reply.status, reply.code(), reply.body["msg"].as_str()),
            (400, code, Some(msg)),
            "{method} {path} {params}"
        );
    }
    let order = venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000").await;
    let restricted = format!("symbol=BTCUSDT&orderId={}&cancelRestrictions=ONLY_PARTIALLY_FILLED", order["orderId"]);
    let refused = venue.signed(ALICE, "DELETE", ORDER, &restricted).await;
    assert_eq!(
        (refused.code(), refused.body["msg"].as_str()),
        (-2011, Some("Order was not canceled due to cancel restrictions."))
    );
    venue.stop().await;
}

#[tokio::test]
async fn bad_public_requests() {
    let venue = Fixture::start(empty());
    let table = [
        ("/api/v3/depth", "", 400, -1102),
        ("/api/v3/depth", "symbol=", 400, -1102),
        ("/api/v3/depth", "symbol=btcusdt", 400, -1100),
        ("/api/v3/depth", "symbol=NOPAIR", 400, -1121),
        ("/api/v3/depth", "symbol=BTCUSDT&limit=x", 400, -1100),
        ("/api/v3/depth", "symbol=BTCUSDT&limit=0", 400, -1130),
        ("/api/v3/depth", "symbol=BTCUSDT&symbolStatus=HALT", 400, -1220),
        ("/api/v3/depth", "symbol=BTCUSDT&symbolStatus=X", 400, -1122),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=2m", 400, -1120),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1m&timeZone=15", 400, -1130),
        ("/api/v3/ticker/24hr", "symbol=BTCUSDT&symbols=[]", 400, -1105),
        ("/api/v3/ticker/24hr", "symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D", 400, -1128),
        ("/api/v3/ticker/price", "symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", 400, -1151),
        ("/api/v3/ticker/price", "symbols=%5B%22BTC", 400, -1135),
        ("/api/v3/ticker", "", 400, -1102),
        ("/api/v3/ticker", "symbol=BTCUSDT&windowSize=90m", 400, -1130),
        ("/api/v3/ticker", "symbol=BTCUSDT&type=BIG", 400, -1139),
        ("/api/v3/exchangeInfo", "symbol=BTCUSDT&symbolStatus=TRADING", 400, -1128),
        ("/api/v3/referencePrice", "symbol=BTCUSDT", 400, -2043),
        ("/api/v3/aggTrades", "symbol=BTCUSDT&fromId=1&startTime=1", 400, -1128),
        ("/api/v3/account", "", 401, -2014),
    ];
    for (path, query, status, code) in table {
        let reply = venue.get(path, query).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{path}?{query}: {}", reply.body);
    }
    assert_eq!(venue.get("/api/v3/nothing", "").await.status, 404);
    assert_eq!(venue.send(Method::PUT, "/api/v3/time", "", None, None).await.status, 405);
    let big = "x".repeat(200_000);
    assert_eq!(venue.send(Method::POST, ORDER, "", Some(big), Some(ALICE.0)).await.status, 413);
    let unit = venue
        .http
        .get(format!("{}/api/v3/time", venue.handle.rest_url()))
        .header("x-mbx-time-unit", "DAY")
        .send()
        .await
        .unwrap();
    assert!(unit.text().await.unwrap().contains("-1194"));
    venue.stop().await;
}

#[tokio::test]
async fn keys_signatures_and_timestamps_are_checked_in_order() {
    let venue = Fixture::start(empty());
    let account = "/api/v3/account";
    let send = async |query: String, key: Option<&str>| venue.send(Method::GET, account, &query, None, key).await;
    let good = || signed_query(ALICE.1, "");
    assert_eq!(send(good(), Some(ALICE.0)).await.status, 200);
    assert_eq!(send(good(), Some("nobody")).await.code(), -2015);
    assert_eq!(send(good(), None).await.code(), -2014);
    let unsigned = send(format!("timestamp={}", now_ms()), Some(ALICE.0)).await;
    assert_eq!(
        (unsigned.code(), unsigned.body["msg"].as_str()),
        (-1102, Some("Mandatory parameter 'signature' was not sent, was empty/null, or malformed."))
    );
    assert_eq!(send("signature=00".to_owned(), Some(ALICE.0)).await.code(), -1102, "timestamp");
    let wrong = send(signed_query("other", ""), Some(ALICE.0)).await;
    assert_eq!(
        (wrong.status, wrong.code(), wrong.body["msg"].as_str()),
        (400, -1022, Some("Signature for this request is not valid."))
    );
    for (params, code, msg) in [
        (format!("timestamp={}", now_ms() - 6_000), -1021, "Timestamp for this request is outside of the recvWindow."),
        (
            format!("timestamp={}", now_ms() + 10_000),
            -1021,
            "Timestamp for this request was 1000ms ahead of the server's time.",
        ),
        (
            format!("recvWindow=60001&timestamp={}", now_ms()),
            -1131,
            "'recvWindow' contains unexpected value. Cannot be greater than 60000.",
        ),
    ] {
        let reply = send(signed_query(ALICE.1, &params), Some(ALICE.0)).await;
        assert_eq!((reply.code(), reply.body["msg"].as_str()), (code, Some(msg)), "{params}");
    }
    let wide = format!("recvWindow=60000&timestamp={}", now_ms() - 30_000);
    assert_eq!(send(signed_query(ALICE.1, &wide), Some(ALICE.0)).await.status, 200);
    venue.stop().await;
}
