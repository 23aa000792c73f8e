//! The archives: which files there are, by name, and which of them make up a span.
//!
//! Layout (`<base>/data/…`): `spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip`, `spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-01-31.zip`,
//! the same under `futures/um` and `futures/cm`; beside each file its `.CHECKSUM` (SHA-256, as `sha256sum` writes it). A day's file comes
//! within about two days, a month's in the days after its end.

use crate::HistoryError;
use crate::calendar::{DAY_NS, Day};
use crate::request::{Kind, Market, Request, SourcePolicy};
use keel_catalogue::Span;
use keel_marketdata::Interval;

/// A day's archive is asked for when the day began so long ago; unit: nanoseconds.
const LAG_NS: u64 = 2 * DAY_NS;
/// The same for a month, from its end on; unit: nanoseconds.
const MONTH_LAG_NS: u64 = DAY_NS;

/// Part of a request that is fetched, verified and kept as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// The archive of the month.
    Month(Span),
    /// The archive of the day.
    Day(Span),
    /// REST.
    Rest(Span),
}

impl Piece {
    pub(crate) const fn span(self) -> Span {
        match self {
            Self::Month(span) | Self::Day(span) | Self::Rest(span) => span,
        }
    }
}

/// Are there archives of whole months that are small enough to be taken as one?
const fn has_months(kind: Kind) -> bool {
    matches!(kind, Kind::Klines(_) | Kind::Funding)
}

/// Are there archives of single days?
const fn has_days(kind: Kind) -> bool {
    match kind {
        Kind::Klines(Interval::Seconds(seconds)) => seconds <= 86_400,
        Kind::Klines(_) | Kind::Funding => false,
        Kind::Trades | Kind::AggTrades | Kind::BookTicker => true,
    }
}

/// Does REST have it?
pub(crate) const fn has_rest(kind: Kind, market: Market) -> bool {
    match kind {
        Kind::Klines(_) | Kind::AggTrades | Kind::Funding => true,
        Kind::Trades => matches!(market, Market::Spot),
        Kind::BookTicker => false,
    }
}

/// The pieces that make up `span`, in order, without gap or overlap inside it.
pub(crate) fn plan(request: &Request, span: Span, now_ns: u64) -> Result<Vec<Piece>, HistoryError> {
    let mut pieces = Vec::new();
    let mut at = span.from_ns;
    while at < span.to_ns {
        let piece = next(request, span, at, now_ns)?;
        at = piece.span().to_ns;
        pieces.push(piece);
    }
    Ok(pieces)
}

fn next(request: &Request, span: Span, at: u64, now_ns: u64) -> Result<Piece, HistoryError> {
    let (month, day) = (Day::month_span(at), Day::span(at));
    let kind = request.kind;
    if request.source != SourcePolicy::Rest {
        let is_whole = at == month.from_ns && span.to_ns >= month.to_ns;
        if has_months(kind) && (is_whole || !has_days(kind)) && month.to_ns + MONTH_LAG_NS <= now_ns {
            return Ok(Piece::Month(month));
        }
        if has_days(kind) && day.from_ns + LAG_NS <= now_ns {
            return Ok(Piece::Day(day));
        }
        if request.source == SourcePolicy::Vision || !has_rest(kind, request.market) {
            let file = if has_days(kind) { day_name(request, day) } else { month_name(request, month) };
            return Err(HistoryError::NotPublished { file });
        }
    }
    Ok(Piece::Rest(rest_piece(kind, span, at)))
}

/// What REST is asked for as one: the rest of a day, of a month where bars are long.
pub(crate) fn rest_piece(kind: Kind, span: Span, at: u64) -> Span {
    let is_coarse = match kind {
        Kind::Klines(Interval::Seconds(seconds)) => seconds >= 900,
        Kind::Klines(_) | Kind::Funding => true,
        Kind::Trades | Kind::AggTrades | Kind::BookTicker => false,
    };
    let end = if is_coarse { Day::month_span(at).to_ns } else { Day::span(at).to_ns };
    Span::new(at, end.min(span.to_ns))
}

