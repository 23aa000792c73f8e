//! Indicators as tiles: each distinct series of a job is computed once per tile, bar after bar, whatever uses it.
//!
//! Values are those of `keel_marketdata`'s streaming indicators, bar by bar; the simple average alone keeps the plain moving
//! sum (add the new, subtract the old) of which the published answers are made. Before a series has a value it is NaN or
//! unused: no signal counts before its rule's first bar.

use super::bars::Bars;
use super::simd::{TILE_BARS, Tile};
use crate::SweepError;
use keel_marketdata::{Bollinger, Ema, Rsi};
use std::collections::VecDeque;

/// A series of one value per bar. Numbers are kept as bits, so that series can be compared and sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// The same everywhere.
    Constant(u64),
    /// Closes.
    Close,
    /// Simple moving average of closes.
    Sma(usize),
    /// Exponential moving average of closes.
    Ema(usize),
    /// The same begun with the first close, not with the mean of its first window.
    EmaFromFirst(usize),
    /// Wilder's relative strength index of closes.
    Rsi(usize),
    /// Mean of closes plus so many deviations of the population.
    Band(usize, u64),
    /// Highest high of so many bars before this one.
    Highest(usize),
    /// Lowest low of so many bars before this one.
    Lowest(usize),
}

impl Series {
    /// The longest window.
    pub const WINDOW_MAX: usize = 1_000_000;

    /// The same everywhere.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self::Constant(value.to_bits())
    }

    /// Mean plus so many deviations, negative below.
    #[must_use]
    pub fn band(period: usize, deviations: f64) -> Self {
        // Plus and minus zero are one series.
        Self::Band(period, (deviations + 0.0).to_bits())
    }
}

/// The value at each bar, one after another.
#[derive(Debug)]
pub enum Stream {
    /// Constant.
    Constant(f64),
    /// Closes.
    Close,
    /// Window and moving sum.
    Sma(usize, f64),
    /// Exponential average.
    Ema(Ema),
    /// Weight and value of an average that begins with the first close.
    EmaFromFirst(f64, f64),
    /// Relative strength.
    Rsi(Rsi),
    /// Bands and the distance wanted.
    Band(Bollinger, f64),
    /// Highest of a window.
    Highest(Extreme),
    /// Lowest of a window, as the highest of the negated.
    Lowest(Extreme),
}

impl Stream {
    /// Begins a series.
    ///
    /// # Errors
    /// A window that is not possible.
    pub fn new(series: Series) -> Result<Self, SweepError> {
        let bad = |error: keel_marketdata::IndicatorError| SweepError::BadTerms(error.to_string());
        Ok(match series {
            Series::Constant(bits) => Self::Constant(f64::from_bits(bits)),
            Series::Close => Self::Close,
            Series::Sma(window) => Self::Sma(window, 0.0),
            Series::Ema(window) => Self::Ema(Ema::new(window).map_err(bad)?),
            Series::EmaFromFirst(window) => Self::EmaFromFirst(2.0 / (window as f64 + 1.0), f64::NAN),
            Series::Rsi(window) => Self::Rsi(Rsi::new(window).map_err(bad)?),
            Series::Band(window, bits) => Self::Band(Bollinger::new(window, 1.0).map_err(bad)?, f64::from_bits(bits)),
            Series::Highest(window) => Self::Highest(Extreme::new(window)),
            Series::Lowest(window) => Self::Lowest(Extreme::new(window)),
        })
    }

    /// Value at bar `at`; bars come in order from 0.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "bars come in order, and a window reaches back to bars that were there")]
    pub fn next(&mut self, bars: &Bars, at: usize) -> f64 {
        let close = bars.close()[at];
        match self {
            Self::Constant(value) => *value,
            Self::Close => close,
            Self::Sma(window, sum) => {
                *sum += close;
                if at >= *window {
                    *sum -= bars.close()[at - *window];
                }
                *sum / *window as f64
            }
            Self::Ema(average) => average.update(close).unwrap_or(f64::NAN),
            Self::EmaFromFirst(weight, value) => {
                *value = if value.is_nan() { close } else { *weight * close + (1.0 - *weight) * *value };
                *value
            }
            Self::Rsi(index) => index.update(close).unwrap_or(f64::NAN),
            Self::Band(bands, deviations) => {
                bands.update(close).map_or(f64::NAN, |b| b.middle + *deviations * bands.deviation())
            }
            Self::Highest(extreme) => extreme.before(at, bars.high()[at]),
            Self::Lowest(extreme) => -extreme.before(at, -bars.low()[at]),
        }
    }

