//! What the venue counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters, written without a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) orders: AtomicU64,
    pub(crate) orders_refused: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) fills: AtomicU64,
    pub(crate) http_connections: AtomicU64,
    pub(crate) ws_connections: AtomicU64,
    pub(crate) ws_open: AtomicU64,
    pub(crate) http_open: AtomicU64,
    pub(crate) frames_replayed: AtomicU64,
    pub(crate) replay_gaps: AtomicU64,
    pub(crate) is_replay_finished: AtomicBool,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A snapshot of what the venue has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VenueStats {
    /// Requests answered, REST and WebSocket API.
    pub requests: u64,
    /// Orders accepted.
    pub orders: u64,
    /// Orders refused.
    pub orders_refused: u64,
    /// Cancels done.
    pub cancels: u64,
    /// Fills of accounts' orders.
    pub fills: u64,
    /// HTTP connections accepted so far (WebSocket connections begin as such).
    pub http_connections: u64,
    /// WebSocket connections accepted so far.
    pub ws_connections: u64,
    /// HTTP connections open now.
    pub http_open: u64,
    /// WebSocket connections open now.
    pub ws_open: u64,
    /// Market stream subscriptions now.
    pub market_streams: u64,
    /// Account stream subscriptions now.
    pub user_streams: u64,
    /// Frames queued for clients so far.
    pub frames_sent: u64,
    /// Connections dropped because their reader was too slow.
    pub slow_dropped: u64,
    /// Request weight used this minute from the loopback address.
    pub weight_used: u64,
    /// Frames of the recording shown so far.
    pub frames_replayed: u64,
    /// Breaks in the numbering of the recording's deltas.
    pub replay_gaps: u64,
    /// Has the recording ended?
    pub replay_finished: bool,
}
