//! The driver: one virtual clock, three sources of events in order of time: the venue's answers, the timer, the market.
//!
//! At equal times answers come first, then the timer, then the market, as the lanes of a live run are drained. A way to
//! the venue takes at least a microsecond, so that a strategy that answers every refusal at once cannot stop time. Where ways
//! take no time ([`ReplayConfig::is_instant`]), what was decided on an event has happened before the next one, in a bounded
//! number of rounds.

use crate::desk::Desk;
use crate::report::{self, ReplayReport};
use crate::result::{OrderLog, Refusal};
use crate::sync::Sync;
use crate::trades::{TradeLog, TradeRow};
use keel_engine::{Effect, Engine, EngineConfig, EngineError, Notice, Outbox, StateDigest};
use keel_model::{Asset, Command, Event, ExecutionEvent, ExitPolicy, MarketEvent, Notional, StatusSnapshot, Timestamp};
use keel_sim::{AccountId, LatencyModel, MarketKind, MatchingEngine, SimConfig, SimError, bridge};
use keel_strategy::Strategy;
use std::fmt;
use std::time::Duration;

mod bars;
mod l2;

/// Least time a request takes to the venue.
const WAY_MIN: Duration = Duration::from_micros(1);
/// Time for the start before the first row of a job.
const START_TIME: Duration = Duration::from_secs(600);
/// Most rounds of answers within one event where ways take no time.
const ROUNDS_MAX: usize = 256;

/// Closed orders and trades that venue and engine remember where ways take no time.
const REMEMBERED: usize = 64;

/// Why a replay cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The engine refused its configuration.
    #[error("engine: {0}")]
    Engine(#[from] EngineError),
    /// The simulated venue refused an instrument or a balance.
    #[error("simulated venue: {0}")]
    Sim(#[from] SimError),
    /// The timer's interval is zero.
    #[error("timer_interval is zero; give a span, 100 ms is usual")]
    TimerInterval,
    /// Money in several assets cannot be added up.
    #[error("instruments quoted in {first} and in {other} in one backtest; run them one by one")]
    QuoteAssets {
        /// The first instrument's.
        first: Asset,
        /// Another one's.
        other: Asset,
    },
    /// Rows that run backwards.
    #[error("{series}: row {row} is older than the one before it; sort the data first")]
    Unsorted {
        /// Which series.
        series: String,
        /// Which row, counted from zero.
        row: usize,
    },
}

/// Everything a replay needs to know before its first event.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// The engine's own configuration, as in a live run.
    pub engine: EngineConfig,
    /// The simulated venue: seed, fees, latency, queue model.
    pub sim: SimConfig,
    /// What the account holds at the start.
    pub balances: Vec<(Asset, Notional)>,
    /// How often the engine is told the time.
    pub timer_interval: Duration,
    /// Where the liquidity of each instrument comes from, by its number; what is not named is a recorded market.
    pub markets: Vec<MarketKind>,
    /// Do requests and answers take no time at all? The latency of `sim` is not used then.
    pub is_instant: bool,
    /// Are trades from flat to flat followed?
    pub has_trades: bool,
    /// Are orders and fills kept one by one?
    pub has_log: bool,
    /// What becomes of open orders and positions at the end.
    pub exit_policy: ExitPolicy,
    /// How long the end may take, in virtual time.
    pub stop_time_max: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            engine: EngineConfig::default(),
            sim: SimConfig { publish_market_data: false, ..SimConfig::default() },
            balances: Vec::new(),
            timer_interval: Duration::from_millis(100),
            markets: Vec::new(),
            is_instant: false,
            has_trades: false,
            has_log: false,
            exit_policy: ExitPolicy::default(),
            stop_time_max: Duration::from_secs(30),
        }
    }
}

/// Hears what the engine tells.
pub type NoticeObserver = Box<dyn FnMut(Timestamp, &Notice) + Send>;

