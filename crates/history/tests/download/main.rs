//! The data manager against a fake venue that serves the archives and REST, with every fault. Loopback only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test binary"
)]

mod cleanup;
mod faults;
mod server;
mod sources;

use keel_catalogue::Dataset;
use keel_history::{DataManager, DataManagerBuilder, Kind, Market, Patience, Request, RestBases, SourcePolicy, Span};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_marketdata::{BarColumns, Interval};
use server::{DAY_NS, FakeVenue, HOUR_NS, days};
use std::time::Duration;

/// 2025-03-10 12:00:00 UTC: what everybody's clock shows.
fn now_ns() -> u64 {
    days(2025, 3, 10) * DAY_NS + 12 * HOUR_NS
}

fn date_ns(year: u64, month: u64, day: u64) -> u64 {
    days(year, month, day) * DAY_NS
}

/// Fails fast: a hundred times quicker than what people need.
const QUICK: Patience = Patience {
    attempts_max: 4,
    pause_min: Duration::from_millis(2),
    pause_max: Duration::from_secs(2),
    stall: Duration::from_millis(400),
};

/// A venue, a folder, and managers of both.
struct Scene {
    venue: FakeVenue,
    folder: tempfile::TempDir,
    ledger: ResourceLedger,
}

impl Scene {
    fn new() -> Self {
        Self::listed(date_ns(2020, 1, 1))
    }

    fn listed(from_ns: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { venue: FakeVenue::start(now_ns(), from_ns), folder, ledger: ResourceLedger::default() }
    }

    fn builder(&self) -> DataManagerBuilder {
        let url = self.venue.url();
        DataManager::builder(self.folder.path())
            .vision_base(&url)
            .rest_bases(RestBases { spot: url.clone(), usdm: url.clone(), coinm: url })
            .patience(QUICK)
            .environment(Clock::manual_at(now_ns()), self.ledger.clone())
    }

    fn manager(&self) -> DataManager {
        self.builder().build().unwrap()
    }

    /// Every file below the folder, but the tables and the lock of the catalogue.
    fn strays(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else if entry.path().extension().is_none_or(|ending| ending != "parquet")
                    && entry.file_name() != ".lock"
                {
                    found.push(entry.path().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found
    }
}

fn klines(interval: &str, from_ns: u64, to_ns: u64, source: SourcePolicy) -> Request {
    let kind = Kind::Klines(interval.parse().unwrap());
    Request { market: Market::Spot, symbol: "BTCUSDT".into(), kind, span: Span::new(from_ns, to_ns), source }
}

/// What the venue's bars of the span are.
fn expected_bars(interval: Interval, from_ns: u64, to_ns: u64) -> BarColumns {
    let mut bars = BarColumns::new(interval, 2, 5);
    let length_ns = interval.length_ns().unwrap();
    for open_ns in (from_ns.next_multiple_of(length_ns)..to_ns).step_by(length_ns as usize) {
        let [open, high, low, close, volume] = server::bar_mantissas(open_ns);
        bars.ts_open_ns.push(open_ns);
        bars.open.push(open);
        bars.high.push(high);
        bars.low.push(low);
        bars.close.push(close);
        bars.volume.push(volume);
    }
    bars
}

fn bars(data: Dataset) -> BarColumns {
    match data {
        Dataset::Bars(bars) => bars,
        other => panic!("{}", other.name()),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
