//! Market streams.

use crate::support::{ALICE, BOB, Fixture, Ws, empty, eventually, number, synthetic};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A book kept by Binance's rules for local order books.
#[derive(Debug, Default)]
pub(crate) struct LocalBook {
    pub(crate) update_id: u64,
    pub(crate) bids: BTreeMap<i64, String>,
    pub(crate) asks: BTreeMap<i64, String>,
}

/// A price in hundred-millionths.
fn units(price: &Value) -> i64 {
    (number(price) * 1e8).round() as i64
}

impl LocalBook {
    pub(crate) fn from_snapshot(snapshot: &Value) -> Self {
        let mut book = Self { update_id: snapshot["lastUpdateId"].as_u64().unwrap(), ..Self::default() };
        book.set(&snapshot["bids"], &snapshot["asks"]);
        book
    }

    fn set(&mut self, bids: &Value, asks: &Value) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels.as_array().unwrap() {
                if number(&level[1]) == 0.0 {
                    side.remove(&units(&level[0]));
                } else {
                    side.insert(units(&level[0]), level[1].as_str().unwrap().to_owned());
                }
            }
        }
    }

    /// Applies an event; false when one was missed.
    pub(crate) fn apply(&mut self, event: &Value) -> bool {
        let (first, last) = (event["U"].as_u64().unwrap(), event["u"].as_u64().unwrap());
        if last <= self.update_id {
            return true;
        }
        if first > self.update_id + 1 {
            return false;
        }
        self.set(&event["b"], &event["a"]);
        self.update_id = last;
        true
    }

    /// Does it hold exactly what a snapshot shows?
    pub(crate) fn equals(&self, snapshot: &Value) -> bool {
        let other = Self::from_snapshot(snapshot);
        other.update_id == self.update_id && other.bids == self.bids && other.asks == self.asks
    }
}

