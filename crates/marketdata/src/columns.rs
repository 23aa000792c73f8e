//! Market data as columns: what files hold and backtests read, a few bytes a row, exact.
//!
//! Prices and quantities are mantissas with one scale per column set (`price = mantissa · 10^-scale`); times are nanoseconds
//! since the Unix epoch. All columns of a set have the same length.

use keel_model::{Bar, InstrumentId, Level, NumberError, Price, Quantity, Side, Timestamp, TopOfBook, Trade, TradeId};
use std::fmt;
use std::str::FromStr;

/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;

/// Length of a bar in the venue's words: `1s` to `1d`, `3d`, `1w` (from Monday), `1mo` (from the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// So many whole seconds; divides three days.
    Seconds(u32),
    /// A week from Monday 00:00 UTC.
    Week,
    /// A calendar month, UTC.
    Month,
}

/// Text that is no interval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no interval; one of 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1mo")]
pub struct IntervalError(pub String);

/// Names and lengths in seconds.
const SECONDS: [(&str, u32); 14] = [
    ("1s", 1),
    ("1m", 60),
    ("3m", 180),
    ("5m", 300),
    ("15m", 900),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("4h", 14_400),
    ("6h", 21_600),
    ("8h", 28_800),
    ("12h", 43_200),
    ("1d", 86_400),
    ("3d", 259_200),
];

impl Interval {
    /// One minute.
    pub const MINUTE_1: Self = Self::Seconds(60);
    /// One second; spot only on Binance.
    pub const SECOND_1: Self = Self::Seconds(1);

    /// Its fixed length; `None` for a month. Unit: nanoseconds.
    #[must_use]
    pub const fn length_ns(self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(seconds as u64 * 1_000_000_000),
            Self::Week => Some(7 * DAY_NS),
            Self::Month => None,
        }
    }

    /// End (exclusive) of the bar that opens at `open_ns`; for a month: the first of the next. Unit: nanoseconds.
    #[must_use]
    pub fn close_ns(self, open_ns: u64) -> u64 {
        match self.length_ns() {
            Some(length) => open_ns.saturating_add(length),
            None => open_ns.saturating_add(days_of_month(open_ns / DAY_NS) * DAY_NS),
        }
    }
}

/// Days of the month in which day number `day` (since 1970-01-01) lies; proleptic Gregorian, after Howard Hinnant's `civil_from_days`.
fn days_of_month(day: u64) -> u64 {
    let z = day + 719_468;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + z / 146_097 * 400 + u64::from(month <= 2);
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Week => f.write_str("1w"),
            Self::Month => f.write_str("1mo"),
            Self::Seconds(seconds) => match SECONDS.iter().find(|(_, known)| known == seconds) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{seconds}s"),
            },
        }
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        match text {
            "1w" => Ok(Self::Week),
            "1mo" | "1M" => Ok(Self::Month),
            _ => match SECONDS.iter().find(|(name, _)| *name == text) {
                Some((_, seconds)) => Ok(Self::Seconds(*seconds)),
                None => Err(IntervalError(text.to_owned())),
            },
        }
    }
}

/// Bars of one instrument and interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarColumns {
    /// Length of each bar.
    pub interval: Interval,
    /// Scale of the four prices.
    pub price_scale: u8,
    /// Scale of the volume.
    pub quantity_scale: u8,
    /// Start of each bar, inclusive.
    pub ts_open_ns: Vec<u64>,
    /// First price.
    pub open: Vec<i64>,
    /// Highest price.
    pub high: Vec<i64>,
    /// Lowest price.
    pub low: Vec<i64>,
    /// Last price.
    pub close: Vec<i64>,
    /// Base volume.
    pub volume: Vec<i64>,
}

impl BarColumns {
    /// No bars yet.
    #[must_use]
    pub const fn new(interval: Interval, price_scale: u8, quantity_scale: u8) -> Self {
        Self {
            interval,
            price_scale,
            quantity_scale,
            ts_open_ns: Vec::new(),
            open: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            close: Vec::new(),
            volume: Vec::new(),
        }
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ts_open_ns.len()
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ts_open_ns.is_empty()
    }

    /// Bar number `at` as an event that is received when it closes; `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn bar(&self, at: usize, instrument: InstrumentId) -> Option<Bar> {
        let ts_open = *self.ts_open_ns.get(at)?;
        let ts_close = Timestamp::from_ns(self.interval.close_ns(ts_open));
        let price = |mantissa: &i64| Price::new(*mantissa, self.price_scale).ok();
        Some(Bar {
            instrument,
            ts_open: Timestamp::from_ns(ts_open),
            ts_close,
            ts_recv: ts_close,
            open: price(self.open.get(at)?)?,
            high: price(self.high.get(at)?)?,
            low: price(self.low.get(at)?)?,
            close: price(self.close.get(at)?)?,
            volume: Quantity::new(*self.volume.get(at)?, self.quantity_scale).ok()?,
            is_closed: true,
        })
    }
}

