//! Behaviour of the simulated venue, one file per area.
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its documentation")]

mod delayed;
mod filters;
mod lists;
mod orders;
mod properties;
mod queries;
mod recorded;
mod recorded_properties;
mod stp;
mod world;
