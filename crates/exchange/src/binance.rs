//! Binance: one codec and one set of sessions per market.

/// Binance spot.
pub mod spot;
