//! Why the venue could not be started, and what is wrong with a recording. Each message names place, cause and remedy.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The crate's error.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The address is taken by another process.
    #[error("venue: {addr} is already in use by another process; choose another port, or 0 for any free one")]
    AddressInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("venue: cannot listen on {addr}: {source}; choose an address of this machine and a port above 1023")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The address is not one of this machine alone.
    #[error("venue: {addr} can be reached from outside and the venue speaks without TLS; use 127.0.0.1 or [::1]")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The log of what happens to clients cannot be begun.
    #[error("venue: cannot write the log {path}: {source}; name a file in a folder that may be written")]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A setting is wrong.
    #[error("venue: {0}")]
    Config(String),
    /// The recording cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The simulated exchange refused its own set-up.
    #[error("venue: the simulated market could not be set up: {0}")]
    Sim(String),
    /// Not called from within a runtime.
    #[error("venue: start it from within a tokio runtime with IO and time enabled")]
    NoRuntime,
}

/// What is wrong with a recording of a session.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("recording {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not a gzip file.
    #[error("recording {path}: not a gzip file (it must start with the bytes 1f 8b); compress it with gzip")]
    NotGzip {
        /// The file.
        path: PathBuf,
    },
    /// The gzip stream ends early or is damaged.
    #[error("recording {path}: damaged or truncated after line {line}: {cause}; get a complete copy of the file")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Last complete line.
        line: u64,
        /// The decompressor's reason.
        cause: String,
    },
    /// Nothing in it.
    #[error("recording {path}: it holds no frames; expected lines of '<receive time in ns> <JSON frame>'")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One line is not what it must be.
    #[error("recording {path}, line {line}: {cause}; remove or repair that line")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// Too large to be held in memory.
    #[error("recording {path}: more than {max_mib} MiB when unpacked; split it into smaller files")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max_mib: u64,
    },
}
