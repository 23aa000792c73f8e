//! A series of daily returns and how it is read: `date,return` with a header, one day a line, in order.
//!
//! Every value is finite and not below −1: nobody loses more than everything in a day and trades on.

use jiff::civil::Date;
use std::io::BufRead;

/// The longest line that is read; unit: bytes.
const LINE_BYTES_MAX: usize = 4_096;
/// The most days that are read: 10,000 years.
const DAYS_MAX: usize = 3_652_500;

/// Why a series is refused. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The file cannot be read.
    #[error("line {line}: cannot be read: {source}")]
    Read {
        /// Where.
        line: usize,
        /// Why.
        source: std::io::Error,
    },
    /// The first line is something else.
    #[error("line 1: the header is `{found}`; it must be `date,return`")]
    Header {
        /// What stands there.
        found: String,
    },
    /// A line is not two fields.
    #[error("line {line}: `{text}` is not `date,return`, as in `2025-01-31,0.0125`")]
    Fields {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A day that is no day.
    #[error("line {line}: `{text}` is no day; write it as 2025-01-31")]
    Date {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A day that is not after the one before it.
    #[error("line {line}: {date} is not after {before}; sort the days and remove doubles")]
    Order {
        /// Where.
        line: usize,
        /// The day.
        date: Date,
        /// The day before it.
        before: Date,
    },
    /// A number that is none, or that no account can have.
    #[error("line {line}: `{text}` is no daily return; it is a fraction not below -1, as in -0.0125 for -1.25 %")]
    Value {
        /// Where.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// Nothing but a header, or not even that.
    #[error("the series has no day; it needs a header `date,return` and at least one line")]
    Empty,
    /// More than anyone has lived.
    #[error("line {line}: a series has at most {DAYS_MAX} days")]
    TooLong {
        /// Where.
        line: usize,
    },
}

/// Simple returns per day, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DailyReturns {
    dates: Vec<Date>,
    values: Vec<f64>,
}

impl DailyReturns {
    /// Reads `date,return`.
    ///
    /// # Errors
    /// The first line that does not fit, with its number and the remedy.
    pub fn read(mut source: impl BufRead) -> Result<Self, SeriesError> {
        let mut series = Self::default();
        let mut buffer = Vec::new();
        for line in 1.. {
            buffer.clear();
            let mut limited = std::io::Read::take(&mut source, LINE_BYTES_MAX as u64);
            let read = limited.read_until(b'\n', &mut buffer).map_err(|source| SeriesError::Read { line, source })?;
            if read == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&buffer);
            let text = text.trim_start_matches('\u{feff}').trim();
            match line {
                1 if text.eq_ignore_ascii_case("date,return") => {}
                1 => return Err(SeriesError::Header { found: excerpt(text) }),
                _ if text.is_empty() => {}
                _ => series.push_line(line, text)?,
            }
        }
        if series.values.is_empty() { Err(SeriesError::Empty) } else { Ok(series) }
    }

    fn push_line(&mut self, line: usize, text: &str) -> Result<(), SeriesError> {
        let fields = || SeriesError::Fields { line, text: excerpt(text) };
        let (date, value) = text.split_once(',').ok_or_else(fields)?;
        if value.contains(',') {
            return Err(fields());
        }
        let (day, number) = (date.trim(), value.trim());
        // A time of day behind the date is let through: many programs write one.
        let day = day.split(['T', ' ']).next().unwrap_or(day);
        let date: Date = day.parse().map_err(|_| SeriesError::Date { line, text: excerpt(date) })?;
        let refused = || SeriesError::Value { line, text: excerpt(number) };
        let value: f64 = number.parse().map_err(|_| refused())?;
        if !value.is_finite() || value < -1.0 {
            return Err(refused());
        }
        if let Some(before) = self.dates.last().copied().filter(|before| *before >= date) {
            return Err(SeriesError::Order { line, date, before });
        }
        if self.values.len() >= DAYS_MAX {
            return Err(SeriesError::TooLong { line });
        }
        self.dates.push(date);
        self.values.push(value);
        Ok(())
    }

    /// Makes a series of days that follow each other.
    ///
    /// # Errors
    /// A value that is not finite or below −1, with its place counted from 1.
    pub fn from_values(first: Date, values: Vec<f64>) -> Result<Self, SeriesError> {
        let mut series = Self { dates: Vec::with_capacity(values.len()), values: Vec::with_capacity(values.len()) };
        let mut date = first;
        for (value, line) in values.into_iter().zip(1..) {
            if !value.is_finite() || value < -1.0 {
                return Err(SeriesError::Value { line, text: value.to_string() });
            }
            series.dates.push(date);
            series.values.push(value);
            date = date.tomorrow().unwrap_or(Date::MAX);
        }
        if series.values.is_empty() { Err(SeriesError::Empty) } else { Ok(series) }
    }

    /// The returns.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The days.
    #[must_use]
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DailyReturns, String> {
        DailyReturns::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_series_is_read() {
        let series = read("\u{feff}Date,Return\r\n2025-01-01,0.01\r\n\n2025-01-03T00:00:00,-0.5\n").unwrap();
        assert_eq!(series.values(), [0.01, -0.5]);
        assert_eq!(series.dates()[1].to_string(), "2025-01-03");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_line() {
        for (text, wanted) in [
            ("", "has no day"),
            ("date,return\n", "has no day"),
            ("return\n0.1\n", "line 1: the header is `return`"),
            ("date,return\n2025-01-01\n", "line 2: `2025-01-01` is not `date,return`"),
            ("date,return\n2025-01-01,1,2\n", "line 2: `2025-01-01,1,2` is not"),
            ("date,return\n2025-13-01,0.1\n", "line 2: `2025-13-01` is no day"),
            ("date,return\n2025-01-01,abc\n", "line 2: `abc` is no daily return"),
            ("date,return\n2025-01-01,NaN\n", "line 2: `NaN` is no daily return"),
            ("date,return\n2025-01-01,inf\n", "`inf` is no daily return"),
            ("date,return\n2025-01-01,-1.5\n", "`-1.5` is no daily return"),
            ("date,return\n2025-01-02,0.1\n2025-01-02,0.1\n", "line 3: 2025-01-02 is not after 2025-01-02"),
            ("date,return\n2025-01-02,0.1\n2025-01-01,0.1\n", "line 3: 2025-01-01 is not after 2025-01-02"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }
}
