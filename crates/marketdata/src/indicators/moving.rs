//! Indicators over a moving window: means, deviation, bands.

use super::smooth::Smoothed;
use super::window::Window;
use super::{IndicatorError, check_period, check_width};

/// Values after which a moving sum is taken anew at the next turn of its window, so that rounding errors cannot pile up.
const ANEW_AFTER: usize = 256;
/// Least share of the largest sum of squares since the last sum that may be left of it, before it is taken anew: what is lost
/// by taking away what was added stays below 2⁻⁵³ × 1024 of what is left, a spike that leaves the window included.
const LEFT_MIN: f64 = 1.0 / 1_024.0;

/// Exponential moving average: weight 2/(n+1), started from the mean of the first n values.
#[derive(Clone, Debug)]
pub struct Ema {
    average: Smoothed,
}

impl Ema {
    /// An average over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { average: Smoothed::exponential(period)? })
    }

    /// Takes a value and answers the average.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            self.average.push(value);
        }
        self.value()
    }

    /// The average.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.average.value()
    }

    /// Values needed for the first average.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.average.period()
    }
}

/// Simple moving average.
#[derive(Clone, Debug)]
pub struct Sma {
    window: Window,
    share: f64,
    sum: f64,
    /// Values since the sum was taken anew.
    age: usize,
}

impl Sma {
    /// An average over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let window = Window::new(check_period(period)?);
        Ok(Self { window, share: 1.0 / period as f64, sum: 0.0, age: 0 })
    }

    /// Takes a value and answers the average.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            let (left, is_around) = self.window.swap(value);
            self.sum += value - left;
            if is_around {
                self.turn();
            }
        }
        self.value()
    }

    #[inline]
    fn turn(&mut self) {
        self.age += self.window.period();
        if self.age >= ANEW_AFTER {
            self.age = 0;
            self.sum = total(self.window.values());
        }
    }

    /// The average.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.window.is_full().then_some(self.sum * self.share)
    }

    /// Values needed for the first average.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.window.period()
    }
}

#[cold]
fn total(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// Standard deviation of the population over a moving window.
///
/// Sums are of distances to a reference near the mean, so that they stay small beside it. They are taken anew now and then,
/// and at once when little is left of what was in them.
#[derive(Clone, Debug)]
pub struct StdDev {
    window: Window,
    share: f64,
    sums: Sums,
    /// Values since the sums were taken anew; from the start old enough for the first full window.
    age: usize,
}

/// Sums over a window.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// What distances are measured from.
    reference: f64,
    distances: f64,
    squares: f64,
    /// Largest sum of squares since the last reference.
    peak: f64,
    /// Squares of the distances to the mean, summed.
    spread: f64,
}

impl Sums {
    /// Of these values, from their mean. By value, so that sums in a loop can stay in registers.
    #[cold]
    fn of(values: &[f64], share: f64) -> Self {
        let first = values.first().copied().unwrap_or(0.0);
        let reference = first + values.iter().map(|value| value - first).sum::<f64>() * share;
        let distances: f64 = values.iter().map(|value| value - reference).sum();
        let squares: f64 = values.iter().map(|value| (value - reference) * (value - reference)).sum();
        Self { reference, distances, squares, peak: squares, spread: squares - distances * distances * share }
    }
}

impl StdDev {
    /// A deviation over `period` values.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let (window, share) = (Window::new(check_period(period)?), 1.0 / period as f64);
        Ok(Self { window, share, sums: Sums::default(), age: ANEW_AFTER })
    }

    /// Takes a value and answers the deviation.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            self.push(value);
        }
        self.value()
    }

    #[inline]
    fn push(&mut self, value: f64) {
        let (left, is_around) = self.window.swap(value);
        // a² − b² as (a − b)(a + b), both as distances.
        let (change, sums) = (value - left, &mut self.sums);
        sums.distances += change;
        sums.squares += change * ((value - sums.reference) + (left - sums.reference));
        sums.peak = if sums.squares > sums.peak { sums.squares } else { sums.peak };
        sums.spread = sums.squares - sums.distances * sums.distances * self.share;
        let is_worn = sums.spread < sums.peak * LEFT_MIN || sums.spread.is_nan();
        if is_around {
            self.age = self.age.saturating_add(self.window.period());
        }
        if (is_worn || self.age >= ANEW_AFTER) && self.window.is_full() {
            self.sums = Sums::of(self.window.values(), self.share);
            self.age = 0;
        }
    }

    /// The deviation.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.window.is_full().then(|| self.raw())
    }

    #[inline]
    fn raw(&self) -> f64 {
        let variance = self.sums.spread * self.share;
        if variance > 0.0 { variance.sqrt() } else { 0.0 }
    }

    /// Mean of the same window.
    #[must_use]
    #[inline]
    pub fn mean(&self) -> Option<f64> {
        self.window.is_full().then_some(self.sums.reference + self.sums.distances * self.share)
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
        let middle = self.deviation.mean()?;
        let reach = self.deviation.raw() * self.width;
        Some(BollingerBands { lower: middle - reach, middle, upper: middle + reach })
    }

    /// The deviation that the bands are multiples of, to the last bit; zero before there are bands.
    #[must_use]
    #[inline]
    pub fn deviation(&self) -> f64 {
        if self.deviation.mean().is_some() { self.deviation.raw() } else { 0.0 }
    }

    /// Values needed for the first bands.
    #[must_use]
    pub fn warm_up(&self) -> usize {
        self.deviation.warm_up()
    }
}
