//! `launcher backtest`: the live engine over files, and what it was worth. Documented for users in `docs/backtest.md`.

pub mod fit;
mod output;
pub mod setup;
pub mod sources;

use crate::cli::{Common, RunArgs};
use crate::config::{self, Config};
use crate::error::LaunchError;
use crate::{out, recording};
use clap::{Args, ValueEnum};
use keel_backtest::{Backtest, BacktestResult, JobConfig};
use keel_lifecycle::ExitStatus;
use setup::{DataArg, Prepared};
use sources::Between;
use std::path::Path;

/// Flags of `backtest`.
#[derive(Clone, Debug, Args)]
pub struct BacktestArgs {
    /// Data: a file of bars, quotes, trades, funding, a recorded session, or a series of the catalogue such as
    /// binance/spot/BTCUSDT/1m; may be repeated. A file without a symbol is of the first of `venue.symbols`
    #[arg(long, value_name = "[SYMBOL=]FILE", required = true, value_parser = DataArg::parse)]
    pub data: Vec<DataArg>,
    /// Which part of it
    #[command(flatten)]
    pub between: Between,
    /// Also give these lists, comma-separated
    #[arg(long, value_enum, value_name = "LISTS", value_delimiter = ',')]
    pub lists: Vec<ListKind>,
    /// Strategies to run, comma-separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub strategy: Vec<String>,
    /// Where the run is kept
    #[command(flatten)]
    pub kept: crate::report::Kept,
}

/// A list that is given on request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListKind {
    /// Every order that left for the venue
    Orders,
    /// Every fill
    Fills,
    /// Trades from flat to flat
    Trades,
    /// The account's worth at the end of each day, and after each bar
    Equity,
}

/// Runs it and prints the result.
pub fn backtest(common: &Common, args: &BacktestArgs) -> Result<ExitStatus, LaunchError> {
    crate::report::guard_kept(&args.kept, common, &args.data)?;
    let config = load(common, &args.strategy)?;
    let prepared = setup::prepare(&config, &args.data, args.between)?;
    let config = fit::fit_bars(config, &prepared);
    let lists = |kind| args.lists.contains(&kind);
    let has_marks = lists(ListKind::Equity) || args.kept.needs_marks();
    let result = run(&config, &prepared, has_marks, lists(ListKind::Orders) || lists(ListKind::Fills))?;
    output::print(common, args, &config, &prepared, &result);
    crate::report::keep(&args.kept, &config, &args.data, &prepared, &result)?;
    Ok(ExitStatus::Clean)
}

/// The configuration of a backtest: as of a paper run, without a venue.
pub fn load(common: &Common, strategies: &[String]) -> Result<Config, LaunchError> {
    let run = RunArgs { strategy: strategies.to_vec(), ..RunArgs::default() };
    let layers = config::load_layers(common, &run)?;
    config::validate(&layers)
}

/// One run over prepared data.
pub fn run(
    config: &Config,
    prepared: &Prepared,
    has_marks: bool,
    has_log: bool,
) -> Result<BacktestResult, LaunchError> {
    let job = JobConfig { has_marks, has_log, ..setup::job(config, prepared) };
    let failed = |error: keel_backtest::BacktestError| LaunchError::refused("backtest", error);
    let strategies = crate::run::strategies::build(config, &prepared.instruments)?;
    fit::check(prepared, &strategies)?;
    if let Some(file) = &prepared.recording {
        return run_recording(file, prepared, job, strategies);
    }
    keel_backtest::run(job, &prepared.series(), strategies, &cpu_seconds).map_err(failed)
}

/// A recorded session, decoded on the way: the CPU time is the engine's alone.
fn run_recording(
    file: &Path,
    prepared: &Prepared,
    job: JobConfig,
    strategies: Vec<Box<dyn keel_strategy::Strategy>>,
) -> Result<BacktestResult, LaunchError> {
    let failed = |error: keel_backtest::BacktestError| LaunchError::refused("backtest", error);
    let mut backtest = Backtest::new(job, strategies).map_err(failed)?;
    let mut spent = 0.0;
    recording::play(file, &prepared.instruments, |event| {
        let begun = cpu_seconds();
        let goes_on = backtest.feed(event);
        spent += cpu_seconds() - begun;
        goes_on
    })?;
    Ok(backtest.finish(spent, Vec::new()))
}

/// CPU time of this thread; unit: seconds.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Says what is odd about the data, on stderr.
pub(crate) fn warn(result: &BacktestResult) {
    for gaps in result.gaps.iter().filter(|gaps| gaps.count > 0) {
        let longest_s = gaps.longest_ns as f64 / 1e9;
        out::note(&format!(
            "warning: {} has {} gaps, {} bars missing, the longest {}; nothing was made up for them",
            gaps.series,
            gaps.count,
            gaps.bars_missing,
            keel_report::figure::duration(longest_s),
        ));
    }
    if result.rows_refused > 0 {
        out::note(&format!(
            "warning: {} rows could not be used; `launcher data check` tells which",
            result.rows_refused
        ));
    }
    for refusal in &result.refusals {
        out::note(&format!("warning: {} orders refused by {}: {}", refusal.count, refusal.by, refusal.reason));
    }
    if result.liquidated_ns.is_some() {
        out::note("warning: the margin was used up: the venue closed everything, and the run ended there");
    }
    let attempts = result.orders.saturating_add(result.orders_denied);
    if result.orders_denied.saturating_mul(2) > attempts {
        let most = result.refusals.iter().filter(|it| it.by.starts_with("risk")).max_by_key(|it| it.count);
        let why = most.map_or_else(String::new, |it| format!(", most of them by {}: {}", it.by, it.reason));
        out::note(&format!(
            "warning: THIS RUN SAYS LITTLE about the strategy: risk denied {} of its {attempts} orders{why}",
            result.orders_denied
        ));
    }
}
