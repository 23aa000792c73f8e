//! The last resort: a plain thread that ends the process when the stop cannot.
//!
//! It fires when the trading runtime does not beat (blocked), when the stop outlasts its total, or when a third signal
//! has been given and the process is still there. Then: who is live and who blocks, the escape path on the control
//! runtime, last words, exit code 1. It counts its own ticks, not wall time, so a machine that was asleep or a process
//! that was stopped does not count as blocked. Every wait has a limit, also that for stderr.
//!
//! A task that computes for seconds without awaiting looks blocked, and is: let it yield, or give it a thread of its own
//! ([`TaskGroup::spawn_thread`]).

mod hard_exit;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::alert::{Alert, AlertHub, Severity};
use crate::clock::Clock;
use crate::console::console_line;
use crate::control::{ControlPlane, listed};
use crate::error::LifecycleError;
use crate::ledger::{LeaseKind, ResourceLedger};
use crate::reason::{StopReason, StopSignal, Urgency};
use crate::registry::{TaskInfo, TaskRegistry};
use crate::supervisor::{Supervisor, TaskGroup, TaskHandle, TaskKind};
use crate::thread::{ThreadHandle, spawn_thread, start_thread};

/// How patient the watchdog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// How often it looks, and how often the trading runtime beats.
    pub tick: Duration,
    /// No beat for this long raises an alert with the names of those who block.
    pub alert_after: Duration,
    /// No beat for this long asks for the stop, which closes the gate.
    pub blocked_after: Duration,
    /// No beat for this long, once the stop has been asked for, ends the process by way of the escape path.
    pub blocked_after_stop: Duration,
    /// What the stop may take beyond the total of its plan: runtime shutdown, leak report, summary.
    pub stop_grace: Duration,
    /// The escape path's own limit.
    pub escape_limit: Duration,
    /// From the third signal to the end of the process, at most.
    pub abort_limit: Duration,
    /// The limit of the last words: flushing logs, printing names.
    pub last_words_limit: Duration,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(50),
            alert_after: Duration::from_secs(1),
            blocked_after: Duration::from_secs(10),
            blocked_after_stop: Duration::from_secs(2),
            stop_grace: Duration::from_secs(5),
            escape_limit: Duration::from_secs(3),
            abort_limit: Duration::from_millis(500),
            last_words_limit: Duration::from_millis(200),
        }
    }
}

/// Why the watchdog ends the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EscapeCause {
    /// The trading runtime does not answer although the stop has been asked for.
    RuntimeBlocked {
        /// For how long.
        for_ms: u64,
    },
    /// The stop did not end in time.
    StopOverdue {
        /// How long it was allowed to take.
        allowed_ms: u64,
    },
    /// A third signal was given.
    Aborted,
}

impl std::fmt::Display for EscapeCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RuntimeBlocked { for_ms } => write!(f, "the trading runtime has not answered for {for_ms} ms"),
            Self::StopOverdue { allowed_ms } => write!(f, "the stop did not end within {allowed_ms} ms"),
            Self::Aborted => f.write_str("a third signal was given"),
        }
    }
}

type EscapeFuture = Pin<Box<dyn Future<Output = String> + Send>>;
type EscapeFn = Box<dyn Fn(EscapeCause) -> EscapeFuture + Send + Sync>;
type LastWord = Arc<dyn Fn() + Send + Sync>;
type LeftFn = Arc<dyn Fn() -> String + Send + Sync>;
type ExitFn = Box<dyn Fn(u8) + Send>;

#[derive(Default)]
struct State {
    disarmed: bool,
    /// Beats are expected only while this is set.
    watching: bool,
    /// How long the whole stop may take, once it has been asked for.
    stop_allowed: Duration,
    escape: Option<EscapeFn>,
    last_words: Vec<LastWord>,
    left: Vec<LeftFn>,
}

