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

/// What the guards did, for people.
pub mod alerts;
/// The proof that an order passed the review.
pub mod approved;
/// Circuit breakers.
pub mod breaker;
/// Why an order was denied, by control.
pub mod denied;
/// Limits of guards that watch over time.
pub mod guards;
/// Limits and their validation.
pub mod limits;
/// Locks after losing trades.
pub mod protections;
/// The review, the reservations and the trading state.
pub mod service;
/// The frozen state that is saved before anything is cleared.
pub mod snapshot;

mod ledger;
mod row;
mod strategies;
mod throttle;
mod units;
mod window;

pub use alerts::{GuardEvent, KillCause};
pub use approved::Approved;
pub use breaker::{BreakerKind, BreakerState};
pub use denied::{Control, Denied, DenyReason};
pub use guards::{BreakerLimit, GuardLimits, ProtectionLimits};
pub use limits::{InstrumentLimits, LimitError, RiskLimits};
pub use protections::{ClosedTrade, Lock, LockCause};
pub use service::{HOUSE, Outcome, RiskError, RiskImage, RiskService};
pub use snapshot::{BreakerView, GuardSnapshot, ReservationView, RiskSnapshot, StrategyView};
