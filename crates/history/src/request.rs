//! What is asked for: market, symbol, kind, span and source. A request that was checked can be put to a source.

use crate::HistoryError;
use keel_catalogue::Span;
use keel_marketdata::Interval;
use std::fmt;
use std::str::FromStr;

/// The longest symbol that is believed.
const SYMBOL_LEN_MAX: usize = 40;

/// One of the venue's markets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Market {
    /// Spot.
    Spot,
    /// Futures margined in USD stablecoins.
    Usdm,
    /// Futures margined in the coin itself.
    Coinm,
}

impl Market {
    /// Every market.
    pub const ALL: [Self; 3] = [Self::Spot, Self::Usdm, Self::Coinm];

    /// The word of command line and catalogue.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Usdm => "usdm",
            Self::Coinm => "coinm",
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Market {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| HistoryError::Request(format!("`{text}` is no market; one of spot usdm coinm")))
    }
}

/// What kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bars of one length.
    Klines(Interval),
    /// Single trades.
    Trades,
    /// Trades of one taker order at one price, put together.
    AggTrades,
    /// Best bid and ask at each change.
    BookTicker,
    /// Funding payments of a perpetual.
    Funding,
}

impl Kind {
    /// The word of the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Klines(_) => "klines",
            Self::Trades => "trades",
            Self::AggTrades => "agg-trades",
            Self::BookTicker => "book-ticker",
            Self::Funding => "funding",
        }
    }

    /// The interval of bars.
    #[must_use]
    pub const fn interval(self) -> Option<Interval> {
        match self {
            Self::Klines(interval) => Some(interval),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Klines(interval) => write!(f, "{interval} klines"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// Where data may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourcePolicy {
    /// The cache first, then the archives for what is old enough, REST for the rest.
    #[default]
    Auto,
    /// The cache alone; what is not there is an error.
    Cache,
    /// The archives alone; what the cache has is not fetched again.
    Vision,
    /// REST alone; what the cache has is not fetched again.
    Rest,
}

impl FromStr for SourcePolicy {
    type Err = HistoryError;

    fn from_str(text: &str) -> Result<Self, HistoryError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cache" => Ok(Self::Cache),
            "vision" => Ok(Self::Vision),
            "rest" => Ok(Self::Rest),
            _ => Err(HistoryError::Request(format!("`{text}` is no source; one of auto cache vision rest"))),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The market.
    pub market: Market,
    /// The venue's symbol, upper case: `BTCUSDT`, `BTCUSD_PERP`.
    pub symbol: String,
    /// The kind of data.
    pub kind: Kind,
    /// The span; bars belong to it by their start.
    pub span: Span,
    /// Where it may come from.
    pub source: SourcePolicy,
}

impl Request {
    /// Can it be asked, at the time `now_ns`?
    ///
    /// # Errors
    /// [`HistoryError::Request`] with the reason and the remedy.
    pub fn check(&self, now_ns: u64) -> Result<(), HistoryError> {
        let wrong = |text: String| Err(HistoryError::Request(text));
        let is_symbol = !self.symbol.is_empty()
            && self.symbol.len() <= SYMBOL_LEN_MAX
            && self.symbol.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_');
        if !is_symbol {
            return wrong(format!(
                "`{}` is no symbol; write the venue's own name, such as BTCUSDT or BTCUSD_PERP",
                self.symbol.escape_debug()
            ));
        }
        if self.span.from_ns >= self.span.to_ns {
            return wrong(format!("the span {} is empty or reversed; its end must be after its start", self.span));
        }
        if self.span.from_ns >= now_ns {
            return wrong(format!(
                "the span {} lies in the future; now is {}",
                self.span,
                keel_catalogue::time_to_text(now_ns)
            ));
        }
        if self.span.to_ns > now_ns {
            return wrong(format!(
                "the end of the span {} lies in the future; now is {}, leave the end out to take all until now",
                self.span,
                keel_catalogue::time_to_text(now_ns)
            ));
        }
        self.check_kind()
    }

    fn check_kind(&self) -> Result<(), HistoryError> {
        let wrong = |text: &str| Err(HistoryError::Request(text.to_owned()));
        match (self.kind, self.market, self.source) {
            (Kind::Klines(Interval::SECOND_1), Market::Usdm | Market::Coinm, _) => {
                wrong("1s bars exist on spot only; take 1m, or `--market spot`")
            }
            (Kind::Funding, Market::Spot, _) => wrong("spot has no funding; take `--market usdm` or `--market coinm`"),
            (Kind::BookTicker, Market::Spot, _) => {
                wrong("the archives have book tickers of futures only; take `--market usdm`, or record them yourself")
            }
            (Kind::BookTicker, _, SourcePolicy::Rest) => {
                wrong("the venue's REST has no past book tickers; take `--source vision`")
            }
            (Kind::Trades, Market::Usdm | Market::Coinm, SourcePolicy::Rest) => wrong(
                "the venue gives past trades of futures to API keys only; take `--kind agg-trades` or `--source vision`",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: u64 = 1_700_000_000_000_000_000;

    fn request() -> Request {
        Request {
            market: Market::Spot,
            symbol: "BTCUSDT".into(),
            kind: Kind::Klines(Interval::MINUTE_1),
            span: Span::new(NOW_NS - 1_000, NOW_NS),
            source: SourcePolicy::Auto,
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        request().check(NOW_NS).unwrap();
        let cases: [(Request, &str); 9] = [
            (Request { symbol: "btc-usdt".into(), ..request() }, "is no symbol"),
            (Request { symbol: String::new(), ..request() }, "is no symbol"),
            (Request { symbol: "../../X".into(), ..request() }, "is no symbol"),
            (Request { span: Span::new(5, 5), ..request() }, "empty or reversed"),
            (Request { span: Span::new(NOW_NS, NOW_NS + 5), ..request() }, "lies in the future"),
            (Request { span: Span::new(5, NOW_NS + 5), ..request() }, "the end of the span"),
            (Request { kind: Kind::Klines(Interval::SECOND_1), market: Market::Usdm, ..request() }, "spot only"),
            (Request { kind: Kind::Funding, ..request() }, "spot has no funding"),
            (Request { kind: Kind::BookTicker, ..request() }, "futures only"),
        ];
        for (request, reason) in cases {
            let error = request.check(NOW_NS).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
