//! Oscillators: MACD, stochastic, commodity channel index; as TA-Lib defines them.

use super::smooth::Smoothed;
use super::window::{Highest, Window};
use super::{IndicatorError, Sma, check_period, is_zero};

/// Value of [`Macd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdValue {
    /// Fast less slow average.
    pub line: f64,
    /// Average of the line.
    pub signal: f64,
    /// Line less signal.
    pub histogram: f64,
}

/// Moving average convergence and divergence. Both averages start at the bar at which the slow one is known, as in TA-Lib.
#[derive(Clone, Copy, Debug)]
pub struct Macd {
    fast: Smoothed,
    slow: Smoothed,
    signal: Smoothed,
    /// Values that the fast average does not see, so that both begin with the same bar.
    skip: usize,
    line: f64,
}

impl Macd {
    /// Usual periods: 12, 26 and 9. `fast` must be below `slow`.
    pub fn new(fast: usize, slow: usize, signal: usize) -> Result<Self, IndicatorError> {
        if fast >= slow {
            return Err(IndicatorError::Order { fast, slow });
        }
        Ok(Self {
            fast: Smoothed::exponential(fast)?,
            slow: Smoothed::exponential(slow)?,
            signal: Smoothed::exponential(signal)?,
            skip: slow - fast,
            line: 0.0,
        })
    }

    /// Takes a value and answers line, signal and histogram.
    #[inline]
    pub fn update(&mut self, value: f64) -> Option<MacdValue> {
        if value.is_finite() {
            if self.signal.is_warm() {
                self.fast.push_warm(value);
                self.slow.push_warm(value);
                self.line = self.fast.raw() - self.slow.raw();
                self.signal.push_warm(self.line);
            } else {
                *self = self.begun(value);
            }
        }
        self.value()
    }

    #[cold]
    fn begun(mut self, value: f64) -> Self {
        self.slow.push(value);
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            self.fast.push(value);
        }
        if self.slow.is_warm() {
            self.line = self.fast.raw() - self.slow.raw();
            self.signal.push(self.line);
        }
        self
    }

    /// Line, signal and histogram.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<MacdValue> {
        let (line, signal) = (self.line, self.signal.raw());
        self.signal.is_warm().then_some(MacdValue { line, signal, histogram: line - signal })
    }

    /// Values needed for the first signal.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.slow.period() + self.signal.period() - 1
    }
}

/// Value of [`Stochastic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StochasticValue {
    /// Slow %K, 0 to 100.
    pub k: f64,
    /// Slow %D: the average of %K.
    pub d: f64,
}

/// Slow stochastic: where the close lies in the range of the last bars, smoothed twice by plain averages. 0 while the range
/// is empty.
#[derive(Clone, Debug)]
pub struct Stochastic {
    highest: Highest,
    lowest: Highest,
    k: Sma,
    d: Sma,
    value: Option<StochasticValue>,
}

impl Stochastic {
    /// Usual periods: 14 (or 5), 3 and 3.
    pub fn new(range: usize, slow_k: usize, slow_d: usize) -> Result<Self, IndicatorError> {
        let range = check_period(range)?;
        let (highest, lowest) = (Highest::new(range), Highest::new(range));
        Ok(Self { highest, lowest, k: Sma::new(slow_k)?, d: Sma::new(slow_d)?, value: None })
    }

    /// Takes high, low and close of a bar and answers %K and %D.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<StochasticValue> {
        if !(high.is_finite() && low.is_finite() && close.is_finite()) {
            return self.value;
        }
        if let (Some(highest), Some(negated)) = (self.highest.push(high), self.lowest.push(-low)) {
            let (lowest, step) = (-negated, (highest + negated) / 100.0);
            let raw = if step == 0.0 { 0.0 } else { (close - lowest) / step };
            if let Some(k) = self.k.update(raw) {
                self.value = self.d.update(k).map(|d| StochasticValue { k, d });
            }
        }
        self.value
    }

    /// %K and %D.
    #[must_use]
    pub const fn value(&self) -> Option<StochasticValue> {
        self.value
    }

    /// Bars needed for the first %D.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.highest.period() + self.k.warm_up() + self.d.warm_up() - 2
    }
}

/// Commodity channel index: distance of the typical price from its mean, in mean deviations of 0.015. 0 while nothing moves.
#[derive(Clone, Debug)]
pub struct Cci {
    window: Window,
    value: Option<f64>,
}

impl Cci {
    /// Usual period: 20 (or 14).
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        Ok(Self { window: Window::new(check_period(period)?), value: None })
    }

    /// Takes high, low and close of a bar and answers the index. Costs one pass over the window: the mean deviation has no
    /// running form.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<f64> {
        if !(high.is_finite() && low.is_finite() && close.is_finite()) {
            return self.value;
        }
        let typical = (high + low + close) / 3.0;
        self.window.swap(typical);
        if self.window.is_full() {
            let count = self.window.period() as f64;
            let mean = self.window.values().iter().sum::<f64>() / count;
            let deviation = self.window.values().iter().map(|value| (value - mean).abs()).sum::<f64>() / count;
            let distance = typical - mean;
            let is_still = is_zero(distance) || is_zero(deviation);
            self.value = Some(if is_still { 0.0 } else { distance / (0.015 * deviation) });
        }
        self.value
    }

    /// The index.
    #[must_use]
    pub const fn value(&self) -> Option<f64> {
        self.value
    }

    /// Bars needed for the first index.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.window.period()
    }
}
