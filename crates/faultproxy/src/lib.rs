//! A TCP proxy for tests: it stands between a client and a server on loopback and is late, slow, cut off, silent or gone.
//!
//! Invariants: bytes that pass are never changed or reordered; per direction at most [`CHUNKS_MAX`] chunks are on the way,
//! then the sender is not read any more; a plan holds from the connection on to which it was given, orders to all
//! connections ([`Proxy::break_all`], [`Proxy::hold`]) hold at once; it listens on loopback only.
#![forbid(unsafe_code)]

mod link;
mod plan;
mod proxy;

pub use link::CHUNKS_MAX;
pub use plan::{Break, Door, Lane, Plan, Scope};
pub use proxy::{Proxy, ProxyStats};

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No address to listen on.
    #[error("fault proxy: cannot listen on loopback: {0}; free some ports or descriptors")]
    Bind(std::io::Error),
    /// Not called from within a runtime.
    #[error("fault proxy: start it from within a tokio runtime with IO and time enabled")]
    NoRuntime,
}
