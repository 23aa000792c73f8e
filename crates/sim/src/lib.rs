//! The simulated venue, pure: a matching engine with accounts, filters, fees, self-trade prevention and order lists; latency
//! and queue-position models; a seeded synthetic market and a recorded one.
//!
//! No IO, no async, no clock: time comes in with every call and never runs backwards inside ([`MatchingEngine::now`] is the
//! largest time seen). Randomness only from [`rng::Rng`], so the same seed and the same calls give the same events.
//!
//! Invariants: for every asset, free + locked over all accounts plus collected fees never changes but by deposits (in a
//! recorded market, and in one of quotes or bars: by deposits, by trades with the data, which has no account, and by the profit
//! and funding of perpetuals that is settled with it); what an
//! account has locked is exactly what its open orders need; after every call no book is crossed; a client order id is unique
//! among the open orders of its account and instrument only, as at real venues. Every history is bounded ([`HistoryLimits`]).
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod accounts;
mod book;
/// Between the engine's words and those of the model.
pub mod bridge;
/// Settings of the engine and its models.
pub mod config;
/// Requests and reports that take time on their way.
pub mod delayed;
/// The matching engine.
pub mod engine;
/// What the engine reports.
pub mod event;
mod external;
/// What goes wrong in a simulated run.
pub mod fault_plan;
mod hash;
/// Why a request was refused.
pub mod reject;
/// A small seeded random number generator.
pub mod rng;
mod store;
/// A seeded synthetic market.
pub mod synthetic;
mod tape;
mod touch;
/// Requests and views of orders.
pub mod types;

pub use config::{BarFill, FeeModel, FillModel, HistoryLimits, LatencyModel, MarketKind, QueueModel, SimConfig};
pub use delayed::{DelayedVenue, Delivery, Payload, SimAnswer, SimRequest};
pub use engine::{ClosedByVenue, FilledAtOnce, KlineSpan, Liquidation, MatchingEngine, RecordedStatus, SimError};
pub use event::{
    AccountTrade, BalanceUpdate, BookChange, BookTicker, ExecReport, Kline, ListReport, PublicTrade, SimEvent,
    Ticker24h,
};
pub use fault_plan::{Fault, FaultPlan};
pub use reject::Reject;
pub use synthetic::{SyntheticMarket, SyntheticSpec, default_specs, demo_balances};
pub use types::{
    AccountId, AmendRequest, CancelReplace, CancelRequest, CancelRestriction, ClientId, Contingency, ExpiryReason,
    ListId, ListStatus, OcoLeg, OcoRequest, OrderId, OrderListView, OrderRef, OrderRequest, OrderSize, OrderState,
    OrderView, ReplaceMode, ReplaceResult, StpMode,
};
