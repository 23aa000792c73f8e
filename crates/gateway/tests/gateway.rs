//! All tests of the gateway, in one binary.
#![allow(clippy::disallowed_methods, reason = "a test waits with the machine's clock")]

#[allow(dead_code, reason = "the bench uses the rest")]
mod common;
mod latches;
mod market;
mod orders;
mod rules;
mod runs;
mod snapshots;
mod stream;
