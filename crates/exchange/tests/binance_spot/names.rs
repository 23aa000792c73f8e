//! Names that cannot be resolved, are resolved late or wrongly (N-01), and bans that outlive a restart (V-16).

use crate::server::{PATIENCE, Reply, Server, buy, instruments, usual, wall_ms};
use async_trait::async_trait;
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig, Resolver};
use keel_exchange::{ExchangeClient, ExchangeError, FeedSink, MarketDataFeed, Subscription};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::{FeedState, InstrumentId, MarketEvent, NotSentReason, StreamKind, SubmitOutcome, Timestamp};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ACK: &str = r#"{"symbol":"BTCUSDT","orderId":28,"clientOrderId":"k1-1-1","transactTime":1507725176595,"price":"1.00","origQty":"1","executedQty":"0","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY","fills":[]}"#;

#[derive(Clone, Debug)]
enum Mood {
    Fails,
    Hangs,
    Says(Vec<[u8; 4]>),
}

#[derive(Debug)]
struct Script {
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Script {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "localhost");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.lock().clone();
        match mood {
            Mood::Fails => Err(io::Error::other("temporary failure in name resolution")),
            Mood::Hangs => std::future::pending().await,
            Mood::Says(addresses) => Ok(addresses.into_iter().map(|ip| SocketAddr::from((ip, port))).collect()),
        }
    }
}

#[tokio::test]
async fn n_01_names_that_fail_hang_or_lie_send_nothing_until_an_address_is_known_and_then_hurt_nobody() {
    // Each answer ends its connection, so that each call needs a new one.
    let server = Server::start(|request| match usual(request, wall_ms()) {
        Some(Reply::Json(status, body)) => Reply::ThenCut(status, body),
        _ => Reply::ThenCut(200, ACK.to_owned()),
    })
    .await;
    let script = Arc::new(Script { mood: Mutex::new(Mood::Fails), asked: AtomicUsize::new(0) });
    let mut config = server.config();
    config.rest_url = format!("http://localhost:{}", server.addr.port());
    config.connect_timeout_ms = 600;
    let venue = BinanceSpot::with_resolver(config, Clock::system(), ResourceLedger::default(), script.clone()).unwrap();
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    let not_sent = SubmitOutcome::NotSent(NotSentReason::NotConnected);
    // Loopback addresses on which nobody listens are as good as wrong ones.
    let wrong = Mood::Says(vec![[127, 0, 0, 9], [127, 0, 0, 8]]);
    for mood in [Mood::Fails, Mood::Hangs, wrong.clone(), Mood::Says(vec![])] {
        *script.mood.lock() = mood.clone();
        let outcome = tokio::time::timeout(PATIENCE, client.submit(&buy(1, "1", "1"), &|_| panic!("sent"))).await;
        assert_eq!(outcome.unwrap(), not_sent, "{mood:?}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    *script.mood.lock() = Mood::Says(vec![[127, 0, 0, 1]]);
    let accepted = |outcome: SubmitOutcome| assert!(matches!(outcome, SubmitOutcome::Accepted(_)), "{outcome:?}");
    accepted(client.submit(&buy(2, "1", "1"), &|_| {}).await);
    for (sequence, mood) in [(3, wrong), (4, Mood::Hangs), (5, Mood::Fails), (6, Mood::Fails)] {
        *script.mood.lock() = mood;
        accepted(client.submit(&buy(sequence, "1", "1"), &|_| {}).await);
    }
    // While it fails it is left alone for a while.
    let asked = script.asked.load(Ordering::SeqCst);
    for sequence in 10..20 {
        accepted(client.submit(&buy(sequence, "1", "1"), &|_| {}).await);
    }
    assert!(script.asked.load(Ordering::SeqCst) - asked <= 3, "no hot loop");
    client.close().await.unwrap();
}

struct Deaf;

impl FeedSink for Deaf {
    fn on_market(&self, _event: &MarketEvent) {}
    fn on_state(&self, _stream: StreamKind, _state: FeedState, _ts: Timestamp) {}
}

#[tokio::test]
async fn v_16_a_restart_inside_a_ban_opens_no_socket_and_says_until_when() {
    let folder = std::env::temp_dir().join(format!("keel-ban-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ban.json");
    let server = Server::start(|_| {
        Reply::With(418, "retry-after: 7200\r\n", r#"{"code":-1003,"msg":"Way too much request weight used"}"#.into())
    })
    .await;
    let config = || BinanceSpotConfig { ban_file: Some(file.clone()), ..server.config() };
    let first = BinanceSpot::new(config(), Clock::system(), ResourceLedger::default()).unwrap();
    assert!(first.client().server_time().await.is_err());
    drop(first);
    let (requests, connections) = (server.requests.lock().len(), server.connections.load(Ordering::SeqCst));
    assert_eq!((requests, connections), (1, 1));
    // The next process.
    let second = BinanceSpot::new(config(), Clock::system(), ResourceLedger::default()).unwrap();
    let client = second.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    let error = client.server_time().await.unwrap_err();
    let ExchangeError::Banned { left_ms, .. } = &error else { panic!("{error}") };
    assert!((7_100_000..=7_200_000).contains(left_ms), "{left_ms}");
    assert!(error.to_string().contains("has banned this address until 20"), "{error}");
    let outcome = client.submit(&buy(1, "1", "1"), &|_| panic!("sent")).await;
    assert_eq!(outcome, SubmitOutcome::NotSent(NotSentReason::RateLimited));
    let all = Subscription { instrument: InstrumentId(0), top_of_book: true, depth: true, trades: true };
    let feed = Box::new(second.market_feed(instruments(&["BTCUSDT"]), vec![all]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(feed.run(Arc::new(Deaf), stop.clone()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), connections, "not one more socket");
    client.close().await.unwrap();
    // Another venue's ban is not ours; and when it is over, it is over.
    let elsewhere = BinanceSpotConfig { rest_url: format!("http://localhost:{}", server.addr.port()), ..config() };
    let elsewhere = BinanceSpot::new(elsewhere, Clock::system(), ResourceLedger::default()).unwrap();
    assert!(matches!(elsewhere.client().server_time().await, Err(ExchangeError::RateLimited { .. })));
    let later = Clock::manual_at(Clock::system().now_ns() + 8_000 * 1_000_000_000);
    let third = BinanceSpot::new(config(), later, ResourceLedger::default()).unwrap();
    assert!(matches!(third.client().server_time().await, Err(ExchangeError::RateLimited { .. })), "it left");
    // What cannot be read is not taken for no ban.
    std::fs::write(&file, "{").unwrap();
    let error = BinanceSpot::new(config(), Clock::system(), ResourceLedger::default()).unwrap_err();
    assert!(error.to_string().contains("remove the file if you are sure"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
