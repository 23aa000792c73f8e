//! What a run was worth: statistics of daily returns and of closed trades, each with the convention it follows.
//!
//! - Pure: numbers in, figures out; the only text it reads is a series that the caller has opened.
//! - A figure that is not defined (no days, no losses, no variance) is `None`: `n/a` for people, `null` in JSON; never 0,
//!   infinity or 100.
//! - Floats: statistics describe money, they never are money.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

/// Equity by day and month.
pub mod calendar;
/// Figures of daily returns.
pub mod daily;
/// Drawdowns of an equity curve.
pub mod drawdowns;
/// How much of the time, and with how much of the account, a run was in the market.
pub mod exposure;
/// A figure with its name, convention and unit.
pub mod figure;
/// Trades by instrument, exit reason and direction.
pub mod groups;
/// The report as one HTML file.
pub mod html;
/// Sums, deviations, quantiles: what the figures are made of.
pub mod moments;
/// A run, worked out.
pub mod report;
/// The Sharpe ratio of a moving window.
pub mod rolling;
/// Closed trades out of fills.
pub mod round_trips;
/// What a report is made of.
pub mod run;
/// Fewer points for a chart, without losing the extremes.
pub mod sampling;
/// A run as a file.
pub mod saved;
/// A series of daily returns and how it is read.
pub mod series;
/// The figures of a whole run, in sections.
pub mod summary;
/// The report for a terminal.
pub mod text;
/// Figures of closed trades.
pub mod trades;

pub use daily::{DailyStatistics, PERIODS_PER_YEAR};
pub use figure::{Figure, Unit, to_json, to_table};
pub use html::{plot_html, to_html};
pub use report::Report;
pub use round_trips::{Fill, round_trips};
pub use run::{Bar, Direction, EquityPoint, Line, OpenPosition, Prices, Run, Trade};
pub use saved::{MarketFile, SavedError, SavedRun};
pub use series::{DailyReturns, SeriesError};
pub use text::to_text;
pub use trades::{ClosedTrade, TradeStatistics};
