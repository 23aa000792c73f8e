//! The engine with its driver's duties around it: record, process, publish, send. One at a time, whoever drives.
//!
//! Two drivers share it: the coordinator's task, which drains the lanes, and, for the lowest latency, the socket's own task
//! (see [`crate::inline`]). Invariants: what the engine is told is in the journal in the order in which it was told; an
//! order stands on the board before its request is handed on; the gate opens only when the engine says that it has started.

use crate::board::{OpenOrderBoard, PublishedOrder};
use crate::gate::{GateLevel, SubmitGate};
use crate::lanes::{Batch, Lanes};
use crate::latches::LatchWriter;
use crate::order_gateway::OrderGateway;
use crate::shared::{Phase, Shared};
use keel_engine::{Effect, Engine, Notice, Outbox, RecoveredRecord};
use keel_execution::{Order, ParentRecord};
use keel_lifecycle::{Clock, StopReason, StopSignal};
use keel_model::{CancelOrder, Command, Event, ExecutionEvent, Finding, MarketEvent, Timestamp, TradingState};
use keel_store::{Journal, Record};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Hears what the engine tells, for logs, alerts and metrics. It must not block.
pub type NoticeObserver = Box<dyn FnMut(Timestamp, &Notice) + Send>;

/// Everything that the core drives and is driven by.
pub(crate) struct Core {
    pub(crate) engine: Engine,
    pub(crate) outbox: Outbox,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) gateway: Arc<OrderGateway>,
    pub(crate) journal: Journal,
    pub(crate) gate: Arc<SubmitGate>,
    pub(crate) board: Arc<OpenOrderBoard>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: StopSignal,
    pub(crate) clock: Clock,
    pub(crate) observer: NoticeObserver,
    /// A write or sync that takes longer than this stops the system.
    pub(crate) journal_stuck_max: Duration,
    pub(crate) is_recovered: bool,
    pub(crate) is_started: bool,
    pub(crate) is_journal_lost: bool,
    pub(crate) batch: Batch,
    pub(crate) spent: Vec<MarketEvent>,
    pub(crate) latches: LatchWriter,
    /// When time was last told or market data last taken.
    pub(crate) ticked_at: Timestamp,
    /// The same on the wall clock.
    pub(crate) ticked_at_wall: Timestamp,
    /// Was a request handed on since the flag was cleared?
    pub(crate) has_sent: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("is_recovered", &self.is_recovered)
            .field("is_started", &self.is_started)
            .field("engine_now", &self.engine.now())
            .finish_non_exhaustive()
    }
}

