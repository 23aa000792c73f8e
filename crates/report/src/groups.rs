//! Trades by instrument, by exit reason, by direction: one row of figures for each group.

use crate::moments::{count, mean, ratio};
use crate::run::Trade;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The figures of some of the trades.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many trades.
    pub trades: u64,
    /// With a profit above zero.
    pub wins: u64,
    /// With a profit of zero.
    pub draws: u64,
    /// With a loss.
    pub losses: u64,
    /// Σ profit after fees.
    pub profit: f64,
    /// Σ profit as a share of the start equity; `None` without one.
    pub profit_share: Option<f64>,
    /// Mean of profit/stake.
    pub avg_profit_ratio: Option<f64>,
    /// Largest profit/stake.
    pub best: Option<f64>,
    /// Smallest profit/stake.
    pub worst: Option<f64>,
    /// Σ profit of winners over Σ loss of losers.
    pub profit_factor: Option<f64>,
    /// Mean time open; unit: seconds.
    pub avg_open_s: Option<f64>,
    /// Σ fees.
    pub fees: f64,
}

impl Group {
    /// The figures of `trades`.
    #[must_use]
    pub fn of(name: &str, trades: &[&Trade], start_equity: f64) -> Self {
        let profits: Vec<f64> = trades.iter().map(|trade| trade.profit).collect();
        let ratios: Vec<f64> = trades.iter().map(|trade| trade.profit_ratio()).collect();
        let lengths: Vec<f64> = trades.iter().map(|trade| trade.open_s()).collect();
        let number = |keep: fn(&f64) -> bool| profits.iter().filter(|it| keep(it)).count() as u64;
        let gained: f64 = profits.iter().filter(|profit| **profit > 0.0).sum();
        let lost: f64 = profits.iter().filter(|profit| **profit < 0.0).sum();
        let profit: f64 = profits.iter().sum();
        Self {
            name: name.to_owned(),
            trades: trades.len() as u64,
            wins: number(|profit| *profit > 0.0),
            draws: number(|profit| *profit == 0.0),
            losses: number(|profit| *profit < 0.0),
            profit,
            profit_share: ratio(profit, start_equity).filter(|_| count(&profits) > 0.0),
            avg_profit_ratio: mean(&ratios),
            best: ratios.iter().copied().reduce(f64::max),
            worst: ratios.iter().copied().reduce(f64::min),
            profit_factor: ratio(gained, -lost),
            avg_open_s: mean(&lengths),
            fees: trades.iter().map(|trade| trade.fees).sum(),
        }
    }

    /// Trades with a profit, as a share of all.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "trades")]
    pub fn win_rate(&self) -> Option<f64> {
        ratio(self.wins as f64, self.trades as f64)
    }

    /// One JSON object; `null` where a figure is not defined.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "trades": self.trades,
            "wins": self.wins,
            "draws": self.draws,
            "losses": self.losses,
            "winrate": self.win_rate(),
            "profit": self.profit,
            "profit_share": self.profit_share,
            "avg_profit_ratio": self.avg_profit_ratio,
            "best": self.best,
            "worst": self.worst,
            "profit_factor": self.profit_factor,
            "avg_open_s": self.avg_open_s,
            "fees": self.fees,
        })
    }
}

/// One group for each value of `key`, the largest profit first.
#[must_use]
pub fn by<'a>(trades: &'a [Trade], start_equity: f64, key: impl Fn(&'a Trade) -> &'a str) -> Vec<Group> {
    let mut grouped: BTreeMap<&str, Vec<&Trade>> = BTreeMap::new();
    for trade in trades {
        grouped.entry(key(trade)).or_default().push(trade);
    }
    let mut groups: Vec<Group> = grouped.iter().map(|(name, trades)| Group::of(name, trades, start_equity)).collect();
    groups.sort_by(|a, b| b.profit.total_cmp(&a.profit));
    groups
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::run::Direction;

    pub(crate) fn trade(instrument: &str, direction: Direction, profit: f64, reason: &str) -> Trade {
        Trade {
            instrument: instrument.to_owned(),
            direction,
            entry_ns: 0,
            exit_ns: 60_000_000_000,
            entry_price: 100.0,
            exit_price: 100.0 + profit * direction.sign(),
            quantity: 1.0,
            profit,
            fees: 0.1,
            exit_reason: reason.to_owned(),
        }
    }

    #[test]
    fn groups_add_up_to_all_and_the_best_comes_first() {
        let trades = [
            trade("A", Direction::Long, -5.0, "stop"),
            trade("B", Direction::Short, 7.0, "signal"),
            trade("A", Direction::Long, 0.0, "signal"),
            trade("A", Direction::Long, 2.0, "signal"),
        ];
        let groups = by(&trades, 1000.0, |trade| &trade.instrument);
        assert_eq!(groups.iter().map(|it| (it.name.as_str(), it.trades)).collect::<Vec<_>>(), [("B", 1), ("A", 3)]);
        let a = &groups[1];
        assert_eq!((a.wins, a.draws, a.losses, a.win_rate()), (1, 1, 1, Some(1.0 / 3.0)));
        assert!((a.profit + 3.0).abs() < 1e-12 && (a.profit_share.unwrap() + 0.003).abs() < 1e-12);
        assert_eq!((a.best, a.worst, a.profit_factor), (Some(0.02), Some(-0.05), Some(0.4)));
        assert_eq!(groups[0].profit_factor, None, "no loss, no factor");
        assert_eq!(by(&trades, 1000.0, |trade| &trade.exit_reason).len(), 2);
    }

    #[test]
    fn no_trades_have_no_figures() {
        let none = Group::of("all", &[], 1000.0);
        assert_eq!((none.win_rate(), none.best, none.avg_open_s, none.profit_share), (None, None, None, None));
        assert!(none.to_json()["winrate"].is_null());
    }
}
