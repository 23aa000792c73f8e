//! `launcher data check`: one report a file or series. Exit code 1 when something cannot be traded on; gaps are told and no fault.

use super::args::CheckArgs;
use super::failed;
use crate::cli::Common;
use crate::error::LaunchError;
use crate::out;
use keel_catalogue::{
    Catalogue, CatalogueError, CheckOptions, Count, Dataset, Raw, ReadOptions, Report, SeriesKey, Span, check as look,
    read_raw, time_to_text,
};
use keel_lifecycle::ExitStatus;
use serde_json::{Value, json};
use std::path::Path;

/// Gaps that are shown to people.
const GAPS_SHOWN: usize = 5;

/// Checks what is named, or everything.
pub(super) fn check(common: &Common, catalogue: &Catalogue, args: &CheckArgs) -> Result<ExitStatus, LaunchError> {
    if !(args.jump > 0.0 && args.jump <= 1e6) {
        return Err(LaunchError::Usage(format!("--jump: {} is not within 0 and 1000000 percent", args.jump)));
    }
    let interval = args.interval.as_deref().map(str::parse).transpose();
    let interval = interval.map_err(|error| LaunchError::Usage(format!("--interval: {error}")))?;
    let options = ReadOptions { interval, ..ReadOptions::default() };
    let how = CheckOptions { jump: args.jump / 100.0 };
    let (mut names, mut broken) = (args.what.clone(), Vec::new());
    if names.is_empty() {
        let (held, unread) = catalogue.list().map_err(failed)?;
        names = held.iter().map(|it| it.key.to_string()).collect();
        broken = unread.iter().map(ToString::to_string).collect();
        if names.is_empty() && broken.is_empty() {
            let root = catalogue.root().display();
            return Err(LaunchError::refused(
                "data",
                format!("{root} holds nothing; name a file: launcher data check FILE"),
            ));
        }
    }
    let (mut reports, mut is_sound) = (Vec::new(), broken.is_empty());
    for name in &names {
        match read(catalogue, name, &options) {
            Ok(Raw { data: Dataset::Recording(path), .. }) => {
                let contents = crate::recording::scan(&path)?;
                reports.push(json!({ "name": name, "kind": "recording", "frames": contents.frames, "is_sound": true }));
                if !common.json {
                    let words = format!(
                        "{name}: recording of {} frames over {:.0} s",
                        contents.frames,
                        contents.length.as_secs_f64()
                    );
                    out::line(&words);
                }
            }
            Ok(raw) => {
                let report = look(&raw, &how);
                is_sound &= report.is_sound();
                if !common.json {
                    out::line(words(name, &raw.data, &report).trim_end());
                }
                reports.push(as_json(name, &raw.data, &report));
            }
            // One file by itself is simply an error.
            Err(error) if names.len() == 1 => return Err(failed(error)),
            Err(error) => broken.push(error.to_string()),
        }
    }
    is_sound &= broken.is_empty();
    if common.json {
        out::line(&json!({ "is_sound": is_sound, "checked": reports, "damaged": broken }).to_string());
    } else {
        broken.iter().for_each(|error| out::note(&format!("error: {error}")));
    }
    Ok(if is_sound { ExitStatus::Clean } else { ExitStatus::Failed })
}

fn read(catalogue: &Catalogue, name: &str, options: &ReadOptions) -> Result<Raw, CatalogueError> {
    let path = Path::new(name);
    match name.parse::<SeriesKey>() {
        Ok(key) if !path.is_file() => {
            let data = catalogue.read(&key, Span::new(0, u64::MAX))?;
            if data.is_empty() {
                return Err(CatalogueError::Series(format!("{key} is not in the catalogue; see launcher data list")));
            }
            Ok(Raw { data, path: catalogue.root().join(key.folder()), first_line: None, snapped: 0 })
        }
        _ => read_raw(path, options),
    }
}

