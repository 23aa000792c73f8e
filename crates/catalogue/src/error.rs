//! What keeps data from being read or kept. Every message says the file, the place in it, the cause and the next step.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file: lines of text count from 1, the header included; rows of a table count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file.
    Line(u64),
    /// A row of a table.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// Errors of the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The system refused a file.
    #[error("cannot {what} {}: {source}; {remedy}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The file itself is broken: cut off, a checksum that fails, a structure that cannot be.
    #[error("{} is damaged: {cause}; take it away, then fetch, record or write it again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        cause: String,
    },
    /// The file holds nothing that we know.
    #[error("{}: {cause}; {remedy}", .path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is missing or unknown.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// One row is wrong.
    #[error("{}, {place}: {cause}; {remedy}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// New data contradicts what is kept.
    #[error("{series}: {cause}; {remedy}")]
    Conflict {
        /// Of which series.
        series: String,
        /// Which rows differ, with their time.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Two files of one series say different things.
    #[error(
        "{old} and {new} contradict each other: the row of {time} is {} in the first and {} in the second; leave one of them out",
        .values[0], .values[1]
    )]
    Contradiction {
        /// A file.
        old: String,
        /// The other one.
        new: String,
        /// Time of the row.
        time: String,
        /// The row in the one and in the other.
        values: [String; 2],
    },
    /// A name that is no series, or a request that fits none.
    #[error("{0}")]
    Series(String),
}

impl CatalogueError {
    /// Would another attempt be of use? Only the system's own errors pass by themselves.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        if matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) {
            return Self::damaged(path, source);
        }
        Self::Io { what: "read", path: path.into(), source, remedy: "check path and permissions" }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        let remedy = "check the room on the disk and the folder's permissions; nothing that was kept has changed";
        Self::Io { what: "write", path: path.into(), source, remedy }
    }

    pub(crate) fn damaged(path: &Path, cause: impl ToString) -> Self {
        Self::Damaged { path: path.into(), cause: cause.to_string() }
    }

    pub(crate) fn layout(path: &Path, cause: impl ToString, remedy: impl ToString) -> Self {
        Self::Layout { path: path.into(), cause: cause.to_string(), remedy: remedy.to_string() }
    }
}
