//! Errors of the journal, named by cause. Every message says place, cause and remedy.

use std::path::{Path, PathBuf};

/// Why the journal could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The system refused an operation on a file.
    #[error("cannot {what} {path}: {cause}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The folder or file system cannot be written.
    #[error("cannot {what} {path}: {cause}; choose a data folder that may be written (--data-dir)", path = path.display())]
    NotWritable {
        /// What was tried.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// No space is left, or a limit on file sizes was reached.
    #[error(
        "no space for the journal: cannot {what} {path}: {cause}; free space or move the data folder (--data-dir). Orders are refused, cancels still work",
        path = path.display()
    )]
    NoSpace {
        /// What was tried.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Another process holds the folder.
    #[error(
        "{path} is in use by {holder}; stop that process or choose another data folder (--data-dir)",
        path = path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as it wrote itself.
        holder: String,
    },
    /// The journal is damaged before its end.
    #[error(
        "{path} is damaged at byte {offset}: {cause}. Nothing was changed and nothing is traded on it. \
         `launcher journal verify` says how far it is good, `launcher journal repair` copies that part into a new folder and \
         leaves this one as it is; or move the folder aside and start with a fresh one: open orders are adopted from the venue",
        path = path.display()
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What does not fit.
        cause: String,
    },
    /// A newer version of the program wrote it.
    #[error(
        "{path} was written in format {found}, this program knows up to {known}; use the newer program or another data folder",
        path = path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The folder belongs to another kind of run.
    #[error(
        "{path} belongs to a {found} run, this one is {wanted}; paper and live never share a journal: choose another data folder (--data-dir)",
        path = path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What the folder says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The path is not a journal.
    #[error("{path} holds no journal: {cause}", path = path.display())]
    NotAJournal {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        cause: String,
    },
    /// The lane to the writer is full: the disk does not keep up.
    #[error("the journal's lane is full ({bytes} bytes wait): the disk does not keep up; the order is not sent")]
    LaneFull {
        /// How much is waiting.
        bytes: usize,
    },
    /// A record is larger than a record may be.
    #[error("a record of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most allowed.
        max: usize,
    },
    /// A record cannot be expressed in bytes.
    #[error("a record cannot be encoded: {cause}")]
    Encode {
        /// What the encoder said.
        cause: String,
    },
    /// A write or a sync failed earlier; nothing is durable from then on.
    #[error("the journal failed and is closed for intents: {cause}; stop, repair the disk, start again")]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// The writer thread could not be started.
    #[error("cannot start the journal's thread: {cause}; raise the process limit (ulimit -u)")]
    Thread {
        /// What the system said.
        cause: String,
    },
    /// Something was not done in time.
    #[error("the journal did not {what} within {waited_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long; unit: milliseconds.
        waited_ms: u64,
    },
}

impl StoreError {
    /// May the same call succeed later without a change on our side?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::LaneFull { .. } | Self::Timeout { .. } | Self::Locked { .. })
    }

    /// Is it certain that the record is not in the journal?
    #[must_use]
    pub const fn is_outcome_known(&self) -> bool {
        !matches!(self, Self::Poisoned { .. } | Self::Timeout { .. } | Self::Io { .. })
    }

    /// Names an IO error by its cause.
    pub(crate) fn io(what: &'static str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (path, cause) = (path.to_path_buf(), error.to_string());
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotWritable { what, path, cause },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::NoSpace { what, path, cause }
            }
            _ => Self::Io { what, path, cause },
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: usize, cause: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), offset: offset as u64, cause: cause.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_02_after_a_failed_write_nobody_may_say_that_the_record_is_not_there() {
        let poisoned = StoreError::Poisoned { cause: "sync failed".into() };
        assert!(!poisoned.is_outcome_known() && !poisoned.is_retryable());
        let other = StoreError::io("write", Path::new("x"), &std::io::Error::other("broken"));
        assert!(!other.is_outcome_known());
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(StoreError::io("write", Path::new("x"), &full).is_outcome_known());
        assert!(StoreError::Closed.is_outcome_known() && !StoreError::Closed.is_retryable());
    }
}
