//! How much of the time, and with how much of the account, a run was in the market. Positions count at their entry prices.

use crate::moments::ratio;
use crate::run::{EquityPoint, Run};

/// The position over time and what follows from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposure {
    /// From this time on (unix nanoseconds) the net position was worth this share of the account; below 0 when short.
    pub steps: Vec<(i64, f64)>,
    /// Share of the time with any position; `None` of a run without length.
    pub time_share: Option<f64>,
    /// Mean over time of the size of the net position as a share of the account.
    pub average: Option<f64>,
    /// Largest size of the net position as a share of the account.
    pub largest: Option<f64>,
}

/// What is smaller than this share of the largest position is rounding.
const DUST: f64 = 1e-9;

/// A position that changes.
struct Change {
    ts_ns: i64,
    value: f64,
    positions: i32,
}

/// The exposure of a run, out of its trades and what is still open.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "lengths of time")]
pub fn exposure(run: &Run) -> Exposure {
    let changes = changes(run);
    let size_max = changes.iter().map(|change| change.value.abs()).fold(0.0, f64::max);
    let mut result = Exposure::default();
    let (mut net, mut positions, mut since, mut share) = (0.0_f64, 0_i32, run.start_ns, 0.0_f64);
    let (mut in_market, mut weighted, mut largest) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut equity = EquityAt::new(run);
    for at_once in changes.chunk_by(|a, b| a.ts_ns == b.ts_ns) {
        let Some(now) = at_once.first().map(|change| change.ts_ns) else { continue };
        let length = now.saturating_sub(since).max(0) as f64;
        in_market += if positions > 0 { length } else { 0.0 };
        weighted += share.abs() * length;
        since = now.max(since);
        for change in at_once {
            net += change.value;
            positions += change.positions;
        }
        if net.abs() <= size_max * DUST {
            net = 0.0;
        }
        if run.start_equity.is_nan() || run.start_equity <= 0.0 {
            continue;
        }
        share = ratio(net, equity.at(now)).unwrap_or(0.0);
        largest = largest.max(share.abs());
        result.steps.push((now, share));
    }
    let length = run.end_ns.saturating_sub(since).max(0) as f64;
    in_market += if positions > 0 { length } else { 0.0 };
    weighted += share.abs() * length;
    let span = run.end_ns.saturating_sub(run.start_ns) as f64;
    result.time_share = ratio(in_market, span).map(|share| share.min(1.0));
    result.average = ratio(weighted, span).filter(|_| run.start_equity > 0.0);
    result.largest = (!result.steps.is_empty()).then_some(largest);
    result
}

fn changes(run: &Run) -> Vec<Change> {
    let mut changes = Vec::with_capacity(run.trades.len() * 2 + run.open.len());
    for trade in &run.trades {
        let value = trade.stake() * trade.direction.sign();
        changes.push(Change { ts_ns: trade.entry_ns, value, positions: 1 });
        changes.push(Change { ts_ns: trade.exit_ns, value: -value, positions: -1 });
    }
    for open in &run.open {
        let value = open.quantity * open.entry_price * open.direction.sign();
        changes.push(Change { ts_ns: open.entry_ns, value, positions: 1 });
    }
    changes.sort_by_key(|change| change.ts_ns);
    changes
}

/// The equity at times that only go forward.
struct EquityAt<'a> {
    points: &'a [EquityPoint],
    last: f64,
}

impl<'a> EquityAt<'a> {
    fn new(run: &'a Run) -> Self {
        Self { points: &run.equity, last: run.start_equity }
    }

    fn at(&mut self, ts_ns: i64) -> f64 {
        while let Some((point, rest)) = self.points.split_first().filter(|(point, _)| point.ts_ns <= ts_ns) {
            self.last = point.equity;
            self.points = rest;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::trade;
    use crate::run::{Direction, OpenPosition};

    #[test]
    fn time_in_the_market_and_sizes_add_up() {
        let second = 1_000_000_000;
        let mut long = trade("A", Direction::Long, 1.0, "");
        (long.entry_ns, long.exit_ns) = (10 * second, 30 * second);
        let mut short = trade("A", Direction::Short, 1.0, "");
        (short.entry_ns, short.exit_ns, short.quantity) = (30 * second, 40 * second, 2.0);
        let open = OpenPosition {
            instrument: "A".into(),
            direction: Direction::Long,
            entry_ns: 90 * second,
            entry_price: 100.0,
            quantity: 5.0,
            unrealized: None,
        };
        let run = Run {
            start_equity: 1000.0,
            end_ns: 100 * second,
            trades: vec![long, short],
            open: vec![open],
            equity: vec![EquityPoint { ts_ns: 80 * second, equity: 500.0 }],
            ..Run::default()
        };
        let exposure = exposure(&run);
        assert_eq!(exposure.steps, [(10 * second, 0.1), (30 * second, -0.2), (40 * second, 0.0), (90 * second, 1.0)]);
        assert_eq!((exposure.time_share, exposure.largest), (Some(0.4), Some(1.0)));
        assert!((exposure.average.unwrap() - (0.1 * 20.0 + 0.2 * 10.0 + 10.0) / 100.0).abs() < 1e-12);
    }

    #[test]
    fn no_trades_are_no_exposure() {
        let none = exposure(&Run { end_ns: 5, ..Run::default() });
        assert_eq!((none.time_share, none.average, none.largest), (Some(0.0), None, None));
        assert_eq!(exposure(&Run::default()).time_share, None);
    }
}