struct Shared {
    config: WatchdogConfig,
    state: Mutex<State>,
    wake: Condvar,
    beats: AtomicU64,
    control_beats: Arc<AtomicU64>,
    control: Handle,
    registry: TaskRegistry,
    ledger: ResourceLedger,
    stop: StopSignal,
    alerts: AlertHub,
    clock: Clock,
}

/// The watchdog's thread and its settings. Clones share it.
#[derive(Clone)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<ThreadHandle<()>>>>,
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Watchdog {
    /// Starts the watchdog's thread. `stop_total` is what the stop plan may take.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        config: WatchdogConfig,
        stop_total: Duration,
        supervisor: &Supervisor,
        control: &ControlPlane,
        alerts: AlertHub,
    ) -> Result<Self, LifecycleError> {
        Self::start_with(config, stop_total, supervisor, control, alerts, Box::new(hard_exit::hard_exit))
    }

    fn start_with(
        config: WatchdogConfig,
        stop_total: Duration,
        supervisor: &Supervisor,
        control: &ControlPlane,
        alerts: AlertHub,
        exit: ExitFn,
    ) -> Result<Self, LifecycleError> {
        let state = State { stop_allowed: stop_total + config.stop_grace, ..State::default() };
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(state),
            wake: Condvar::new(),
            beats: AtomicU64::new(0),
            control_beats: control.beats(),
            control: control.handle(),
            registry: supervisor.registry(),
            ledger: supervisor.ledger(),
            stop: supervisor.stop_signal(),
            alerts,
            clock: Clock::system(),
        });
        let lease = shared.ledger.lease(LeaseKind::Thread, "lifecycle", "watchdog").until_exit();
        let in_thread = shared.clone();
        let thread = spawn_thread("watchdog", lease, move || watch(&in_thread, &exit))?;
        Ok(Self { shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Makes a runtime beat: one task of `group`, on the runtime that the group is bound to. From now on silence counts.
    pub fn watch_runtime(&self, group: &TaskGroup) -> TaskHandle {
        let shared = self.shared.clone();
        let handle = group.spawn_with("heartbeat", TaskKind::Critical, move |token| async move {
            let mut tick = tokio::time::interval(shared.config.tick);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    _ = tick.tick() => { shared.beats.fetch_add(1, Ordering::Relaxed); }
                }
            }
        });
        self.shared.state.lock().watching = true;
        handle
    }

    /// How often the watched runtime has beaten.
    pub(crate) fn beats(&self) -> u64 {
        self.shared.beats.load(Ordering::Relaxed)
    }

    /// Silence no longer counts: the runtime is about to be shut down.
    pub fn unwatch_runtime(&self) {
        self.shared.state.lock().watching = false;
    }

    /// What the plan may take, once it is known.
    pub fn set_stop_total(&self, total: Duration) {
        self.shared.state.lock().stop_allowed = total + self.shared.config.stop_grace;
    }

    /// The escape path: run on the control runtime when the trading runtime cannot stop by itself, for example cancelling
    /// our open orders by their ids. What it returns is printed. Called at most once.
    pub fn on_escape<F, Fut>(&self, escape: F)
    where
        F: Fn(EscapeCause) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = String> + Send + 'static,
    {
        self.shared.state.lock().escape = Some(Box::new(move |cause| Box::pin(escape(cause))));
    }

    /// Something to flush before the process is ended by force, such as a log file. All together have a short limit.
    pub fn on_last_words(&self, flush: impl Fn() + Send + Sync + 'static) {
        self.shared.state.lock().last_words.push(Arc::new(flush));
    }

    /// What stays when the process is ended by force, such as open orders and positions: printed then, within a short limit.
    /// It must not wait for the trading runtime.
    pub fn on_left(&self, left: impl Fn() -> String + Send + Sync + 'static) {
        self.shared.state.lock().left.push(Arc::new(left));
    }

    /// Ends the watchdog: the process can be trusted to end by itself. Returns when its thread has ended.
    ///
    /// # Errors
    /// When the thread panicked or is busy ending the process.
    pub fn disarm(&self) -> Result<(), LifecycleError> {
        self.shared.state.lock().disarmed = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().take();
        let config = &self.shared.config;
        let limit = config.escape_limit + config.last_words_limit + config.tick * 4 + Duration::from_secs(1);
        thread.map_or(Ok(()), |thread| thread.join_timeout(limit))
    }
}

