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
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

const ROUNDS: usize = 20_000;
const WARM_UP: usize = 2_000;

/// What the peer behind the socket does with a frame.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// Sends it back as it came.
    Echo,
    /// Engine, encoder and signer inline; sends the signed order.
    Bare,
    /// The product's own way: inline sink, order gateway, journal with durability `process`, gate, exchange client.
    Product,
}

pub(crate) fn run(misses: &mut Vec<String>) {
    let (frames, origin) = frames();
    let frames: Vec<Frame> = frames.into_iter().filter(is_book_ticker).take(ROUNDS + WARM_UP).collect();
    header(&format!("loopback WebSocket, one frame out, one answer back ({origin})"));
    let (mut bare, mut product) = (Vec::new(), Vec::new());
    // In turn, so that all see the same machine.
    for _ in 0..3 {
        let p50 = |name: &str, peer: Peer| {
            let histogram = measure(&frames, peer);
            row(name, &histogram);
            histogram.value_at_quantile(0.5) as f64
        };
        let echo = p50("bare echo, tokio-tungstenite", Peer::Echo);
        bare.push(p50("signed order, engine inline, no journal", Peer::Bare) / echo);
        product.push(p50("signed order, gateway and journal (process)", Peer::Product) / echo);
    }
    bare.sort_by(f64::total_cmp);
    product.sort_by(f64::total_cmp);
    println!("  without gateway and journal the ratio is {:.3}", bare[1]);
    target(misses, "signed order beside bare echo, p50 ratio", product[1], 1.5, true);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The peer on its own thread, the venue's side here; both on current-thread runtimes.
fn measure(frames: &[Frame], peer: Peer) -> Histogram<u64> {
    let (address_in, address_out) = std::sync::mpsc::sync_channel::<SocketAddr>(1);
    let first = frames[0].recv_ns;
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address_in.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let socket = accept_async(stream).await.unwrap();
            match peer {
                Peer::Echo => echo(socket).await,
                Peer::Bare => trade(socket, first).await,
                Peer::Product => product::trade(socket).await,
            }
        });
    });
    let address = address_out.recv().unwrap();
    let histogram = runtime().block_on(drive(address, frames));
    thread.join().unwrap();
    histogram
}

async fn drive(address: SocketAddr, frames: &[Frame]) -> Histogram<u64> {
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
