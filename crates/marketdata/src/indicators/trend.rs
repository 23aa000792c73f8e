//! Trend: average directional index (as TA-Lib defines it) and supertrend.

use super::{Atr, IndicatorError, check_period, check_width, is_zero};

/// Value of [`Adx`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdxValue {
    /// Strength of the trend, 0 to 100.
    pub adx: f64,
    /// Upward directional indicator, 0 to 100.
    pub plus: f64,
    /// Downward directional indicator, 0 to 100.
    pub minus: f64,
}

/// Wilder's average directional index.
#[derive(Clone, Debug)]
pub struct Adx {
    period: usize,
    seen: usize,
    before: (f64, f64, f64),
    plus: f64,
    minus: f64,
    range: f64,
    /// Sum of the index while it warms up, then the index.
    index: f64,
}

impl Adx {
    /// Usual period: 14.
    pub fn new(period: usize) -> Result<Self, IndicatorError> {
        let period = check_period(period)?;
        if period < 2 {
            return Err(IndicatorError::Period(period));
        }
        Ok(Self { period, seen: 0, before: (0.0, 0.0, 0.0), plus: 0.0, minus: 0.0, range: 0.0, index: 0.0 })
    }

    /// Takes high, low and close of a bar and answers the index.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<AdxValue> {
        if !(high.is_finite() && low.is_finite() && close.is_finite()) {
            return self.value();
        }
        self.seen = self.seen.saturating_add(1);
        let before = std::mem::replace(&mut self.before, (high, low, close));
        if self.seen == 1 {
            return None;
        }
        if self.seen > self.period {
            let count = self.period as f64;
            self.plus -= self.plus / count;
            self.minus -= self.minus / count;
            self.range -= self.range / count;
        }
        let (up, down) = (high - before.0, before.1 - low);
        if down > 0.0 && up < down {
            self.minus += down;
        } else if up > 0.0 && up > down {
            self.plus += up;
        }
        self.range += (high - low).max((high - before.2).abs()).max((low - before.2).abs());
        if self.seen > self.period {
            self.add_direction();
        }
        self.value()
    }

    fn add_direction(&mut self) {
        let count = self.period as f64;
        let direction = self.direction();
        if self.seen < 2 * self.period {
            self.index += direction.unwrap_or(0.0);
        } else if self.seen == 2 * self.period {
            self.index = (self.index + direction.unwrap_or(0.0)) / count;
        } else if let Some(direction) = direction {
            self.index = (self.index * (count - 1.0) + direction) / count;
        }
    }

    /// How far both indicators are apart, 0 to 100.
    fn direction(&self) -> Option<f64> {
        let (plus, minus) = self.indicators()?;
        let sum = plus + minus;
        (!is_zero(sum)).then(|| 100.0 * ((minus - plus).abs() / sum))
    }

    fn indicators(&self) -> Option<(f64, f64)> {
        (!is_zero(self.range)).then(|| (100.0 * (self.plus / self.range), 100.0 * (self.minus / self.range)))
    }

    /// The index and both indicators.
    #[must_use]
    pub fn value(&self) -> Option<AdxValue> {
        if self.seen < self.warm_up() {
            return None;
        }
        let (plus, minus) = self.indicators().unwrap_or((0.0, 0.0));
        Some(AdxValue { adx: self.index, plus, minus })
    }

    /// Bars needed for the first index.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        2 * self.period
    }
}

/// Value of [`Supertrend`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupertrendValue {
    /// The line that a close has to cross to turn the trend.
    pub line: f64,
    /// Is the trend upward, the line below the price?
    pub is_up: bool,
}

/// Supertrend: a band of `width` average true ranges around the middle of each bar that only tightens until a close
/// crosses it. Starts upward if the first close is above the lower band, as charting programs do.
#[derive(Clone, Debug)]
pub struct Supertrend {
    atr: Atr,
    width: f64,
    close: f64,
    bands: Option<(f64, f64)>,
    value: Option<SupertrendValue>,
}

impl Supertrend {
    /// Usual: period 10, width 3.
    pub fn new(period: usize, width: f64) -> Result<Self, IndicatorError> {
        Ok(Self { atr: Atr::new(period)?, width: check_width(width)?, close: 0.0, bands: None, value: None })
    }

    /// Takes high, low and close of a bar and answers line and direction.
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<SupertrendValue> {
        if !(high.is_finite() && low.is_finite() && close.is_finite()) {
            return self.value;
        }
        let before = std::mem::replace(&mut self.close, close);
        let atr = self.atr.update(high, low, close)?;
        let (middle, reach) = (f64::midpoint(high, low), self.width * atr);
        let (mut lower, mut upper) = (middle - reach, middle + reach);
        if let Some((lower_before, upper_before)) = self.bands {
            if before >= lower_before {
                lower = lower.max(lower_before);
            }
            if before <= upper_before {
                upper = upper.min(upper_before);
            }
        }
        let is_up = match self.value {
            None => close >= lower,
            Some(SupertrendValue { is_up: true, .. }) => close >= lower,
            Some(SupertrendValue { is_up: false, .. }) => close > upper,
        };
        self.bands = Some((lower, upper));
        self.value = Some(SupertrendValue { line: if is_up { lower } else { upper }, is_up });
        self.value
    }

    /// Line and direction.
    #[must_use]
    pub const fn value(&self) -> Option<SupertrendValue> {
        self.value
    }

    /// Bars needed for the first line.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        self.atr.warm_up()
    }
}
