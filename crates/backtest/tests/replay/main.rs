//! The replay driver: the live engine over recorded and made-up markets, on a virtual clock.
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its documentation")]

mod driver;
mod market;
mod recorded;
