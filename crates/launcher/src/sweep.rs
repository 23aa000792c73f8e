//! `launcher sweep`: one strategy with many sets of parameters over the same data. Documented for users in `docs/sweep.md`.
//!
//! Runs under the same lifecycle as trading: Ctrl+C ends it in order with exit code 130, and what is done is kept in the
//! sweep's folder inside the data folder, from which `--resume` goes on.

mod database;
mod exact;
mod files;
mod output;
mod progress;
mod setup;
mod work;

use crate::backtest::{self, setup::DataArg, sources::Between};
use crate::cli::Common;
use crate::error::LaunchError;
use crate::{logging, out};
use clap::{Args, ValueEnum};
use keel_lifecycle::{
    ExitStatus, LeaseKind, Lifecycle, LifecycleConfig, Program, RunContext, StopPlan, StopReason, StopSignal, StopStep,
    spawn_thread,
};
use keel_sweep::backend::Control;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use work::{Ended, Work};

/// What a stop may take: the batch at hand is given up at once on the fast level, a run of the engine is finished.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Flags of `sweep`.
#[derive(Clone, Debug, Args)]
pub struct SweepArgs {
    /// Data: a file of bars (the exact level takes quotes and trades, too), or a series of the catalogue such as
    /// binance/spot/BTCUSDT/1m; files of one series are put together. A file without a symbol is of the first of `venue.symbols`
    #[arg(long, value_name = "[SYMBOL=]FILE", required = true, value_parser = DataArg::parse)]
    pub data: Vec<DataArg>,
    /// Which part of it
    #[command(flatten)]
    pub between: Between,
    /// What is varied: NAME=FROM..TO:STEP, NAME=A,B,C; may be repeated [default: what the strategy declares]
    #[arg(long = "param", visible_alias = "spaces", value_name = "RANGE")]
    pub params: Vec<String>,
    /// How sets of parameters are chosen
    #[arg(long, value_enum, default_value_t = SearchWord::Grid)]
    pub search: SearchWord,
    /// Sets to try, for random and tpe [default: 200]
    #[arg(long, visible_alias = "epochs", value_name = "N")]
    pub trials: Option<u64>,
    /// Seed of random and tpe
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// What is looked for: sharpe, sortino, calmar, profit-factor, drawdown, return, cagr, win-rate, trades, or a sum such as
    /// 'sharpe + 2*drawdown'
    #[arg(long, value_name = "NAME", default_value = "sharpe", allow_hyphen_values = true)]
    pub objective: String,
    /// What outcomes come from [default: fast where the strategy has a kernel, exact otherwise]
    #[arg(long, value_enum)]
    pub level: Option<LevelWord>,
    /// Share of the bars that is searched; the rest judges the best
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub train: Option<f64>,
    /// Search and judge again and again, forward in time, in so many windows
    #[arg(long, value_name = "N")]
    pub walk_forward: Option<u32>,
    /// Threads [default: the processors of this machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Instructions of the fast level: for comparisons [default: the widest of this machine]
    #[arg(long, value_enum)]
    pub simd: Option<SimdWord>,
    /// Go on from where the same sweep was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Best sets to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub best: usize,
    /// Best sets of the fast level that the event engine runs again, to compare
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub verify: usize,
    /// The strategy [default: that of the configuration]
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
}

/// How sets of parameters are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SearchWord {
    /// All of them
    Grid,
    /// Some of them by chance
    Random,
    /// Those that earlier ones speak for (tree-structured Parzen estimator)
    Tpe,
}

/// What outcomes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelWord {
    /// A kernel in double precision; the best are run again by the event engine
    Fast,
    /// The event engine
    Exact,
}

/// Instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimdWord {
    /// None
    Scalar,
    /// AVX2
    Avx2,
    /// AVX-512
    Avx512,
}

/// `launcher sweep`.
pub fn sweep(common: &Common, args: &SweepArgs) -> Result<ExitStatus, LaunchError> {
    let config = backtest::load(common, args.strategy.as_slice())?;
    let mut log = config.log.clone();
    if !common.debug {
        log.level = log.level.min(tracing::Level::WARN);
    }
    let control = Arc::new(Control::default());
    let work = setup::work(config, args, control.clone())?;
    let logging = logging::start(&log, None, out::may_colour(common.no_color))?;
    let lifecycle = Lifecycle::start(LifecycleConfig::default()).map_err(|error| LaunchError::start("start", error))?;
    let slot: Arc<Mutex<Option<Result<Ended, LaunchError>>>> = Arc::default();
    let for_run = slot.clone();
    let ended = lifecycle.run(move |context| program(context, work, control, for_run));
    logging.flush();
    for reason in ended.reasons.iter().filter(|reason| reason.is_failure()) {
        out::note(&format!("error: {reason}"));
    }
    let status = if ended.errors == 0 { ended.status() } else { ended.finish() };
    let result = slot.lock().take();
    match result {
        Some(Ok(ended)) => {
            output::print(common, &ended);
            if status == ExitStatus::Interrupted {
                out::note("interrupted; what is done is kept, and the same command with --resume goes on from there");
            }
            Ok(status)
        }
        Some(Err(error)) => Err(error),
        None => {
            out::note("error: the sweep ended without a result; the lines above have the place");
            Ok(status.and(ExitStatus::Failed))
        }
    }
}

/// However the work ends, by a panic, too, the program learns of it.
struct Told {
    stop: StopSignal,
    done: Arc<tokio::sync::Notify>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.done.notify_one();
        self.stop.request(StopReason::Finished { what: "the sweep".to_owned() });
    }
}

/// The work on a thread of its own; a stop sets the flag that it looks at, and waits for it.
fn program(
    context: &RunContext,
    work: Work,
    control: Arc<Control>,
    slot: Arc<Mutex<Option<Result<Ended, LaunchError>>>>,
) -> Result<Program, LaunchError> {
    let done = Arc::new(tokio::sync::Notify::new());
    let for_stop = (control, slot.clone(), done.clone());
    let step = StopStep::new("stop-sweep", STOP_LIMIT, move |_| async move {
        let (control, slot, done) = for_stop;
        control.stop.store(true, Ordering::Relaxed);
        let told = done.notified();
        if slot.lock().is_none() {
            told.await;
        }
        Ok(())
    });
    let plan = StopPlan::builder(STOP_LIMIT + Duration::from_secs(1)).step(step.essential()).build();
    let plan = plan.map_err(|error| LaunchError::start("stop plan", error))?;
    let (stop, clock) = (context.stop.clone(), context.clock.clone());
    let lease = context.ledger.lease(LeaseKind::Thread, "sweep", "work");
    let told = Told { stop, done };
    let thread = spawn_thread("sweep", lease, move || {
        let ended = work.run(&clock);
        *slot.lock() = Some(ended);
        drop(told);
    })
    .map_err(|error| LaunchError::start("sweep", error))?;
    Ok(Program::new(plan, async move {
        thread.leave_to_group();
        Ok::<(), LaunchError>(())
    }))
}
