//! A run as a file: JSON with a name and a version, read back by `launcher report` and `launcher plot`. Markets are not in it;
//! the names of the files that hold them are.

use crate::run::{EquityPoint, Run};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// What such a file says it is.
pub const FORMAT: &str = "keel-run";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;
/// The largest file that is read; unit: bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a saved run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Not JSON, or not of this form.
    #[error("line {line}: {cause}; it must be a file that `launcher backtest --out` wrote")]
    Form {
        /// Where.
        line: usize,
        /// What is wrong.
        cause: String,
    },
    /// JSON of another kind.
    #[error("it is `{found}`, not `{FORMAT}`; it must be a file that `launcher backtest --out` wrote")]
    Format {
        /// What it says it is.
        found: String,
    },
    /// Written by a newer program.
    #[error("its version is {found}, this program reads up to {VERSION}; use the newer program")]
    Version {
        /// What it says.
        found: u32,
    },
    /// A figure that no run can have.
    #[error("{0}; the file is damaged, run the backtest again")]
    Value(String),
    /// The file cannot be read.
    #[error("cannot be read: {0}; it must be a text file that `launcher backtest --out` wrote")]
    Read(std::io::Error),
    /// The file cannot be written.
    #[error("cannot be written: {0}; look for room on the disk")]
    Write(std::io::Error),
}

/// Which file holds an instrument's market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketFile {
    /// The instrument's name.
    pub instrument: String,
    /// The file, as it was named.
    pub path: String,
}

/// A saved run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Where the markets are.
    pub markets: Vec<MarketFile>,
    /// The run.
    pub run: Run,
}

/// The part that must be right before the rest is looked at.
#[derive(Debug, Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<u32>,
}

impl SavedRun {
    /// A run to be saved.
    #[must_use]
    pub fn new(run: Run, markets: Vec<MarketFile>) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, markets, run }
    }

    /// Writes it; the caller renames a finished file into place.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, to: impl Write) -> Result<(), SavedError> {
        serde_json::to_writer(to, self).map_err(|error| SavedError::Write(error.into()))
    }

    /// Reads one.
    ///
    /// # Errors
    /// With the line and what is wrong there; a value that no run can have is refused, too.
    pub fn read(from: impl Read) -> Result<Self, SavedError> {
        let mut text = String::new();
        from.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(SavedError::Read)?;
        let head: Head = serde_json::from_str(&text).map_err(|error| form(&error))?;
        match (head.format.as_deref(), head.version) {
            (Some(FORMAT), Some(1..=VERSION)) => {}
            (Some(FORMAT), version) => return Err(SavedError::Version { found: version.unwrap_or(0) }),
            (found, _) => {
                let found = found.unwrap_or("without a `format`").chars().filter(|it| !it.is_control()).take(40);
                return Err(SavedError::Format { found: found.collect() });
            }
        }
        let saved: Self = serde_json::from_str(&text).map_err(|error| form(&error))?;
        check(&saved.run).map_err(SavedError::Value)?;
        Ok(saved)
    }
}

fn form(error: &serde_json::Error) -> SavedError {
    SavedError::Form { line: error.line(), cause: error.to_string() }
}

fn check(run: &Run) -> Result<(), String> {
    let is_ordered = |pair: &[EquityPoint]| matches!(pair, [a, b] if a.ts_ns <= b.ts_ns);
    if run.end_ns < run.start_ns {
        return Err("the run ends before it begins".into());
    }
    if let Some(at) = run.equity.windows(2).position(|pair| !is_ordered(pair)) {
        return Err(format!("point {} of the equity is earlier than the one before it", at + 2));
    }
    let is_whole = |trade: &crate::run::Trade| {
        trade.entry_ns <= trade.exit_ns && trade.quantity > 0.0 && trade.entry_price > 0.0 && trade.exit_price > 0.0
    };
    match run.trades.iter().position(|trade| !is_whole(trade)) {
        Some(at) => Err(format!("trade {} ends before it begins, or has no price or quantity above zero", at + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::trade;
    use crate::run::Direction;

    fn saved() -> SavedRun {
        let run = Run {
            title: "ema <cross>".into(),
            end_ns: 9,
            start_equity: 1e6,
            equity: vec![EquityPoint { ts_ns: 1, equity: 980_807.297_631 }],
            trades: vec![trade("BTCUSDT", Direction::Short, 0.25, "signal")],
            orders: Some(2),
            ..Run::default()
        };
        SavedRun::new(run, vec![MarketFile { instrument: "BTCUSDT".into(), path: "bars.csv".into() }])
    }

    fn text(saved: &SavedRun) -> String {
        let mut bytes = Vec::new();
        saved.write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let saved = saved();
        assert_eq!(SavedRun::read(text(&saved).as_bytes()).unwrap(), saved);
    }

    #[test]
    fn other_files_newer_versions_and_damage_are_refused() {
        let whole = text(&saved());
        for (text, wanted) in [
            (String::new(), "line 1: EOF"),
            ("{}".into(), "it is `without a `format``, not `keel-run`"),
            ("[1,2]".into(), "launcher backtest --out"),
            (whole.replace("keel-run", "other"), "it is `other`"),
            (whole.replace("\"version\":1", "\"version\":2"), "its version is 2"),
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            (whole.replace("\"quantity\":1.0", "\"quantity\":-1.0"), "trade 1 ends before"),
            (whole.replace("\"end_ns\":9", "\"end_ns\":-9"), "ends before it begins"),
            (whole.replace("[[1,", "[[5,1.0],[1,"), "point 2 of the equity"),
            (whole.replace("980807.297631", "null"), "line 1"),
        ] {
            let error = SavedRun::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
