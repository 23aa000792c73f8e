//! The simulation test (T1): the product's engine, risk, order manager, journal format, recovery and venue adapter (codecs
//! and session machines, bytes in and bytes out) against the product's own simulated venue behind its real protocol, with a
//! fault plan that loses, delays, repeats, reorders and lies, and with crashes at every named point.
//!
//! One thread, one seed, one run: the same seed gives the same bytes. The judge reads the venue's own log, never the bot.
//!
//! I1 nothing doubled · I2 nothing lost · I3 positions equal · I4 each trade once · I5 no false end · I6 the journal gives the
//! state back · I7 everything is resolved a while after the faults stop.

/// The bot of one start: engine, adapter, what is under way.
pub mod bot;
/// What was covered, counted.
pub mod coverage;
/// What worlds share and what is made once: instruments, keys, configuration.
pub mod kit;
/// Wrong variants of the rules, and the seeds that kill them.
#[cfg(feature = "mutants")]
pub mod mutants;
/// A failing run made small.
pub mod shrink;
/// The strategy that asks for everything.
pub mod strategy;
/// The world of one seed.
pub mod world;

pub use coverage::{Coverage, CrashPoint};
pub use kit::Kit;
pub use world::{Asked, Duress, Outage, Violation, World};
