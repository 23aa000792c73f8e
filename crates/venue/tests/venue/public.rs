//! Public market data over REST.

use crate::support::{Fixture, OK, eventually, now_ms, number, synthetic};
use keel_venue::VenueConfig;
use serde_json::{Value, json};

#[tokio::test]
async fn the_synthetic_market_is_what_the_documentation_promises() {
    let venue = Fixture::start(synthetic());
    let info = venue.get("/api/v3/exchangeInfo", "").await.ok();
    let symbols: Vec<&str> =
        info["symbols"].as_array().unwrap().iter().map(|s| s["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["BTCUSDT", "ETHUSDT"]);
    let btc = &info["symbols"][0];
    assert_eq!(
        (&btc["status"], &btc["baseAssetPrecision"], &btc["ocoAllowed"]),
        (&json!("TRADING"), &json!(8), &json!(true))
    );
    assert_eq!(btc["permissionSets"], json!([["SPOT"]]));
    let filter = |name: &str| {
        let filters = btc["filters"].as_array().unwrap();
        filters.iter().find(|filter| filter["filterType"] == name).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(filter("PRICE_FILTER")["tickSize"], "0.01000000");
    assert_eq!(
        filter("LOT_SIZE"),
        json!({"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"})
    );
    assert_eq!(filter("NOTIONAL")["minNotional"], "5.00000000");
    assert_eq!(filter("PERCENT_PRICE_BY_SIDE")["bidMultiplierUp"], "5");
    assert_eq!(filter("MAX_NUM_ORDERS")["maxNumOrders"], 200);
    assert_eq!(
        info["rateLimits"][0],
        json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000})
    );

    let price = number(&venue.get("/api/v3/ticker/price", "symbol=BTCUSDT").await.ok()["price"]);
    assert!((59_000.0..61_000.0).contains(&price), "{price}");
    let klines = venue.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=1000").await.ok();
    let klines = klines.as_array().unwrap();
    assert_eq!(klines.len(), 1000);
    for pair in klines.windows(2) {
        assert_eq!(pair[1][0].as_u64().unwrap() - pair[0][0].as_u64().unwrap(), 60_000);
        assert_eq!(pair[0][6].as_u64().unwrap() + 1, pair[1][0].as_u64().unwrap());
        assert!(number(&pair[0][2]) >= number(&pair[0][3]) && number(&pair[0][5]) > 0.0);
    }
    let book = venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=20").await.ok();
    let (bid, ask) = (number(&book["bids"][0][0]), number(&book["asks"][0][0]));
    assert!(ask - bid > 0.029, "at least three ticks: {bid} {ask}");
    let server = venue.get("/api/v3/time", "").await.ok()["serverTime"].as_u64().unwrap();
    assert!(server.abs_diff(now_ms()) < 5_000, "the wall clock");
    // At least two trades a second.
    let last_id =
        async || venue.get("/api/v3/trades", "symbol=BTCUSDT&limit=1").await.ok()[0]["id"].as_u64().unwrap_or_default();
    eventually("a first trade", async || last_id().await > 0).await;
    let (first, began) = (last_id().await, std::time::Instant::now());
    eventually("five more trades", async || last_id().await >= first + 5).await;
    assert!(began.elapsed().as_secs_f64() < 4.0, "five trades took {:?}", began.elapsed());
    venue.stop().await;
}

#[tokio::test]
async fn every_public_endpoint_answers_in_its_documented_shape() {
    let venue = Fixture::start(synthetic());
    let has_trades =
        async || !venue.get("/api/v3/aggTrades", "symbol=BTCUSDT").await.ok().as_array().unwrap().is_empty();
    eventually("an aggregate trade", has_trades).await;
    let fields = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for (path, query, names) in [
        ("/api/v3/ping", "", vec![]),
        ("/api/v3/avgPrice", "symbol=BTCUSDT", vec!["closeTime", "mins", "price"]),
        ("/api/v3/depth", "symbol=BTCUSDT", vec!["asks", "bids", "lastUpdateId"]),
        ("/api/v3/ticker/price", "symbol=ETHUSDT", vec!["price", "symbol"]),
        ("/api/v3/ticker/bookTicker", "symbol=ETHUSDT", vec!["askPrice", "askQty", "bidPrice", "bidQty", "symbol"]),
        (
            "/api/v3/ticker/24hr",
            "symbol=BTCUSDT&type=MINI",
            vec![
                "closeTime",
                "count",
                "firstId",
                "highPrice",
                "lastId",
                "lastPrice",
                "lowPrice",
                "openPrice",
                "openTime",
                "quoteVolume",
                "symbol",
                "volume",
            ],
        ),
    ] {
        let mut found = fields(&venue.get(path, query).await.ok());
        found.sort();
        assert_eq!(found, names, "{path}");
    }
    let trade = venue.get("/api/v3/trades", "symbol=BTCUSDT&limit=1").await.ok()[0].clone();
    assert!(trade["isBuyerMaker"].is_boolean() && number(&trade["quoteQty"]) > 0.0);
    let by_id = venue.get("/api/v3/historicalTrades", &format!("symbol=BTCUSDT&fromId={}", trade["id"])).await.ok();
    assert_eq!(by_id[0]["id"], trade["id"]);
    let agg = venue.get("/api/v3/aggTrades", "symbol=BTCUSDT&fromId=1&limit=1").await.ok()[0].clone();
    assert_eq!(agg["a"], 1);
    assert!(agg["f"].as_u64().unwrap() <= agg["l"].as_u64().unwrap());
    let full = venue.get("/api/v3/ticker/24hr", "symbol=BTCUSDT").await.ok();
    assert!(full["priceChangePercent"].is_string() && full["count"].as_u64().unwrap() > 0);
    let all = venue.get("/api/v3/ticker/24hr", "").await.ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let some = venue.get("/api/v3/ticker/price", "symbols=%5B%22ETHUSDT%22%5D").await.ok();
    assert_eq!((some.as_array().unwrap().len(), &some[0]["symbol"]), (1, &json!("ETHUSDT")));
    let window = venue.get("/api/v3/ticker", "symbol=BTCUSDT&windowSize=2h").await.ok();
    let span = window["closeTime"].as_u64().unwrap() - window["openTime"].as_u64().unwrap();
    assert!((7_200_000..7_260_000).contains(&span) && window["openTime"].as_u64().unwrap() % 60_000 == 0, "{span}");
    for interval in ["1s", "3m", "15m", "1h", "1d", "1w", "1M"] {
        let klines = venue.get("/api/v3/uiKlines", &format!("symbol=BTCUSDT&interval={interval}&limit=2")).await.ok();
        assert!(!klines.as_array().unwrap().is_empty(), "{interval}");
    }
    let from = now_ms() - 10 * 60_000;
    let klines =
        venue.get("/api/v3/klines", &format!("symbol=BTCUSDT&interval=1m&startTime={from}&limit=3")).await.ok();
    assert!(klines.as_array().unwrap().len() == 3 && klines[0][0].as_u64().unwrap() >= from);
    let micros =
        venue.http.get(format!("{}/api/v3/time", venue.handle.rest_url())).header("X-MBX-TIME-UNIT", "MICROSECOND");
    let answer = micros.send().await.unwrap();
    assert_eq!(answer.status(), OK);
    let text: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(text["serverTime"].as_u64().unwrap() > 1_000_000_000_000_000);
    let only = venue.get("/api/v3/exchangeInfo", "symbol=ETHUSDT&showPermissionSets=false").await.ok();
    assert_eq!((only["symbols"].as_array().unwrap().len(), &only["symbols"][0]["permissionSets"]), (1, &json!([])));
    assert_eq!(venue.get("/api/v3/historicalBlockTrades", "symbol=BTCUSDT&fromId=1").await.ok(), json!([]));
    assert_eq!(venue.get("/sapi/v1/system/status", "").await.ok()["status"], 0);
    venue.stop().await;
}

#[tokio::test]
async fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let closes = async |seed: u64| {
        let venue = Fixture::start(VenueConfig::synthetic(0, seed));
        let klines = venue.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=100").await.ok();
        venue.stop().await;
        // The current candle depends on the wall clock, the ones before on the seed alone.
        klines.as_array().unwrap().iter().rev().skip(2).map(|kline| kline[4].clone()).collect::<Vec<_>>()
    };
    let (a, b, c) = (closes(1).await, closes(1).await, closes(2).await);
    assert!(a.iter().filter(|close| b.contains(close)).count() > 90);
    assert_ne!(a, c);
}
