//! What became of each order: the order state machine, the order manager and its schedules, as pure code.
//!
//! - `Unknown` is a state. It ends by evidence only: a report, a trade, an open order, an answer to a query, or "not found"
//!   past the venue's own fence. Never by counting, guessing or sending again.
//! - Each fill is applied once, by (instrument, trade id). The venue's cumulative quantity is a check: an order is done when
//!   its fills add up to it, and until then it is `Settling` and the fills are asked for.
//! - A closed order can rise again: a late trade or proof of existence is applied, with an alarm, never dropped.
//! - It accepts nothing but `Approved` orders. Time comes in with each call; nothing here sleeps, sends or reads a clock.
//! - Closed orders and trade ids are kept for a bounded time and in a bounded number.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

/// What the manager asks for and tells.
pub mod action;
/// The sub-machine of a cancel as a table.
pub mod cancel;
/// Time limits, schedules and bounds.
pub mod config;
/// A hasher without a random seed, so that two runs are the same run.
pub mod hash;
/// The manager: orders, events, schedules, recovery.
pub mod manager;
/// One order with its sub-machines.
pub mod order;
/// Parent orders: brackets, OCO pairs, TWAP and iceberg.
pub mod parents;
/// The state machine as a table.
pub mod state;
/// The memory of applied trades.
pub mod trades;

pub use action::{Alarm, Change, OrderAction};
pub use cancel::CancelStep;
pub use config::{ConfigError, ExecutionConfig, UnknownRule};
pub use manager::{Counters, ExecutionError, OrderManager, SettleError, Timeouts};
pub use order::{CancelState, Order};
pub use parents::{ParentAction, ParentBook, ParentNews, ParentRecord, Surroundings};
pub use state::{Next, OrderState, Step};
