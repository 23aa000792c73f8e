//! How long a start takes from a journal of a million records with a hundred open orders: whole, and from a snapshot; and what a
//! snapshot costs. Run with `cargo bench -p keel-gateway --bench boot [-- RECORDS]`.
#![allow(missing_docs, reason = "a bench binary")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

#[path = "../tests/stream.rs"]
mod stream;

use keel_engine::{Engine, EngineConfig, Outbox};
use keel_execution::ExecutionConfig;
use keel_gateway::{ReplayOptions, SnapshotAuthor, replay_journal, take_snapshot};
use keel_model::Timestamp;
use keel_risk::RiskLimits;
use keel_store::{Durability, Journal, JournalOptions, StoreError};
use std::path::Path;
use std::time::{Duration, Instant};
use stream::{SYMBOLS, Stream, instruments};

const SOON: Duration = Duration::from_secs(60);

fn write(folder: &Path, stream: &mut Stream, records: usize) {
    let options = JournalOptions { durability: Durability::Process, ..JournalOptions::new(folder, "bench", 7) };
    let (journal, _) = Journal::open(options).unwrap();
    for record in stream.take(records) {
        loop {
            match journal.append(&record) {
                Ok(ticket) => break drop(ticket),
                Err(StoreError::LaneFull { .. }) => std::thread::sleep(Duration::from_micros(100)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    journal.close(SOON).unwrap();
}

/// One start: open and check the journal, replay it, ask what is to be asked. Returns the engine.
fn boot(folder: &Path, name: &str) -> Engine {
    let known = instruments(&SYMBOLS);
    let start = Instant::now();
    let (journal, recovered) = Journal::open_unread(JournalOptions::new(folder, "bench", 7)).unwrap();
    let opened = start.elapsed();
    let mut make = make();
    let options = ReplayOptions { until: recovered.records_total, ..ReplayOptions::default() };
    let (mut engine, replayed) = replay_journal(folder, &known, &mut make, &options).unwrap();
    let at = start.elapsed();
    let mut out = Outbox::new();
    engine.end_replay(Timestamp::from_ns(1_800_000_000_000_000_000), &mut out);
    println!(
        "{name:<34} {:>7.0} ms   (open and check {:.0} ms, {} records replayed in {:.0} ms = {:.0} records/s, {} open orders)",
        start.elapsed().as_secs_f64() * 1e3,
        opened.as_secs_f64() * 1e3,
        replayed.records,
        (at - opened).as_secs_f64() * 1e3,
        replayed.records as f64 / (at - opened).as_secs_f64(),
        engine.orders().open_count(),
    );
    journal.close(SOON).unwrap();
    engine
}

fn make() -> impl FnMut() -> Result<Engine, String> {
    let config = EngineConfig {
        instruments: instruments(&SYMBOLS),
        limits: RiskLimits { quote_asset: "USDT".parse().unwrap(), ..RiskLimits::default() },
        execution: ExecutionConfig { instance: 7, epoch: 99, ..ExecutionConfig::default() },
        ..EngineConfig::default()
    };
    move || Engine::new(config.clone(), Vec::new()).map_err(|error| error.to_string())
}

fn main() {
    let records = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let mut stream = Stream::new(1);
    (stream.open_wanted, stream.is_unlucky) = (100, false);
    write(folder.path(), &mut stream, records);
    for _ in 0..3 {
        boot(folder.path(), &format!("boot, {records} records"));
    }
    let author = SnapshotAuthor { instance: 7, mode: "bench".into(), program: "bench".into(), ts: Timestamp::ZERO };
    let start = Instant::now();
    let mut make = make();
    let taken = take_snapshot(folder.path(), &instruments(&SYMBOLS), &mut make, &author, usize::MAX, &|| false);
    let taken = taken.unwrap().unwrap();
    println!(
        "snapshot, beside trading           {:>7.0} ms   ({} records replayed, {} bytes)",
        start.elapsed().as_secs_f64() * 1e3,
        taken.records,
        taken.bytes
    );
    write(folder.path(), &mut stream, records / 10);
    for _ in 0..3 {
        boot(folder.path(), "boot from the snapshot, a tenth more");
    }
}
