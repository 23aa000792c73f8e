//! The proxy between a plain client and an echo.
#![allow(clippy::disallowed_methods, reason = "tests measure with the machine's clock and spawn plain tasks")]

use keel_faultproxy::{Break, Door, Lane, Plan, Proxy, Scope};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(150);

/// Sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    addr
}

async fn through(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.unwrap()
}

async fn say(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    back
}

async fn stop(proxy: Proxy) {
    let report = proxy.stop(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn bytes_pass_unchanged_and_in_order_whatever_the_lanes_do() {
    let proxy = Proxy::start(echo().await).unwrap();
    let lane =
        Lane { jitter: Duration::from_millis(3), chunk_bytes_max: Some(97), ..Lane::late(Duration::from_millis(5)) };
    proxy.set_plan(Plan { up: lane, down: lane, ..Plan::default() });
    let mut stream = through(&proxy).await;
    let text: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(say(&mut stream, &text).await, text);
    let stats = proxy.stats();
    assert_eq!((stats.accepted, stats.up_bytes, stats.down_bytes), (1, 20_000, 20_000));
    stop(proxy).await;
}

#[tokio::test]
async fn n_18_latency_and_bandwidth_are_as_asked_for() {
    let proxy = Proxy::start(echo().await).unwrap();
    let slow = Lane { bytes_per_s: Some(10_000), chunk_bytes_max: Some(500), ..Lane::late(Duration::from_millis(100)) };
    proxy.next_plans([Plan { up: slow, ..Plan::default() }]);
    let mut stream = through(&proxy).await;
    let began = Instant::now();
    say(&mut stream, &[7; 3_000]).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    stop(proxy).await;
}

#[tokio::test]
async fn n_04_a_connection_is_reset_after_exactly_so_many_bytes() {
    let proxy = Proxy::start(echo().await).unwrap();
    proxy.next_plans([Plan { down: Lane::broken(10, Break::Reset), ..Plan::default() }]);
    let mut stream = through(&proxy).await;
    stream.write_all(&[1; 64]).await.unwrap();
    let mut got = Vec::new();
    let error = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), got.len()), (ErrorKind::ConnectionReset, 10));
    let mut next = through(&proxy).await;
    assert_eq!(say(&mut next, b"again").await, b"again");
    stop(proxy).await;
}

#[tokio::test]
async fn a_connection_is_closed_in_order_after_so_many_bytes_of_the_request() {
    let proxy = Proxy::start(echo().await).unwrap();
    proxy.next_plans([Plan { up: Lane::broken(5, Break::Close), ..Plan::default() }]);
    let mut stream = through(&proxy).await;
    stream.write_all(b"123456789").await.unwrap();
    let mut got = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await.unwrap();
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(b"12345".starts_with(got.as_slice()), "{got:?}");
    assert_eq!(proxy.stats().up_bytes, 5);
    stop(proxy).await;
}

#[tokio::test]
async fn n_05_a_half_open_connection_takes_everything_and_says_nothing() {
    let proxy = Proxy::start(echo().await).unwrap();
    let mut stream = through(&proxy).await;
    assert_eq!(say(&mut stream, b"before").await, b"before");
    for how in [Break::HalfOpen, Break::Stall] {
        proxy.hold(how);
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"lost").await.unwrap();
        let mut byte = [0; 1];
        assert!(tokio::time::timeout(SILENCE, stream.read(&mut byte)).await.is_err(), "{how:?}");
        proxy.release();
        // What a stalled line held back comes late; what a dead one took is lost.
        if how == Break::Stall {
            let mut late = [0; 4];
            tokio::time::timeout(PATIENCE, stream.read_exact(&mut late)).await.unwrap().unwrap();
            assert_eq!(&late, b"lost");
        }
    }
    assert_eq!(say(&mut stream, b"after").await, b"after");
    proxy.break_all(Break::Close);
    let mut rest = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap());
    stop(proxy).await;
}

#[tokio::test]
async fn n_02_new_connections_are_refused_closed_reset_left_alone_or_not_even_answered() {
    let proxy = Proxy::start(echo().await).unwrap();
    let settle = || tokio::time::sleep(Duration::from_millis(50));
    let mut byte = [0; 1];
    proxy.set_door(Door::Refuse);
    settle().await;
    assert_eq!(TcpStream::connect(proxy.addr()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.set_door(Door::Close);
    settle().await;
    assert_eq!(tokio::time::timeout(PATIENCE, through(&proxy).await.read(&mut byte)).await.unwrap().unwrap(), 0);
    proxy.set_door(Door::Reset);
    settle().await;
    let mut stream = through(&proxy).await;
    let error = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    proxy.set_door(Door::Hollow);
    settle().await;
    let mut stream = through(&proxy).await;
    stream.write_all(b"hello?").await.unwrap();
    assert!(tokio::time::timeout(SILENCE, stream.read(&mut byte)).await.is_err());
    proxy.set_door(Door::Ignore);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let ignored = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(proxy.addr())).await;
    assert!(ignored.is_err(), "{ignored:?}");
    proxy.set_door(Door::Open);
    settle().await;
    assert_eq!(say(&mut through(&proxy).await, b"back").await, b"back");
    stop(proxy).await;
}

#[tokio::test]
async fn n_06_a_drip_gives_one_byte_at_a_time() {
    let proxy = Proxy::start(echo().await).unwrap();
    proxy.next_plans([Plan { down: Lane::drip(50), ..Plan::default() }]);
    let mut stream = through(&proxy).await;
    stream.write_all(&[3; 6]).await.unwrap();
    let began = Instant::now();
    let mut got = 0;
    while got < 6 {
        let mut buffer = [0; 64];
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(count, 1);
        got += count;
    }
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
    stop(proxy).await;
}

#[tokio::test]
async fn n_19_one_kind_of_connection_is_down_while_the_other_is_up() {
    const STREAMS: Scope = Scope::Starting(&["GET /ws"]);
    let proxy = Proxy::start(echo().await).unwrap();
    let (mut stream, mut request) = (through(&proxy).await, through(&proxy).await);
    assert_eq!(say(&mut stream, b"GET /ws").await, b"GET /ws");
    assert_eq!(say(&mut request, b"GET /api").await, b"GET /api");
    proxy.hold_some(Break::HalfOpen, STREAMS);
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.write_all(b"lost").await.unwrap();
    assert!(tokio::time::timeout(SILENCE, stream.read(&mut [0; 1])).await.is_err());
    assert_eq!(say(&mut request, b"up").await, b"up");
    let mut next = through(&proxy).await;
    next.write_all(b"GET /ws").await.unwrap();
    assert!(tokio::time::timeout(SILENCE, next.read(&mut [0; 1])).await.is_err());
    proxy.release();
    proxy.break_some(Break::Reset, STREAMS);
    assert!(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap().is_err());
    assert_eq!(say(&mut request, b"still up").await, b"still up");
    stop(proxy).await;
}
