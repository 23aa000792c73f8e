//! Faults that tests of clients ask for. The ids are those of the fault catalogue.

use crate::support::{ALICE, BOB, Fixture, empty, eventually, now_ms, synthetic};
use keel_venue::{
    AcceptMode, FaultEffect, FaultMoment, FaultTarget, LatencyConfig, RawFrame, RequestFault, StreamTarget,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000";

fn fault(target: FaultTarget, moment: FaultMoment, effect: FaultEffect) -> RequestFault {
    RequestFault { target, moment, effect, times: 1 }
}

async fn open_orders(venue: &Fixture) -> usize {
    venue.signed(ALICE, "GET", "/api/v3/openOrders", "symbol=BTCUSDT").await.ok().as_array().unwrap().len()
}

#[tokio::test]
async fn v_01_v_04_an_accepted_order_may_be_answered_with_an_error_that_says_nothing() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    assert!(faults.request(RequestFault::server_error_after_accept(2)));
    for _ in 0..2 {
        let reply = venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await;
        assert_eq!((reply.status, reply.code()), (503, -1001));
    }
    assert_eq!(open_orders(&venue).await, 2, "both were accepted");
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await.status, 200);
    let html = FaultEffect::Body { status: 403, body: "<html>WAF</html>".to_owned() };
    faults.request(fault(FaultTarget::Placement, FaultMoment::Before, html));
    let blocked = venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await;
    assert_eq!((blocked.status, blocked.body), (403, Value::String("<html>WAF</html>".to_owned())));
    assert_eq!(open_orders(&venue).await, 3, "the blocked one was not");
    let lie = FaultEffect::Error {
        status: 400,
        code: -2010,
        msg: "Account has insufficient balance for requested action.".to_owned(),
    };
    faults.request(fault(FaultTarget::Placement, FaultMoment::After, lie));
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await.code(), -2010);
    assert_eq!(open_orders(&venue).await, 4, "V-05: refused, and there all the same");
    venue.stop().await;
}

#[tokio::test]
async fn n_04_n_06_answers_may_never_come_or_the_connection_break() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let url = format!("{}/api/v3/order?{}", venue.handle.rest_url(), crate::support::signed_query(ALICE.1, LIMIT));
    let quick = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(300)).build().unwrap();
    faults.request(RequestFault::hang_after_accept(1));
    let hung = quick.post(&url).header("X-MBX-APIKEY", ALICE.0).send().await.unwrap_err();
    assert!(hung.is_timeout(), "{hung}");
    faults.request(RequestFault::reset_after_accept(1));
    let reset = quick.post(&url).header("X-MBX-APIKEY", ALICE.0).send().await.unwrap_err();
    assert!(!reset.is_timeout(), "{reset}");
    assert_eq!(open_orders(&venue).await, 2);
    let delay = FaultEffect::Delay(Duration::from_millis(200));
    faults.request(fault(FaultTarget::Time, FaultMoment::After, delay));
    let began = Instant::now();
    assert_eq!(venue.get("/api/v3/time", "").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    venue.stop().await;
}

#[tokio::test]
async fn v_02_v_06_a_late_request_is_executed_only_while_its_window_is_open() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let late = |ms| fault(FaultTarget::Placement, FaultMoment::Before, FaultEffect::Delay(Duration::from_millis(ms)));
    faults.request(late(300));
    let refused = venue.signed(ALICE, "POST", "/api/v3/order", &format!("{LIMIT}&recvWindow=150")).await;
    assert_eq!((refused.status, refused.code()), (400, -1021), "looked at again right before the matching engine");
    faults.request(late(200));
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await.status, 200);
    assert_eq!(open_orders(&venue).await, 1);
    faults.set_latency(LatencyConfig {
        request: Duration::from_millis(50),
        answer: Duration::from_millis(50),
        jitter: Duration::ZERO,
    });
    let began = Instant::now();
    open_orders(&venue).await;
    assert!(began.elapsed() >= Duration::from_millis(100));
    venue.stop().await;
}

#[tokio::test]
async fn v_03_v_19_n_17_answers_may_lie_use_unknown_words_or_point_elsewhere() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let order = venue.order(ALICE, "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000").await;
    let query = format!("symbol=BTCUSDT&orderId={}", order["orderId"]);
    let absent = FaultEffect::Error { status: 400, code: -2013, msg: "Order does not exist.".to_owned() };
    faults.request(fault(FaultTarget::Query, FaultMoment::Before, absent));
    assert_eq!(venue.signed(ALICE, "GET", "/api/v3/order", &query).await.code(), -2013);
    let word = FaultEffect::Rewrite { from: "\"NEW\"".to_owned(), to: "\"PENDING_MAGIC\"".to_owned() };
    faults.request(fault(FaultTarget::Query, FaultMoment::After, word));
    assert_eq!(venue.signed(ALICE, "GET", "/api/v3/order", &query).await.ok()["status"], "PENDING_MAGIC");
    let away = FaultEffect::Redirect { status: 307, location: "http://127.0.0.1:1/api/v3/order".to_owned() };
    faults.request(fault(FaultTarget::Query, FaultMoment::Before, away));
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("{}/api/v3/order?{}", venue.handle.rest_url(), crate::support::signed_query(ALICE.1, &query));
    let moved = client.get(url).header("X-MBX-APIKEY", ALICE.0).send().await.unwrap();
    assert_eq!(
        (moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()),
        (307, "http://127.0.0.1:1/api/v3/order")
    );
    venue.stop().await;
}