#[tokio::test]
async fn a_local_book_kept_by_binances_rules_equals_the_venues_depth() {
    let venue = Fixture::start(synthetic());
    for stream in ["btcusdt@depth@100ms", "btcusdt@depth"] {
        let mut ws = venue.ws(&format!("/ws/{stream}")).await;
        let first = ws.json().await;
        assert_eq!((&first["e"], &first["s"]), (&json!("depthUpdate"), &json!("BTCUSDT")));
        let mut book = LocalBook::from_snapshot(&venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000").await.ok());
        assert!(first["U"].as_u64().unwrap() <= book.update_id, "the stream begins before the snapshot");
        let mut last = None;
        let mut equal = 0;
        for _ in 0..200 {
            let event = ws.json().await;
            if let Some(last) = last {
                assert_eq!(event["U"].as_u64().unwrap(), last + 1, "no gap between events");
            }
            last = event["u"].as_u64();
            assert!(book.apply(&event));
            let snapshot = venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000").await.ok();
            if snapshot["lastUpdateId"].as_u64() == last {
                assert!(book.equals(&snapshot), "same update id, same book");
                equal += 1;
                if equal == 3 {
                    break;
                }
            }
        }
        assert_eq!(equal, 3, "{stream}: three snapshots were compared");
    }
    venue.stop().await;
}

#[tokio::test]
async fn every_stream_sends_what_its_name_says() {
    let venue = Fixture::start(synthetic());
    let names = [
        "btcusdt@trade",
        "btcusdt@aggTrade",
        "btcusdt@bookTicker",
        "btcusdt@depth@100ms",
        "btcusdt@depth",
        "btcusdt@depth5@100ms",
        "btcusdt@depth10",
        "btcusdt@depth20",
        "btcusdt@kline_1s",
        "btcusdt@kline_1m",
        "btcusdt@kline_1d@+08:00",
        "btcusdt@miniTicker",
        "btcusdt@ticker",
        "btcusdt@avgPrice",
        "btcusdt@ticker_1h",
        "!miniTicker@arr",
        "!ticker@arr",
        "!ticker_4h@arr",
    ];
    let mut ws = venue.ws(&format!("/stream?streams={}", names.join("/"))).await;
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    while seen.len() < names.len() {
        let frame = ws.json().await;
        seen.insert(frame["stream"].as_str().unwrap().to_owned(), frame["data"].clone());
    }
    let event = |name: &str| seen[name]["e"].as_str().unwrap_or_default().to_owned();
    for (name, kind) in [
        ("btcusdt@trade", "trade"),
        ("btcusdt@aggTrade", "aggTrade"),
        ("btcusdt@depth", "depthUpdate"),
        ("btcusdt@kline_1m", "kline"),
        ("btcusdt@miniTicker", "24hrMiniTicker"),
        ("btcusdt@ticker", "24hrTicker"),
        ("btcusdt@avgPrice", "avgPrice"),
        ("btcusdt@ticker_1h", "1hTicker"),
    ] {
        assert_eq!(event(name), kind, "{name}");
        assert_eq!(seen[name]["s"], "BTCUSDT");
    }
    assert_eq!(seen["btcusdt@depth5@100ms"]["bids"].as_array().unwrap().len(), 5);
    assert_eq!(seen["btcusdt@depth20"]["asks"].as_array().unwrap().len(), 20);
    let top = &seen["btcusdt@bookTicker"];
    assert!(top["u"].as_u64().unwrap() > 0 && number(&top["b"]) < number(&top["a"]));
    assert_eq!(seen["btcusdt@kline_1m"]["k"]["i"], "1m");
    assert!(seen["!miniTicker@arr"].as_array().unwrap().iter().all(|ticker| ticker["e"] == "24hrMiniTicker"));
    assert!(seen["!ticker_4h@arr"].as_array().unwrap().iter().all(|ticker| ticker["e"] == "4hTicker"));
    venue.stop().await;
}

#[tokio::test]
async fn subscriptions_come_and_go_on_a_live_connection() {
    let venue = Fixture::start(synthetic());
    // A made-up path, as ccxt connects to: nothing comes until something is asked for.
    let mut ws = venue.ws("/ws/0").await;
    assert_eq!(ws.command("LIST_SUBSCRIPTIONS", json!([])).await["result"], json!(["0"]));
    let done = ws.command("SUBSCRIBE", json!(["btcusdt@trade", "ethusdt@bookTicker"])).await;
    assert_eq!(done["result"], Value::Null);
    let trade = ws.json_where(|value| value["e"] == "trade").await;
    assert_eq!(trade["s"], "BTCUSDT");
    assert_eq!(ws.command("GET_PROPERTY", json!(["combined"])).await["result"], false);
    assert_eq!(ws.command("SET_PROPERTY", json!(["combined", true])).await["result"], Value::Null);
    let frame = ws.json_where(|value| value.get("stream").is_some()).await;
    assert!(frame["data"].is_object());
    ws.command("UNSUBSCRIBE", json!(["btcusdt@trade"])).await;
    assert_eq!(ws.command("LIST_SUBSCRIPTIONS", json!([])).await["result"], json!(["0", "ethusdt@bookTicker"]));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for (text, code, msg) in [
        ("{", 3, "Invalid JSON:"),
        (r#"{"params":[],"id":1}"#, 2, "Invalid request: missing field `method`"),
        (
            r#"{"method":"FLY","params":[],"id":1}"#,
            2,
            "Invalid request: unknown variant `FLY`, expected one of `SUBSCRIBE`",
        ),
        (r#"{"method":"SUBSCRIBE","params":"x","id":1}"#, 2, "Invalid request: params"),
        (r#"{"method":"SUBSCRIBE","params":[],"id":{}}"#, 2, "Invalid request: request ID"),
        (r#"{"method":"SET_PROPERTY","params":["other",true],"id":1}"#, 0, "Unknown property"),
        (r#"{"method":"SET_PROPERTY","params":["combined",7],"id":1}"#, 1, "Invalid value type: expected Boolean"),
    ] {
        ws.send(text).await;
        let error = ws.json_where(|value| value.get("code").is_some()).await;
        assert_eq!(error["code"], code, "{text}");
        assert!(error["msg"].as_str().unwrap().starts_with(msg), "{error}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    venue.stop().await;
}

#[tokio::test]
async fn raw_streams_and_microseconds_are_chosen_by_the_address() {
    let venue = Fixture::start(synthetic());
    let mut raw = venue.ws("/ws/btcusdt@trade/ethusdt@trade").await;
    let mut symbols = HashSet::new();
    while symbols.len() < 2 {
        symbols.insert(raw.json().await["s"].as_str().unwrap().to_owned());
    }
    let mut micros = venue.ws("/stream?streams=btcusdt@trade&timeUnit=MICROSECOND").await;
    let frame = micros.json().await;
    assert!(frame["data"]["T"].as_u64().unwrap() > 1_000_000_000_000_000, "{frame}");
    let lost = tokio_tungstenite::connect_async(format!("{}/nowhere", venue.handle.ws_url())).await.unwrap_err();
    assert!(lost.to_string().contains("404"), "{lost}");
    venue.stop().await;
}

#[tokio::test]
async fn aggregate_trades_join_the_fills_of_one_taker_at_one_price() {
    let venue = Fixture::start(empty());
    let mut ws = venue.ws("/ws/btcusdt@aggTrade/btcusdt@trade").await;
    ws.command("LIST_SUBSCRIPTIONS", json!([])).await;
    for price in ["60000", "60000", "60001"] {
        venue.order(ALICE, &format!("side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.1&price={price}")).await;
    }
    venue.order(BOB, "side=BUY&type=MARKET&quantity=0.3").await;
    let mut aggs = Vec::new();
    let mut trades = 0;
    while aggs.len() < 2 || trades < 3 {
        let event = ws.json().await;
        match event["e"].as_str().unwrap() {
            "trade" => trades += 1,
            _ => aggs.push(event),
        }
    }
    assert_eq!((&aggs[0]["q"], &aggs[0]["f"], &aggs[0]["l"]), (&json!("0.20000000"), &json!(1), &json!(2)));
    assert_eq!(
        (&aggs[1]["q"], &aggs[1]["p"], &aggs[1]["m"]),
        (&json!("0.10000000"), &json!("60001.00000000"), &json!(false))
    );
    let rest = venue.get("/api/v3/aggTrades", "symbol=BTCUSDT").await.ok();
    assert_eq!((rest.as_array().unwrap().len(), &rest[0]["q"]), (2, &json!("0.20000000")));
    venue.stop().await;
}

#[tokio::test]
async fn pings_are_sent_and_answered_and_silence_ends_the_connection() {
    let mut config = empty();
    config.limits.ping_interval = Duration::from_millis(100);
    config.limits.pong_timeout = Duration::from_millis(400);
    let venue = Fixture::start(config);
    let mut ws = venue.ws("/ws").await;
    ws.socket.send(Message::Ping("hello".into())).await.unwrap();
    let (mut ping, mut pong) = (false, false);
    while !ping || !pong {
        match ws.message().await.unwrap() {
            Message::Ping(_) => ping = true,
            Message::Pong(payload) => pong = payload.as_ref() == b"hello",
            other => panic!("{other:?}"),
        }
    }
    // A peer that does not read does not answer pings either; what it reads later ends with the close.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let end = ws.closed().await;
    assert!(end.is_none() || end == Some((1008, "no pong in time".to_owned())), "{end:?}");
    eventually("it is gone", async || venue.handle.stats().ws_open == 0).await;
    venue.stop().await;
}

#[tokio::test]
async fn n_09_a_connection_has_a_lifetime_and_the_stop_is_announced() {
    let mut config = empty();
    config.limits.connection_lifetime = Duration::from_millis(500);
    let venue = Fixture::start(config);
    let mut short = venue.ws("/ws").await;
    assert_eq!(short.closed().await.map(|(code, _)| code), Some(1001));
    venue.stop().await;
    let venue = Fixture::start(empty());
    let (mut raw, mut combined, mut api) =
        (venue.ws("/ws").await, venue.ws("/stream").await, venue.ws("/ws-api/v3").await);
    for ws in [&mut raw, &mut combined] {
        ws.command("LIST_SUBSCRIPTIONS", json!([])).await;
    }
    api.call("ping", json!({})).await;
    let handle = venue.handle.clone();
    let stopped = tokio::spawn(async move { handle.stop(Duration::from_secs(5)).await });
    assert_eq!(raw.json().await["e"], "serverShutdown");
    assert_eq!(combined.json().await["stream"], "!serverShutdown");
    assert_eq!(api.json().await["event"]["e"], "serverShutdown");
    for ws in [&mut raw, &mut combined, &mut api] {
        assert_eq!(ws.closed().await.map(|(code, _)| code), Some(1001));
    }
    assert!(stopped.await.unwrap().is_clean());
}

#[tokio::test]
async fn two_hundred_streams_at_once_all_get_the_same_trades() {
    let mut config = synthetic();
    config.limits.ws_connections_per_5m = 0;
    let venue = Fixture::start(config);
    let mut clients: Vec<Ws> = Vec::new();
    for _ in 0..200 {
        clients.push(venue.ws("/ws/btcusdt@trade").await);
    }
    let open = async || venue.handle.stats().market_streams == 200;
    eventually("200 subscriptions", open).await;
    // Every client sees the same three trades in a row, whatever it saw before.
    let mut per_client = Vec::new();
    for client in &mut clients {
        let mut ids = Vec::new();
        while ids.len() < 5 {
            ids.push(client.json().await["t"].as_u64().unwrap());
        }
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "no trade is lost or repeated: {ids:?}");
        per_client.push(ids);
    }
    let stats = venue.handle.stats();
    assert_eq!((stats.ws_open, stats.slow_dropped), (200, 0));
    drop(clients);
    eventually("all are gone", async || venue.handle.stats().ws_open == 0).await;
    assert_eq!(venue.handle.stats().market_streams, 0);
    venue.stop().await;
}

#[tokio::test]
async fn r_04_a_reader_that_does_not_read_is_dropped_and_others_are_not() {
    let mut config = empty();
    config.limits.outbound_frames_max = 16;
    let venue = Fixture::start(config);
    let slow = venue.ws("/ws/btcusdt@bookTicker").await;
    let mut fast = venue.ws("/ws/btcusdt@depth@100ms").await;
    eventually("both are subscribed", async || venue.handle.stats().market_streams == 2).await;
    let big = "x".repeat(64 * 1024);
    let frame = keel_venue::RawFrame::Text(big);
    let target = keel_venue::StreamTarget::Market("btcusdt@bookTicker".to_owned());
    eventually("the slow reader is dropped", async || {
        venue.handle.faults().send(&target, &frame);
        venue.handle.stats().slow_dropped == 1
    })
    .await;
    venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price=60000").await;
    assert_eq!(fast.json().await["e"], "depthUpdate");
    let mut socket = slow.socket;
    while let Some(Ok(_)) = socket.next().await {}
    venue.stop().await;
}
