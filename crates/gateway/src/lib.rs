//! The async shell around the engine: lanes in, outbox out; journal, gate, sign, send, classify; the escape path.
//!
//! Invariants: no first byte of a placement without a durable intent and an open gate, which is read last; a cancel never
//! waits for the journal; every placement is answered exactly once; start is recovery; when the engine is stuck, the control
//! thread still cancels what is published.
#![forbid(unsafe_code)]

/// The published list of our open orders.
pub mod board;
mod conflate;
/// The task that owns the engine, and the handle to it.
pub mod coordinator;
mod core;
/// Errors of this crate.
pub mod error;
/// Cancels our open orders when the engine cannot.
pub mod escape;
/// The last thing that is read before an order leaves.
pub mod gate;
/// The engine on the socket's own task.
pub mod inline;
/// What flows to the engine.
pub mod lanes;
mod latches;
/// How long orders take, stage by stage.
pub mod latency;
/// How orders leave and answers come back.
pub mod order_gateway;
/// From the journal's records to what the engine takes.
pub mod recovery;
/// The journal into an engine.
pub mod replay;
/// The venue's rules while the run goes on.
pub mod rules;
mod shared;
/// A venue inside the process: real public data in, simulated fills out.
pub mod simulated;
/// Where the venue's streams end.
pub mod sinks;
/// Snapshots beside the run.
pub mod snapshots;

pub use board::{OpenOrderBoard, PublishedOrder};
pub use coordinator::{
    Coordinator, CoordinatorEnd, CoordinatorHandle, CoordinatorLimits, CoordinatorParts, WindOutcome,
};
pub use core::NoticeObserver;
pub use error::GatewayError;
pub use escape::{EscapeLimits, EscapeOutcome, EscapePath, EscapeReport, EscapeScope};
pub use gate::{GateLevel, SubmitGate};
pub use inline::InlineSink;
pub use lanes::{LaneCapacity, LaneStatus, Lanes};
pub use latency::{LatencyRecorder, LatencySummary, Stage, StageBuckets, StageSummary};
pub use order_gateway::{GatewayLimits, InFlight, OrderGateway, OrderGatewayParts};
pub use recovery::{RecordCollector, RecordTranslator, begin_session, recovered_records};
pub use replay::{RecordedEnd, ReplayOptions, Replayed, replay_journal};
pub use rules::{RULES_INTERVAL, watch_rules};
pub use shared::{Heartbeat, HeartbeatWatch, Phase};
pub use simulated::{SimulatedClient, SimulatedVenue};
pub use sinks::{ExecutionSink, MarketSink};
pub use snapshots::{SnapshotAuthor, SnapshotReport, Snapshots, SnapshotsParts, take_snapshot};
