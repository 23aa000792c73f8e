//! `DataManager`: historical data from the cache, the archives or REST, whichever has it.
//!
//! Invariants: what is read was fetched whole, checked against its checksum and decoded before it was kept, piece by piece, so
//! that a stop at any instant leaves whole pieces only; a request asks for nothing that the cache covers; whatever was opened is
//! closed by [`DataManager::close`] within its deadline, and by dropping the manager otherwise, so `close` is optional, may be
//! called twice, and never fails: it reports.

mod builder;
mod close;
mod fetching;

use crate::HistoryError;
use crate::cache::Cache;
use crate::fetch::Fetch;
use crate::part::PartFolder;
use crate::progress::{Downloaded, Progress};
use crate::request::{Kind, Market, Request, SourcePolicy};
use crate::rest::RestBases;
use crate::transfer::{Patience, Transfer};
use crate::worker::{Jobs, Worker};
use keel_catalogue::Dataset;
use keel_catalogue::Span;
use keel_lifecycle::{CancellationToken, Clock};
use keel_marketdata::{BarColumns, Interval};
use parking_lot::Mutex;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::builder::DataManagerBuilder;
use self::fetching::Job;

/// The venue's archives.
pub const VISION_BASE: &str = "https://data.binance.vision";
/// How long closing may take.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its end a bar is believed to be final; unit: nanoseconds.
const SETTLE_NS: u64 = 5_000_000_000;

/// How often requests were answered by the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Answered by the cache alone.
    pub hits: u64,
    /// Something had to be fetched.
    pub misses: u64,
    /// Failed.
    pub errors: u64,
}

/// What a manager works with; see the builder.
#[derive(Clone, Debug)]
struct Settings {
    market: Market,
    folder: PathBuf,
    use_cache: bool,
    vision_base: String,
    rest: RestBases,
    patience: Patience,
    parallel: usize,
    checksum_attempts_max: u32,
    close_timeout: Duration,
}

/// What is open, and is taken before it is closed.
#[derive(Debug, Default)]
struct Held {
    session: Option<Arc<dyn Fetch>>,
    worker: Option<Worker>,
    parts: Option<Arc<PartFolder>>,
    /// Keeps other downloads out of the folder.
    lock: Option<File>,
}

/// Historical data of one venue (S4-022). Share it by reference; requests may run side by side.
#[derive(Debug)]
pub struct DataManager {
    settings: Settings,
    cache: Cache,
    clock: Clock,
    limits: Arc<crate::limits::Limits>,
    progress: Arc<dyn Progress>,
    held: Mutex<Held>,
    closing: CancellationToken,
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

impl DataManager {
    /// A manager in the making; everything but the folder has a default.
    #[must_use]
    pub fn builder(folder: impl Into<PathBuf>) -> DataManagerBuilder {
        DataManagerBuilder::new(folder.into())
    }

    /// Bars of the builder's market that open in `[start_ns, end_ns)` (S4-024, S4-027): open time, open, high, low, close, volume;
    /// the close time follows from the interval.
    ///
    /// # Errors
    /// Every one of this crate; what was fetched before is kept.
    pub async fn get_data(
        &self,
        symbol: &str,
        start_ns: u64,
        end_ns: u64,
        interval: Interval,
        enforce_source: Option<SourcePolicy>,
    ) -> Result<BarColumns, HistoryError> {
        let request = Request {
            market: self.settings.market,
            symbol: symbol.to_owned(),
            kind: Kind::Klines(interval),
            span: Span::new(start_ns, end_ns),
            source: enforce_source.unwrap_or_default(),
        };
        match self.get(&request).await? {
            Dataset::Bars(bars) => Ok(bars),
            other => Err(HistoryError::Request(format!("the cache has {} where bars should be", other.name()))),
        }
    }

    /// The rows of any request.
    ///
    /// # Errors
    /// As [`Self::get_data`].
    pub async fn get(&self, request: &Request) -> Result<Dataset, HistoryError> {
        self.counted(request, true).await.and_then(|(data, _)| data.ok_or(HistoryError::Closed))
    }

    /// Brings what is missing into the cache and says what that was, without holding the rows in memory.
    ///
    /// # Errors
    /// As [`Self::get_data`].
    pub async fn download(&self, request: &Request) -> Result<Downloaded, HistoryError> {
        self.counted(request, false).await.map(|(_, downloaded)| downloaded)
    }

    /// How often requests were answered by the cache (S4-023).
    #[must_use]
    pub fn get_cache_stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    async fn counted(
        &self,
        request: &Request,
        wants_rows: bool,
    ) -> Result<(Option<Dataset>, Downloaded), HistoryError> {
        let answered = tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(HistoryError::Closed),
            answered = self.answer(request, wants_rows) => answered,
        };
        let counter = match &answered {
            Ok((_, downloaded)) if downloaded.is_hit => &self.hits,
            Ok(_) => &self.misses,
            Err(_) => &self.errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        answered
    }

