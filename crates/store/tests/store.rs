//! All tests of the journal on a real file system, in one binary.
#![allow(clippy::disallowed_methods, reason = "a test measures and waits with the machine's clock")]

mod common;
mod damage;
mod golden;
mod journal;
mod limits;
mod proof;
mod tail;
