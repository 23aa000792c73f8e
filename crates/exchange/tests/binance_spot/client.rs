//! The REST client: outcomes of placements under every kind of trouble, and that nothing is sent twice.

use crate::server::{KEY, Reply, Request, SECRET, Server, buy, id, instruments, until, usual, wall_ms};
use hmac::{Hmac, KeyInit, Mac};
use keel_exchange::binance::spot::BinanceSpotClient;
use keel_exchange::{ExchangeClient, ExchangeError, SentInfo};
use keel_lifecycle::LeaseKind;
use keel_model::{
    CancelOrder, CancelOutcome, InstrumentId, NotSentReason, OrderStatus, QueryOrder, QueryOutcome, RejectReason,
    ReplaceOrder, SubmitOutcome, Timestamp, UnknownReason,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const ACK: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"k1-1-1","transactTime":1507725176595,"price":"100.00","origQty":"1","executedQty":"0","cummulativeQuoteQty":"0","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY","fills":[]}"#;

/// Time is answered; everything else by `rest`.
async fn server(rest: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| usual(request, wall_ms()).unwrap_or_else(|| rest(request))).await
}

fn client_of(server: &Server) -> BinanceSpotClient {
    let client = server.venue().0.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    client
}

async fn submit(client: &BinanceSpotClient) -> (SubmitOutcome, Vec<SentInfo>) {
    let sent = Mutex::new(Vec::new());
    let outcome = client.submit(&buy(1, "100.00", "1"), &|info| sent.lock().push(info)).await;
    (outcome, sent.into_inner())
}

fn cancel() -> CancelOrder {
    CancelOrder { client_order_id: id(1), venue_order_id: None, instrument: InstrumentId(0) }
}

#[tokio::test]
async fn t01_a_placement_is_signed_with_the_venues_clock_and_said_to_be_sent_once() {
    // The venue's clock is an hour ahead of ours.
    let ahead = 3_600_000;
    let server = Server::start(move |request| {
        usual(request, wall_ms() + ahead).unwrap_or_else(|| Reply::Json(200, ACK.to_owned()))
    })
    .await;
    let client = client_of(&server);
    let (outcome, sent) = submit(&client).await;
    let SubmitOutcome::Accepted(ack) = outcome else { panic!("{outcome:?}") };
    assert_eq!((ack.venue_order_id.as_str(), ack.status), ("28", OrderStatus::New));
    let request = server.requests.lock().last().unwrap().clone();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v3/order"));
    assert!(request.head.to_lowercase().contains(&format!("x-mbx-apikey: {KEY}")), "{}", request.head);
    let (payload, signature) = request.params.split_once("&signature=").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    assert_eq!(hex::encode(mac.finalize().into_bytes()), signature);
    let [info] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(Some(info.signed_at.as_ms().to_string()), request.param("timestamp"));
    assert_eq!((info.recv_window_ms, request.param("recvWindow").as_deref()), (5_000, Some("5000")));
    let off = info.signed_at.as_ms().abs_diff(wall_ms() + ahead);
    assert!(off < 10_000, "{off} ms off the venue's clock");
    assert_eq!(request.param("newClientOrderId").as_deref(), Some("k1-1-1"));
    client.close().await.unwrap();
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let server = server(|_| Reply::Json(200, ACK.to_owned())).await;
    let client = client_of(&server);
    for _ in 0..20 {
        assert!(matches!(submit(&client).await.0, SubmitOutcome::Accepted(_)));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    client.close().await.unwrap();
}

#[tokio::test]
async fn n02_without_a_connection_nothing_is_sent_and_nothing_is_said_to_be() {
    let server = server(|_| Reply::Json(200, ACK.to_owned())).await;
    let (venue, ledger) = server.venue_with(|config| config.rest_url = "http://127.0.0.1:1".into());
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    let (outcome, sent) = submit(&client).await;
    assert_eq!((outcome, sent), (SubmitOutcome::NotSent(NotSentReason::NotConnected), vec![]));
    assert_eq!(client.cancel(&cancel()).await, CancelOutcome::NotSent(NotSentReason::NotConnected));
    let error = client.server_time().await.unwrap_err();
    assert!(matches!(&error, ExchangeError::Connect { address, .. } if address == "127.0.0.1:1"), "{error}");
    client.close().await.unwrap();
    assert_eq!(ledger.total(), 0);
}

#[tokio::test]
async fn n04_n16_a_connection_cut_after_the_request_is_unknown_and_the_request_is_not_sent_again() {
    let server = server(|_| Reply::Cut).await;
    let client = client_of(&server);
    let (outcome, sent) = submit(&client).await;
    assert_eq!((outcome, sent.len()), (SubmitOutcome::Unknown(UnknownReason::ConnectionLost), 1));
    assert_eq!(client.cancel(&cancel()).await, CancelOutcome::Unknown(UnknownReason::ConnectionLost));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((server.count("POST", "/api/v3/order"), server.count("DELETE", "/api/v3/order")), (1, 1));
    client.close().await.unwrap();
}

#[tokio::test]
async fn n16_a_pooled_connection_that_the_venue_closed_is_not_used_for_a_placement() {
    let server = Server::start(|request| match usual(request, wall_ms()) {
        Some(Reply::Json(status, body)) => Reply::ThenCut(status, body),
        _ => Reply::ThenCut(200, ACK.to_owned()),
    })
    .await;
    let client = client_of(&server);
    for n in 1..=10 {
        let (outcome, sent) = submit(&client).await;
        assert!(matches!(outcome, SubmitOutcome::Accepted(_)), "{n}: {outcome:?}");
        assert_eq!(sent.len(), 1);
        assert_eq!(server.count("POST", "/api/v3/order"), n);
        // The end of the connection is seen before the next call.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.close().await.unwrap();
}

#[tokio::test]
async fn n06_v01_a_venue_that_hangs_or_drips_is_unknown_after_the_whole_deadline() {
    for reply in [
        Reply::Hang,
        Reply::Drip(vec![b'x'; 500]),
        Reply::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".repeat(9)),
    ] {
        let server = server(move |_| reply.clone()).await;
        let (venue, ledger) = server.venue_with(|config| config.call_timeout_ms = 300);
        let client = venue.client();
        client.set_instruments(instruments(&["BTCUSDT"]));
        let (outcome, sent) = tokio::time::timeout(Duration::from_secs(10), submit(&client)).await.unwrap();
        let is_unknown =
            matches!(outcome, SubmitOutcome::Unknown(UnknownReason::Timeout | UnknownReason::ConnectionLost));
        assert!(is_unknown && sent.len() == 1, "{outcome:?}");
        client.close().await.unwrap();
        assert_eq!(ledger.total(), 0);
    }
}

#[tokio::test]
async fn n17_a_redirect_is_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = hits.clone();
    let elsewhere = Server::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Json(200, ACK.to_owned())
    })
    .await;
    let location: &'static str =
        Box::leak(format!("location: http://{}/api/v3/order\r\n", elsewhere.addr).into_boxed_str());
    let server = server(move |_| Reply::With(307, location, String::new())).await;
    let client = client_of(&server);
    assert_eq!(submit(&client).await.0, SubmitOutcome::Unknown(UnknownReason::Unclassified));
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    client.close().await.unwrap();
}

