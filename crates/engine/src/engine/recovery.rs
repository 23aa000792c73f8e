//! Start is recovery, and a stream that comes back is a small recovery: the venue is asked, and until it has answered
//! nothing that adds exposure passes.

use super::{Engine, Phase};
use crate::outbox::{Effect, Notice, Outbox, StartBlocker};
use crate::owners::{place, places};
use keel_execution::ParentRecord;
use keel_model::{
    ClientOrderId, Command, ExecutionEvent, Fill, Finding, InstrumentId, NewOrder, StrategyId, Timestamp,
};
use keel_risk::RiskSnapshot;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Closed orders leave memory every so many records of a replay.
const RETIRE_EVERY: u64 = 1_024;

/// One record of the journal, as far as the engine needs it. Records are given in the order in which they were written.
#[allow(clippy::large_enum_variant, reason = "read once at the start, one after the other; a box each would cost more")]
#[derive(Clone, Debug)]
pub enum RecoveredRecord {
    /// An intent that was made durable, and when.
    Intent(Timestamp, NewOrder),
    /// An execution event that was processed, and when.
    Event(Timestamp, ExecutionEvent),
    /// Risk's frozen state; the last one counts.
    Risk(Box<RiskSnapshot>),
    /// An instruction that was carried out, and when. Replayed, it changes the state that it left behind and does nothing to
    /// the world: what it asked of the venue stands in the journal as intents and answers of its own.
    Command(Timestamp, Command),
    /// What a comparison with the venue found, and when.
    Finding(Timestamp, Finding),
    /// What the strategy numbers of the session at hand mean.
    Strategies(Vec<String>),
    /// What became of a parent order, and when.
    Parent(Timestamp, ParentRecord),
    /// A run began: what was open then became unknown until the venue had answered.
    Session(Timestamp),
}

/// How far the fills of one instrument are known, by the venue's clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Up to here the venue has told its fills when asked.
    reached: Timestamp,
    /// Since when they were asked for, while the answer is not there.
    owed: Option<Timestamp>,
}

/// What a replay of the journal remembers from one record to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Replay {
    /// Risk's state as it was saved last.
    pub(super) risk: Option<Box<RiskSnapshot>>,
    /// When the last record was written that tells of an order.
    pub(super) last: Timestamp,
    pub(super) records: u64,
    /// What the strategy numbers of the session at hand mean; empty when it did not say.
    #[serde(default)]
    strategies: Vec<String>,
    /// Where they stand in this run.
    #[serde(skip)]
    places: Vec<StrategyId>,
    /// What the records ask for; nobody takes it.
    #[serde(skip)]
    discarded: Outbox,
}

impl Replay {
    /// Finds the strategies of the session at hand in this run.
    pub(super) fn find_places(&mut self, now: &[String]) {
        self.places = places(&self.strategies, now);
    }
}

/// What the venue still owes us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reconciliation {
    open_orders: bool,
    balances: bool,
    fills: u32,
    /// Are there orders that were not on the venue's list and about which it has not answered yet?
    doubts: bool,
    /// When the questions were sent; zero means that none is under way.
    sent: Timestamp,
    /// Does it keep new exposure out until it is over?
    is_blocking: bool,
    last_done: Timestamp,
}

