//! What a caller brings to a run, and what it is handed.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::alert::AlertHub;
use crate::clock::Clock;
use crate::leak::LeakSection;
use crate::ledger::ResourceLedger;
use crate::monitor::{MonitorConfig, ResourceMonitor};
use crate::plan::StopPlan;
use crate::reason::StopSignal;
use crate::supervisor::Supervisor;
use crate::watchdog::{Watchdog, WatchdogConfig};

/// Which runtime the trading side gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// One thread, the caller's: lowest latency; a blocking task blocks everything (the watchdog sees it).
    CurrentThread,
    /// A pool of workers.
    MultiThread {
        /// How many.
        workers: usize,
    },
}

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct LifecycleConfig {
    /// The trading runtime.
    pub runtime: RuntimeKind,
    /// Whether signals are handled; off only in tests that run many lifecycles beside each other.
    pub signals: bool,
    /// Asks for the stop when this has passed since [`Lifecycle::run`](crate::Lifecycle::run) began.
    pub duration: Option<Duration>,
    /// The watchdog.
    pub watchdog: WatchdogConfig,
    /// The resource monitor.
    pub monitor: MonitorConfig,
    /// After the plan: how long tasks outside of it may take to hear the root token before they are aborted.
    pub sweep_limit: Duration,
    /// How long the trading runtime may take to shut down; blocking threads are left behind after that, and named.
    pub runtime_shutdown_limit: Duration,
    /// How long threads and descriptors may take to go away before they count as leaks.
    pub settle_limit: Duration,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            runtime: RuntimeKind::MultiThread { workers: 2 },
            signals: true,
            duration: None,
            watchdog: WatchdogConfig::default(),
            monitor: MonitorConfig::default(),
            sweep_limit: Duration::from_millis(500),
            runtime_shutdown_limit: Duration::from_millis(500),
            settle_limit: Duration::from_millis(300),
        }
    }
}

pub(super) type StartFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
pub(super) type LeakFn = Box<dyn FnOnce() -> Vec<LeakSection> + Send>;

/// What is run: how to start, how to stop, and what to look at afterwards.
#[must_use = "a program does nothing until it is returned from the set-up closure"]
pub struct Program {
    pub(super) plan: StopPlan,
    pub(super) start: StartFuture,
    pub(super) leaks: Option<LeakFn>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Program {
    /// `start` brings everything up and then returns; tasks that go on are spawned in task groups. If a stop is asked for
    /// meanwhile, it is dropped at its next await and the plan runs: so it puts what it acquires where the steps of the
    /// plan find it, before it awaits again.
    pub fn new<E, Fut>(plan: StopPlan, start: Fut) -> Self
    where
        E: Display,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        Self { plan, start: Box::pin(async move { start.await.map_err(|error| error.to_string()) }), leaks: None }
    }

    /// Adds the caller's own sections to the leak report: orders not terminal, pool size. Called when the trading runtime
    /// is gone.
    pub fn leak_sections(mut self, sections: impl FnOnce() -> Vec<LeakSection> + Send + 'static) -> Self {
        self.leaks = Some(Box::new(sections));
        self
    }
}

/// What the set-up closure is handed.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// Groups from here spawn on the trading runtime, whoever calls.
    pub supervisor: Supervisor,
    /// Ask for the stop here, and register what must happen at once.
    pub stop: StopSignal,
    /// The control runtime, for what must work while trading is blocked.
    pub control: Handle,
    /// For the escape path and the last words.
    pub watchdog: Watchdog,
    /// Where resources are registered.
    pub ledger: ResourceLedger,
    /// The clock.
    pub clock: Clock,
    /// The resource monitor.
    pub monitor: ResourceMonitor,
    /// Where alerts are raised.
    pub alerts: AlertHub,
}
