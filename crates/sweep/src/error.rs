//! What can go wrong in a sweep; texts say place, cause and remedy.

use keel_strategy::StrategyError;
use std::path::PathBuf;

/// Why a sweep cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// No bars, or none in the range.
    #[error("there are no bars to sweep over; give a file with bars, or a wider range")]
    NoBars,
    /// A price that no arithmetic can use.
    #[error("bar {at}: {what} {value} is not a positive number; check the file with `launcher data check`")]
    BadPrice {
        /// Which bar, from 0.
        at: usize,
        /// Which price.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// Nothing to try.
    #[error("{0}")]
    Empty(String),
    /// More than a sweep may hold.
    #[error("{count} combinations are more than {max}; take larger steps, or `--search random --trials N`")]
    TooMany {
        /// What was asked for.
        count: u128,
        /// What is possible.
        max: u64,
    },
    /// A parameter, its range or a combination of values.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// Text that is no parameter range.
    #[error("`{text}`: {cause}; write NAME=FROM..TO:STEP, NAME=A,B,C or NAME=VALUE")]
    BadRange {
        /// What was given.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A rule or terms that no kernel can carry out.
    #[error("{0}")]
    BadTerms(String),
    /// The file that a sweep goes on from.
    #[error("{path}: {cause}")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        cause: String,
    },
    /// A backend failed.
    #[error("the sweep on {backend} failed: {cause}")]
    Backend {
        /// Its name.
        backend: String,
        /// Why.
        cause: String,
    },
    /// Somebody asked to stop.
    #[error("stopped before the end; what is done is kept")]
    Stopped,
}
