//! A scripted server: answers HTTP requests by a closure and hands WebSocket connections to the test.

use futures_util::{SinkExt, StreamExt};
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig, Credentials, StreamConfig};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::ids::Symbol;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, ClientOrderId, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, NewOrder, Notional,
    OrderIntent, OrderPurpose, Price, Side, StrategyId, Timestamp,
};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const KEY: &str = "loopback-key";
pub(crate) const SECRET: &str = "loopback-secret";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Query or form body.
    pub(crate) params: String,
    pub(crate) head: String,
}

impl Request {
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let found = self.params.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
        found.map(|(_, value)| percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Json(u16, String),
    With(u16, &'static str, String),
    /// Bytes as they are, then the connection stays open.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// One byte a tenth of a second.
    Drip(Vec<u8>),
    /// The connection ends without an answer.
    Cut,
    /// The answer, then the connection ends although it was to be kept.
    ThenCut(u16, String),
}

pub(crate) type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    sockets: tokio::sync::Mutex<mpsc::Receiver<(String, WebSocketStream<TcpStream>)>>,
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (give, sockets) = mpsc::channel(64);
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, count) = (requests.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, handler.clone(), seen.clone(), give.clone()));
            }
        });
        Self { addr, requests, connections, sockets: tokio::sync::Mutex::new(sockets) }
    }

    /// The next WebSocket that a client opens, with its path.
    pub(crate) async fn websocket(&self) -> (String, WebSocketStream<TcpStream>) {
        let mut sockets = self.sockets.lock().await;
        tokio::time::timeout(PATIENCE, sockets.recv()).await.expect("a WebSocket within the patience").unwrap()
    }

    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.requests.lock().iter().filter(|request| request.method == method && request.path == path).count()
    }

    pub(crate) fn config(&self) -> BinanceSpotConfig {
        let mut config = BinanceSpotConfig::loopback(self.addr).with_credentials(Credentials::hmac(KEY, SECRET));
        config.streams = StreamConfig { backoff_min_ms: 10, backoff_max_ms: 100, ..StreamConfig::default() };
        config
    }

    pub(crate) fn venue(&self) -> (Arc<BinanceSpot>, ResourceLedger) {
        self.venue_with(|_| {})
    }

    pub(crate) fn venue_with(&self, change: impl FnOnce(&mut BinanceSpotConfig)) -> (Arc<BinanceSpot>, ResourceLedger) {
        let mut config = self.config();
        change(&mut config);
        let ledger = ResourceLedger::default();
        (BinanceSpot::new(config, Clock::system(), ledger.clone()).unwrap(), ledger)
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Some((bytes, at + 4));
        }
        let length = stream.read(&mut buffer).await.ok()?;
        if length == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
}

async fn is_websocket(stream: &TcpStream) -> Option<(bool, String)> {
    let mut buffer = [0u8; 4096];
    for _ in 0..1_000 {
        let length = stream.peek(&mut buffer).await.ok()?;
        if length == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
        if text.contains("\r\n\r\n") || length == buffer.len() {
            let path = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
            return Some((text.contains("upgrade: websocket"), path));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

async fn serve(
    mut stream: TcpStream,
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Request>>>,
    give: mpsc::Sender<(String, WebSocketStream<TcpStream>)>,
) {
    match is_websocket(&stream).await {
        None => return,
        Some((true, path)) => {
            if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
                drop(give.send((path, socket)).await);
            }
            return;
        }
        Some((false, _)) => {}
    }
    while let Some((bytes, at)) = read_head(&mut stream).await {
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = bytes[at..].to_vec();
        while body.len() < length.unwrap_or(0usize) {
            let mut buffer = [0u8; 4096];
            match stream.read(&mut buffer).await {
                Ok(length) if length > 0 => body.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        }
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let params = if query.is_empty() { String::from_utf8_lossy(&body).into_owned() } else { query.to_owned() };
        let request = Request { method: method.into(), path: path.into(), params, head: head.clone() };
        seen.lock().push(request.clone());
        if !answer(&mut stream, handler(&request)).await {
            return;
        }
    }
}

/// Answers; `false` ends the connection.
async fn answer(stream: &mut TcpStream, reply: Reply) -> bool {
    let text = |status: u16, extra: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match reply {
        Reply::Json(status, body) => stream.write_all(text(status, "", &body).as_bytes()).await.is_ok(),
        Reply::With(status, headers, body) => stream.write_all(text(status, headers, &body).as_bytes()).await.is_ok(),
        Reply::Raw(bytes) => stream.write_all(&bytes).await.is_ok(),
        Reply::Hang => {
            // Until the client goes.
            let mut buffer = [0u8; 64];
            while matches!(stream.read(&mut buffer).await, Ok(length) if length > 0) {}
            false
        }
        Reply::Drip(bytes) => {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            true
        }
        Reply::Cut => false,
        Reply::ThenCut(status, body) => {
            drop(stream.write_all(text(status, "", &body).as_bytes()).await);
            false
        }
    }
}

/// What the venue answers to the usual questions; `None` for anything else.
pub(crate) fn usual(request: &Request, server_ms: u64) -> Option<Reply> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/v3/time") => Some(Reply::Json(200, format!(r#"{{"serverTime":{server_ms}}}"#))),
        _ => None,
    }
}

/// The machine's time; unit: milliseconds.
pub(crate) fn wall_ms() -> u64 {
    Clock::system().now_ms()
}

pub(crate) fn instruments(symbols: &[&str]) -> Arc<Instruments> {
    let mut list = Instruments::new();
    for symbol in symbols {
        list.upsert(Instrument {
            id: InstrumentId(0),
            symbol: Symbol::new(symbol).unwrap(),
            base: Asset::truncated(symbol.trim_end_matches("USDT")),
            quote: Asset::new("USDT").unwrap(),
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            tick_size: Price::new(1, 2).unwrap(),
            min_price: Price::ZERO,
            max_price: Price::ZERO,
            lot: LotRule::default(),
            market_lot: LotRule::default(),
            min_notional: Notional::ZERO,
            min_notional_applies_to_market: false,
            max_notional: None,
            percent_price: None,
            max_open_orders: 0,
            max_open_algo_orders: 0,
        });
    }
    Arc::new(list)
}

pub(crate) fn id(sequence: u64) -> ClientOrderId {
    ClientOrderId { instance: 1, epoch: 1, sequence }
}

pub(crate) fn buy(sequence: u64, price: &str, quantity: &str) -> NewOrder {
    let (price, quantity) = (price.parse().unwrap(), quantity.parse().unwrap());
    NewOrder {
        client_order_id: id(sequence),
        strategy: StrategyId(0),
        ts_decided: Timestamp::ZERO,
        intent: OrderIntent::limit(InstrumentId(0), Side::Buy, quantity, price, OrderPurpose::Entry),
    }
}

/// Sends one text frame.
pub(crate) async fn say(socket: &mut WebSocketStream<TcpStream>, text: impl Into<String>) {
    socket.send(Message::text(text.into())).await.unwrap();
}

/// The next text frame; answers to pings are sent on the way.
pub(crate) async fn hear(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame within the patience");
        match message.unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Close(_) => panic!("closed"),
            _ => {}
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < give_up, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
