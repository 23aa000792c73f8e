//! One start of one bot: the product's engine and adapter, and what a process holds besides. A crash drops it.
//!
//! Invariant: nothing in here outlives the process; what does is the journal.

use crate::kit::{BOTS, Kit};
use crate::strategy::Greedy;
use keel_engine::{Engine, Outbox, RecoveredRecord};
use keel_exchange::AccountSink;
use keel_exchange::binance::spot::VenueClock;
use keel_exchange::binance::spot::limits::{RateLimits, Times};
use keel_exchange::binance::spot::order_ids::OrderIds;
use keel_exchange::binance::spot::session::account::AccountSession;
use keel_exchange::binance::spot::session::backoff::ConnectBudget;
use keel_exchange::binance::spot::session::{Action, LinkId, Now};
use keel_lifecycle::Clock;
use keel_model::{
    Balance, CancelOrder, ExecutionEvent, ExecutionReport, FeedState, Fill, InstrumentId, NewOrder, QueryOrder,
    ReplaceOrder, Timestamp,
};
use keel_venue::FacePeer;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A placement that waits for its intent to become durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    One(NewOrder),
    Replace(ReplaceOrder),
}

impl Placement {
    pub(crate) const fn new_order(&self) -> &NewOrder {
        match self {
            Self::One(order) => order,
            Self::Replace(replace) => &replace.new,
        }
    }
}

/// What is asked of the venue.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Submit(NewOrder),
    Replace(ReplaceOrder),
    Cancel(CancelOrder),
    Query(QueryOrder),
    OpenOrders(Option<InstrumentId>),
    Fills {
        instrument: InstrumentId,
        since: Timestamp,
    },
    Balances,
    /// The venue's time, for a connection that is to be subscribed.
    Clock(LinkId),
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The venue's time is asked first.
    Clock,
    /// The request itself.
    Main,
    /// Whose orders the trades are of.
    Learn,
}

/// A call under way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) stage: Stage,
    /// Which request of it; answers to earlier ones are not waited for any more.
    pub(crate) request: u32,
    pub(crate) deadline_ms: u64,
    pub(crate) sent_mono_ns: u64,
    pub(crate) is_under_way: bool,
    pub(crate) attempts: u32,
    pub(crate) was_asked_again: bool,
    pub(crate) time: Option<Timestamp>,
    pub(crate) trades: Vec<(i64, i64, Fill)>,
}

/// What the account session tells.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are reports, and a box for each would cost more")]
pub(crate) enum Told {
    Report(ExecutionReport),
    Balances(Vec<Balance>, Timestamp),
    State(FeedState),
}

/// Collects what the account session tells within one step.
#[derive(Debug, Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<Told>>);

impl AccountSink for Heard {
    fn on_report(&self, report: ExecutionReport) {
        self.0.lock().push(Told::Report(report));
    }
    fn on_balances(&self, balances: Vec<Balance>, ts_event: Timestamp) {
        self.0.lock().push(Told::Balances(balances, ts_event));
    }
    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        self.0.lock().push(Told::State(state));
    }
}

/// The far end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: LinkId,
    pub(crate) face: FacePeer,
    /// Frames arrive in order unless a fault says otherwise.
    pub(crate) last_delivery_ms: u64,
    pub(crate) silent_until_ms: u64,
}

