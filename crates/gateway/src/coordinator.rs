//! The coordinator: the one task that owns the engine, drains the lanes and empties the outbox.
//!
//! Its life: wait for the account stream ► recover ► run until its token is cancelled ► book what still waits ► freeze risk,
//! save it, clear it ► close the session in the journal. When it panics (a strategy did), its handles are told, and the
//! escape path takes over.

use crate::GatewayError;
use crate::board::OpenOrderBoard;
use crate::core::{Core, NoticeObserver};
use crate::escape::{EscapePath, EscapeReport, EscapeScope};
use crate::gate::{GateLevel, SubmitGate};
use crate::inline::InlineSink;
use crate::lanes::{Batch, LaneStatus, Lanes};
use crate::latches::LatchWriter;
use crate::latency::{LatencyRecorder, LatencySummary, StageBuckets};
use crate::order_gateway::{InFlight, OrderGateway};
use crate::shared::{HeartbeatWatch, Phase, Shared};
use crate::sinks::ExecutionSink;
use keel_engine::{Engine, Outbox, RecoveredRecord};
use keel_lifecycle::{Clock, LifecycleError, StopReason, StopSignal, TaskEnd, TaskGroup, TaskKind, ThreadHandle};
use keel_model::{Command, ExitPolicy, StatusSnapshot, Timestamp};
use keel_store::{Journal, Record};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a coordinator is made of.
pub struct CoordinatorParts {
    /// The engine; not yet recovered.
    pub engine: Engine,
    /// What the journal holds of earlier runs; see [`crate::recovery`].
    pub records: Vec<RecoveredRecord>,
    /// Where events come from.
    pub lanes: Arc<Lanes>,
    /// Where requests go.
    pub gateway: Arc<OrderGateway>,
    /// The account stream's end; recovery asks the venue only once the stream is up. `None` for a venue without one.
    pub account: Option<Arc<ExecutionSink>>,
    /// The journal.
    pub journal: Journal,
    /// Opened when recovery is complete.
    pub gate: Arc<SubmitGate>,
    /// Where open orders are published.
    pub board: Arc<OpenOrderBoard>,
    /// Measures; read through the handle.
    pub latency: Arc<LatencyRecorder>,
    /// Asked for when something makes it unsafe to go on.
    pub stop: StopSignal,
    /// The run's clock.
    pub clock: Clock,
    /// Hears what the engine tells.
    pub observer: NoticeObserver,
    /// Intervals and limits.
    pub limits: CoordinatorLimits,
}

impl fmt::Debug for CoordinatorParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorParts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Intervals and limits of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorLimits {
    /// How often the engine is told the time.
    pub timer_interval: Duration,
    /// How often the status is published, unless something changed it sooner.
    pub status_interval: Duration,
    /// A write or sync of the journal that takes longer than this stops the system.
    pub journal_stuck_max: Duration,
    /// How long the end may wait for its last records to become durable.
    pub close_timeout: Duration,
}

