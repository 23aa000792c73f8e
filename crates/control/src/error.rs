//! Errors of the control socket, named by cause.

use std::path::PathBuf;

/// Why a bot could not be reached, or cannot be reached by others.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no bot runs on this data folder ({})", .folder.display())]
    NoBot {
        /// The data folder that was asked.
        folder: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("{} belongs to another user (uid {uid}); ask as that user", .path.display())]
    NotOurs {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Something that is no socket is in its place.
    #[error("{} is in the way and is no socket; move it elsewhere", .path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bot did not answer in time.
    #[error(
        "the bot (pid {pid}) did not answer within {waited_ms} ms; what was asked may still happen, see `launcher status`"
    )]
    Timeout {
        /// The bot's process.
        pid: i32,
        /// How long was waited; unit: milliseconds.
        waited_ms: u128,
    },
    /// The bot went away before it answered.
    #[error("the bot (pid {pid}) closed the connection before it answered")]
    Closed {
        /// The bot's process.
        pid: i32,
    },
    /// The answer is not one.
    #[error("the bot's answer cannot be read ({cause}); are both programs of the same version?")]
    Answer {
        /// What is wrong with it.
        cause: String,
    },
}

impl ControlError {
    pub(crate) fn io(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_path_buf(), source }
    }
}
