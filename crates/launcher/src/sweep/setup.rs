//! From flags, configuration and files to a sweep that can begin: level, data as kernels read it, plan, folder.

use super::work::{Bench, Work};
use super::{LevelWord, SearchWord, SimdWord, SweepArgs};
use crate::backtest::fit;
use crate::backtest::setup::{self, Prepared};
use crate::config::Config;
use crate::error::LaunchError;
use crate::out;
use keel_catalogue::Dataset;
use keel_marketdata::columns::BarColumns;
use keel_model::InstrumentKind;
use keel_sim::BarFill;
use keel_strategy::registry;
use keel_sweep::SweepError;
use keel_sweep::backend::{Control, CpuBackend};
use keel_sweep::fast::{self, Market};
use keel_sweep::figures::Objective;
use keel_sweep::kernel::bars::Bars;
use keel_sweep::kernel::rule::FillAt;
use keel_sweep::kernel::run::Stretch;
use keel_sweep::kernel::simd::Width;
use keel_sweep::search::Method;
use keel_sweep::space::Space;
use keel_sweep::split::{Window, windows};
use keel_sweep::sweep::{Level, Plan};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The sweeps' folder inside the data folder.
const FOLDER: &str = "sweeps";
/// Trials of random and TPE when nobody says otherwise.
const TRIALS: u64 = 200;
/// Combination·bars of a batch of the fast level: about a second of one core.
const FAST_BATCH: usize = 3_000_000_000;
const FAST_BATCH_MAX: usize = 20_480;
/// Values of a dimension that are looked at to choose the level; any that follows and has no kernel ends the sweep with the reason.
const VALUES_MAX: usize = 10_000;
/// Runs of the engine in a batch, for each thread.
const EXACT_BATCH: usize = 4;

/// An error of the sweep as one of the launcher.
pub(super) fn told(error: SweepError) -> LaunchError {
    match error {
        SweepError::Backend { .. } => LaunchError::start("sweep", error),
        error => LaunchError::refused("sweep", error),
    }
}

/// Everything ready to begin.
pub(super) fn work(config: Config, args: &SweepArgs, control: Arc<Control>) -> Result<Work, LaunchError> {
    let [choice] = config.strategies.as_slice() else {
        let names: Vec<&str> = config.strategies.iter().map(|choice| choice.name.as_str()).collect();
        let cause = format!("{} strategies are configured ({}); a sweep is of one", names.len(), names.join(", "));
        return Err(LaunchError::refused("sweep", format!("{cause}: name it with --strategy")));
    };
    let strategy = registry::find(&choice.name).map_err(|error| LaunchError::refused("strategy", error))?;
    let prepared = setup::prepare(&config, &args.data, args.between)?;
    let config = fit::fit_bars(config.clone(), &prepared);
    let Some(choice) = config.strategies.first() else { return Err(LaunchError::refused("sweep", "no strategy")) };
    let space = Space::new(strategy, choice.params.clone(), &args.params).map_err(told)?;
    let objective = Objective::parse(&args.objective).map_err(told)?;
    let method = method(args)?;
    let columns = only_bars(&prepared);
    let threads = args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let (level, market) = level(&config, &prepared, columns, &space, args)?;
    let bars = match (level, columns) {
        (Level::Fast, Some(columns)) => Some(Bars::from_columns(columns).map_err(told)?),
        _ => None,
    };
    let windows = windows_of(&prepared, columns, args)?;
    let longest = windows.iter().map(|window| window.train.to - window.train.from).max().unwrap_or(1).max(1);
    let batch = match level {
        Level::Fast => (FAST_BATCH / longest).clamp(64, FAST_BATCH_MAX),
        Level::Exact => EXACT_BATCH * threads,
    };
    let context = context(&config, &prepared);
    let plan = Plan { space, method, objective, level, windows, context, batch };
    let name = format!("{}-{}", strategy.name, fingerprint(&plan));
    let folder = config.data_dir.join(FOLDER).join(name);
    let width = match args.simd {
        None => Width::widest(),
        Some(SimdWord::Scalar) => Width::Scalar,
        Some(SimdWord::Avx2) => Width::Avx2,
        Some(SimdWord::Avx512) => Width::Avx512,
    };
    if !width.is_supported() {
        return Err(LaunchError::Usage(format!("--simd: this machine has no {}; leave it out", width.name())));
    }
    let bench = Bench {
        config,
        prepared,
        bars,
        market,
        cpu: CpuBackend::with_width(width, threads),
        threads,
        control,
        folder,
        is_resume: args.resume,
        best_count: args.best,
        verify_count: args.verify,
    };
    Ok(Work { plan, bench })
}

fn method(args: &SweepArgs) -> Result<Method, LaunchError> {
    let (trials, seed) = (args.trials.unwrap_or(TRIALS), args.seed);
    match args.search {
        SearchWord::Grid if args.trials.is_some() => {
            Err(LaunchError::Usage("--trials is of --search random and tpe; a grid tries everything".into()))
        }
        SearchWord::Grid => Ok(Method::Grid),
        SearchWord::Random => Ok(Method::Random { trials, seed }),
        SearchWord::Tpe => Ok(Method::Tpe { trials, seed }),
    }
}

/// The bars, where there is one series and it is of bars.
fn only_bars(prepared: &Prepared) -> Option<&BarColumns> {
    match prepared.loaded.as_slice() {
        [only] => match &only.data {
            Dataset::Bars(bars) => Some(bars),
            _ => None,
        },
        _ => None,
    }
}

