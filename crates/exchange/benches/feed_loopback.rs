//! Frame sent → event delivered over a loopback WebSocket, by the market feed and by a bare reader on the same kind of
//! runtime. Run: `cargo bench -p keel-exchange --bench feed_loopback`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "measures with the machine's clock, on threads of its own")]

use futures_util::{SinkExt, StreamExt};
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig};
use keel_exchange::{FeedSink, MarketDataFeed, Subscription};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::ids::Symbol;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, FeedState, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, MarketEvent, Notional,
    Price, StreamKind, Timestamp,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

const FRAMES: u64 = 20_000;
const BURST: u64 = 300_000;

fn frame(update: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@bookTicker","data":{{"u":{update},"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}}}"#
    )
}

/// When each frame left and when it was delivered; unit: nanoseconds since the start.
#[derive(Debug)]
struct Times {
    start: Instant,
    sent_ns: AtomicU64,
    delivered: AtomicU64,
    latencies_ns: Mutex<Vec<u64>>,
}

impl Times {
    fn new() -> Arc<Self> {
        let latencies_ns = Mutex::new(Vec::with_capacity(BURST as usize));
        Arc::new(Self { start: Instant::now(), sent_ns: AtomicU64::new(0), delivered: AtomicU64::new(0), latencies_ns })
    }

    fn ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn delivered(&self) {
        let latency = self.ns() - self.sent_ns.load(Ordering::Acquire);
        if self.delivered.load(Ordering::Relaxed) < FRAMES {
            self.latencies_ns.lock().unwrap().push(latency);
        }
        self.delivered.fetch_add(1, Ordering::Release);
    }
}

impl FeedSink for Times {
    fn on_market(&self, _event: &MarketEvent) {
        self.delivered();
    }
    fn on_state(&self, _stream: StreamKind, _state: FeedState, _ts: Timestamp) {}
}

/// Sends one frame at a time and waits for its delivery, then all at once. On a thread and runtime of its own.
fn server(times: Arc<Times>) -> (SocketAddr, std::thread::JoinHandle<Duration>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let (stream, _) = TcpListener::from_std(listener).unwrap().accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            socket.next().await.unwrap().unwrap();
            socket.send(Message::text(r#"{"result":null,"id":1}"#)).await.unwrap();
            for n in 1..=FRAMES {
                let text = frame(n);
                times.sent_ns.store(times.ns(), Ordering::Release);
                socket.send(Message::text(text)).await.unwrap();
                while times.delivered.load(Ordering::Acquire) < n {
                    std::hint::spin_loop();
                }
            }
            let begin = Instant::now();
            for n in 1..=BURST {
                socket.feed(Message::text(frame(FRAMES + n))).await.unwrap();
            }
            socket.flush().await.unwrap();
            while times.delivered.load(Ordering::Acquire) < FRAMES + BURST {
                std::thread::yield_now();
            }
            begin.elapsed()
        })
    });
    (addr, thread)
}

fn report(name: &str, times: &Times, burst: Duration) {
    let mut all = times.latencies_ns.lock().unwrap().clone();
    all.sort_unstable();
    let at = |share: f64| all[(all.len() as f64 * share) as usize] as f64 / 1_000.0;
    let per_second = BURST as f64 / burst.as_secs_f64();
    println!("{name:<12} p50 {:>7.2} us   p99 {:>7.2} us   {per_second:>9.0} frames/s", at(0.5), at(0.99));
}

fn instruments() -> Arc<Instruments> {
    let mut list = Instruments::new();
    list.upsert(Instrument {
        id: InstrumentId(0),
        symbol: Symbol::new("BTCUSDT").unwrap(),
        base: Asset::new("BTC").unwrap(),
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
    Arc::new(list)
}

fn bare() {
    let times = Times::new();
    let (addr, thread) = server(times.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{addr}/"), stream).await.unwrap();
        socket.send(Message::text("subscribe")).await.unwrap();
        socket.next().await.unwrap().unwrap();
        for _ in 0..FRAMES + BURST {
            socket.next().await.unwrap().unwrap();
            times.delivered();
        }
    });
    report("bare reader", &times, thread.join().unwrap());
}

fn feed() {
    let times = Times::new();
    let (addr, thread) = server(times.clone());
    let venue =
        BinanceSpot::new(BinanceSpotConfig::loopback(addr), Clock::system(), ResourceLedger::default()).unwrap();
    let wanted = Subscription { instrument: InstrumentId(0), top_of_book: true, depth: false, trades: false };
    let feed = Box::new(venue.market_feed(instruments(), vec![wanted]));
    let stop = CancellationToken::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sink, token) = (times.clone(), stop.clone());
    let all = async {
        let done = async {
            while times.delivered.load(Ordering::Acquire) < FRAMES + BURST {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        };
        let (result, ()) = tokio::join!(feed.run(sink, token), done);
        result.unwrap();
    };
    runtime.block_on(all);
    report("market feed", &times, thread.join().unwrap());
}

fn main() {
    println!("frame sent -> event delivered, loopback WebSocket, one bookTicker at a time; then {BURST} in a burst");
    for _ in 0..3 {
        bare();
        feed();
    }
}
