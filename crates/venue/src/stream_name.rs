//! Names of market streams: `<symbol>@<kind>`, `!miniTicker@arr` and the like, read into small keys.

use keel_sim::KlineSpan;

/// Candle intervals with their names, in Binance's order.
pub(crate) const INTERVALS: [(&str, KlineSpan); 16] = [
    ("1s", KlineSpan::Seconds(1)),
    ("1m", KlineSpan::Seconds(60)),
    ("3m", KlineSpan::Seconds(180)),
    ("5m", KlineSpan::Seconds(300)),
    ("15m", KlineSpan::Seconds(900)),
    ("30m", KlineSpan::Seconds(1_800)),
    ("1h", KlineSpan::Seconds(3_600)),
    ("2h", KlineSpan::Seconds(7_200)),
    ("4h", KlineSpan::Seconds(14_400)),
    ("6h", KlineSpan::Seconds(21_600)),
    ("8h", KlineSpan::Seconds(28_800)),
    ("12h", KlineSpan::Seconds(43_200)),
    ("1d", KlineSpan::Seconds(86_400)),
    ("3d", KlineSpan::Seconds(259_200)),
    ("1w", KlineSpan::Week),
    ("1M", KlineSpan::Month),
];

/// A candle interval as an index into [`INTERVALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Interval(u8);

impl Interval {
    /// By its name; case matters.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let at = INTERVALS.iter().position(|(other, _)| *other == name)?;
        u8::try_from(at).ok().map(Self)
    }

    fn entry(self) -> (&'static str, KlineSpan) {
        INTERVALS.get(usize::from(self.0)).copied().unwrap_or(("1m", KlineSpan::Seconds(60)))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its span.
    pub(crate) fn span(self) -> KlineSpan {
        self.entry().1
    }
}

/// Windows of rolling statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rolling {
    /// One hour.
    Hour,
    /// Four hours.
    FourHours,
    /// One day.
    Day,
}

impl Rolling {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "1h" => Some(Self::Hour),
            "4h" => Some(Self::FourHours),
            "1d" => Some(Self::Day),
            _ => None,
        }
    }

    /// The event's name.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::Hour => "1hTicker",
            Self::FourHours => "4hTicker",
            Self::Day => "1dTicker",
        }
    }

    /// Length in minutes.
    pub(crate) const fn minutes(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::FourHours => 240,
            Self::Day => 1_440,
        }
    }
}

/// What a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StreamKind {
    /// Single trades.
    Trade,
    /// Trades of one taker at one price.
    AggTrade,
    /// Best bid and ask.
    BookTicker,
    /// Changes of the book, each 100 ms (`fast`) or second.
    Depth {
        /// Each 100 ms?
        fast: bool,
    },
    /// The best 5, 10 or 20 levels.
    Partial {
        /// How many.
        levels: u8,
        /// Each 100 ms?
        fast: bool,
    },
    /// Candles.
    Kline {
        /// Their span.
        interval: Interval,
        /// Do they begin and end by the clock of UTC+8?
        east: bool,
    },
    /// Short figures of 24 hours.
    MiniTicker,
    /// Figures of 24 hours.
    Ticker,
    /// Figures of another window.
    RollingTicker(Rolling),
    /// Average price of five minutes.
    AvgPrice,
}

/// Which symbol a stream is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// One, by its dense index.
    Symbol(u32),
    /// All of them (`!…@arr`).
    All,
}

/// A stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    /// About what.
    pub(crate) scope: Scope,
    /// Which data.
    pub(crate) kind: StreamKind,
}

/// Reads a stream's name; `symbol` finds a lower-case symbol's index. Names that mean nothing here are `None`: like the
/// real venue, the server then accepts the subscription and sends nothing.
pub(crate) fn parse(name: &str, symbol: impl Fn(&str) -> Option<u32>) -> Option<StreamKey> {
    if let Some(rest) = name.strip_prefix('!') {
        let kind = match rest.strip_suffix("@arr")? {
            "miniTicker" => StreamKind::MiniTicker,
            "ticker" => StreamKind::Ticker,
            other => StreamKind::RollingTicker(Rolling::parse(other.strip_prefix("ticker_")?)?),
        };
        return Some(StreamKey { scope: Scope::All, kind });
    }
    let (lower, kind) = name.split_once('@')?;
    let scope = Scope::Symbol(symbol(lower)?);
    Some(StreamKey { scope, kind: parse_kind(kind)? })
}

fn parse_kind(kind: &str) -> Option<StreamKind> {
    Some(match kind {
        "trade" => StreamKind::Trade,
        "aggTrade" => StreamKind::AggTrade,
        "bookTicker" => StreamKind::BookTicker,
        "miniTicker" => StreamKind::MiniTicker,
        "ticker" => StreamKind::Ticker,
        "avgPrice" => StreamKind::AvgPrice,
        _ => {
            if let Some(interval) = kind.strip_prefix("kline_") {
                let east = interval.strip_suffix("@+08:00");
                let interval = Interval::parse(east.unwrap_or(interval))?;
                return Some(StreamKind::Kline { interval, east: east.is_some() });
            }
            if let Some(window) = kind.strip_prefix("ticker_") {
                return Rolling::parse(window).map(StreamKind::RollingTicker);
            }
            let rest = kind.strip_prefix("depth")?;
            let (levels, speed) = rest.split_once('@').unwrap_or((rest, "1000ms"));
            let fast = match speed {
                "100ms" => true,
                "1000ms" => false,
                _ => return None,
            };
            match levels {
                "" => StreamKind::Depth { fast },
                "5" => StreamKind::Partial { levels: 5, fast },
                "10" => StreamKind::Partial { levels: 10, fast },
                "20" => StreamKind::Partial { levels: 20, fast },
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_unknown_ones_mean_nothing() {
        let symbol = |name: &str| (name == "btcusdt").then_some(0);
        let read = |name: &str| parse(name, symbol).map(|key| key.kind);
        assert_eq!(read("btcusdt@trade"), Some(StreamKind::Trade));
        assert_eq!(read("btcusdt@depth@100ms"), Some(StreamKind::Depth { fast: true }));
        assert_eq!(read("btcusdt@depth"), Some(StreamKind::Depth { fast: false }));
        assert_eq!(read("btcusdt@depth20@100ms"), Some(StreamKind::Partial { levels: 20, fast: true }));
        let month = Interval::parse("1M").unwrap();
        assert_eq!(read("btcusdt@kline_1M"), Some(StreamKind::Kline { interval: month, east: false }));
        assert_eq!(read("btcusdt@kline_1M@+08:00"), Some(StreamKind::Kline { interval: month, east: true }));
        assert_eq!(read("btcusdt@ticker_4h"), Some(StreamKind::RollingTicker(Rolling::FourHours)));
        assert_eq!(read("!miniTicker@arr"), Some(StreamKind::MiniTicker));
        assert_eq!(read("!ticker_1h@arr"), Some(StreamKind::RollingTicker(Rolling::Hour)));
        for unknown in [
            "0",
            "",
            "btcusdt",
            "BTCUSDT@trade",
            "btcusdt@depth7",
            "btcusdt@kline_2m",
            "btcusdt@kline_1m@+09:00",
            "!x@arr",
            "xx@trade",
        ] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
    }
}
