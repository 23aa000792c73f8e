//! `launcher lookahead-check`: the same decisions when the future is cut off? Documented for users in `docs/backtest.md`.

use crate::backtest::setup::{self, DataArg, Prepared};
use crate::backtest::{self, fit, sources::Between};
use crate::cli::Common;
use crate::config::Config;
use crate::error::LaunchError;
use crate::{out, recording, run};
use clap::Args;
use keel_backtest::lookahead::{self, Cut, Decision};
use keel_backtest::{Backtest, BacktestError, JobConfig};
use keel_lifecycle::ExitStatus;
use keel_model::ExitPolicy;
use serde_json::{Value, json};
use std::path::Path;

/// Flags of `lookahead-check`.
#[derive(Clone, Debug, Args)]
pub struct LookaheadArgs {
    /// Data, as for `backtest`
    #[arg(long, value_name = "[SYMBOL=]FILE", required = true, value_parser = DataArg::parse)]
    pub data: Vec<DataArg>,
    /// Which part of it
    #[command(flatten)]
    pub between: Between,
    /// At how many moments the future is cut off
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub cuts: u32,
    /// Strategies to check, comma-separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub strategy: Vec<String>,
}

/// Checks, prints, and fails where decisions differ.
pub fn check(common: &Common, args: &LookaheadArgs) -> Result<ExitStatus, LaunchError> {
    let config = backtest::load(common, &args.strategy)?;
    let prepared = setup::prepare(&config, &args.data, args.between)?;
    let config = fit::fit_bars(config, &prepared);
    fit::check(&prepared, &run::strategies::build(&config, &prepared.instruments)?)?;
    let job = setup::job(&config, &prepared);
    let cuts = usize::try_from(args.cuts).unwrap_or(1);
    let found = match &prepared.recording {
        Some(file) => of_recording(file, &config, &prepared, &job, cuts)?,
        None => {
            let make = || run::strategies::build(&config, &prepared.instruments).map_err(Failed);
            lookahead::check(&job, &prepared.series(), cuts, make).map_err(|Failed(error)| error)?
        }
    };
    Ok(print(common, &found, prepared.doubled))
}

/// The launcher's errors, as the check hands them through.
struct Failed(LaunchError);

impl From<BacktestError> for Failed {
    fn from(error: BacktestError) -> Self {
        Self(LaunchError::refused("backtest", error))
    }
}

/// A recorded session is read only up to the cut.
fn of_recording(
    file: &Path,
    config: &Config,
    prepared: &Prepared,
    job: &JobConfig,
    cuts: usize,
) -> Result<Vec<Cut>, LaunchError> {
    let (mut events, mut last_ns) = (0usize, 0u64);
    recording::play(file, &prepared.instruments, |event| {
        (events, last_ns) = (events + 1, last_ns.max(event.ts_recv().as_ns()));
        true
    })?;
    let counts = (1..=cuts).map(|number| events * number / (cuts + 1)).chain([events, events]);
    let mut runs: Vec<(u64, Vec<Decision>)> = Vec::new();
    for count in counts.filter(|count| *count > 0) {
        let mut job = JobConfig { has_log: true, ..job.clone() };
        job.replay.exit_policy = ExitPolicy::Keep;
        let strategies = run::strategies::build(config, &prepared.instruments)?;
        let mut backtest = Backtest::new(job, strategies).map_err(|error| Failed::from(error).0)?;
        let (mut seen, mut at_ns) = (0usize, 0u64);
        recording::play(file, &prepared.instruments, |event| {
            (seen, at_ns) = (seen + 1, at_ns.max(event.ts_recv().as_ns()));
            backtest.feed(event) && seen < count
        })?;
        // A moment may have more events than were read of it.
        let at_ns = if count < events { at_ns.saturating_sub(1) } else { last_ns };
        runs.push((at_ns, lookahead::decisions(&backtest.finish(0.0, Vec::new()).log)));
    }
    Ok(lookahead::compare(&runs))
}

fn shown(decision: Option<Decision>) -> String {
    match decision {
        None => "nothing".to_owned(),
        Some(Decision::Cancel(_, id)) => format!("cancel {id}"),
        Some(Decision::Order(order)) => {
            let intent = &order.intent;
            let price = intent.price.or(intent.stop_price).map_or_else(String::new, |price| format!(" at {price}"));
            format!("{:?} {:?} {}{price}", intent.order_type, intent.side, intent.quantity)
        }
    }
}

fn print(common: &Common, cuts: &[Cut], doubled: u64) -> ExitStatus {
    let time = |ns: u64| keel_catalogue::time_to_text(ns);
    let is_same = cuts.iter().all(|cut| cut.difference.is_none());
    if common.json {
        let row = |cut: &Cut| {
            let difference = cut.difference.map(|it| {
                let at = it.cut.or(it.more).map(|one| time(one.at().as_ns()));
                json!({ "decision": it.number, "time": at, "cut_off": shown(it.cut), "not_cut_off": shown(it.more) })
            });
            json!({ "time": time(cut.at_ns), "decisions": cut.decisions, "difference": difference })
        };
        let rows: Vec<Value> = cuts.iter().map(row).collect();
        out::line(&json!({ "is_same": is_same, "rows_doubled": doubled, "cuts": rows }).to_string());
    } else {
        let mut rows = vec![vec!["data until".to_owned(), "decisions".into(), "same with more data".into()]];
        rows.extend(cuts.iter().map(|cut| {
            let verdict = cut.difference.map_or_else(
                || "yes".to_owned(),
                |it| format!("NO, decision {}: {} without, {} with", it.number, shown(it.cut), shown(it.more)),
            );
            vec![time(cut.at_ns), cut.decisions.to_string(), verdict]
        }));
        out::line(&out::table(&rows));
    }
    if is_same {
        return ExitStatus::Clean;
    }
    out::note(
        "error: a decision depends on data that came after it; look for state that outlives a run (statics, files, tables)",
    );
    ExitStatus::Failed
}