impl Reconciliation {
    /// Before the first answers everything is owed.
    pub(super) fn at_start() -> Self {
        Self { open_orders: true, balances: true, is_blocking: true, ..Self::default() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_orders || self.balances || self.fills > 0 || self.doubts
    }

    pub(super) fn was_asked(&self) -> bool {
        self.sent != Timestamp::ZERO
    }

    pub(super) fn blocks(&self) -> bool {
        self.is_blocking && self.is_open()
    }

    pub(super) fn blocker(&self) -> Option<StartBlocker> {
        if self.open_orders || self.doubts {
            Some(StartBlocker::OpenOrders)
        } else if self.fills > 0 {
            Some(StartBlocker::Fills)
        } else if self.balances {
            Some(StartBlocker::Balances)
        } else {
            None
        }
    }
}

impl Engine {
    /// Rebuilds the state from the journal and asks the venue for what happened since. Called once, before any other event;
    /// an empty journal asks all the same. The driver answers with `OpenOrders`, `Fills` and `Balances` events, and sends
    /// [`keel_model::Command::Start`] when [`Self::start_blocker`] is `None`.
    pub fn recover(&mut self, records: impl IntoIterator<Item = RecoveredRecord>, now: Timestamp, out: &mut Outbox) {
        for record in records {
            self.replay(record);
        }
        self.end_replay(now, out);
    }

    /// Takes one record of the journal, in the order in which they were written. Only the state counts: what the records ask
    /// for was asked for then.
    pub fn replay(&mut self, record: RecoveredRecord) {
        self.replay.records += 1;
        if self.replay.records.is_multiple_of(RETIRE_EVERY) {
            self.orders.retire(self.now);
            self.note_evicted();
        }
        let mut discarded = std::mem::take(&mut self.replay.discarded);
        let mut risk = self.replay.risk.take();
        match record {
            RecoveredRecord::Intent(ts, mut new) => {
                self.advance(ts);
                new.strategy = place(&self.replay.places, new.strategy);
                self.replay.last = self.replay.last.max(ts);
                if self.orders.restore_intent(new, ts).is_ok() {
                    self.risk.sync(&new, new.intent.quantity, false);
                    self.open_views.push(super::requests::view(&new));
                    self.note_order(new.client_order_id);
                }
            }
            RecoveredRecord::Event(ts, event) => {
                self.replay.last = self.replay.last.max(ts);
                self.process_execution(ts, &event, &mut discarded);
            }
            RecoveredRecord::Risk(snapshot) => {
                self.restore_held(&snapshot.held);
                risk = Some(snapshot);
            }
            RecoveredRecord::Parent(ts, mut record) => {
                self.advance(ts);
                if let ParentRecord::Created { strategy, .. } = &mut record {
                    *strategy = place(&self.replay.places, *strategy);
                }
                self.parents.restore(&record);
            }
            RecoveredRecord::Strategies(keys) => {
                if self.strategies.is_empty() {
                    // Books without strategies of their own number them as the session at hand does.
                    let places = crate::owners::places(&self.keys, &keys);
                    self.orders.reassign(&|id| place(&places, id));
                    self.keys.clone_from(&keys);
                }
                self.replay.strategies = keys;
                self.replay.find_places(&self.keys);
            }
            RecoveredRecord::Session(ts) => {
                self.advance(ts);
                self.replay.strategies.clear();
                self.replay.places.clear();
                self.forget_requests(&mut discarded);
            }
            RecoveredRecord::Finding(ts, finding) => {
                self.advance(ts);
                self.replay_finding(&finding);
            }
            RecoveredRecord::Command(ts, command) => {
                self.advance(ts);
                self.replay_command(&command, risk.as_deref_mut(), &mut discarded);
            }
        }
        discarded.drain();
        (self.replay.discarded, self.replay.risk) = (discarded, risk);
    }

    /// The journal has been read: asks the venue for what happened since. Called once, before any other event.
    pub fn end_replay(&mut self, now: Timestamp, out: &mut Outbox) {
        let (risk, last) = (self.replay.risk.take(), self.replay.last);
        self.base = self.totals();
        self.advance(now);
        self.risk.end_replay(risk.as_deref(), self.now);
        self.forget_requests(out);
        // Fills are asked for from the oldest order that is still open, or from the last record on.
        let oldest = self.orders.open().map(|order| order.ts_created.min(order.new.ts_decided)).min();
        let since = oldest.unwrap_or(last).min(last);
        self.reconciliation = Reconciliation::at_start();
        self.ledger.note_gap();
        self.ask((last != Timestamp::ZERO).then_some(since), out);
        self.finish(out);
    }

