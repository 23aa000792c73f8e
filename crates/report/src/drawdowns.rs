//! Drawdowns of an equity curve: from a peak to the next time that the peak is reached again. The start counts as a point.

use crate::run::{EquityPoint, seconds};

/// One drawdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawdown {
    /// When the peak was; unit: unix nanoseconds.
    pub peak_ns: i64,
    /// When the lowest point was; unit: unix nanoseconds.
    pub trough_ns: i64,
    /// When the peak was reached again; `None` when it was not; unit: unix nanoseconds.
    pub recovered_ns: Option<i64>,
    /// Equity at the peak.
    pub peak: f64,
    /// Equity at the lowest point.
    pub trough: f64,
    /// From the peak to the recovery, or to the end of the run; unit: seconds.
    pub duration_s: f64,
}

impl Drawdown {
    /// How deep, as a share of the peak; at or below 0.
    #[must_use]
    pub fn depth(&self) -> f64 {
        let depth = self.trough / self.peak - 1.0;
        if depth.is_finite() { depth } else { 0.0 }
    }

    /// How deep, in money; at or above 0.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.peak - self.trough
    }
}

/// Every drawdown, in order of time. Points that are not finite are left out.
#[must_use]
pub fn drawdowns(start_ns: i64, start: f64, equity: &[EquityPoint]) -> Vec<Drawdown> {
    let mut all = Vec::new();
    let mut peak = EquityPoint { ts_ns: start_ns, equity: start };
    let mut trough: Option<EquityPoint> = None;
    let mut last_ns = start_ns;
    for point in equity.iter().filter(|point| point.equity.is_finite()) {
        last_ns = point.ts_ns;
        if point.equity >= peak.equity {
            if let Some(low) = trough.take() {
                all.push(drawdown(peak, low, Some(point.ts_ns), point.ts_ns));
            }
            peak = *point;
        } else if trough.is_none_or(|low| point.equity < low.equity) {
            trough = Some(*point);
        }
    }
    all.extend(trough.map(|low| drawdown(peak, low, None, last_ns)));
    all
}

fn drawdown(peak: EquityPoint, low: EquityPoint, recovered_ns: Option<i64>, end_ns: i64) -> Drawdown {
    Drawdown {
        peak_ns: peak.ts_ns,
        trough_ns: low.ts_ns,
        recovered_ns,
        peak: peak.equity,
        trough: low.equity,
        duration_s: seconds(end_ns.saturating_sub(peak.ts_ns)),
    }
}

/// The deepest ones first, at most `count_max`.
#[must_use]
pub fn deepest(mut all: Vec<Drawdown>, count_max: usize) -> Vec<Drawdown> {
    all.sort_by(|a, b| a.depth().total_cmp(&b.depth()));
    all.truncate(count_max);
    all
}

/// How far below its highest value the account was at each point, as a share at or below 0; the start counts.
#[must_use]
pub fn underwater(start: f64, equity: &[EquityPoint]) -> Vec<(i64, f64)> {
    let mut peak = start;
    let below = |point: &EquityPoint| {
        peak = peak.max(point.equity);
        (point.ts_ns, if peak > 0.0 { (point.equity / peak - 1.0).min(0.0) } else { 0.0 })
    };
    equity.iter().filter(|point| point.equity.is_finite()).map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[f64]) -> Vec<EquityPoint> {
        (1..).zip(values).map(|(at, equity)| EquityPoint { ts_ns: at * 1_000_000_000, equity: *equity }).collect()
    }

    #[test]
    fn a_drawdown_runs_from_its_peak_to_the_recovery_or_to_the_end() {
        let all = drawdowns(0, 100.0, &curve(&[90.0, 100.0, 120.0, 60.0, 80.0, f64::NAN, 70.0]));
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert!((first.depth() + 0.1).abs() < 1e-12 && first.recovered_ns == Some(2_000_000_000));
        assert!(first.peak_ns == 0 && (first.duration_s - 2.0).abs() < 1e-12);
        assert!((second.depth() + 0.5).abs() < 1e-12 && (second.loss() - 60.0).abs() < 1e-12);
        assert_eq!((second.trough_ns, second.recovered_ns), (4_000_000_000, None));
        assert!((second.duration_s - 4.0).abs() < 1e-12);
        assert_eq!(deepest(all.clone(), 1), all[1..]);
    }

    #[test]
    fn nothing_lost_is_no_drawdown() {
        assert_eq!(drawdowns(0, 100.0, &curve(&[100.0, 101.0])), []);
        assert_eq!(drawdowns(0, 100.0, &[]), []);
        assert_eq!(underwater(100.0, &curve(&[50.0, 200.0])), [(1_000_000_000, -0.5), (2_000_000_000, 0.0)]);
        assert_eq!(underwater(0.0, &curve(&[-1.0])), [(1_000_000_000, 0.0)]);
    }
}
