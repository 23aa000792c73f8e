//! What the engine asks of the world and tells about itself.

use crate::ledger::Difference;
use keel_execution::parents::{ParentNews, ParentRecord, ParentState};
use keel_execution::{Alarm, Change, OrderState, SettleError};
use keel_model::{
    Asset, BalanceCause, CancelOrder, ClientOrderId, ExitPolicy, FeedState, Fill, Finding, InstrumentId, NewOrder,
    Notional, QueryOrder, ReplaceOrder, Settlement, Side, StrategyId, StreamKind, Timestamp, TradingState,
};
use keel_risk::{Approved, Denied};

/// One request to the world.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Place an order: make the intent durable, look at the gate, sign, send.
    Submit(Approved<NewOrder>),
    /// Cancel an order. Never waits for the journal.
    Cancel(CancelOrder),
    /// Cancel an order and place another in one request.
    Replace(Approved<ReplaceOrder>),
    /// Ask about an order by client order id; the venue's time first.
    Query(QueryOrder),
    /// Ask for the open orders of an instrument or of the account.
    FetchOpenOrders(Option<InstrumentId>),
    /// Ask for the fills of an instrument since a time.
    FetchFills(InstrumentId, Timestamp),
    /// Ask for all balances.
    FetchBalances,
    /// Tell: for log, journal and metrics.
    Notify(Notice),
}

/// What keeps the engine from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartBlocker {
    /// The venue's open orders are not known yet.
    #[error("the venue has not told its open orders yet")]
    OpenOrders,
    /// Fills that were asked for have not come.
    #[error("the venue has not told the fills that were asked for")]
    Fills,
    /// A balance does not add up; it is looked at again, and then judged.
    #[error("a balance does not add up; it is looked at once more")]
    Doubt,
    /// Balances are not known yet.
    #[error("the venue has not told the balances yet")]
    Balances,
    /// Orders of unknown outcome, or with fills missing.
    #[error("{0} orders of unknown outcome or with fills missing")]
    Unresolved(usize),
    /// Recovery is complete, but trading has not been started.
    #[error("trading has not been started")]
    NotStarted,
    /// The stop has begun; only a new start trades again.
    #[error("the stop has begun; only a new start trades again")]
    Stopped,
    /// An emergency stop is latched.
    #[error("an emergency stop is latched; a person must remove it")]
    Emergency,
}

