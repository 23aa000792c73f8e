//! The result of a backtest as a run that can be reported and saved.

use super::{market, replace, write_page};
use crate::backtest::setup::{DataArg, Prepared};
use crate::backtest::sources;
use crate::cli::Common;
use crate::config::Config;
use crate::error::LaunchError;
use crate::out;
use crate::outputs::{self, Output, OutputKind};
use keel_backtest::{BacktestResult, EquityCurve, PositionEnd, TradeRow};
use keel_catalogue::Catalogue;
use keel_model::InstrumentId;
use keel_report::{Direction, EquityPoint, MarketFile, OpenPosition, Report, Run, SavedRun, Trade};
use std::path::PathBuf;

/// Where the result of a backtest is kept.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Kept {
    /// Save the run for `launcher report` and `launcher plot`; replaces an earlier run, nothing else without --force
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the report as one HTML file with charts that needs nothing else; replaces an earlier page, nothing else without
    /// --force
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace whatever files are there
    #[arg(long)]
    pub force: bool,
}

impl Kept {
    /// Is the equity after each bar wanted for it?
    #[must_use]
    pub const fn needs_marks(&self) -> bool {
        self.out.is_some() || self.html.is_some()
    }
}

/// Looks at what would be replaced, before the run.
pub fn guard(kept: &Kept, common: &Common, data: &[DataArg]) -> Result<(), LaunchError> {
    let output = |flag, path: &'_ Option<PathBuf>, kind| path.clone().map(|path| (flag, path, kind));
    let named = [output("--out", &kept.out, OutputKind::Run), output("--html", &kept.html, OutputKind::Page)];
    let named: Vec<_> = named.into_iter().flatten().collect();
    let outputs: Vec<_> = named.iter().map(|(flag, path, kind)| Output { flag, path, kind: *kind }).collect();
    let inputs = data.iter().map(|one| &one.file).chain(&common.config);
    outputs::check(inputs.map(PathBuf::as_path), &outputs, kept.force)
}

/// Saves the run and writes its page, where that was asked for.
pub fn keep(
    kept: &Kept,
    config: &Config,
    data: &[DataArg],
    prepared: &Prepared,
    result: &BacktestResult,
) -> Result<(), LaunchError> {
    if !kept.needs_marks() {
        return Ok(());
    }
    let run = run(config, data, prepared, result);
    if let Some(path) = &kept.out {
        let saved = SavedRun::new(run.clone(), markets(config, data));
        replace(path, |file| saved.write(file).map_err(std::io::Error::other))?;
        out::note(&format!("saved {}; look at it with: launcher report {0} --html report.html", path.display()));
    }
    if let Some(path) = &kept.html {
        let prices = market::of_run(prepared);
        let report = Report::of_run(Run { prices, ..run }, keel_report::PERIODS_PER_YEAR);
        write_page(path, &keel_report::to_html(&report))?;
    }
    Ok(())
}

/// Which file holds which market, by whole paths, so that the run can be looked at from anywhere. A series of the catalogue is
/// its files.
fn markets(config: &Config, data: &[DataArg]) -> Vec<MarketFile> {
    let catalogue = Catalogue::of_data_dir(&config.data_dir);
    let market = |one: &DataArg| {
        let instrument = sources::symbol_of(config, one);
        let files = sources::series_of(one).and_then(|key| catalogue.files(&key).ok());
        let files = files.unwrap_or_else(|| vec![one.file.clone()]);
        let whole = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path).to_string_lossy().into_owned();
        files.into_iter().map(move |path| MarketFile { instrument: instrument.clone(), path: whole(path) })
    };
    data.iter().flat_map(market).collect()
}