impl Default for CoordinatorLimits {
    fn default() -> Self {
        Self {
            timer_interval: Duration::from_millis(50),
            status_interval: Duration::from_millis(250),
            journal_stuck_max: Duration::from_secs(5),
            close_timeout: Duration::from_millis(800),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorEnd {
    /// Fingerprint of the trading state, 64 hexadecimal digits.
    pub digest: String,
    /// The last state.
    pub status: StatusSnapshot,
    /// Orders that are not terminal.
    pub open_orders: usize,
    /// Was the last state made durable?
    pub is_saved: bool,
}

/// The coordinator before it runs.
#[derive(Debug)]
pub struct Coordinator {
    core: Arc<Mutex<Core>>,
    shared: Arc<Shared>,
    records: Vec<RecoveredRecord>,
    account: Option<Arc<ExecutionSink>>,
    lanes: Arc<Lanes>,
    stop: StopSignal,
    limits: CoordinatorLimits,
    end: Arc<Mutex<Option<CoordinatorEnd>>>,
}

/// Tells the handles when the coordinator is gone, however it went.
struct EndGuard {
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.lanes.end();
        self.shared.set_phase(|phase| phase.has_ended = true);
    }
}

impl Coordinator {
    /// A coordinator and the handle to it.
    #[must_use]
    pub fn new(parts: CoordinatorParts) -> (Self, CoordinatorHandle) {
        let shared = Shared::new(parts.clock.clone());
        let end = Arc::new(Mutex::new(None));
        let handle = CoordinatorHandle {
            shared: shared.clone(),
            lanes: parts.lanes.clone(),
            gateway: parts.gateway.clone(),
            board: parts.board.clone(),
            gate: parts.gate.clone(),
            latency: parts.latency,
            clock: parts.clock.clone(),
            end: end.clone(),
        };
        let core = Core {
            engine: parts.engine,
            outbox: Outbox::new(),
            lanes: parts.lanes.clone(),
            gateway: parts.gateway,
            journal: parts.journal,
            gate: parts.gate,
            board: parts.board,
            shared: shared.clone(),
            stop: parts.stop.clone(),
            clock: parts.clock,
            observer: parts.observer,
            journal_stuck_max: parts.limits.journal_stuck_max,
            is_recovered: false,
            is_started: false,
            is_journal_lost: false,
            batch: Batch::default(),
            spent: Vec::new(),
            latches: LatchWriter::default(),
            ticked_at: Timestamp::ZERO,
            ticked_at_wall: Timestamp::ZERO,
            has_sent: false,
        };
        let coordinator = Self {
            core: Arc::new(Mutex::new(core)),
            shared,
            records: parts.records,
            account: parts.account,
            lanes: parts.lanes,
            stop: parts.stop,
            limits: parts.limits,
            end,
        };
        (coordinator, handle)
    }

    /// A market data sink that runs the engine on the socket's own task, for the lowest latency. Use it on a
    /// current-thread runtime; elsewhere it works too, but hands over to the lane whenever both sides are busy.
    #[must_use]
    pub fn inline_sink(&self) -> InlineSink {
        InlineSink::new(self.core.clone(), self.lanes.clone())
    }

    /// Runs on a thread and a small runtime of its own, as a critical thread of `group` called `engine`. A strategy that
    /// blocks then holds up the engine only: a worker of the trading runtime that blocks may hold up that runtime's sockets
    /// and timers as well. The order gateway's group must be bound to the trading runtime ([`TaskGroup::on`]).
    pub fn spawn_thread(self, group: &TaskGroup) -> Result<ThreadHandle<TaskEnd>, LifecycleError> {
        group.spawn_thread("engine", TaskKind::Critical, move |stop| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(|error| format!("cannot build the engine's runtime: {error}"))?;
            runtime.block_on(self.run(stop)).map_err(|error| error.to_string())
        })
    }

    /// Runs until `stop` is cancelled. Spawn it as a critical task.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GatewayError> {
        let _end = EndGuard { shared: self.shared.clone(), lanes: self.lanes.clone() };
        self.wait_for_account(&stop).await;
        let records = std::mem::take(&mut self.records);
        self.core.lock().recover(records);
        let mut timer = tokio::time::interval(self.limits.timer_interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut status_due_ns = 0;
        while !stop.is_cancelled() {
            let mut is_tick = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = timer.tick() => is_tick = true,
                () = self.lanes.wait() => {}
            }
            loop {
                let is_more = {
                    let mut core = self.core.lock();
                    if std::mem::take(&mut is_tick) {
                        core.drain_urgent();
                        core.tick();
                    }
                    core.drain()
                };
                // Other tasks of this thread get their turn between runs of market events.
                if !is_more || stop.is_cancelled() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            status_due_ns = self.publish_status(status_due_ns);
        }
        self.finish().await;
        Ok(())
    }

    /// The account stream comes first: a fill between the venue's answers and the stream would be seen by nobody.
    async fn wait_for_account(&self, stop: &CancellationToken) {
        let Some(account) = &self.account else { return };
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !account.is_live() && !stop.is_cancelled() && !self.stop.is_requested() {
            self.shared.set_phase(|phase| {
                phase.blocker.get_or_insert_with(|| "the account stream is not up yet".to_owned());
            });
            tokio::select! {
                () = stop.cancelled() => {}
                _ = self.stop.requested() => {}
                _ = look.tick() => {}
            }
        }
    }

    fn publish_status(&self, due_ns: u64) -> u64 {
        let now_ns = self.shared.clock.mono_ns();
        if now_ns < due_ns {
            return due_ns;
        }
        let status = self.core.lock().engine.status();
        self.shared.status.store(Arc::new(status));
        now_ns + u64::try_from(self.limits.status_interval.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// Freeze, save, clear; then the session's last record. Nothing is awaited while the engine is held.
    async fn finish(&self) {
        let (ticket, saved, digest, status, open_orders) = {
            let mut core = self.core.lock();
            core.drain_last();
            let (status, open_orders) = (core.engine.status(), core.engine.orders().open_count());
            let saved = core.engine.freeze_risk();
            // Of the frozen state, which is the one that is saved: a replay of the journal comes to the same.
            let digest = core.engine.digest().to_string();
            let ticket = match postcard::to_allocvec(&saved) {
                Ok(bytes) => core.journal.append(&Record::RiskSnapshot(bytes)),
                Err(error) => Err(keel_store::StoreError::Encode { cause: error.to_string() }),
            };
            (ticket, saved, digest, status, open_orders)
        };
        let limit = self.limits.close_timeout;
        let is_saved = match ticket {
            Ok(ticket) => tokio::time::timeout(limit, ticket).await.is_ok_and(|written| written.is_ok()),
            Err(_) => false,
        };
        let last = {
            let mut core = self.core.lock();
            if !is_saved || !core.engine.clear_risk(&saved) {
                tracing::warn!("the state of risk was not saved before the end; the next start rebuilds it");
            }
            let ts = core.now();
            let is_clean = is_saved && open_orders == 0 && !core.is_journal_lost;
            core.journal.append(&Record::SessionEnd { ts, digest: digest.clone(), is_clean })
        };
        let is_closed = match last {
            Ok(ticket) => tokio::time::timeout(limit, ticket).await.is_ok_and(|written| written.is_ok()),
            Err(_) => false,
        };
        self.shared.status.store(Arc::new(status.clone()));
        *self.end.lock() = Some(CoordinatorEnd { digest, status, open_orders, is_saved: is_saved && is_closed });
    }
}

/// How bringing orders and positions to the exit policy went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindOutcome {
    /// As the policy wants, confirmed by the venue.
    Wound,
    /// The engine is gone (it panicked or was ended).
    Ended,
    /// The engine has been stuck in one event for this long.
    Stuck(Duration),
    /// Not everything was confirmed in time.
    TimedOut,
}

/// A handle to a coordinator, for the launcher, the stop plan and the control thread. Clones are cheap.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
    gateway: Arc<OrderGateway>,
    board: Arc<OpenOrderBoard>,
    gate: Arc<SubmitGate>,
    latency: Arc<LatencyRecorder>,
    clock: Clock,
    end: Arc<Mutex<Option<CoordinatorEnd>>>,
}

/// How often a waiting handle looks at the heartbeat.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl CoordinatorHandle {
    /// Commands the engine. An emergency stop lowers the gate at once, before the engine has heard of it.
    pub fn command(&self, command: Command) -> Result<(), GatewayError> {
        if matches!(command, Command::EmergencyStop(_)) {
            self.gate.close(GateLevel::ExitsOnly);
        }
        self.lanes.push_command(Timestamp::from_ns(self.clock.run_ns()), command)
    }

