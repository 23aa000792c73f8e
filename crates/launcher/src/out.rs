//! The one place that writes for people: stdout for results, stderr for everything else. A closed pipe must never turn
//! a stop into a panic: nobody reads any more, and that is no failure. Any other error on stdout means that a result is
//! lost; it is remembered, and the exit code says so. Errors on stderr are dropped; there is nowhere left to tell of them.

use keel_lifecycle::Clock;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Is each line on stderr one JSON object?
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// The first error of writing a result.
static STDOUT_ERROR: OnceLock<String> = OnceLock::new();

/// From here on each line on stderr is one JSON object, or is not.
pub fn set_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
    keel_lifecycle::set_console_json(is_json);
}

/// One line of a result, to stdout.
pub fn line(text: &str) {
    let written = write_all(&mut std::io::stdout().lock(), text);
    remember(written);
}

/// Remembers that a result could not be written.
pub fn remember(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        // Only the first one counts.
        drop(STDOUT_ERROR.set(format!("cannot write the result to stdout: {error}; send it to a place with room")));
    }
}

/// Why a result was lost, if one was.
#[must_use]
pub fn stdout_error() -> Option<&'static str> {
    STDOUT_ERROR.get().map(String::as_str)
}

/// One line for a person, to stderr.
pub fn note(text: &str) {
    let text = if IS_JSON.load(Ordering::Relaxed) { as_json(text, Clock::system().now_ns()) } else { text.to_owned() };
    drop(write_all(&mut std::io::stderr().lock(), &text));
}

/// A note as one JSON object; its level is what it begins with.
fn as_json(text: &str, now_ns: u64) -> String {
    let level = match text {
        text if text.starts_with("error:") => "ERROR",
        text if text.starts_with("warning:") => "WARN",
        _ => "INFO",
    };
    let time = jiff::Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    serde_json::json!({ "timestamp": time, "level": level, "message": text.trim_end() }).to_string()
}

fn write_all(to: &mut dyn Write, text: &str) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        bytes.push(b'\n');
    }
    to.write_all(&bytes).and_then(|()| to.flush())
}

/// Is somebody looking at stderr?
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// May colours be used on stderr? Not with `NO_COLOR` set to anything but nothing, not off a terminal.
#[must_use]
pub fn may_colour(no_colour_flag: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour_flag && !refused && is_terminal()
}

/// A table with left-aligned columns, two spaces apart; the first row is the heading.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_json_object_whatever_is_in_it() {
        for (text, level) in [("error: \"x\"\nsecond line\n", "ERROR"), ("warning: y", "WARN"), ("ready", "INFO")] {
            let json = as_json(text, 1_000_000_000);
            assert!(!json.contains('\n'), "{json}");
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!((value["level"].as_str(), value["message"].as_str()), (Some(level), Some(text.trim_end())));
            assert_eq!(value["timestamp"], "1970-01-01T00:00:01.000000Z");
        }
    }

    #[test]
    fn a_table_lines_up_and_never_ends_in_blanks() {
        let rows = [vec!["a".to_owned(), "long heading".into()], vec!["wider".into(), "x".into()], vec![]];
        assert_eq!(table(&rows), "a      long heading\nwider  x\n\n");
        assert_eq!(table(&[]), "");
    }
}
