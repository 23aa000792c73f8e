//! The emergency stop, end to end: by an operator, by a file, by a signal.
//!
//! Its order: the gate is lowered at once, on the control thread; then the latch is written and synced; then people are told;
//! then orders are cancelled and positions closed, by the engine, and by the escape path where the engine does not answer.
//! None of these waits for another beyond a bound: a disk that hangs does not keep orders open.
//!
//! Invariants: triggered once, later triggers only add themselves to the report; what is latched stays so over restarts until
//! a person rearms it; "confirmed" is the venue's word.

use super::parts::{Shared, groups};
use crate::out;
use keel_gateway::{CoordinatorHandle, EscapePath, EscapeScope, GateLevel};
use keel_lifecycle::{
    Alert, AlertHub, Clock, Deadline, LeaseKind, Lifecycle, ResourceLedger, Severity, TaskGroup, TaskKind, spawn_thread,
};
use keel_model::{Command, RiskScope, Timestamp};
use keel_store::Record;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub mod latch_file;

pub use latch_file::{Latch, Rearmed};

/// A file of this name in the data folder triggers the emergency stop; its first words are the reason.
pub const KILL_FILE: &str = "EMERGENCY_STOP";
/// How often the kill file is looked for.
const KILL_FILE_INTERVAL: Duration = Duration::from_millis(100);
/// Longest reason that is read from the kill file; unit: bytes.
const KILL_FILE_BYTES_MAX: u64 = 200;
/// How long the latch may take to be on disk before the cancels go on without it.
const PERSIST_LIMIT: Duration = Duration::from_millis(200);
/// An engine that has not taken the command by then is passed by.
const ENGINE_LIMIT: Duration = Duration::from_millis(150);
/// Orders that are not confirmed to be gone by then are cancelled by the escape path, too.
const ESCAPE_AFTER: Duration = Duration::from_secs(2);
/// What one round of the escape path may take.
const ESCAPE_LIMIT: Duration = Duration::from_secs(10);
/// How often what was published is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What triggered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The control socket.
    Operator {
        /// Who.
        peer: String,
    },
    /// The kill file.
    File,
    /// SIGUSR2.
    Signal,
    /// A latch of an earlier run.
    Latched,
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { peer } => write!(f, "an operator ({peer})"),
            Self::File => write!(f, "the file {KILL_FILE}"),
            Self::Signal => f.write_str("SIGUSR2"),
            Self::Latched => f.write_str("the latch of an earlier run"),
        }
    }
}

/// What the emergency stop has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyReport {
    /// The latch is on disk: the next start knows (S2-032).
    pub persisted: bool,
    /// Why it is not, when it is not.
    pub persist_error: Option<String>,
    /// The journal's own lane took the record.
    pub journaled: bool,
    /// People were told: log, console, alert (S2-033).
    pub notified: bool,
    /// The engine took the command.
    pub engine_took_it: bool,
    /// Orders that the escape path cancelled because the engine did not.
    pub escape_orders: usize,
    /// Of these, not confirmed by the venue.
    pub escape_unconfirmed: usize,
    /// From the command until each of these cancels had been handed to the system; unit: milliseconds.
    pub handed_over_ms: Option<u64>,
    /// From the command until the escape path had its answers; unit: milliseconds.
    pub escape_ms: Option<u64>,
    /// Everything it had to do is confirmed by the venue.
    pub is_done: bool,
}

/// What is confirmed and what is not, in words.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Confirmed.
    pub confirmed: Vec<String>,
    /// Open.
    pub open: Vec<String>,
}

/// How a trigger was taken.
#[derive(Clone, Debug)]
pub enum Begun {
    /// It began now.
    Now,
    /// It had begun before.
    Before(Latch),
}

impl Begun {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Now => "latched: nothing that adds exposure leaves any more".to_owned(),
            Self::Before(latch) => format!("it was latched already by {}", latch.words()),
        }
    }
}

/// The emergency stop of one run. Clones share it.
#[derive(Clone, Debug)]
pub struct Emergency {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Shared,
    clock: Clock,
    ledger: ResourceLedger,
    alerts: AlertHub,
    beside: TaskGroup,
    kill_file: PathBuf,
    latch: Mutex<Option<Latch>>,
    /// Single flight (S2-031).
    has_begun: AtomicBool,
    /// A person has lifted the latch of an earlier run, and the engine has not taken it yet.
    is_rearming: AtomicBool,
    report: Mutex<EmergencyReport>,
}

