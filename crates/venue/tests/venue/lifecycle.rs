//! Starting and stopping.

use crate::support::{ALICE, Fixture, empty, eventually, synthetic};
use keel_lifecycle::LeaseKind;
use keel_venue::{
    AccountConfig, MarketSource, ReplaySpeed, ReplayStart, VenueConfig, VenueContext, VenueError, VenueServer,
};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn an_occupied_port_is_named_with_the_remedy() {
    let venue = Fixture::start(empty());
    let mut config = empty();
    config.bind = venue.handle.addr();
    let error = VenueServer::start(config, VenueContext::standalone()).unwrap_err();
    assert!(matches!(error, VenueError::AddressInUse { .. }));
    assert!(
        error.to_string().contains(&venue.handle.addr().to_string())
            && error.to_string().contains("choose another port")
    );
    venue.stop().await;
}

#[tokio::test]
async fn wrong_settings_are_refused_before_anything_starts() {
    let refused = |config: VenueConfig| VenueServer::start(config, VenueContext::standalone()).unwrap_err().to_string();
    let mut config = empty();
    config.accounts.push(AccountConfig::hmac(ALICE.0, "again"));
    assert!(refused(config).contains("named twice"));
    let mut config = empty();
    config.accounts.push(AccountConfig::ed25519_pem("pem", "nonsense"));
    assert!(refused(config).contains("Ed25519"));
    let mut config = empty();
    config.bind = "0.0.0.0:0".parse().unwrap();
    assert!(refused(config).contains("use 127.0.0.1"));
    let mut config = empty();
    config.limits.outbound_frames_max = 0;
    assert!(refused(config).contains("outbound_frames_max"));
    let market = MarketSource::Replay {
        path: "/no/such/recording.gz".into(),
        speed: ReplaySpeed::Times(0.0),
        start: ReplayStart::AtOnce,
    };
    assert!(refused(VenueConfig { market, ..empty() }).contains("speed 0"));
    assert!(
        refused(VenueConfig::replay(0, "/no/such/recording.gz", ReplaySpeed::Max)).contains("/no/such/recording.gz")
    );
}

#[test]
fn without_a_runtime_it_says_so() {
    let error = VenueServer::start(empty(), VenueContext::standalone()).unwrap_err();
    assert!(matches!(error, VenueError::NoRuntime));
}

#[tokio::test]
async fn without_accounts_there_are_two_funded_ones() {
    use secrecy::ExposeSecret as _;
    let venue = Fixture::start(VenueConfig::synthetic(0, 3));
    let demo = venue.handle.demo_accounts();
    assert_eq!(demo.len(), 2);
    for account in demo {
        let answer =
            venue.signed((&account.api_key, account.secret.expose_secret()), "GET", "/api/v3/account", "").await.ok();
        let held: Vec<_> =
            answer["balances"].as_array().unwrap().iter().map(|b| (b["asset"].clone(), b["free"].clone())).collect();
        for wanted in [("USDT", "100000.00000000"), ("BTC", "2.00000000"), ("ETH", "20.00000000")] {
            assert!(held.contains(&(json!(wanted.0), json!(wanted.1))), "{held:?}");
        }
    }
    venue.stop().await;
}

#[tokio::test]
async fn i10_nothing_is_left_behind_after_twenty_starts_and_stops() {
    for round in 0..20 {
        let venue = Fixture::start(synthetic());
        let mut ws = venue.ws("/stream?streams=btcusdt@trade/btcusdt@depth@100ms").await;
        assert_eq!(venue.get("/api/v3/ping", "").await.status, 200);
        ws.command("LIST_SUBSCRIPTIONS", json!([])).await;
        assert!(
            venue.context.ledger.count(LeaseKind::Websocket) == 1
                && venue.context.ledger.count(LeaseKind::Listener) == 1
        );
        let (ledger, group, addr) = (venue.context.ledger.clone(), venue.context.group.clone(), venue.handle.addr());
        let began = Instant::now();
        venue.stop().await;
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {:?}", began.elapsed());
        assert_eq!(ledger.live(), [], "round {round}");
        assert!(group.is_empty());
        assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn a_stop_with_nobody_connected_takes_no_time_and_can_be_asked_for_twice() {
    let venue = Fixture::start(synthetic());
    let began = Instant::now();
    let (a, b) = tokio::join!(venue.handle.stop(Duration::from_secs(5)), venue.handle.stop(Duration::from_secs(5)));
    assert!(a.is_clean() && b.is_clean());
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_request_that_hangs_by_a_fault_does_not_hold_up_the_stop() {
    let venue = Fixture::start(empty());
    venue.handle.faults().request(keel_venue::RequestFault {
        target: keel_venue::FaultTarget::Time,
        moment: keel_venue::FaultMoment::Before,
        effect: keel_venue::FaultEffect::Hang,
        times: 1,
    });
    let url = format!("{}/api/v3/time", venue.handle.rest_url());
    let http = venue.http.clone();
    let hung = tokio::spawn(async move { http.get(url).send().await.is_err() });
    eventually("it hangs", async || venue.handle.stats().requests == 1).await;
    let began = Instant::now();
    venue.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(hung.await.unwrap(), "the client sees its connection end");
}

#[tokio::test]
async fn x_07_slow_and_oversized_requests_end_their_connection() {
    let mut config = empty();
    config.limits.http_idle = Duration::from_millis(300);
    let venue = Fixture::start(config);
    let mut slow = tokio::net::TcpStream::connect(venue.handle.addr()).await.unwrap();
    slow.write_all(b"GET /api/v3/ping HT").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "a head that does not come ends the connection");
    let mut huge = tokio::net::TcpStream::connect(venue.handle.addr()).await.unwrap();
    let head = format!("GET /api/v3/ping HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(400_000));
    drop(huge.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(Duration::from_secs(10), huge.read_to_end(&mut answer)).await.unwrap());
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(venue.get("/api/v3/ping", "").await.status, 200);
    venue.stop().await;
}

#[tokio::test]
async fn too_many_connections_are_refused_and_others_go_on() {
    let mut config = empty();
    config.limits.connections_max = 3;
    let venue = Fixture::start(config);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(venue.ws("/ws").await);
    }
    eventually("three are open", async || venue.handle.stats().ws_open == 3 && venue.handle.stats().http_open == 0)
        .await;
    assert!(tokio_tungstenite::connect_async(format!("{}/ws", venue.handle.ws_url())).await.is_err());
    held.pop();
    eventually("one has gone", async || venue.handle.stats().ws_open == 2).await;
    venue.ws("/ws").await;
    venue.stop().await;
}
