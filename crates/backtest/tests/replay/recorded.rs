//! The recorded spot sessions of 2024-08-08 through the real codec, the live engine and the simulated venue.

use crate::market::{config, strategies};
use flate2::read::MultiGzDecoder;
use keel_backtest::{Replay, ReplayReport};
use keel_exchange::binance::spot::codec::decode::{Decoded, MarketDecoder};
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_marketdata::RecordingReader;
use keel_model::{InstrumentId, Instruments, MarketEvent, Timestamp};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// All events of a recording, or `None` (said aloud) where it is missing.
fn events(name: &str, symbol: &str) -> Option<(Instruments, Vec<MarketEvent>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws").join(name);
    let Ok(file) = File::open(&path) else {
        eprintln!("SKIPPED: the recording {} is missing", path.display());
        return None;
    };
    let mut instrument = crate::market::instruments().by_symbol(symbol).unwrap().clone();
    instrument.id = InstrumentId(0);
    let mut instruments = Instruments::new();
    instruments.upsert(instrument);
    let mut decoder = MarketDecoder::new(SymbolTable::new(&instruments));
    let mut reader = RecordingReader::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
    let mut out = Vec::new();
    while let Some(frame) = reader.next_frame() {
        let frame = frame.unwrap();
        let ts = Timestamp::from_ns(frame.recv_ns);
        if frame.frame.starts_with(b"{\"lastUpdateId\"") {
            out.push(decoder.decode_snapshot(frame.frame, InstrumentId(0), ts).unwrap().clone());
            continue;
        }
        match decoder.decode(frame.frame, ts).unwrap() {
            Decoded::Market(event) => out.push(event.clone()),
            other => panic!("{other:?}"),
        }
    }
    Some((instruments, out))
}

fn run(instruments: &Instruments, events: &[MarketEvent]) -> ReplayReport {
    let mut replay = Replay::new(config(instruments.clone()), strategies(&["market-maker", "ema-cross"])).unwrap();
    for event in events {
        replay.feed(event);
    }
    replay.finish()
}

fn check(name: &str, symbol: &str, frames: usize) {
    let Some((instruments, events)) = events(name, symbol) else { return };
    assert_eq!(events.len(), frames);
    let report = run(&instruments, &events);
    eprintln!(
        "{symbol}: {} orders, {} fills, {} denied, pnl {:?}",
        report.status.orders_total, report.status.fills_total, report.status.orders_denied, report.pnl
    );
    assert!(report.status.orders_total > 20, "{} orders", report.status.orders_total);
    assert!(report.status.fills_total > 5, "{} fills", report.status.fills_total);
    // A post-only quote may find the market at its price when it arrives; nothing else is refused.
    assert!(report.status.orders_rejected * 10 < report.status.orders_total, "{}", report.status.orders_rejected);
    assert!(report.is_wound && report.status.open_orders.is_empty());
    let (_, recorded) = report.recorded[0];
    assert!(recorded.has_snapshot, "the session has one REST snapshot");
    assert_eq!((recorded.gaps, recorded.unreadable), (0, 0));
    for balance in &report.venue_balances {
        assert!(balance.locked.is_zero());
        let ours = report.status.balances.iter().find(|ours| ours.asset == balance.asset).unwrap();
        assert_eq!(ours.free, balance.free);
    }
    for _ in 0..2 {
        let again = run(&instruments, &events);
        assert_eq!((again.digest, again.status), (report.digest, report.status.clone()));
    }
}

#[test]
fn the_btcusdt_session_trades_and_repeats_to_the_digest() {
    check("binance-spot-btcusdt-20240808.ws.gz", "BTCUSDT", 41_249);
}

#[test]
fn the_ethusdt_session_trades_and_repeats_to_the_digest() {
    check("binance-spot-ethusdt-20240808.ws.gz", "ETHUSDT", 33_618);
}

/// The book that the venue keeps while the session runs is never crossed and has its whole depth.
#[test]
fn the_recorded_book_stays_whole() {
    let Some((instruments, events)) = events("binance-spot-btcusdt-20240808.ws.gz", "BTCUSDT") else { return };
    let mut replay = Replay::new(config(instruments), Vec::new()).unwrap();
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    for (at, event) in events.iter().enumerate() {
        replay.feed(event);
        if at % 97 != 0 || at < 20 {
            continue;
        }
        let venue = replay.venue();
        venue.depth(InstrumentId(0), 1_000, &mut bids, &mut asks).unwrap();
        assert!(bids.len() >= 500 && asks.len() >= 500, "{} {}", bids.len(), asks.len());
        assert!(bids[0].price < asks[0].price, "event {at}");
        let book = replay.engine().book(InstrumentId(0)).unwrap();
        assert_eq!(book.best_bid().map(|level| level.price), Some(bids[0].price), "event {at}");
        assert_eq!(book.best_ask().map(|level| level.price), Some(asks[0].price), "event {at}");
    }
}
