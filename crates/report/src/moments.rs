//! Sums, deviations, quantiles: what the figures are made of. `None` wherever a value is not defined.

/// Arithmetic mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values))
}

/// Standard deviation with `ddof` degrees of freedom taken off; `None` when too few values are left.
#[must_use]
pub fn deviation(values: &[f64], ddof: u32) -> Option<f64> {
    let rest = count(values) - f64::from(ddof);
    let mean = mean(values).filter(|_| rest > 0.0)?;
    Some((values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / rest).sqrt())
}

/// Quantile by linear interpolation between the order statistics (numpy's and pandas' default).
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = share * count(values) - share;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place between 0 and the last index")]
    let below = (place.floor() as usize).min(last);
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * (place - place.floor()))
}

/// Skewness, adjusted for the size of the sample (Fisher–Pearson G1, as pandas).
#[must_use]
pub fn skewness(values: &[f64]) -> Option<f64> {
    let n = count(values);
    let (m2, m3, _) = central_moments(values).filter(|(m2, ..)| n > 2.0 && *m2 > 0.0)?;
    Some((n * (n - 1.0)).sqrt() / (n - 2.0) * m3 / m2.powf(1.5))
}

/// Excess kurtosis, adjusted for the size of the sample (G2, as pandas).
#[must_use]
pub fn kurtosis(values: &[f64]) -> Option<f64> {
    let n = count(values);
    let (m2, _, m4) = central_moments(values).filter(|(m2, ..)| n > 3.0 && *m2 > 0.0)?;
    let excess = m4 / (m2 * m2) - 3.0;
    Some((n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0))
}

/// Correlation of the series with itself one step later.
#[must_use]
pub fn autocorrelation(values: &[f64]) -> Option<f64> {
    let (first, second) = (values.get(..values.len().checked_sub(1)?)?, values.get(1..)?);
    let (mean_first, mean_second) = (mean(first)?, mean(second)?);
    let (mut both, mut own, mut other) = (0.0, 0.0, 0.0);
    for (a, b) in first.iter().zip(second) {
        both += (a - mean_first) * (b - mean_second);
        own += (a - mean_first).powi(2);
        other += (b - mean_second).powi(2);
    }
    ratio(both, (own * other).sqrt())
}

/// A quotient; `None` when the divisor is zero or the result is not finite.
#[must_use]
pub fn ratio(of: f64, by: f64) -> Option<f64> {
    // A sum of nothing is −0; nobody wants to read that.
    let result = of / by + 0.0;
    (by != 0.0 && result.is_finite()).then_some(result)
}

/// The number of values as a float.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "no series has 2^52 values")]
pub const fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

fn central_moments(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mean = mean(values)?;
    let sum = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / count(values);
    Some((sum(2), sum(3), sum(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_sameness_have_no_figures() {
        assert_eq!(mean(&[]), None);
        assert_eq!(deviation(&[1.0], 1), None);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(skewness(&[2.0; 5]), None);
        assert_eq!(kurtosis(&[2.0; 5]), None);
        assert_eq!(autocorrelation(&[2.0; 5]), None);
        assert_eq!(autocorrelation(&[]), None);
        assert_eq!(ratio(1.0, 0.0), None);
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&values, 0.5), Some(2.5));
        assert_eq!(quantile(&values, 0.25), Some(1.75));
    }
}