fn ns(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn run(config: &Config, data: &[DataArg], prepared: &Prepared, result: &BacktestResult) -> Run {
    let symbol = |id: InstrumentId| {
        prepared.instruments.get(id).map_or_else(|| format!("instrument {}", id.0), |it| it.symbol.to_string())
    };
    let strategies: Vec<&str> = config.strategies.iter().map(|choice| choice.name.as_str()).collect();
    let symbols: Vec<String> = prepared.instruments.iter().map(|it| it.symbol.to_string()).collect();
    let (start_ns, end_ns) = (ns(result.first_ns), ns(result.last_ns));
    Run {
        title: format!("{} on {}", strategies.join(", "), symbols.join(", ")),
        kind: "backtest".to_owned(),
        currency: result.quote_asset.clone(),
        facts: facts(config, data, result),
        notes: notes(result),
        start_ns,
        end_ns,
        start_equity: result.start_balance.to_f64(),
        equity: equity(result),
        open: open(result),
        trades: result.trades.iter().map(|row| trade(row, symbol(row.instrument))).collect(),
        orders: Some(result.orders),
        fills: Some(result.fills),
        fees: Some(result.fees.to_f64()),
        volume: Some(result.volume),
        prices: Vec::new(),
    }
}

fn trade(row: &TradeRow, instrument: String) -> Trade {
    Trade {
        instrument,
        direction: if row.is_long { Direction::Long } else { Direction::Short },
        entry_ns: ns(row.entry_ns),
        exit_ns: ns(row.exit_ns),
        entry_price: row.entry_price,
        exit_price: row.exit_price,
        quantity: row.quantity,
        profit: row.pnl,
        fees: row.fees,
        exit_reason: row.exit_reason.to_owned(),
    }
}

/// The equity after each bar, or at the end of each day where there is nothing finer; the last point is the end.
fn equity(result: &BacktestResult) -> Vec<EquityPoint> {
    let points = |curve: &EquityCurve| -> Vec<EquityPoint> {
        let rows = curve.ts_ns.iter().zip(&curve.equity).filter(|(_, equity)| equity.is_finite());
        rows.map(|(ts, equity)| EquityPoint { ts_ns: ns(*ts), equity: *equity }).collect()
    };
    let mut curve = points(&result.marks);
    if curve.is_empty() {
        curve = points(&result.daily);
    }
    let end_ns = ns(result.last_ns);
    if let Some(equity) = result.final_equity
        && curve.last().is_none_or(|last| last.ts_ns < end_ns)
        && end_ns > 0
    {
        curve.push(EquityPoint { ts_ns: end_ns, equity: equity.to_f64() });
    }
    curve
}

/// What is open at the end; a rest that cannot be sold is not.
fn open(result: &BacktestResult) -> Vec<OpenPosition> {
    let open = |position: &PositionEnd| {
        let quantity = position.quantity.to_f64();
        Some(OpenPosition {
            instrument: position.symbol.clone(),
            direction: if quantity > 0.0 { Direction::Long } else { Direction::Short },
            entry_ns: ns(position.entry_ns?),
            entry_price: position.entry_price?.to_f64(),
            quantity: quantity.abs(),
            unrealized: position.unrealized.map(keel_model::Notional::to_f64),
        })
    };
    result.positions.iter().filter_map(open).collect()
}

fn facts(config: &Config, data: &[DataArg], result: &BacktestResult) -> Vec<(String, String)> {
    let files: Vec<String> = data.iter().map(|one| one.file.display().to_string()).collect();
    let mut facts = vec![("Data".to_owned(), files.join(", "))];
    for choice in &config.strategies {
        // What is switched off says nothing.
        let set = choice.params.pairs().filter(|(_, value)| !matches!(*value, "" | "0" | "0.0"));
        let set: Vec<String> = set.map(|(name, value)| format!("{name} {value}")).collect();
        facts.push((format!("Strategy {}", choice.name), set.join(", ")));
    }
    let quote = &result.quote_asset;
    facts.extend(
        [
            ("Rows", result.rows.to_string()),
            ("Orders denied by risk", result.orders_denied.to_string()),
            ("Orders rejected by the venue", result.orders_rejected.to_string()),
            ("Quote balance at the end, exact", format!("{} {quote}", result.final_balance)),
            ("Fees, exact", format!("{} {quote}", result.fees)),
            ("Funding, exact", format!("{} {quote}", result.funding)),
            ("CPU time of the run", format!("{:.3} s", result.run_cpu_seconds)),
            ("State digest", result.digest.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    facts
}

fn notes(result: &BacktestResult) -> Vec<String> {
    let mut notes = Vec::new();
    for gaps in result.gaps.iter().filter(|gaps| gaps.count > 0) {
        let longest = keel_report::figure::duration(gaps.longest_ns as f64 / 1e9);
        notes.push(format!(
            "{} has {} gaps, {} bars missing, the longest {longest}; nothing was made up for them.",
            gaps.series, gaps.count, gaps.bars_missing
        ));
    }
    if result.rows_refused > 0 {
        notes.push(format!("{} rows of the data could not be used.", result.rows_refused));
    }
    if let Some(at) = result.liquidated_ns {
        let at = keel_catalogue::time_to_text(at);
        notes.push(format!("The margin was used up: the venue closed everything at {at}, and the run ended there."));
    }
    notes
}