/// What stands in for an archive that is not there: the days of a month, REST for a day.
pub(crate) fn instead(request: &Request, piece: Piece, now_ns: u64) -> Vec<Piece> {
    let rest = |span: Span| {
        let mut pieces = Vec::new();
        let mut at = span.from_ns;
        let span = Span::new(span.from_ns, span.to_ns.min(now_ns));
        while at < span.to_ns {
            let one = rest_piece(request.kind, span, at);
            at = one.to_ns;
            pieces.push(Piece::Rest(one));
        }
        pieces
    };
    match piece {
        Piece::Month(month) if has_days(request.kind) => {
            (month.from_ns..month.to_ns).step_by(DAY_NS as usize).map(|at| Piece::Day(Day::span(at))).collect()
        }
        Piece::Month(span) | Piece::Day(span) => rest(span),
        Piece::Rest(_) => Vec::new(),
    }
}

/// Path of an archive under the base address, and its name.
pub(crate) fn archive(request: &Request, piece: Piece) -> Option<(String, String)> {
    let (granularity, name) = match piece {
        Piece::Month(span) => ("monthly", month_name(request, span)),
        Piece::Day(span) => ("daily", day_name(request, span)),
        Piece::Rest(_) => return None,
    };
    let market = match request.market {
        Market::Spot => "spot",
        Market::Usdm => "futures/um",
        Market::Coinm => "futures/cm",
    };
    let symbol = &request.symbol;
    let folder = match request.kind {
        Kind::Klines(interval) => format!("klines/{symbol}/{interval}"),
        kind => format!("{}/{symbol}", word(kind)),
    };
    Some((format!("data/{market}/{granularity}/{folder}/{name}"), name))
}

/// The archives' word.
const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Klines(_) => "klines",
        Kind::Trades => "trades",
        Kind::AggTrades => "aggTrades",
        Kind::BookTicker => "bookTicker",
        Kind::Funding => "fundingRate",
    }
}

fn stem(request: &Request) -> String {
    match request.kind {
        Kind::Klines(interval) => format!("{}-{interval}", request.symbol),
        kind => format!("{}-{}", request.symbol, word(kind)),
    }
}

fn month_name(request: &Request, span: Span) -> String {
    let day = Day::of(span.from_ns);
    format!("{}-{:04}-{:02}.zip", stem(request), day.year, day.month)
}

fn day_name(request: &Request, span: Span) -> String {
    let day = Day::of(span.from_ns);
    format!("{}-{:04}-{:02}-{:02}.zip", stem(request), day.year, day.month, day.day)
}

