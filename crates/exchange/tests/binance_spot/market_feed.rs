//! The market feed over real WebSockets.

use crate::server::{Reply, Server, hear, instruments, say, until, usual, wall_ms};
use futures_util::{SinkExt, StreamExt};
use keel_exchange::binance::spot::BinanceSpotConfig;
use keel_exchange::{ExchangeError, FeedSink, MarketDataFeed, Subscription};
use keel_lifecycle::{LeaseKind, ResourceLedger};
use keel_model::{FeedState, InstrumentId, MarketEvent, StreamKind, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Seen {
    events: Mutex<Vec<MarketEvent>>,
    states: Mutex<Vec<FeedState>>,
}

impl FeedSink for Seen {
    fn on_market(&self, event: &MarketEvent) {
        self.events.lock().push(event.clone());
    }
    fn on_state(&self, _stream: StreamKind, state: FeedState, _ts: Timestamp) {
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

/// The venue's book is at update 100; snapshots say so.
async fn run(change: impl FnOnce(&mut BinanceSpotConfig)) -> Running {
    let server = Server::start(|request| {
        usual(request, wall_ms()).unwrap_or_else(|| {
            assert_eq!(request.path, "/api/v3/depth");
            Reply::Json(200, r#"{"lastUpdateId":100,"bids":[["10.00","1"]],"asks":[["11.00","1"]]}"#.into())
        })
    })
    .await;
    let (venue, ledger) = server.venue_with(change);
    let wanted = Subscription { instrument: InstrumentId(0), top_of_book: true, depth: true, trades: true };
    let feed = Box::new(venue.market_feed(instruments(&["BTCUSDT"]), vec![wanted]));
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let task = tokio::spawn(feed.run(seen.clone(), stop.clone()));
    Running { server, seen, stop, task, ledger }
}

impl Running {
    async fn subscribed(&self) -> WebSocketStream<TcpStream> {
        let (path, mut socket) = self.server.websocket().await;
        assert_eq!(path, "/stream");
        let request: serde_json::Value = serde_json::from_str(&hear(&mut socket).await).unwrap();
        assert_eq!(request["method"], "SUBSCRIBE");
        say(&mut socket, format!(r#"{{"result":null,"id":{}}}"#, request["id"])).await;
        socket
    }

    async fn state(&self, expected: FeedState) {
        until(&format!("{expected:?}"), || self.seen.states.lock().last() == Some(&expected)).await;
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(crate::server::PATIENCE, self.task).await.unwrap().unwrap().unwrap();
        assert_eq!(self.ledger.total(), 0, "{:?}", self.ledger.live());
    }
}

fn delta(first: u64, last: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":{first},"u":{last},"b":[["10.00","{last}"]],"a":[]}}}}"#
    )
}

#[tokio::test]
async fn a_feed_subscribes_synchronises_delivers_and_stops_with_a_close_frame() {
    let feed = run(|_| {}).await;
    let mut socket = feed.subscribed().await;
    feed.state(FeedState::Live).await;
    assert_eq!(feed.ledger.count(LeaseKind::Websocket), 1);
    say(&mut socket, delta(95, 101)).await;
    say(&mut socket, r#"{"u":102,"s":"BTCUSDT","b":"10.00","B":"1","a":"11.00","A":"1"}"#).await;
    say(&mut socket, r#"{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"10.5","q":"1","T":1,"m":true,"M":true}"#).await;
    until("four events", || feed.seen.events.lock().len() == 4).await;
    assert!(matches!(feed.seen.events.lock()[0], MarketEvent::BookSnapshot(_)));
    assert!(feed.seen.events.lock().iter().all(|event| event.ts_recv() > Timestamp::ZERO));
    let closing = tokio::spawn(async move {
        while let Some(message) = socket.next().await {
            if matches!(message, Ok(Message::Close(_))) {
                return true;
            }
        }
        false
    });
    feed.end().await;
    assert!(closing.await.unwrap(), "a close frame says goodbye");
}

#[tokio::test]
async fn pings_are_answered() {
    let feed = run(|_| {}).await;
    let mut socket = feed.subscribed().await;
    socket.send(Message::Ping(Bytes::from_static(b"are you there"))).await.unwrap();
    let pong = tokio::time::timeout(crate::server::PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"are you there")));
    feed.end().await;
}

#[tokio::test]
async fn n13_a_gap_is_resynchronised() {
    let feed = run(|_| {}).await;
    let mut socket = feed.subscribed().await;
    feed.state(FeedState::Live).await;
    say(&mut socket, delta(50, 101)).await;
    say(&mut socket, delta(103, 104)).await;
    feed.state(FeedState::Resyncing).await;
    // The snapshot of this venue stays at 100, so that it takes a delta that reaches back to it.
    until("another snapshot was asked for", || feed.server.count("GET", "/api/v3/depth") >= 2).await;
    assert_eq!(*feed.seen.states.lock(), [FeedState::Live, FeedState::Resyncing]);
    feed.end().await;
}

#[tokio::test]
async fn a_cut_connection_is_down_and_comes_back_in_step() {
    let feed = run(|_| {}).await;
    for _ in 0..3 {
        let socket = feed.subscribed().await;
        feed.state(FeedState::Live).await;
        drop(socket);
        feed.state(FeedState::Down).await;
    }
    let _last = feed.subscribed().await;
    feed.state(FeedState::Live).await;
    feed.end().await;
}

#[tokio::test]
async fn n15_oversized_and_impossible_frames_end_the_connection_and_not_the_feed() {
    let feed = run(|_| {}).await;
    for n in 0..3 {
        let mut socket = feed.subscribed().await;
        feed.state(FeedState::Live).await;
        match n {
            // Sent in pieces until the client has had enough.
            0 => drop(socket.send(Message::text("x".repeat(5 << 20))).await),
            1 => {
                use tokio::io::AsyncWriteExt;
                // A text frame that is no UTF-8.
                socket.get_mut().write_all(&[0x81, 0x02, 0xff, 0xfe]).await.unwrap();
            }
            _ => {
                use tokio::io::AsyncWriteExt;
                // Reserved bits, and a length of 2^63.
                socket.get_mut().write_all(&[0xff, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
            }
        }
        feed.state(FeedState::Down).await;
    }
    feed.subscribed().await;
    feed.end().await;
}

#[tokio::test]
async fn n09_a_server_shutdown_opens_the_new_connection_before_the_old_one_goes() {
    let feed = run(|config| config.streams.overlap_ms = 200).await;
    let mut old = feed.subscribed().await;
    feed.state(FeedState::Live).await;
    say(&mut old, r#"{"e":"serverShutdown","E":1}"#).await;
    let mut new = feed.subscribed().await;
    say(&mut old, delta(90, 101)).await;
    say(&mut new, delta(100, 102)).await;
    loop {
        match tokio::time::timeout(crate::server::PATIENCE, old.next()).await.unwrap() {
            Some(Ok(Message::Close(_))) | None => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
    say(&mut new, delta(103, 104)).await;
    until("the row goes on", || feed.seen.events.lock().len() == 4).await;
    assert_eq!(*feed.seen.states.lock(), [FeedState::Live], "never anything else");
    feed.end().await;
}

#[tokio::test]
async fn n12_a_venue_that_is_not_there_is_asked_with_pauses_and_stopping_takes_no_time() {
    let feed = run(|config| config.stream_url = "ws://127.0.0.1:1".into()).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(feed.seen.states.lock().is_empty(), "it never was live");
    feed.end().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_does_not_hold_up_the_stop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let feed = run(|config| config.stream_url = format!("ws://{addr}")).await;
    let (_silent, _) = listener.accept().await.unwrap();
    feed.end().await;
}

#[tokio::test]
async fn a_feed_of_nothing_waits_for_its_stop_and_subscriptions_of_one_instrument_are_one() {
    let server = Server::start(|_| Reply::Json(404, String::new())).await;
    let (venue, ledger) = server.venue();
    let nothing = Subscription { instrument: InstrumentId(0), top_of_book: false, depth: false, trades: false };
    for (wanted, streams) in [
        (vec![], None),
        (vec![nothing], None),
        (
            vec![Subscription { trades: true, ..nothing }, Subscription { top_of_book: true, ..nothing }],
            Some(serde_json::json!(["btcusdt@bookTicker", "btcusdt@trade"])),
        ),
    ] {
        let feed = Box::new(venue.market_feed(instruments(&["BTCUSDT"]), wanted));
        let stop = CancellationToken::new();
        let task = tokio::spawn(feed.run(Arc::new(Seen::default()), stop.clone()));
        match streams {
            Some(expected) => {
                let (_, mut socket) = server.websocket().await;
                let request: serde_json::Value = serde_json::from_str(&hear(&mut socket).await).unwrap();
                assert_eq!(request["params"], expected);
            }
            None => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                assert!(!task.is_finished(), "an early end would stop the system");
            }
        }
        stop.cancel();
        tokio::time::timeout(crate::server::PATIENCE, task).await.unwrap().unwrap().unwrap();
        assert_eq!(ledger.total(), 0);
    }
}
