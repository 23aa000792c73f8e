//! What is made of market data: order books, gap detection, staleness, bars, streaming indicators, recordings.
//!
//! Pure: no IO of its own, no clock, no randomness; time comes in with the data. Books hold exact decimals; indicators are
//! floats, since they decide but never pay.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![deny(unsafe_code)]

/// Time bars built from trades or prices.
pub mod bars;
/// Order books kept from snapshots, deltas and top-of-book updates.
pub mod book;
/// Market data as columns: files and backtests.
pub mod columns;
/// Which streams are current and which have fallen silent.
pub mod health;
/// Streaming indicators.
pub mod indicators;
/// L2 data as columns: level changes and trades.
pub mod l2;
/// Levels of one side of a book, by tick.
pub mod ladder;
/// Recorded sessions, frame by frame.
pub mod recording;
/// Loops compiled for wider vectors, chosen at run time.
pub mod vector;

pub use bars::{BarBuilder, BarError};
pub use book::{Applied, BookError, BookState, OrderBook, RowsApplied, SequenceGap};
pub use columns::{BarColumns, FundingColumns, Interval, IntervalError, QuoteColumns, TradeColumns};
pub use health::{FeedHealth, HealthChange, StreamSlot};
pub use indicators::{
    Adx, AdxValue, Atr, Bollinger, BollingerBands, Cci, Channel, Donchian, Ema, IndicatorError, Keltner, Macd,
    MacdValue, Obv, Rsi, Sma, StdDev, Stochastic, StochasticValue, Supertrend, SupertrendValue, Vwap,
};
pub use l2::{L2Columns, L2Error, L2Kind, L2Row, L2Rows, SoundL2};
pub use recording::{RecordingError, RecordingReader};
