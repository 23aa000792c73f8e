//! What there is to see: the server asks, whoever wires it answers from what is published, without waiting.

use crate::Exposition;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How a run stands, for load balancers and supervisors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Does the engine still take events?
    pub is_live: bool,
    /// Has trading begun, and is nothing stopping?
    pub is_ready: bool,
    /// Is the start complete?
    pub is_started: bool,
    /// Why not, where something is not.
    pub why: Vec<String>,
}

/// What a reading route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Resources, statistics and alerts in the words of S1-050.
    Report,
    /// Everything about the run in one object.
    Status,
    /// Open orders.
    Orders,
    /// The last fills, newest first.
    Fills,
    /// Positions.
    Positions,
    /// Balances.
    Balances,
    /// Limits with their use, guards, holds.
    Risk,
    /// Streams with state and age.
    Streams,
    /// Leases, descriptors, memory, with their history.
    Resources,
    /// Where the journal is.
    Journal,
    /// Effective configuration, secrets redacted.
    Config,
    /// The last lines of the log.
    Logs,
    /// Profit over time.
    Equity,
    /// Alerts, newest first.
    Alerts,
}

/// What came behind the `?`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// How many rows at most.
    pub limit: Option<usize>,
}

/// Something that just happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// What kind: `fill`, `order`, `alert`, `state`.
    pub kind: &'static str,
    /// One JSON object.
    pub data: Arc<str>,
}

/// What there is to see. Everything here answers at once, from what is published.
pub trait Sight: Send + Sync + 'static {
    /// How it stands.
    fn health(&self) -> Health;

    /// One topic as JSON; `None` where there is nothing yet, such as before the start is complete.
    fn see(&self, topic: Topic, query: Query) -> Option<Value>;

    /// Every metric.
    fn measure(&self, out: &mut Exposition);

    /// What happens from now on. A listener that is too slow loses the oldest and is told how many.
    fn events(&self) -> broadcast::Receiver<Event>;
}