    async fn answer(&self, request: &Request, wants_rows: bool) -> Result<(Option<Dataset>, Downloaded), HistoryError> {
        let now_ns = self.clock.now_ns();
        request.check(now_ns)?;
        let span = Span::new(request.span.from_ns, request.span.to_ns.min(settled_ns(request.kind, now_ns)));
        if span.from_ns >= span.to_ns {
            return Err(HistoryError::Request(format!(
                "no {} of the span {} is complete yet; take an earlier start",
                request.kind, request.span
            )));
        }
        let jobs = self.jobs()?;
        let covered = if self.settings.use_cache { self.covered(&jobs, request).await? } else { Vec::new() };
        let missing = keel_catalogue::missing(span, &covered);
        let mut downloaded = Downloaded { is_hit: missing.is_empty(), ..Downloaded::default() };
        let mut loose = Vec::new();
        if !missing.is_empty() {
            if request.source == SourcePolicy::Cache {
                let remedy = "take --source auto, which fetches it";
                let (what, span) = (format!("{} {} in the cache", request.symbol, request.kind), missing.first());
                let span = span.map(ToString::to_string).unwrap_or_default();
                return Err(HistoryError::NoData { what, span, remedy });
            }
            let job = Job { manager: self, request, jobs: &jobs, transfer: self.transfer()?, now_ns };
            loose = job.run(&missing, &mut downloaded).await?;
        }
        let (cache, asked, use_cache) = (self.cache.clone(), request.clone(), self.settings.use_cache);
        let read = move || match (use_cache, wants_rows) {
            (false, _) => cache.join(&asked, span, loose).map(|data| (data.len() as u64, Some(data))),
            (true, true) => cache.read(&asked, span).map(|data| (data.len() as u64, Some(data))),
            (true, false) => cache.count(&asked, span).map(|rows| (rows, None)),
        };
        let (rows, data) = jobs.run(read).await?;
        downloaded.rows = rows;
        if rows == 0 { Err(no_data(request, span, &downloaded)) } else { Ok((data, downloaded)) }
    }

    async fn covered(&self, jobs: &Jobs, request: &Request) -> Result<Vec<Span>, HistoryError> {
        let (cache, request) = (self.cache.clone(), request.clone());
        jobs.run(move || cache.covered(&request)).await
    }

    fn jobs(&self) -> Result<Jobs, HistoryError> {
        self.held.lock().worker.as_ref().map(Worker::jobs).ok_or(HistoryError::Closed)
    }

    fn transfer(&self) -> Result<Transfer, HistoryError> {
        let fetch = self.held.lock().session.clone().ok_or(HistoryError::Closed)?;
        let (patience, limits, clock) = (self.settings.patience, self.limits.clone(), self.clock.clone());
        Ok(Transfer { fetch, patience, limits, clock })
    }

    fn parts(&self) -> Result<Arc<PartFolder>, HistoryError> {
        self.held.lock().parts.clone().ok_or(HistoryError::Closed)
    }
}

fn no_data(request: &Request, span: Span, downloaded: &Downloaded) -> HistoryError {
    let remedy = if downloaded.missing.is_empty() {
        "the symbol was not traded then; take a later span"
    } else {
        "the archives do not have it: check the symbol and the span, or take --source auto"
    };
    HistoryError::NoData {
        what: format!("{} {} on {}", request.symbol, request.kind, request.market),
        span: span.to_string(),
        remedy,
    }
}

/// Rows before this time are final: every bar that opens before it has ended, every trade has been told.
fn settled_ns(kind: Kind, now_ns: u64) -> u64 {
    let now_ns = now_ns.saturating_sub(SETTLE_NS);
    match kind {
        Kind::Klines(Interval::Month) => crate::calendar::Day::month_span(now_ns).from_ns,
        // 1970-01-01 was a Thursday.
        Kind::Klines(Interval::Week) => {
            const DAY_NS: u64 = crate::calendar::DAY_NS;
            let monday = (now_ns / DAY_NS + 3) / 7 * 7;
            monday.saturating_sub(3) * DAY_NS
        }
        Kind::Klines(interval) => {
            let length_ns = interval.length_ns().unwrap_or(1).max(1);
            // Where bars of three days begin is the venue's secret; any that opened a whole length ago has ended.
            if length_ns > crate::calendar::DAY_NS {
                now_ns.saturating_sub(length_ns)
            } else {
                now_ns - now_ns % length_ns
            }
        }
        _ => now_ns.saturating_sub(11 * SETTLE_NS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bars_that_have_ended_are_final() {
        // 2024-04-02 (a Tuesday) 01:00:30
        let now_ns = 1_712_019_630_000_000_000;
        for (interval, settled) in [
            ("1s", "2024-04-02T01:00:25Z"),
            ("1m", "2024-04-02T01:00:00Z"),
            ("1h", "2024-04-02T01:00:00Z"),
            ("1d", "2024-04-02T00:00:00Z"),
            ("1w", "2024-04-01T00:00:00Z"),
            ("1mo", "2024-04-01T00:00:00Z"),
            ("3d", "2024-03-30T01:00:25Z"),
        ] {
            let kind = Kind::Klines(interval.parse().unwrap());
            assert_eq!(keel_catalogue::time_to_text(settled_ns(kind, now_ns)), settled, "{interval}");
        }
        assert_eq!(keel_catalogue::time_to_text(settled_ns(Kind::Trades, now_ns)), "2024-04-02T00:59:30Z");
    }
}