    /// A process has ended: what it had asked for has no answer any more, and what was open is unknown.
    fn forget_requests(&mut self, out: &mut Outbox) {
        let mut actions = std::mem::take(&mut self.actions);
        self.orders.begin_recovery(self.now, &mut actions);
        self.actions = actions;
        self.pump(out);
    }

    /// What an instruction of an earlier run left behind. Nothing is asked of anybody: a run that was wound or started then is
    /// neither now, but what a person said, a pause too, and what a latch decided about risk stays decided.
    fn replay_command(&mut self, command: &Command, saved: Option<&mut RiskSnapshot>, out: &mut Outbox) {
        self.replay_standing(command);
        match command {
            Command::Resume if !self.risk.is_emergency() => {
                self.risk.resume();
                self.release_all(out);
                if let Some(saved) = saved {
                    saved.resume();
                    saved.held.clear();
                }
                // Resumed then; until the start is complete nothing passes.
                self.apply_state();
            }
            Command::EmergencyStop(_) => self.risk.emergency_stop(),
            Command::Kill(scope, _) => self.risk.kill(*scope, self.now),
            Command::Rearm(scope) => {
                self.risk.rearm(*scope, self.now);
                if let Some(saved) = saved {
                    saved.rearm(*scope);
                }
            }
            Command::Release(instrument) => {
                self.release(*instrument, out);
                if let Some(saved) = saved {
                    saved.held.retain(|id| id != instrument);
                }
            }
            Command::Settle { client_order_id, settlement } => {
                self.settle_order(*client_order_id, *settlement, true, out);
            }
            // Start, wind and cancel were of that run alone.
            _ => {}
        }
    }

    /// Starts a comparison with the venue: after a stream came back, and every now and then.
    pub(super) fn begin_reconciliation(&mut self, is_blocking: bool, out: &mut Outbox) {
        let is_blocking = is_blocking || self.reconciliation.blocks();
        self.reconciliation = Reconciliation { open_orders: true, balances: true, is_blocking, ..self.reconciliation };
        out.notify(Notice::Reconciling);
        self.ask(Some(self.reconciliation.last_done), out);
        self.apply_state();
    }

    /// Asks for everything. Fills are asked for from where the last answer about the instrument ended, by the venue's own
    /// clock, less an overlap; `fallback`, on our clock, is for instruments without an answer so far.
    fn ask(&mut self, fallback: Option<Timestamp>, out: &mut Outbox) {
        self.reconciliation.sent = self.now;
        self.venue_time_asked = self.venue_time;
        out.push(Effect::FetchOpenOrders(None));
        let overlap = self.orders.lag_max(self.now);
        let deep = self.ledger.doubts_since();
        for index in 0..self.instruments.len() {
            let id = InstrumentId(u32::try_from(index).unwrap_or(u32::MAX));
            let Some(cursor) = self.cursors.get_mut(index) else { continue };
            let since = if cursor.reached == Timestamp::ZERO { fallback } else { Some(cursor.reached) };
            cursor.owed = since.map(|since| {
                // What does not add up is searched for from where it last did.
                let since = deep.map_or(since, |deep| deep.min(since));
                since.minus(overlap)
            });
            if let Some(since) = cursor.owed {
                out.push(Effect::FetchFills(id, since));
            }
        }
        self.reconciliation.fills = u32::try_from(self.fills_owed()).unwrap_or(u32::MAX);
        out.push(Effect::FetchBalances);
    }

    /// Instruments whose fills were asked for and have not come.
    fn fills_owed(&self) -> usize {
        self.cursors.iter().filter(|cursor| cursor.owed.is_some()).count()
    }

