//! `launcher data`: what the local catalogue holds, whether it is sound, and the ways in and out of it.

mod args;
mod check;
mod recorded;

pub use args::{CheckArgs, DataArgs, DataVerb, ExportArgs, FillWord, ImportArgs, TimeWord};

use crate::cli::{Common, RunArgs};
use crate::config;
use crate::error::LaunchError;
use crate::interrupt::interruptible;
use crate::{out, outputs};
use keel_catalogue::{
    Catalogue, CatalogueError, Dataset, OnConflict, ReadOptions, SeriesKey, SeriesKind, Span, TimeMeans, Written,
    fill_forward, put_in_order, read_raw, read_with, time_from_text, time_to_text, write_file,
};
use keel_lifecycle::ExitStatus;
use serde_json::{Value, json};
use std::path::Path;

/// Carries out the verb.
pub fn run(common: Common, args: DataArgs) -> Result<ExitStatus, LaunchError> {
    let layers = config::load_layers(&common, &RunArgs::default())?;
    let data_dir = layers.to_raw()?.run.data_dir;
    let catalogue = Catalogue::of_data_dir(Path::new(&data_dir));
    if let DataVerb::Export(args) = &args.what {
        guard_export(args)?;
        // Under a lifecycle of its own.
        if args.fill == FillWord::Fetch {
            let status = fetch(&common, &catalogue, args)?;
            if status != ExitStatus::Clean {
                return Ok(status);
            }
        }
    }
    interruptible(move || match &args.what {
        DataVerb::List => list(&common, &catalogue),
        DataVerb::Check(args) => check::check(&common, &catalogue, args),
        DataVerb::Import(args) => import(&common, &catalogue, args),
        DataVerb::Export(args) => export(&common, &catalogue, args),
    })
}

fn failed(error: CatalogueError) -> LaunchError {
    LaunchError::refused("data", error)
}

