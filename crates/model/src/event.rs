//! What flows into the engine. Three lanes, drained in this order: execution, command and timer, market.

use crate::{
    Asset, Balance, CancelOutcome, ClientOrderId, ExecutionReport, Fill, Instrument, InstrumentId, MarketEvent,
    Notional, OrderSnapshot, QueryOutcome, ReplaceOutcome, Settlement, StrategyId, SubmitOutcome, Timestamp,
};
use serde::{Deserialize, Serialize};

/// One input of the engine. Engine time is the largest time it has seen.
#[allow(
    clippy::large_enum_variant,
    reason = "events go by reference or through lanes with reused slots; a box would allocate"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Market data.
    Market(MarketEvent),
    /// About our orders and our account.
    Execution(Timestamp, ExecutionEvent),
    /// From a person, the launcher or the stop plan.
    Command(Timestamp, Command),
    /// State of a data stream.
    Feed(Timestamp, FeedEvent),
    /// Time has passed; drives every time-out and schedule of the engine.
    Timer(Timestamp),
}

impl Event {
    /// The time that the event brings with it.
    #[must_use]
    pub const fn ts(&self) -> Timestamp {
        match self {
            Self::Market(event) => event.ts_recv(),
            Self::Execution(ts, _) | Self::Command(ts, _) | Self::Feed(ts, _) | Self::Timer(ts) => *ts,
        }
    }
}

/// News about our orders and our account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutionEvent {
    /// The intent is durable: the placement may leave as soon as the gate is found open. Optional; `Sent` implies it.
    Armed(ClientOrderId),
    /// The first byte of a placement is about to leave; `signed_at` is the venue-clock timestamp that was signed and
    /// `recv_window_ms` how long the venue accepts it. Together with the staleness bound they make the fence.
    Sent {
        /// Our id.
        client_order_id: ClientOrderId,
        /// Signed timestamp on the venue's clock.
        signed_at: Timestamp,
        /// Validity of the signature; unit: milliseconds.
        recv_window_ms: u64,
    },
    /// Answer to a placement.
    Submit(ClientOrderId, SubmitOutcome),
    /// Answer to a cancel.
    Cancel(ClientOrderId, CancelOutcome),
    /// Answer to a cancel-replace.
    Replace {
        /// Id of the order to be cancelled.
        cancel_id: ClientOrderId,
        /// Id of the order to be placed.
        new_id: ClientOrderId,
        /// Both halves.
        outcome: ReplaceOutcome,
    },
    /// Answer to a query by client order id.
    Query(ClientOrderId, QueryOutcome),
    /// A message of the account stream.
    Report(ExecutionReport),
    /// Fills found by asking, with the client order id where it could be told.
    Fills(Vec<(Option<ClientOrderId>, Fill)>),
    /// All open orders of an instrument (or of the account), found by asking.
    OpenOrders(Option<InstrumentId>, Vec<OrderSnapshot>),
    /// Balances: all of them when `complete`, else only those that changed.
    Balances {
        /// Is this the whole account?
        complete: bool,
        /// The balances.
        balances: Vec<Balance>,
        /// The venue's time.
        ts_event: Timestamp,
    },
    /// Fills of one instrument, found by asking for those since a time.
    FillsOf {
        /// The instrument that was asked about.
        instrument: InstrumentId,
        /// The venue's time since when was asked.
        since: Timestamp,
        /// The fills, with the client order id where it could be told.
        fills: Vec<(Option<ClientOrderId>, Fill)>,
    },
    /// The venue announced a deposit, withdrawal or transfer: a change of a balance without a trade.
    Transfer {
        /// Asset.
        asset: Asset,
        /// How much more (or, negative, less) there is.
        change: Notional,
        /// The venue's time.
        ts_event: Timestamp,
    },
}

/// A stream of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamKind {
    /// Market data of an instrument.
    Market(InstrumentId),
    /// The account stream.
    Account,
}

/// State of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedState {
    /// Data is current.
    Live,
    /// No data for longer than expected.
    Stale,
    /// Sequence gap: a new snapshot is on its way; nothing may be decided on the old book.
    Resyncing,
    /// Disconnected.
    Down,
}

/// A change of a stream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedEvent {
    /// A stream changed its state.
    State(StreamKind, FeedState),
    /// Trades were shed because the market lane was full.
    TradesLost {
        /// Instrument.
        instrument: InstrumentId,
        /// How many.
        count: u64,
    },
}

/// What becomes of open orders and positions at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitPolicy {
    /// Cancel orders that would open or add; protective ones stay.
    #[default]
    CancelEntries,
    /// Cancel every order of ours.
    CancelAll,
    /// Leave everything as it is and list it.
    Keep,
    /// Cancel every order of ours and close positions.
    Flatten,
}

/// An instruction to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// No new exposure; open orders stay.
    Pause,
    /// Trade again.
    Resume,
    /// Only orders that reduce positions.
    ReduceOnly,
    /// Strategies see no more events and may no longer ask for orders.
    StopStrategies,
    /// Bring open orders and positions to what the policy asks for.
    Wind(ExitPolicy),
    /// Cancel one order of ours.
    Cancel(ClientOrderId),
    /// Stop everything now: halt, cancel all orders of ours, close positions.
    EmergencyStop(String),
    /// Recovery is complete: open the gate.
    Start,
    /// A person looked an order up at the venue and says what became of it.
    Settle {
        /// Our id.
        client_order_id: ClientOrderId,
        /// What became of it.
        settlement: Settlement,
    },
    /// A person looked at a held instrument: it may be traded again.
    Release(InstrumentId),
    /// This process stood still, or has another reason to doubt its books: compare with the venue before new exposure.
    Reconcile,
    /// A person says that what was latched within the scope may trade again: kill switches, breakers, locks, and for the
    /// account the emergency stop.
    Rearm(RiskScope),
    /// Kill switch: nothing that opens or adds passes within the scope until a person re-arms it. The reason is kept.
    Kill(RiskScope, String),
    /// Cancel our orders and close positions, of one instrument or of all, while the run goes on. Nothing that adds exposure
    /// passes there until a person resumes.
    Flatten(Option<InstrumentId>),
    /// Cancel every order of ours; positions and the trading state stay.
    CancelAll,
    /// The venue has told the rules of an instrument anew: filters, or whether it is open for trading. Of that run alone: a
    /// start asks.
    Instrument(Box<Instrument>),
}

/// Which part of trading a kill switch, a breaker or a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RiskScope {
    /// Everything.
    Account,
    /// Everything that goes to the venue.
    Venue,
    /// One instrument.
    Instrument(InstrumentId),
    /// One strategy.
    Strategy(StrategyId),
}

impl std::fmt::Display for RiskScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Account => f.write_str("the account"),
            Self::Venue => f.write_str("the venue"),
            Self::Instrument(id) => write!(f, "instrument {}", id.0),
            Self::Strategy(id) => write!(f, "strategy {}", id.0),
        }
    }
}
