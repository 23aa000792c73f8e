//! Parameter sweeps: the same rules over the same bars with thousands of parameter sets.
//!
//! - Two levels: *fast* (kernels over columns, this crate's own arithmetic in double precision) and *exact* (the event
//!   engine); a result says which one made it.
//! - Each kernel has a scalar twin, one plain loop over the bars, and is tested against it combination by combination.
//! - A sweep is a pure function of bars, combinations and terms: threads, SIMD width and tiling change no bit of a result.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

/// Where kernels run.
pub mod backend;
/// The deflated Sharpe ratio.
pub mod deflated;
mod error;
/// The fast level.
pub mod fast;
/// Figures and objectives.
pub mod figures;
/// Kernels over columns of prices.
pub mod kernel;
/// Which points are tried.
pub mod search;
/// The space of a sweep.
pub mod space;
/// Train, test, walk forward.
pub mod split;
/// A sweep as a state that can be written down.
pub mod sweep;

pub use error::SweepError;