fn list(common: &Common, catalogue: &Catalogue) -> Result<ExitStatus, LaunchError> {
    let (held, broken) = catalogue.list().map_err(failed)?;
    let time = |ns: Option<u64>| ns.map(time_to_text);
    if common.json {
        let series = held.iter().map(|it| {
            let spans = it.covered.iter().map(|span| json!([time_to_text(span.from_ns), time_to_text(span.to_ns)]));
            json!({
                "series": it.key.to_string(), "rows": it.rows, "files": it.files, "bytes": it.bytes,
                "first": time(it.first_ns), "last": time(it.last_ns), "spans": spans.collect::<Vec<_>>(),
            })
        });
        let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
        let root = catalogue.root().display().to_string();
        out::line(&json!({ "catalogue": root, "series": series.collect::<Vec<_>>(), "damaged": broken }).to_string());
    } else {
        let head = ["series", "rows", "first", "last", "spans", "files", "MB"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(held.iter().map(|it| {
            vec![
                it.key.to_string(),
                it.rows.to_string(),
                time(it.first_ns).unwrap_or_else(|| "n/a".into()),
                time(it.last_ns).unwrap_or_else(|| "n/a".into()),
                it.covered.len().to_string(),
                it.files.to_string(),
                format!("{:.1}", it.bytes as f64 / 1e6),
            ]
        }));
        if held.is_empty() {
            let root = catalogue.root().display();
            out::note(&format!("{root} holds nothing yet; fill it with download-data or data import"));
        } else {
            out::line(out::table(&rows).trim_end());
        }
        broken.iter().for_each(|error| out::note(&format!("error: {error}")));
    }
    Ok(if broken.is_empty() { ExitStatus::Clean } else { ExitStatus::Failed })
}

/// How a file is to be read, by the flags.
fn options(args: &ImportArgs) -> Result<ReadOptions, LaunchError> {
    let mut columns = Vec::new();
    for pair in &args.columns {
        let (ours, theirs) =
            pair.split_once('=').filter(|(ours, theirs)| !ours.is_empty() && !theirs.is_empty()).ok_or_else(|| {
                LaunchError::Usage(format!(
                    "--columns: `{pair}` is no pair; write our name, `=` and the file's: --columns time=when,close=last"
                ))
            })?;
        columns.push((ours.to_ascii_lowercase(), theirs.to_owned()));
    }
    let interval = args.interval.as_deref().map(str::parse).transpose();
    Ok(ReadOptions {
        interval: interval.map_err(|error| LaunchError::Usage(format!("--interval: {error}")))?,
        price_scale: args.price_scale,
        quantity_scale: args.quantity_scale,
        time: args.time.map(|word| match word {
            TimeWord::Open => TimeMeans::Open,
            TimeWord::Close => TimeMeans::Close,
        }),
        columns,
    })
}

fn import(common: &Common, catalogue: &Catalogue, args: &ImportArgs) -> Result<ExitStatus, LaunchError> {
    let options = options(args)?;
    let series = args.series.trim_end_matches('/');
    let on_conflict = if args.replace { OnConflict::Replace } else { OnConflict::Refuse };
    let mut told = Vec::new();
    for file in &args.files {
        let raw = read_raw(file, &options).map_err(failed)?;
        let noisy = raw.snapped;
        let sets = match &raw.data {
            Dataset::Recording(path) => recorded::rows(path, series.split('/').nth(2))?,
            _ => {
                let (data, ordered) = put_in_order(raw).map_err(failed)?;
                if ordered.moved + ordered.doubled + noisy > 0 {
                    out::note(&format!(
                        "{}: {} rows were put in order, {} were there twice, {noisy} values had the noise of computed doubles",
                        file.display(),
                        ordered.moved,
                        ordered.doubled
                    ));
                }
                vec![(None, data)]
            }
        };
        for (kind, data) in sets {
            let key = key_of(series, kind, &data)?;
            let rows = data.len();
            let written = catalogue.write(&key, data, None, on_conflict).map_err(failed)?;
            told.push((file, key, rows, written));
        }
    }
    if common.json {
        let rows = told.iter().map(|(file, key, rows, written)| imported_json(file, key, *rows, written));
        out::line(&json!({ "imported": rows.collect::<Vec<_>>() }).to_string());
    } else {
        for (file, key, rows, written) in &told {
            out::line(&format!(
                "{}: {rows} rows into {key}: {} new, {} known, {} replaced",
                file.display(),
                written.rows_new,
                written.rows_known,
                written.rows_replaced
            ));
        }
    }
    Ok(ExitStatus::Clean)
}

fn imported_json(file: &Path, key: &SeriesKey, rows: usize, written: &Written) -> Value {
    json!({
        "file": file.display().to_string(), "series": key.to_string(), "rows": rows,
        "rows_new": written.rows_new, "rows_known": written.rows_known, "rows_replaced": written.rows_replaced,
        "files": written.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

/// `venue/market/symbol`, with the kind that the rows have unless it is said.
fn key_of(series: &str, kind: Option<SeriesKind>, data: &Dataset) -> Result<SeriesKey, LaunchError> {
    let parts: Vec<&str> = series.split('/').collect();
    match parts.as_slice() {
        [venue, market, symbol] => {
            let own = match data {
                Dataset::Bars(bars) => SeriesKind::Bars(bars.interval),
                Dataset::Quotes(_) => SeriesKind::Quotes,
                Dataset::Trades(_) | Dataset::Recording(_) => SeriesKind::Trades,
                Dataset::Funding(_) => SeriesKind::Funding,
            };
            SeriesKey::new(venue, market, symbol, kind.unwrap_or(own)).map_err(failed)
        }
        [_, _, _, _] if kind.is_none() => series.parse().map_err(failed),
        _ => Err(LaunchError::Usage(format!(
            "--as: `{series}` names no series; write venue/market/symbol, for example binance/spot/BTCUSDT"
        ))),
    }
}

fn instant(flag: &str, text: Option<&str>, otherwise: u64) -> Result<u64, LaunchError> {
    let Some(text) = text else { return Ok(otherwise) };
    time_from_text(text).ok_or_else(|| {
        LaunchError::Usage(format!("{flag}: `{text}` is no time; write 2024-01-31 or 2024-01-31T12:00:00Z (UTC)"))
    })
}

/// The times that `data export` was asked for.
fn span_of(args: &ExportArgs) -> Result<Span, LaunchError> {
    let span = Span::new(instant("--from", args.from.as_deref(), 0)?, instant("--to", args.to.as_deref(), u64::MAX)?);
    if span.from_ns >= span.to_ns {
        return Err(LaunchError::Usage("--from is not before --to; exchange them".into()));
    }
    Ok(span)
}

/// What it would write over, before anything is read.
fn guard_export(args: &ExportArgs) -> Result<(), LaunchError> {
    outputs::refuse_inputs([Path::new(&args.series)], "--out", &args.out)
}

fn fetch(common: &Common, catalogue: &Catalogue, args: &ExportArgs) -> Result<ExitStatus, LaunchError> {
    if Path::new(&args.series).is_file() {
        return Err(LaunchError::Usage("--fill fetch is for series of the catalogue; import the file first".into()));
    }
    let key: SeriesKey = args.series.parse().map_err(failed)?;
    crate::download::fill_in(common, catalogue, &key, span_of(args)?)
}

fn export(common: &Common, catalogue: &Catalogue, args: &ExportArgs) -> Result<ExitStatus, LaunchError> {
    let span = span_of(args)?;
    let file = Path::new(&args.series);
    let mut data = if file.is_file() {
        read_with(file, &ReadOptions::default()).map_err(failed)?
    } else {
        let key: SeriesKey = args.series.parse().map_err(failed)?;
        catalogue.read(&key, span).map_err(failed)?
    };
    let mut filled = 0;
    if args.fill == FillWord::Forward {
        let Dataset::Bars(bars) = &mut data else {
            return Err(LaunchError::Usage(
                "--fill forward: only bars have gaps that can be told; leave it out".into(),
            ));
        };
        filled = fill_forward(bars).map_err(failed)?;
    }
    if data.is_empty() {
        let has_limits = args.from.is_some() || args.to.is_some();
        let within = if has_limits { format!(" {}", limits(args)) } else { String::new() };
        let cause = format!("{} has no rows{within}; see what is there with: launcher data list", args.series);
        return Err(LaunchError::refused("data", cause));
    }
    if args.out.exists() && !args.force {
        let cause = format!("{} is there already; name another file, or replace it with --force", args.out.display());
        return Err(LaunchError::refused("data", cause));
    }
    let missing = bars_missing(&data);
    let rows = write_file(&args.out, data).map_err(failed)?;
    if let Some(count) = missing.filter(|count| args.fill == FillWord::Fetch && *count > 0) {
        out::note(&format!(
            "warning: {} still misses {count} bars, which the source does not have either; `launcher data check` tells which",
            args.series
        ));
    }
    if common.json {
        let out = args.out.display().to_string();
        let object = json!({
            "series": args.series, "file": out, "rows": rows, "rows_filled": filled, "bars_missing": missing,
        });
        out::line(&object.to_string());
    } else {
        out::line(&format!("wrote {rows} rows to {}{}", args.out.display(), filled_words(filled)));
    }
    Ok(ExitStatus::Clean)
}

/// The limits that were given, in words.
fn limits(args: &ExportArgs) -> String {
    let word = |name: &str, value: Option<&str>| value.map(|value| format!("{name} {value}"));
    let both = [word("from", args.from.as_deref()), word("to", args.to.as_deref())];
    both.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Bars that lack between the first and the last; `None` where there is no telling.
fn bars_missing(data: &Dataset) -> Option<u64> {
    let Dataset::Bars(bars) = data else { return None };
    let length = bars.interval.length_ns()?;
    let pairs = bars.ts_open_ns.iter().zip(bars.ts_open_ns.iter().skip(1));
    Some(pairs.map(|(open, next)| (next.saturating_sub(*open) / length).saturating_sub(1)).sum())
}

fn filled_words(filled: u64) -> String {
    if filled == 0 { String::new() } else { format!(", {filled} of them filled in at the last close") }
}
