//! Why a test could not be carried out. What the test finds is no error but a [`crate::Violation`].

use std::path::{Path, PathBuf};

/// The crate's error.
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// A file or process could not be handled.
    #[error("cannot {what} {path}: {source}; look at the folder, its permissions and the space left")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A process did not do what the test needs before it can begin.
    #[error("{what}; its output is in {path}")]
    Setup {
        /// What did not happen.
        what: String,
        /// Where to look.
        path: PathBuf,
    },
    /// A file of evidence cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The machine lacks a tool.
    #[error("{0}")]
    Missing(String),
    /// The command asks for something that is not there.
    #[error("{0}")]
    Usage(String),
}

impl CrashError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_path_buf(), source }
    }

    pub(crate) fn unreadable(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Unreadable { path: path.to_path_buf(), cause: cause.to_string() }
    }
}