/// A run of the live engine over given market events.
pub struct Replay {
    engine: Engine,
    desk: Desk,
    outbox: Outbox,
    observer: Option<NoticeObserver>,
    balances: Vec<(Asset, Notional)>,
    timer_interval: Duration,
    exit_policy: ExitPolicy,
    stop_time_max: Duration,
    now: Timestamp,
    /// Time of the first event; `None` before it.
    begun: Option<Timestamp>,
    next_timer: Timestamp,
    is_started: bool,
    refused: u64,
    is_instant: bool,
    trades: Option<TradeLog>,
    log: Option<OrderLog>,
    refusals: Vec<Refusal>,
    /// Funding received, in the quote asset of its perpetual.
    funding: Notional,
    syncs: Vec<Sync>,
    // Reused from event to event.
    effects: Vec<Effect>,
    immediate: Vec<ExecutionEvent>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("now", &self.now).field("is_started", &self.is_started).finish_non_exhaustive()
    }
}

impl Replay {
    /// Sets up engine and venue. The run begins with the first event.
    pub fn new(config: ReplayConfig, strategies: Vec<Box<dyn Strategy>>) -> Result<Self, BacktestError> {
        if config.timer_interval.is_zero() {
            return Err(BacktestError::TimerInterval);
        }
        let (mut sim, mut config) = (config.sim, config);
        if config.is_instant {
            sim.latency = LatencyModel::default();
            // Nothing is asked about that is over; what was done counts in the digest whether or not it is remembered.
            let (limits, execution) = (&mut sim.limits, &mut config.engine.execution);
            limits.closed_orders_max = limits.closed_orders_max.min(REMEMBERED);
            limits.account_trades_max = limits.account_trades_max.min(REMEMBERED);
            execution.closed_orders_max = execution.closed_orders_max.min(REMEMBERED);
            execution.trade_ids_max = execution.trade_ids_max.min(16 * REMEMBERED);
        } else {
            sim.latency.order_in = sim.latency.order_in.max(WAY_MIN);
        }
        let recv_window_ms = config.engine.execution.recv_window_ms;
        let mut venue = MatchingEngine::new(sim);
        for instrument in &config.engine.instruments {
            let kind = config.markets.get(instrument.id.index()).copied().unwrap_or(MarketKind::External);
            venue.add_market(instrument.clone(), kind)?;
        }
        let account = venue.add_account(&config.balances)?;
        let syncs = config.engine.instruments.iter().map(|_| Sync::default()).collect();
        Ok(Self {
            engine: Engine::new(config.engine, strategies)?,
            desk: Desk::new(venue, account, recv_window_ms, config.is_instant),
            outbox: Outbox::terse(),
            observer: None,
            balances: config.balances,
            timer_interval: config.timer_interval,
            exit_policy: config.exit_policy,
            stop_time_max: config.stop_time_max,
            now: Timestamp::ZERO,
            begun: None,
            next_timer: Timestamp::ZERO,
            is_started: false,
            refused: 0,
            is_instant: config.is_instant,
            trades: config.has_trades.then(TradeLog::default),
            log: config.has_log.then(OrderLog::default),
            refusals: Vec::new(),
            funding: Notional::ZERO,
            syncs,
            effects: Vec::with_capacity(64),
            immediate: Vec::with_capacity(8),
        })
    }

    /// Tells `observer` everything that the engine tells, as it happens.
    pub fn observe(&mut self, observer: NoticeObserver) {
        self.outbox = Outbox::new();
        self.observer = Some(observer);
    }

    /// One market event. Everything that is due before it happens first; then venue and engine see it.
    pub fn feed(&mut self, event: &MarketEvent) {
        self.feed_at(event, event.ts_recv());
    }

    /// As [`Self::feed`], where it is known when the event is received.
    #[inline]
    pub(crate) fn feed_at(&mut self, event: &MarketEvent, ts_recv: Timestamp) {
        let at = ts_recv.max(self.now);
        if self.begun.is_none() {
            self.begin(at);
        }
        match event {
            MarketEvent::Bar(bar) if bar.is_closed => return self.feed_bar(bar, event),
            MarketEvent::FundingRate(funding) => self.feed_funding(funding),
            _ => {}
        }
        self.run_until(at);
        if !self.desk.on_market(event) {
            self.refused += 1;
            return;
        }
        match (event, self.syncs.get_mut(event.instrument().index())) {
            (MarketEvent::BookDelta(delta), Some(sync)) => {
                if sync.delta(delta) {
                    self.decide_on(event);
                }
            }
            (MarketEvent::BookSnapshot(snapshot), Some(sync)) => {
                let following = sync.snapshot(snapshot);
                self.decide_on(event);
                for delta in following {
                    self.decide_on(&MarketEvent::BookDelta(delta));
                }
            }
            _ => self.decide_on(event),
        }
    }

