//! Figures of daily returns, by quantstats' definitions. `r` are simple returns per day, `n` their number, `P` the periods
//! a year, `E` the equity that they make of 1, which is part of the series.

use crate::figure::{Figure, Unit};
use crate::moments::{autocorrelation, count, deviation, kurtosis, mean, quantile, ratio, skewness};
use statrs::distribution::{ContinuousCDF, Normal};

/// Days a year when nobody says otherwise: these markets never close.
pub const PERIODS_PER_YEAR: u32 = 365;

/// All figures of a series of daily returns.
#[derive(Clone, Debug, PartialEq)]
pub struct DailyStatistics {
    figures: Vec<Figure>,
}

/// What several figures share.
struct Base<'a> {
    r: &'a [f64],
    n: f64,
    periods: f64,
    mean: Option<f64>,
    deviation: Option<f64>,
    growth: f64,
    gains: f64,
    losses: f64,
    wins: Vec<f64>,
    lost: Vec<f64>,
    drawdowns: Vec<f64>,
}

impl<'a> Base<'a> {
    fn new(r: &'a [f64], periods: u32) -> Self {
        let wins: Vec<f64> = r.iter().copied().filter(|value| *value > 0.0).collect();
        let lost: Vec<f64> = r.iter().copied().filter(|value| *value < 0.0).collect();
        let (mut equity, mut peak) = (1.0_f64, 1.0_f64);
        let mut drawdowns = Vec::with_capacity(r.len());
        for value in r {
            equity *= 1.0 + value;
            peak = peak.max(equity);
            drawdowns.push(equity / peak - 1.0);
        }
        Self {
            r,
            n: count(r),
            periods: f64::from(periods),
            mean: mean(r),
            // A deviation of rounding errors is none.
            deviation: deviation(r, 1).filter(|value| *value > 1e-15),
            growth: equity,
            gains: wins.iter().sum(),
            losses: -lost.iter().sum::<f64>(),
            wins,
            lost,
            drawdowns,
        }
    }

    fn sharpe_per_day(&self) -> Option<f64> {
        ratio(self.mean?, self.deviation?)
    }

    fn sharpe(&self) -> Option<f64> {
        Some(self.sharpe_per_day()? * self.periods.sqrt())
    }

    /// Sharpe with its deviation widened by what each day says about the next.
    fn smart_sharpe(&self) -> Option<f64> {
        let correlation = autocorrelation(self.r)?.abs();
        let mut sum = 0.0;
        for lag in 1..self.r.len() {
            #[allow(clippy::cast_precision_loss, reason = "days")]
            let lag = lag as f64;
            sum += (self.n - lag) / self.n * correlation.powf(lag);
        }
        Some(self.sharpe()? / (1.0 + 2.0 * sum).sqrt())
    }

    fn sortino(&self) -> Option<f64> {
        let downside = (self.lost.iter().map(|value| value * value).sum::<f64>() / self.n).sqrt();
        Some(ratio(self.mean?, downside)? * self.periods.sqrt())
    }

    fn cagr(&self) -> Option<f64> {
        (self.n > 0.0).then(|| self.growth.powf(self.periods / self.n) - 1.0).filter(|value| value.is_finite())
    }

    fn max_drawdown(&self) -> Option<f64> {
        (self.n > 0.0).then(|| self.drawdowns.iter().copied().fold(0.0, f64::min))
    }

    fn calmar(&self) -> Option<f64> {
        ratio(self.cagr()?, self.max_drawdown()?.abs())
    }

    fn ulcer(&self) -> Option<f64> {
        let squares: f64 = self.drawdowns.iter().map(|value| value * value).sum();
        (self.n > 1.0).then(|| (squares / (self.n - 1.0)).sqrt())
    }

    fn win_rate(&self) -> Option<f64> {
        let won = count(&self.wins);
        ratio(won, won + count(&self.lost))
    }

    fn payoff(&self) -> Option<f64> {
        ratio(mean(&self.wins)?, mean(&self.lost)?.abs())
    }

    fn profit_factor(&self) -> Option<f64> {
        ratio(self.gains, self.losses)
    }

    fn kelly(&self) -> Option<f64> {
        let win_rate = self.win_rate()?;
        Some(win_rate - ratio(1.0 - win_rate, self.payoff()?)?)
    }

    fn var_historical(&self) -> Option<f64> {
        quantile(self.r, 0.05)
    }

    fn cvar_historical(&self) -> Option<f64> {
        let bound = self.var_historical()?;
        let tail: Vec<f64> = self.r.iter().copied().filter(|value| *value <= bound).collect();
        mean(&tail)
    }