/// Something that happened, for log, journal and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Risk denied an order, and which.
    Denied(Denied, NewOrder),
    /// Denials beyond what is told singly, since the last such notice.
    DeniedMore {
        /// How many.
        count: u64,
    },
    /// An order's state changed.
    Order {
        /// Our id.
        id: ClientOrderId,
        /// Whose order.
        strategy: StrategyId,
        /// Instrument.
        instrument: InstrumentId,
        /// Side.
        side: Side,
        /// State before.
        from: OrderState,
        /// State now.
        to: OrderState,
        /// What lies behind it.
        change: Change,
    },
    /// A fill was booked.
    Fill {
        /// Our id.
        id: ClientOrderId,
        /// Whose order.
        strategy: StrategyId,
        /// The fill.
        fill: Fill,
    },
    /// Something that a person should know.
    Alarm {
        /// What.
        alarm: Alarm,
        /// The instrument that is held because of it.
        held: Option<InstrumentId>,
    },
    /// What risk allows has changed.
    TradingState {
        /// Before.
        from: TradingState,
        /// Now.
        to: TradingState,
    },
    /// A stream changed its state.
    Feed(StreamKind, FeedState),
    /// Trades were shed before they reached the engine.
    TradesLost {
        /// Instrument.
        instrument: InstrumentId,
        /// How many.
        count: u64,
    },
    /// A book became unusable; it waits for a snapshot.
    BookBroken {
        /// Instrument.
        instrument: InstrumentId,
        /// What was wrong with the data.
        error: keel_marketdata::BookError,
    },
    /// The daily loss limit is reached.
    DailyLoss {
        /// Profit of the day.
        day_pnl: Notional,
    },
    /// The start was refused.
    StartRefused(StartBlocker),
    /// Trading has begun.
    Started,
    /// A strategy asked for more in one event than is taken.
    RequestsRefused {
        /// Whose requests; `None` when several strategies answered each other without end.
        strategy: Option<StrategyId>,
        /// How many.
        count: u32,
    },
    /// The engine starts to bring orders and positions to what the policy asks for.
    Winding(ExitPolicy),
    /// Nothing is left to do for the exit policy; the venue has confirmed it.
    Wound(ExitPolicy),
    /// What a person had flattened while the run goes on is flat; the venue has confirmed it.
    Flattened,
    /// Emergency stop, with the reason given.
    EmergencyStop(String),
    /// A kill switch was thrown: nothing that opens or adds passes within the scope until a person re-arms it.
    Killed {
        /// What it covers.
        scope: keel_model::RiskScope,
        /// Why.
        reason: String,
    },
    /// A guard of risk did something: a breaker opened or closed, a lock was set, a kill switch was thrown.
    Guard(keel_risk::GuardEvent),
    /// What a restart must not forget has changed: to be made durable at once.
    Latches(Box<keel_risk::RiskSnapshot>),
    /// The account stream is gone for too long: what would open or add is cancelled (RC-19).
    Disconnected {
        /// Gone for; unit: milliseconds.
        gone_ms: u64,
        /// Orders that are being cancelled.
        orders: usize,
    },
    /// A person re-armed what was latched within the scope.
    Rearmed(keel_model::RiskScope),
    /// The state of the account is being compared with the venue.
    Reconciling,
    /// The venue has answered every question of a reconciliation.
    Reconciled,
    /// A comparison with the venue found something that must outlive a restart; the driver writes it into the journal.
    Found(Finding),
    /// A balance changed without a trade of ours: by an announced transfer, or from outside and taken over.
    BalanceChanged {
        /// Asset.
        asset: Asset,
        /// How much more (or, negative, less) there is.
        change: Notional,
        /// Why it counts.
        cause: BalanceCause,
    },
    /// A balance does not add up; the instruments of the asset are held.
    Mismatch(Difference),
    /// A parent order changed in a way that must outlive a restart; the driver writes it into the journal, before the intents
    /// that follow.
    ParentRecord(ParentRecord),
    /// An order has worked for too long without filling; its cancel is on the way.
    Unfilled {
        /// Our id.
        id: ClientOrderId,
        /// Whose order.
        strategy: StrategyId,
        /// Instrument.
        instrument: InstrumentId,
        /// What it was for.
        purpose: keel_model::OrderPurpose,
    },
    /// News about a parent order.
    Parent {
        /// About whom.
        about: ParentState,
        /// What.
        news: ParentNews,
    },
    /// A person released an instrument.
    Released {
        /// Which.
        instrument: InstrumentId,
        /// How many reasons there were.
        holds: usize,
    },
    /// A person said what became of an order.
    Settled {
        /// Our id.
        id: ClientOrderId,
        /// What became of it.
        settlement: Settlement,
    },
    /// A person's word about an order was not taken.
    SettleRefused {
        /// Why not.
        error: SettleError,
    },
    /// The portfolio could not book something: the numbers do not fit.
    Booking {
        /// Instrument that is held because of it.
        instrument: Option<InstrumentId>,
        /// Why.
        error: keel_model::PortfolioError,
    },
    /// The venue has told the rules of an instrument anew.
    Instrument {
        /// Which.
        instrument: InstrumentId,
        /// Was it open for trading?
        from: keel_model::InstrumentStatus,
        /// Is it now?
        to: keel_model::InstrumentStatus,
    },
}

/// Effects in the order in which they came. Reused: drained by the driver after each event, it keeps its room.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
    is_terse: bool,
}

impl Outbox {
    /// Empty, with room for a usual event.
    #[must_use]
    pub fn new() -> Self {
        Self { effects: Vec::with_capacity(256), is_terse: false }
    }

    /// As [`Self::new`], for drivers that care for requests and fills: the steps of an order are told only where the venue or
    /// we refused it.
    #[must_use]
    pub fn terse() -> Self {
        Self { is_terse: true, ..Self::new() }
    }

    /// Are the steps of orders that go as they should left out?
    #[inline]
    pub(crate) const fn is_terse(&self) -> bool {
        self.is_terse
    }

    /// Adds an effect.
    #[inline]
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.effects.push(Effect::Notify(notice));
    }

    /// Takes everything out, first in first out, and keeps the room.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// Takes everything out in exchange for an empty list, whose room it keeps. What is in `into` is dropped.
    pub fn take_into(&mut self, into: &mut Vec<Effect>) {
        into.clear();
        std::mem::swap(&mut self.effects, into);
    }

    /// What is in it.
    #[must_use]
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Is nothing in it?
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}
