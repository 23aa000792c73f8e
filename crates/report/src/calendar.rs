//! Equity by day and month. A day is a UTC day; what is stamped exactly at midnight ends the day before it, as the close of a
//! day's last bar does, in backtests and sweeps too. Days without a value keep the one before, so that a year has 365 days.

use crate::run::{DAY_NS, EquityPoint};
use crate::series::DailyReturns;
use jiff::civil::Date;

/// The day of the epoch.
const EPOCH: Date = Date::constant(1970, 1, 1);
/// The longest run that is cut into days: 10,000 years.
const DAYS_MAX: i64 = 3_652_500;

/// The day that has this number, counted from the epoch.
#[must_use]
pub fn date_of(day: i64) -> Date {
    EPOCH.checked_add(jiff::Span::new().try_days(day).unwrap_or_default()).unwrap_or(Date::MAX)
}

/// Equity as daily returns, and the first day on which nothing was left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Daily {
    /// Simple returns per day; empty without any equity.
    pub returns: DailyReturns,
    /// The day on which the account fell to zero or below; from there on every return is 0.
    pub ruined: Option<Date>,
}

/// Daily returns of an equity curve: the last value of each day against that of the day before, the first against `start`.
#[must_use]
pub fn daily(start_ns: i64, start: f64, equity: &[EquityPoint]) -> Daily {
    if start.is_nan() || start <= 0.0 {
        // Nothing to measure a return against.
        return Daily::default();
    }
    let ends_in = |ts_ns: i64| ts_ns.saturating_sub(1).div_euclid(DAY_NS);
    // A run that begins with a value at midnight begins on the day that ends.
    let is_early = equity.first().is_some_and(|first| first.ts_ns <= start_ns);
    let first_day = if is_early { ends_in(start_ns) } else { start_ns.div_euclid(DAY_NS) };
    let day_of = |ts_ns: i64| ends_in(ts_ns).max(first_day);
    let mut values = Vec::new();
    let mut ruined = None;
    let mut before = start;
    let mut next_day = first_day;
    for of_day in equity.chunk_by(|a, b| day_of(a.ts_ns) == day_of(b.ts_ns)) {
        let Some(last) = of_day.iter().rev().find(|point| point.equity.is_finite()) else { continue };
        let day = day_of(last.ts_ns);
        if day - first_day > DAYS_MAX || day < next_day {
            continue;
        }
        while next_day < day {
            values.push(0.0);
            next_day += 1;
        }
        next_day += 1;
        if ruined.is_some() || before <= 0.0 {
            values.push(0.0);
            continue;
        }
        if last.equity <= 0.0 {
            ruined = Some(date_of(day));
        }
        values.push((last.equity / before - 1.0).max(-1.0));
        before = last.equity;
    }
    let returns = DailyReturns::from_values(date_of(first_day), values).unwrap_or_default();
    Daily { returns, ruined }
}

/// The return of one month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonthReturn {
    /// Year.
    pub year: i16,
    /// Month, from 1.
    pub month: i8,
    /// Days of it that are in the series.
    pub days: u32,
    /// Π(1+r) − 1 of its days.
    pub value: f64,
}

/// The return of each month that has a day, in order.
#[must_use]
pub fn months(returns: &DailyReturns) -> Vec<MonthReturn> {
    let mut months: Vec<MonthReturn> = Vec::new();
    for (date, value) in returns.dates().iter().zip(returns.values()) {
        match months.last_mut().filter(|last| (last.year, last.month) == (date.year(), date.month())) {
            Some(last) => {
                last.value = (1.0 + last.value) * (1.0 + value) - 1.0;
                last.days += 1;
            }
            None => {
                months.push(MonthReturn { year: date.year(), month: date.month(), days: 1, value: *value });
            }
        }
    }
    months
}

/// The return of a year: Π(1+month) − 1; `None` when no month is of it.
#[must_use]
pub fn year_return(months: &[MonthReturn], year: i16) -> Option<f64> {
    let of_year = months.iter().filter(|month| month.year == year).map(|month| 1.0 + month.value);
    of_year.reduce(|all, month| all * month).map(|growth| growth - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JANUARY_2024: i64 = 19_723 * DAY_NS;

    fn points(values: &[(i64, f64)]) -> Vec<EquityPoint> {
        values.iter().map(|(at, equity)| EquityPoint { ts_ns: JANUARY_2024 + at, equity: *equity }).collect()
    }

    #[test]
    fn midnight_ends_the_day_before_and_days_without_a_value_stand_still() {
        let equity = points(&[(1, 105.0), (DAY_NS, 110.0), (DAY_NS + 1, 50.0), (4 * DAY_NS, 121.0)]);
        let daily = daily(JANUARY_2024, 100.0, &equity);
        let [first, second, third, fourth] = daily.returns.values() else { panic!("{daily:?}") };
        assert!((first - 0.1).abs() < 1e-12 && (second - (50.0 / 110.0 - 1.0)).abs() < 1e-12);
        assert!(*third == 0.0 && (fourth - (121.0 / 50.0 - 1.0)).abs() < 1e-12);
        assert_eq!(daily.returns.dates()[0].to_string(), "2024-01-01");
        assert_eq!(daily.ruined, None);
    }

    #[test]
    fn a_run_that_begins_with_a_close_at_midnight_begins_on_the_day_that_ends() {
        let early = daily(JANUARY_2024, 100.0, &points(&[(0, 101.0), (DAY_NS, 202.0)]));
        assert_eq!(early.returns.dates()[0].to_string(), "2023-12-31");
        assert_eq!(early.returns.values().len(), 2);
        let later = daily(JANUARY_2024, 100.0, &points(&[(1, 101.0), (DAY_NS, 202.0)]));
        assert_eq!((later.returns.dates()[0].to_string().as_str(), later.returns.values().len()), ("2024-01-01", 1));
    }

    #[test]
    fn a_total_loss_is_minus_one_once_and_then_nothing() {
        let equity = points(&[(DAY_NS, 50.0), (2 * DAY_NS, -20.0), (3 * DAY_NS, 10.0)]);
        let daily = daily(JANUARY_2024, 100.0, &equity);
        assert_eq!(daily.returns.values(), [-0.5, -1.0, 0.0]);
        assert_eq!(daily.ruined.unwrap().to_string(), "2024-01-02");
    }

    #[test]
    fn nothing_has_no_days_and_what_is_not_finite_is_left_out() {
        assert!(daily(0, 1.0, &[]).returns.values().is_empty());
        let odd = points(&[(1, f64::NAN), (2, f64::INFINITY)]);
        assert!(daily(JANUARY_2024, 1.0, &odd).returns.values().is_empty());
        let late = [EquityPoint { ts_ns: i64::MAX, equity: 1.0 }, EquityPoint { ts_ns: i64::MIN, equity: 1.0 }];
        assert!(daily(0, 1.0, &late).returns.values().len() < 200_000);
    }

    #[test]
    fn months_compound_their_days() {
        let returns = DailyReturns::from_values(date_of(19_752), vec![0.1, 0.1, 0.1, -0.5]).unwrap();
        let months = months(&returns);
        assert_eq!(
            months.iter().map(|it| (it.year, it.month, it.days)).collect::<Vec<_>>(),
            [(2024, 1, 2), (2024, 2, 2)]
        );
        assert!((months[0].value - 0.21).abs() < 1e-12 && (months[1].value + 0.45).abs() < 1e-12);
        assert!((year_return(&months, 2024).unwrap() - (1.21 * 0.55 - 1.0)).abs() < 1e-12);
        assert_eq!(year_return(&months, 2023), None);
    }
}