/// The process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) out: Outbox,
    is_active: Arc<AtomicBool>,
    /// Records of earlier starts, until the account stream is up.
    pub(crate) records: Option<Vec<RecoveredRecord>>,
    pub(crate) lane: VecDeque<ExecutionEvent>,
    pub(crate) states: VecDeque<FeedState>,
    pub(crate) is_account_live: bool,
    pub(crate) is_started: bool,
    /// What the venue has answered since this start: open orders, balances. Trades are not asked for at a first start.
    pub(crate) answered: [bool; 2],
    /// A comparison with the venue was begun after the faults stopped, and it came to its end.
    pub(crate) is_compared: bool,
    pub(crate) is_comparing: bool,
    /// Monotonic time alone; wall time is the bot's.
    pub(crate) clock: Clock,
    pub(crate) venue_clock: VenueClock,
    pub(crate) limits: RateLimits,
    pub(crate) order_ids: OrderIds,
    pub(crate) budget: ConnectBudget,
    pub(crate) session: AccountSession,
    pub(crate) heard: Heard,
    pub(crate) actions: Vec<Action>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) calls: Vec<Option<Call>>,
    pub(crate) next_request: u32,
    pub(crate) waiting: VecDeque<(u64, Placement)>,
    pub(crate) is_disk_busy: bool,
}

impl Process {
    pub(crate) fn new(
        kit: &Kit,
        instance: u32,
        epoch: u32,
        recv_window_ms: u64,
        seed: u64,
        start_ns: u64,
        is_active: bool,
    ) -> Result<Self, String> {
        let is_active = Arc::new(AtomicBool::new(is_active));
        let strategy = Greedy::new(seed, Arc::clone(&is_active));
        let config = kit.engine(instance, epoch, recv_window_ms);
        let engine = Engine::new(config, vec![Box::new(strategy)]).map_err(|error| error.to_string())?;
        let clock = Clock::manual_at(start_ns);
        Ok(Self {
            engine,
            out: Outbox::new(),
            is_active,
            records: None,
            lane: VecDeque::new(),
            states: VecDeque::new(),
            is_account_live: false,
            is_started: false,
            answered: [false; 2],
            is_compared: false,
            is_comparing: false,
            venue_clock: VenueClock::new(clock.clone()),
            clock,
            limits: RateLimits::default(),
            order_ids: OrderIds::default(),
            budget: ConnectBudget::new(kit.streams.connects_per_5min_max * BOTS as u32),
            session: AccountSession::new(kit.streams.clone(), recv_window_ms, kit.symbols.clone(), seed | 1),
            heard: Heard::default(),
            actions: Vec::new(),
            peers: Vec::new(),
            calls: Vec::new(),
            next_request: 1,
            waiting: VecDeque::new(),
            is_disk_busy: false,
        })
    }

    /// Takes note of what the venue has answered since this start.
    pub(crate) fn note_answer(&mut self, event: &ExecutionEvent) {
        let at = match event {
            ExecutionEvent::OpenOrders(None, _) => 0,
            ExecutionEvent::Balances { complete: true, .. } => 1,
            _ => return,
        };
        if let Some(answered) = self.answered.get_mut(at) {
            *answered = true;
        }
    }

    pub(crate) fn quiet(&self) {
        self.is_active.store(false, Ordering::Relaxed);
    }

    pub(crate) fn now(&self, wall: Timestamp) -> Now {
        Now { wall, mono_ns: self.clock.mono_ns() }
    }

    /// The times that the venue's limits go by.
    pub(crate) fn times(&self, wall: Timestamp) -> Times {
        let venue_ms = self.venue_clock.now().map_or_else(|| wall.as_ms(), Timestamp::as_ms);
        Times { mono_ms: self.clock.mono_ns() / 1_000_000, venue_ms }
    }

    /// A place for a call.
    pub(crate) fn add_call(&mut self, ask: Ask, stage: Stage) -> usize {
        let call = Call {
            ask,
            stage,
            request: 0,
            deadline_ms: 0,
            sent_mono_ns: 0,
            is_under_way: false,
            attempts: 0,
            was_asked_again: false,
            time: None,
            trades: Vec::new(),
        };
        match self.calls.iter().position(Option::is_none) {
            Some(at) => {
                self.calls[at] = Some(call);
                at
            }
            None => {
                self.calls.push(Some(call));
                self.calls.len() - 1
            }
        }
    }

    pub(crate) fn call(&mut self, at: usize) -> Option<&mut Call> {
        self.calls.get_mut(at)?.as_mut()
    }
}
