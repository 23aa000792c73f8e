//! Rate limits as clients meet them.

use crate::support::{ALICE, BOB, Fixture, empty};
use keel_venue::VenueLimits;

#[tokio::test]
async fn v_15_v_16_weight_beyond_the_limit_is_429_with_retry_after_and_then_418() {
    let mut config = empty();
    config.limits = VenueLimits { request_weight_per_minute: 50, refusals_before_ban: 2, ..VenueLimits::default() };
    let venue = Fixture::start(config);
    let first = venue.get("/api/v3/exchangeInfo", "").await;
    assert_eq!((first.status, first.header("x-mbx-used-weight-1m")), (200, Some(20)));
    let mut seen = Vec::new();
    for _ in 0..12 {
        let reply = venue.get("/api/v3/exchangeInfo", "").await;
        if reply.status == 200 {
            continue;
        }
        assert_eq!(reply.code(), -1003);
        assert!(reply.header("retry-after").is_some_and(|seconds| (1..=120).contains(&seconds)), "{:?}", reply.headers);
        seen.push(reply.status);
    }
    assert!(seen.starts_with(&[429, 429, 418]), "{seen:?}");
    assert_eq!(seen.last(), Some(&418));
    venue.handle.faults().forgive();
    assert_eq!(venue.get("/api/v3/ping", "").await.status, 200);
    venue.handle.faults().ban(std::time::Duration::from_secs(60));
    let banned = venue.get("/api/v3/ping", "").await;
    assert_eq!(banned.status, 418);
    assert!(banned.body["msg"].as_str().unwrap().starts_with("Way too much request weight used; IP banned until "));
    venue.stop().await;
}

#[tokio::test]
async fn too_many_unfilled_orders_are_refused_per_account_and_cancels_are_not() {
    let mut config = empty();
    config.limits.orders_per_10s = 0;
    config.limits.orders_per_day = 3;
    let venue = Fixture::start(config);
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=59000";
    for _ in 0..3 {
        assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order", order).await.status, 200);
    }
    let refused = venue.signed(ALICE, "POST", "/api/v3/order", order).await;
    assert_eq!((refused.status, refused.code()), (429, -1015));
    assert_eq!(refused.body["msg"], "Too many new orders; current limit is 3 orders per 1 DAY.");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(venue.signed(BOB, "POST", "/api/v3/order", order).await.status, 200);
    let replace = format!("{order}&cancelReplaceMode=STOP_ON_FAILURE&cancelOrderId=1");
    assert_eq!(venue.signed(ALICE, "POST", "/api/v3/order/cancelReplace", &replace).await.code(), -1015);
    let only = venue
        .signed(
            ALICE,
            "POST",
            "/api/v3/order/cancelReplace",
            &format!("{replace}&orderRateLimitExceededMode=CANCEL_ONLY"),
        )
        .await;
    assert_eq!((only.status, only.code()), (409, -2021));
    assert_eq!(only.body["data"]["newOrderResponse"]["code"], -1015);
    assert_eq!(
        venue.signed(ALICE, "DELETE", "/api/v3/openOrders", "symbol=BTCUSDT").await.ok().as_array().unwrap().len(),
        2
    );
    venue.stop().await;
}

#[tokio::test]
async fn n_12_websocket_connections_and_messages_are_limited() {
    let mut config = empty();
    config.limits.ws_connections_per_5m = 3;
    config.limits.streams_per_connection = 4;
    let venue = Fixture::start(config);
    let mut flood = venue.ws("/ws").await;
    for id in 0..40 {
        flood.send(format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":{id}}}"#)).await;
    }
    assert_eq!(flood.closed().await.map(|(code, _)| code), Some(1008));
    let mut many = venue.ws("/ws").await;
    many.send(r#"{"method":"SUBSCRIBE","params":["a@trade","b@trade","c@trade","d@trade","e@trade"],"id":1}"#).await;
    assert_eq!(many.closed().await, Some((1008, "too many streams".to_owned())));
    drop(venue.ws("/ws").await);
    let url = format!("{}/ws", venue.handle.ws_url());
    let refused = tokio_tungstenite::connect_async(url).await.unwrap_err();
    assert!(refused.to_string().contains("429"), "{refused}");
    venue.stop().await;
}
