//! What can go wrong with historical data, named by cause. Every message says the place, the cause and the remedy.
//!
//! Two questions are answered of each: may the same request succeed later ([`HistoryError::is_retryable`]), and what became of
//! the cache: it holds whole verified pieces only, whatever failed.

use std::path::PathBuf;

/// Errors of this crate. New kinds may come; the ones that are here stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The request makes no sense or nobody can answer it.
    #[error("{0}")]
    Request(String),
    /// The venue does not know the symbol.
    #[error(
        "{market} has no symbol {symbol}; look for its name with `launcher list-markets`, or take another --market"
    )]
    UnknownSymbol {
        /// The market.
        market: &'static str,
        /// The symbol.
        symbol: String,
    },
    /// There is nothing in the span.
    #[error("no {what} in {span}; {remedy}")]
    NoData {
        /// What was asked for.
        what: String,
        /// The span.
        span: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An archive is not published yet.
    #[error(
        "{file} is not published yet: archives come about 48 h late; take --source auto, which asks REST for the newest \
         data, or an earlier end"
    )]
    NotPublished {
        /// The archive.
        file: String,
    },
    /// The bytes that came are not those that the venue says it published.
    #[error(
        "{file}: the checksum is {actual}, should be {expected}, {attempts} times; nothing of it was used; try again later"
    )]
    Checksum {
        /// The archive.
        file: String,
        /// What the venue's `.CHECKSUM` says.
        expected: String,
        /// What came.
        actual: String,
        /// How often it was fetched.
        attempts: u32,
    },
    /// An archive that is complete and still cannot be read.
    #[error("{file}: {cause}; nothing of it was used")]
    Archive {
        /// The archive.
        file: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An answer that is not what the venue documents.
    #[error("{url}: the answer cannot be read: {cause}")]
    Unreadable {
        /// The address.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The venue said no.
    #[error("{url}: refused with status {status}: {text}")]
    Refused {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The venue's words.
        text: String,
    },
    /// The venue asks for a longer pause than a download waits.
    #[error("{url}: the venue limits our requests (status {status}) for another {wait_s} s; try again after that")]
    Limited {
        /// The address.
        url: String,
        /// HTTP status: 429 or 418.
        status: u16,
        /// For how long.
        wait_s: u64,
    },
    /// No complete answer, again and again.
    #[error(
        "{url}: {cause} (tried {attempts} times); check the network, then run the same command again: it goes on where it was"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What happened the last time.
        cause: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The disk is full.
    #[error("the disk of {} is full; what was complete is kept: free some space and run the same command again", .path.display())]
    DiskFull {
        /// The folder or file.
        path: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another download works in the same folder.
    #[error("another download works in {}; wait for its end, or take another --data-dir", .folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The catalogue said no.
    #[error(transparent)]
    Catalogue(keel_catalogue::CatalogueError),
    /// The client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
    /// The manager is closed.
    #[error("the data manager is closed; make a new one")]
    Closed,
}

impl HistoryError {
    /// May the same request succeed later without a change?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotPublished { .. }
                | Self::Checksum { .. }
                | Self::Limited { .. }
                | Self::Unreachable { .. }
                | Self::DiskFull { .. }
                | Self::Busy { .. }
        )
    }

    /// A failure of the file system; a full disk has its own name.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.into() },
            _ => Self::Io { what, path: path.into(), source },
        }
    }
}

impl From<keel_catalogue::CatalogueError> for HistoryError {
    /// The system's failures keep their kind, a full disk above all.
    fn from(error: keel_catalogue::CatalogueError) -> Self {
        match error {
            keel_catalogue::CatalogueError::Io { what, path, source, .. } => Self::io(what, path, source),
            other => Self::Catalogue(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_full_disk_is_told_as_one_wherever_it_is_met() {
        let full = || Error::from(ErrorKind::StorageFull);
        let in_catalogue =
            keel_catalogue::CatalogueError::Io { what: "write", path: "x".into(), source: full(), remedy: "" };
        for error in [HistoryError::io("write", "x", full()), in_catalogue.into()] {
            assert!(matches!(error, HistoryError::DiskFull { .. }) && error.is_retryable(), "{error}");
            assert!(error.to_string().contains("is full"), "{error}");
        }
        let denied = HistoryError::io("write", "x", Error::from(ErrorKind::PermissionDenied));
        assert!(matches!(denied, HistoryError::Io { .. }) && !denied.is_retryable(), "{denied}");
    }
}
