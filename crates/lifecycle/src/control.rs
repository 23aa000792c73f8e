//! The control thread: an OS thread with its own small runtime that holds the signal handlers, so that it acts while the
//! trading runtime is blocked or has panicked.
//!
//! Invariants: the handlers are installed when [`ControlPlane::start`] returns, so a signal during start-up is heard;
//! what must happen at once runs on this thread before anybody else hears of the stop; nothing here waits for the trading
//! runtime. What others run on this runtime must not block it: the watchdog sees it if they do.
//!
//! Once installed, the handlers stay until the process ends: keep the plane until there is nothing left to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::console::console_line;
use crate::error::LifecycleError;
use crate::ledger::{LeaseKind, ResourceLedger};
use crate::reason::{StopReason, StopSignal, Urgency};
use crate::registry::TaskRegistry;
use crate::supervisor::Supervisor;
use crate::thread::{ThreadHandle, spawn_thread};

/// How often the control runtime shows that it is alive.
const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// How long the control runtime may take to let go of its tasks at the end.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(200);

type DumpFn = Box<dyn Fn() -> String + Send + Sync>;
type SignalFn = Box<dyn Fn() + Send + Sync>;

struct Shared {
    stop: StopSignal,
    registry: TaskRegistry,
    ledger: ResourceLedger,
    dumps: Mutex<Vec<(String, DumpFn)>>,
    /// What SIGUSR2 means to the program, where it means more than a dump.
    user2: Mutex<Option<SignalFn>>,
    beats: Arc<AtomicU64>,
    shutdown: CancellationToken,
}

/// The control thread. Dropping it ends the thread without waiting; [`ControlPlane::shutdown`] waits.
pub struct ControlPlane {
    shared: Arc<Shared>,
    handle: Handle,
    thread: Option<ThreadHandle<()>>,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane").field("beats", &self.shared.beats).finish_non_exhaustive()
    }
}

/// What a signal asks for.
enum Heard {
    Stop(StopReason),
    Dump,
    User2,
}

/// The installed handlers.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    fn install() -> Result<Self, LifecycleError> {
        let one = |name, kind| signal(kind).map_err(|source| LifecycleError::Signal { signal: name, source });
        Ok(Self {
            interrupt: one("SIGINT", SignalKind::interrupt())?,
            terminate: one("SIGTERM", SignalKind::terminate())?,
            hangup: one("SIGHUP", SignalKind::hangup())?,
            quit: one("SIGQUIT", SignalKind::quit())?,
            user1: one("SIGUSR1", SignalKind::user_defined1())?,
            user2: one("SIGUSR2", SignalKind::user_defined2())?,
        })
    }

    /// The next signal.
    async fn next(&mut self) -> Heard {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Heard::Stop(StopReason::Interrupt),
            Some(()) = self.terminate.recv() => Heard::Stop(StopReason::Terminate),
            Some(()) = self.hangup.recv() => Heard::Stop(StopReason::Hangup),
            Some(()) = self.quit.recv() => Heard::Dump,
            Some(()) = self.user1.recv() => Heard::Dump,
            Some(()) = self.user2.recv() => Heard::User2,
            else => std::future::pending().await,
        }
    }
}

