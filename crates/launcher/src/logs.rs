//! `launcher logs`: the end of the newest log file of a data folder, for people or as JSON. A running bot is not disturbed.

use crate::cli::Common;
use crate::control::data_dir;
use crate::error::LaunchError;
use crate::out;
use clap::Args;
use keel_lifecycle::ExitStatus;
use serde_json::{Value, json};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of the file's end is read; unit: bytes.
const BYTES_MAX: u64 = 64 << 20;
const FILE_ENDING: &str = ".log.jsonl";

/// Flags of `logs`.
#[derive(Clone, Copy, Debug, Args)]
pub struct LogsArgs {
    /// The most lines, the newest last
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub lines: u32,
}

/// The end of a log.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub(crate) file: PathBuf,
    pub(crate) lines: Vec<Value>,
}

/// `launcher logs`.
pub fn logs(common: &Common, args: LogsArgs) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?.join("logs");
    let found = tail(&folder, usize::try_from(args.lines).unwrap_or(usize::MAX), BYTES_MAX).map_err(|source| {
        let remedy = "a run writes one; name the data folder of the run with --data-dir or -c".to_owned();
        LaunchError::Io { what: "read a log in", path: folder.clone(), source, remedy }
    })?;
    if common.json {
        out::line(&json!({ "file": found.file, "lines": found.lines }).to_string());
        return Ok(ExitStatus::Clean);
    }
    out::note(&format!("log: {}", found.file.display()));
    found.lines.iter().for_each(|line| out::line(&human(line)));
    Ok(ExitStatus::Clean)
}

/// The last lines of the newest log file, at most `bytes_max` of it. What is no JSON object, such as a line that is being
/// written, is left out.
pub(crate) fn tail(folder: &Path, lines: usize, bytes_max: u64) -> std::io::Result<Tail> {
    let is_log = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(FILE_ENDING));
    let paths = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(is_log);
    // The name holds the day.
    let newest = paths.max().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "there is no log yet"))?;
    let mut file = std::fs::File::open(&newest)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let objects = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object);
    let mut found: Vec<Value> = objects.take(lines).collect();
    found.reverse();
    Ok(Tail { file: newest, lines: found })
}

/// `2026-11-21T19:08:58.898132Z  INFO the message key=value`; nothing in it moves the cursor of a terminal.
fn human(line: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let field = |name: &str| line.get(name).map(text).unwrap_or_default();
    let mut all = format!("{} {:>5}", field("timestamp"), field("level"));
    if let Some(fields) = line.get("fields").and_then(Value::as_object) {
        if let Some(message) = fields.get("message") {
            all.push_str(&format!(" {}", text(message)));
        }
        for (name, value) in fields.iter().filter(|(name, _)| *name != "message") {
            all.push_str(&format!(" {name}={}", text(value)));
        }
    }
    all.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_newest_file_is_read_and_half_lines_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(tail(folder.path(), 5, 1_000).is_err());
        let line = |number: u32| format!("{{\"level\":\"INFO\",\"fields\":{{\"message\":\"m{number}\"}}}}\n");
        std::fs::write(folder.path().join("launcher.2026-01-01.log.jsonl"), line(0)).unwrap();
        let text: String = (1..=100).map(line).collect();
        std::fs::write(folder.path().join("launcher.2026-01-02.log.jsonl"), text + "{\"level\":\"IN").unwrap();
        std::fs::write(folder.path().join("zzz.txt"), "no log").unwrap();
        let found = tail(folder.path(), 2, 1_000).unwrap();
        let messages: Vec<_> = found.lines.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["m99", "m100"]);
        assert!(found.file.ends_with("launcher.2026-01-02.log.jsonl"));
        assert!(tail(folder.path(), 1_000, 1_000).unwrap().lines.len() < 30, "no more bytes than asked for");
    }

    #[test]
    fn a_line_for_people_holds_everything_and_no_control_characters() {
        let line =
            json!({ "timestamp": "T", "level": "WARN", "fields": { "message": "a\u{1b}[2Jb", "n": 3, "s": "x\ny" } });
        assert_eq!(human(&line), "T  WARN a [2Jb n=3 s=x y");
    }
}
