//! The account feed over real WebSockets.

use crate::server::{KEY, Reply, SECRET, Server, hear, instruments, say, until, usual, wall_ms};
use hmac::{Hmac, KeyInit, Mac};
use keel_exchange::{AccountFeed, AccountSink, ExchangeError};
use keel_lifecycle::ResourceLedger;
use keel_model::{Balance, ExecutionReport, FeedState, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Seen {
    reports: Mutex<Vec<ExecutionReport>>,
    balances: Mutex<Vec<Balance>>,
    states: Mutex<Vec<FeedState>>,
}

impl AccountSink for Seen {
    fn on_report(&self, report: ExecutionReport) {
        self.reports.lock().push(report);
    }
    fn on_balances(&self, balances: Vec<Balance>, _ts_event: Timestamp) {
        self.balances.lock().extend(balances);
    }
    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        self.states.lock().push(state);
    }
}

struct Running {
    server: Server,
    seen: Arc<Seen>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ExchangeError>>,
    ledger: ResourceLedger,
}

async fn run() -> Running {
    let server = Server::start(|request| usual(request, wall_ms()).unwrap_or(Reply::Json(404, String::new()))).await;
    let (venue, ledger) = server.venue();
    let feed = Box::new(venue.account_feed(instruments(&["BTCUSDT"])).unwrap());
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let task = tokio::spawn(feed.run(seen.clone(), stop.clone()));
    Running { server, seen, stop, task, ledger }
}

impl Running {
    /// Accepts a connection and checks its subscription; the answer is the caller's.
    async fn asked(&self) -> (WebSocketStream<TcpStream>, u64) {
        let (path, mut socket) = self.server.websocket().await;
        assert_eq!(path, "/ws-api/v3");
        let request: serde_json::Value = serde_json::from_str(&hear(&mut socket).await).unwrap();
        assert_eq!(request["method"], "userDataStream.subscribe.signature");
        let params = &request["params"];
        assert_eq!(params["apiKey"], KEY);
        let payload = format!("apiKey={KEY}&recvWindow={}&timestamp={}", params["recvWindow"], params["timestamp"]);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(payload.as_bytes());
        assert_eq!(params["signature"].as_str().unwrap(), hex::encode(mac.finalize().into_bytes()));
        (socket, request["id"].as_u64().unwrap())
    }

    async fn subscribed(&self) -> WebSocketStream<TcpStream> {
        let (mut socket, id) = self.asked().await;
        say(&mut socket, format!(r#"{{"id":{id},"status":200,"result":{{"subscriptionId":0}}}}"#)).await;
        socket
    }

    async fn states(&self, expected: &[FeedState]) {
        until(&format!("{expected:?}"), || self.seen.states.lock().as_slice() == expected).await;
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(crate::server::PATIENCE, self.task).await.unwrap().unwrap().unwrap();
        assert_eq!(self.ledger.total(), 0, "{:?}", self.ledger.live());
    }
}

const REPORT: &str = r#"{"subscriptionId":0,"event":{"e":"executionReport","E":5,"s":"BTCUSDT","c":"k1-1-1","S":"BUY","q":"1","p":"10","C":"","x":"NEW","X":"NEW","r":"NONE","i":7,"l":"0","z":"0","L":"0","n":"0","N":null,"T":5,"t":-1,"m":false}}"#;

#[tokio::test]
async fn an_account_feed_subscribes_with_a_signature_and_delivers() {
    let feed = run().await;
    let mut socket = feed.subscribed().await;
    feed.states(&[FeedState::Live]).await;
    say(&mut socket, REPORT).await;
    say(&mut socket, r#"{"event":{"e":"outboundAccountPosition","E":1,"u":1,"B":[{"a":"BTC","f":"1","l":"0"}]}}"#)
        .await;
    until("a report and a balance", || feed.seen.reports.lock().len() + feed.seen.balances.lock().len() == 2).await;
    feed.end().await;
}

#[tokio::test]
async fn n10_a_lost_connection_is_down_and_live_again() {
    let feed = run().await;
    drop(feed.subscribed().await);
    let _socket = feed.subscribed().await;
    feed.states(&[FeedState::Live, FeedState::Down, FeedState::Live]).await;
    feed.end().await;
}

#[tokio::test]
async fn v23_a_revoked_key_ends_the_feed_with_the_reason() {
    let feed = run().await;
    let (mut socket, id) = feed.asked().await;
    say(&mut socket, format!(r#"{{"id":{id},"status":401,"error":{{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}}}"#)).await;
    let ended = tokio::time::timeout(crate::server::PATIENCE, feed.task).await.unwrap().unwrap();
    assert!(
        matches!(&ended, Err(ExchangeError::Credentials { cause, .. }) if cause.contains("Invalid API-key")),
        "{ended:?}"
    );
    assert_eq!(feed.ledger.total(), 0);
}

#[tokio::test]
async fn stopping_while_a_subscription_is_not_answered_takes_no_time() {
    let feed = run().await;
    let _silent = feed.asked().await;
    feed.end().await;
}
