//! Why and how fast the system stops, and the one signal that everybody asks and hears it through.
//!
//! Invariants: the first request runs the immediate callbacks exactly once, before anybody else hears of the stop;
//! urgency only rises; every reason is kept (bounded), because the exit code is decided by the worst of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::exit::ExitStatus;

/// Why the system stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StopReason {
    /// The run's duration has passed.
    DurationElapsed,
    /// A person or a program asked for it (command, control socket).
    Requested {
        /// Who asked.
        by: String,
    },
    /// The work is done, for example the recording has ended.
    Finished {
        /// What has ended.
        what: String,
    },
    /// SIGINT, Ctrl+C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
    /// A task panicked.
    TaskPanicked {
        /// The task, as group/name.
        task: String,
        /// Message and place of the panic.
        message: String,
    },
    /// A task ended with an error.
    TaskFailed {
        /// The task, as group/name.
        task: String,
        /// The error.
        error: String,
    },
    /// A critical task ended although nobody had cancelled it.
    TaskReturned {
        /// The task, as group/name.
        task: String,
    },
    /// A restartable task has used up its restarts.
    RestartsExhausted {
        /// The task, as group/name.
        task: String,
        /// How often it was restarted within the window.
        restarts: u32,
        /// How it ended the last time.
        last: String,
    },
    /// The system could not start.
    StartFailed {
        /// The cause.
        cause: String,
    },
    /// Something else makes it unsafe to go on (a full execution lane, a blocked control thread).
    Fault {
        /// What has happened.
        what: String,
    },
}

impl StopReason {
    /// The exit status that this reason alone leads to when the stop itself is clean.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::DurationElapsed | Self::Requested { .. } | Self::Finished { .. } | Self::Terminate | Self::Hangup => {
                ExitStatus::Clean
            }
            Self::Interrupt => ExitStatus::Interrupted,
            Self::TaskPanicked { .. }
            | Self::TaskFailed { .. }
            | Self::TaskReturned { .. }
            | Self::RestartsExhausted { .. }
            | Self::StartFailed { .. }
            | Self::Fault { .. } => ExitStatus::Failed,
        }
    }

    /// Whether something went wrong, as opposed to somebody asking.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.exit_status() == ExitStatus::Failed
    }
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DurationElapsed => f.write_str("duration reached"),
            Self::Requested { by } => write!(f, "asked to stop by {by}"),
            Self::Finished { what } => write!(f, "{what} has ended"),
            Self::Interrupt => f.write_str("SIGINT"),
            Self::Terminate => f.write_str("SIGTERM"),
            Self::Hangup => f.write_str("SIGHUP"),
            Self::TaskPanicked { task, message } => write!(f, "task {task} panicked: {message}"),
            Self::TaskFailed { task, error } => write!(f, "task {task} failed: {error}"),
            Self::TaskReturned { task } => write!(f, "task {task} returned although nobody had cancelled it"),
            Self::RestartsExhausted { task, restarts, last } => {
                write!(f, "task {task} used up its {restarts} restarts; last: {last}")
            }
            Self::StartFailed { cause } => write!(f, "start failed: {cause}"),
            Self::Fault { what } => write!(f, "fault: {what}"),
        }
    }
}

/// How fast the system stops; raised by repeated signals, never lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Every step runs, each within its deadline.
    #[default]
    Orderly,
    /// Non-essential steps are cut; orders are still cancelled, the journal is still flushed.
    Urgent,
    /// Everything is cut; what is left is printed.
    Abort,
}

impl std::fmt::Display for Urgency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Orderly => "orderly",
            Self::Urgent => "urgent",
            Self::Abort => "abort",
        })
    }
}

/// The request that began the stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopRequest {
    /// The first reason; later ones are in [`StopSignal::reasons`].
    pub reason: StopReason,
    /// When, on the monotonic clock.
    pub at_mono_ns: u64,
}

/// Most reasons that are kept; later ones are counted by their exit status only.
const REASONS_MAX: usize = 64;

type Callback = Box<dyn Fn(&StopReason) + Send + Sync>;

/// Asks for the stop and tells of it. Clones share one state; usable from any thread, inside or outside a runtime.
#[derive(Clone)]
pub struct StopSignal {
    inner: Arc<Inner>,
}

struct Inner {
    request: watch::Sender<Option<StopRequest>>,
    urgency: watch::Sender<Urgency>,
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    requested: bool,
    reasons: Vec<StopReason>,
    worst: ExitStatus,
    callbacks: Vec<Callback>,
}

