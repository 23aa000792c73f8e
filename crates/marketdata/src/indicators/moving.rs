//! Indicators over a moving window: means, deviation, bands.

use super::window::Window;
use super::{IndicatorError, check_period, check_width};

/// Exponential moving average: weight 2/(n+1), started from the mean of the first n values.
#[derive(Clone, Debug)]
pub struct Ema {
    period: usize,
    weight: f64,
    seen: usize,
    value: f64,
}

impl Ema {
    /// An average over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let period = check_period(period)?;
        Ok(Self { period, weight: 2.0 / (period as f64 + 1.0), seen: 0, value: 0.0 })
    }

    /// Takes a value and answers the average.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return self.value();
        }
        if self.seen >= self.period {
            self.value += self.weight * (value - self.value);
            return Some(self.value);
        }
        self.seen += 1;
        // While it warms up, `value` is the plain mean.
        self.value += (value - self.value) / self.seen as f64;
        self.value()
    }

    /// The average.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.seen >= self.period).then_some(self.value)
    }

    /// Values needed for the first average.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.period
    }
}

/// Simple moving average.
#[derive(Clone, Debug)]
pub struct Sma {
    window: Window,
    sum: f64,
}

impl Sma {
    /// An average over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { window: Window::new(check_period(period)?), sum: 0.0 })
    }

    /// Takes a value and answers the average.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            self.sum += value - self.window.push(value).unwrap_or(0.0);
            if self.window.is_around() {
                self.sum = self.window.values().iter().sum();
            }
        }
        self.value()
    }

    /// The average.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.window.is_full().then(|| self.sum / self.window.period() as f64)
    }

    /// Values needed for the first average.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.window.period()
    }
}

/// A sum that carries the rounding error of its additions (Knuth's two-sum), so that what is added and later taken away
/// leaves nothing behind.
#[derive(Clone, Copy, Debug, Default)]
struct ExactSum {
    sum: f64,
    error: f64,
}

impl ExactSum {
    #[inline]
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let part = sum - self.sum;
        self.error += (self.sum - (sum - part)) + (value - part);
        self.sum = sum;
    }

    #[inline]
    fn value(self) -> f64 {
        self.sum + self.error
    }
}

/// Standard deviation of the population over a moving window.
///
/// Sums are of distances to a reference that is set to the mean once per window, so that they stay small beside it.
#[derive(Clone, Debug)]
pub struct StdDev {
    window: Window,
    reference: f64,
    sum: ExactSum,
    squares: ExactSum,
}

impl StdDev {
    /// A deviation over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let window = Window::new(check_period(period)?);
        Ok(Self { window, reference: f64::NAN, sum: ExactSum::default(), squares: ExactSum::default() })
    }

    /// Takes a value and answers the deviation.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            if self.reference.is_nan() {
                self.reference = value;
            }
            if let Some(left) = self.window.push(value) {
                let distance = left - self.reference;
                self.sum.add(-distance);
                self.squares.add(-(distance * distance));
            }
            let distance = value - self.reference;
            self.sum.add(distance);
            self.squares.add(distance * distance);
            if self.window.is_around() {
                self.take_anew();
            }
        }
        self.value()
    }

    fn take_anew(&mut self) {
        let values = self.window.values();
        self.reference += self.sum.value() / values.len() as f64;
        (self.sum, self.squares) = (ExactSum::default(), ExactSum::default());
        for value in values {
            let distance = value - self.reference;
            self.sum.add(distance);
            self.squares.add(distance * distance);
        }
    }

    /// The deviation.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        let count = self.window.period() as f64;
        let sum = self.sum.value();
        self.window.is_full().then(|| ((self.squares.value() - sum * sum / count).max(0.0) / count).sqrt())
    }

    /// Mean of the same window.
    #[must_use]
    #[inline]
    pub fn mean(&self) -> Option<f64> {
        self.window.is_full().then(|| self.reference + self.sum.value() / self.window.period() as f64)
    }

    /// Values needed for the first deviation.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.window.period()
    }
}

/// Value of [`Bollinger`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BollingerBands {
    /// Mean less width deviations.
    pub lower: f64,
    /// Mean.
    pub middle: f64,
    /// Mean plus width deviations.
    pub upper: f64,
}

/// Bollinger bands: mean and mean ± `width` deviations.
#[derive(Clone, Debug)]
pub struct Bollinger {
    deviation: StdDev,
    width: f64,
}

impl Bollinger {
    /// Bands over `period` values, `width` deviations to each side.
    pub fn new(period: usize, width: f64) -> Result<Self, IndicatorError> {
        Ok(Self { deviation: StdDev::new(period)?, width: check_width(width)? })
    }

    /// Takes a value and answers the bands.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<BollingerBands> {
        self.deviation.update(value);
        self.value()
    }

    /// The bands.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<BollingerBands> {
        let (middle, reach) = (self.deviation.mean()?, self.deviation.value()? * self.width);
        Some(BollingerBands { lower: middle - reach, middle, upper: middle + reach })
    }

    /// Values needed for the first bands.
    #[must_use]
    pub fn warm_up(&self) -> usize {
        self.deviation.warm_up()
    }
}
