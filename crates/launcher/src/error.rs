//! What keeps the launcher from going on. Every message says the place, the cause and the next step; each leads to exit
//! code 1.

use std::path::PathBuf;

/// Errors of the launcher.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The command line is not one we understand.
    #[error("{0}")]
    Usage(String),
    /// A configuration value, file or variable is wrong.
    #[error("{place}: {cause}; {remedy}")]
    Config {
        /// File and line, variable or flag.
        place: String,
        /// What is wrong, with the key.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// Keys are missing or not kept the way keys must be kept.
    #[error("keys: {cause}; {remedy}")]
    Keys {
        /// What is wrong; never the secret itself.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// Real money was asked for without a confirmation.
    #[error(
        "live trading on account '{account}' was not confirmed; nothing was sent. \
         Add --confirm-live {account}, or type YES when asked on a terminal"
    )]
    NotConfirmed {
        /// The account that has to be named.
        account: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot {what} {}: {source}; {remedy}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// Another process holds the data folder or the account.
    #[error("{0}")]
    Locked(String),
    /// A recording cannot be replayed.
    #[error("recording {}: {cause}; {remedy}", .path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the line.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// What was asked for does not fit what is there; it must be changed before another start can help.
    #[error("{what}: {cause}")]
    Refused {
        /// Which part.
        what: String,
        /// Its message.
        cause: String,
    },
    /// A part could not be started, or the venue said no.
    #[error("{what}: {cause}")]
    Start {
        /// Which part.
        what: String,
        /// Its message.
        cause: String,
    },
}

impl LaunchError {
    /// Would another start with the same command line, files and variables fail in the same way?
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Usage(_)
            | Self::Config { .. }
            | Self::Keys { .. }
            | Self::NotConfirmed { .. }
            | Self::Recording { .. }
            | Self::Refused { .. } => true,
            Self::Io { .. } | Self::Locked(_) | Self::Start { .. } => false,
        }
    }

    /// A configuration error.
    pub(crate) fn config(place: impl ToString, cause: impl ToString, remedy: impl ToString) -> Self {
        Self::Config { place: place.to_string(), cause: cause.to_string(), remedy: remedy.to_string() }
    }

    /// Something that does not fit what is there.
    pub(crate) fn refused(what: impl ToString, cause: impl ToString) -> Self {
        Self::Refused { what: what.to_string(), cause: cause.to_string() }
    }

    /// A part that did not start.
    pub(crate) fn start(what: impl ToString, cause: impl ToString) -> Self {
        Self::Start { what: what.to_string(), cause: cause.to_string() }
    }
}