/// Best bids and asks of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuoteColumns {
    /// Scale of the prices.
    pub price_scale: u8,
    /// Scale of the quantities.
    pub quantity_scale: u8,
    /// When each was received.
    pub ts_ns: Vec<u64>,
    /// Best bid.
    pub bid: Vec<i64>,
    /// Best ask.
    pub ask: Vec<i64>,
    /// Quantity at the best bid.
    pub bid_quantity: Vec<i64>,
    /// Quantity at the best ask.
    pub ask_quantity: Vec<i64>,
}

impl QuoteColumns {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ts_ns.len()
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ts_ns.is_empty()
    }

    /// Quote number `at`; `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn quote(&self, at: usize, instrument: InstrumentId) -> Option<TopOfBook> {
        let ts = Timestamp::from_ns(*self.ts_ns.get(at)?);
        let level = |price: &i64, quantity: &i64| -> Result<Level, NumberError> {
            let price = Price::new(*price, self.price_scale)?;
            Ok(Level { price, quantity: Quantity::new(*quantity, self.quantity_scale)? })
        };
        Some(TopOfBook {
            instrument,
            ts_event: ts,
            ts_recv: ts,
            update_id: 0,
            bid: level(self.bid.get(at)?, self.bid_quantity.get(at)?).ok()?,
            ask: level(self.ask.get(at)?, self.ask_quantity.get(at)?).ok()?,
        })
    }
}

/// Public trades of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TradeColumns {
    /// Scale of the prices.
    pub price_scale: u8,
    /// Scale of the quantities.
    pub quantity_scale: u8,
    /// When each happened.
    pub ts_ns: Vec<u64>,
    /// The venue's trade id.
    pub trade_id: Vec<u64>,
    /// Price.
    pub price: Vec<i64>,
    /// Quantity.
    pub quantity: Vec<i64>,
    /// Was the taker the seller?
    pub is_sell: Vec<bool>,
}

impl TradeColumns {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ts_ns.len()
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ts_ns.is_empty()
    }

    /// Trade number `at`; `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn trade(&self, at: usize, instrument: InstrumentId) -> Option<Trade> {
        let ts = Timestamp::from_ns(*self.ts_ns.get(at)?);
        Some(Trade {
            instrument,
            ts_event: ts,
            ts_recv: ts,
            trade_id: decimal_id(*self.trade_id.get(at)?),
            price: Price::new(*self.price.get(at)?, self.price_scale).ok()?,
            quantity: Quantity::new(*self.quantity.get(at)?, self.quantity_scale).ok()?,
            aggressor: if *self.is_sell.get(at)? { Side::Sell } else { Side::Buy },
        })
    }
}

/// The number as text; nothing allocates.
fn decimal_id(mut number: u64) -> TradeId {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    let text = digits.get(digits.len() - used..).and_then(|text| std::str::from_utf8(text).ok());
    TradeId::truncated(text.unwrap_or_default())
}

/// Funding of one perpetual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FundingColumns {
    /// Scale of the rates.
    pub rate_scale: u8,
    /// When it was paid.
    pub ts_ns: Vec<u64>,
    /// Rate per period as a plain fraction.
    pub rate: Vec<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_print_as_they_are_read_and_months_have_their_days() {
        for (name, _) in SECONDS {
            assert_eq!(name.parse::<Interval>().unwrap().to_string(), name);
        }
        assert_eq!("1mo".parse(), Ok(Interval::Month));
        assert_eq!("1w".parse(), Ok(Interval::Week));
        assert!("7m".parse::<Interval>().unwrap_err().to_string().contains("1s 1m"));
        let day = |year_2024_day: u64| (19_723 + year_2024_day) * DAY_NS;
        assert_eq!(Interval::Month.close_ns(day(31)), day(31 + 29), "February 2024");
        assert_eq!(Interval::Month.close_ns(day(335)), day(366), "December 2024");
    }

    #[test]
    fn ids_are_plain_numbers() {
        for number in [0, 7, 10, 123_456_789, u64::MAX] {
            assert_eq!(decimal_id(number).as_str(), number.to_string());
        }
    }

    #[test]
    fn rows_become_events_and_none_lies_beyond_the_end() {
        let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 3);
        assert!(bars.is_empty() && bars.bar(0, InstrumentId(0)).is_none());
        bars.ts_open_ns.push(60_000_000_000);
        for (column, value) in [
            (&mut bars.open, 100),
            (&mut bars.high, 120),
            (&mut bars.low, 90),
            (&mut bars.close, 110),
            (&mut bars.volume, 5),
        ] {
            column.push(value);
        }
        let bar = bars.bar(0, InstrumentId(3)).unwrap();
        assert_eq!((bar.close, bar.volume), ("1.10".parse().unwrap(), "0.005".parse().unwrap()));
        assert_eq!(
            (bar.ts_close, bar.ts_recv),
            (Timestamp::from_ns(120_000_000_000), Timestamp::from_ns(120_000_000_000))
        );
        assert_eq!(bars.bar(1, InstrumentId(3)), None);
    }
}
