//! The order book over real recorded sessions, against a naive model and against the venue's own best prices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test binary")]

use flate2::read::MultiGzDecoder;
use keel_marketdata::{Applied, BookState, OrderBook, RecordingReader};
use keel_model::{BookDelta, BookSnapshot, InstrumentId, Level, Price, Quantity, Timestamp, TopOfBook};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

const ID: InstrumentId = InstrumentId(0);

enum Frame {
    Snapshot(BookSnapshot),
    Delta(BookDelta),
    Top(TopOfBook),
    Trade,
}

fn levels(value: &Value) -> Vec<Level> {
    let number = |value: &Value| value.as_str().unwrap().to_owned();
    let level =
        |pair: &Value| Level { price: number(&pair[0]).parse().unwrap(), quantity: number(&pair[1]).parse().unwrap() };
    value.as_array().unwrap().iter().map(level).collect()
}

fn decode(frame: &[u8], ts_recv: Timestamp) -> Frame {
    let value: Value = serde_json::from_slice(frame).unwrap();
    if let Some(last_update_id) = value["lastUpdateId"].as_u64() {
        let (bids, asks) = (levels(&value["bids"]), levels(&value["asks"]));
        return Frame::Snapshot(BookSnapshot { last_update_id, ts_recv, bids, asks, ..BookSnapshot::default() });
    }
    let data = &value["data"];
    let stream = value["stream"].as_str().unwrap();
    if stream.ends_with("@trade") {
        return Frame::Trade;
    }
    if stream.ends_with("@bookTicker") {
        let one = |price: &str, quantity: &str| Level {
            price: data[price].as_str().unwrap().parse().unwrap(),
            quantity: data[quantity].as_str().unwrap().parse().unwrap(),
        };
        return Frame::Top(TopOfBook {
            instrument: ID,
            ts_event: Timestamp::ZERO,
            ts_recv,
            update_id: data["u"].as_u64().unwrap(),
            bid: one("b", "B"),
            ask: one("a", "A"),
        });
    }
    Frame::Delta(BookDelta {
        instrument: ID,
        ts_event: Timestamp::ZERO,
        ts_recv,
        first_update_id: data["U"].as_u64().unwrap(),
        last_update_id: data["u"].as_u64().unwrap(),
        previous_update_id: data["pu"].as_u64().unwrap_or(0),
        bids: levels(&data["b"]),
        asks: levels(&data["a"]),
    })
}

fn frames(name: &str) -> Option<Vec<Frame>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws").join(name);
    let Ok(file) = File::open(&path) else {
        eprintln!("SKIPPED: {} is missing", path.display());
        return None;
    };
    let mut reader = RecordingReader::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
    let mut frames = Vec::new();
    while let Some(next) = reader.next_frame() {
        let recorded = next.unwrap();
        frames.push(decode(recorded.frame, Timestamp::from_ns(recorded.recv_ns)));
    }
    Some(frames)
}

type Side = BTreeMap<Price, Quantity>;

fn set(side: &mut Side, changes: &[Level]) {
    for level in changes {
        if level.quantity.is_zero() {
            side.remove(&level.price);
        } else {
            side.insert(level.price, level.quantity);
        }
    }
}