/// What was found, by name.
fn counts(report: &Report) -> [(&'static str, &'static str, &Count); 8] {
    [
        ("doubled", "rows there twice", &report.doubled),
        ("contradicting", "rows of one time with different values", &report.contradicting),
        ("disordered", "rows before the row before them", &report.disordered),
        ("misaligned", "bars that do not begin at a multiple of their length", &report.misaligned),
        ("not_a_number", "rows with a value that is no number", &report.not_a_number),
        ("not_positive", "rows with a price of zero or less or a negative quantity", &report.not_positive),
        ("impossible", "rows that cannot be (high below low, bid above ask)", &report.impossible),
        ("jumps", "jumps of the price", &report.jumps),
    ]
}

/// The length of bars, where there is one.
fn interval(data: &Dataset) -> Option<String> {
    match data {
        Dataset::Bars(bars) => Some(bars.interval.to_string()),
        _ => None,
    }
}

fn as_json(name: &str, data: &Dataset, report: &Report) -> Value {
    let time = |ns: Option<u64>| ns.map(time_to_text);
    let lengths =
        report.gap_distances().into_iter().map(|(ns, count)| json!({ "seconds": ns as f64 / 1e9, "count": count }));
    let gaps = report.gaps.iter().map(
        |gap| json!({ "from": time_to_text(gap.span.from_ns), "to": time_to_text(gap.span.to_ns), "bars": gap.bars }),
    );
    let mut object = json!({
        "name": name, "kind": data.name(), "interval": interval(data), "rows": report.rows,
        "first": time(report.first_ns), "last": time(report.last_ns),
        "gaps_count": report.gaps_count, "bars_missing": report.bars_missing,
        "gap_distances": lengths.collect::<Vec<_>>(), "gaps": gaps.collect::<Vec<_>>(),
        "zero_volume": report.zero_volume, "noisy_values": report.noisy_values, "is_sound": report.is_sound(),
    });
    if let Value::Object(fields) = &mut object {
        fields.extend(counts(report).map(|(key, _, count)| (key.to_owned(), json!(count))));
    }
    object
}

fn words(name: &str, data: &Dataset, report: &Report) -> String {
    let time = |ns: Option<u64>| ns.map_or_else(|| "n/a".to_owned(), time_to_text);
    let length = interval(data).map(|it| format!(" of {it}")).unwrap_or_default();
    let mut text = format!(
        "{name}: {} {}{length}, {} to {}: {}\n",
        report.rows,
        data.name(),
        time(report.first_ns),
        time(report.last_ns),
        if report.is_sound() { "sound" } else { "NOT SOUND" }
    );
    if report.gaps_count > 0 {
        let lengths = report.gap_distances();
        let each = lengths.iter().take(GAPS_SHOWN).map(|(ns, count)| format!("{count} × {}", duration(*ns)));
        let more = if lengths.len() > GAPS_SHOWN { ", …" } else { "" };
        text += &format!(
            "  {} gaps, {} bars missing; from row to row: {}{more}\n",
            report.gaps_count,
            report.bars_missing,
            each.collect::<Vec<_>>().join(", ")
        );
        for gap in report.gaps.iter().take(GAPS_SHOWN) {
            text += &format!("    {}: {} bars\n", gap.span, gap.bars);
        }
        if report.gaps_count > GAPS_SHOWN as u64 {
            text += "    … (all with --json)\n";
        }
    }
    for (_, what, count) in counts(report).iter().filter(|(_, _, count)| count.count > 0) {
        text += &format!("  {} {what}: {}\n", count.count, count.first.join(", "));
    }
    if report.zero_volume > 0 {
        text += &format!("  {} bars without volume\n", report.zero_volume);
    }
    if report.noisy_values > 0 {
        text += &format!(
            "  {} values with the noise of computed doubles, read as the decimals beside them\n",
            report.noisy_values
        );
    }
    text
}

/// `13 h 22 min`.
fn duration(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { format!("{} ms", ns / 1_000_000) } else { shown.join(" ") }
}
