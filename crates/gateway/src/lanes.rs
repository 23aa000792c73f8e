//! What flows to the engine, in three bounded lanes: execution, command, market.
//!
//! | lane | when it is full |
//! |---|---|
//! | execution | never drops: the orderly stop is asked for, and the reserve for the stop takes what still comes |
//! | command | the sender is told, and may try again |
//! | market | top of book, snapshots, bars and rates: the newest replaces the older; deltas are merged; trades are shed and counted |
//!
//! Invariants: events of one lane keep their order, except that conflated market data comes after what was queued before
//! it; nothing here blocks, so a socket's task may call every method.

use crate::GatewayError;
use crate::conflate::Conflated;
use keel_lifecycle::{StopReason, StopSignal};
use keel_model::{Command, Event, ExecutionEvent, FeedEvent, InstrumentId, MarketEvent, Timestamp};
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// How many events fit into each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCapacity {
    /// Execution lane; at this many the orderly stop is asked for.
    pub execution: usize,
    /// What the execution lane takes beyond that while the system stops.
    pub execution_reserve: usize,
    /// Command lane.
    pub command: usize,
    /// Market lane.
    pub market: usize,
}

impl Default for LaneCapacity {
    fn default() -> Self {
        Self { execution: 16_384, execution_reserve: 49_152, command: 256, market: 8_192 }
    }
}

/// Figures of the lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Execution events that wait.
    pub execution: usize,
    /// Commands that wait.
    pub command: usize,
    /// Market events that wait.
    pub market: usize,
    /// Trades shed so far.
    pub trades_lost: u64,
    /// Market events that were replaced or merged so far.
    pub conflated: u64,
    /// Execution events lost beyond the reserve: recovery at the next start finds what they said.
    pub execution_lost: u64,
}

#[derive(Debug, Default)]
struct State {
    execution: VecDeque<Event>,
    command: VecDeque<Event>,
    market: VecDeque<Event>,
    conflated: Conflated,
    /// Emptied books, kept for their room.
    spent: Vec<MarketEvent>,
    /// Instruments whose book broke behind the lane; at most one entry each.
    resync: BTreeSet<InstrumentId>,
}

/// Books whose room is kept for reuse.
const SPENT_MAX: usize = 64;

/// The lanes. Producers push from any thread; one coordinator takes.
#[derive(Debug)]
pub struct Lanes {
    state: Mutex<State>,
    capacity: LaneCapacity,
    stop: StopSignal,
    wake: Notify,
    /// Is something in the execution or command lane?
    is_urgent: AtomicBool,
    has_ended: AtomicBool,
    trades_lost: AtomicU64,
    conflated: AtomicU64,
    execution_lost: AtomicU64,
}

/// What the coordinator took; reused, so that draining allocates nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// Execution events, oldest first.
    pub execution: VecDeque<Event>,
    /// Commands, oldest first.
    pub command: VecDeque<Event>,
    /// Market and feed events, oldest first.
    pub market: VecDeque<Event>,
}

impl Lanes {
    /// Empty lanes; `stop` is asked when the execution lane is full.
    #[must_use]
    pub fn new(capacity: LaneCapacity, stop: StopSignal) -> Self {
        Self {
            state: Mutex::default(),
            capacity,
            stop,
            wake: Notify::new(),
            is_urgent: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            trades_lost: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            execution_lost: AtomicU64::new(0),
        }
    }

    /// Takes news about our orders and our account. Never drops before its reserve is used up; see the table above.
    pub fn push_execution(&self, ts: Timestamp, event: ExecutionEvent) {
        self.push_urgent(Event::Execution(ts, event));
    }

    /// Takes the state of the account stream, in the order of the execution lane.
    pub fn push_account_state(&self, ts: Timestamp, event: FeedEvent) {
        self.push_urgent(Event::Feed(ts, event));
    }

    fn push_urgent(&self, event: Event) {
        let length = {
            let mut state = self.state.lock();
            let length = state.execution.len();
            if length < self.capacity.execution + self.capacity.execution_reserve {
                state.execution.push_back(event);
            } else {
                self.execution_lost.fetch_add(1, Ordering::Relaxed);
            }
            length + 1
        };
        self.is_urgent.store(true, Ordering::Release);
        self.wake.notify_one();
        if length == self.capacity.execution {
            let what = format!("the execution lane is full ({length} events wait): the engine does not keep up");
            self.stop.request(StopReason::Fault { what });
        }
    }

