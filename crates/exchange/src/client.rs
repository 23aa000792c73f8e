//! The traits that every adapter implements and that gateway and launcher use.

use crate::{Capabilities, ExchangeError};
use async_trait::async_trait;
use keel_model::{
    Asset, Balance, CancelOrder, CancelOutcome, ClientOrderId, ExecutionReport, FeedState, Fill, Instrument,
    InstrumentId, Instruments, MarketEvent, NewOrder, Notional, OrderSnapshot, QueryOrder, QueryOutcome, ReplaceOrder,
    ReplaceOutcome, StreamKind, SubmitOutcome, Timestamp,
};
use std::sync::Arc;

/// What was signed, told right before the first byte of a placement leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentInfo {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Signed timestamp on the venue's clock.
    pub signed_at: Timestamp,
    /// Validity of the signature; unit: milliseconds.
    pub recv_window_ms: u64,
}

/// How far the venue's clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockOffset {
    /// The venue lives on our clock.
    Same,
    /// It has not been measured.
    Unknown,
    /// As measured.
    Known {
        /// The venue's time less ours; unit: nanoseconds.
        offset_ns: i64,
        /// The round trip that it was measured with: it is off by half of that at most; unit: nanoseconds.
        round_trip_ns: u64,
    },
}

impl ClockOffset {
    /// How far the clocks may be apart at most; `None` when nobody knows; unit: nanoseconds.
    #[must_use]
    pub const fn most_ns(self) -> Option<u64> {
        match self {
            Self::Same => Some(0),
            Self::Unknown => None,
            Self::Known { offset_ns, round_trip_ns } => {
                Some(offset_ns.unsigned_abs().saturating_add(round_trip_ns / 2))
            }
        }
    }
}

/// Orders and account of one account at one venue. Every call has a total deadline of its own.
///
/// Placements are never retried and never redirected by the layers below. `close` is idempotent; afterwards every call
/// answers [`ExchangeError::Closed`] or `NotSent(Closed)` and no socket is left.
#[async_trait]
pub trait ExchangeClient: Send + Sync + std::fmt::Debug {
    /// What the venue can do.
    fn capabilities(&self) -> &Capabilities;

    /// Instruments and their rules, for the symbols asked for (all when empty).
    async fn instruments(&self, symbols: &[String]) -> Result<Vec<Instrument>, ExchangeError>;

    /// Tells the client which dense index belongs to which symbol; called once before trading.
    fn set_instruments(&self, instruments: Arc<Instruments>);

    /// The venue's clock. Also refreshes the clock offset used for signing.
    async fn server_time(&self) -> Result<Timestamp, ExchangeError>;

    /// How far the venue's clock is from ours, by the last measurement. A venue on our own clock has nothing to measure.
    fn clock_offset(&self) -> ClockOffset {
        ClockOffset::Same
    }

