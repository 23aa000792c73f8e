//! The Sharpe ratio of a window that moves over the days.

use crate::calendar::date_of;
use crate::moments::{deviation, mean, ratio};
use crate::run::DAY_NS;
use crate::series::DailyReturns;

/// Sharpe ratios of moving windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rolling {
    /// Days in a window.
    pub window_days: usize,
    /// End of the last day of each window in unix nanoseconds, Sharpe; windows without variance have none.
    pub points: Vec<(i64, f64)>,
}

/// Windows of 90 days from half a year on, of 30 from two months on, of 7 from two weeks on; shorter series have none.
#[must_use]
pub const fn window_days(days: usize) -> Option<usize> {
    match days {
        0..14 => None,
        14..60 => Some(7),
        60..180 => Some(30),
        _ => Some(90),
    }
}

/// The rolling Sharpe ratio: mean/std (ddof 1)·√P of each window.
#[must_use]
pub fn rolling_sharpe(returns: &DailyReturns, periods_per_year: u32) -> Option<Rolling> {
    let window_days = window_days(returns.values().len())?;
    let scale = f64::from(periods_per_year).sqrt();
    let windows = returns.values().windows(window_days).zip(returns.dates().iter().skip(window_days - 1));
    let point = |(window, date): (&[f64], &jiff::civil::Date)| {
        let sharpe = ratio(mean(window)?, deviation(window, 1).filter(|value| *value > 1e-15)?)? * scale;
        Some((end_of(*date), sharpe))
    };
    Some(Rolling { window_days, points: windows.filter_map(point).collect() })
}

/// The end of a day; unit: unix nanoseconds.
#[must_use]
pub fn end_of(date: jiff::civil::Date) -> i64 {
    let days = date_of(0).until(date).map_or(0, |span| i64::from(span.get_days()));
    days.saturating_add(1).saturating_mul(DAY_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_long_as_the_series_can_bear() {
        assert_eq!([0, 13, 14, 59, 60, 180].map(window_days), [None, None, Some(7), Some(7), Some(30), Some(90)]);
    }

    #[test]
    fn each_window_has_the_sharpe_of_its_own_days() {
        let values: Vec<f64> = (0..20).map(|day| f64::from(day % 5) / 100.0 - 0.01).collect();
        let returns = DailyReturns::from_values(date_of(19_723), values.clone()).unwrap();
        let rolling = rolling_sharpe(&returns, 365).unwrap();
        assert_eq!((rolling.window_days, rolling.points.len()), (7, 14));
        let first = crate::DailyStatistics::new(&values[..7], 365).get("sharpe").unwrap();
        assert!((rolling.points[0].1 - first).abs() < 1e-12);
        assert_eq!(rolling.points[0].0, (19_723 + 7) * DAY_NS);
        let flat = DailyReturns::from_values(date_of(0), vec![0.01; 20]).unwrap();
        assert!(rolling_sharpe(&flat, 365).unwrap().points.is_empty());
    }
}
