//! The deflated Sharpe ratio: how likely the best of many trials is better than the best that luck alone would have shown.
//!
//! Bailey and López de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest Overfitting and
//! Non-Normality", Journal of Portfolio Management 40 (5), 2014. All ratios per day, not per year. Trials of neighbouring
//! parameters are not independent, so that their full number makes the verdict stricter than it need be.

use crate::kernel::rule::Daily;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;

/// The verdict on the best of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Deflated {
    /// Trials with a Sharpe ratio.
    pub trials: u64,
    /// Sharpe ratio a day that the best of so many trials without any skill is expected to have.
    pub expected_best_daily: f64,
    /// Sharpe ratio a day of the best.
    pub best_daily: f64,
    /// Probability that the true ratio of the best is above zero once the search is taken into account; 0.95 is a common
    /// threshold.
    pub probability: f64,
}

/// Running mean and variance of the trials' Sharpe ratios.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Spread {
    /// One more trial.
    pub fn add(&mut self, sharpe: f64) {
        self.count += 1;
        let apart = sharpe - self.mean;
        self.mean += apart / self.count as f64;
        self.squares += apart * (sharpe - self.mean);
    }
}

/// The verdict; `None` with fewer than two trials, without variance, or where the best has no days.
#[must_use]
pub fn deflate(spread: &Spread, best: &Daily) -> Option<Deflated> {
    let (best_daily, (skewness, kurtosis)) = (best.sharpe()?, best.shape()?);
    if spread.count < 2 || best.days < 2 {
        return None;
    }
    let normal = Normal::new(0.0, 1.0).ok()?;
    let n = spread.count as f64;
    let variance = spread.squares / (n - 1.0);
    let quantile = |p: f64| normal.inverse_cdf(p);
    let expected_best_daily = variance.sqrt()
        * ((1.0 - EULER_MASCHERONI) * quantile(1.0 - 1.0 / n)
            + EULER_MASCHERONI * quantile(1.0 - 1.0 / (n * std::f64::consts::E)));
    let uncertainty = 1.0 - skewness * best_daily + (kurtosis - 1.0) / 4.0 * best_daily * best_daily;
    if uncertainty <= 0.0 {
        return None;
    }
    let z = (best_daily - expected_best_daily) * (f64::from(best.days) - 1.0).sqrt() / uncertainty.sqrt();
    Some(Deflated { trials: spread.count, expected_best_daily, best_daily, probability: normal.cdf(z) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series with a given Sharpe ratio, skewness and kurtosis a day: its power sums about a mean of `sharpe`, variance 1.
    fn daily(days: u32, sharpe: f64, skewness: f64, kurtosis: f64) -> Daily {
        let n = f64::from(days);
        // Population variance such that the sample's is 1.
        let v = (n - 1.0) / n;
        let m = sharpe;
        let (third, fourth) = (skewness * v.powf(1.5), kurtosis * v * v);
        let powers =
            [m, v + m * m, third + 3.0 * m * v + m.powi(3), fourth + 4.0 * m * third + 6.0 * m * m * v + m.powi(4)];
        Daily { days, powers: powers.map(|power| power * n), downside: 0.0 }
    }

    #[test]
    fn the_example_of_the_paper() {
        // N = 100 trials, annual variance of the ratios 1/2, best ratio 2.5 a year over 1,250 days of 250 a year,
        // skewness −3, kurtosis 10: expected best 0.1132 a day, probability 0.9004.
        let mut spread = Spread { count: 100, mean: 0.0, squares: 99.0 * 0.5 / 250.0 };
        let verdict = deflate(&spread, &daily(1_250, 2.5 / 250f64.sqrt(), -3.0, 10.0)).unwrap();
        assert!((verdict.expected_best_daily - 0.1132).abs() < 5e-5, "{verdict:?}");
        assert!((verdict.probability - 0.9004).abs() < 5e-5, "{verdict:?}");
        spread.count = 1;
        assert_eq!(deflate(&spread, &daily(1_250, 0.1, 0.0, 3.0)), None);
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let mut spread = Spread::default();
        [1.0, 2.0, 4.0].iter().for_each(|value| spread.add(*value));
        assert!((spread.squares / 2.0 - 7.0 / 3.0).abs() < 1e-12);
    }
}