/// Deltas wait for the snapshot, as a session holds them back.
fn check_recording(name: &str, frames_expected: usize) {
    let Some(frames) = frames(name) else { return };
    assert_eq!(frames.len(), frames_expected);
    let mut book = OrderBook::new(ID);
    let (mut bids, mut asks) = (Side::new(), Side::new());
    let mut waiting: Vec<&BookDelta> = Vec::new();
    let (mut applied, mut compared) = (0, 0);
    let mut tops: BTreeMap<u64, TopOfBook> = BTreeMap::new();
    let mut apply = |book: &mut OrderBook, delta: &BookDelta, tops: &BTreeMap<u64, TopOfBook>| {
        if book.apply_delta(delta).unwrap_or_else(|error| panic!("{name}: {error}")) == Applied::Outdated {
            return;
        }
        applied += 1;
        set(&mut bids, &delta.bids);
        set(&mut asks, &delta.asks);
        // The whole book now and then, the best prices always.
        let depth = if applied % 50 == 1 { usize::MAX } else { 5 };
        let expected = |(price, quantity): (&Price, &Quantity)| Level { price: *price, quantity: *quantity };
        assert!(book.bids().take(depth).eq(bids.iter().rev().take(depth).map(expected)), "{name}: delta {applied}");
        assert!(book.asks().take(depth).eq(asks.iter().take(depth).map(expected)), "{name}: delta {applied}");
        assert_eq!(book.state(), BookState::Live);
        // The venue's own best prices at the very update that the depth has reached.
        if let Some(top) = tops.get(&delta.last_update_id) {
            compared += 1;
            assert_eq!((book.bids().next(), book.asks().next()), (Some(top.bid), Some(top.ask)), "{name}");
        }
    };
    for frame in &frames {
        match frame {
            Frame::Snapshot(snapshot) => {
                book.apply_snapshot(snapshot).unwrap();
                // The model starts from the snapshot too; it is borrowed by the closure, so it goes in as a delta.
                let start = BookDelta {
                    first_update_id: snapshot.last_update_id + 1,
                    last_update_id: snapshot.last_update_id + 1,
                    bids: snapshot.bids.clone(),
                    asks: snapshot.asks.clone(),
                    ..BookDelta::default()
                };
                let mut seed = OrderBook::new(ID);
                seed.apply_snapshot(snapshot).unwrap();
                apply(&mut seed, &start, &BTreeMap::new());
                for delta in waiting.drain(..) {
                    apply(&mut book, delta, &tops);
                }
            }
            Frame::Delta(delta) if book.state() == BookState::Empty => waiting.push(delta),
            Frame::Delta(delta) => apply(&mut book, delta, &tops),
            Frame::Top(top) => {
                tops.insert(top.update_id, *top);
            }
            Frame::Trade => {}
        }
    }
    assert!(applied > 3_000, "{name}: only {applied} deltas were applied");
    assert_eq!(book.error_count(), 0, "{name}");
    eprintln!("{name}: {applied} deltas, {compared} compared with the venue's best prices");
}

#[test]
fn the_spot_recordings_make_a_book_without_a_gap() {
    check_recording("binance-spot-btcusdt-20240808.ws.gz", 41_249);
    check_recording("binance-spot-ethusdt-20240808.ws.gz", 33_618);
}

#[test]
fn the_futures_recording_follows_on_by_previous_update_id() {
    check_recording("binance-usdm-btcusdt-20240808.ws.gz", 93_954);
}

#[test]
fn a_missing_delta_is_noticed_in_every_recording() {
    for name in ["binance-spot-btcusdt-20240808.ws.gz", "binance-usdm-btcusdt-20240808.ws.gz"] {
        let Some(frames) = frames(name) else { return };
        let snapshot = frames.iter().find_map(|frame| match frame {
            Frame::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        });
        let deltas: Vec<_> = frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Delta(delta) => Some(delta),
                _ => None,
            })
            .collect();
        let mut book = OrderBook::new(ID);
        book.apply_snapshot(snapshot.expect("a snapshot")).unwrap();
        let mut gaps = 0;
        let mut dropped = 0;
        for (at, delta) in deltas.iter().enumerate() {
            // Every 500th is lost; afterwards the book must refuse until it is repaired.
            if at % 500 == 499 {
                dropped += 1;
                continue;
            }
            if book.apply_delta(delta).is_err() {
                gaps += 1;
                assert!(!book.is_live());
                let (bids, asks) = (book.bids().collect(), book.asks().collect());
                let last_update_id = delta.last_update_id;
                let repair = BookSnapshot { last_update_id, bids, asks, ..BookSnapshot::default() };
                // What the broken book holds may be crossed; then an empty one is as good a start.
                if book.apply_snapshot(&repair).is_err() {
                    book.apply_snapshot(&BookSnapshot { last_update_id, ..BookSnapshot::default() }).unwrap();
                }
            }
        }
        assert!(gaps >= dropped && dropped >= 6, "{name}: {gaps} gaps noticed, {dropped} deltas dropped (N-13)");
    }
}