#[tokio::test]
async fn the_websocket_api_meets_the_same_faults() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let mut ws = venue.ws("/ws-api/v3").await;
    let order = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "59000"});
    faults.request(RequestFault::server_error_after_accept(1));
    let unsure = ws.call_signed(ALICE, "order.place", order.clone()).await;
    assert_eq!((&unsure["status"], &unsure["error"]["code"]), (&json!(503), &json!(-1001)));
    faults.request(RequestFault::hang_after_accept(1));
    let hung = crate::support::sign_ws(ALICE, order.clone());
    ws.send(json!({"id": "hung", "method": "order.place", "params": hung}).to_string()).await;
    assert_eq!(ws.call("ping", json!({})).await["status"], 200, "others are answered meanwhile");
    assert_eq!(open_orders(&venue).await, 2);
    faults.request(RequestFault::reset_after_accept(1));
    let cut = crate::support::sign_ws(ALICE, order);
    ws.send(json!({"id": "cut", "method": "order.place", "params": cut}).to_string()).await;
    assert_eq!(ws.closed().await, None, "without a farewell");
    assert_eq!(open_orders(&venue).await, 3);
    venue.stop().await;
}

#[tokio::test]
async fn n_07_n_13_market_streams_may_stall_gap_and_talk_nonsense() {
    let venue = Fixture::start(synthetic());
    let faults = venue.handle.faults();
    let mut ws = venue.ws("/ws/btcusdt@depth@100ms").await;
    let mut last = ws.json().await["u"].as_u64().unwrap();
    assert!(faults.skip_depth("BTCUSDT", 1) && !faults.skip_depth("NOPE", 1));
    let mut gap = false;
    for _ in 0..30 {
        let event = ws.json().await;
        gap |= event["U"].as_u64().unwrap() != last + 1;
        last = event["u"].as_u64().unwrap();
    }
    assert!(gap, "one event was swallowed");
    faults.stall_market(true);
    while tokio::time::timeout(Duration::from_millis(400), ws.message()).await.is_ok() {}
    faults.stall_market(false);
    assert_eq!(ws.json().await["e"], "depthUpdate");
    let target = StreamTarget::Market("btcusdt@depth@100ms".to_owned());
    assert_eq!(faults.send(&target, &RawFrame::Text("{\"e\":\"depthUp".to_owned())), 1);
    assert_eq!(faults.send(&target, &RawFrame::Binary(vec![1, 2, 3])), 1);
    let (mut half, mut binary) = (false, false);
    while !half || !binary {
        match ws.message().await.unwrap() {
            Message::Text(text) => half |= text.as_str() == "{\"e\":\"depthUp",
            Message::Binary(bytes) => binary |= bytes.as_ref() == [1, 2, 3],
            _ => {}
        }
    }
    // N-15: a text frame that is not UTF-8.
    assert_eq!(faults.send(&target, &RawFrame::Garbage(vec![0x81, 2, 0xff, 0xfe])), 1);
    while ws.message().await.is_some() {}
    let mut other = venue.ws("/ws/btcusdt@trade").await;
    eventually("it listens", async || venue.handle.stats().market_streams >= 1).await;
    assert!(faults.announce_shutdown() >= 1);
    assert_eq!(other.json_where(|value| value["e"] == "serverShutdown").await["e"], "serverShutdown");
    assert_eq!(faults.close(&StreamTarget::Market("btcusdt@trade".to_owned()), 1012, "restart"), 1);
    assert_eq!(other.closed().await, Some((1012, "restart".to_owned())));
    let mut cut = venue.ws("/ws/btcusdt@trade").await;
    eventually("it listens", async || venue.handle.stats().market_streams >= 1).await;
    assert!(faults.cut(&StreamTarget::All) >= 1);
    assert_eq!(cut.closed().await, None);
    faults.refuse_websockets(true);
    let refused = tokio_tungstenite::connect_async(format!("{}/ws", venue.handle.ws_url())).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    faults.clear();
    venue.ws("/ws").await;
    venue.stop().await;
}

