//! Wilder's indicators: relative strength and average true range.

use super::{IndicatorError, check_period};

/// Wilder's smoothing: the mean of the first n values, then (n−1)/n of the old and 1/n of the new.
#[derive(Clone, Copy, Debug)]
struct Smoothed {
    period: usize,
    seen: usize,
    value: f64,
}

impl Smoothed {
    fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { period: check_period(period)?, seen: 0, value: 0.0 })
    }

    #[inline]
    fn update(&mut self, value: f64) {
        if self.seen < self.period {
            self.seen += 1;
        }
        self.value += (value - self.value) / self.seen as f64;
    }

    #[inline]
    fn value(&self) -> Option<f64> {
        (self.seen >= self.period).then_some(self.value)
    }
}

/// Wilder's relative strength index, 0 to 100; 50 while nothing moved at all.
#[derive(Clone, Debug)]
pub struct Rsi {
    before: Option<f64>,
    gain: Smoothed,
    loss: Smoothed,
}

impl Rsi {
    /// An index over `period` changes.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { before: None, gain: Smoothed::new(period)?, loss: Smoothed::new(period)? })
    }

    /// Takes a value and answers the index.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite()
            && let Some(before) = self.before.replace(value)
        {
            let change = value - before;
            self.gain.update(change.max(0.0));
            self.loss.update((-change).max(0.0));
        }
        self.value()
    }

    /// The index.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let (gain, loss) = (self.gain.value()?, self.loss.value()?);
        let total = gain + loss;
        Some(if total > 0.0 { 100.0 * gain / total } else { 50.0 })
    }

    /// Values needed for the first index: one more than changes.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.gain.period + 1
    }
}

/// Wilder's average true range.
#[derive(Clone, Debug)]
pub struct Atr {
    close: Option<f64>,
    range: Smoothed,
}

impl Atr {
    /// An average over `period` true ranges.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { close: None, range: Smoothed::new(period)? })
    }

    /// Takes high, low and close of a bar and answers the average.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<f64> {
        if high.is_finite()
            && low.is_finite()
            && close.is_finite()
            && let Some(before) = self.close.replace(close)
        {
            self.range.update((high - low).max((high - before).abs()).max((low - before).abs()));
        }
        self.value()
    }

    /// The average.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.range.value()
    }

    /// Bars needed for the first average: the first bar only gives its close.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.range.period + 1
    }
}
