//! Channels around the price: Donchian and Keltner.

use super::window::Highest;
use super::{Atr, Ema, IndicatorError, check_period, check_width};

/// Value of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    /// Lower bound.
    pub lower: f64,
    /// Middle.
    pub middle: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Donchian channel: highest high and lowest low of the last bars.
#[derive(Clone, Debug)]
pub struct Donchian {
    highest: Highest,
    lowest: Highest,
}

impl Donchian {
    /// Usual period: 20.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let period = check_period(period)?;
        Ok(Self { highest: Highest::new(period), lowest: Highest::new(period) })
    }

    /// Takes high and low of a bar and answers the channel.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64) -> Option<Channel> {
        if high.is_finite() && low.is_finite() {
            self.highest.push(high);
            self.lowest.push(-low);
        }
        self.value()
    }

    /// The channel.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<Channel> {
        let (upper, lower) = (self.highest.value()?, -self.lowest.value()?);
        Some(Channel { lower, middle: f64::midpoint(lower, upper), upper })
    }

    /// Bars needed for the first channel.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.highest.period()
    }
}

/// Keltner channel: exponential average of the close, and `width` average true ranges to each side.
#[derive(Clone, Debug)]
pub struct Keltner {
    middle: Ema,
    range: Atr,
    width: f64,
}

impl Keltner {
    /// Usual: average of 20, range of 10, width 2.
    pub fn new(average: usize, range: usize, width: f64) -> Result<Self, IndicatorError> {
        Ok(Self { middle: Ema::new(average)?, range: Atr::new(range)?, width: check_width(width)? })
    }

    /// Takes high, low and close of a bar and answers the channel.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<Channel> {
        if high.is_finite() && low.is_finite() && close.is_finite() {
            self.middle.update(close);
            self.range.update(high, low, close);
        }
        self.value()
    }

    /// The channel.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<Channel> {
        let (middle, reach) = (self.middle.value()?, self.range.value()? * self.width);
        Some(Channel { lower: middle - reach, middle, upper: middle + reach })
    }

    /// Bars needed for the first channel.
    #[must_use]
    pub fn warm_up(&self) -> usize {
        self.middle.warm_up().max(self.range.warm_up())
    }
}