/// What the watchdog remembers from tick to tick.
#[derive(Default)]
struct Watch {
    beats: u64,
    silent: Duration,
    /// The live tasks when the silence began.
    suspects: Vec<TaskInfo>,
    alerted: bool,
    control_beats: u64,
    control_silent: Duration,
    since_stop: Duration,
    since_abort: Duration,
}

fn watch(shared: &Shared, exit: &ExitFn) {
    let mut watch = Watch::default();
    let mut last_ns = shared.clock.mono_ns();
    loop {
        {
            let mut state = shared.state.lock();
            if !state.disarmed {
                shared.wake.wait_for(&mut state, shared.config.tick);
            }
            if state.disarmed {
                return;
            }
        }
        let now_ns = shared.clock.mono_ns();
        // A gap means that this process or machine was stopped, and so was everything else.
        let passed = Duration::from_nanos(now_ns.saturating_sub(last_ns)).min(shared.config.tick * 4);
        last_ns = now_ns;
        if let Some(cause) = watch.tick(shared, passed) {
            end_process(shared, &watch, &cause, exit);
            return;
        }
    }
}

impl Watch {
    fn tick(&mut self, shared: &Shared, passed: Duration) -> Option<EscapeCause> {
        let stopping = shared.stop.is_requested();
        if stopping {
            self.since_stop += passed;
        }
        if shared.stop.urgency() == Urgency::Abort {
            self.since_abort += passed;
            if self.since_abort >= shared.config.abort_limit {
                return Some(EscapeCause::Aborted);
            }
        }
        let (watching, stop_allowed) = {
            let state = shared.state.lock();
            (state.watching, state.stop_allowed)
        };
        if stopping && self.since_stop > stop_allowed {
            return Some(EscapeCause::StopOverdue { allowed_ms: stop_allowed.as_millis() as u64 });
        }
        self.look_at_control(shared, passed);
        self.look_at_runtime(shared, passed, watching, stopping)
    }

    fn look_at_runtime(
        &mut self,
        shared: &Shared,
        passed: Duration,
        watching: bool,
        stopping: bool,
    ) -> Option<EscapeCause> {
        let beats = shared.beats.load(Ordering::Relaxed);
        if !watching || beats != self.beats {
            if self.alerted {
                let message = format!("the trading runtime answers again after {} ms", self.silent.as_millis());
                shared.alert(Severity::Info, "runtime_blocked", message);
            }
            (self.beats, self.silent, self.alerted) = (beats, Duration::ZERO, false);
            self.suspects.clear();
            return None;
        }
        if self.silent.is_zero() {
            self.suspects = shared.registry.live();
        }
        self.silent += passed;
        if self.silent >= shared.config.alert_after && !self.alerted {
            self.alerted = true;
            let blocking = listed(&shared.registry.blocked_since(&self.suspects));
            let message = format!(
                "the trading runtime has not answered for {} ms; blocked in: {blocking}",
                self.silent.as_millis()
            );
            shared.alert(Severity::Error, "runtime_blocked", message);
        }
        if !stopping && self.silent >= shared.config.blocked_after {
            let blocking = listed(&shared.registry.blocked_since(&self.suspects));
            shared.request_stop(format!("the trading runtime is blocked in: {blocking}"));
            return None;
        }
        // Both count: it may have been silent for long before the stop was asked for, and then deserves a last chance.
        let limit = shared.config.blocked_after_stop;
        (stopping && self.silent >= limit && self.since_stop >= limit)
            .then_some(EscapeCause::RuntimeBlocked { for_ms: self.silent.as_millis() as u64 })
    }

