//! Why an order was asked for, in a word: reports group by it. A tag travels beside the order, never in it, so what is
//! journaled and sent does not change; after a restart the tags of earlier orders are not known.

use std::fmt;

/// A word for the reason of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(&'static str);

impl Tag {
    /// The signal that opened a position.
    pub const ENTRY: Self = Self("entry");
    /// The signal that the position was for is over.
    pub const SIGNAL: Self = Self("signal");
    /// The loss was as large as allowed.
    pub const STOP_LOSS: Self = Self("stop-loss");
    /// The price fell back by so much from its best.
    pub const TRAILING_STOP: Self = Self("trailing-stop");
    /// The profit that was aimed at.
    pub const TARGET: Self = Self("target");
    /// The profit that is enough after so long.
    pub const ROI: Self = Self("roi");
    /// Held for as long as allowed.
    pub const TIME: Self = Self("time");

    /// A word of one's own: small letters and dashes read best.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}