    /// Values of bars from..to, at most a tile; what is left of the tile repeats the last.
    #[allow(clippy::indexing_slicing, reason = "the caller cuts the bars into tiles")]
    pub fn fill(&mut self, bars: &Bars, from: usize, to: usize, tile: &mut Tile) {
        match self {
            Self::Constant(value) => return tile.fill(*value),
            Self::Close => tile[..to - from].copy_from_slice(&bars.close()[from..to]),
            Self::Sma(window, sum) if from >= *window => {
                let divisor = *window as f64;
                let old = &bars.close()[from - *window..to - *window];
                for ((slot, new), old) in tile.iter_mut().zip(&bars.close()[from..to]).zip(old) {
                    *sum += new;
                    *sum -= old;
                    *slot = *sum / divisor;
                }
            }
            _ => {
                for at in from..to {
                    tile[at - from] = self.next(bars, at);
                }
            }
        }
        let last = tile[to - from - 1];
        tile[to - from..TILE_BARS].fill(last);
    }
}

/// Mean and deviation of a window of closes, from which bands of any width are made.
#[derive(Debug)]
pub struct Spread {
    /// Window.
    pub period: usize,
    bands: Bollinger,
    mean: Tile,
    deviation: Tile,
}

impl Spread {
    /// Begins it.
    ///
    /// # Errors
    /// A window that is not possible.
    pub fn new(period: usize) -> Result<Self, SweepError> {
        let bands = Bollinger::new(period, 1.0).map_err(|error| SweepError::BadTerms(error.to_string()))?;
        Ok(Self { period, bands, mean: [0.0; TILE_BARS], deviation: [0.0; TILE_BARS] })
    }

    /// Values of bars from..to, at most a tile; what is left of the tile repeats the last.
    #[allow(clippy::indexing_slicing, reason = "the caller cuts the bars into tiles")]
    pub fn fill(&mut self, bars: &Bars, from: usize, to: usize) {
        let closes = &bars.close()[from..to];
        let mut last = (f64::NAN, f64::NAN);
        for ((mean, deviation), close) in self.mean.iter_mut().zip(&mut self.deviation).zip(closes) {
            last = self.bands.update(*close).map_or((f64::NAN, f64::NAN), |b| (b.middle, self.bands.deviation()));
            (*mean, *deviation) = last;
        }
        self.mean[to - from..].fill(last.0);
        self.deviation[to - from..].fill(last.1);
    }

    /// So many deviations from the mean.
    pub fn band(&self, deviations: f64, tile: &mut Tile) {
        for ((slot, mean), deviation) in tile.iter_mut().zip(&self.mean).zip(&self.deviation) {
            *slot = mean + deviations * deviation;
        }
    }
}

/// Highest value of the last window, not counting the newest: a queue that only falls.
#[derive(Debug)]
pub struct Extreme {
    window: usize,
    falling: VecDeque<(usize, f64)>,
}

impl Extreme {
    const fn new(window: usize) -> Self {
        Self { window, falling: VecDeque::new() }
    }

    /// Highest of the `window` values before number `at`; NaN until there are so many. Then takes number `at`.
    fn before(&mut self, at: usize, value: f64) -> f64 {
        while self.falling.front().is_some_and(|(old, _)| old + self.window < at) {
            self.falling.pop_front();
        }
        let highest = match self.falling.front() {
            Some((_, highest)) if at >= self.window => *highest,
            _ => f64::NAN,
        };
        while self.falling.back().is_some_and(|(_, low)| *low <= value) {
            self.falling.pop_back();
        }
        self.falling.push_back((at, value));
        highest
    }
}
