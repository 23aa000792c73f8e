//! What the order manager asks for and tells. The engine turns requests into effects and news into bookings.

use crate::state::{OrderState, Step};
use keel_model::{
    CancelOrder, ClientOrderId, Fill, InstrumentId, NotSentReason, OrderStatus, Quantity, QueryOrder, Reject,
    Timestamp, TradeId, UnknownReason, VenueOrderId,
};
use serde::{Deserialize, Serialize};

/// What lies behind a change of state, where there is more to say than the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The state says it all.
    Plain,
    /// Refused by the venue.
    Rejected(Reject),
    /// It never left.
    NotSent(NotSentReason),
    /// The outcome is not known.
    Unknown(UnknownReason),
    /// Risen again.
    Resurrected,
}

/// One request or one piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// The order's state changed.
    Changed {
        /// Our id.
        id: ClientOrderId,
        /// State before.
        from: OrderState,
        /// State now.
        to: OrderState,
        /// What lies behind it.
        change: Change,
    },
    /// A fill to be booked, told exactly once.
    Filled {
        /// Our id.
        id: ClientOrderId,
        /// The fill.
        fill: Fill,
    },
    /// The venue refused a cancel.
    CancelRejected {
        /// Our id.
        id: ClientOrderId,
        /// Its words.
        reject: Reject,
    },
    /// An order came to life without a placement of this run: adopted from the venue.
    Adopted {
        /// Our id.
        id: ClientOrderId,
    },
    /// An order has worked for too long without filling and is cancelled.
    Unfilled {
        /// Our id.
        id: ClientOrderId,
    },
    /// Ask the venue about an order.
    Query(QueryOrder),
    /// Ask for the fills of an instrument since a time.
    FetchFills(InstrumentId, Timestamp),
    /// Send a cancel (a first one or one more).
    Cancel(CancelOrder),
    /// Something that a person should know.
    Alarm(Alarm),
}

/// Something that a person should know. None of these stops the manager; see [`Alarm::holds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Alarm {
    /// A closed order turned out to live.
    #[error("order {id} was {from} and has risen again by {step:?}")]
    Resurrected {
        /// Our id.
        id: ClientOrderId,
        /// What it was taken for.
        from: OrderState,
        /// What proved otherwise.
        step: Step,
    },
    /// News that contradicts what is known.
    #[error("order {id} is {state}, but the venue says {step:?}")]
    Conflict {
        /// Our id.
        id: ClientOrderId,
        /// State.
        state: OrderState,
        /// The news.
        step: Step,
    },
    /// An order that carries our prefix and is not in our books.
    #[error("order {id} carries our prefix but is not in our books: adopted")]
    Adopted {
        /// Its id.
        id: ClientOrderId,
    },
    /// An order of our own start that we have not given out: another process uses our number.
    #[error("order {id} carries a number of ours that was not given out: another process trades under this instance")]
    IdClash {
        /// Its id.
        id: ClientOrderId,
    },
    /// An order of somebody else on this account.
    #[error("foreign order {venue_order_id} on this account; it is left alone")]
    ForeignOrder {
        /// The venue's id.
        venue_order_id: VenueOrderId,
        /// Instrument.
        instrument: InstrumentId,
    },
    /// A fill of somebody else's order, or of an order that could not be told.
    #[error("foreign fill {trade_id} on this account; it is not booked")]
    ForeignFill {
        /// The venue's trade id.
        trade_id: TradeId,
        /// Instrument.
        instrument: InstrumentId,
    },
    /// A fill that cannot be.
    #[error("fill {trade_id} of order {id} has an impossible quantity or price; it is not booked")]
    BadFill {
        /// Our id.
        id: ClientOrderId,
        /// The venue's trade id.
        trade_id: TradeId,
        /// Instrument.
        instrument: InstrumentId,
    },
    /// A fill on another side or instrument than its order.
    #[error("fill {trade_id} of order {id} is on another side or instrument than the order; booked as the venue says")]
    FillMismatch {
        /// Our id.
        id: ClientOrderId,
        /// The venue's trade id.
        trade_id: TradeId,
        /// Instrument of the fill.
        instrument: InstrumentId,
    },
    /// More was filled than ordered.
    #[error("order {id} of {quantity} filled {filled}")]
    Overfill {
        /// Our id.
        id: ClientOrderId,
        /// Instrument.
        instrument: InstrumentId,
        /// Ordered.
        quantity: Quantity,
        /// Filled.
        filled: Quantity,
    },
    /// A fill of an order that memory no longer holds and that is older than memory reaches: it cannot be told whether it
    /// was booked.
    #[error("fill {trade_id} of order {id} is older than memory reaches; it is not booked")]
    FillBeyondMemory {
        /// Our id.
        id: ClientOrderId,
        /// The venue's trade id.
        trade_id: TradeId,
        /// Instrument.
        instrument: InstrumentId,
    },
    /// An order could not be resolved for a long time.
    #[error("order {id} has been {state} for {age_ms} ms")]
    Stuck {
        /// Our id.
        id: ClientOrderId,
        /// State.
        state: OrderState,
        /// How long; unit: milliseconds.
        age_ms: u64,
    },
    /// The venue ended a working order that nobody asked it to end (V-14).
    #[error("order {id} was ended by the venue: {status:?}")]
    EndedByVenue {
        /// Our id.
        id: ClientOrderId,
        /// Instrument.
        instrument: InstrumentId,
        /// How.
        status: OrderStatus,
    },
    /// An order that the venue had accepted is unknown to it, for longer than its answers may lag.
    #[error("order {id} was accepted once and the venue no longer knows it: what became of it is not accounted for")]
    Missing {
        /// Our id.
        id: ClientOrderId,
        /// Instrument.
        instrument: InstrumentId,
    },
    /// A number does not fit.
    #[error("quantities of order {id} do not fit")]
    Overflow {
        /// Our id.
        id: ClientOrderId,
        /// Instrument.
        instrument: InstrumentId,
    },
}

impl Alarm {
    /// Is the instrument to be held until a person resumes?
    #[must_use]
    pub const fn holds(&self) -> bool {
        match self {
            Self::Resurrected { .. }
            | Self::Conflict { .. }
            | Self::IdClash { .. }
            | Self::BadFill { .. }
            | Self::FillMismatch { .. }
            | Self::Overfill { .. }
            | Self::FillBeyondMemory { .. }
            | Self::Missing { .. }
            | Self::Overflow { .. } => true,
            Self::Adopted { .. }
            | Self::ForeignOrder { .. }
            | Self::ForeignFill { .. }
            | Self::EndedByVenue { .. }
            | Self::Stuck { .. } => false,
        }
    }
}
