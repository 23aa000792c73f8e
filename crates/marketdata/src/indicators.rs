//! Streaming indicators: one value in, one value out, constant time and memory.
//!
//! Definitions are TA-Lib's: the EMA starts from the mean of its first window, RSI and ATR smooth as Wilder did, deviation
//! is that of the population. Invariants: `value` is `None` until `warm_up` values came; a value that is not finite is
//! ignored (V-25); window sums are taken anew once per window, so that rounding errors cannot pile up.

/// The same indicators over whole series at once.
#[allow(clippy::indexing_slicing, reason = "blocks of a fixed size and ranges that were checked at the door")]
pub mod batch;
mod channels;
mod moving;
mod oscillators;
mod smooth;
mod trend;
mod volume;
mod wilder;
mod window;

pub use channels::{Channel, Donchian, Keltner};
pub use moving::{Bollinger, BollingerBands, Ema, Sma, StdDev};
pub use oscillators::{Cci, Macd, MacdValue, Stochastic, StochasticValue};
pub use trend::{Adx, AdxValue, Supertrend, SupertrendValue};
pub use volume::{Obv, Vwap};
pub use wilder::{Atr, Rsi};

/// The longest window.
pub const PERIOD_MAX: usize = 1_000_000;

/// Why an indicator cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum IndicatorError {
    /// Zero, or beyond [`PERIOD_MAX`].
    #[error("a period of {0} is not possible; it must be from 1 to {PERIOD_MAX}")]
    Period(usize),
    /// Not finite or negative.
    #[error("a width of {0} deviations is not possible; it must be zero or more")]
    Width(f64),
    /// The fast average is not the fast one.
    #[error("a fast period of {fast} is not below the slow one of {slow}; swap them or choose others")]
    Order {
        /// Fast period.
        fast: usize,
        /// Slow period.
        slow: usize,
    },
}

fn check_period(period: usize) -> Result<usize, IndicatorError> {
    if (1..=PERIOD_MAX).contains(&period) { Ok(period) } else { Err(IndicatorError::Period(period)) }
}

fn check_width(width: f64) -> Result<f64, IndicatorError> {
    if width.is_finite() && width >= 0.0 { Ok(width) } else { Err(IndicatorError::Width(width)) }
}

/// Zero as TA-Lib sees it.
fn is_zero(value: f64) -> bool {
    value.abs() < 1e-14
}

#[cfg(test)]
mod tests;
