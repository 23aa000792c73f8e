//! The one gate in front of every order.
//!
//! - Only [`RiskService::review`] makes an [`Approved`]; everything behind it accepts nothing else. Closing orders pass the same door.
//! - A review that approves also reserves: orders of one batch see each other, and an order of unknown outcome keeps its
//!   reservation until the venue has said what became of it.
//! - It fails closed: a missing, stale, crossed or jumping reference, an unknown balance, an unknown status, a number that
//!   does not fit, all deny. The first state is `Halted`.
//! - A review touches dense tables and cached sums only: no allocation, no scan over instruments.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

/// The proof that an order passed the review.
pub mod approved;
/// Why an order was denied, by control.
pub mod denied;
/// Limits and their validation.
pub mod limits;
/// The review, the reservations and the trading state.
pub mod service;
/// The frozen state that is saved before anything is cleared.
pub mod snapshot;

mod ledger;
mod row;
mod throttle;
mod units;

pub use approved::Approved;
pub use denied::{Control, Denied, DenyReason};
pub use limits::{InstrumentLimits, LimitError, RiskLimits};
pub use service::{HOUSE, RiskError, RiskService};
pub use snapshot::{ReservationView, RiskSnapshot};
