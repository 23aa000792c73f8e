//! What a venue can do and what may be assumed about it, as data: nothing above an adapter names a venue.

use keel_model::{OrderType, TimeInForce};
use std::time::Duration;

/// What proves that an order of unknown outcome was never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownResolution {
    /// "Not found", once the venue's own clock has passed signed timestamp + receive window + `staleness_bound`.
    Fence {
        /// How long the venue accepts a signed request; sent with each placement.
        recv_window: Duration,
        /// How far order queries may lag behind acceptance.
        staleness_bound: Duration,
        /// The same while the venue answers 5xx.
        staleness_bound_degraded: Duration,
    },
    /// Repeating the request with the same id is safe for this long.
    IdempotencyKey(Duration),
    /// Nothing: the instrument is held until the venue's books or a person say.
    Hold,
}

/// What a venue can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the venue.
    pub venue: &'static str,
    /// Order types it takes.
    pub order_types: &'static [OrderType],
    /// Times in force it takes.
    pub times_in_force: &'static [TimeInForce],
    /// Has it a cancel-replace in one request?
    pub has_replace: bool,
    /// Does it know reduce-only orders?
    pub has_reduce_only: bool,
    /// Does its cancel-all hit orders that are not ours? Then it is never used.
    pub cancel_all_hits_foreign_orders: bool,
    /// Most characters of a client order id.
    pub client_order_id_length_max: usize,
    /// What resolves an unknown outcome.
    pub unknown_resolution: UnknownResolution,
    /// A connection is closed by the venue after this time; roll over before.
    pub connection_lifetime_max: Option<Duration>,
}