    /// Places an order. `on_sent` is called exactly once, right before the first byte leaves, unless it never leaves.
    async fn submit(&self, order: &NewOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> SubmitOutcome;

    /// Cancels an order of ours.
    async fn cancel(&self, cancel: &CancelOrder) -> CancelOutcome;

    /// Cancels many orders of ours as fast as the requests can leave: none waits for the answer to another. Ends when all that
    /// were sent are answered. `Ok(false)`, and nothing is sent, where the client cannot; an order that `sink` heard nothing
    /// of was not cancelled.
    async fn cancel_many(&self, orders: &[CancelOrder], sink: &dyn BurstSink) -> Result<bool, ExchangeError> {
        let _cannot = (orders, sink);
        Ok(false)
    }

    /// Cancels one order and places another, where the venue can.
    async fn replace(&self, replace: &ReplaceOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> ReplaceOutcome;

    /// Asks about an order of ours by client order id. Asks the venue's time first, so that "not found" carries it.
    async fn query(&self, query: &QueryOrder) -> QueryOutcome;

    /// All open orders of one instrument, or of the account.
    async fn open_orders(&self, instrument: Option<InstrumentId>) -> Result<Vec<OrderSnapshot>, ExchangeError>;

    /// Fills of one instrument since a time, oldest first, with our order id where it can be told.
    async fn fills(
        &self,
        instrument: InstrumentId,
        since: Timestamp,
    ) -> Result<Vec<(Option<ClientOrderId>, Fill)>, ExchangeError>;

    /// All balances that are not zero.
    async fn balances(&self) -> Result<Vec<Balance>, ExchangeError>;

    /// Refuses new calls, ends those under way and closes every connection. Idempotent.
    async fn close(&self) -> Result<(), ExchangeError>;
}

/// Hears how a burst of cancels goes. Must not block.
pub trait BurstSink: Send + Sync {
    /// The request of this order was handed to the system.
    fn on_sent(&self, order: &CancelOrder);
    /// The venue's answer about this order.
    fn on_outcome(&self, order: &CancelOrder, outcome: CancelOutcome);
}

/// What to stream of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Best bid and ask.
    pub top_of_book: bool,
    /// The whole book.
    pub depth: bool,
    /// Public trades.
    pub trades: bool,
}

/// Where a market data feed delivers. Must not block: it is called on the socket's task.
pub trait FeedSink: Send + Sync {
    /// A decoded event. Borrowed, so that an engine running inline copies nothing.
    fn on_market(&self, event: &MarketEvent);
    /// A stream changed its state.
    fn on_state(&self, stream: StreamKind, state: FeedState, ts: Timestamp);
    /// An instrument whose book was lost behind this sink (shed under load, or found crossed) and needs a new snapshot;
    /// asked about ten times a second until it answers `None`.
    fn take_resync(&self) -> Option<InstrumentId> {
        None
    }
    /// Is [`Self::on_frame`] to be called? Asked once, at the start.
    fn wants_frames(&self) -> bool {
        false
    }
    /// A frame as it came, before it is decoded; a book snapshot, which names no instrument, with whose it is. For recorders.
    fn on_frame(&self, frame: &[u8], snapshot_of: Option<InstrumentId>, ts_recv: Timestamp) {
        let _of_no_interest = (frame, snapshot_of, ts_recv);
    }
}

/// Where an account feed delivers. Must not block and must not drop: a full lane stops the system in order.
pub trait AccountSink: Send + Sync {
    /// A report about an order.
    fn on_report(&self, report: ExecutionReport);
    /// Balances that changed.
    fn on_balances(&self, balances: Vec<Balance>, ts_event: Timestamp);
    /// The venue announced a deposit, withdrawal or transfer: a change of a balance without a trade. For whoever keeps books.
    fn on_transfer(&self, asset: Asset, change: Notional, ts_event: Timestamp) {
        let _of_no_interest = (asset, change, ts_event);
    }
    /// The stream changed its state; `Live` again, after a loss or without one, means: reconcile.
    fn on_state(&self, state: FeedState, ts: Timestamp);
}

/// Market data of a venue. Runs until its token is cancelled; reconnects by itself within its budget.
#[async_trait]
pub trait MarketDataFeed: Send + std::fmt::Debug {
    /// Streams until `stop` is cancelled; then closes its sockets with a close frame and returns `Ok`.
    async fn run(
        self: Box<Self>,
        sink: Arc<dyn FeedSink>,
        stop: tokio_util::sync::CancellationToken,
    ) -> Result<(), ExchangeError>;
}

/// The account stream of one account. Runs until its token is cancelled; reconnects by itself within its budget.
#[async_trait]
pub trait AccountFeed: Send + std::fmt::Debug {
    /// Streams until `stop` is cancelled; then closes its socket with a close frame and returns `Ok`.
    async fn run(
        self: Box<Self>,
        sink: Arc<dyn AccountSink>,
        stop: tokio_util::sync::CancellationToken,
    ) -> Result<(), ExchangeError>;
}
