//! The local control socket: how a person or a program on this machine steers a running bot.
//!
//! One Unix socket in the data folder, mode 0600; the kernel says who is on the other end, and only the bot's own user (and
//! root) is heard. One JSON line asks, one JSON line answers, each with the version of the protocol. This crate knows
//! nothing of trading: what a verb does is behind [`Operator`].
//!
//! Invariants: everything is bounded (connections, length of a line, every wait); a stranger, a flood or a peer that never
//! reads costs a connection slot for a bounded time and nothing else; a socket file is removed only by the holder of the
//! folder's lock; the server needs no worker of the trading runtime.
#![forbid(unsafe_code)]

mod address;
mod client;
mod error;
mod protocol;
mod server;

pub use address::{SOCKET_FILE, socket_path};
pub use client::{Client, Reply};
pub use error::ControlError;
pub use protocol::{ANSWER_BYTES_MAX, Answer, Ask, LINE_BYTES_MAX, Outcome, PROTOCOL_VERSION, Request, WAIT_MAX};
pub use server::{Answering, ControlServer, Operator, Peer, ServerLimits};
