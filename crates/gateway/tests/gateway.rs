//! All tests of the gateway, in one binary.
#![allow(clippy::disallowed_methods, reason = "a test waits with the machine's clock")]

mod common;
mod market;
mod orders;
mod runs;
