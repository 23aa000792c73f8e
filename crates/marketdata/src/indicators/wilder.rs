//! Wilder's indicators: relative strength and average true range.

use super::IndicatorError;
use super::smooth::Smoothed;

/// Wilder's relative strength index, 0 to 100; 50 while nothing moved at all.
#[derive(Clone, Debug)]
pub struct Rsi {
    /// The last value; not a number before the first.
    before: f64,
    gain: Smoothed,
    loss: Smoothed,
}

impl Rsi {
    /// An index over `period` changes.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { before: f64::NAN, gain: Smoothed::wilder(period)?, loss: Smoothed::wilder(period)? })
    }

    /// Takes a value and answers the index.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if value.is_finite() {
            let change = value - self.before;
            self.before = value;
            if !change.is_nan() {
                let gain = if change > 0.0 { change } else { 0.0 };
                self.gain.push(gain);
                self.loss.push(gain - change);
            }
        }
        self.value()
    }

    /// The index.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        let (gain, total) = (self.gain.raw(), self.gain.raw() + self.loss.raw());
        self.gain.is_warm().then(|| if total > 0.0 { 100.0 * gain / total } else { 50.0 })
    }

    /// Values needed for the first index: one more than changes.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.gain.period() + 1
    }
}

/// Wilder's average true range.
#[derive(Clone, Debug)]
pub struct Atr {
    /// The last close; not a number before the first.
    close: f64,
    range: Smoothed,
}

impl Atr {
    /// An average over `period` true ranges.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { close: f64::NAN, range: Smoothed::wilder(period)? })
    }

    /// Takes high, low and close of a bar and answers the average.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<f64> {
        if (high + low + close).is_finite() {
            let before = self.close;
            self.close = close;
            if !before.is_nan() {
                let (top, bottom) =
                    (if high > before { high } else { before }, if low < before { low } else { before });
                self.range.push(top - bottom);
            }
        }
        self.value()
    }

    /// The average.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.range.value()
    }

    /// Bars needed for the first average: the first bar only gives its close.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.range.period() + 1
    }
}
