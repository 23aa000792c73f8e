//! `launcher health`: is the bot on a data folder well? 0 and `HEALTHY`, or 1 and a list of what is not (S1-031 to S1-036).
//! The answer is kept as `health_check_YYYYMMDD.json` in the data folder, one file a day, the last check in it.

use crate::cli::Common;
use crate::control::{self, data_dir};
use crate::error::LaunchError;
use crate::out;
use crate::resources;
use crate::run::status::View;
use keel_control::{Ask, Outcome};
use keel_lifecycle::{Clock, ExitStatus};
use keel_model::{FeedState, StreamKind, TradingState};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Descriptors as a share of the soft limit (S1-031).
const DESCRIPTORS_SHARE_MAX: f64 = 0.8;
/// Resident memory (S1-032); unit: MB.
const MEMORY_MAX_MB: f64 = 1500.0;
/// A write of the journal that takes longer than this is stuck; unit: nanoseconds.
const JOURNAL_STUCK_NS: u64 = 1_000_000_000;

/// `launcher health`.
pub fn health(common: &Common) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?;
    if !folder.is_dir() {
        let cause = format!("{} is no folder; name the bot's with --data-dir or -c", folder.display());
        return Err(LaunchError::Usage(cause));
    }
    let now_ns = Clock::system().now_ns();
    let (issues, report, status) = match look(&folder) {
        Ok((view, found)) => {
            let report = found.get("report").cloned().unwrap_or_default();
            (issues(&view, &report), report, json!({ "pid": view.pid, "mode": view.mode, "uptime_s": view.uptime_s }))
        }
        Err(error) => (vec![error.to_string()], Value::Null, Value::Null),
    };
    let is_healthy = issues.is_empty();
    let result = json!({
        "timestamp": utc(now_ns, "%Y-%m-%dT%H:%M:%SZ"),
        "healthy": is_healthy,
        "issues": issues,
        "bot": status,
        "report": report,
    });
    let kept = keep(&folder, now_ns, &result);
    if common.json {
        out::line(&result.to_string());
    } else if is_healthy {
        out::line("HEALTHY");
    } else {
        out::line(&format!("ISSUES FOUND: {}", issues.len()));
        issues.iter().for_each(|issue| out::line(&format!("  {issue}")));
    }
    match kept {
        Ok(path) => out::note(&format!("kept in {}", path.display())),
        Err(error) => {
            out::note(&format!(
                "warning: the check is not kept in {}: {error}; check its permissions",
                folder.display()
            ));
        }
    }
    Ok(if is_healthy { ExitStatus::Clean } else { ExitStatus::Failed })
}

fn look(folder: &Path) -> Result<(View, Value), LaunchError> {
    let reply = control::ask(folder, Ask::Status {}, control::STATUS_LIMIT)?;
    if reply.answer.outcome != Outcome::Confirmed {
        return Err(LaunchError::start("status", reply.answer.open.join("; ")));
    }
    let view = serde_json::from_value(reply.answer.detail)
        .map_err(|error| LaunchError::start("status", format!("{error}; are both programs of the same version?")))?;
    Ok((view, resources::of_bot(folder)?))
}

/// What is not well, each with what to do.
fn issues(view: &View, report: &Value) -> Vec<String> {
    let mut issues = Vec::new();
    let metric = |name: &str| report.pointer(&format!("/current_metrics/{name}")).and_then(Value::as_f64);
    if let (Some(open), Some(most)) = (metric("open_files"), metric("max_files"))
        && open > DESCRIPTORS_SHARE_MAX * most
    {
        issues.push(format!("descriptors: {open:.0} of {most:.0} are open; `launcher resources` tells which"));
    }
    if let Some(memory) = metric("memory_mb").filter(|memory| *memory > MEMORY_MAX_MB) {
        issues.push(format!("memory: {memory:.0} MB are resident, more than {MEMORY_MAX_MB:.0}; `launcher resources`"));
    }
    for alert in report.get("active_alerts").and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        issues.push(format!("active alert: {} ({}); `launcher logs` tells more", word("kind"), word("severity")));
    }
    issues.extend(view.stopping.iter().map(|reason| format!("it stops: {reason}")));
    if let Some(latch) = &view.latch {
        issues.push(format!("halted by {}; look, then `launcher rearm`", latch.words()));
    } else if view.status.operator.is_emergency
        || (view.is_started && view.status.trading_state == TradingState::Halted)
    {
        issues.push("trading is halted; `launcher status` tells by what".to_owned());
    }
    if !view.is_started {
        let why = view.blocker.as_deref().unwrap_or("the venue is not reached yet");
        issues.push(format!("not ready: {why}"));
    }
    let symbol = |id: keel_model::InstrumentId| view.symbols.get(id.index()).map_or("?", String::as_str);
    for stream in view.status.operator.streams.iter().filter(|it| view.is_started && it.state != FeedState::Live) {
        let name = match stream.stream {
            StreamKind::Account => "account",
            StreamKind::Market(id) => symbol(id),
        };
        issues.push(format!("stream {name} is {:?}; nothing new is opened on it until it is back", stream.state));
    }
    for hold in &view.status.holds {
        issues.push(format!("{} is held: {}; {}", symbol(hold.instrument), hold.reason, hold.remedy));
    }
    if let Some(journal) = view.journal.as_ref().filter(|it| it.stuck_ns > JOURNAL_STUCK_NS) {
        let waited_s = journal.stuck_ns / 1_000_000_000;
        issues.push(format!("the journal's disk has not answered for {waited_s} s; look at the disk"));
    }
    issues
}

fn utc(now_ns: u64, format: &str) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime(format).to_string()
}

/// Keeps the answer, whole or not at all.
fn keep(folder: &Path, now_ns: u64, result: &Value) -> std::io::Result<PathBuf> {
    let path = folder.join(format!("health_check_{}.json", utc(now_ns, "%Y%m%d")));
    let temporary = folder.join(format!(".health_check.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all((serde_json::to_string_pretty(result).unwrap_or_default() + "\n").as_bytes())?;
    std::fs::rename(&temporary, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_035_the_file_is_named_by_the_day_in_utc_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = keep(folder.path(), 1_795_288_150_000_000_000, &json!({ "healthy": true })).unwrap();
        assert!(path.ends_with("health_check_20261121.json"), "{path:?}");
        keep(folder.path(), 1_795_288_150_000_000_000, &json!({ "healthy": false })).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "healthy": false }));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn s1_031_s1_032_s1_033_each_threshold_is_an_issue_and_a_quiet_bot_has_none() {
        let mut view = View { is_started: true, ..View::default() };
        view.status.trading_state = TradingState::Active;
        let report = |open: u64, memory: f64, alerts: Value| json!({ "current_metrics": { "open_files": open, "max_files": 100, "memory_mb": memory }, "active_alerts": alerts });
        assert_eq!(issues(&view, &report(80, 1500.0, json!([]))), Vec::<String>::new());
        let alerts = json!([{ "kind": "threads", "severity": "warning" }]);
        let found = issues(&view, &report(81, 1500.1, alerts));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].contains("81 of 100") && found[1].contains("1500 MB") && found[2].contains("threads (warning)")
        );
        let waits = View { is_started: false, blocker: Some("the account stream".into()), ..view };
        assert_eq!(issues(&waits, &report(1, 1.0, json!([]))), ["not ready: the account stream"]);
    }
}