    /// The answer about one instrument is in. What is in it moves the cursor; an answer without fills moves it to the venue's
    /// time that was known before the question. Ids play no part: they need not grow.
    fn note_fills(&mut self, instrument: Option<InstrumentId>, fills: &[(Option<ClientOrderId>, Fill)]) {
        let asked = self.venue_time_asked;
        let Some(id) = instrument else {
            // An answer that does not say what it is about answers one question, the first.
            if let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.owed.is_some()) {
                cursor.owed = None;
            }
            return;
        };
        let latest = fills.iter().map(|(_, fill)| fill.ts_event).max();
        if let Some(cursor) = self.cursors.get_mut(id.index()) {
            cursor.owed = None;
            cursor.reached = cursor.reached.max(latest.unwrap_or(asked));
        }
    }

    /// Ticks off what has been answered.
    pub(super) fn note_answer(&mut self, event: &ExecutionEvent, out: &mut Outbox) {
        match event {
            ExecutionEvent::Fills(fills) => self.note_fills(None, fills),
            ExecutionEvent::FillsOf { instrument, fills, .. } => self.note_fills(Some(*instrument), fills),
            ExecutionEvent::Balances { ts_event, .. } => self.venue_time = self.venue_time.max(*ts_event),
            _ => {}
        }
        if self.reconciliation.is_open() {
            self.tick_off(event, out);
        }
        if self.ledger.has_report() && !matches!(event, ExecutionEvent::Sent { .. } | ExecutionEvent::Armed(_)) {
            self.judge_balances(out);
        }
    }

    fn tick_off(&mut self, event: &ExecutionEvent, out: &mut Outbox) {
        let are_doubts = self.reconciliation.is_blocking && self.orders.doubted_count() > 0;
        let fills = u32::try_from(self.fills_owed()).unwrap_or(u32::MAX);
        let owed = &mut self.reconciliation;
        let had_doubts = owed.doubts;
        owed.doubts &= are_doubts;
        match event {
            ExecutionEvent::OpenOrders(None, _) => (owed.open_orders, owed.doubts) = (false, are_doubts),
            ExecutionEvent::Balances { complete: true, .. } => owed.balances = false,
            ExecutionEvent::Fills(_) | ExecutionEvent::FillsOf { .. } => {}
            _ if had_doubts && !are_doubts => {}
            _ => return,
        }
        owed.fills = fills;
        if !owed.is_open() {
            owed.last_done = owed.sent;
            owed.is_blocking = false;
            out.notify(Notice::Reconciled);
            self.apply_state();
        }
    }

    /// Asks again for what was not answered in time, looks again at what did not add up, and compares every now and then.
    pub(super) fn reconcile_on_time(&mut self, out: &mut Outbox) {
        let waited = self.now.since(self.reconciliation.sent);
        let was_asked = self.reconciliation.was_asked();
        if self.reconciliation.is_open() {
            if was_asked && waited > Duration::from_millis(self.config.reconcile_timeout_ms) {
                self.ask_again(out);
            }
            return;
        }
        self.judge_balances(out);
        if was_asked && self.next_look().is_some_and(|pause| waited > pause) {
            self.begin_reconciliation(false, out);
            return;
        }
        let interval_ms = self.config.reconcile_interval_ms;
        let is_due = self.phase == Phase::Running && interval_ms > 0 && waited > Duration::from_millis(interval_ms);
        if keel_model::mutant!(45, is_due, false) {
            self.begin_reconciliation(false, out);
        }
    }

    fn ask_again(&mut self, out: &mut Outbox) {
        self.reconciliation.sent = self.now;
        if self.reconciliation.open_orders {
            out.push(Effect::FetchOpenOrders(None));
        }
        if self.reconciliation.balances {
            out.push(Effect::FetchBalances);
        }
        for (cursor, id) in self.cursors.iter().zip(0u32..) {
            if let Some(since) = cursor.owed {
                out.push(Effect::FetchFills(InstrumentId(id), since));
            }
        }
    }
}
