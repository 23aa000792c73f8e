//! What is kept: series by venue, market, symbol and kind, their names and their places in the catalogue.

use crate::error::CatalogueError;
use crate::layout::Kind;
use crate::time;
use keel_marketdata::columns::Interval;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What rows a series has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKind {
    /// Bars of this length.
    Bars(Interval),
    /// Best bids and asks.
    Quotes,
    /// Single public trades.
    Trades,
    /// Trades of one taker at one price, aggregated by the venue.
    AggTrades,
    /// Funding.
    Funding,
}

impl SeriesKind {
    /// The kind of its rows.
    #[must_use]
    pub const fn rows(self) -> Kind {
        match self {
            Self::Bars(_) => Kind::Bars,
            Self::Quotes => Kind::Quotes,
            Self::Trades | Self::AggTrades => Kind::Trades,
            Self::Funding => Kind::Funding,
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Bars(_) => "bars",
            Self::Quotes => "quotes",
            Self::Trades => "trades",
            Self::AggTrades => "aggtrades",
            Self::Funding => "funding",
        }
    }

    /// The file in which rows of this time are kept: months of short bars, years of long ones and of funding, days of ticks.
    #[must_use]
    pub(crate) fn partition(self, ts_ns: u64) -> String {
        let (year, month, day) = time::civil(ts_ns);
        match self {
            Self::Bars(Interval::Seconds(seconds)) if seconds < 3_600 => format!("{year:04}-{month:02}"),
            Self::Bars(_) | Self::Funding => format!("{year:04}"),
            Self::Quotes | Self::Trades | Self::AggTrades => format!("{year:04}-{month:02}-{day:02}"),
        }
    }

    /// When the partition that holds `ts_ns` ends, exclusive.
    #[must_use]
    pub(crate) fn partition_end(self, ts_ns: u64) -> u64 {
        const DAY_NS: u64 = 86_400_000_000_000;
        let (year, month, _) = time::civil(ts_ns);
        match self {
            Self::Bars(Interval::Seconds(seconds)) if seconds < 3_600 => {
                let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                time::days_from_civil(year, month, 1) * DAY_NS
            }
            Self::Bars(_) | Self::Funding => time::days_from_civil(year + 1, 1, 1) * DAY_NS,
            Self::Quotes | Self::Trades | Self::AggTrades => (ts_ns / DAY_NS + 1) * DAY_NS,
        }
    }
}

/// A series of market data. Written `venue/market/symbol/kind`, for example `binance/spot/BTCUSDT/1m` or `binance/um/BTCUSDT/trades`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Where it comes from: `binance`.
    pub venue: String,
    /// Which of its markets: `spot`, `um` (USD-margined), `cm` (coin-margined), or a name of the user's.
    pub market: String,
    /// The venue's symbol.
    pub symbol: String,
    /// What rows.
    pub kind: SeriesKind,
}

impl SeriesKey {
    /// A series; its parts may hold letters, digits, `-`, `_` and `.`.
    pub fn new(venue: &str, market: &str, symbol: &str, kind: SeriesKind) -> Result<Self, CatalogueError> {
        for (what, part) in [("venue", venue), ("market", market), ("symbol", symbol)] {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if part.is_empty() || part.len() > 64 || part.starts_with('.') || !part.bytes().all(is_plain) {
                return Err(CatalogueError::Series(format!(
                    "`{part}` is no {what}: use up to 64 letters, digits, `-`, `_` or `.`"
                )));
            }
        }
        Ok(Self { venue: venue.into(), market: market.into(), symbol: symbol.into(), kind })
    }

    /// Its folder within the catalogue; `key=value` names are columns to DuckDB, Polars and pandas.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let mut folder = PathBuf::from(self.kind.folder());
        folder.push(format!("venue={}", self.venue));
        folder.push(format!("market={}", self.market));
        folder.push(format!("symbol={}", self.symbol));
        if let SeriesKind::Bars(interval) = self.kind {
            folder.push(format!("interval={interval}"));
        }
        folder
    }

    /// The series of a folder within the catalogue.
    pub(crate) fn of_folder(parts: &[String]) -> Option<Self> {
        let value = |at: usize, key: &str| parts.get(at)?.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
        let kind = match (parts.first()?.as_str(), parts.len()) {
            ("bars", 5) => SeriesKind::Bars(value(4, "interval")?.parse().ok()?),
            ("quotes", 4) => SeriesKind::Quotes,
            ("trades", 4) => SeriesKind::Trades,
            ("aggtrades", 4) => SeriesKind::AggTrades,
            ("funding", 4) => SeriesKind::Funding,
            _ => return None,
        };
        Self::new(&value(1, "venue")?, &value(2, "market")?, &value(3, "symbol")?, kind).ok()
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/", self.venue, self.market, self.symbol)?;
        match self.kind {
            SeriesKind::Bars(interval) => write!(f, "{interval}"),
            other => f.write_str(other.folder()),
        }
    }
}

