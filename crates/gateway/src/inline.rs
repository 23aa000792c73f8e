//! The engine on the socket's own task: decode ► engine ► signed bytes without a hand-over between tasks.
//!
//! Invariant: nothing overtakes. While market data waits in the lane, or the engine is busy on another thread, the event
//! goes into the lane as well.

use crate::core::Core;
use crate::lanes::Lanes;
use keel_exchange::FeedSink;
use keel_model::{FeedEvent, FeedState, InstrumentId, MarketEvent, StreamKind, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;

/// A market data sink that runs the engine in place.
#[derive(Clone, Debug)]
pub struct InlineSink {
    core: Arc<Mutex<Core>>,
    lanes: Arc<Lanes>,
}

impl InlineSink {
    pub(crate) const fn new(core: Arc<Mutex<Core>>, lanes: Arc<Lanes>) -> Self {
        Self { core, lanes }
    }
}

impl FeedSink for InlineSink {
    fn on_market(&self, event: &MarketEvent) {
        // Not `lock`: a socket's task never waits for the engine.
        let Some(mut core) = self.core.try_lock() else { return self.lanes.push_market(event) };
        if !core.is_recovered || !core.batch.market.is_empty() || self.lanes.has_market() {
            drop(core);
            return self.lanes.push_market(event);
        }
        if self.lanes.is_urgent() {
            core.drain_urgent();
        }
        core.step_market(event);
    }

    fn on_state(&self, stream: StreamKind, state: FeedState, ts: Timestamp) {
        self.lanes.push_feed(ts, FeedEvent::State(stream, state));
    }

    fn take_resync(&self) -> Option<InstrumentId> {
        self.lanes.take_resync()
    }
}
