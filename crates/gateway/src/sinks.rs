//! Where the venue's streams end: decoded events go into the lanes.

use crate::lanes::Lanes;
use keel_exchange::{AccountSink, FeedSink};
use keel_lifecycle::Clock;
use keel_model::{
    Asset, Balance, ExecutionEvent, ExecutionReport, FeedEvent, FeedState, InstrumentId, MarketEvent, Notional,
    StreamKind, Timestamp,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Puts a market data feed into the market lane.
#[derive(Clone, Debug)]
pub struct MarketSink {
    lanes: Arc<Lanes>,
}

impl MarketSink {
    /// A sink into `lanes`.
    #[must_use]
    pub const fn new(lanes: Arc<Lanes>) -> Self {
        Self { lanes }
    }
}

impl FeedSink for MarketSink {
    fn on_market(&self, event: &MarketEvent) {
        self.lanes.push_market(event);
    }

    fn on_state(&self, stream: StreamKind, state: FeedState, ts: Timestamp) {
        self.lanes.push_feed(ts, FeedEvent::State(stream, state));
    }

    fn take_resync(&self) -> Option<InstrumentId> {
        self.lanes.take_resync()
    }
}

/// Puts an account feed into the execution lane, and remembers whether it is up.
#[derive(Debug)]
pub struct ExecutionSink {
    lanes: Arc<Lanes>,
    clock: Clock,
    is_live: AtomicBool,
}

impl ExecutionSink {
    /// A sink into `lanes`.
    #[must_use]
    pub const fn new(lanes: Arc<Lanes>, clock: Clock) -> Self {
        Self { lanes, clock, is_live: AtomicBool::new(false) }
    }

    /// Is the account stream up?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }
}

impl AccountSink for ExecutionSink {
    fn on_report(&self, report: ExecutionReport) {
        self.lanes.push_execution(report.ts_recv, ExecutionEvent::Report(report));
    }

    fn on_balances(&self, balances: Vec<Balance>, ts_event: Timestamp) {
        let now = Timestamp::from_ns(self.clock.run_ns());
        self.lanes.push_execution(now, ExecutionEvent::Balances { complete: false, balances, ts_event });
    }

    fn on_transfer(&self, asset: Asset, change: Notional, ts_event: Timestamp) {
        let now = Timestamp::from_ns(self.clock.run_ns());
        self.lanes.push_execution(now, ExecutionEvent::Transfer { asset, change, ts_event });
    }

    fn on_state(&self, state: FeedState, ts: Timestamp) {
        self.is_live.store(state == FeedState::Live, Ordering::Release);
        self.lanes.push_account_state(ts, FeedEvent::State(StreamKind::Account, state));
    }
}
