//! Drives the live engine, unchanged, over recorded or historical events on a virtual clock.
//!
//! [`Replay`] puts the simulated venue, in its recorded-market mode, where the exchange is in a live run: market events go
//! to both, the engine's effects become requests that take their time to the venue, and what the venue answers and reports
//! takes its time back. Time is the receive time of the events and of what arrives between them; nothing here reads a
//! clock, so the same events and settings give the same [`keel_engine::StateDigest`], every time.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod desk;
mod job;
/// Decisions with the future cut off.
pub mod lookahead;
mod replay;
mod report;
mod result;
mod sync;
mod trades;

pub use job::{Backtest, JobConfig, Rows, Series, run};
pub use replay::{BacktestError, NoticeObserver, Replay, ReplayConfig};
pub use report::ReplayReport;
pub use result::{BacktestResult, EquityCurve, Gaps, MARKS_MAX, OrderLog, PositionEnd, Refusal};
pub use trades::{TradeRow, exit_reason};
