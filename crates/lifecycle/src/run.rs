//! A whole run: control thread, trading runtime, start, stop plan, runtime shutdown, leak report, exit status.
//!
//! Invariants: signal handlers are installed before anything of the caller runs; whatever happens (a failed or panicking
//! start, a signal while connecting, a blocked runtime) the stop plan is carried out or the watchdog ends the process; the
//! watchdog stays armed until [`RunOutcome::finish`], so that nothing, the summary included, can hang for good.

mod outcome;
mod program;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

pub use self::outcome::RunOutcome;
pub(crate) use self::outcome::final_line;
pub use self::program::{LifecycleConfig, Program, RunContext, RuntimeKind};

use self::outcome::Guard;
use self::program::{LeakFn, StartFuture};
use crate::alert::AlertHub;
use crate::clock::Clock;
use crate::control::ControlPlane;
use crate::error::LifecycleError;
use crate::leak::{Baseline, LeakCheck, LeakReport, LeakSection};
use crate::ledger::ResourceLedger;
use crate::monitor::ResourceMonitor;
use crate::notify::Notifier;
use crate::plan::{StopPlan, StopReport, Stopper, TOTAL_DEFAULT};
use crate::reason::{StopReason, StopSignal, Urgency};
use crate::supervisor::{GroupReport, Supervisor, TaskEnd, TaskKind};
use crate::watchdog::Watchdog;

/// The group of this crate's own tasks.
const OWN_GROUP: &str = "lifecycle";
/// How long a start that is cut short may take to let go of what it holds.
const START_ABORT_LIMIT: Duration = Duration::from_millis(250);
/// The longest of each wait at the end once a third signal has come.
const ABORTED_WAIT_MAX: Duration = Duration::from_millis(50);
/// How often unnamed tasks are counted while they settle.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A run that has its control thread and watchdog, and no trading runtime yet.
///
/// ```
/// use keel_lifecycle::{ExitStatus, Lifecycle, LifecycleConfig, Program, StopPlan, StopStep, TaskKind};
/// use std::time::Duration;
///
/// let config = LifecycleConfig { duration: Some(Duration::from_millis(20)), ..LifecycleConfig::default() };
/// let outcome = Lifecycle::start(config)?.run(|context| {
///     let strategies = context.supervisor.group("strategies");
///     let plan = StopPlan::builder(Duration::from_secs(30))
///         .step(StopStep::new("close-gate", Duration::from_millis(100), |_| async { Ok(()) }).essential())
///         .step(StopStep::stop_group("stop-strategies", Duration::from_secs(1), strategies.clone()).after(&["close-gate"]))
///         .build()?;
///     Ok::<_, keel_lifecycle::PlanError>(Program::new(plan, async move {
///         strategies.spawn_with("ema", TaskKind::Critical, |token| async move { token.cancelled().await });
///         Ok::<(), String>(())
///     }))
/// });
/// assert!(outcome.stop.is_clean());
/// assert_eq!(outcome.finish(), ExitStatus::Clean); // prints CLEANUP COMPLETED SUCCESSFULLY
/// # Ok::<(), keel_lifecycle::LifecycleError>(())
/// ```
#[derive(Debug)]
pub struct Lifecycle {
    config: LifecycleConfig,
    supervisor: Supervisor,
    control: ControlPlane,
    watchdog: Watchdog,
    monitor: ResourceMonitor,
    alerts: AlertHub,
    notifier: Arc<Notifier>,
    baseline: Baseline,
}

impl Lifecycle {
    /// Starts the control thread with the signal handlers, then the watchdog and the monitor. Call it before anything
    /// connects. What is open now is the baseline of the leak report: open log files and start their writers before, or
    /// lease them [`until_exit`](crate::Lease::until_exit). Let the log's writer be one that never blocks.
    ///
    /// # Errors
    /// When a thread, a runtime or a handler cannot be had.
    pub fn start(config: LifecycleConfig) -> Result<Self, LifecycleError> {
        crate::panics::install_panic_hook();
        let clock = Clock::system();
        let ledger = ResourceLedger::new(clock.clone());
        let supervisor = Supervisor::new(StopSignal::new(clock.clone()), clock.clone(), ledger.clone());
        let control = ControlPlane::start(&supervisor, config.signals)?;
        let alerts = AlertHub::default();
        let watchdog = Watchdog::start(config.watchdog, TOTAL_DEFAULT, &supervisor, &control, alerts.clone())?;
        let monitor = ResourceMonitor::new(config.monitor, clock, ledger.clone(), alerts.clone());
        let notifier = Arc::new(Notifier::from_env(&ledger));
        let baseline = Baseline::take(&supervisor.clock())?;
        Ok(Self { config, supervisor, control, watchdog, monitor, alerts, notifier, baseline })
    }

    /// The supervisor; its groups spawn on the caller's runtime.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The control thread.
    #[must_use]
    pub fn control(&self) -> &ControlPlane {
        &self.control
    }

