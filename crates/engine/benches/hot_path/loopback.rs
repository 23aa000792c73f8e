//! The same path over a loopback WebSocket, engine inline on a current-thread runtime, beside a bare echo in the same run.

use crate::frame::signer;
use crate::product;
use crate::setup::{
    EveryKth, Frame, QuickVenue, SYMBOL, decoder, engine, frames, header, histogram, is_book_ticker, row, target,
};
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use keel_engine::{Effect, Outbox};
use keel_exchange::binance::spot::codec::decode::Decoded;
use keel_exchange::binance::spot::codec::encode::encode_signed_submit_into;
use keel_model::Timestamp;
use keel_store::Durability;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async, accept_async_with_config, client_async};

/// On two cores: between an answer and the next frame, so that each frame finds its peer waiting, as a market's frames do.
/// On one core there is no such pause: what the peer still books of the last order delays the next frame.
const PAUSE: Duration = Duration::from_micros(60);
const ROUNDS: usize = 20_000;
const WARM_UP: usize = 2_000;
/// Rounds of the headline: a disk takes its time.
const DURABLE_ROUNDS: usize = 3_000;

/// What the peer behind the socket does with a frame.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// Sends it back as it came.
    Echo,
    /// Engine, encoder and signer inline; sends the signed order.
    Bare,
    /// The product's own way: inline sink, order gateway, journal, gate, exchange client.
    Product(Durability),
}

pub(crate) fn run(misses: &mut Vec<String>) {
    let (frames, origin) = frames();
    let frames: Vec<Frame> = frames.into_iter().filter(is_book_ticker).take(ROUNDS + WARM_UP).collect();
    // Left alone, the scheduler puts the two sides on one core or on two as it likes, and the figures differ by a factor of
    // three: on two cores of a virtual machine each side has to be woken from idle.
    let cores = cores();
    for (title, driver, peer, pause) in [("on one core", 0, 0, Duration::ZERO), ("on two cores", 0, 1, PAUSE)] {
        let (Some(driver), Some(peer)) = (cores.get(driver).copied(), cores.get(peer).copied()) else {
            println!("\nnot measured {title}: this machine has one");
            continue;
        };
        header(&format!("loopback WebSocket {title}: one frame out, one answer back ({origin})"));
        pin(driver);
        let (mut bare, mut product) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let p50 = |name: &str, kind: Peer| {
                let histogram = measure(&frames, kind, peer, pause);
                row(name, &histogram);
                histogram.value_at_quantile(0.5) as f64
            };
            // In turn, so that all see the same machine; the median of the ratios counts.
            let echo = p50("bare echo, tokio-tungstenite", Peer::Echo);
            bare.push(p50("signed order, engine inline, no journal", Peer::Bare) / echo);
            product.push(p50("signed order, gateway and journal (process)", Peer::Product(Durability::Process)) / echo);
        }
        bare.sort_by(f64::total_cmp);
        product.sort_by(f64::total_cmp);
        println!("  p50 beside the echo without gateway and journal: {:.3}", bare[1]);
        target(misses, &format!("signed order beside bare echo {title}, p50 ratio"), product[1], 1.5, true);
        // The headline: every intent is on the disk before the first byte of its order leaves.
        let some = &frames[..frames.len().min(WARM_UP + DURABLE_ROUNDS)];
        row(
            "frame in, durable intent, first byte (power)",
            &measure(some, Peer::Product(Durability::Power), peer, pause),
        );
    }
}

/// The cores this process may use.
fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps the calling thread on one core.
fn pin(core: usize) {
    let mut only = rustix::thread::CpuSet::new();
    only.set(core);
    rustix::thread::sched_setaffinity(None, &only).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The peer on its own thread, the venue's side here; both on current-thread runtimes.
fn measure(frames: &[Frame], peer: Peer, core: usize, pause: Duration) -> Histogram<u64> {
    let (address_in, address_out) = std::sync::mpsc::sync_channel::<SocketAddr>(1);
    let first = frames[0].recv_ns;
    let name = match peer {
        Peer::Echo => "echo",
        Peer::Bare => "bare",
        Peer::Product(_) => "product",
    };
    let name = name.to_owned();
    let body = move || {
        pin(core);
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address_in.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // As the product's feeds: the library zeroes its whole read buffer before each read, 128 KiB unless it is told.
            let config = WebSocketConfig::default().read_buffer_size(16 << 10);
            match peer {
                Peer::Echo => echo(accept_async(stream).await.unwrap()).await,
                Peer::Bare => trade(accept_async_with_config(stream, Some(config)).await.unwrap(), first).await,
                Peer::Product(durability) => {
                    let socket = accept_async_with_config(stream, Some(config)).await.unwrap();
                    product::trade(socket, durability).await;
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name(name).spawn(body).unwrap();
    let address = address_out.recv().unwrap();
    let histogram = runtime().block_on(drive(address, frames, pause));
    thread.join().unwrap();
    histogram
}

async fn drive(address: SocketAddr, frames: &[Frame], pause: Duration) -> Histogram<u64> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut socket, _) = client_async(format!("ws://{address}/"), stream).await.unwrap();
    let mut histogram = histogram();
    for (round, frame) in frames.iter().enumerate() {
        let text = Utf8Bytes::try_from(frame.bytes.clone()).unwrap();
        let start = Instant::now();
        socket.send(Message::Text(text)).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        let time = start.elapsed();
        assert!(answer.is_text());
        if round >= WARM_UP {
            histogram.record(time.as_nanos() as u64).unwrap();
        }
        while start.elapsed() < time + pause {
            std::hint::spin_loop();
        }
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some_and(|next| next.is_ok()) {}
    histogram
}

async fn echo(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() {
            socket.send(message).await.unwrap();
        }
    }
}

async fn trade(mut socket: WebSocketStream<TcpStream>, first_ns: u64) {
    let (mut decoder, signer) = (decoder(), signer());
    let start = Timestamp::from_ns(first_ns);
    let mut engine = engine(vec![Box::new(EveryKth::new(1))], start);
    let (mut out, mut venue, mut body) = (Outbox::new(), QuickVenue::default(), Vec::with_capacity(512));
    let mut now_ns = first_ns;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        now_ns += 1_000_000;
        let now = Timestamp::from_ns(now_ns);
        let Ok(Decoded::Market(event)) = decoder.decode(text.as_bytes(), now) else { panic!("not decoded") };
        engine.process_market(event, &mut out);
        let order = out.effects().iter().find_map(|effect| match effect {
            Effect::Submit(approved) => Some(*approved.get()),
            _ => None,
        });
        let order = order.expect("an order on each tick");
        encode_signed_submit_into(&mut body, &signer, SYMBOL, &order, 5_000, now.as_ms()).unwrap();
        let text = Utf8Bytes::try_from(body.clone()).unwrap();
        socket.send(Message::Text(text)).await.unwrap();
        // Fills come after the answer has left, as they do from a venue.
        venue.answer(&mut engine, &mut out, now);
    }
}
