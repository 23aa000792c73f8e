//! Frame bytes in → signed order bytes ready, and the allocations on the way.

use crate::counting::allocations;
use crate::setup::{
    EveryKth, Frame, ID, QuickVenue, SYMBOL, decoder, engine, frames, header, histogram, is_book_ticker, row, target,
};
use keel_engine::{Effect, Outbox};
use keel_exchange::binance::spot::codec::decode::Decoded;
use keel_exchange::binance::spot::codec::encode::encode_signed_submit_into;
use keel_exchange::binance::spot::sign::{Credentials, Signer};
use keel_model::Timestamp;
use std::hint::black_box;
use std::time::Instant;

/// One order in so many ticks.
const EVERY: u64 = 10;
/// Passes over the frames that warm up caches and let buffers grow, and passes that count.
const PASSES: (usize, usize) = (1, 8);

pub(crate) fn signer() -> Signer {
    Signer::new(&Credentials::hmac("k".repeat(64), "s".repeat(64))).unwrap()
}

pub(crate) fn run(misses: &mut Vec<String>) {
    let (frames, origin) = frames();
    let tickers: Vec<&Frame> = frames.iter().filter(|frame| is_book_ticker(frame)).collect();
    println!("\n{} bookTicker frames ({origin}), one order in {EVERY} ticks", tickers.len());
    let span = tickers.last().unwrap().recv_ns - tickers[0].recv_ns + 1_000_000;
    let (mut decoder, signer) = (decoder(), signer());
    let mut engine = engine(vec![Box::new(EveryKth::new(EVERY))], Timestamp::from_ns(tickers[0].recv_ns));
    let (mut out, mut venue) = (Outbox::new(), QuickVenue::default());
    let mut body = Vec::with_capacity(512);
    let (mut tick, mut order, mut decoding, mut clock) = (histogram(), histogram(), histogram(), histogram());
    let (mut tick_allocations, mut order_allocations, mut after_allocations, mut orders) = (0, 0, 0, 0u64);

    for pass in 0..PASSES.0 + PASSES.1 {
        let counts = pass >= PASSES.0;
        for frame in &tickers {
            // Each pass is later than the one before; update ids repeat, so the book starts anew below.
            let now = Timestamp::from_ns(frame.recv_ns + span * pass as u64);
            let allocated = allocations();
            let start = Instant::now();
            let Ok(Decoded::Market(event)) = decoder.decode(&frame.bytes, now) else { panic!("not decoded") };
            let decoded = Instant::now();
            engine.process_market(event, &mut out);
            let mut is_order = false;
            for effect in out.effects() {
                if let Effect::Submit(approved) = effect {
                    let now_ms = now.as_ms();
                    encode_signed_submit_into(&mut body, &signer, SYMBOL, approved.get(), 5_000, now_ms).unwrap();
                    black_box(&body);
                    is_order = true;
                }
            }
            let end = Instant::now();
            let allocated = allocations() - allocated;
            if counts {
                let total = (end - start).as_nanos() as u64;
                decoding.record((decoded - start).as_nanos() as u64).unwrap();
                clock.record(end.elapsed().as_nanos().max(1) as u64).unwrap();
                if is_order {
                    order.record(total).unwrap();
                    order_allocations += allocated;
                    orders += 1;
                } else {
                    tick.record(total).unwrap();
                    tick_allocations += allocated;
                }
            }
            let before = allocations();
            venue.answer(&mut engine, &mut out, now);
            if counts && is_order {
                after_allocations += allocations() - before;
            }
        }
        restart_book(&mut engine, &mut out, frames_end(&tickers, span, pass));
    }
    header("frame in → signed order bytes (decode, book, strategy, risk, order manager, encode, HMAC-SHA256)");
    row("tick without an order", &tick);
    row("tick with an order, bytes signed", &order);
    row("of it: decoding (with one clock read)", &decoding);
    row("one clock read (contained twice above)", &clock);
    let per = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    println!("  heap allocations per tick without an order: {:.6}", per(tick_allocations, tick.len()));
    println!("  heap allocations per order up to the signed bytes: {:.4}", per(order_allocations, orders));
    println!(
        "  and for its answer and fill, the measuring venue's own included: {:.2}",
        per(after_allocations, orders)
    );
    println!("  orders {}, fills {}, denied {}", venue.orders, venue.fills, engine.status().orders_denied);
    assert!(engine.status().orders_denied == 0 && orders > 1_000, "the path was not taken: {:?}", engine.status());
    target(misses, "frame → signed bytes p50 µs", order.value_at_quantile(0.5) as f64 / 1e3, 3.0, true);
    target(misses, "frame → signed bytes p99 µs", order.value_at_quantile(0.99) as f64 / 1e3, 10.0, true);
    target(misses, "heap allocations per tick", tick_allocations as f64, 0.0, true);
}

fn frames_end(tickers: &[&Frame], span: u64, pass: usize) -> Timestamp {
    Timestamp::from_ns(tickers.last().unwrap().recv_ns + span * pass as u64)
}

/// The stream is gone and comes back: update ids may start anew.
fn restart_book(engine: &mut keel_engine::Engine, out: &mut Outbox, now: Timestamp) {
    use keel_model::{Event, FeedEvent, FeedState, StreamKind};
    for state in [FeedState::Down, FeedState::Live] {
        engine.process(&Event::Feed(now, FeedEvent::State(StreamKind::Market(ID), state)), out);
    }
    out.drain();
}