impl ControlPlane {
    /// Starts the control thread and, with `signals`, installs the handlers for SIGINT, SIGTERM, SIGHUP, SIGQUIT,
    /// SIGUSR1 and SIGUSR2 before it returns, and takes those that [`hold_signals`](crate::hold_signals) held back.
    ///
    /// # Errors
    /// When the thread, its runtime or a handler cannot be had; then nothing is left running.
    pub fn start(supervisor: &Supervisor, signals: bool) -> Result<Self, LifecycleError> {
        let shared = Arc::new(Shared {
            stop: supervisor.stop_signal(),
            registry: supervisor.registry(),
            ledger: supervisor.ledger(),
            dumps: Mutex::new(Vec::new()),
            user2: Mutex::new(None),
            beats: Arc::new(AtomicU64::new(0)),
            shutdown: CancellationToken::new(),
        });
        let lease = shared.ledger.lease(LeaseKind::Thread, "lifecycle", "control").until_exit();
        let (ready, is_ready) = sync_channel(1);
        let in_thread = shared.clone();
        let thread = spawn_thread("control", lease, move || {
            let runtime = match Builder::new_current_thread().enable_all().thread_name("control-blocking").build() {
                Ok(runtime) => runtime,
                Err(source) => {
                    drop(ready.try_send(Err(LifecycleError::Runtime { which: "control", source })));
                    return;
                }
            };
            runtime.block_on(async {
                let installed = match signals.then(Signals::install).transpose() {
                    Ok(installed) => installed,
                    Err(error) => {
                        drop(ready.try_send(Err(error)));
                        return;
                    }
                };
                if installed.is_some() {
                    crate::signal_mask::release_signals();
                }
                drop(ready.try_send(Ok(Handle::current())));
                control_loop(&in_thread, installed).await;
            });
            runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
        })?;
        match is_ready.recv() {
            Ok(Ok(handle)) => Ok(Self { shared, handle, thread: Some(thread) }),
            Ok(Err(error)) => {
                thread.join()?;
                Err(error)
            }
            Err(_) => Err(thread.join().err().unwrap_or_else(|| LifecycleError::ThreadPanicked {
                name: "control".to_owned(),
                message: "it ended before it was ready".to_owned(),
            })),
        }
    }

    /// The control runtime, for what must work while trading is blocked: health, monitor, escape path. Spawn on it through
    /// a task group: `supervisor.group("health").on(control.handle())`.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Adds a section to what SIGQUIT and SIGUSR1 print (and SIGUSR2, unless it means something else), such as queues and open orders. It must not block.
    pub fn on_dump(&self, title: impl Into<String>, dump: impl Fn() -> String + Send + Sync + 'static) {
        self.shared.dumps.lock().push((title.into(), Box::new(dump)));
    }

    /// What SIGUSR2 means, instead of a dump. It runs on the control thread and must not block.
    pub fn on_user2(&self, meaning: impl Fn() + Send + Sync + 'static) {
        *self.shared.user2.lock() = Some(Box::new(meaning));
    }

    /// What SIGQUIT and SIGUSR1 print: the live tasks, the leases and the registered sections.
    #[must_use]
    pub fn dump(&self) -> String {
        self.shared.dump()
    }

    /// Asks for the stop when `after` has passed, even if the trading runtime is blocked by then.
    pub fn stop_after(&self, after: Duration) {
        let shared = self.shared.clone();
        self.handle.spawn(async move {
            tokio::select! {
                () = shared.shutdown.cancelled() => {}
                () = tokio::time::sleep(after) => {
                    shared.stop.request(StopReason::DurationElapsed);
                }
            }
        });
    }

    /// Counts up while the control runtime is alive.
    pub(crate) fn beats(&self) -> Arc<AtomicU64> {
        self.shared.beats.clone()
    }