/// No turn for longer than this is a process that stood still; unit of the timer: tens of milliseconds.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// Market events processed before the driver lets other tasks run.
pub(crate) const MARKET_RUN_MAX: usize = 256;

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.clock.run_ns())
    }

    /// Rebuilds the state from the journal and asks the venue what happened since.
    pub(crate) fn recover(&mut self, records: Vec<RecoveredRecord>) {
        let now = self.now();
        self.shared.heartbeat.begin();
        self.engine.recover(records, now, &mut self.outbox);
        self.is_recovered = true;
        self.publish_orders();
        self.dispatch(now);
        self.shared.heartbeat.end();
        self.start_if_ready(now);
    }

    /// Takes what waits in the execution and command lanes, in that order.
    pub(crate) fn drain_urgent(&mut self) {
        while self.lanes.is_urgent() || !self.batch.execution.is_empty() || !self.batch.command.is_empty() {
            self.lanes.take_urgent(&mut self.batch);
            while let Some(event) = self.batch.execution.pop_front() {
                self.step(&event);
            }
            while let Some(event) = self.batch.command.pop_front() {
                self.step(&event);
                if self.lanes.is_urgent() {
                    break;
                }
            }
        }
    }

    /// Takes everything that waits: execution, commands, then market data, with whatever is urgent in between first.
    /// Returns whether market data is left for the next call.
    pub(crate) fn drain(&mut self) -> bool {
        self.drain_urgent();
        if self.batch.market.is_empty() {
            let now = self.now();
            self.check_gap(now);
            self.lanes.take(now, &mut self.batch);
        }
        self.drain_urgent();
        self.has_sent = false;
        for _ in 0..MARKET_RUN_MAX {
            // A request that was handed on gets the thread before more market data does.
            if self.has_sent {
                break;
            }
            let Some(event) = self.batch.market.pop_front() else { break };
            self.step(&event);
            if let Event::Market(market @ MarketEvent::BookDelta(_)) = event {
                self.spent.push(market);
            }
            if self.lanes.is_urgent() {
                self.drain_urgent();
            }
        }
        if !self.spent.is_empty() {
            self.lanes.recycle(&mut self.spent);
        }
        !self.batch.market.is_empty()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) {
        let now = self.now();
        self.check_gap(now);
        self.follow_risk(now);
        self.step(&Event::Timer(now));
        self.check_journal();
    }

    /// A process that stood still (suspended, stopped, a frozen machine) knows nothing of what happened meanwhile: it compares
    /// with the venue before anything new is opened (T-03).
    pub(crate) fn check_gap(&mut self, now: Timestamp) {
        let wall = Timestamp::from_ns(self.clock.now_ns());
        let before = std::mem::replace(&mut self.ticked_at, now);
        let wall_before = std::mem::replace(&mut self.ticked_at_wall, wall);
        // A suspended machine may stop the monotonic clock as well; the wall clock tells.
        let gap = now.since(before).max(wall.since(wall_before));
        if before == Timestamp::ZERO || gap <= STOOD_STILL || !self.is_recovered {
            return;
        }
        tracing::warn!(
            gap_ms = gap.as_millis(),
            "this process stood still: comparing with the venue before trading on"
        );
        self.step(&Event::Command(now, Command::Reconcile));
    }

    /// One event.
    pub(crate) fn step(&mut self, event: &Event) {
        self.shared.heartbeat.begin();
        self.record(event);
        self.engine.process(event, &mut self.outbox);
        if !self.outbox.is_empty() {
            self.after(event.ts());
        }
        self.shared.heartbeat.end();
        if !self.is_started && !matches!(event, Event::Market(_)) {
            self.start_if_ready(event.ts());
        }
    }

    /// One market event, borrowed: the socket's task copies nothing.
    pub(crate) fn step_market(&mut self, event: &MarketEvent) {
        if event.ts_recv().since(self.ticked_at) > STOOD_STILL {
            self.check_gap(event.ts_recv());
        }
        self.shared.heartbeat.begin();
        self.engine.process_market(event, &mut self.outbox);
        if !self.outbox.is_empty() {
            self.after(event.ts_recv());
        }
        self.shared.heartbeat.end();
    }

    fn after(&mut self, ts: Timestamp) {
        if self.outbox.effects().iter().any(changes_open_orders) {
            self.publish_orders();
        }
        self.dispatch(ts);
    }

    /// What the engine hears goes into the journal first; in the same order, and without waiting for the disk.
    fn record(&mut self, event: &Event) {
        let record = match event {
            // Said by the journal itself.
            Event::Execution(_, ExecutionEvent::Armed(_)) => return,
            Event::Execution(ts, execution) => Record::Execution(*ts, execution.clone()),
            Event::Command(ts, command) => Record::Command(*ts, command.clone()),
            Event::Market(_) | Event::Feed(..) | Event::Timer(_) => return,
        };
        match self.journal.append(&record) {
            Ok(ticket) => drop(ticket),
            Err(error) => self.lose_journal(&error.to_string()),
        }
    }

    /// What must outlive a restart goes into the journal behind the event that brought it to light.
    fn record_finding(&mut self, finding: &Finding) {
        match self.journal.append(&Record::Finding(self.engine.now(), finding.clone())) {
            Ok(ticket) => drop(ticket),
            Err(error) => self.lose_journal(&error.to_string()),
        }
    }

    /// A child's parent is in the journal before the child's intent: the journal keeps the order in which it was told.
    fn record_parent(&mut self, record: &ParentRecord) {
        let written = postcard::to_allocvec(record)
            .map_err(|error| keel_store::StoreError::Encode { cause: error.to_string() })
            .and_then(|bytes| self.journal.append(&Record::Parent(self.engine.now(), bytes)));
        match written {
            Ok(ticket) => drop(ticket),
            Err(error) => self.lose_journal(&error.to_string()),
        }
    }

    fn check_journal(&mut self) {
        if let Err(error) = self.journal.health() {
            self.lose_journal(&error.to_string());
        }
        let stuck = Duration::from_nanos(self.journal.status().stuck_ns);
        if stuck > self.journal_stuck_max {
            self.lose_journal(&format!("the disk has not finished a write for {} ms", stuck.as_millis()));
        }
    }

    /// Nothing new is sent from now on; what is open is cancelled by the stop. What the journal misses, the venue still
    /// knows, and the next start asks it.
    pub(crate) fn lose_journal(&mut self, cause: &str) {
        if !std::mem::replace(&mut self.is_journal_lost, true) {
            self.gate.close(GateLevel::Shut);
            self.stop.request(StopReason::Fault { what: format!("journal: {cause}") });
        }
    }

    fn publish_orders(&self) {
        let published = |order: &Order| PublishedOrder {
            cancel: CancelOrder {
                client_order_id: order.new.client_order_id,
                venue_order_id: order.venue_order_id,
                instrument: order.new.intent.instrument,
            },
            purpose: order.new.intent.purpose,
        };
        self.board.publish(self.engine.orders().open().map(published).collect());
    }

    fn dispatch(&mut self, ts: Timestamp) {
        let mut outbox = std::mem::take(&mut self.outbox);
        for effect in outbox.drain() {
            self.has_sent |= !matches!(effect, Effect::Notify(_));
            match effect {
                Effect::Submit(order) => self.gateway.submit(order, ts),
                Effect::Cancel(cancel) => self.gateway.cancel(cancel),
                Effect::Replace(replace) => self.gateway.replace(replace, ts),
                Effect::Query(query) => self.gateway.query(query),
                Effect::FetchOpenOrders(instrument) => self.gateway.fetch_open_orders(instrument),
                Effect::FetchFills(instrument, since) => self.gateway.fetch_fills(instrument, since),
                Effect::FetchBalances => self.gateway.fetch_balances(),
                Effect::Notify(notice) => self.on_notice(&notice),
            }
        }
        self.outbox = outbox;
    }

    fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Started => {
                self.is_started = true;
                if !self.gate.open() {
                    tracing::info!("recovery is complete, but the stop has begun: the gate stays shut");
                }
                self.shared.set_phase(|phase| phase.is_started = true);
            }
            Notice::StartRefused(blocker) => {
                let text = blocker.to_string();
                self.shared.set_phase(|phase| phase.blocker = Some(text));
            }
            Notice::Wound(policy) => {
                let policy = *policy;
                // Answers to cancels say nothing of balances, and the stream ends soon: the last word is asked for.
                self.gateway.fetch_balances();
                self.shared.set_phase(|phase| phase.wound = Some(policy));
            }
            // Crossed, jumped or shed: no delta can mend it.
            Notice::BookBroken { instrument, .. } => self.lanes.ask_resync(*instrument),
            Notice::EmergencyStop(_) => self.gate.close(GateLevel::ExitsOnly),
            Notice::Found(finding) => self.record_finding(finding),
            Notice::Denied(denied, order) => self.record_denied(denied, order),
            Notice::DeniedMore { count } => self.record_denied_more(*count),
            Notice::Latches(latches) => self.record_latches(latches),
            Notice::ParentRecord(record) => self.record_parent(record),
            // A person resumed: what was wound may open again.
            Notice::TradingState { to: TradingState::Active, .. } => self.shared.set_phase(|phase| phase.wound = None),
            _ => {}
        }
        let now = self.engine.now();
        (self.observer)(now, notice);
        if matches!(notice, Notice::EmergencyStop(_)) {
            self.engine.note_emergency_notified();
        }
    }

    /// Start is recovery: as soon as every question is answered, trading begins.
    fn start_if_ready(&mut self, ts: Timestamp) {
        if !self.is_recovered || self.is_started || self.stop.is_requested() || self.gate.is_closing() {
            return;
        }
        match self.engine.start_blocker() {
            None => self.step_start(ts),
            Some(blocker) => {
                let text = blocker.to_string();
                if self.shared.phase().blocker.as_deref() != Some(text.as_str()) {
                    self.shared.set_phase(|phase| phase.blocker = Some(text));
                }
            }
        }
    }

    fn step_start(&mut self, ts: Timestamp) {
        // Set first: the step below comes back here.
        self.is_started = true;
        self.step(&Event::Command(ts, Command::Start));
        let Phase { is_started, .. } = self.shared.phase();
        self.is_started = is_started;
        if is_started {
            self.shared.set_phase(|phase| phase.blocker = None);
        }
    }

    /// Everything that still waits in the urgent lanes is booked; market data is not needed any more.
    pub(crate) fn drain_last(&mut self) {
        self.drain_urgent();
        self.batch.market = VecDeque::new();
    }
}

/// May the list of open orders look different after this?
fn changes_open_orders(effect: &Effect) -> bool {
    match effect {
        Effect::Submit(_) | Effect::Replace(_) => true,
        Effect::Notify(Notice::Order { from, to, .. }) => from.is_closed() != to.is_closed(),
        Effect::Notify(Notice::Alarm { .. }) => true,
        _ => false,
    }
}