    /// The last published status.
    #[must_use]
    pub fn status(&self) -> Arc<StatusSnapshot> {
        self.shared.status.load_full()
    }

    /// How far the run has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &Arc<SubmitGate> {
        &self.gate
    }

    /// The published open orders.
    #[must_use]
    pub fn board(&self) -> &Arc<OpenOrderBoard> {
        &self.board
    }

    /// Figures of the lanes.
    #[must_use]
    pub fn lanes(&self) -> LaneStatus {
        self.lanes.status()
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.gateway.in_flight()
    }

    /// Latencies so far.
    #[must_use]
    pub fn latency(&self) -> LatencySummary {
        self.latency.summary()
    }

    /// Latencies so far as histograms, for metrics.
    #[must_use]
    pub fn latency_buckets(&self) -> Vec<StageBuckets> {
        self.latency.buckets()
    }

    /// Events processed so far; for a watchdog.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.shared.heartbeat.beats()
    }

    /// Watches the engine's heartbeat.
    #[must_use]
    pub fn watch_heartbeat(&self) -> HeartbeatWatch {
        self.shared.watch_heartbeat()
    }

    /// How the run ended; `None` until it has.
    #[must_use]
    pub fn end(&self) -> Option<CoordinatorEnd> {
        self.end.lock().clone()
    }

    /// Waits until trading has begun.
    pub async fn started(&self, limit: Duration) -> Result<(), GatewayError> {
        let mut phase = self.shared.subscribe();
        let begun = tokio::time::timeout(limit, phase.wait_for(|phase| phase.is_started || phase.has_ended)).await;
        let missing = match begun {
            Ok(Ok(phase)) if phase.is_started => return Ok(()),
            Ok(_) => return Err(GatewayError::Ended),
            Err(_) => self.phase().blocker.unwrap_or_else(|| "no answer from the engine".to_owned()),
        };
        let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Err(GatewayError::RecoveryTimeout { waited_ms, missing })
    }

    /// Waits until no placement and no cancel is under way; `false` when some still are after `limit`.
    pub async fn settled(&self, limit: Duration) -> bool {
        self.gateway.settled(limit).await
    }

    /// Brings open orders and positions to what `policy` asks for and waits for the venue's word, at most for `limit`.
    /// Gives up sooner when the engine is gone, or stuck in one event for longer than `stuck_max`.
    pub async fn wind(&self, policy: ExitPolicy, limit: Duration, stuck_max: Duration) -> WindOutcome {
        let mut phase = self.shared.subscribe();
        let mut watch = self.watch_heartbeat();
        let deadline = self.clock.deadline(limit);
        let mut is_commanded = false;
        loop {
            // A full command lane is tried again until the deadline.
            is_commanded = is_commanded || self.command(Command::Wind(policy)).is_ok();
            let now = phase.borrow_and_update().clone();
            if now.wound == Some(policy) {
                return WindOutcome::Wound;
            }
            if now.has_ended {
                return WindOutcome::Ended;
            }
            let stuck = watch.look();
            if stuck > stuck_max {
                return WindOutcome::Stuck(stuck);
            }
            if deadline.is_past() {
                return WindOutcome::TimedOut;
            }
            let pause = LOOK_INTERVAL.min(deadline.remaining().max(Duration::from_millis(1)));
            // Either something changed, or it is time to look at the heartbeat; both lead back to the top.
            drop(tokio::time::timeout(pause, phase.changed()).await);
        }
    }

    /// Winds, and where the engine cannot, takes the escape path with what is left of `limit`. Part of the limit is kept
    /// for it. Await this on the control runtime.
    pub async fn wind_or_escape(
        &self,
        policy: ExitPolicy,
        escape: &EscapePath,
        limit: Duration,
    ) -> (WindOutcome, Option<EscapeReport>) {
        let deadline = self.clock.deadline(limit);
        let outcome = self.wind(policy, limit * 3 / 5, (limit / 10).max(Duration::from_millis(200))).await;
        if outcome == WindOutcome::Wound || policy == ExitPolicy::Keep {
            return (outcome, None);
        }
        tracing::error!(?outcome, "the engine cannot cancel its orders; the escape path does");
        let scope = match policy {
            ExitPolicy::CancelAll | ExitPolicy::Flatten => EscapeScope::All,
            ExitPolicy::CancelEntries | ExitPolicy::Keep => EscapeScope::KeepProtective,
        };
        let report = escape.cancel_all(scope, deadline.remaining()).await;
        (outcome, Some(report))
    }

    /// Watches for an engine that is stuck in one event: says so after `alert_after`, asks for the stop after `stop_after`.
    /// Runs until `token` is cancelled; spawn it on the control runtime.
    pub async fn watch_engine(
        self,
        stop: StopSignal,
        alert_after: Duration,
        stop_after: Duration,
        token: CancellationToken,
    ) {
        let mut watch = self.watch_heartbeat();
        let mut is_told = false;
        while !token.is_cancelled() && !self.phase().has_ended {
            let stuck = watch.look();
            if stuck > alert_after && !is_told {
                tracing::error!(stuck_ms = stuck.as_millis(), "the engine is stuck in one event: a strategy blocks");
            }
            is_told = stuck > alert_after;
            if stuck > stop_after {
                let what =
                    format!("the engine has been stuck in one event for {} ms: a strategy blocks", stuck.as_millis());
                stop.request(StopReason::Fault { what });
                return;
            }
            tokio::select! {
                () = token.cancelled() => {}
                () = tokio::time::sleep(alert_after / 4) => {}
            }
        }
    }
}
