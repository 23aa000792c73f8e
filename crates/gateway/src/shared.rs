//! What the coordinator publishes about itself, readable from any thread without waiting for it.

use arc_swap::ArcSwap;
use keel_lifecycle::Clock;
use keel_model::{ExitPolicy, StatusSnapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How far the run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Recovery is complete and trading has begun.
    pub is_started: bool,
    /// What keeps it from starting, for people.
    pub blocker: Option<String>,
    /// Open orders and positions are as this exit policy wants them, confirmed by the venue.
    pub wound: Option<ExitPolicy>,
    /// The coordinator has ended.
    pub has_ended: bool,
}

/// Beats once per event, and tells whether one is being processed: an engine stuck in a strategy stands out.
#[derive(Debug, Default)]
pub struct Heartbeat {
    beats: AtomicU64,
    is_busy: AtomicBool,
}

impl Heartbeat {
    pub(crate) fn begin(&self) {
        self.is_busy.store(true, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.beats.fetch_add(1, Ordering::Release);
        self.is_busy.store(false, Ordering::Release);
    }

    /// Events processed so far.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Acquire)
    }

    /// Is an event being processed now?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }
}

/// Looks at a heartbeat again and again, and tells for how long it has seen the same event.
#[derive(Debug)]
pub struct HeartbeatWatch {
    shared: Arc<Shared>,
    clock: Clock,
    seen: Option<(u64, u64)>,
}

impl HeartbeatWatch {
    /// For how long the same event has been seen in process; zero when none is. Call it a few times per second.
    pub fn look(&mut self) -> Duration {
        let heartbeat = &self.shared.heartbeat;
        let (is_busy, beats) = (heartbeat.is_busy(), heartbeat.beats());
        if !is_busy {
            self.seen = None;
            return Duration::ZERO;
        }
        match self.seen {
            Some((before, since)) if before == beats => self.clock.since(since),
            _ => {
                self.seen = Some((beats, self.clock.mono_ns()));
                Duration::ZERO
            }
        }
    }
}

/// Shared between the coordinator and its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) status: ArcSwap<StatusSnapshot>,
    phase: watch::Sender<Phase>,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            heartbeat: Heartbeat::default(),
            status: ArcSwap::default(),
            phase: watch::Sender::new(Phase::default()),
            clock,
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(crate) fn set_phase(&self, change: impl FnOnce(&mut Phase)) {
        self.phase.send_modify(change);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn watch_heartbeat(self: &Arc<Self>) -> HeartbeatWatch {
        HeartbeatWatch { shared: self.clone(), clock: self.clock.clone(), seen: None }
    }
}
