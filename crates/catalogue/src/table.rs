//! Rows as they are read, before they are checked: one form for every kind and every source. Row numbers are those of the
//! file; what is no number keeps its place as `NOT_A_NUMBER`.

use crate::error::{CatalogueError, Place};
use crate::fixed::Fixed;
use crate::layout::{Kind, Layout};
use crate::options::ReadOptions;
use keel_marketdata::columns::{BarColumns, FundingColumns, Interval, QuoteColumns, TradeColumns};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Market data of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// Bars of one interval.
    Bars(BarColumns),
    /// Best bids and asks.
    Quotes(QuoteColumns),
    /// Public trades.
    Trades(TradeColumns),
    /// Funding of a perpetual.
    Funding(FundingColumns),
    /// A recorded session (`.ws.gz`), which its own decoder plays.
    Recording(PathBuf),
}

impl Dataset {
    /// How many rows; 0 for a recording, whose lines are counted by playing it.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Bars(bars) => bars.ts_open_ns.len(),
            Self::Quotes(quotes) => quotes.ts_ns.len(),
            Self::Trades(trades) => trades.ts_ns.len(),
            Self::Funding(funding) => funding.ts_ns.len(),
            Self::Recording(_) => 0,
        }
    }

    /// No rows?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it is called in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bars(_) => Kind::Bars.name(),
            Self::Quotes(_) => Kind::Quotes.name(),
            Self::Trades(_) => Kind::Trades.name(),
            Self::Funding(_) => Kind::Funding.name(),
            Self::Recording(_) => "recording",
        }
    }

    /// Times of the rows: when a bar opens, when a quote or trade happened. Unit: nanoseconds.
    #[must_use]
    pub fn times(&self) -> &[u64] {
        match self {
            Self::Bars(bars) => &bars.ts_open_ns,
            Self::Quotes(quotes) => &quotes.ts_ns,
            Self::Trades(trades) => &trades.ts_ns,
            Self::Funding(funding) => &funding.ts_ns,
            Self::Recording(_) => &[],
        }
    }
}

/// A file as it was read, not yet judged.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Its rows; what is no number is `NOT_A_NUMBER`.
    pub data: Dataset,
    /// The file.
    pub path: PathBuf,
    /// Line of the first row in a text file.
    pub first_line: Option<u64>,
    /// Values with the noise of computed doubles that were read as the short decimal beside them.
    pub snapped: u64,
}

impl Raw {
    /// Where row number `at` (from 0) stands in the file.
    #[must_use]
    pub const fn place(&self, at: usize) -> Place {
        match self.first_line {
            Some(first) => Place::Line(first + at as u64),
            None => Place::Row(at as u64 + 1),
        }
    }
}

/// Rows while they are being read.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) ts: Vec<u64>,
    pub(crate) ids: Vec<u64>,
    pub(crate) is_sell: Vec<bool>,
    pub(crate) prices: Fixed<4>,
    pub(crate) quantities: Fixed<2>,
}

impl Table {
    pub(crate) fn new(options: &ReadOptions) -> Self {
        let fixed = |scale: Option<u8>| (scale.unwrap_or(0), scale.is_some());
        let ((price, rounds_price), (quantity, rounds_quantity)) =
            (fixed(options.price_scale), fixed(options.quantity_scale));
        Self {
            ts: Vec::new(),
            ids: Vec::new(),
            is_sell: Vec::new(),
            prices: Fixed::new(price, rounds_price),
            quantities: Fixed::new(quantity, rounds_quantity),
        }
    }

    /// Values that were read as the decimal beside them.
    pub(crate) const fn snapped(&self) -> u64 {
        self.prices.snapped + self.quantities.snapped
    }

