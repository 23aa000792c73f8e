//! Stream sessions as state machines without IO: time, frames and connection events in; bytes, connects and events out.

/// The account stream through the WebSocket API.
pub mod account;
/// Pauses between connects, and how many there may be.
pub mod backoff;
/// One connection: pacing of what we send, and whether it is alive.
pub mod link;
/// Market streams with book synchronisation.
pub mod market;
/// One book's synchronisation with snapshot and deltas.
pub mod sync;

use keel_model::Timestamp;

/// The time of an input: wall clock for stamping, monotonic clock for everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: Timestamp,
    /// Monotonic time; unit: nanoseconds.
    pub mono_ns: u64,
}

/// A connection of a session; numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection; answered by `connected` or `closed`.
    Connect(LinkId),
    /// Send a text frame.
    Send(LinkId, String),
    /// Send a ping frame.
    Ping(LinkId),
    /// Close the connection with a close frame; nothing more is expected of it.
    Close(LinkId),
    /// Fetch a depth snapshot; answered by `snapshot`.
    FetchSnapshot(keel_model::InstrumentId),
    /// The venue refused our time: measure its clock anew before the next signature.
    MeasureClock,
    /// Nothing more can be done.
    GiveUp(crate::ExchangeError),
}

pub(crate) const fn ms(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}