    fn var_parametric(&self) -> Option<f64> {
        Some(self.mean? + self.deviation? * five_percent()?.0)
    }

    fn tail_ratio(&self) -> Option<f64> {
        ratio(quantile(self.r, 0.95)?, quantile(self.r, 0.05)?).map(f64::abs)
    }

    fn recovery(&self) -> Option<f64> {
        ratio(self.r.iter().sum::<f64>().abs(), self.max_drawdown()?.abs())
    }

    fn serenity(&self) -> Option<f64> {
        let pitfall = -ratio(expected_shortfall(&self.drawdowns)?, self.deviation?)?;
        ratio(self.r.iter().sum::<f64>(), self.ulcer()? * pitfall)
    }

    /// Probability that the true Sharpe ratio is above zero (Bailey and López de Prado 2012).
    fn probabilistic_sharpe(&self) -> Option<f64> {
        let sharpe = self.sharpe_per_day()?;
        let (skew, raw_kurtosis) = (skewness(self.r)?, kurtosis(self.r)? + 3.0);
        let variance = 1.0 - skew * sharpe + (raw_kurtosis - 1.0) / 4.0 * sharpe * sharpe;
        let error = (variance / (self.n - 1.0)).sqrt();
        Some(Normal::standard().cdf(ratio(sharpe, error)?))
    }

    fn risk_of_ruin(&self) -> Option<f64> {
        let win_rate = self.win_rate()?;
        Some(((1.0 - win_rate) / (1.0 + win_rate)).powf(self.n))
    }
}

/// The 5 % quantile of the standard normal distribution, and its density there.
fn five_percent() -> Option<(f64, f64)> {
    let quantile = Normal::standard().inverse_cdf(0.05);
    let density = (-quantile * quantile / 2.0).exp() / std::f64::consts::TAU.sqrt();
    quantile.is_finite().then_some((quantile, density))
}

/// Mean of the worst 5 % of a normal distribution with the mean and deviation of `values`.
fn expected_shortfall(values: &[f64]) -> Option<f64> {
    let (_, density) = five_percent()?;
    Some(mean(values)? - deviation(values, 1).filter(|value| *value > 0.0)? * density / 0.05)
}

