//! `launcher resources`: what a running bot holds (descriptors by kind, memory, threads, tasks, leases) and how it grows.

use crate::cli::Common;
use crate::control::{self, data_dir};
use crate::error::LaunchError;
use crate::out;
use clap::Args;
use keel_control::{Ask, Outcome};
use keel_lifecycle::ExitStatus;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Growth of memory that is still no leak (S1, KPIs); unit: bytes an hour.
const GROWTH_MAX_BYTES: f64 = 10e6;
/// Growth over less than this is the warming up; unit: seconds.
const JUDGED_SPAN_MIN_S: f64 = 3600.0;
/// Descriptors as a share of the limit that a healthy run stays below (S1, KPIs).
const DESCRIPTORS_SHARE_MAX: f64 = 0.5;

/// Flags of `resources`.
#[derive(Clone, Debug, Args)]
pub struct ResourcesArgs {
    /// Write everything as JSON to this new file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `launcher resources`.
pub fn resources(common: &Common, args: &ResourcesArgs) -> Result<ExitStatus, LaunchError> {
    let found = of_bot(&data_dir(common)?)?;
    if let Some(path) = &args.report {
        write(path, &found)?;
    }
    if common.json {
        out::line(&found.to_string());
    } else {
        out::line(&text(&found));
    }
    if let Some(path) = &args.report {
        out::note(&format!("report: {}", path.display()));
    }
    Ok(ExitStatus::Clean)
}

/// What the bot on a data folder tells of itself: `pid`, `report` (S1-050) and `resources`.
pub(crate) fn of_bot(folder: &Path) -> Result<Value, LaunchError> {
    let reply = control::ask(folder, Ask::Resources {}, control::STATUS_LIMIT)?;
    if reply.answer.outcome != Outcome::Confirmed {
        let why = reply.answer.open.join("; ");
        return Err(LaunchError::start("resources", format!("the bot (pid {}) tells nothing: {why}", reply.pid)));
    }
    let mut detail = reply.answer.detail;
    if let Some(fields) = detail.as_object_mut() {
        fields.insert("pid".to_owned(), reply.pid.into());
    }
    Ok(detail)
}

fn write(path: &Path, value: &Value) -> Result<(), LaunchError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| LaunchError::Io {
        what: "write the report",
        path: path.to_path_buf(),
        source,
        remedy: "name a new file in a folder of yours; existing files are never overwritten".into(),
    })
}

/// Growth, where enough time has passed to tell.
fn rate(growth: &Value, key: &str, unit: f64) -> String {
    growth.get(key).and_then(Value::as_f64).map_or_else(|| "n/a".to_owned(), |rate| format!("{:+.2}/h", rate / unit))
}

fn text(found: &Value) -> String {
    let number = |path: &str| found.pointer(path).and_then(Value::as_f64);
    let whole = |path: &str| number(path).map_or_else(|| "n/a".to_owned(), |it| format!("{it:.0}"));
    let tenths = |path: &str| number(path).map_or_else(|| "n/a".to_owned(), |it| format!("{it:.1}"));
    let growth = found.pointer("/resources/growth").unwrap_or(&Value::Null);
    let span_s = growth.get("span_s").and_then(Value::as_f64).unwrap_or(0.0);
    let grown = growth.get("memory_bytes_per_h").and_then(Value::as_f64);
    let share = match (number("/report/current_metrics/open_files"), number("/report/current_metrics/max_files")) {
        (Some(open), Some(most)) if most > 0.0 => Some(open / most),
        _ => None,
    };
    let judged =
        |is_good: Option<bool>| is_good.map_or("", |is_good| if is_good { "ok" } else { "TOO MUCH" }).to_owned();
    let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["resource", "now", "most", "growth", "judged"])];
    rows.push(row([
        "descriptors",
        &format!("{} of {}", whole("/report/current_metrics/open_files"), whole("/report/current_metrics/max_files")),
        &whole("/report/statistics/file_descriptors/max"),
        &rate(growth, "descriptors_per_h", 1.0),
        &judged(share.map(|it| it < DESCRIPTORS_SHARE_MAX)),
    ]));
    let kinds = found.pointer("/resources/descriptors").and_then(Value::as_object).cloned().unwrap_or_default();
    for (kind, count) in kinds.iter().filter(|(_, count)| count.as_u64() != Some(0)) {
        rows.push(row([&format!("  {kind}"), &count.to_string(), "", "", ""]));
    }
    rows.push(row([
        "memory, MB",
        &format!(
            "{} ({} %)",
            tenths("/report/current_metrics/memory_mb"),
            tenths("/report/current_metrics/memory_percent")
        ),
        &number("/resources/peak/rss_bytes_max").map_or_else(|| "n/a".to_owned(), |it| format!("{:.1}", it / 1e6)),
        &rate(growth, "memory_bytes_per_h", 1e6),
        &judged(grown.filter(|_| span_s >= JUDGED_SPAN_MIN_S).map(|it| it < GROWTH_MAX_BYTES)),
    ]));
    rows.push(row([
        "threads",
        &whole("/report/current_metrics/threads"),
        &whole("/resources/peak/threads_max"),
        &rate(growth, "threads_per_h", 1.0),
        "",
    ]));
    rows.push(row(["tasks", &whole("/report/current_metrics/tasks"), "", "", ""]));
    rows.push(row(["processes", &whole("/report/current_metrics/processes"), "", "", ""]));
    let states = found.pointer("/report/sockets_by_state").and_then(Value::as_object).cloned().unwrap_or_default();
    for (state, count) in &states {
        rows.push(row([&format!("sockets {state}"), &count.to_string(), "", "", ""]));
    }
    let leases = found.pointer("/resources/leases").and_then(Value::as_array).cloned().unwrap_or_default();
    for lease in leases.iter().filter(|lease| lease["peak"].as_u64() != Some(0)) {
        let kind = lease.get("kind").and_then(Value::as_str).unwrap_or("?");
        rows.push(row([&format!("lease {kind}"), &lease["live"].to_string(), &lease["peak"].to_string(), "", ""]));
    }
    let told = if span_s < JUDGED_SPAN_MIN_S { ", judged after an hour" } else { "" };
    format!("process {}; growth over the last {span_s:.0} s{told}\n{}", whole("/pid"), out::table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_that_are_not_there_are_not_made_up() {
        let shown = text(&json!({}));
        assert!(shown.contains("n/a of n/a") && !shown.contains("TOO MUCH"), "{shown}");
        let of = |span_s: f64| {
            text(&json!({
            "pid": 7,
            "report": { "current_metrics": { "open_files": 60, "max_files": 100, "memory_mb": 50.0, "memory_percent": 1.0 } },
            "resources": { "growth": { "span_s": span_s, "memory_bytes_per_h": 2e7 }, "descriptors": { "pipe": 0, "socket": 9 } },
            }))
        };
        let shown = of(3_600.0);
        assert!(
            shown.matches("TOO MUCH").count() == 2 && shown.contains("+20.00/h") && !shown.contains("pipe"),
            "{shown}"
        );
        let shown = of(600.0);
        assert!(shown.matches("TOO MUCH").count() == 1, "growth while it warms up is not judged: {shown}");
    }
}
