//! The cache: the Parquet catalogue, as far as downloads need it.
//!
//! Invariants: only rows that were decoded whole are written, each piece in one step; a span counts as covered only after its
//! rows are on the disk; rows outside of the span that was asked for are an error, never kept.

use crate::HistoryError;
use crate::calendar::DAY_NS;
use crate::join;
use crate::request::{Kind, Market, Request};
use keel_catalogue::{Catalogue, CatalogueError, Dataset, OnConflict, ReadOptions, SeriesKey, SeriesKind, Span};
use keel_marketdata::{BarColumns, FundingColumns, QuoteColumns, TradeColumns};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// The venue's name in the catalogue.
const VENUE: &str = "binance";
/// Rows are counted by stretches of so many days, so that a long span of ticks does not fill the memory.
const COUNT_DAYS: u64 = 1;
/// The same for bars and funding.
const COUNT_DAYS_COARSE: u64 = 400;

/// The cache in one folder. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    catalogue: Catalogue,
}

impl Cache {
    pub(crate) fn open(folder: &Path) -> Self {
        Self { catalogue: Catalogue::new(folder) }
    }

    /// Reads an archive, or lines in the form of one, whose rows must lie in `span`.
    pub(crate) fn decode(
        &self,
        request: &Request,
        file: &File,
        name: &str,
        span: Span,
    ) -> Result<Dataset, HistoryError> {
        // The file has no name; this is the way to open it again from its start.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let options = ReadOptions { interval: request.kind.interval(), ..ReadOptions::default() };
        let wrong = |cause: String| HistoryError::Archive { file: name.to_owned(), cause };
        let data = keel_catalogue::read_with(Path::new(&path), &options).map_err(|error| match error {
            CatalogueError::Io { source, what, .. } => HistoryError::io(what, name, source),
            error => wrong(error.to_string().replace(&path, "its table")),
        })?;
        let is_kind = matches!(
            (request.kind, &data),
            (Kind::Klines(_), Dataset::Bars(_))
                | (Kind::Trades | Kind::AggTrades, Dataset::Trades(_))
                | (Kind::BookTicker, Dataset::Quotes(_))
                | (Kind::Funding, Dataset::Funding(_))
        );
        if !is_kind {
            return Err(wrong(format!("it holds {} where {} should be", data.name(), request.kind)));
        }
        let outside = data.times().iter().find(|ts| **ts < span.from_ns || **ts >= span.to_ns);
        match outside {
            Some(ts) => {
                Err(wrong(format!("it holds a row of {}, outside of {span}", keel_catalogue::time_to_text(*ts))))
            }
            None => Ok(data),
        }
    }

    /// What needs no fetching, in order and apart.
    pub(crate) fn covered(&self, request: &Request) -> Result<Vec<Span>, HistoryError> {
        Ok(self.catalogue.covered(&key(request)?)?)
    }

    /// Keeps the rows of a span, all that there are; without rows, that there are none.
    pub(crate) fn write(&self, request: &Request, span: Span, data: Option<Dataset>) -> Result<(), HistoryError> {
        let data = data.unwrap_or_else(|| nothing(request.kind));
        // The venue corrects its archives: what comes later is right.
        self.catalogue.write(&key(request)?, data, Some(&[span]), OnConflict::Replace)?;
        Ok(())
    }

    /// The rows of a span.
    pub(crate) fn read(&self, request: &Request, span: Span) -> Result<Dataset, HistoryError> {
        Ok(self.catalogue.read(&key(request)?, span)?)
    }

    /// How many rows a span has.
    pub(crate) fn count(&self, request: &Request, span: Span) -> Result<u64, HistoryError> {
        let days = match request.kind {
            Kind::Klines(_) | Kind::Funding => COUNT_DAYS_COARSE,
            Kind::Trades | Kind::AggTrades | Kind::BookTicker => COUNT_DAYS,
        };
        let mut rows = 0;
        let mut at = span.from_ns;
        while at < span.to_ns {
            let end = (at / DAY_NS + days).saturating_mul(DAY_NS).min(span.to_ns);
            rows += self.read(request, Span::new(at, end))?.len() as u64;
            at = end;
        }
        Ok(rows)
    }

    /// The rows of pieces that were not kept.
    pub(crate) fn join(&self, request: &Request, span: Span, loose: Vec<Dataset>) -> Result<Dataset, HistoryError> {
        Ok(join::join(loose, span)?.unwrap_or_else(|| nothing(request.kind)))
    }
}

fn key(request: &Request) -> Result<SeriesKey, HistoryError> {
    let market = match request.market {
        Market::Spot => "spot",
        Market::Usdm => "um",
        Market::Coinm => "cm",
    };
    let kind = match request.kind {
        Kind::Klines(interval) => SeriesKind::Bars(interval),
        Kind::Trades => SeriesKind::Trades,
        Kind::AggTrades => SeriesKind::AggTrades,
        Kind::BookTicker => SeriesKind::Quotes,
        Kind::Funding => SeriesKind::Funding,
    };
    Ok(SeriesKey::new(VENUE, market, &request.symbol, kind)?)
}

fn nothing(kind: Kind) -> Dataset {
    match kind {
        Kind::Klines(interval) => Dataset::Bars(BarColumns::new(interval, 0, 0)),
        Kind::Trades | Kind::AggTrades => Dataset::Trades(TradeColumns::default()),
        Kind::BookTicker => Dataset::Quotes(QuoteColumns::default()),
        Kind::Funding => Dataset::Funding(FundingColumns::default()),
    }
}
