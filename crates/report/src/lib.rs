//! What a run was worth: statistics of daily returns and of closed trades, each with the convention it follows.
//!
//! - Pure: numbers in, figures out; the only text it reads is a series that the caller has opened.
//! - A figure that is not defined (no days, no losses, no variance) is `None`: `n/a` for people, `null` in JSON; never 0,
//!   infinity or 100.
//! - Floats: statistics describe money, they never are money.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

/// Figures of daily returns.
pub mod daily;
/// A figure with its name, convention and unit.
pub mod figure;
/// Sums, deviations, quantiles: what the figures are made of.
pub mod moments;
/// A series of daily returns and how it is read.
pub mod series;
/// Figures of closed trades.
pub mod trades;

pub use daily::{DailyStatistics, PERIODS_PER_YEAR};
pub use figure::{Figure, Unit, to_json, to_table};
pub use series::{DailyReturns, SeriesError};
pub use trades::{ClosedTrade, TradeStatistics};