    /// A blocked control thread hears no signals: that is a reason to stop while the trading runtime still can.
    fn look_at_control(&mut self, shared: &Shared, passed: Duration) {
        let beats = shared.control_beats.load(Ordering::Relaxed);
        if beats != self.control_beats {
            (self.control_beats, self.control_silent) = (beats, Duration::ZERO);
            return;
        }
        let before = self.control_silent;
        self.control_silent += passed;
        let limit = shared.config.blocked_after;
        if before < limit && self.control_silent >= limit {
            let what = format!("the control thread has not answered for {} ms", self.control_silent.as_millis());
            shared.request_stop(what);
        }
    }
}

impl Shared {
    // Alerts are logged and callbacks are the caller's: neither may hold the watchdog, so both run beside it.

    fn alert(&self, severity: Severity, kind: &'static str, message: String) {
        let (alerts, alert) = (self.alerts.clone(), Alert { severity, kind, message, ts_ns: self.clock.now_ns() });
        within(self.config.last_words_limit, move || alerts.raise(alert));
    }

    fn request_stop(&self, what: String) {
        let stop = self.stop.clone();
        within(self.config.last_words_limit, move || {
            stop.request(StopReason::Fault { what });
        });
    }

    /// Runs the escape path on the control runtime, within its limit.
    fn escape(&self, cause: &EscapeCause) -> String {
        let Some(escape) = self.state.lock().escape.take() else { return "none is registered".to_owned() };
        let (sender, receiver) = sync_channel(1);
        let cause = cause.clone();
        self.control.spawn(async move {
            let text = escape(cause).await;
            sender.try_send(text).ok();
        });
        let limit = self.config.escape_limit;
        receiver.recv_timeout(limit).unwrap_or_else(|_| format!("NOT CONFIRMED within {} ms", limit.as_millis()))
    }
}

/// Escape, last words, exit. A full pipe on stderr must not keep us, so all words are spoken by a helper thread.
fn end_process(shared: &Shared, watch: &Watch, cause: &EscapeCause, exit: &ExitFn) {
    let live = shared.registry.names();
    let blocking = shared.registry.blocked_since(&watch.suspects);
    let leases: Vec<String> = shared
        .ledger
        .live()
        .iter()
        .filter(|lease| !lease.until_exit)
        .map(|lease| format!("{} {}/{}", lease.kind, lease.owner, lease.name))
        .collect();
    let first = [
        format!("watchdog: {cause}; ending the process"),
        format!("watchdog: live tasks: {}", listed(&live)),
        format!("watchdog: blocked in: {}", listed(&blocking)),
        format!("watchdog: leases held: {}", listed(&leases)),
    ];
    within(shared.config.last_words_limit, move || first.iter().for_each(|line| console_line(line)));
    // After a third signal nothing is waited for any more.
    let escaped = if *cause == EscapeCause::Aborted { None } else { Some(shared.escape(cause)) };
    let (words, left) = {
        let state = shared.state.lock();
        (state.last_words.clone(), state.left.clone())
    };
    within(shared.config.last_words_limit, move || {
        left.iter()
            .flat_map(|left| left().lines().map(str::to_owned).collect::<Vec<_>>())
            .for_each(|line| console_line(&line));
    });
    let errors = 1 + live.len() + leases.len();
    within(shared.config.last_words_limit, move || {
        if let Some(escaped) = escaped {
            console_line(&format!("watchdog: escape path: {escaped}"));
        }
        console_line(&crate::run::final_line(errors));
        console_line(&format!("exit code: {}", crate::exit::ExitStatus::Failed));
        words.iter().for_each(|flush| flush());
    });
    exit(crate::exit::ExitStatus::Failed.code());
}

/// Runs `work` on a thread of its own and waits for it no longer than `limit`.
fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = sync_channel::<()>(1);
    let spawned = start_thread("last-words", move || {
        work();
        drop(sender);
    });
    if spawned.is_ok() {
        // Disconnected means done.
        receiver.recv_timeout(limit).ok();
    }
}

#[cfg(test)]
mod tests;