impl FromStr for SeriesKey {
    type Err = CatalogueError;

    fn from_str(text: &str) -> Result<Self, CatalogueError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [venue, market, symbol, kind] = parts.as_slice() else {
            return Err(CatalogueError::Series(format!(
                "`{text}` is no series: write venue/market/symbol/kind, for example binance/spot/BTCUSDT/1m"
            )));
        };
        let kind = match *kind {
            "quotes" => SeriesKind::Quotes,
            "trades" => SeriesKind::Trades,
            "aggtrades" => SeriesKind::AggTrades,
            "funding" => SeriesKind::Funding,
            interval => SeriesKind::Bars(interval.parse().map_err(|error| {
                CatalogueError::Series(format!(
                    "`{text}` is no series: {error}, nor quotes, trades, aggtrades or funding"
                ))
            })?),
        };
        Self::new(venue, market, symbol, kind)
    }
}

/// A stretch of time, its end exclusive. Unit: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Begin, inclusive.
    pub from_ns: u64,
    /// End, exclusive.
    pub to_ns: u64,
}

impl Span {
    /// From `from_ns` until before `to_ns`.
    #[must_use]
    pub const fn new(from_ns: u64, to_ns: u64) -> Self {
        Self { from_ns, to_ns }
    }

    /// What both have in common.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self::new(self.from_ns.max(other.from_ns), self.to_ns.min(other.to_ns));
        (both.from_ns < both.to_ns).then_some(both)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", time::iso(self.from_ns), time::iso(self.to_ns))
    }
}

/// Spans in order, those that touch or overlap as one.
#[must_use]
pub fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.from_ns < span.to_ns);
    spans.sort_unstable();
    let mut whole: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match whole.last_mut() {
            Some(last) if span.from_ns <= last.to_ns => last.to_ns = last.to_ns.max(span.to_ns),
            _ => whole.push(span),
        }
    }
    whole
}

/// What of `wanted` none of `held` (in order, apart) covers.
#[must_use]
pub fn missing(wanted: Span, held: &[Span]) -> Vec<Span> {
    let mut gaps = Vec::new();
    let mut from = wanted.from_ns;
    for span in held.iter().filter_map(|span| span.intersect(wanted)) {
        if span.from_ns > from {
            gaps.push(Span::new(from, span.from_ns));
        }
        from = from.max(span.to_ns);
    }
    if from < wanted.to_ns {
        gaps.push(Span::new(from, wanted.to_ns));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_names_and_folders_that_lead_back_to_them() {
        for name in [
            "binance/spot/BTCUSDT/1m",
            "binance/um/BTCUSDT/trades",
            "x/cm/BTCUSD_PERP/1mo",
            "a/b/c/funding",
            "a/b/c/aggtrades",
        ] {
            let key: SeriesKey = name.parse().unwrap();
            assert_eq!(key.to_string(), name);
            let parts: Vec<String> = key.folder().iter().map(|part| part.to_string_lossy().into_owned()).collect();
            assert_eq!(SeriesKey::of_folder(&parts), Some(key));
        }
        for name in ["", "binance/spot/BTCUSDT", "binance/spot/BTCUSDT/7m", "../x/y/1m", "a/b/c d/1m", "a//c/1m"] {
            assert!(name.parse::<SeriesKey>().is_err(), "{name}");
        }
    }

    #[test]
    fn spans_are_joined_and_what_is_missing_lies_between() {
        let span = Span::new;
        let held = union(vec![span(5, 7), span(1, 3), span(3, 4), span(6, 9), span(2, 2)]);
        assert_eq!(held, [span(1, 4), span(5, 9)]);
        assert_eq!(missing(span(0, 12), &held), [span(0, 1), span(4, 5), span(9, 12)]);
        assert_eq!(missing(span(2, 4), &held), []);
        assert_eq!(missing(span(2, 6), &held), [span(4, 5)]);
    }

    #[test]
    fn partitions_follow_the_calendar() {
        let at = |text: &str| time::from_text(text).unwrap();
        let minute = SeriesKind::Bars(Interval::MINUTE_1);
        for (kind, name, end) in [
            (minute, "2024-12", "2025-01-01"),
            (SeriesKind::Bars(Interval::Week), "2024", "2025-01-01"),
            (SeriesKind::Trades, "2024-12-31", "2025-01-01"),
        ] {
            let ts = at("2024-12-31T23:59:59.999");
            assert_eq!((kind.partition(ts), kind.partition_end(ts)), (name.to_owned(), at(end)));
        }
    }
}