    /// The columns of the layout's kind.
    pub(crate) fn finish(
        mut self,
        layout: &Layout,
        path: &Path,
        options: &ReadOptions,
    ) -> Result<Dataset, CatalogueError> {
        if self.ts.is_empty() {
            return Err(CatalogueError::layout(path, "it has no rows", "fetch or export it again"));
        }
        let ([p0, p1, p2, p3], [q0, q1]) = (self.prices.columns, self.quantities.columns);
        let (price_scale, quantity_scale) = (self.prices.scale, self.quantities.scale);
        Ok(match layout.kind {
            Kind::Bars => {
                let interval = match options.interval {
                    Some(interval) => interval,
                    None => {
                        interval_of(&self.ts).map_err(|(cause, remedy)| CatalogueError::layout(path, cause, remedy))?
                    }
                };
                if layout.time_is_close {
                    to_open(&mut self.ts, interval, path)?;
                }
                Dataset::Bars(BarColumns {
                    interval,
                    price_scale,
                    quantity_scale,
                    ts_open_ns: self.ts,
                    open: p0,
                    high: p1,
                    low: p2,
                    close: p3,
                    volume: q0,
                })
            }
            Kind::Quotes => Dataset::Quotes(QuoteColumns {
                price_scale,
                quantity_scale,
                ts_ns: self.ts,
                bid: p0,
                ask: p1,
                bid_quantity: q0,
                ask_quantity: q1,
            }),
            Kind::Trades => Dataset::Trades(TradeColumns {
                price_scale,
                quantity_scale,
                ts_ns: self.ts,
                trade_id: self.ids,
                price: p0,
                quantity: q0,
                is_sell: self.is_sell,
            }),
            Kind::Funding => Dataset::Funding(FundingColumns { rate_scale: price_scale, ts_ns: self.ts, rate: p0 }),
        })
    }
}

/// Ends of bars become their starts. An end may be inclusive (`…59.999`).
fn to_open(ts: &mut [u64], interval: Interval, path: &Path) -> Result<(), CatalogueError> {
    const SECOND: u64 = 1_000_000_000;
    let Some(length) = interval.length_ns() else {
        return Err(CatalogueError::layout(
            path,
            "months are told by their start, and this file has only ends",
            "add a column `open_time`",
        ));
    };
    for time in ts.iter_mut() {
        let end = if *time % SECOND >= 999_000_000 { time.next_multiple_of(SECOND) } else { *time };
        *time = end.saturating_sub(length);
    }
    Ok(())
}

/// What helps where rows do not tell the length of bars.
const SAY_INTERVAL: &str =
    "say how long a bar is when it is taken in: launcher data import FILE --as VENUE/MARKET/SYMBOL --interval 1m";

/// Rows that are looked at to tell the interval.
const INTERVAL_SAMPLE: usize = 10_000;

/// The length of bars: the most frequent distance of neighbouring rows.
pub(crate) fn interval_of(ts: &[u64]) -> Result<Interval, (String, &'static str)> {
    const DAY_S: u64 = 86_400;
    let mut counts = BTreeMap::<u64, usize>::new();
    for (earlier, later) in ts.iter().zip(ts.iter().skip(1)).take(INTERVAL_SAMPLE) {
        let distance = later.saturating_sub(*earlier);
        if distance > 0 {
            *counts.entry(distance).or_default() += 1;
        }
    }
    let Some((distance, _)) = counts.iter().max_by_key(|(distance, count)| (**count, std::cmp::Reverse(**distance)))
    else {
        return Err(match ts {
            [first, .., last] if last < first => {
                let cause = "its rows are out of order: none is later than the one before it".to_owned();
                (cause, "put it in order: launcher data import FILE --as VENUE/MARKET/SYMBOL --interval 1m")
            }
            _ => ("a single time does not tell how long a bar is".to_owned(), SAY_INTERVAL),
        });
    };
    let seconds = distance / 1_000_000_000;
    let is_whole = distance % 1_000_000_000 == 0;
    let known = match seconds {
        _ if !is_whole => None,
        s if s == 7 * DAY_S => Some(Interval::Week),
        s if (28 * DAY_S..=31 * DAY_S).contains(&s) => Some(Interval::Month),
        s => format!("{s}s")
            .parse()
            .ok()
            .or_else(|| u32::try_from(s).ok().map(Interval::Seconds))
            .filter(|it| it.to_string().parse() == Ok(*it)),
    };
    known.ok_or_else(|| {
        (format!("most rows are {} s apart, which is no bar length", *distance as f64 / 1e9), SAY_INTERVAL)
    })
}
