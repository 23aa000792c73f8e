//! Decoded events a second through engine, strategy and risk, on one core; decoding apart.

use crate::setup::{Frame, ID, QuickVenue, cpu_time, decode, decoder, engine, frames, target};
use keel_engine::Outbox;
use keel_exchange::binance::spot::codec::decode::Decoded;
use keel_marketdata::OrderBook;
use keel_model::{MarketEvent, Timestamp};
use keel_strategy::{Params, build};
use std::hint::black_box;
use std::time::Duration;

const PASSES: usize = 40;

pub(crate) fn run(misses: &mut Vec<String>) {
    let (frames, origin) = frames();
    decoding(&frames, origin);
    let mut decoder = decoder();
    let mut events: Vec<MarketEvent> = frames.iter().filter_map(|frame| decode(&mut decoder, frame)).collect();
    hold_back(&mut events);
    book_alone(&events);
    println!(
        "\nengine, {} decoded events ({origin}), CPU time of one thread, {PASSES} passes, best and median",
        events.len()
    );
    println!("  {:<44} {:>12} {:>12} {:>8} {:>8}", "strategy (risk on)", "M events/s", "median", "orders", "fills");
    let mut best_of_all = 0.0f64;
    for name in ["idle", "market-maker", "ema-cross"] {
        let (best, median, orders, fills) = measure(name, &events);
        let rate = |time: Duration| events.len() as f64 / time.as_secs_f64() / 1e6;
        println!("  {name:<44} {:>12.2} {:>12.2} {orders:>8} {fills:>8}", rate(best), rate(median));
        if name == "market-maker" {
            best_of_all = rate(median);
        }
    }
    target(misses, "market-maker, M events/s", best_of_all, 5.0, false);
}

/// What a session does at the start of a stream: deltas that came before the snapshot wait for it.
fn hold_back(events: &mut [MarketEvent]) {
    let Some(at) = events.iter().position(is_snapshot) else { return };
    let first_delta = events.iter().position(|event| matches!(event, MarketEvent::BookDelta(_)));
    if let Some(before) = events.get_mut(first_delta.unwrap_or(at)..=at) {
        before.rotate_right(1);
    }
}

/// Depth updates into the order book, and nothing else.
fn book_alone(events: &[MarketEvent]) {
    let (mut levels, mut deltas) = (0usize, 0usize);
    let mut best = Duration::MAX;
    for _ in 0..PASSES {
        let mut book = OrderBook::new(ID);
        (levels, deltas) = (0, 0);
        let Some(MarketEvent::BookSnapshot(snapshot)) = events.iter().find(|event| is_snapshot(event)) else { return };
        book.apply_snapshot(snapshot).unwrap();
        let start = cpu_time();
        for event in events {
            if let MarketEvent::BookDelta(delta) = event {
                black_box(book.apply_delta(delta).unwrap());
                levels += delta.bids.len() + delta.asks.len();
                deltas += 1;
            }
        }
        let time = cpu_time() - start;
        best = best.min(time);
    }
    if deltas > 0 {
        let per = |count: usize| best.as_nanos() as f64 / count as f64;
        println!(
            "\norder book: {:.0} ns a depth update, {:.1} ns a level changed ({levels} in {deltas})",
            per(deltas),
            per(levels)
        );
    }
}

const fn is_snapshot(event: &MarketEvent) -> bool {
    matches!(event, MarketEvent::BookSnapshot(_))
}

fn measure(name: &str, events: &[MarketEvent]) -> (Duration, Duration, u64, u64) {
    let mut times = Vec::new();
    let mut counts = (0, 0);
    for _ in 0..PASSES {
        let strategy = build(name, ID, &Params::new()).unwrap();
        let mut engine = engine(vec![strategy], events[0].ts_recv());
        let (mut out, mut venue) = (Outbox::new(), QuickVenue::default());
        let start = cpu_time();
        for event in events {
            engine.process_market(event, &mut out);
            let now = event.ts_recv();
            if !out.is_empty() {
                venue.answer(&mut engine, &mut out, now);
            }
            if let MarketEvent::TopOfBook(top) = event {
                venue.match_resting(&mut engine, top.bid.price, top.ask.price, &mut out, now);
            }
        }
        times.push(cpu_time() - start);
        counts = (venue.orders, venue.fills);
        assert!(engine.book(ID).is_some_and(OrderBook::is_live), "the book broke");
        black_box(engine.digest());
    }
    times.sort();
    (times[0], times[times.len() / 2], counts.0, counts.1)
}

fn decoding(frames: &[Frame], origin: &str) {
    let mut decoder = decoder();
    println!("\ndecoding, {} frames ({origin})", frames.len());
    let kinds = [("bookTicker", "bookTicker"), ("trade", "trade"), ("depth update", "depth")];
    for (name, stream) in kinds {
        let start = format!("{{\"stream\":\"btcusdt@{stream}");
        let chosen: Vec<&Frame> = frames.iter().filter(|frame| frame.bytes.starts_with(start.as_bytes())).collect();
        if chosen.is_empty() {
            continue;
        }
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let start = cpu_time();
            for frame in &chosen {
                let decoded = decoder.decode(&frame.bytes, Timestamp::from_ns(frame.recv_ns));
                assert!(matches!(black_box(&decoded), Ok(Decoded::Market(_))));
            }
            best = best.min(cpu_time() - start);
        }
        let bytes: usize = chosen.iter().map(|frame| frame.bytes.len()).sum();
        println!(
            "  {name:<14} {:>8.0} ns a frame, {:>6.0} bytes on average, {:>7} frames",
            best.as_nanos() as f64 / chosen.len() as f64,
            bytes as f64 / chosen.len() as f64,
            chosen.len()
        );
    }
    let (fast, slow) = decoder.path_counts();
    println!("  fast path {fast}, tolerant path {slow}");
}