#[tokio::test]
async fn v04_unsure_answers_are_unknown_and_definitive_ones_are_rejected() {
    let cases = [
        (503, "<html>", SubmitOutcome::Unknown(UnknownReason::VenueUnsure)),
        (
            500,
            r#"{"code":-1000,"msg":"An unknown error occurred"}"#,
            SubmitOutcome::Unknown(UnknownReason::VenueUnsure),
        ),
        (
            504,
            r#"{"code":-1007,"msg":"Timeout waiting for response"}"#,
            SubmitOutcome::Unknown(UnknownReason::VenueUnsure),
        ),
        (403, "blocked", SubmitOutcome::Unknown(UnknownReason::VenueUnsure)),
        (400, "", SubmitOutcome::Unknown(UnknownReason::Unreadable)),
        (200, "", SubmitOutcome::Unknown(UnknownReason::Unreadable)),
        (200, r#"{"symbol":"BTCUSDT"}"#, SubmitOutcome::Unknown(UnknownReason::Unreadable)),
        (400, r#"{"code":-12345,"msg":"brand new"}"#, SubmitOutcome::Unknown(UnknownReason::Unclassified)),
    ];
    for (status, body, expected) in cases {
        let server = server(move |_| Reply::Json(status, body.to_owned())).await;
        let client = client_of(&server);
        assert_eq!(submit(&client).await.0, expected, "{status} {body}");
        client.close().await.unwrap();
    }
    let server = server(|_| {
        Reply::Json(400, r#"{"code":-2010,"msg":"Account has insufficient balance for requested action."}"#.into())
    })
    .await;
    let client = client_of(&server);
    let SubmitOutcome::Rejected(reject) = submit(&client).await.0 else { panic!() };
    assert_eq!((reject.reason, reject.code), (RejectReason::InsufficientFunds, -2010));
    assert!(reject.text.as_str().contains("insufficient"));
    client.close().await.unwrap();
}

#[tokio::test]
async fn n15_answers_that_are_no_http_are_unknown() {
    for bytes in [
        &b"garbage\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\xff\xfe\xfd\xfc\xfb",
        b"HTTP/1.1 9999 X\r\n\r\n",
    ] {
        let server = server(move |_| Reply::Raw(bytes.to_vec())).await;
        let (venue, _) = server.venue_with(|config| config.call_timeout_ms = 500);
        let client = venue.client();
        client.set_instruments(instruments(&["BTCUSDT"]));
        let (outcome, _) = submit(&client).await;
        assert!(matches!(outcome, SubmitOutcome::Unknown(_)), "{outcome:?}");
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn t01_a_refused_timestamp_is_definitive_for_a_placement_and_measured_anew() {
    let refuse = Arc::new(AtomicUsize::new(1));
    let left = refuse.clone();
    let server = server(move |_| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Reply::Json(
            400,
            r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#.into(),
        ),
        Err(_) => Reply::Json(200, ACK.to_owned()),
    })
    .await;
    let client = client_of(&server);
    let SubmitOutcome::Rejected(reject) = submit(&client).await.0 else { panic!() };
    assert_eq!(reject.reason, RejectReason::Timestamp);
    assert_eq!((server.count("GET", "/api/v3/time"), server.count("POST", "/api/v3/order")), (1, 1));
    assert!(matches!(submit(&client).await.0, SubmitOutcome::Accepted(_)));
    assert_eq!(server.count("GET", "/api/v3/time"), 2, "measured anew before the next signature");
    // A question is asked again by itself, once.
    refuse.store(1, Ordering::SeqCst);
    assert!(
        matches!(client.balances().await, Err(ExchangeError::Unreadable { .. })),
        "the scripted answer is no account"
    );
    assert_eq!(server.count("GET", "/api/v3/account"), 2);
    client.close().await.unwrap();
}

#[tokio::test]
async fn v02_not_found_carries_a_time_of_the_venue_from_before_the_question() {
    let time = Arc::new(AtomicU64::new(5_000));
    let clock = time.clone();
    let server = Server::start(move |request| {
        usual(request, clock.fetch_add(1_000, Ordering::SeqCst))
            .unwrap_or_else(|| Reply::Json(400, r#"{"code":-2013,"msg":"Order does not exist."}"#.into()))
    })
    .await;
    let client = client_of(&server);
    let query = QueryOrder { client_order_id: id(1), instrument: InstrumentId(0) };
    let outcome = client.query(&query).await;
    assert_eq!(outcome, QueryOutcome::NotFound { venue_time_before: Some(Timestamp::from_ms(5_000)) });
    let order: Vec<String> = server.requests.lock().iter().map(|request| request.path.clone()).collect();
    assert_eq!(order, ["/api/v3/time", "/api/v3/order"]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn an_answer_about_another_order_is_not_believed() {
    let server = server(|_| Reply::Json(200, ACK.replace("k1-1-1", "k9-9-9"))).await;
    let client = client_of(&server);
    let query = QueryOrder { client_order_id: id(1), instrument: InstrumentId(0) };
    assert_eq!(client.query(&query).await, QueryOutcome::Unknown(UnknownReason::Unreadable));
    client.close().await.unwrap();
}

#[tokio::test]
async fn v13_cancel_replace_has_two_outcomes() {
    let body = format!(
        r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":{},
        "newOrderResponse":{{"code":-2010,"msg":"Order would immediately match and take."}}}}}}"#,
        ACK.replace("\"NEW\"", "\"CANCELED\"")
    );
    let server = server(move |_| Reply::Json(409, body.clone())).await;
    let client = client_of(&server);
    let replace = ReplaceOrder { cancel: cancel(), new: buy(2, "99.00", "1") };
    let sent = AtomicUsize::new(0);
    let outcome = client
        .replace(&replace, &|info| {
            assert_eq!(info.client_order_id, id(2));
            sent.fetch_add(1, Ordering::SeqCst);
        })
        .await;
    assert!(matches!(outcome.cancel, CancelOutcome::Canceled(_)), "{outcome:?}");
    assert!(matches!(outcome.new, SubmitOutcome::Rejected(_)), "{outcome:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    let request = server.requests.lock().last().unwrap().clone();
    assert_eq!(request.param("cancelOrigClientOrderId").as_deref(), Some("k1-1-1"));
    assert_eq!(request.param("cancelReplaceMode").as_deref(), Some("STOP_ON_FAILURE"));
    client.close().await.unwrap();
}

#[tokio::test]
async fn fills_come_with_our_ids_where_the_venue_tells_them() {
    let server = server(|request| {
        let trade = |n: u64, order: u64| {
            format!(r#"{{"symbol":"BTCUSDT","id":{n},"orderId":{order},"price":"10","qty":"1","commission":"0.1","commissionAsset":"BNB","time":5,"isBuyer":true,"isMaker":false}}"#)
        };
        match request.path.as_str() {
            "/api/v3/myTrades" if request.param("fromId").is_none() => {
                let page: Vec<String> = (0..1_000).map(|n| trade(n, 28 + n % 3)).collect();
                Reply::Json(200, format!("[{}]", page.join(",")))
            }
            "/api/v3/myTrades" => Reply::Json(200, format!("[{}]", trade(1_000, 28))),
            "/api/v3/allOrders" => Reply::Json(200, format!(
                "[{},{},{}]",
                ACK,
                ACK.replace(":28,", ":29,").replace("k1-1-1", "web_x"),
                ACK.replace(":28,", ":30,").replace("k1-1-1", "k1-1-9"),
            )),
            _ => Reply::Json(404, String::new()),
        }
    })
    .await;
    let client = client_of(&server);
    let fills = client.fills(InstrumentId(0), Timestamp::from_ms(1)).await.unwrap();
    assert_eq!(fills.len(), 1_001);
    assert_eq!((fills[0].0, fills[1].0, fills[2].0, fills[1_000].0), (Some(id(1)), None, Some(id(9)), Some(id(1))));
    assert_eq!(server.count("GET", "/api/v3/allOrders"), 1);
    client.fills(InstrumentId(0), Timestamp::from_ms(1)).await.unwrap();
    assert_eq!(server.count("GET", "/api/v3/allOrders"), 1, "what is known is not asked for again");
    client.close().await.unwrap();
}

#[tokio::test]
async fn cancels_have_connections_of_their_own_when_every_other_one_hangs() {
    let server = server(|request| match request.method.as_str() {
        "POST" => Reply::Hang,
        _ => Reply::Json(200, ACK.replace("\"NEW\"", "\"CANCELED\"")),
    })
    .await;
    let (venue, _) = server.venue_with(|config| config.connections_max = 4);
    let client = Arc::new(venue.client());
    client.set_instruments(instruments(&["BTCUSDT"]));
    let mut hanging = tokio::task::JoinSet::new();
    for n in 0..10 {
        let client = client.clone();
        hanging.spawn(async move { client.submit(&buy(n, "1", "1"), &|_| {}).await });
    }
    until("all connections hang", || server.count("POST", "/api/v3/order") == 4).await;
    let canceled = tokio::time::timeout(Duration::from_secs(5), client.cancel(&cancel())).await.unwrap();
    assert!(matches!(canceled, CancelOutcome::Canceled(_)), "{canceled:?}");
    client.close().await.unwrap();
    let outcomes = hanging.join_all().await;
    let unknown = outcomes.iter().filter(|one| **one == SubmitOutcome::Unknown(UnknownReason::ConnectionLost)).count();
    let not_sent = outcomes.iter().filter(|one| **one == SubmitOutcome::NotSent(NotSentReason::Closed)).count();
    assert_eq!((unknown, not_sent), (4, 6), "{outcomes:?}");
}

#[tokio::test]
async fn s3_close_ends_calls_leaves_no_socket_and_is_idempotent() {
    let server = server(|_| Reply::Json(200, ACK.to_owned())).await;
    let (venue, ledger) = server.venue();
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    submit(&client).await;
    assert_eq!((ledger.count(LeaseKind::TcpSocket), ledger.count(LeaseKind::HttpClient)), (1, 1));
    client.close().await.unwrap();
    assert_eq!(ledger.total(), 0);
    client.close().await.unwrap();
    let (outcome, sent) = submit(&client).await;
    assert_eq!((outcome, sent.len()), (SubmitOutcome::NotSent(NotSentReason::Closed), 0));
    assert_eq!(client.cancel(&cancel()).await, CancelOutcome::NotSent(NotSentReason::Closed));
    assert!(matches!(client.server_time().await, Err(ExchangeError::Closed { .. })));
    drop(client);
    assert_eq!(ledger.dropped_unclosed().1, 0);
}

#[tokio::test]
async fn a_client_that_is_dropped_unclosed_is_reported_as_a_leak() {
    let server = server(|_| Reply::Json(200, ACK.to_owned())).await;
    let (venue, ledger) = server.venue();
    drop(venue.client());
    let (names, count) = ledger.dropped_unclosed();
    assert_eq!(count, 1, "{names:?}");
}

#[tokio::test]
async fn without_keys_public_questions_work_and_orders_do_not() {
    let server = server(|_| Reply::Json(200, ACK.to_owned())).await;
    let (venue, _) = server.venue_with(|config| config.credentials = None);
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    client.server_time().await.unwrap();
    assert!(matches!(client.balances().await, Err(ExchangeError::Credentials { .. })));
    assert_eq!(submit(&client).await.0, SubmitOutcome::NotSent(NotSentReason::NotExpressible));
    assert!(matches!(venue.account_feed(instruments(&["BTCUSDT"])), Err(ExchangeError::Credentials { .. })));
    client.close().await.unwrap();
}
