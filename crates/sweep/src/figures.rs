//! What a trial is judged by: figures of an outcome, and objectives by name.
//!
//! Conventions are those of the report: Sharpe and Sortino from daily returns with 365 days a year, CAGR from the whole return
//! and the days. The drawdown is taken bar by bar. A figure that is not defined (no days, no variance, no losses) is `None`,
//! and a trial without the figure that is asked for has no score: it cannot win.

use crate::SweepError;
use crate::kernel::rule::{Daily, Outcome};
use serde::Serialize;

/// Days of a year in these markets.
const DAYS: f64 = 365.0;

/// Figures of one trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Equity at the end by the beginning, less 1.
    pub total_return: f64,
    /// Deepest fall of the equity from its peak, zero or negative.
    pub max_drawdown: f64,
    /// Return of a year at the same pace.
    pub cagr: Option<f64>,
    /// Mean by deviation of daily returns, a year.
    pub sharpe: Option<f64>,
    /// Mean by downside deviation of daily returns, a year.
    pub sortino: Option<f64>,
    /// CAGR by the deepest fall.
    pub calmar: Option<f64>,
    /// What winners made by what losers lost.
    pub profit_factor: Option<f64>,
    /// Share of closed trades that made something.
    pub win_rate: Option<f64>,
    /// Orders.
    pub orders: u32,
    /// Closed trades.
    pub trades: u32,
}

fn ratio(a: f64, b: f64) -> Option<f64> {
    let ratio = a / b;
    (b != 0.0 && ratio.is_finite()).then_some(ratio)
}

impl Daily {
    /// Mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        ratio(self.powers[0], f64::from(self.days))
    }

    /// Deviation of a sample; `None` where it is rounding errors only.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let n = f64::from(self.days);
        let spread = self.powers[1] - self.powers[0] * self.powers[0] / n;
        (n > 1.0 && spread > 1e-15 * self.powers[1] && spread > 1e-28).then(|| (spread / (n - 1.0)).sqrt())
    }

    /// Sharpe ratio of a day, not of a year.
    #[must_use]
    pub fn sharpe(&self) -> Option<f64> {
        ratio(self.mean()?, self.deviation()?)
    }

    /// Skewness and kurtosis (3 for a normal distribution) of the population.
    #[must_use]
    pub fn shape(&self) -> Option<(f64, f64)> {
        let n = f64::from(self.days);
        let mean = self.mean()?;
        let [_, second, third, fourth] = self.powers.map(|power| power / n);
        let variance = second - mean * mean;
        self.deviation()?;
        let cubes = third - 3.0 * mean * second + 2.0 * mean.powi(3);
        let quads = fourth - 4.0 * mean * third + 6.0 * mean * mean * second - 3.0 * mean.powi(4);
        Some((ratio(cubes, variance.powf(1.5))?, ratio(quads, variance * variance)?))
    }
}

impl Figures {
    /// Out of what a trial came to.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let daily = &outcome.daily;
        let days = f64::from(daily.days);
        let cagr = (daily.days > 0)
            .then(|| (1.0 + outcome.total_return).powf(DAYS / days) - 1.0)
            .filter(|cagr| cagr.is_finite() && outcome.total_return > -1.0);
        let downside = (daily.downside / days).sqrt();
        Self {
            total_return: outcome.total_return,
            max_drawdown: outcome.max_drawdown,
            cagr,
            sharpe: daily.sharpe().map(|sharpe| sharpe * DAYS.sqrt()),
            sortino: daily.mean().and_then(|mean| ratio(mean, downside)).map(|sortino| sortino * DAYS.sqrt()),
            calmar: cagr.and_then(|cagr| ratio(cagr, outcome.max_drawdown.abs())),
            profit_factor: ratio(outcome.gross_profit, outcome.gross_loss),
            win_rate: ratio(f64::from(outcome.wins), f64::from(outcome.trades)),
            orders: outcome.orders,
            trades: outcome.trades,
        }
    }

    /// A figure by its name in objectives.
    #[must_use]
    pub fn get(&self, name: Figure) -> Option<f64> {
        match name {
            Figure::Sharpe => self.sharpe,
            Figure::Sortino => self.sortino,
            Figure::Calmar => self.calmar,
            Figure::ProfitFactor => self.profit_factor,
            Figure::Drawdown => Some(self.max_drawdown),
            Figure::Return => Some(self.total_return),
            Figure::Cagr => self.cagr,
            Figure::WinRate => self.win_rate,
            Figure::Trades => Some(f64::from(self.trades)),
        }
    }
}

/// What can be asked for; more is better in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Sharpe ratio.
    Sharpe,
    /// Sortino ratio.
    Sortino,
    /// Calmar ratio.
    Calmar,
    /// Profit factor.
    ProfitFactor,
    /// Deepest fall, zero or negative.
    Drawdown,
    /// Whole return.
    Return,
    /// Return of a year.
    Cagr,
    /// Share of winning trades.
    WinRate,
    /// Closed trades.
    Trades,
}

const NAMES: [(&str, Figure); 9] = [
    ("sharpe", Figure::Sharpe),
    ("sortino", Figure::Sortino),
    ("calmar", Figure::Calmar),
    ("profit-factor", Figure::ProfitFactor),
    ("drawdown", Figure::Drawdown),
    ("return", Figure::Return),
    ("cagr", Figure::Cagr),
    ("win-rate", Figure::WinRate),
    ("trades", Figure::Trades),
];

