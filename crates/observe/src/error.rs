//! What can go wrong when the server is set up; a request's own errors are answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why the server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The address can be reached from other machines.
    #[error(
        "{0} can be reached from other machines, and this server speaks no TLS; bind 127.0.0.1 and put a proxy with TLS in \
         front of it, or use an SSH tunnel"
    )]
    NotLoopback(SocketAddr),
    /// The port is taken, or may not be had.
    #[error("cannot listen on {address}: {source}; choose another port")]
    Bind {
        /// Address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// A token file that others can read or write.
    #[error("{}: {cause}; it must be a regular file of yours with mode 600", .path.display())]
    TokenFile {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

impl ObserveError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_path_buf(), source }
    }
}