    fn decide_on(&mut self, event: &MarketEvent) {
        self.settle();
        self.engine.process_market(event, &mut self.outbox);
        self.dispatch();
        self.settle();
    }

    /// Where ways take no time: lets everything happen that has been asked for, answer by answer, until nothing is on its
    /// way. What is left after [`ROUNDS_MAX`] rounds happens with the next event.
    fn settle(&mut self) {
        if !self.is_instant {
            return;
        }
        for _ in 0..ROUNDS_MAX {
            match self.desk.next_at() {
                Some(due) if due <= self.now => self.deliver(self.now),
                _ => return,
            }
        }
    }

    /// All events of an iterator.
    pub fn feed_all(&mut self, events: impl IntoIterator<Item = MarketEvent>) {
        for event in events {
            self.feed(&event);
        }
    }

    /// Something else than market data: a command of a person, the state of a stream. Happens at the run's present time.
    pub fn command(&mut self, event: &Event) {
        self.run_until(event.ts().max(self.now));
        self.engine.process(event, &mut self.outbox);
        self.dispatch();
        self.settle();
    }

    /// Lets everything happen that is due by `at`, and makes `at` the present time.
    pub fn run_until(&mut self, at: Timestamp) {
        if self.begun.is_none() {
            return;
        }
        if at < self.next_timer && self.desk.next_at().is_none_or(|due| due > at) {
            self.now = self.now.max(at);
            return;
        }
        self.skip_idle_time(at);
        loop {
            let venue = self.desk.next_at().filter(|due| *due <= at);
            match venue {
                Some(due) if due <= self.next_timer => self.deliver(due),
                _ if self.next_timer <= at => self.tick(),
                _ => break,
            }
        }
        self.now = self.now.max(at);
    }

    /// The end: stops the strategies, winds down by the exit policy within its time, and tells how it went.
    pub fn finish(mut self) -> ReplayReport {
        let is_wound = self.wind();
        report::make(&self.engine, &self.desk, &self.balances, is_wound, self.begun, self.now, self.refused)
    }

    /// Winds down by the exit policy; answers whether it got there in time.
    pub(crate) fn wind(&mut self) -> bool {
        let mut is_wound = self.begun.is_none();
        if self.begun.is_some() {
            let deadline = self.now.plus(self.stop_time_max);
            // What the venue has closed needs no closing.
            let is_closed = self.desk.venue().liquidation().is_some();
            let policy = if is_closed { ExitPolicy::Keep } else { self.exit_policy };
            self.engine.process(&Event::Command(self.now, Command::Wind(policy)), &mut self.outbox);
            self.dispatch();
            self.settle();
            while !self.engine.is_wound() {
                let due = self.desk.next_at().map_or(self.next_timer, |at| at.min(self.next_timer));
                if due > deadline {
                    break;
                }
                self.run_until(due);
            }
            is_wound = self.engine.is_wound();
        }
        is_wound
    }

