//! The one place that writes for people: stdout for results, stderr for everything else. A closed pipe must never turn
//! a stop into a panic, so errors of writing are dropped; there is nowhere left to tell of them.

use std::io::{IsTerminal, Write};

/// One line of a result, to stdout.
pub fn line(text: &str) {
    write_all(&mut std::io::stdout().lock(), text);
}

/// One line for a person, to stderr.
pub fn note(text: &str) {
    write_all(&mut std::io::stderr().lock(), text);
}

fn write_all(to: &mut dyn Write, text: &str) {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        bytes.push(b'\n');
    }
    drop(to.write_all(&bytes).and_then(|()| to.flush()));
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
    fn a_table_lines_up_and_never_ends_in_blanks() {
        let rows = [vec!["a".to_owned(), "long heading".into()], vec!["wider".into(), "x".into()], vec![]];
        assert_eq!(table(&rows), "a      long heading\nwider  x\n\n");
        assert_eq!(table(&[]), "");
    }
}
