//! The crash test of the real binary: a launcher trades on a simulated venue that is another process, is struck (killed at a
//! system call or at an instant, refused the disk, stopped, starved), is started again, and then a checker that reads only
//! the venue's log, the journal and the final status judges what is left.
//!
//! Invariants: nothing of the product's state is trusted but what it wrote; every process started here is ended here; the
//! folder of a violation is kept as evidence, that of a success is removed. Commands: `crash --help`.

/// The checker.
pub mod check;
/// Errors of this crate.
pub mod error;
/// What the journal says.
pub mod ledger;
/// What is run while it is struck.
pub mod phase;
/// Folders and processes.
pub mod place;
/// Loss of power.
pub mod power;
/// Kills at random instants, signals at random instants, restarts in a row.
pub mod random;
/// How a run is struck.
pub mod strike;
/// Every n of every phase.
pub mod sweep;
/// One strike from beginning to judgement.
pub mod trial;
/// What the venue says.
pub mod venue_log;

pub use check::{Facts, Violation};
pub use error::CrashError;
pub use phase::Phase;
pub use place::{Bench, Ended, Place};
pub use strike::{Effect, Strike, Surface};
