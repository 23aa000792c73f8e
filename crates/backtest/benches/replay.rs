//! Speed of a replay: decoded events of the recorded BTCUSDT session through venue and engine, one core; and a check that
//! one hundred runs give one digest.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::read::MultiGzDecoder;
use keel_backtest::{Replay, ReplayConfig};
use keel_engine::EngineConfig;
use keel_exchange::binance::spot::codec::decode::{Decoded, MarketDecoder};
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_marketdata::RecordingReader;
use keel_model::{InstrumentId, Instruments, MarketEvent, Timestamp};
use keel_sim::{SimConfig, default_specs, demo_balances};
use keel_strategy::{Params, build};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

const ID: InstrumentId = InstrumentId(0);

fn recording() -> Option<(Instruments, Vec<MarketEvent>)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws/binance-spot-btcusdt-20240808.ws.gz");
    let Ok(file) = File::open(&path) else {
        eprintln!("SKIPPED: the recording {} is missing", path.display());
        return None;
    };
    let mut instruments = Instruments::new();
    instruments.upsert(default_specs().swap_remove(0).instrument);
    let mut decoder = MarketDecoder::new(SymbolTable::new(&instruments));
    let mut reader = RecordingReader::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
    let mut events = Vec::new();
    while let Some(frame) = reader.next_frame() {
        let frame = frame.expect("a whole recording");
        let ts = Timestamp::from_ns(frame.recv_ns);
        if frame.frame.starts_with(b"{\"lastUpdateId\"") {
            events.push(decoder.decode_snapshot(frame.frame, ID, ts).expect("a snapshot").clone());
        } else if let Decoded::Market(event) = decoder.decode(frame.frame, ts).expect("a frame") {
            events.push(event.clone());
        }
    }
    Some((instruments, events))
}

fn run(instruments: &Instruments, events: &[MarketEvent], names: &[&str]) -> (String, u64) {
    let config = ReplayConfig {
        engine: EngineConfig { instruments: instruments.clone(), ..EngineConfig::default() },
        sim: SimConfig { publish_market_data: false, ..SimConfig::default() },
        balances: demo_balances(),
        ..ReplayConfig::default()
    };
    let strategies = names.iter().map(|name| build(name, ID, &Params::new()).expect("an example")).collect();
    let mut replay = Replay::new(config, strategies).expect("a sound configuration");
    for event in events {
        replay.feed(event);
    }
    let report = replay.finish();
    (report.digest.to_string(), report.status.orders_total)
}

fn replay(c: &mut Criterion) {
    let Some((instruments, events)) = recording() else { return };
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.sample_size(20);
    for names in [&["idle"][..], &["market-maker"], &["market-maker", "ema-cross"]] {
        group.bench_function(names.join("+"), |b| b.iter(|| run(&instruments, &events, names)));
    }
    group.finish();
    let names = ["market-maker", "ema-cross"];
    let first = run(&instruments, &events, &names);
    let equal = (0..100).filter(|_| run(&instruments, &events, &names) == first).count();
    println!("state digest: {} ({} orders) in {equal} of 100 runs", first.0, first.1);
    assert_eq!(equal, 100);
}

criterion_group!(benches, replay);
criterion_main!(benches);