/// What of the configured market kernels take part in, or why they cannot.
fn market(config: &Config, prepared: &Prepared, columns: Option<&BarColumns>) -> Result<Market, String> {
    let settings = &config.backtest;
    let columns = columns.ok_or("the fast level takes one series of bars")?;
    let bar_ns = columns.interval.length_ns().ok_or("the fast level takes bars of a fixed length")?;
    let is_spot = settings.kind == InstrumentKind::Spot;
    if !settings.latency.is_zero() || !settings.latency_jitter.is_zero() {
        return Err("the fast level knows no latency (backtest.latency_ms)".to_owned());
    }
    if settings.participation_bps > 0 {
        return Err("the fast level knows no share of a bar's volume (backtest.participation_bps)".to_owned());
    }
    if is_spot && !settings.balance_base.is_zero() {
        return Err("the fast level begins with money alone (backtest.balance_base)".to_owned());
    }
    let first = prepared.instruments.iter().next();
    let (step, tick) = first.map_or((0.0, 0.0), |it| (it.lot.step.to_f64(), it.tick_size.to_f64()));
    Ok(Market {
        cash: settings.balance_quote.to_f64(),
        fee: settings.taker_fee.to_f64(),
        slippage: f64::from(settings.slippage_bps) / 1e4,
        quantity_step: step,
        tick,
        bar_s: bar_ns / 1_000_000_000,
        can_short: !is_spot,
        fill: match settings.fill {
            BarFill::Close => FillAt::Close,
            BarFill::NextOpen => FillAt::NextOpen,
        },
    })
}

/// The level that was asked for, or the fast one where there are kernels.
fn level(
    config: &Config,
    prepared: &Prepared,
    columns: Option<&BarColumns>,
    space: &Space,
    args: &SweepArgs,
) -> Result<(Level, Option<Market>), LaunchError> {
    if args.level == Some(LevelWord::Exact) {
        return Ok((Level::Exact, None));
    }
    let found = market(config, prepared, columns).and_then(|market| {
        has_kernels(space, &market).map_err(|error| error.to_string())?;
        Ok(market)
    });
    match found {
        Ok(market) => Ok((Level::Fast, Some(market))),
        Err(cause) if args.level == Some(LevelWord::Fast) => Err(LaunchError::refused("sweep", cause)),
        Err(cause) => {
            let cause = cause.trim_end_matches("; use --level exact");
            out::note(&format!("on the exact level: {cause}"));
            Ok((Level::Exact, None))
        }
    }
}

/// Is there a kernel for each value of each dimension?
fn has_kernels(space: &Space, market: &Market) -> Result<(), SweepError> {
    let first = space.params(0);
    for dimension in space.dimensions() {
        for value in dimension.values.iter().take(VALUES_MAX) {
            fast::kernel(space.strategy(), &first.clone().with(&dimension.name, value), market)?;
        }
    }
    Ok(())
}

fn windows_of(prepared: &Prepared, columns: Option<&BarColumns>, args: &SweepArgs) -> Result<Vec<Window>, LaunchError> {
    if let Some(columns) = columns {
        return windows(columns.len(), args.train, args.walk_forward).map_err(told);
    }
    if args.train.is_some() || args.walk_forward.is_some() {
        let cause = "--train and --walk-forward cut one series of bars; give one file of bars, or leave them out";
        return Err(LaunchError::refused("sweep", cause));
    }
    let rows = prepared.series().iter().map(|series| series.rows.len()).sum::<usize>();
    Ok(vec![Window { train: Stretch { from: 0, trade_from: 0, to: rows.max(1) }, test: None }])
}

/// What outcomes depend on beside the plan: the data by their hash, and the configuration of market and risk.
fn context(config: &Config, prepared: &Prepared) -> Vec<(String, String)> {
    let mut context = Vec::new();
    for (at, one) in prepared.loaded.iter().enumerate() {
        context.push((format!("data {}", at + 1), digest(&one.data)));
    }
    if let Some(file) = &prepared.recording {
        context.push(("data 1".to_owned(), file.display().to_string()));
    }
    let params: Vec<String> = config.strategies.iter().map(|choice| format!("{:?}", choice.params)).collect();
    context.push(("configured parameters".to_owned(), params.join(" ")));
    context.push(("[backtest]".to_owned(), format!("{:?}", config.backtest)));
    context.push(("[risk]".to_owned(), format!("{:?}", config.risk)));
    context
}

fn digest(data: &Dataset) -> String {
    let mut hasher = Sha256::new();
    let mut add = |columns: &[&[i64]], times: &[u64]| {
        times.iter().for_each(|time| hasher.update(time.to_le_bytes()));
        columns.iter().flat_map(|column| column.iter()).for_each(|value| hasher.update(value.to_le_bytes()));
    };
    match data {
        Dataset::Bars(bars) => add(&[&bars.open, &bars.high, &bars.low, &bars.close], &bars.ts_open_ns),
        Dataset::Quotes(quotes) => add(&[&quotes.bid, &quotes.ask], &quotes.ts_ns),
        Dataset::Trades(trades) => add(&[&trades.price, &trades.quantity], &trades.ts_ns),
        Dataset::Funding(funding) => add(&[&funding.rate], &funding.ts_ns),
        Dataset::Recording(path) => return path.display().to_string(),
    }
    hex::encode(hasher.finalize().iter().take(16).copied().collect::<Vec<u8>>())
}

/// A short name for everything that a plan consists of.
fn fingerprint(plan: &Plan) -> String {
    let mut hasher = Sha256::new();
    for (name, value) in plan.identity() {
        hasher.update(format!("{name}={value}\n"));
    }
    hex::encode(hasher.finalize().iter().take(6).copied().collect::<Vec<u8>>())
}
