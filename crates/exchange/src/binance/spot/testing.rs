//! What the tests of this adapter share: the reference tables and recordings beside the repository, and instruments.

use keel_model::ids::Symbol;
use keel_model::instrument::LotRule;
use keel_model::{Asset, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Notional, Price};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if file.exists() {
        return Some(file);
    }
    eprintln!("SKIPPED: reference file {} is not there", file.display());
    None
}

pub(crate) fn venue_table(name: &str) -> Option<serde_json::Value> {
    let file = shared(&format!("venues/binance-spot/{name}"))?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

pub(crate) fn fixture_lines(name: &str) -> Option<Vec<serde_json::Value>> {
    let file = shared(&format!("fixtures/dev/{name}"))?;
    let text = std::fs::read_to_string(file).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Receive time and frame of every line of a recording.
pub(crate) fn recording(name: &str) -> Option<Vec<(u64, Vec<u8>)>> {
    let file = shared(&format!("data/ws/{name}"))?;
    let reader = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()));
    let mut frames = Vec::new();
    for line in reader.lines() {
        let line = line.unwrap();
        let (time, frame) = line.split_once(' ').unwrap();
        frames.push((time.parse().unwrap(), frame.as_bytes().to_vec()));
    }
    Some(frames)
}

pub(crate) fn instruments(symbols: &[&str]) -> Instruments {
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
    list
}
