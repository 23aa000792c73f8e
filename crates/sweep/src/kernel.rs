//! Kernels over columns of prices: many combinations at once, in tiles of bars that stay in the cache.
//!
//! A rule becomes comparisons of series (`SMA(5) > SMA(20)`); each distinct series is computed once per tile, comparisons
//! are bit masks, and an account moves only where a bit changes. What lies between two changes is one position held over a
//! span of bars, summed up by highest, lowest and deepest fall ([`span`]).

/// What one combination owns.
pub mod account;
/// Prices that kernels read.
pub mod bars;
/// The short way for crosses.
pub mod cross;
/// Rules, terms and outcomes: the language between sweeps and backends.
pub mod rule;
/// Many combinations over one series of bars.
pub mod run;
/// The twin: one plain loop over the bars.
pub mod scalar;
/// Indicators as tiles.
pub mod series;
/// Comparisons of series as bit masks, by the widest instructions of the machine.
pub mod simd;
/// Highest, lowest and deepest fall of any span of a tile in constant time.
pub mod span;
/// One tile of prices with what trading at them costs.
pub mod tile;
/// The general way: both sides, stops, targets, any size.
pub mod walk;
