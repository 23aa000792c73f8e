//! A figure with its name, convention and unit, and the two ways to show a list of them.

use serde_json::{Map, Value};

/// How a figure is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Number,
    /// A share, shown in percent.
    Share,
    /// A count, shown without decimals.
    Count,
    /// An amount of the run's currency.
    Money,
    /// A length of time in seconds, shown in days, hours, minutes and seconds.
    Seconds,
    /// A time in unix seconds, shown in UTC; RFC 3339 in JSON.
    Time,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// How it is defined.
    pub convention: &'static str,
    /// How it is shown.
    pub unit: Unit,
    /// Its value; `None` where it is not defined.
    pub value: Option<f64>,
}

impl Figure {
    /// A figure.
    #[must_use]
    pub const fn new(
        key: &'static str,
        label: &'static str,
        unit: Unit,
        value: Option<f64>,
        convention: &'static str,
    ) -> Self {
        Self { key, label, convention, unit, value }
    }

    /// The value as people read it; `n/a` where it is not defined.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some(value) = self.value.filter(|value| value.is_finite()) else { return "n/a".to_owned() };
        match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Share => share(value),
            Unit::Money => money(value),
            Unit::Seconds => duration(value),
            Unit::Time => time(value, "%Y-%m-%d %H:%M:%S"),
            Unit::Number if value != 0.0 && value.abs() < 1e-4 => format!("{value:.3e}"),
            Unit::Number => format!("{value:.4}"),
        }
    }
}

/// An amount with thousands separators: two decimals from 1 on, four digits that count below.
#[must_use]
pub fn money(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    let digits = match value.abs() {
        size if !(1e-12..1.0).contains(&size) => 2,
        size if size >= 0.01 => 4,
        size if size >= 0.0001 => 6,
        _ => 10,
    };
    grouped(&format!("{value:.digits$}"))
}

/// A share in percent: two decimals, four below a tenth of a per cent.
#[must_use]
pub fn share(value: f64) -> String {
    let percent = value * 100.0 + 0.0;
    if !percent.is_finite() {
        return "n/a".to_owned();
    }
    if percent != 0.0 && percent.abs() < 0.1 { format!("{percent:.4} %") } else { format!("{percent:.2} %") }
}

/// A whole number with thousands separators.
#[must_use]
pub fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (digits, rest) = text.find('.').map_or((text, ""), |at| text.split_at(at));
    let sign = if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) { "" } else { sign };
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// A length of time for people: `12d 03:04:05`, `03:04:05`, below a minute `4.250 s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "n/a".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let length = seconds.abs();
    if length < 60.0 {
        return format!("{sign}{length:.3} s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, saturates")]
    let whole = length.round() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    format!("{sign}{days}{hours:02}:{minutes:02}:{rest:02}")
}

/// A time in unix seconds by a format of strftime, UTC; `n/a` when it is none.
#[must_use]
pub fn time(unix_s: f64, format: &str) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "saturates, and is then refused")]
    let ms = (unix_s * 1e3).round() as i64;
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) if unix_s.is_finite() => at.strftime(format).to_string(),
        _ => "n/a".to_owned(),
    }
}

/// Figures as one JSON object; `null` where one is not defined.
#[must_use]
pub fn to_json(figures: &[Figure]) -> Map<String, Value> {
    let value = |figure: &Figure| match (figure.unit, figure.value.filter(|value| value.is_finite())) {
        (_, None) => Value::Null,
        #[allow(clippy::cast_possible_truncation, reason = "counts are whole and far below 2^53")]
        (Unit::Count, Some(value)) => Value::from(value as i64),
        (Unit::Time, Some(value)) => Value::from(time(value, "%Y-%m-%dT%H:%M:%S%.3fZ")),
        (_, Some(value)) => Value::from(value),
    };
    figures.iter().map(|figure| (figure.key.to_owned(), value(figure))).collect()
}

/// Figures as a table with their conventions.
#[must_use]
pub fn to_table(figures: &[Figure]) -> String {
    let label = figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
    let shown = figures.iter().map(|figure| figure.shown().chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for figure in figures {
        let line = format!("{:<label$}  {:>shown$}  {}\n", figure.label, figure.shown(), figure.convention);
        table.push_str(&line);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_says_so() {
        let figures = [
            Figure::new("sharpe", "Sharpe", Unit::Number, None, "mean/std"),
            Figure::new("cagr", "CAGR", Unit::Share, Some(0.1634), "a year"),
            Figure::new("days", "Days", Unit::Count, Some(90.0), "in the series"),
            Figure::new("ruin", "Risk of ruin", Unit::Number, Some(f64::INFINITY), "never shown"),
        ];
        assert_eq!(figures.map(|figure| figure.shown()), ["n/a", "16.34 %", "90", "n/a"]);
        let json = to_json(&figures);
        assert_eq!((&json["sharpe"], &json["days"], &json["ruin"]), (&Value::Null, &Value::from(90), &Value::Null));
        assert_eq!(json_of(Unit::Time, 1_704_067_200.5), Value::from("2024-01-01T00:00:00.500Z"));
        assert!(to_table(&figures).starts_with("Sharpe            n/a  mean/std\n"));
    }

    fn json_of(unit: Unit, value: f64) -> Value {
        to_json(&[Figure::new("x", "X", unit, Some(value), "")]).remove("x").unwrap()
    }

    #[test]
    fn amounts_and_times_are_shown_as_people_write_them() {
        for (value, shown) in [
            (980_807.297_631, "980,807.30"),
            (-1_234_567.0, "-1,234,567.00"),
            (999.994, "999.99"),
            (0.0, "0.00"),
            (-0.000_000_000_000_1, "0.00"),
            (0.012_34, "0.0123"),
            (-0.000_12, "-0.000120"),
            (f64::NAN, "n/a"),
        ] {
            assert_eq!(money(value), shown);
        }
        assert_eq!(whole(1_000), "1,000");
        for (value, shown) in [
            (0.25, "0.250 s"),
            (60.0, "00:01:00"),
            (93_784.6, "1d 02:03:05"),
            (-61.0, "-00:01:01"),
            (f64::INFINITY, "n/a"),
        ] {
            assert_eq!(duration(value), shown);
        }
        assert_eq!(time(0.0, "%Y-%m-%d"), "1970-01-01");
        assert_eq!(time(1e300, "%Y"), "n/a");
        assert_eq!(time(f64::NAN, "%Y"), "n/a");
    }
}
