//! The single-writer core that ties strategy, risk and execution together.
//!
//! - All trading state changes in [`Engine::process`] and nowhere else: one thread, no locks, no clock, no IO, no random
//!   number. The same events give the same effects and the same [`StateDigest`].
//! - Strategy → request → [`keel_risk::RiskService::review`] → [`keel_execution::OrderManager`] → [`Effect`]. There is no
//!   other way for an order to leave.
//! - It starts `Halted`. Start is recovery: journal, then open orders, fills and balances of the venue, and only then trading.
//! - Nothing allocates per tick; whatever a strategy asks for in one event is bounded.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

/// Configuration and why an engine cannot be made.
pub mod config;
/// A fingerprint of the whole trading state.
pub mod digest;
/// The engine.
pub mod engine;
/// Expected balances against the venue's.
pub mod ledger;
/// What the engine asks of the world and tells about itself.
pub mod outbox;
/// Positions by strategy.
pub mod owners;
/// Words that strategies gave their orders.
pub mod tags;

pub use config::{EngineConfig, EngineError};
pub use digest::StateDigest;
pub use engine::{Engine, HoldBook, MISSING, RecoveredRecord, SnapshotError, WindProgress};
pub use outbox::{Effect, Notice, Outbox, StartBlocker};