impl Emergency {
    /// Reads the latch of earlier runs, and listens to file and signal. With a latch held nothing will ever be opened.
    #[must_use]
    pub fn install(lifecycle: &Lifecycle, shared: &Shared) -> Self {
        let supervisor = lifecycle.supervisor();
        let beside = supervisor.group(groups::BESIDE).on(lifecycle.control().handle());
        let emergency = Self {
            inner: Arc::new(Inner {
                shared: shared.clone(),
                clock: supervisor.clock(),
                ledger: supervisor.ledger(),
                alerts: lifecycle.alerts().clone(),
                beside,
                kill_file: shared.config.data_dir.join(KILL_FILE),
                latch: Mutex::new(None),
                has_begun: AtomicBool::new(false),
                is_rearming: AtomicBool::new(false),
                report: Mutex::default(),
            }),
        };
        emergency.take_earlier_latch();
        let on_signal = emergency.clone();
        lifecycle.control().on_user2(move || on_signal.by_signal());
        let by_file = emergency.clone();
        let task = emergency.inner.beside.spawn_with("kill-file", TaskKind::Background, |token| async move {
            loop {
                if let Some(reason) = by_file.kill_file_reason() {
                    by_file.trigger(Trigger::File, &reason).await;
                    return;
                }
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(KILL_FILE_INTERVAL) => {}
                }
            }
        });
        drop(task);
        emergency
    }

    /// A latch that an earlier run left: held, or lifted by a person since.
    fn take_earlier_latch(&self) {
        let latch = match latch_file::read(&self.inner.shared.folder) {
            Ok(None) => return,
            Ok(Some(latch)) => latch,
            Err(why) => {
                // What cannot be read is taken for held: fail closed.
                Latch::unreadable(self.inner.clock.now_ns(), &why)
            }
        };
        if latch.rearmed.is_some() {
            self.inner.is_rearming.store(true, Ordering::SeqCst);
            let task = self.inner.beside.spawn("rearm", TaskKind::Background, self.clone().carry_out_rearm(latch));
            drop(task);
            return;
        }
        self.inner.shared.gate.close(GateLevel::ExitsOnly);
        self.inner.has_begun.store(true, Ordering::SeqCst);
        out::note(&format!("HALTED by {}. Nothing is traded; `launcher rearm` lifts it", latch.words()));
        let reason = format!("latched since {}: {}", latch.utc, latch.reason);
        *self.inner.latch.lock() = Some(latch);
        *self.inner.report.lock() =
            EmergencyReport { persisted: true, notified: true, journaled: true, ..EmergencyReport::default() };
        let task = self.inner.beside.spawn("emergency-stop", TaskKind::Background, self.clone().carry_out(reason));
        drop(task);
    }

    /// A person lifted it while no bot ran: the engine is told, and the file goes to the archive.
    async fn carry_out_rearm(self, latch: Latch) {
        let Some(engine) = self.engine().await else { return };
        let mut is_commanded = false;
        while !engine.phase().has_ended {
            is_commanded = is_commanded || engine.command(Command::Rearm(RiskScope::Account)).is_ok();
            let status = engine.status();
            if is_commanded
                && status.ts != Timestamp::ZERO
                && engine.phase().is_started
                && !status.operator.is_emergency
            {
                self.inner.is_rearming.store(false, Ordering::SeqCst);
                match latch_file::archive(&self.inner.shared.folder, &latch) {
                    Ok(()) => tracing::warn!("the emergency stop's latch is lifted, as a person said"),
                    Err(error) => tracing::error!(%error, "the latch file could not be archived"),
                }
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Is it latched?
    #[must_use]
    pub fn is_latched(&self) -> bool {
        self.inner.has_begun.load(Ordering::SeqCst)
    }

    /// The latch, when it is held.
    #[must_use]
    pub fn latch(&self) -> Option<Latch> {
        self.inner.latch.lock().clone()
    }

    /// The kill file, where there is one.
    #[must_use]
    pub fn kill_file(&self) -> Option<PathBuf> {
        self.inner.kill_file.symlink_metadata().is_ok().then(|| self.inner.kill_file.clone())
    }

    fn kill_file_reason(&self) -> Option<String> {
        use std::io::Read as _;
        self.kill_file()?;
        let mut text = String::new();
        // Whatever it holds, its being there is what counts.
        if self.inner.kill_file.is_file()
            && let Ok(file) = std::fs::File::open(&self.inner.kill_file)
        {
            drop(file.take(KILL_FILE_BYTES_MAX).read_to_string(&mut text));
        }
        let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some(if text.is_empty() { "the file is there".to_owned() } else { text })
    }

    /// On the control thread, inside the signal's handling: the gate first, the rest as a task.
    fn by_signal(&self) {
        self.inner.shared.gate.close(GateLevel::ExitsOnly);
        let emergency = self.clone();
        let task = self.inner.beside.spawn("emergency-signal", TaskKind::Background, async move {
            emergency.trigger(Trigger::Signal, "SIGUSR2").await;
        });
        drop(task);
    }

    /// Triggers it. The gate is lowered before anything is awaited.
    pub async fn trigger(&self, trigger: Trigger, reason: &str) -> Begun {
        self.inner.shared.gate.close(GateLevel::ExitsOnly);
        if self.inner.has_begun.swap(true, Ordering::SeqCst) {
            let latch = self.latch();
            tracing::warn!(%trigger, reason, "emergency stop again: it is latched already");
            // The engine tries again to close what it has given up; nothing else begins anew.
            let has_given_up = |engine: &CoordinatorHandle| {
                engine.status().operator.winding.as_ref().is_some_and(|wind| wind.positions_given_up > 0)
            };
            if let Some(engine) = self.inner.shared.engine().filter(has_given_up)
                && engine.command(Command::EmergencyStop(reason.to_owned())).is_err()
            {
                tracing::warn!("emergency stop again: the engine cannot take it now; ask once more");
            }
            return latch.map_or(Begun::Now, Begun::Before);
        }
        let began = self.inner.clock.mono_ns();
        let latch = Latch::new(self.inner.clock.now_ns(), &trigger.to_string(), reason);
        *self.inner.latch.lock() = Some(latch.clone());
        self.append_record(reason);
        self.persist(latch.clone()).await;
        self.notify(&latch);
        let task =
            self.inner.beside.spawn("emergency-stop", TaskKind::Background, self.clone().carry_out(reason.to_owned()));
        drop(task);
        tracing::debug!(took_us = self.inner.clock.since(began).as_micros(), "emergency stop: handed over");
        Begun::Now
    }

    /// The journal's escape lane needs no engine and waits for no disk.
    fn append_record(&self, reason: &str) {
        let Some(journal) = self.inner.shared.parts.lock().journal.clone() else { return };
        let ts = Timestamp::from_ns(self.inner.clock.run_ns());
        let record = Record::Command(ts, Command::EmergencyStop(reason.to_owned()));
        match journal.append_escape(&record) {
            Ok(ticket) => {
                drop(ticket);
                self.inner.report.lock().journaled = true;
            }
            Err(error) => tracing::error!(%error, "emergency stop: the journal did not take the record"),
        }
    }

    /// On a thread of its own, because a disk may hang; what is not on disk in time is written on, and told as it is.
    async fn persist(&self, latch: Latch) {
        let (tell, told) = tokio::sync::oneshot::channel();
        let (folder, emergency) = (self.inner.shared.folder.clone(), self.clone());
        let lease = self.inner.ledger.lease(LeaseKind::Thread, "launcher", "latch");
        let thread = spawn_thread("latch", lease, move || {
            let written = latch_file::write(&folder, &latch);
            {
                let mut report = emergency.inner.report.lock();
                report.persisted = written.is_ok();
                report.persist_error = written.err().map(|error| error.to_string());
            }
            let is_awaited = tell.send(()).is_ok();
            tracing::debug!(is_awaited, "emergency stop: the latch was written");
        });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                self.inner.report.lock().persist_error = Some(error.to_string());
                return;
            }
        };
        if tokio::time::timeout(PERSIST_LIMIT, told).await.is_err() {
            self.inner.report.lock().persist_error = Some("the disk does not answer yet".to_owned());
            tracing::error!("emergency stop: the latch is not on disk yet; going on");
        }
        drop(thread);
    }

    fn notify(&self, latch: &Latch) {
        let message = format!("EMERGENCY STOP by {}", latch.words());
        keel_lifecycle::console_line(&message);
        let kind = "emergency_stop";
        self.inner.alerts.raise(Alert { severity: Severity::Critical, kind, message, ts_ns: latch.ts_ns });
        self.inner.report.lock().notified = true;
    }

    /// Waits for the engine of a run that starts; `None` when the run ends first.
    async fn engine(&self) -> Option<CoordinatorHandle> {
        let token = self.inner.beside.token();
        loop {
            if let Some(engine) = self.inner.shared.engine() {
                return Some(engine);
            }
            tokio::select! {
                biased;
                () = token.cancelled() => return None,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Cancels and closes, by the engine; by the escape path where the engine does not.
    async fn carry_out(self, reason: String) {
        let Some(engine) = self.engine().await else { return };
        let clock = &self.inner.clock;
        let began = clock.mono_ns();
        let (mut is_commanded, mut has_escaped) = (false, false);
        while !engine.phase().has_ended {
            is_commanded = is_commanded || engine.command(Command::EmergencyStop(reason.clone())).is_ok();
            let status = engine.status();
            let is_taken = status.operator.is_emergency && status.operator.winding.is_some();
            self.inner.report.lock().engine_took_it |= is_taken;
            let waited = clock.since(began);
            let limit = if is_taken { ESCAPE_AFTER } else { ENGINE_LIMIT };
            if waited > limit && !has_escaped && !engine.board().is_empty() {
                has_escaped = true;
                self.escape(began).await;
                continue;
            }
            if is_taken
                && status.operator.winding.as_ref().is_some_and(|wind| wind.is_done)
                && engine.board().is_empty()
            {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let is_done = engine.status().operator.winding.as_ref().is_some_and(|wind| wind.is_done);
        self.inner.report.lock().is_done = is_done;
        if is_done {
            tracing::warn!(
                took_ms = clock.since(began).as_millis(),
                "emergency stop: everything is confirmed by the venue"
            );
        }
    }

    async fn escape(&self, began: u64) {
        let escape: Option<Arc<EscapePath>> = self.inner.shared.parts.lock().escape.clone();
        let Some(escape) = escape else { return };
        tracing::error!("emergency stop: the engine has not cancelled its orders; the escape path does");
        let waited = u64::try_from(self.inner.clock.since(began).as_millis()).unwrap_or(u64::MAX);
        let report = escape.cancel_published(EscapeScope::All, ESCAPE_LIMIT).await;
        tracing::warn!("emergency stop: {}", report.to_string().lines().next().unwrap_or_default());
        let took = self.inner.clock.since(began).as_millis();
        let mut own = self.inner.report.lock();
        own.escape_orders = report.orders.len();
        own.escape_unconfirmed = report.unconfirmed();
        own.handed_over_ms = report.handed_over_ms.map(|took| waited.saturating_add(took));
        own.escape_ms = Some(u64::try_from(took).unwrap_or(u64::MAX));
    }

    /// Waits until everything is confirmed or the deadline has passed; says how it stands.
    pub async fn follow(&self, deadline: &Deadline) -> (Told, EmergencyReport) {
        loop {
            let report = self.inner.report.lock().clone();
            if report.is_done || deadline.is_past() {
                return (self.told(&report), report);
            }
            if self.inner.shared.engine().is_none_or(|engine| engine.phase().has_ended) {
                let mut told = self.told(&report);
                told.open.push(
                    "the engine is not there; what is open is known by the next start, or at the venue".to_owned(),
                );
                return (told, report);
            }
            tokio::time::sleep(LOOK_AGAIN.min(deadline.remaining())).await;
        }
    }

    fn told(&self, report: &EmergencyReport) -> Told {
        let mut told = Told::default();
        let mut add = |is_so: bool, yes: &str, no: String| {
            if is_so { told.confirmed.push(yes.to_owned()) } else { told.open.push(no) }
        };
        let why = report.persist_error.as_deref().unwrap_or("not yet");
        add(
            report.persisted,
            "the latch is on disk: a restart stays halted",
            format!("the latch is not on disk: {why}"),
        );
        add(report.notified, "people were told", "nobody was told".to_owned());
        let Some(engine) = self.inner.shared.engine() else { return told };
        let status = engine.status();
        add(
            report.engine_took_it,
            "the engine took it",
            "the engine has not taken it: a strategy may block".to_owned(),
        );
        if report.escape_orders > 0 {
            let (orders, left) = (report.escape_orders, report.escape_unconfirmed);
            let took = report.escape_ms.unwrap_or_default();
            told.confirmed.push(format!("the escape path cancelled {} of {orders} orders in {took} ms", orders - left));
        }
        if report.is_done {
            told.confirmed.push("no order of ours is open and no position is held, confirmed by the venue".to_owned());
            return told;
        }
        match &status.operator.winding {
            Some(wind) if report.engine_took_it => told.open.extend(super::control::winding_words(wind)),
            _ => {
                let open = if report.escape_orders > 0 { report.escape_unconfirmed } else { engine.board().len() };
                if open > 0 {
                    told.open.push(format!("{open} orders are not confirmed to be gone"));
                }
                if !status.positions.is_empty() {
                    told.open.push(format!("{} positions are not closed", status.positions.len()));
                }
            }
        }
        told
    }

    /// A person lifts the latch of a running bot: what happened goes to the archive.
    pub fn lift(&self, by: &str, reason: &str) -> std::io::Result<()> {
        let Some(mut latch) = self.latch() else { return Ok(()) };
        latch.rearmed = Some(Rearmed::new(self.inner.clock.now_ns(), by, reason));
        latch_file::archive(&self.inner.shared.folder, &latch)?;
        *self.inner.latch.lock() = None;
        Ok(())
    }

    /// Returns when it is latched: by a trigger, or because the journal says so.
    pub async fn halted(&self, engine: &CoordinatorHandle) {
        loop {
            // What the journal still says of a latch that a person has lifted does not count.
            let is_rearming = self.inner.is_rearming.load(Ordering::SeqCst);
            if self.is_latched() || (!is_rearming && engine.status().operator.is_emergency) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
