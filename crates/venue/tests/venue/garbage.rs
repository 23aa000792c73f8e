//! X-11, N-15: whatever comes in, nothing panics and others are served.

use crate::support::{ALICE, Fixture, empty, sign_ws};
use futures_util::SinkExt as _;
use keel_lifecycle::Supervisor;
use keel_sim::rng::Rng;
use keel_venue::{VenueContext, VenueServer};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

const WORDS: [&str; 30] = [
    "symbol",
    "BTCUSDT",
    "side",
    "BUY",
    "type",
    "LIMIT",
    "quantity",
    "-1",
    "1e308",
    "NaN",
    "0.00000000000000000000001",
    "99999999999999999999999",
    "timestamp",
    "signature",
    "&",
    "=",
    "%",
    "%ff",
    "%00",
    "\u{1F4B0}",
    "[\"",
    "]",
    "{",
    "}",
    ":",
    "\"",
    "null",
    "true",
    "limit",
    "recvWindow",
];

fn text(rng: &mut Rng) -> String {
    (0..rng.below(12)).map(|_| WORDS[rng.below(WORDS.len() as u64) as usize]).collect()
}

#[tokio::test]
async fn random_requests_and_messages_never_bring_the_venue_down() {
    let supervisor = Supervisor::default();
    let context =
        VenueContext { group: supervisor.group("venue"), ledger: supervisor.ledger(), clock: supervisor.clock() };
    let mut config = empty();
    config.limits = keel_venue::VenueLimits::unlimited();
    let handle = VenueServer::start(config, context.clone()).unwrap();
    let venue = Fixture::around(handle, context);
    let mut rng = Rng::new(20_261_121);
    let paths = [
        "/api/v3/order",
        "/api/v3/depth",
        "/api/v3/klines",
        "/api/v3/orderList/oco",
        "/sapi/v1/asset/tradeFee",
        "/ws",
        "/x",
    ];
    for _ in 0..400 {
        let path = paths[rng.below(paths.len() as u64) as usize];
        let method = ["GET", "POST", "PUT", "DELETE"][rng.below(4) as usize];
        let query = text(&mut rng).replace([' ', '"', '{', '}', '\u{1F4B0}'], "_");
        let body = text(&mut rng);
        let signed = venue.signed(ALICE, method, path, &query).await;
        assert!((400..500).contains(&signed.status) || signed.status == 200, "{method} {path} {query}: {signed:?}");
        let reply = venue.send(method.parse().unwrap(), path, &query, Some(body), Some(ALICE.0)).await;
        assert!(reply.status < 500, "{method} {path}: {reply:?}");
    }
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(venue.handle.addr()).await.unwrap();
        let bytes: Vec<u8> = (0..rng.below(300)).map(|_| rng.below(256) as u8).collect();
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap());
    }
    for path in ["/ws", "/stream", "/ws-api/v3"] {
        let mut ws = venue.ws(path).await;
        for round in 0..300u64 {
            let message = match round % 3 {
                0 => text(&mut rng),
                1 => json!({"id": text(&mut rng), "method": text(&mut rng), "params": [text(&mut rng)]}).to_string(),
                _ => {
                    let method = ["order.place", "depth", "SUBSCRIBE", "session.logon"][rng.below(4) as usize];
                    let params = sign_ws(ALICE, json!({text(&mut rng): text(&mut rng), "symbol": text(&mut rng)}));
                    json!({"id": round, "method": method, "params": params}).to_string()
                }
            };
            ws.send(message).await;
            let answer = ws.json().await;
            assert!(
                answer.get("code").is_some() || answer.get("error").is_some() || answer.get("result").is_some(),
                "{answer}"
            );
        }
    }
    // Messages that no client should send end their own connection alone.
    let mut binary = venue.ws("/ws").await;
    binary.socket.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
    assert_eq!(binary.closed().await.map(|(code, _)| code), Some(1003));
    let mut long = venue.ws("/ws-api/v3").await;
    drop(long.socket.send(Message::text("x".repeat(300_000))).await);
    assert!(long.closed().await.is_none_or(|(code, _)| code == 1009));
    assert_eq!(venue.get("/api/v3/ping", "").await.status, 200);
    assert_eq!(supervisor.background_panics(), 0);
    venue.stop().await;
    assert_eq!(supervisor.failures(), []);
}