#[tokio::test]
async fn n_08_n_14_account_events_may_be_lost_repeated_or_stopped() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let mut ws = venue.ws("/ws-api/v3").await;
    ws.call_signed(ALICE, "userDataStream.subscribe.signature", json!({})).await;
    faults.drop_user_events(1);
    let place = async |id: &str| {
        venue
            .order(
                ALICE,
                &format!("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=59000&newClientOrderId={id}"),
            )
            .await
    };
    place("a").await;
    assert_eq!(ws.json().await["event"]["e"], "outboundAccountPosition", "the report was lost");
    faults.repeat_user_events(1);
    place("b").await;
    let (first, second) = (ws.json().await, ws.json().await);
    assert_eq!((&first["event"]["c"], &first), (&json!("b"), &second), "the same report twice");
    ws.json().await;
    faults.stall_user(true);
    place("c").await;
    faults.stall_user(false);
    place("d").await;
    assert_eq!(ws.json().await["event"]["c"], "d");
    ws.json().await;
    // V-14: the venue cancels on its own; V-21: a balance changes from outside.
    let order = place("e").await;
    ws.json_where(|value| value["event"]["c"] == "e").await;
    assert!(faults.cancel_order(0, "BTCUSDT", order["orderId"].as_u64().unwrap()));
    assert_eq!(ws.json_where(|value| value["event"]["x"] == "CANCELED").await["event"]["i"], order["orderId"]);
    assert!(faults.deposit(0, "BTC", "0.5".parse().unwrap()) && !faults.deposit(0, "BTC", "-50".parse().unwrap()));
    let update = ws.json_where(|value| value["event"]["e"] == "balanceUpdate").await;
    assert_eq!((&update["event"]["a"], &update["event"]["d"]), (&json!("BTC"), &json!("0.50000000")));
    assert_eq!(faults.cut(&StreamTarget::User(Some(0))), 1);
    assert_eq!(ws.closed().await, None);
    venue.stop().await;
}

#[tokio::test]
async fn v_18_v_20_v_23_v_26_rules_keys_and_clock_may_change() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    assert!(faults.set_symbol_status("BTCUSDT", "CANCEL_ONLY"));
    assert_eq!(venue.get("/api/v3/exchangeInfo", "symbol=BTCUSDT").await.ok()["symbols"][0]["status"], "CANCEL_ONLY");
    let closed = venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await;
    assert_eq!((closed.code(), closed.body["msg"].as_str()), (-1013, Some("Market is closed.")));
    faults.set_symbol_status("BTCUSDT", "SOMETHING_NEW");
    assert_eq!(venue.get("/api/v3/exchangeInfo", "symbol=BTCUSDT").await.ok()["symbols"][0]["status"], "SOMETHING_NEW");
    faults.set_symbol_status("BTCUSDT", "TRADING");
    assert!(faults.change_filters("BTCUSDT", |instrument| instrument.min_notional = "1000".parse().unwrap()));
    let filtered = venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await;
    assert_eq!(filtered.body["msg"], "Filter failure: NOTIONAL");
    assert!(faults.set_key_can_trade(ALICE.0, false));
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", LIMIT).await.code(), -2015);
    let account = venue.signed(ALICE, "GET", "/api/v3/account", "").await.ok();
    assert_eq!(account["canTrade"], false);
    assert_eq!(
        venue.signed(ALICE, "GET", "/sapi/v1/account/apiRestrictions", "").await.ok()["enableSpotAndMarginTrading"],
        false
    );
    assert!(faults.set_key_enabled(ALICE.0, false) && !faults.set_key_enabled("nobody", false));
    assert_eq!(venue.signed(ALICE, "GET", "/api/v3/account", "").await.code(), -2015);
    assert_eq!(venue.signed(BOB, "GET", "/api/v3/account", "").await.status, 200);
    faults.set_clock_offset_ms(30_000);
    let server = venue.get("/api/v3/time", "").await.ok()["serverTime"].as_u64().unwrap();
    assert!(server > now_ms() + 25_000);
    assert_eq!(venue.signed(BOB, "GET", "/api/v3/account", "").await.code(), -1021);
    faults.set_clock_offset_ms(-30_000);
    assert_eq!(venue.signed(BOB, "GET", "/api/v3/account", "").await.code(), -1021);
    venue.stop().await;
}

#[tokio::test]
async fn n_02_new_connections_may_be_refused_closed_or_ignored_and_come_back() {
    let venue = Fixture::start(empty());
    let faults = venue.handle.faults();
    let url = format!("{}/api/v3/ping", venue.handle.rest_url());
    let fresh = || reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(400)).build().unwrap();
    assert!(fresh().get(&url).send().await.is_ok());
    faults.set_accept(AcceptMode::Refuse);
    eventually("connections are refused", async || {
        tokio::net::TcpStream::connect(venue.handle.addr())
            .await
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    faults.set_accept(AcceptMode::BlackHole);
    eventually("connections are accepted and ignored", async || {
        fresh().get(&url).send().await.is_err_and(|error| error.is_timeout())
    })
    .await;
    faults.set_accept(AcceptMode::Close);
    eventually("connections are closed", async || {
        fresh().get(&url).send().await.is_err_and(|error| !error.is_timeout() && !error.is_connect())
    })
    .await;
    faults.set_accept(AcceptMode::Serve);
    eventually("connections are served", async || fresh().get(&url).send().await.is_ok()).await;
    venue.stop().await;
}
