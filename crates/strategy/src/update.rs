//! News about an order or a parent order of the strategy, other than fills.

use keel_model::order::ReasonText;
use keel_model::{
    ClientOrderId, InstrumentId, NotSentReason, ParentEnd, ParentId, Quantity, Reject, Side, Timestamp, UnknownReason,
    VenueOrderId,
};

/// What happened to an order. Fills come to `on_fill`; the update that ends an order comes after its last fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderUpdateKind {
    /// The venue has it.
    Accepted {
        /// The venue's id.
        venue_order_id: VenueOrderId,
    },
    /// Refused by risk; it never left.
    Denied(ReasonText),
    /// Refused by the venue.
    Rejected(Reject),
    /// It never left: the gate was closed, no connection, a rate limit.
    NotSent(NotSentReason),
    /// Nobody knows yet whether the venue has it; the system is asking.
    Unknown(UnknownReason),
    /// It was unknown, and the venue proved that it never accepted it.
    NeverAccepted,
    /// Part of it was filled; it works on.
    PartiallyFilled,
    /// All of it was filled.
    Filled,
    /// Cancelled; a part may have been filled.
    Canceled,
    /// Ended by the venue's rules.
    Expired,
    /// The cancel asked for was refused; the order may have ended meanwhile.
    CancelRejected(Reject),
}

impl OrderUpdateKind {
    /// Is this the last word about the order?
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::Rejected(_)
            | Self::NotSent(_)
            | Self::NeverAccepted
            | Self::Filled
            | Self::Canceled
            | Self::Expired => true,
            Self::Accepted { .. } | Self::Unknown(_) | Self::PartiallyFilled | Self::CancelRejected(_) => false,
        }
    }
}

/// News about one order of the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderUpdate {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Quantity ordered.
    pub quantity: Quantity,
    /// Quantity filled so far.
    pub cum_quantity: Quantity,
    /// Engine time.
    pub ts: Timestamp,
    /// What happened.
    pub kind: OrderUpdateKind,
}

/// What happened to a parent order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentUpdateKind {
    /// The plan was taken; its orders follow.
    Accepted,
    /// The plan was refused; nothing was done.
    Refused(ReasonText),
    /// This much of its position has had no exit at the venue for longer than it takes to place one.
    Unprotected {
        /// How much.
        quantity: Quantity,
    },
    /// What was unprotected is protected again.
    Protected,
    /// Both legs have filled, by this much more than was wanted.
    Overfilled {
        /// How much.
        quantity: Quantity,
    },
    /// It is over.
    Ended(ParentEnd),
}

impl ParentUpdateKind {
    /// Is this the last word about the parent, unless its entry fills late?
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Ended(_))
    }
}

/// News about one parent order of the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentUpdate {
    /// Its id.
    pub parent: ParentId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// What it is to come to.
    pub quantity: Quantity,
    /// What of it is filled: entries, pieces, or both legs of an OCO.
    pub filled: Quantity,
    /// What the exits of a bracket have closed.
    pub closed: Quantity,
    /// Engine time.
    pub ts: Timestamp,
    /// What happened.
    pub kind: ParentUpdateKind,
}