    /// The watchdog.
    #[must_use]
    pub fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// The resource monitor.
    #[must_use]
    pub fn monitor(&self) -> &ResourceMonitor {
        &self.monitor
    }

    /// Where alerts are raised.
    #[must_use]
    pub fn alerts(&self) -> &AlertHub {
        &self.alerts
    }

    /// Asks for the stop.
    #[must_use]
    pub fn stop_signal(&self) -> StopSignal {
        self.supervisor.stop_signal()
    }

    /// Builds the trading runtime, sets the program up on it, starts it, waits until the stop is asked for, carries the
    /// plan out, shuts the runtime down and looks for leaks. Blocks the calling thread; never panics because of the program.
    pub fn run<E, F>(self, setup: F) -> RunOutcome
    where
        E: Display,
        F: FnOnce(&RunContext) -> Result<Program, E>,
    {
        let stop = self.stop_signal();
        if let Some(duration) = self.config.duration {
            self.control.stop_after(duration);
        }
        let own = self.supervisor.group(OWN_GROUP).on(self.control.handle());
        self.monitor.spawn(&own);
        self.spawn_service_beat();
        let (ended, leaks) = match build_runtime(self.config.runtime) {
            Ok(runtime) => self.run_on(runtime, setup),
            Err(source) => {
                let error = LifecycleError::Runtime { which: "trading", source };
                stop.request(StopReason::StartFailed { cause: error.to_string() });
                let sweep = self.control.handle().block_on(self.supervisor.stop_all(self.config.sweep_limit));
                (Ended { report: Arc::default(), sweep, tasks_unnamed: 0 }, None)
            }
        };
        let mut left = self.look_for_leaks(&ended);
        left.sections.extend(leaks.map(run_sections).unwrap_or_default());
        drop(self.monitor.sample());
        outcome::conclude(self, ended.report, left)
    }

    fn run_on<E, F>(&self, runtime: Runtime, setup: F) -> (Ended, Option<LeakFn>)
    where
        E: Display,
        F: FnOnce(&RunContext) -> Result<Program, E>,
    {
        let context = RunContext {
            supervisor: self.supervisor.on(runtime.handle().clone()),
            stop: self.stop_signal(),
            control: self.control.handle(),
            watchdog: self.watchdog.clone(),
            ledger: self.supervisor.ledger(),
            clock: self.supervisor.clock(),
            monitor: self.monitor.clone(),
            alerts: self.alerts.clone(),
        };
        self.watchdog.watch_runtime(&context.supervisor.group(OWN_GROUP));
        let result = runtime.block_on(async {
            let (plan, start, leaks) = self.set_up(&context, setup);
            self.watchdog.set_stop_total(plan.total());
            self.start_and_wait(&context, start).await;
            log_reasons(&context.stop);
            self.notifier.stopping();
            let report = Stopper::new(plan, context.stop.subscribe_urgency()).stop().await;
            (self.sweep(report).await, leaks)
        });
        drop(context);
        runtime.shutdown_timeout(self.unless_aborted(self.config.runtime_shutdown_limit));
        result
    }