impl std::fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopSignal")
            .field("request", &*self.inner.request.borrow())
            .field("urgency", &self.urgency())
            .finish_non_exhaustive()
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl StopSignal {
    /// A signal that nobody has given yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let inner = Inner {
            request: watch::Sender::new(None),
            urgency: watch::Sender::new(Urgency::Orderly),
            state: Mutex::new(State::default()),
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks for the stop. The first request runs the callbacks on the calling thread and then wakes every waiter; later
    /// ones only add their reason. Returns whether this was the first. Nothing is logged here: a log that blocks must not
    /// keep the control thread from hearing the next signal; whoever carries the stop out logs it.
    pub fn request(&self, reason: StopReason) -> bool {
        let callbacks = {
            let mut state = self.inner.state.lock();
            state.worst = state.worst.max(reason.exit_status());
            if state.reasons.len() < REASONS_MAX {
                state.reasons.push(reason.clone());
            }
            if state.requested {
                None
            } else {
                state.requested = true;
                Some(std::mem::take(&mut state.callbacks))
            }
        };
        let Some(callbacks) = callbacks else { return false };
        for callback in &callbacks {
            run_callback(callback, &reason);
        }
        let at_mono_ns = self.inner.clock.mono_ns();
        self.inner.request.send_replace(Some(StopRequest { reason, at_mono_ns }));
        true
    }

    /// Registers what must happen at once when the stop is asked for, on the asking thread (for a signal: the control
    /// thread), even when every worker of the trading runtime is blocked; for example closing the submit gate. It must
    /// not block. Runs immediately if the stop has been asked for already.
    pub fn on_request(&self, callback: impl Fn(&StopReason) + Send + Sync + 'static) {
        let mut state = self.inner.state.lock();
        if !state.requested {
            state.callbacks.push(Box::new(callback));
            return;
        }
        let reason = state.reasons.first().cloned();
        drop(state);
        if let Some(reason) = reason {
            run_callback(&(Box::new(callback) as Callback), &reason);
        }
    }

    /// Raises the urgency to at least `to`.
    pub fn raise(&self, to: Urgency) {
        self.inner.urgency.send_if_modified(|urgency| {
            let raised = to > *urgency;
            if raised {
                *urgency = to;
            }
            raised
        });
    }

    /// Whether the stop has been asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.inner.request.borrow().is_some()
    }

    /// Waits until the stop is asked for and returns the request.
    pub async fn requested(&self) -> StopRequest {
        let mut receiver = self.inner.request.subscribe();
        loop {
            if let Some(request) = receiver.borrow_and_update().clone() {
                return request;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`, so this cannot happen while we are borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The request, as a channel: `None` until the stop is asked for.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<StopRequest>> {
        self.inner.request.subscribe()
    }

    /// The urgency now.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        *self.inner.urgency.borrow()
    }

    /// The urgency, as a channel.
    #[must_use]
    pub fn subscribe_urgency(&self) -> watch::Receiver<Urgency> {
        self.inner.urgency.subscribe()
    }

    /// All reasons so far, first one first.
    #[must_use]
    pub fn reasons(&self) -> Vec<StopReason> {
        self.inner.state.lock().reasons.clone()
    }

    /// The worst exit status that any reason so far leads to.
    #[must_use]
    pub fn worst(&self) -> ExitStatus {
        self.inner.state.lock().worst
    }
}

fn run_callback(callback: &Callback, reason: &StopReason) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(reason))) {
        let message = crate::panics::message_of(panic.as_ref());
        tracing::error!(message, "an immediate stop callback panicked; the stop goes on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn first_request_runs_callbacks_once_and_survives_their_panic() {
        let signal = StopSignal::default();
        let runs = Arc::new(AtomicU32::new(0));
        signal.on_request(|_| panic!("bad callback"));
        let seen = runs.clone();
        signal.on_request(move |reason| {
            assert_eq!(*reason, StopReason::Interrupt);
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert!(signal.request(StopReason::Interrupt));
        assert!(!signal.request(StopReason::Terminate));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        let seen = runs.clone();
        signal.on_request(move |_| {
            seen.fetch_add(10, Ordering::SeqCst);
        });
        assert_eq!(runs.load(Ordering::SeqCst), 11, "a late callback runs at once");
        assert_eq!(signal.reasons(), vec![StopReason::Interrupt, StopReason::Terminate]);
    }

    #[test]
    fn urgency_only_rises() {
        let signal = StopSignal::default();
        signal.raise(Urgency::Abort);
        signal.raise(Urgency::Urgent);
        assert_eq!(signal.urgency(), Urgency::Abort);
    }

    #[test]
    fn worst_reason_is_kept_even_when_the_list_is_full() {
        let signal = StopSignal::default();
        for _ in 0..REASONS_MAX + 5 {
            signal.request(StopReason::Interrupt);
        }
        signal.request(StopReason::Fault { what: "late".into() });
        assert_eq!(signal.reasons().len(), REASONS_MAX);
        assert_eq!(signal.worst(), ExitStatus::Failed);
    }
}
