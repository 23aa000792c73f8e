//! `launcher report`: what a run or a series of daily returns was worth, as a table, as JSON, and as one HTML file. The keys of
//! the JSON are documented in `docs/report.md`.

mod from_backtest;
mod from_database;
pub(crate) mod market;

pub use from_backtest::{Kept, guard as guard_kept, keep};

use crate::backtest::setup::DataArg;
use crate::cli::Common;
use crate::error::LaunchError;
use crate::out;
use crate::outputs::{self, Output, OutputKind};
use clap::Args;
use keel_lifecycle::ExitStatus;
use keel_report::{DailyReturns, Report, SavedRun, to_json, to_table, to_text};
use std::io::{BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Flags of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// A run that `backtest --out` saved; without it and without --returns: the newest run in the database
    #[arg(value_name = "FILE", conflicts_with = "returns")]
    pub file: Option<PathBuf>,
    /// CSV file with the header `date,return`, one day a line; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub returns: Option<PathBuf>,
    /// Days a year: 365 where markets never close, 252 for stocks
    #[arg(long, value_name = "DAYS", default_value_t = keel_report::PERIODS_PER_YEAR, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub periods: u32,
    /// Also write one HTML file with charts that needs nothing else; replaces an earlier page, nothing else without --force
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace whatever file is there
    #[arg(long)]
    pub force: bool,
    /// Market data for the charts of prices [default: the files that the run names]
    #[arg(long, value_name = "[SYMBOL=]FILE", value_parser = DataArg::parse, conflicts_with = "returns")]
    pub data: Vec<DataArg>,
    /// Of a run in the database: what the account began with; without it there are no returns
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true, value_parser = balance, conflicts_with_all = ["returns", "file"])]
    pub start_balance: Option<f64>,
    /// Of a run in the database: which bot, as `database status` numbers it [default: the newest]
    #[arg(long, value_name = "N", conflicts_with_all = ["returns", "file"])]
    pub instance: Option<u32>,
}

fn balance(text: &str) -> Result<f64, String> {
    let refused = || format!("'{text}' is no balance; write an amount above zero, such as 10000");
    text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0).ok_or_else(refused)
}

/// Works out what was asked for and prints it.
pub fn report(common: &Common, args: &ReportArgs) -> Result<ExitStatus, LaunchError> {
    guard(common, args)?;
    if let Some(path) = &args.returns {
        return of_returns(common, args, path);
    }
    let mut run = match &args.file {
        Some(path) => {
            let saved = read_saved(path)?;
            if let Some(page) = &args.html {
                outputs::refuse_inputs(
                    market::paths(&saved.markets, path).iter().map(PathBuf::as_path),
                    "--html",
                    page,
                )?;
            }
            let mut run = saved.run;
            run.prices = market::load(&args.data, &saved.markets, path)?;
            run
        }
        None => from_database::run(common, args)?,
    };
    if args.file.is_none() && !args.data.is_empty() {
        run.prices = market::load(&args.data, &[], Path::new("."))?;
    }
    let report = Report::of_run(run, args.periods);
    show(common, &report);
    if let Some(path) = &args.html {
        write_page(path, &keel_report::to_html(&report))?;
    }
    Ok(ExitStatus::Clean)
}

/// Looks at what the page would replace before anything is read.
fn guard(common: &Common, args: &ReportArgs) -> Result<(), LaunchError> {
    let Some(path) = &args.html else { return Ok(()) };
    let data = args.data.iter().map(|one| &one.file);
    let inputs = args.file.iter().chain(&args.returns).chain(data).chain(&common.config);
    let page = Output { flag: "--html", path, kind: OutputKind::Page };
    outputs::check(inputs.map(PathBuf::as_path), &[page], args.force)
}

/// Prints a report the way that was asked for.
pub(crate) fn show(common: &Common, report: &Report) {
    if common.json {
        out::line(&serde_json::Value::Object(report.to_json()).to_string());
    } else {
        out::line(to_text(report, is_coloured(common)).trim_end());
    }
}

/// Colours on stdout: not with --no-color or `NO_COLOR`, not off a terminal.
fn is_coloured(common: &Common) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !common.no_color && !refused && std::io::stdout().is_terminal()
}

fn of_returns(common: &Common, args: &ReportArgs, path: &Path) -> Result<ExitStatus, LaunchError> {
    let series = read_returns(path)?;
    let name = if path.as_os_str() == "-" { "stdin".into() } else { path.display().to_string() };
    let days = [series.dates().first(), series.dates().last()].map(|date| date.map(ToString::to_string));
    let report = Report::of_returns(format!("Returns of {name}"), series, args.periods);
    let figures: Vec<keel_report::Figure> =
        keel_report::DailyStatistics::new(report.daily.returns.values(), args.periods).figures().to_vec();
    if common.json {
        let mut object = to_json(&figures);
        let [first, last] = days;
        object.insert("first_day".into(), first.into());
        object.insert("last_day".into(), last.into());
        out::line(&serde_json::Value::Object(object).to_string());
    } else {
        out::line(to_table(&figures).trim_end());
    }
    if let Some(path) = &args.html {
        write_page(path, &keel_report::to_html(&report))?;
    }
    Ok(ExitStatus::Clean)
}

fn read_returns(path: &Path) -> Result<DailyReturns, LaunchError> {
    let refused = |cause: String| LaunchError::Start { what: format!("returns {}", path.display()), cause };
    let io = |source| LaunchError::Io {
        what: "read the returns in",
        path: path.to_path_buf(),
        source,
        remedy: "name a CSV file with the header date,return; `-` reads stdin".into(),
    };
    if path.as_os_str() == "-" {
        return DailyReturns::read(std::io::stdin().lock()).map_err(|error| refused(error.to_string()));
    }
    let file = std::fs::File::open(path).map_err(io)?;
    DailyReturns::read(BufReader::new(file)).map_err(|error| refused(error.to_string()))
}

/// Reads a saved run.
pub(crate) fn read_saved(path: &Path) -> Result<SavedRun, LaunchError> {
    let io = |source| LaunchError::Io {
        what: "read the run in",
        path: path.to_path_buf(),
        source,
        remedy: "name a file that `launcher backtest --out FILE` wrote".into(),
    };
    let file = std::fs::File::open(path).map_err(io)?;
    SavedRun::read(BufReader::new(file)).map_err(|error| LaunchError::refused(format!("run {}", path.display()), error))
}

/// Writes a page and says where it is.
pub(crate) fn write_page(path: &Path, page: &str) -> Result<(), LaunchError> {
    replace(path, |file| file.write_all(page.as_bytes()))?;
    out::note(&format!("wrote {}; open it in a browser", path.display()));
    Ok(())
}

/// Writes a file beside its place and renames it there: a reader sees the old one or the new one, never half of one.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut std::io::BufWriter<&std::fs::File>) -> std::io::Result<()>,
) -> Result<(), LaunchError> {
    let io = |source| LaunchError::Io {
        what: "write",
        path: path.to_path_buf(),
        source,
        remedy: "name a file in a folder of yours with room".into(),
    };
    let (half, file) = keel_catalogue::HalfFile::create(path).map_err(io)?;
    let mut buffered = std::io::BufWriter::new(&file);
    // What is left of a failed try is taken away with `half`.
    let written = write(&mut buffered).and_then(|()| buffered.flush()).and_then(|()| file.sync_all());
    written.and_then(|()| half.put(path)).map_err(io)
}
