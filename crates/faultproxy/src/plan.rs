//! What becomes of connections and of the bytes in them.

use std::time::Duration;

/// How a connection ends, or goes silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Closed in order, towards both ends.
    Close,
    /// Reset (RST), towards both ends.
    Reset,
    /// Stays open, and nothing passes any more in either direction: what is sent is taken and lost, as by a peer that is gone
    /// without a word.
    HalfOpen,
    /// Stays open, and nothing is taken any more: the senders' buffers fill.
    Stall,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// Every byte is later by this.
    pub latency: Duration,
    /// And by up to this much more; the order stays.
    pub jitter: Duration,
    /// At most so many bytes a second; `None`: as fast as it goes.
    pub bytes_per_s: Option<u32>,
    /// At most so many bytes at once; `Some(1)` with a latency makes a drip.
    pub chunk_bytes_max: Option<u32>,
    /// After so many bytes the connection breaks. The byte with this number passes, the next does not.
    pub break_after: Option<(u64, Break)>,
}

impl Lane {
    /// Later by this.
    #[must_use]
    pub fn late(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// At most so many bytes a second, one at a time.
    #[must_use]
    pub fn drip(bytes_per_s: u32) -> Self {
        Self { bytes_per_s: Some(bytes_per_s), chunk_bytes_max: Some(1), ..Self::default() }
    }

    /// Breaks after so many bytes.
    #[must_use]
    pub fn broken(after_bytes: u64, how: Break) -> Self {
        Self { break_after: Some((after_bytes, how)), ..Self::default() }
    }
}

/// A connection's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Is the connection accepted, and then nothing: no server behind it, no byte ever?
    pub is_hollow: bool,
    /// From the client to the server.
    pub up: Lane,
    /// From the server to the client.
    pub down: Lane,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// They are accepted.
    #[default]
    Open,
    /// Nobody listens: refused by the system.
    Refuse,
    /// Accepted and closed at once.
    Close,
    /// Accepted and reset at once.
    Reset,
    /// Accepted, and then nothing.
    Hollow,
    /// Not even accepted: the request for a connection gets no answer, as from an address that nobody has.
    Ignore,
}

/// Which connections an order is for, by the first bytes that the client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// Those that began with one of these, such as `GET /ws`.
    Starting(&'static [&'static str]),
    /// All others.
    NotStarting(&'static [&'static str]),
}

impl Scope {
    /// Does it mean a connection that began like this? One that has said nothing yet is meant by `All` alone.
    #[must_use]
    pub fn covers(self, beginning: &[u8]) -> bool {
        let starts = |words: &[&str]| words.iter().any(|word| beginning.starts_with(word.as_bytes()));
        match self {
            Self::All => true,
            Self::Starting(words) => starts(words),
            Self::NotStarting(words) => !beginning.is_empty() && !starts(words),
        }
    }
}