    /// Runs the set-up closure; a failure or panic in it becomes the reason to stop, with an empty plan.
    fn set_up<E, F>(&self, context: &RunContext, setup: F) -> (StopPlan, Option<StartFuture>, Option<LeakFn>)
    where
        E: Display,
        F: FnOnce(&RunContext) -> Result<Program, E>,
    {
        let reason = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| setup(context))) {
            Ok(Ok(program)) => return (program.plan, Some(program.start), program.leaks),
            Ok(Err(error)) => StopReason::StartFailed { cause: error.to_string() },
            Err(panic) => StopReason::TaskPanicked {
                task: "set-up".to_owned(),
                message: crate::panics::message_of(panic.as_ref()),
            },
        };
        context.stop.request(reason);
        (StopPlan::empty(), None, None)
    }

    /// Starts, and returns when the stop has been asked for, during the start or later.
    async fn start_and_wait(&self, context: &RunContext, start: Option<StartFuture>) {
        let Some(start) = start else { return };
        if context.stop.is_requested() {
            return;
        }
        // How it failed is told once, as the reason to stop, not as a failed task as well.
        let failure = Arc::new(parking_lot::Mutex::new(None));
        let in_task = failure.clone();
        let handle = context.supervisor.group(OWN_GROUP).spawn("start", TaskKind::Background, async move {
            if let Err(cause) = start.await {
                *in_task.lock() = Some(cause);
            }
        });
        let abort = handle.abort_handle();
        let ended = handle.ended();
        tokio::pin!(ended);
        tokio::select! {
            biased;
            _ = context.stop.requested() => {
                if let Some(abort) = abort {
                    abort.abort();
                }
                // Gone before the plan looks at what it has acquired; one that blocks its thread is named by the sweep.
                if tokio::time::timeout(START_ABORT_LIMIT, &mut ended).await.is_err() {
                    tracing::warn!("the start did not let go in time; the stop goes on without it");
                }
            }
            end = &mut ended => {
                let failed = failure.lock().take().map(TaskEnd::Failed);
                self.judge_start(context, failed.unwrap_or(end));
                context.stop.requested().await;
            }
        }
    }

    fn judge_start(&self, context: &RunContext, end: TaskEnd) {
        let reason = match end {
            TaskEnd::Finished => {
                tracing::info!("started");
                self.notifier.ready();
                return;
            }
            TaskEnd::Failed(cause) => StopReason::StartFailed { cause },
            TaskEnd::Panicked(message) => StopReason::TaskPanicked { task: format!("{OWN_GROUP}/start"), message },
            TaskEnd::Aborted | TaskEnd::Refused => StopReason::StartFailed { cause: "it was aborted".to_owned() },
        };
        context.stop.request(reason);
    }

    /// After the plan: tells every task that is left, aborts what does not listen, counts what nobody supervises.
    async fn sweep(&self, report: Arc<StopReport>) -> Ended {
        let sweep = self.supervisor.stop_all(self.unless_aborted(self.config.sweep_limit)).await;
        self.watchdog.unwatch_runtime();
        let settle = crate::clock::runtime_now() + self.unless_aborted(self.config.settle_limit);
        let mut tasks_unnamed = self.unnamed_tasks(&sweep);
        while tasks_unnamed > 0 && crate::clock::runtime_now() < settle {
            tokio::time::sleep(LOOK_AGAIN).await;
            tasks_unnamed = self.unnamed_tasks(&sweep);
        }
        Ended { report, sweep, tasks_unnamed }
    }

    /// A time to wait, much shortened after a third signal, so that the summary is still told within the second.
    fn unless_aborted(&self, limit: Duration) -> Duration {
        if self.stop_signal().urgency() == Urgency::Abort { limit.min(ABORTED_WAIT_MAX) } else { limit }
    }

    fn unnamed_tasks(&self, sweep: &GroupReport) -> usize {
        Handle::current().metrics().num_alive_tasks().saturating_sub(sweep.stuck.len())
    }

    fn look_for_leaks(&self, ended: &Ended) -> LeakReport {
        let (ledger, clock) = (self.supervisor.ledger(), self.supervisor.clock());
        let settle = self.unless_aborted(self.config.settle_limit);
        let mut report = LeakCheck { baseline: &self.baseline, ledger: &ledger, clock: &clock, settle }.run();
        report.tasks = ended.sweep.stuck.iter().map(|name| format!("{name} (stuck, could not be aborted)")).collect();
        report.tasks_unnamed = ended.tasks_unnamed;
        let aborted = ended.sweep.stragglers.iter().map(|name| format!("{name} (ignored its token, was aborted)"));
        if ended.report.urgency == Urgency::Orderly {
            report.tasks.extend(aborted);
        } else {
            // Their steps were cut on demand; now they are gone, so nothing was left behind.
            report.sections.push(LeakSection::listed("tasks cut short", aborted.collect()));
        }
        if ended.report.has_cut_closing() {
            report.forgive_what_was_cut();
        }
        report
    }

    /// Tells the service manager that we are alive, as long as the trading runtime is.
    fn spawn_service_beat(&self) {
        let Some(interval) = self.notifier.watchdog_interval() else { return };
        let (notifier, watchdog) = (self.notifier.clone(), self.watchdog.clone());
        let own = self.supervisor.group(OWN_GROUP).on(self.control.handle());
        own.spawn_with("service-beat", TaskKind::Background, move |token| async move {
            let mut beats = u64::MAX;
            loop {
                let now = watchdog.beats();
                if now != beats {
                    beats = now;
                    notifier.watchdog();
                }
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
            }
        });
    }

    fn into_guard(self) -> (Guard, ResourceMonitor, Supervisor) {
        (Guard { watchdog: self.watchdog, control: Some(self.control) }, self.monitor, self.supervisor)
    }
}

/// How the trading side ended.
struct Ended {
    report: Arc<StopReport>,
    sweep: GroupReport,
    tasks_unnamed: usize,
}

fn build_runtime(kind: RuntimeKind) -> std::io::Result<Runtime> {
    let mut builder = match kind {
        RuntimeKind::CurrentThread => Builder::new_current_thread(),
        RuntimeKind::MultiThread { workers } => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers.max(1));
            builder
        }
    };
    builder.enable_all().thread_name("trading");
    // Where a worker thread cannot be had, tokio panics instead of returning the error.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.build()))
        .unwrap_or_else(|panic| Err(std::io::Error::other(crate::panics::message_of(panic.as_ref()))))
}

fn log_reasons(stop: &StopSignal) {
    for reason in stop.reasons() {
        if reason.is_failure() {
            tracing::error!(%reason, "stopping");
        } else {
            tracing::info!(%reason, "stopping");
        }
    }
}

fn run_sections(sections: LeakFn) -> Vec<LeakSection> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(sections)).unwrap_or_else(|panic| {
        let message = crate::panics::message_of(panic.as_ref());
        vec![LeakSection::leak("sections of the program", vec![format!("could not be made: {message}")])]
    })
}
