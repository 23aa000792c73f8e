//! The Binance spot adapter over real loopback sockets: against a scripted server that misbehaves on demand, and against
//! the simulated venue.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the servers of these tests run on plain tasks and end with the runtime")]

mod account_feed;
mod client;
mod limits;
mod market_feed;
mod names;
mod requests;
mod server;
mod tls;
mod venue;