    /// Takes a command.
    pub fn push_command(&self, ts: Timestamp, command: Command) -> Result<(), GatewayError> {
        if self.has_ended.load(Ordering::Acquire) {
            return Err(GatewayError::Ended);
        }
        {
            let mut state = self.state.lock();
            if state.command.len() >= self.capacity.command {
                return Err(GatewayError::CommandLaneFull { capacity: self.capacity.command });
            }
            state.command.push_back(Event::Command(ts, command));
        }
        self.is_urgent.store(true, Ordering::Release);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes market data.
    pub fn push_market(&self, event: &MarketEvent) {
        {
            let mut state = self.state.lock();
            let State { market, conflated, spent, .. } = &mut *state;
            // Once something is conflated, what follows must be too, or it would overtake.
            if conflated.is_empty() && market.len() < self.capacity.market {
                market.push_back(Event::Market(copy_into(event, spent)));
            } else if matches!(event, MarketEvent::Trade(_)) {
                conflated.count_lost_trade(event.instrument());
                self.trades_lost.fetch_add(1, Ordering::Relaxed);
            } else {
                conflated.merge(event);
                self.conflated.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.wake.notify_one();
    }

    /// Takes the state of a market data stream, in the order of the market lane.
    pub fn push_feed(&self, ts: Timestamp, event: FeedEvent) {
        {
            let mut state = self.state.lock();
            if state.conflated.is_empty() && state.market.len() < self.capacity.market {
                state.market.push_back(Event::Feed(ts, event));
            } else {
                state.conflated.set_state(ts, event);
            }
        }
        self.wake.notify_one();
    }

    /// The book of an instrument is broken: the feed is to fetch a new snapshot.
    pub fn ask_resync(&self, instrument: InstrumentId) {
        self.state.lock().resync.insert(instrument);
    }

    /// The next instrument that a feed is to fetch a new snapshot of.
    #[must_use]
    pub fn take_resync(&self) -> Option<InstrumentId> {
        self.state.lock().resync.pop_first()
    }

    /// Takes everything that waits, execution and commands in full, market data with what was conflated. `now` stamps
    /// the news of shed trades. What is in `batch` stays in front.
    pub fn take(&self, now: Timestamp, batch: &mut Batch) {
        let mut state = self.state.lock();
        Self::take_urgent_locked(&mut state, &self.is_urgent, batch);
        batch.market.append(&mut state.market);
        state.conflated.drain(now, &mut batch.market);
    }

    /// Takes execution events and commands only.
    pub fn take_urgent(&self, batch: &mut Batch) {
        let mut state = self.state.lock();
        Self::take_urgent_locked(&mut state, &self.is_urgent, batch);
    }

    fn take_urgent_locked(state: &mut State, is_urgent: &AtomicBool, batch: &mut Batch) {
        is_urgent.store(false, Ordering::Release);
        batch.execution.append(&mut state.execution);
        batch.command.append(&mut state.command);
    }

    /// Is something in the execution or command lane? One atomic load.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.is_urgent.load(Ordering::Acquire)
    }

    /// Does market data wait?
    #[must_use]
    pub fn has_market(&self) -> bool {
        let state = self.state.lock();
        !state.market.is_empty() || !state.conflated.is_empty()
    }

    /// Gives the room of processed market events back for reuse.
    pub fn recycle(&self, events: &mut Vec<MarketEvent>) {
        let mut state = self.state.lock();
        let room = SPENT_MAX.saturating_sub(state.spent.len());
        let keep = events.len().min(room);
        state.spent.extend(events.drain(..keep));
        drop(state);
        events.clear();
    }

    /// Waits until something was pushed since the last take.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// The coordinator has ended: commands are refused from now on.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Figures.
    #[must_use]
    pub fn status(&self) -> LaneStatus {
        let state = self.state.lock();
        LaneStatus {
            execution: state.execution.len(),
            command: state.command.len(),
            market: state.market.len(),
            trades_lost: self.trades_lost.load(Ordering::Relaxed),
            conflated: self.conflated.load(Ordering::Relaxed),
            execution_lost: self.execution_lost.load(Ordering::Relaxed),
        }
    }
}

/// Copies an event, reusing the room of a spent book where there is one.
fn copy_into(event: &MarketEvent, spent: &mut Vec<MarketEvent>) -> MarketEvent {
    match event {
        MarketEvent::BookDelta(new) => {
            if let Some(at) = spent.iter().rposition(|old| matches!(old, MarketEvent::BookDelta(_)))
                && let MarketEvent::BookDelta(mut delta) = spent.swap_remove(at)
            {
                delta.bids.clone_from(&new.bids);
                delta.asks.clone_from(&new.asks);
                let (bids, asks) = (std::mem::take(&mut delta.bids), std::mem::take(&mut delta.asks));
                return MarketEvent::BookDelta(keel_model::BookDelta {
                    instrument: new.instrument,
                    ts_event: new.ts_event,
                    ts_recv: new.ts_recv,
                    first_update_id: new.first_update_id,
                    last_update_id: new.last_update_id,
                    previous_update_id: new.previous_update_id,
                    bids,
                    asks,
                });
            }
            event.clone()
        }
        _ => event.clone(),
    }
}
