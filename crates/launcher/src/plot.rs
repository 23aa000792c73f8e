//! `launcher plot`: the prices of a saved run with its entries, exits and indicators as one HTML file; prints where it is.

mod indicators;

use crate::backtest::setup::DataArg;
use crate::cli::Common;
use crate::error::LaunchError;
use crate::out;
use crate::outputs::{self, Output, OutputKind};
use crate::report::{market, read_saved, replace};
use clap::Args;
use indicators::Indicator;
use keel_lifecycle::ExitStatus;
use keel_report::{Report, Run};
use std::io::Write;
use std::path::PathBuf;

/// Flags of `plot`.
#[derive(Clone, Debug, Args)]
pub struct PlotArgs {
    /// A run that `backtest --out` saved
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write [default: FILE with the ending .plot.html]; replaces an earlier page, nothing else without --force
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace whatever file is there
    #[arg(long)]
    pub force: bool,
    /// Market data [default: the files that the run names]
    #[arg(long, value_name = "[SYMBOL=]FILE", value_parser = DataArg::parse)]
    pub data: Vec<DataArg>,
    /// Comma-separated, on closes: ema:20, sma:50, bollinger:20:2, rsi:14
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Indicator::parse)]
    pub indicators: Vec<Indicator>,
    /// Only from this time on, UTC: 2024-01-31 or 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<i64>,
    /// Only up to this time, UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<i64>,
}

fn time(text: &str) -> Result<i64, String> {
    let read = keel_catalogue::time_from_text(text).and_then(|ns| i64::try_from(ns).ok());
    read.ok_or_else(|| format!("'{text}' is no time; write it as 2024-01-31 or 2024-01-31T12:00:00Z"))
}

/// Writes the chart.
pub fn plot(common: &Common, args: &PlotArgs) -> Result<ExitStatus, LaunchError> {
    let (from, to) = (args.from.unwrap_or(i64::MIN), args.to.unwrap_or(i64::MAX));
    if from >= to {
        return Err(LaunchError::Usage("--from is not before --to; swap them".into()));
    }
    let path = args.out.clone().unwrap_or_else(|| args.file.with_extension("plot.html"));
    let inputs = std::iter::once(&args.file).chain(args.data.iter().map(|one| &one.file)).chain(&common.config);
    let page = Output { flag: "--out", path: &path, kind: OutputKind::Page };
    outputs::check(inputs.map(PathBuf::as_path), &[page], args.force)?;
    let saved = read_saved(&args.file)?;
    let markets = market::paths(&saved.markets, &args.file);
    outputs::refuse_inputs(markets.iter().map(PathBuf::as_path), "--out", &path)?;
    let mut run = saved.run;
    run.prices = market::load(&args.data, &saved.markets, &args.file)?;
    for prices in &mut run.prices {
        // Before the cut, so that an indicator is warm where the chart begins.
        prices.lines = indicators::lines(&args.indicators, &prices.bars)?;
    }
    let (first, last) = (
        run.prices.iter().filter_map(|prices| prices.bars.first()).map(|bar| bar.ts_ns).min(),
        run.prices.iter().filter_map(|prices| prices.bars.last()).map(|bar| bar.ts_ns).max(),
    );
    cut(&mut run, from, to);
    if run.prices.is_empty() {
        let at = |ns: i64| keel_catalogue::time_to_text(u64::try_from(ns).unwrap_or(0));
        let cause = match (first, last) {
            (Some(first), Some(last)) => format!(
                "the market data of {} is from {} to {}, and none of it is {}; choose --from and --to within it",
                args.file.display(),
                at(first),
                at(last),
                span_words(args.from.map(at), args.to.map(at)),
            ),
            _ => format!("{} has no market data; name it with --data SYMBOL=FILE", args.file.display()),
        };
        return Err(LaunchError::refused("plot", cause));
    }
    let report = Report::of_run(run, keel_report::PERIODS_PER_YEAR);
    replace(&path, |file| file.write_all(keel_report::plot_html(&report).as_bytes()))?;
    let shown = path.display().to_string();
    out::line(&if common.json { serde_json::json!({ "file": shown }).to_string() } else { shown });
    Ok(ExitStatus::Clean)
}

fn span_words(from: Option<String>, to: Option<String>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("from {from} to {to}"),
        (Some(from), None) => format!("from {from} on"),
        (None, Some(to)) => format!("up to {to}"),
        (None, None) => "shown".to_owned(),
    }
}

/// Leaves what is between two times; the account begins with what it had then.
fn cut(run: &mut Run, from: i64, to: i64) {
    let is_in = |ts_ns: i64| (from..=to).contains(&ts_ns);
    for prices in &mut run.prices {
        prices.bars.retain(|bar| is_in(bar.ts_ns));
        for line in &mut prices.lines {
            line.points.retain(|point| is_in(point.0));
        }
    }
    run.prices.retain(|prices| !prices.bars.is_empty());
    run.trades.retain(|trade| trade.exit_ns >= from && trade.entry_ns <= to);
    run.open.retain(|open| open.entry_ns <= to);
    if from > run.start_ns {
        let before = run.equity.iter().rfind(|point| point.ts_ns < from);
        run.start_equity = before.map_or(run.start_equity, |point| point.equity);
        run.start_ns = from;
        // Counts of the whole run are not those of a part of it.
        (run.orders, run.fills, run.fees, run.volume) = (None, None, None, None);
    }
    if to < run.end_ns {
        run.end_ns = to;
        (run.orders, run.fills, run.fees, run.volume) = (None, None, None, None);
        run.open.clear();
    }
    run.equity.retain(|point| is_in(point.ts_ns));
}
