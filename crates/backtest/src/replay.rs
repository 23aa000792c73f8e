//! The driver: one virtual clock, three sources of events in order of time: the venue's answers, the timer, the market.
//!
//! At equal times answers come first, then the timer, then the market, as the lanes of a live run are drained. A way to
//! the venue takes at least a microsecond, so that a strategy that answers every refusal at once cannot stop time.

use crate::desk::Desk;
use crate::report::{self, ReplayReport};
use crate::sync::Sync;
use keel_engine::{Effect, Engine, EngineConfig, EngineError, Notice, Outbox, StateDigest};
use keel_model::{Asset, Command, Event, ExecutionEvent, ExitPolicy, MarketEvent, Notional, StatusSnapshot, Timestamp};
use keel_sim::{Delivery, MarketKind, MatchingEngine, SimConfig, SimError};
use keel_strategy::Strategy;
use std::fmt;
use std::time::Duration;

mod l2;

/// Least time a request takes to the venue.
const WAY_MIN: Duration = Duration::from_micros(1);

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
    syncs: Vec<Sync>,
    // Reused from event to event.
    effects: Vec<Effect>,
    deliveries: Vec<Delivery>,
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
        let mut sim = config.sim;
        sim.latency.order_in = sim.latency.order_in.max(WAY_MIN);
        let recv_window_ms = config.engine.execution.recv_window_ms;
        let mut venue = MatchingEngine::new(sim);
        for instrument in &config.engine.instruments {
            venue.add_market(instrument.clone(), MarketKind::External)?;
        }
        let account = venue.add_account(&config.balances)?;
        let syncs = config.engine.instruments.iter().map(|_| Sync::default()).collect();
        Ok(Self {
            engine: Engine::new(config.engine, strategies)?,
            desk: Desk::new(venue, account, recv_window_ms),
            outbox: Outbox::new(),
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
            syncs,
            effects: Vec::with_capacity(64),
            deliveries: Vec::with_capacity(64),
            immediate: Vec::with_capacity(8),
        })
    }

    /// Tells `observer` everything that the engine tells, as it happens.
    pub fn observe(&mut self, observer: NoticeObserver) {
        self.observer = Some(observer);
    }

    /// One market event. Everything that is due before it happens first; then venue and engine see it.
    pub fn feed(&mut self, event: &MarketEvent) {
        let at = event.ts_recv().max(self.now);
        if self.begun.is_none() {
            self.begin(at);
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
        self.engine.process_market(event, &mut self.outbox);
        self.dispatch();
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
    }

    /// Lets everything happen that is due by `at`, and makes `at` the present time.
    pub fn run_until(&mut self, at: Timestamp) {
        if self.begun.is_none() {
            return;
        }
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
        let mut is_wound = self.begun.is_none();
        if self.begun.is_some() {
            let deadline = self.now.plus(self.stop_time_max);
            self.engine.process(&Event::Command(self.now, Command::Wind(self.exit_policy)), &mut self.outbox);
            self.dispatch();
            while !self.engine.is_wound() {
                let due = self.desk.next_at().map_or(self.next_timer, |at| at.min(self.next_timer));
                if due > deadline {
                    break;
                }
                self.run_until(due);
            }
            is_wound = self.engine.is_wound();
        }
        report::make(&self.engine, &self.desk, &self.balances, is_wound, self.begun, self.now, self.refused)
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
    }

    fn tick(&mut self) {
        self.now = self.now.max(self.next_timer);
        self.engine.note_clock(Some(0), self.next_timer);
        self.engine.process_timer(self.next_timer, &mut self.outbox);
        self.next_timer = self.next_timer.plus(self.timer_interval);
        self.dispatch();
    }

    /// What arrives at the venue or from it at this time.
    fn deliver(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.desk.arrivals(at, &mut deliveries);
        for delivery in deliveries.drain(..) {
            let Some(event) = self.desk.read(delivery) else { continue };
            self.engine.process_execution(at, &event, &mut self.outbox);
            self.dispatch();
        }
        self.deliveries = deliveries;
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
            effects.extend(self.outbox.drain());
            for effect in effects.drain(..) {
                if let Effect::Notify(notice) = &effect {
                    if let Some(observer) = &mut self.observer {
                        observer(self.now, notice);
                    }
                    continue;
                }
                self.desk.send(self.now, effect, &mut self.immediate);
                let mut immediate = std::mem::take(&mut self.immediate);
                for event in immediate.drain(..) {
                    self.engine.process_execution(self.now, &event, &mut self.outbox);
                }
                self.immediate = immediate;
            }
        }
        self.effects = effects;
    }
}
