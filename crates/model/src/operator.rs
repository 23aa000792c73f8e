//! What a running bot tells the person who steers it, beside orders and positions.

use crate::{ExitPolicy, FeedState, InstrumentId, StreamKind};
use serde::{Deserialize, Serialize};

/// State of one data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    /// Which stream.
    pub stream: StreamKind,
    /// Its state.
    pub state: FeedState,
}

/// How far an exit policy, a flatten or an emergency stop has come. Counts are of what the venue has not confirmed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindView {
    /// What it brings orders and positions to.
    pub policy: ExitPolicy,
    /// Only these instruments; empty for all.
    pub instruments: Vec<InstrumentId>,
    /// Orders that have to go.
    pub orders_left: usize,
    /// Orders of unknown outcome or with fills missing.
    pub unresolved: usize,
    /// Placements without an answer.
    pub in_flight: usize,
    /// Positions that have to be closed.
    pub positions_left: usize,
    /// Positions that could not be closed in as many tries as are allowed.
    pub positions_given_up: usize,
    /// Orders that the venue had accepted and does not know any more.
    pub orders_missing: usize,
    /// Is nothing left to do or to wait for?
    pub is_done: bool,
}

/// What an operator looks at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorView {
    /// A person paused it: nothing that adds exposure passes until a person resumes.
    pub is_paused: bool,
    /// Also orders that were open and would add exposure are cancelled.
    pub is_reduce_only: bool,
    /// An emergency stop is latched.
    pub is_emergency: bool,
    /// The data streams.
    pub streams: Vec<StreamView>,
    /// What is being wound down, if anything.
    pub winding: Option<WindView>,
}