/// The longest run of days for which `holds`.
fn longest(r: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    let (mut run, mut longest) = (0_u32, 0_u32);
    for value in r {
        run = if holds(*value) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    f64::from(longest)
}

impl DailyStatistics {
    /// Computes every figure of `returns`; `periods_per_year` is 365 for markets that never close, 252 for stocks.
    #[must_use]
    pub fn new(returns: &[f64], periods_per_year: u32) -> Self {
        let base = Base::new(returns, periods_per_year);
        let mut figures = Vec::with_capacity(40);
        growth(&base, &mut figures);
        ratios(&base, &mut figures);
        risks(&base, &mut figures);
        days(&base, &mut figures);
        Self { figures }
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

fn growth(base: &Base<'_>, out: &mut Vec<Figure>) {
    let some = |value: f64| (base.n > 0.0).then_some(value);
    out.extend([
        Figure::new("days", "Days", Unit::Count, Some(base.n), "returns in the series"),
        Figure::new("periods_per_year", "Periods a year", Unit::Count, Some(base.periods), "365, or 252 by option"),
        Figure::new("total_return", "Total return", Unit::Share, some(base.growth - 1.0), "Π(1+r) − 1"),
        Figure::new("cagr", "CAGR", Unit::Share, base.cagr(), "(Π(1+r))^(P/n) − 1"),
        Figure::new(
            "expected_daily",
            "Expected a day",
            Unit::Share,
            some(base.growth.powf(1.0 / base.n) - 1.0),
            "geometric mean of r",
        ),
        Figure::new(
            "volatility",
            "Volatility",
            Unit::Share,
            base.deviation.map(|value| value * base.periods.sqrt()),
            "std(r, ddof 1)·√P",
        ),
    ]);
}

fn ratios(base: &Base<'_>, out: &mut Vec<Figure>) {
    let number = |key, label, value, convention| Figure::new(key, label, Unit::Number, value, convention);
    let adjusted = base.sortino().map(|value| value / std::f64::consts::SQRT_2);
    let common_sense = base.profit_factor().zip(base.tail_ratio()).map(|(factor, tail)| factor * tail);
    let cpc = base.profit_factor().zip(base.win_rate()).zip(base.payoff()).map(|((f, w), p)| f * w * p);
    let upi = base.ulcer().and_then(|ulcer| ratio(base.growth - 1.0, ulcer));
    let net: f64 = base.r.iter().sum();
    out.extend([
        number("sharpe", "Sharpe", base.sharpe(), "mean(r)/std(r, ddof 1)·√P"),
        number("smart_sharpe", "Smart Sharpe", base.smart_sharpe(), "Sharpe over the autocorrelation penalty"),
        number(
            "probabilistic_sharpe",
            "Probabilistic Sharpe",
            base.probabilistic_sharpe(),
            "P(true Sharpe > 0), Bailey and López de Prado",
        ),
        number("sortino", "Sortino", base.sortino(), "mean(r)/√(Σ min(r,0)²/n)·√P"),
        number("adjusted_sortino", "Adjusted Sortino", adjusted, "Sortino/√2"),
        number("calmar", "Calmar", base.calmar(), "CAGR/abs(max drawdown)"),
        number("omega", "Omega", base.profit_factor(), "Σ gains/abs(Σ losses), threshold 0"),
        number("profit_factor", "Profit factor (days)", base.profit_factor(), "Σ gains/abs(Σ losses) of days"),
        number("gain_to_pain", "Gain to pain", ratio(net, base.losses), "Σ r/abs(Σ losses)"),
        number("payoff_ratio", "Payoff ratio", base.payoff(), "average gain/abs(average loss)"),
        number(
            "profit_ratio",
            "Profit ratio",
            base.payoff().and_then(|payoff| ratio(payoff * count(&base.lost), count(&base.wins))),
            "(average gain/gains)/(average loss/losses)",
        ),
        number("common_sense_ratio", "Common sense ratio", common_sense, "profit factor·tail ratio"),
        number("cpc_index", "CPC index", cpc, "profit factor·win rate·payoff ratio"),
        number("recovery_factor", "Recovery factor", base.recovery(), "abs(Σ r)/abs(max drawdown)"),
        number("upi", "Ulcer performance index", upi, "total return/ulcer"),
        number("serenity", "Serenity index", base.serenity(), "Σ r/(ulcer·pitfall), KeyQuant"),
    ]);
}

fn risks(base: &Base<'_>, out: &mut Vec<Figure>) {
    let number = |key, label, value, convention| Figure::new(key, label, Unit::Number, value, convention);
    let share = |key, label, value, convention| Figure::new(key, label, Unit::Share, value, convention);
    out.extend([
        share("max_drawdown", "Max drawdown", base.max_drawdown(), "min(E/cummax(E) − 1), start included"),
        number("ulcer", "Ulcer index", base.ulcer(), "√(Σ dd²/(n−1))"),
        share("var95", "VaR 95 (historical)", base.var_historical(), "5 % quantile of r, interpolated"),
        share("cvar95", "CVaR 95 (historical)", base.cvar_historical(), "mean of r at or below VaR 95"),
        share("var95_parametric", "VaR 95 (normal)", base.var_parametric(), "mean + z(5 %)·std"),
        share("cvar95_parametric", "CVaR 95 (normal)", expected_shortfall(base.r), "mean − std·φ(z)/5 %"),
        number("tail_ratio", "Tail ratio", base.tail_ratio(), "abs(q95/q5)"),
        number("skew", "Skewness", skewness(base.r), "adjusted (G1)"),
        number("kurtosis", "Excess kurtosis", kurtosis(base.r), "adjusted (G2)"),
        number("kelly", "Kelly", base.kelly(), "w − (1−w)/payoff"),
        number("risk_of_ruin", "Risk of ruin", base.risk_of_ruin(), "((1−w)/(1+w))^n"),
    ]);
}

fn days(base: &Base<'_>, out: &mut Vec<Figure>) {
    let share = |key, label, value, convention| Figure::new(key, label, Unit::Share, value, convention);
    let of = |pick: fn(f64, f64) -> f64| base.r.iter().copied().reduce(pick);
    let traded = count(&base.wins) + count(&base.lost);
    out.extend([
        share("win_rate", "Winning days", base.win_rate(), "days with r > 0 of those with r ≠ 0"),
        share("avg_win", "Average gain", mean(&base.wins), "mean of r > 0"),
        share("avg_loss", "Average loss", mean(&base.lost), "mean of r < 0"),
        share("best", "Best day", of(f64::max), "max(r)"),
        share("worst", "Worst day", of(f64::min), "min(r)"),
        share("exposure", "Days with a result", ratio(traded, base.n), "share of days with r ≠ 0"),
        Figure::new(
            "consecutive_wins",
            "Gains in a row",
            Unit::Count,
            Some(longest(base.r, |r| r > 0.0)),
            "longest run of r > 0",
        ),
        Figure::new(
            "consecutive_losses",
            "Losses in a row",
            Unit::Count,
            Some(longest(base.r, |r| r < 0.0)),
            "longest run of r < 0",
        ),
    ]);
}
