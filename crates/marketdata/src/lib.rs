//! What is made of market data: order books, gap detection, staleness, bars, streaming indicators, recordings.
//!
//! Pure: no IO, no clock, no randomness; time comes in with the data. Books hold exact decimals; indicators are floats,
//! since they decide but never pay.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

/// Order books kept from snapshots, deltas and top-of-book updates.
pub mod book;

pub use book::{Applied, BookError, BookState, OrderBook, SequenceGap};
