//! Lines for people on stderr that cannot fail: a closed pipe or a vanished terminal must not turn a stop into a panic,
//! which `eprintln!` would do.

use std::io::Write;

/// Writes one line to stderr; an error is dropped, because there is nowhere left to tell of it.
pub fn console_line(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    drop(std::io::stderr().write_all(text.as_bytes()));
}
