//! The markets of a run, out of the files that hold them, as bars of floats for charts. Quotes and trades become bars of one
//! price each; the charts join what is too fine.

use crate::backtest::setup::{DataArg, Prepared};
use crate::error::LaunchError;
use crate::out;
use keel_catalogue::Dataset;
use keel_report::{Bar, MarketFile, Prices};
use std::path::{Path, PathBuf};

/// Reads the markets: those that were named, or else those that the run names. A file that was named must be there; one that
/// only the run names may be gone, which is told.
pub(crate) fn load(named: &[DataArg], of_run: &[MarketFile], run: &Path) -> Result<Vec<Prices>, LaunchError> {
    let failed = |error: keel_catalogue::CatalogueError| LaunchError::refused("data", error);
    let mut markets: Vec<Prices> = Vec::new();
    if !named.is_empty() {
        let only = of_run.first().map(|market| market.instrument.clone());
        for one in named {
            let instrument = one.symbol.clone().or_else(|| only.clone()).ok_or_else(|| {
                LaunchError::Usage(format!("say of which instrument it is: --data SYMBOL={}", one.file.display()))
            })?;
            let data = keel_catalogue::read_file(&one.file).map_err(failed)?;
            add(&mut markets, instrument, &data);
        }
        return Ok(markets);
    }
    for market in of_run {
        let Some(path) = found(&market.path, run) else {
            out::note(&format!(
                "warning: {} is not there: no chart and no market change of {}; name it with --data {}=FILE",
                market.path, market.instrument, market.instrument
            ));
            continue;
        };
        let data = keel_catalogue::read_file(&path).map_err(failed)?;
        add(&mut markets, market.instrument.clone(), &data);
    }
    Ok(markets)
}

/// The files that a run names, those that are there.
pub(crate) fn paths(of_run: &[MarketFile], run: &Path) -> Vec<PathBuf> {
    of_run.iter().filter_map(|market| found(&market.path, run)).collect()
}

/// The markets of a run that has just ended, out of the data that it ran on.
pub(crate) fn of_run(prepared: &Prepared) -> Vec<Prices> {
    let mut markets: Vec<Prices> = Vec::new();
    for one in &prepared.loaded {
        let symbol = prepared.instruments.get(one.instrument).map(|it| it.symbol.to_string()).unwrap_or_default();
        add(&mut markets, symbol, &one.data);
    }
    markets
}

/// The file as it was named, from here or from where the run lies.
fn found(named: &str, run: &Path) -> Option<PathBuf> {
    let here = PathBuf::from(named);
    let beside = run.parent().map(|folder| folder.join(named));
    [Some(here), beside].into_iter().flatten().find(|path| path.is_file())
}

fn add(markets: &mut Vec<Prices>, instrument: String, data: &Dataset) {
    let bars = bars(data);
    let Some(first) = bars.first().map(|bar| bar.ts_ns) else { return };
    if let Some(known) = markets.iter_mut().find(|market| market.instrument == instrument) {
        // What follows goes on; what lies beside it is the same market in other words.
        if known.bars.last().is_some_and(|last| last.ts_ns < first) {
            known.bars.extend(bars);
        }
        return;
    }
    markets.push(Prices { instrument, bars, lines: Vec::new() });
}

fn unit(scale: u8) -> f64 {
    10f64.powi(-i32::from(scale))
}

#[allow(clippy::cast_precision_loss, reason = "prices of a chart")]
fn bars(data: &Dataset) -> Vec<Bar> {
    let time = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    let flat = |ts_ns: i64, price: f64| Bar { ts_ns, open: price, high: price, low: price, close: price };
    match data {
        Dataset::Bars(bars) => {
            let unit = unit(bars.price_scale);
            let at = |column: &[i64], row: usize| column.get(row).map(|price| *price as f64 * unit);
            let bar = |(row, ts): (usize, &u64)| {
                Some(Bar {
                    ts_ns: time(bars.interval.close_ns(*ts)),
                    open: at(&bars.open, row)?,
                    high: at(&bars.high, row)?,
                    low: at(&bars.low, row)?,
                    close: at(&bars.close, row)?,
                })
            };
            bars.ts_open_ns.iter().enumerate().filter_map(bar).collect()
        }
        Dataset::Quotes(quotes) => {
            let half = unit(quotes.price_scale) / 2.0;
            let rows = quotes.ts_ns.iter().zip(quotes.bid.iter().zip(&quotes.ask));
            rows.map(|(ts, (bid, ask))| flat(time(*ts), (*bid as f64 + *ask as f64) * half)).collect()
        }
        Dataset::Trades(trades) => {
            let unit = unit(trades.price_scale);
            let rows = trades.ts_ns.iter().zip(&trades.price);
            rows.map(|(ts, price)| flat(time(*ts), *price as f64 * unit)).collect()
        }
        // Funding has no prices; a recording's are only known by playing it.
        Dataset::Funding(_) | Dataset::Recording(_) => Vec::new(),
    }
}
