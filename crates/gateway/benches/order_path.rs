//! What the gateway adds on the way of an order: frame in ► engine ► journal ► gate ► client called ► first byte, inline on a
//! current-thread runtime, durability `process`, with a venue that answers at once. Signing and sockets are not in it.
//! Run with `cargo bench -p keel-gateway --bench order_path`.
#![allow(missing_docs, reason = "a bench binary")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

#[path = "../tests/common.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod common;

use common::{FakeVenue, Habit, SOON, start_with, top};
use hdrhistogram::Histogram;
use keel_exchange::FeedSink as _;
use keel_gateway::{Stage, WindOutcome};
use keel_model::{ExitPolicy, Timestamp};
use keel_store::Durability;
use std::time::{Duration, Instant};

const ORDERS: u32 = 5_000;

fn print(name: &str, times: &Histogram<u64>) {
    let at = |quantile| times.value_at_quantile(quantile);
    println!("{name:<44} p50 {:>8} ns   p99 {:>8} ns   max {:>9} ns", at(0.5), at(0.99), times.max());
}

async fn measure(durability: Durability) {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::quick());
    let run = start_with(folder.path(), &venue, Habit::Place(u32::MAX), durability).await;
    run.trade().await;
    let (mut decided, mut sent) = (Histogram::new(3).unwrap(), Histogram::new(3).unwrap());
    for number in 0..ORDERS {
        let frame = top(60_000, Timestamp::from_ns(run.clock.now_ns()));
        let began = Instant::now();
        run.inline.on_market(&frame);
        let handed = began.elapsed();
        while venue.sent_total() <= u64::from(number) {
            tokio::task::yield_now().await;
        }
        let left = venue.last_sent().duration_since(began);
        if number > 500 {
            decided.record(u64::try_from(handed.as_nanos()).unwrap()).unwrap();
            sent.record(u64::try_from(left.as_nanos()).unwrap()).unwrap();
        }
        assert!(run.handle.settled(SOON).await);
        tokio::time::sleep(Duration::from_micros(10)).await;
    }
    print(&format!("{durability}: engine, intent, hand-over"), &decided);
    print(&format!("{durability}: frame → first byte"), &sent);
    for stage in [Stage::FrameToDecision, Stage::DecisionToDurable, Stage::DurableToSigned, Stage::SignedToAck] {
        let stage = run.handle.latency().stage(stage);
        println!("    {:<20} p50 {:>8} ns   p99 {:>8} ns", stage.name, stage.p50_ns, stage.p99_ns);
    }
    assert_eq!(run.handle.wind(ExitPolicy::Keep, SOON, SOON).await, WindOutcome::Wound);
    run.end().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for durability in [Durability::Process, Durability::Power] {
        runtime.block_on(measure(durability));
    }
}
