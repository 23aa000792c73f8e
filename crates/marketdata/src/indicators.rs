//! Streaming indicators: one value in, one value out, constant time and memory.
//!
//! Definitions are TA-Lib's: the EMA starts from the mean of its first window, RSI and ATR smooth as Wilder did, deviation
//! is that of the population. Invariants: `value` is `None` until `warm_up` values came; a value that is not finite is
//! ignored (V-25); window sums are taken anew once per window, so that rounding errors cannot pile up.

mod moving;
mod wilder;

pub use moving::{Bollinger, BollingerBands, Ema, Sma, StdDev};
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
}

fn check_period(period: usize) -> Result<usize, IndicatorError> {
    if (1..=PERIOD_MAX).contains(&period) { Ok(period) } else { Err(IndicatorError::Period(period)) }
}

#[cfg(test)]
mod tests;