    /// Ends the control thread and waits for it. From then on the signals it handled do nothing.
    ///
    /// # Errors
    /// When the thread panicked or did not end within `limit`.
    pub fn shutdown(mut self, limit: Duration) -> Result<(), LifecycleError> {
        self.shared.shutdown.cancel();
        match self.thread.take() {
            Some(thread) => thread.join_timeout(limit),
            None => Ok(()),
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.shared.shutdown.cancel();
    }
}

async fn control_loop(shared: &Shared, mut signals: Option<Signals>) {
    let mut stops_seen = 0_u32;
    let mut beat = tokio::time::interval(BEAT_INTERVAL);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let next = async {
            match &mut signals {
                Some(signals) => signals.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            received = next => match received {
                Heard::Stop(reason) => {
                    stops_seen += 1;
                    shared.on_stop_signal(reason, stops_seen);
                }
                Heard::Dump => shared.print_dump(),
                Heard::User2 => shared.on_user2(),
            },
            () = shared.shutdown.cancelled() => return,
            _ = beat.tick() => {
                shared.beats.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    /// First: orderly. Second: urgent. Third: abort.
    fn on_stop_signal(&self, reason: StopReason, seen: u32) {
        let name = reason.to_string();
        // A repeated signal counts too: 130 beats 0.
        self.stop.request(reason);
        match seen {
            1 => console_line(&format!("{name}: stopping in order; again to hurry, a third time to leave at once")),
            2 => {
                self.stop.raise(Urgency::Urgent);
                console_line(&format!(
                    "{name} again: optional steps are cut, orders are still cancelled, the journal is still flushed"
                ));
            }
            _ => {
                self.stop.raise(Urgency::Abort);
                console_line(&format!(
                    "{name} a third time: leaving now; still live: {}",
                    listed(&self.registry.names())
                ));
            }
        }
    }

    fn on_user2(&self) {
        match &*self.user2.lock() {
            Some(meaning) => {
                if catch_unwind(AssertUnwindSafe(meaning)).is_err() {
                    console_line("what SIGUSR2 means to this program panicked");
                }
            }
            None => self.print_dump(),
        }
    }

    fn print_dump(&self) {
        for line in self.dump().lines() {
            console_line(line);
        }
    }

    fn dump(&self) -> String {
        let mut lines = vec!["--- dump: tasks ---".to_owned()];
        for task in self.registry.live() {
            let state = match (task.is_thread, task.cancelled, task.polls % 2 == 1) {
                (true, cancelled, _) => {
                    if cancelled {
                        "thread, cancelled"
                    } else {
                        "thread"
                    }
                }
                (false, true, _) => "cancelled",
                (false, false, true) => "running",
                (false, false, false) => "waiting",
            };
            lines.push(format!("{} ({state}, {} polls)", task.name, task.polls / 2));
        }
        lines.push("--- dump: leases ---".to_owned());
        lines.extend(self.ledger.live().iter().map(|lease| format!("{} {}/{}", lease.kind, lease.owner, lease.name)));
        for (title, dump) in self.dumps.lock().iter() {
            lines.push(format!("--- dump: {title} ---"));
            lines.push(catch_unwind(AssertUnwindSafe(dump)).unwrap_or_else(|_| "(this section panicked)".to_owned()));
        }
        lines.push("--- end of dump ---".to_owned());
        lines.join("\n")
    }
}

/// Names in one line; "nothing" if there are none.
pub(crate) fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::TaskKind;

    #[test]
    fn plane_starts_runs_others_futures_and_shuts_down() {
        let supervisor = Supervisor::default();
        let control = ControlPlane::start(&supervisor, false).unwrap();
        control.on_dump("queues", || "market 3/1024".to_owned());
        control.on_dump("broken", || panic!("bad section"));
        let group = supervisor.group("health").on(control.handle());
        let (sender, receiver) = sync_channel(1);
        let handle = group.spawn("probe", TaskKind::Background, async move {
            drop(sender.send(std::thread::current().name().map(str::to_owned)));
        });
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("control"));
        drop(handle);
        let dump = control.dump();
        for needle in ["dump: queues", "market 3/1024", "(this section panicked)", "thread lifecycle/control"] {
            assert!(dump.contains(needle), "{needle} is missing in\n{dump}");
        }
        control.shutdown(Duration::from_secs(20)).unwrap();
        assert_eq!(supervisor.ledger().total(), 0);
    }

    #[test]
    fn duration_is_kept_by_the_control_thread() {
        let supervisor = Supervisor::default();
        let control = ControlPlane::start(&supervisor, false).unwrap();
        let (sender, receiver) = sync_channel(1);
        supervisor.stop_signal().on_request(move |reason| drop(sender.try_send(reason.clone())));
        control.stop_after(Duration::from_millis(5));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), StopReason::DurationElapsed);
        control.shutdown(Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn one_two_three_signals_raise_the_urgency() {
        let supervisor = Supervisor::default();
        let control = ControlPlane::start(&supervisor, false).unwrap();
        let stop = supervisor.stop_signal();
        for (seen, want) in [(1, Urgency::Orderly), (2, Urgency::Urgent), (3, Urgency::Abort), (4, Urgency::Abort)] {
            control.shared.on_stop_signal(StopReason::Interrupt, seen);
            assert_eq!(stop.urgency(), want);
        }
        control.shutdown(Duration::from_secs(20)).unwrap();
    }
}