/// What a sweep looks for the most of: a figure, or a sum of figures with factors such as `sharpe + 2*drawdown`.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    text: String,
    terms: Vec<(f64, Figure)>,
}

impl Objective {
    /// Reads it. `-` and `_` within a name make no difference.
    ///
    /// # Errors
    /// A name that is no figure, with the nearest one; a factor that is no number.
    pub fn parse(text: &str) -> Result<Self, SweepError> {
        // A sign stands between blanks or at the beginning; a dash within a name belongs to it.
        let mut terms = Vec::new();
        let mut sign = 1.0;
        let mut is_due = true;
        for word in text.replace(" *", "*").replace("* ", "*").split_whitespace() {
            match word {
                "+" | "-" if !terms.is_empty() && !is_due => {
                    sign = if word == "-" { -1.0 } else { 1.0 };
                    is_due = true;
                }
                _ if is_due => {
                    let (minus, rest) = word.strip_prefix('-').map_or((1.0, word), |rest| (-1.0, rest));
                    let (factor, name) = rest.split_once('*').unwrap_or(("1", rest));
                    let factor = factor.parse::<f64>().ok().filter(|factor| factor.is_finite());
                    let factor = factor.ok_or_else(|| bad(text, &format!("`{word}`: the factor is no number")))?;
                    terms.push((sign * minus * factor, figure(name).ok_or_else(|| unknown(text, name))?));
                    is_due = false;
                }
                _ => return Err(bad(text, &format!("`{word}`: write + or - between two figures"))),
            }
        }
        if is_due {
            return Err(bad(text, "something is missing at the end"));
        }
        Ok(Self { text: text.trim().to_owned(), terms })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How good a trial is; `None` when a figure is not defined.
    #[must_use]
    pub fn score(&self, figures: &Figures) -> Option<f64> {
        let parts = self.terms.iter().map(|(factor, figure)| Some(factor * figures.get(*figure)?));
        parts.sum::<Option<f64>>().filter(|score| score.is_finite())
    }
}

fn figure(name: &str) -> Option<Figure> {
    let name = name.replace('_', "-");
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, figure)| *figure)
}

fn bad(text: &str, cause: &str) -> SweepError {
    let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
    SweepError::BadTerms(format!(
        "objective `{text}`: {cause}; write one of {}, or a sum such as `sharpe + 2*drawdown`",
        names.join(", ")
    ))
}

fn unknown(text: &str, name: &str) -> SweepError {
    let hint = crate::space::nearest(name, NAMES.iter().map(|(known, _)| *known));
    let hint = hint.map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
    bad(text, &format!("there is no figure `{name}`{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_figures_or_sums_of_them() {
        let figures = Figures { sharpe: Some(2.0), max_drawdown: -0.25, trades: 10, ..Figures::default() };
        let score = |text: &str| Objective::parse(text).unwrap().score(&figures);
        assert_eq!(score("sharpe"), Some(2.0));
        assert_eq!(score("drawdown"), Some(-0.25));
        assert_eq!(score("sharpe + 2*drawdown"), Some(1.5));
        assert_eq!(score("sharpe - 0.1 * trades"), Some(1.0));
        assert_eq!(score("-trades"), Some(-10.0));
        assert_eq!(score("profit_factor"), None, "not defined: cannot win");
        for (text, cause) in [
            ("sharp", "did you mean `sharpe`?"),
            ("", "missing at the end"),
            ("sharpe +", "missing at the end"),
            ("sharpe calmar", "write + or -"),
            ("x*sharpe", "no number"),
        ] {
            let error = Objective::parse(text).unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn figures_of_daily_returns_are_those_of_the_report() {
        let returns = [0.01, -0.02, 0.015, 0.003, -0.004, 0.02, 0.0, -0.01];
        let mut daily = Daily::default();
        returns.iter().for_each(|r| daily.add(*r));
        let mean = returns.iter().sum::<f64>() / 8.0;
        let moment = |k: i32| returns.iter().map(|r| (r - mean).powi(k)).sum::<f64>() / 8.0;
        let deviation = (moment(2) * 8.0 / 7.0).sqrt();
        assert!((daily.sharpe().unwrap() - mean / deviation).abs() < 1e-12);
        let (skewness, kurtosis) = daily.shape().unwrap();
        assert!((skewness - moment(3) / moment(2).powf(1.5)).abs() < 1e-9);
        assert!((kurtosis - moment(4) / moment(2).powi(2)).abs() < 1e-9);
        let figures = Figures::of(&Outcome { daily, total_return: 0.013, max_drawdown: -0.02, ..Outcome::default() });
        assert!((figures.cagr.unwrap() - (1.013f64.powf(365.0 / 8.0) - 1.0)).abs() < 1e-12);
        assert!((figures.calmar.unwrap() - figures.cagr.unwrap() / 0.02).abs() < 1e-9);
        assert_eq!(figures.profit_factor, None);
    }

    #[test]
    fn nothing_traded_is_no_figure_rather_than_zero() {
        let mut daily = Daily::default();
        (0..10).for_each(|_| daily.add(0.0));
        let figures = Figures::of(&Outcome { daily, ..Outcome::default() });
        assert_eq!((figures.sharpe, figures.sortino, figures.calmar, figures.win_rate), (None, None, None, None));
        assert_eq!(figures.total_return, 0.0);
        let ruined = Figures::of(&Outcome { total_return: -1.0, daily, ..Outcome::default() });
        assert_eq!(ruined.cagr, None);
    }
}
