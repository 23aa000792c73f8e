//! How many orders a second the venue takes over loopback, over REST and over the WebSocket API, alone and with 200 market
//! streams listening. `cargo bench -p keel-venue --bench load [-- ORDERS]`.
//!
//! Requests are signed beforehand, so that the figure is the venue's and not the signer's; clients keep a few requests under
//! way on each of their connections, as a busy client does. Orders rest far from the market and are cancelled in between.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the machine's clock and spawns plain tasks")]

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use keel_venue::{AccountConfig, MarketSource, VenueConfig, VenueContext, VenueHandle, VenueLimits, VenueServer};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "bench-key";
const SECRET: &str = "bench-secret";
const CONNECTIONS: usize = 4;
const UNDER_WAY: usize = 16;
const STREAMS: usize = 200;

fn main() {
    let orders: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(100_000);
    let venue_runtime = runtime("venue");
    let client_runtime = runtime("client");
    {
        let _inside = venue_runtime.enter();
        let began = Instant::now();
        let handle =
            VenueServer::start(VenueConfig::synthetic(0, 1), VenueContext::standalone()).expect("the venue starts");
        println!("start with the synthetic market: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        assert!(venue_runtime.block_on(handle.stop(Duration::from_secs(5))).is_clean());
        println!("stop with nobody connected: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    }
    for streams in [0, STREAMS] {
        let _inside = venue_runtime.enter();
        let handle = start();
        let (rest, ws) = client_runtime.block_on(async {
            let listeners = listen(&handle, streams).await;
            let rest = rest_orders(&handle, orders).await;
            let ws = ws_orders(&handle, orders).await;
            let frames = listeners.load(Ordering::Relaxed);
            println!("streams {streams}: frames received {frames}, dropped readers {}", handle.stats().slow_dropped);
            (rest, ws)
        });
        println!("streams {streams}: REST {rest:.0} orders/s, WebSocket API {ws:.0} orders/s");
        let report = venue_runtime.block_on(handle.stop(Duration::from_secs(5)));
        assert!(report.is_clean(), "{report}");
    }
}

fn runtime(name: &str) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn start() -> VenueHandle {
    let mut config = VenueConfig::synthetic(0, 1);
    config.market = MarketSource::Empty;
    config.accounts = vec![AccountConfig::hmac(KEY, SECRET)];
    config.limits = VenueLimits::unlimited();
    let handle = VenueServer::start(config, VenueContext::standalone()).expect("the venue starts");
    // Room for many small orders.
    assert!(handle.faults().change_filters("BTCUSDT", |instrument| {
        instrument.max_open_orders = 0;
        instrument.min_notional = keel_model::Notional::ZERO;
    }));
    assert!(handle.faults().deposit(0, "USDT", keel_model::Notional::from_int(1_000_000_000)));
    handle
}

fn sign(payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length will do");
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn price(at: usize) -> u64 {
    50_000 + (at % 1_000) as u64
}

fn rest_requests(connection: usize, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|at| {
            let query = format!(
                "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.0001&price={}&newClientOrderId=r{connection}-{at}\
                 &newOrderRespType=ACK&recvWindow=60000&timestamp={}",
                price(at),
                now_ms()
            );
            format!(
                "POST /api/v3/order?{query}&signature={} HTTP/1.1\r\nhost: venue\r\nX-MBX-APIKEY: {KEY}\r\ncontent-length: 0\r\n\r\n",
                sign(&query)
            )
            .into_bytes()
        })
        .collect()
}

async fn rest_orders(handle: &VenueHandle, orders: usize) -> f64 {
    let before = handle.stats().orders;
    let prepared: Vec<_> = (0..CONNECTIONS).map(|c| rest_requests(c, orders / CONNECTIONS)).collect();
    let began = Instant::now();
    let tasks: Vec<_> =
        prepared.into_iter().map(|requests| tokio::spawn(rest_connection(handle.addr(), requests))).collect();
    for task in tasks {
        task.await.expect("a client");
    }
    let taken = handle.stats().orders - before;
    assert_eq!(taken as usize, orders / CONNECTIONS * CONNECTIONS, "every order was taken");
    taken as f64 / began.elapsed().as_secs_f64()
}

async fn rest_connection(addr: std::net::SocketAddr, requests: Vec<Vec<u8>>) {
    let mut stream = TcpStream::connect(addr).await.expect("connected");
    stream.set_nodelay(true).expect("nodelay");
    let (mut sent, mut answered) = (0, 0);
    let mut buffer = vec![0u8; 256 * 1024];
    while answered < requests.len() {
        if sent < requests.len() && sent - answered <= UNDER_WAY / 2 {
            let until = (answered + UNDER_WAY).min(requests.len());
            let batch: Vec<u8> = requests[sent..until].concat();
            stream.write_all(&batch).await.expect("written");
            sent = until;
        }
        let read = stream.read(&mut buffer).await.expect("read");
        assert!(read > 0, "the venue closed the connection");
        // Each answer begins with its status line; only 200 counts.
        answered += buffer[..read].windows(15).filter(|window| window == b"HTTP/1.1 200 OK").count();
    }
}

async fn ws_orders(handle: &VenueHandle, orders: usize) -> f64 {
    let before = handle.stats().orders;
    let prepared: Vec<Vec<String>> = (0..CONNECTIONS)
        .map(|connection| {
            (0..orders / CONNECTIONS)
                .map(|at| {
                    let (price, id, timestamp) = (price(at).to_string(), format!("w{connection}-{at}"), now_ms());
                    let payload = format!(
                        "apiKey={KEY}&newClientOrderId={id}&newOrderRespType=ACK&price={price}&quantity=0.0001&recvWindow=60000\
                         &returnRateLimits=false&side=BUY&symbol=BTCUSDT&timeInForce=GTC&timestamp={timestamp}&type=LIMIT"
                    );
                    json!({"id": at, "method": "order.place", "params": {
                        "apiKey": KEY, "newClientOrderId": id, "newOrderRespType": "ACK", "price": price, "quantity": "0.0001",
                        "recvWindow": 60000, "returnRateLimits": false, "side": "BUY", "symbol": "BTCUSDT", "timeInForce": "GTC",
                        "timestamp": timestamp, "type": "LIMIT", "signature": sign(&payload)}})
                    .to_string()
                })
                .collect()
        })
        .collect();
    let url = format!("{}/ws-api/v3", handle.ws_url());
    let began = Instant::now();
    let tasks: Vec<_> =
        prepared.into_iter().map(|requests| tokio::spawn(ws_connection(url.clone(), requests))).collect();
    for task in tasks {
        task.await.expect("a client");
    }
    (handle.stats().orders - before) as f64 / began.elapsed().as_secs_f64()
}

async fn ws_connection(url: String, requests: Vec<String>) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("connected");
    let (mut sent, mut answered) = (0, 0);
    let count = requests.len();
    let mut waiting = requests.into_iter();
    while answered < count {
        if sent - answered <= UNDER_WAY / 2 {
            for request in waiting.by_ref().take(UNDER_WAY - (sent - answered)) {
                socket.feed(Message::text(request)).await.expect("written");
                sent += 1;
            }
            socket.flush().await.expect("flushed");
        }
        if let Some(Ok(Message::Text(text))) = socket.next().await {
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(answer["status"], 200, "{answer}");
            answered += 1;
        }
    }
}

/// Market stream listeners that count what they get.
async fn listen(handle: &VenueHandle, count: usize) -> Arc<AtomicU64> {
    let frames = Arc::new(AtomicU64::new(0));
    for _ in 0..count {
        let url = format!("{}/ws/btcusdt@bookTicker/btcusdt@depth@100ms", handle.ws_url());
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("connected");
        let frames = frames.clone();
        tokio::spawn(async move {
            while let Some(Ok(_)) = socket.next().await {
                frames.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    frames
}
