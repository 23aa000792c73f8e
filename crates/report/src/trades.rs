//! Figures of closed trades, by freqtrade's definitions.

use crate::figure::{Figure, Unit};
use crate::moments::{count, deviation, mean, ratio};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// One closed trade: entry to exit of a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedTrade {
    /// Profit after fees, in the account's currency.
    pub profit: f64,
    /// Profit after fees as a share of what was put in.
    pub profit_ratio: f64,
    /// How long it was open; unit: seconds.
    pub open_s: f64,
}

/// All figures of the trades of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct TradeStatistics {
    figures: Vec<Figure>,
}

impl TradeStatistics {
    /// Computes every figure. `start_balance` is what the account began with, `days` how many days the run covers (at
    /// least 1 is used), `max_drawdown` the largest relative drawdown of the balance, as a positive share.
    #[must_use]
    pub fn new(trades: &[ClosedTrade], start_balance: f64, days: f64, max_drawdown: Option<f64>) -> Self {
        let profits: Vec<f64> = trades.iter().map(|trade| trade.profit).collect();
        let wins: Vec<f64> = profits.iter().copied().filter(|profit| *profit > 0.0).collect();
        let lost: Vec<f64> = profits.iter().copied().filter(|profit| *profit < 0.0).collect();
        let n = count(&profits);
        let shares: Vec<f64> = profits.iter().filter_map(|profit| ratio(*profit, start_balance)).collect();
        let downs: Vec<f64> = shares.iter().copied().filter(|share| *share < 0.0).collect();
        let a_day = ratio(shares.iter().sum(), days.max(1.0)).filter(|_| !shares.is_empty());
        let over = |by: Option<f64>| Some(ratio(a_day?, by.filter(|by| *by > 1e-15)?)? * 365.0_f64.sqrt());
        let win_rate = ratio(count(&wins), n);
        let (average_win, average_loss) = (mean(&wins), mean(&lost).map(f64::abs));
        let sqn =
            mean(&shares).zip(deviation(&shares, 1)).and_then(|(mean, deviation)| ratio(n.sqrt() * mean, deviation));
        let number = |key, label, value, convention| Figure::new(key, label, Unit::Number, value, convention);
        let share = |key, label, value, convention| Figure::new(key, label, Unit::Share, value, convention);
        let ratios: Vec<f64> = trades.iter().map(|trade| trade.profit_ratio).collect();
        let lengths: Vec<f64> = trades.iter().map(|trade| trade.open_s).collect();
        let figures = vec![
            Figure::new("trades", "Trades", Unit::Count, Some(n), "closed, from entry to exit"),
            Figure::new(
                "profit",
                "Profit",
                Unit::Money,
                Some(profits.iter().sum::<f64>() + 0.0),
                "Σ profit after fees",
            ),
            share("winrate", "Win rate", win_rate, "trades with profit > 0"),
            number(
                "profit_factor",
                "Profit factor",
                ratio(wins.iter().sum(), -lost.iter().sum::<f64>()),
                "Σ profit of winners/abs(Σ loss of losers)",
            ),
            Figure::new(
                "expectancy",
                "Expectancy",
                Unit::Money,
                expectancy(win_rate, average_win, average_loss),
                "w·avg_win − (1−w)·avg_loss",
            ),
            number(
                "expectancy_ratio",
                "Expectancy ratio",
                expectancy_ratio(win_rate, average_win, average_loss),
                "(1+RR)·w − 1, RR = avg_win/avg_loss",
            ),
            share("avg_profit_ratio", "Average profit", mean(&ratios), "mean of profit/stake"),
            share("best_trade", "Best trade", ratios.iter().copied().reduce(f64::max), "max of profit/stake"),
            share("worst_trade", "Worst trade", ratios.iter().copied().reduce(f64::min), "min of profit/stake"),
            Figure::new("avg_open_s", "Average time open", Unit::Seconds, mean(&lengths), "mean of exit − entry"),
            number("sqn", "SQN", sqn, "√n·mean/std(ddof 1) of profit/start balance"),
            number("p_value", "p-value", p_value(&shares), "two-sided t-test of mean profit against 0"),
            number("sharpe_trades", "Sharpe (trades)", over(deviation(&shares, 0)), "profit a day/std(ddof 0)·√365"),
            number("sortino_trades", "Sortino (trades)", over(deviation(&downs, 0)), "profit a day/std of losses·√365"),
            number(
                "calmar_trades",
                "Calmar (trades)",
                over(max_drawdown).map(|value| value * 100.0),
                "100·profit a day/max drawdown·√365",
            ),
        ];
        Self { figures }
    }

    /// Of the trades of one run, in the order of their exits, that took so long: whole days count, and the drawdown is that of
    /// the balance as closed trades leave it; both as freqtrade has it. Unit of `length_s`: seconds.
    #[must_use]
    pub fn of_run(trades: &[ClosedTrade], start_balance: f64, length_s: f64) -> Self {
        let days = (length_s / 86_400.0).floor();
        Self::new(trades, start_balance, days, realised_drawdown(trades, start_balance))
    }

    /// The figures in the order in which they are shown.
    #[must_use]
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// The value of a figure; `None` when it is not defined or has another name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).and_then(|figure| figure.value)
    }
}

/// The largest relative drawdown of the balance as closed trades leave it, as a share above 0; `None` without one.
fn realised_drawdown(trades: &[ClosedTrade], start: f64) -> Option<f64> {
    let (mut balance, mut peak, mut deepest) = (start, start, 0.0_f64);
    for trade in trades {
        balance += trade.profit;
        peak = peak.max(balance);
        if peak > 0.0 {
            deepest = deepest.max(1.0 - balance / peak);
        }
    }
    (start > 0.0 && deepest > 0.0).then_some(deepest)
}

fn expectancy(win_rate: Option<f64>, win: Option<f64>, loss: Option<f64>) -> Option<f64> {
    let rate = win_rate?;
    Some(rate * win.unwrap_or(0.0) - (1.0 - rate) * loss.unwrap_or(0.0))
}

fn expectancy_ratio(win_rate: Option<f64>, win: Option<f64>, loss: Option<f64>) -> Option<f64> {
    Some((1.0 + ratio(win?, loss?)?) * win_rate? - 1.0)
}

/// How likely such a mean is when the true one is zero.
fn p_value(values: &[f64]) -> Option<f64> {
    let freedom = count(values) - 1.0;
    let error = deviation(values, 1).filter(|value| *value > 1e-15)? / count(values).sqrt();
    let t = ratio(mean(values)?, error)?;
    let distribution = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(2.0 * (1.0 - distribution.cdf(t.abs())))
}