    /// Where ways take no time and no order is open, nothing can happen before `at`: of the ticks until then only the last is
    /// told.
    #[inline]
    fn skip_idle_time(&mut self, at: Timestamp) {
        if !self.is_instant || self.next_timer.plus(self.timer_interval) > at {
            return;
        }
        if self.desk.next_at().is_some() || self.desk.venue().has_open_orders() {
            return;
        }
        let interval = u64::try_from(self.timer_interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let ticks = at.since(self.next_timer).as_nanos() / u128::from(interval);
        let skipped = u64::try_from(ticks).unwrap_or(u64::MAX).saturating_mul(interval);
        self.next_timer = Timestamp::from_ns(self.next_timer.as_ns().saturating_add(skipped));
    }

    /// Where ways take time: begins so much before the first row that the start is complete when it comes.
    pub(crate) fn begin_early(&mut self, first: Timestamp) {
        if self.begun.is_none() && !self.is_instant {
            self.begin(first.minus(START_TIME));
        }
    }

    /// The trades so far, for reading; `None` where they are not followed.
    pub(crate) const fn trades(&self) -> Option<&TradeLog> {
        self.trades.as_ref()
    }

    /// Trades from flat to flat so far, where they are followed.
    pub(crate) fn take_trades(&mut self) -> Vec<TradeRow> {
        self.trades.take().map(TradeLog::into_closed).unwrap_or_default()
    }

    /// Orders and fills so far, where they are kept.
    pub(crate) fn take_log(&mut self) -> OrderLog {
        self.log.take().unwrap_or_default()
    }

    /// What was refused so far, by whom and why.
    pub(crate) const fn refusals(&self) -> &Vec<Refusal> {
        &self.refusals
    }

    /// Funding received so far.
    pub(crate) const fn funding(&self) -> Notional {
        self.funding
    }

    /// The account at the venue.
    pub(crate) const fn account(&self) -> AccountId {
        self.desk.account()
    }

    /// Market events that could not be used so far.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// The engine, for reading.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The simulated venue, for reading.
    #[must_use]
    pub const fn venue(&self) -> &MatchingEngine {
        self.desk.venue()
    }

    /// The present time of the run.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The state of the run.
    #[must_use]
    pub fn status(&self) -> StatusSnapshot {
        self.engine.status()
    }

    /// The fingerprint of the trading state.
    #[must_use]
    pub fn digest(&self) -> StateDigest {
        self.engine.digest()
    }

    /// Start is recovery here too: the venue is asked first, and trading starts when it has answered.
    fn begin(&mut self, at: Timestamp) {
        self.begun = Some(at);
        self.now = at;
        self.next_timer = at.plus(self.timer_interval);
        // Venue and engine live on one virtual clock.
        self.engine.note_clock(Some(0), at);
        self.engine.recover(std::iter::empty(), at, &mut self.outbox);
        self.dispatch();
        self.settle();
    }

    fn tick(&mut self) {
        self.now = self.now.max(self.next_timer);
        self.engine.note_clock(Some(0), self.next_timer);
        self.engine.process_timer(self.next_timer, &mut self.outbox);
        self.next_timer = self.next_timer.plus(self.timer_interval);
        self.dispatch();
        self.settle();
    }

    /// What arrives at the venue or from it at this time.
    fn deliver(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        for _ in 0..self.desk.arrivals(at) {
            let Some(event) = self.desk.take(at) else { break };
            let Some(event) = event else { continue };
            self.engine.process_execution(at, &event, &mut self.outbox);
            self.dispatch();
        }
        while let Some((order, filled)) = self.desk.first_filled() {
            let report = ExecutionEvent::Report(bridge::filled_at_once(order, filled, at));
            let (balances, ts) = (bridge::changed_balances(&filled.balances), filled.balances.ts);
            self.desk.drop_first_filled();
            self.engine.process_execution(at, &report, &mut self.outbox);
            self.dispatch();
            self.engine.process_balances(at, &balances, ts, &mut self.outbox);
            self.dispatch();
        }
    }

    /// Empties the outbox, and what that leads to, into the venue.
    fn dispatch(&mut self) {
        if !self.outbox.is_empty() {
            self.dispatch_all();
        }
        if !self.is_started && self.engine.start_blocker().is_none() {
            self.is_started = true;
            self.engine.process(&Event::Command(self.now, Command::Start), &mut self.outbox);
            self.dispatch_all();
        }
    }

    fn dispatch_all(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        while !self.outbox.is_empty() {
            self.outbox.take_into(&mut effects);
            for effect in effects.drain(..) {
                if let Effect::Notify(notice) = &effect {
                    match notice {
                        Notice::Fill { id, strategy, fill } => self.note_fill(*id, *strategy, fill),
                        Notice::Denied(..) | Notice::DeniedMore { .. } | Notice::Order { .. } => {
                            self.note_refusal(notice)
                        }
                        _ => {}
                    }
                    if let Some(observer) = &mut self.observer {
                        observer(self.now, notice);
                    }
                    continue;
                }
                if let Some(log) = &mut self.log {
                    log.note(self.now, &effect);
                }
                self.desk.send(self.now, effect, &mut self.immediate);
                let mut immediate = std::mem::take(&mut self.immediate);
                for event in immediate.drain(..) {
                    match event {
                        // What it led to follows at once.
                        ExecutionEvent::Sent { client_order_id, signed_at, recv_window_ms } if self.is_instant => {
                            self.engine.note_sent(client_order_id, signed_at, recv_window_ms, &mut self.outbox);
                        }
                        event => self.engine.process_execution(self.now, &event, &mut self.outbox),
                    }
                }
                self.immediate = immediate;
            }
        }
        self.effects = effects;
    }
}