/// Reads a `.CHECKSUM`: 64 hexadecimal digits, blanks, the file's name.
pub(crate) fn parse_checksum(text: &[u8], name: &str) -> Result<String, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    let mut words = text.split_whitespace();
    let sum = words.next().filter(|it| it.len() == 64 && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let sum = sum.ok_or_else(|| "it does not begin with a SHA-256 in hexadecimal digits".to_owned())?;
    match words.next().map(|it| it.trim_start_matches('*')) {
        Some(of) if of == name => Ok(sum.to_ascii_lowercase()),
        of => Err(format!("it is of {:?}, not of {name}", of.unwrap_or("nothing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(year: u64, month: u64, day: u64) -> u64 {
        Day { year, month, day }.start_ns()
    }

    fn request(kind: Kind, source: SourcePolicy) -> Request {
        let span = Span::new(ns(2024, 1, 30), ns(2024, 4, 2) + 3_600_000_000_000);
        Request { market: Market::Spot, symbol: "BTCUSDT".into(), kind, span, source }
    }

    fn shown(request: &Request, now_ns: u64) -> Vec<String> {
        let pieces = plan(request, request.span, now_ns).unwrap();
        pieces
            .into_iter()
            .map(|piece| match archive(request, piece) {
                Some((_, name)) => name,
                None => format!("rest {}", piece.span()),
            })
            .collect()
    }

    #[test]
    fn a_span_is_months_where_whole_days_at_the_edges_and_rest_for_the_newest_days() {
        let klines = Kind::Klines(Interval::MINUTE_1);
        let want = [
            "BTCUSDT-1m-2024-01-30.zip",
            "BTCUSDT-1m-2024-01-31.zip",
            "BTCUSDT-1m-2024-02.zip",
            "BTCUSDT-1m-2024-03.zip",
            "rest 2024-04-01T00:00:00Z to 2024-04-02T00:00:00Z",
            "rest 2024-04-02T00:00:00Z to 2024-04-02T01:00:00Z",
        ];
        let now_ns = ns(2024, 4, 2) + 7_200_000_000_000;
        assert_eq!(shown(&request(klines, SourcePolicy::Auto), now_ns), want);
        assert_eq!(shown(&request(klines, SourcePolicy::Rest), now_ns).len(), 64, "a piece for each day");
        assert_eq!(shown(&request(Kind::Trades, SourcePolicy::Auto), now_ns).len(), 64, "trades come by day");
        let weeks = shown(&request(Kind::Klines(Interval::Week), SourcePolicy::Auto), now_ns);
        assert_eq!(
            weeks,
            [
                "BTCUSDT-1w-2024-01.zip",
                "BTCUSDT-1w-2024-02.zip",
                "BTCUSDT-1w-2024-03.zip",
                "rest 2024-04-01T00:00:00Z to 2024-04-02T01:00:00Z"
            ]
        );
        let vision = request(klines, SourcePolicy::Vision);
        let error = plan(&vision, vision.span, now_ns).unwrap_err().to_string();
        assert!(error.contains("BTCUSDT-1m-2024-04-01.zip") && error.contains("48 h"), "{error}");
    }

    #[test]
    fn archives_lie_where_the_venue_puts_them() {
        let day = Piece::Day(Span::new(ns(2024, 1, 5), ns(2024, 1, 6)));
        let month = Piece::Month(Span::new(ns(2024, 1, 1), ns(2024, 2, 1)));
        let path =
            |market, kind, piece| archive(&Request { market, ..request(kind, SourcePolicy::Auto) }, piece).unwrap().0;
        let hour = Kind::Klines("1h".parse().unwrap());
        assert_eq!(path(Market::Spot, hour, month), "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip");
        assert_eq!(
            path(Market::Usdm, Kind::AggTrades, day),
            "data/futures/um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01-05.zip"
        );
        assert_eq!(
            path(Market::Coinm, Kind::Funding, month),
            "data/futures/cm/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"
        );
        assert_eq!(
            path(Market::Usdm, Kind::BookTicker, day),
            "data/futures/um/daily/bookTicker/BTCUSDT/BTCUSDT-bookTicker-2024-01-05.zip"
        );
    }

    #[test]
    fn what_is_not_archived_is_looked_for_elsewhere() {
        let request = request(Kind::Klines(Interval::MINUTE_1), SourcePolicy::Auto);
        let month = Piece::Month(Span::new(ns(2024, 2, 1), ns(2024, 3, 1)));
        let days = instead(&request, month, ns(2024, 5, 1));
        assert_eq!(days.len(), 29);
        let rest = instead(&request, days[28], ns(2024, 2, 29) + 5);
        assert_eq!(rest, [Piece::Rest(Span::new(ns(2024, 2, 29), ns(2024, 2, 29) + 5))]);
        assert_eq!(instead(&request, rest[0], u64::MAX), []);
    }

    #[test]
    fn a_checksum_is_of_its_file_or_of_nothing() {
        let sum = "A".repeat(64);
        assert_eq!(parse_checksum(format!("{sum}  x.zip\n").as_bytes(), "x.zip").unwrap(), "a".repeat(64));
        for text in [format!("{sum}  y.zip"), sum.clone(), "abc  x.zip".into(), String::new(), "<html>".into()] {
            parse_checksum(text.as_bytes(), "x.zip").unwrap_err();
        }
    }
}
