//! Why an instrument is held, what ended an order by a person's word, and what a comparison with the venue found.
//!
//! Invariants: a hold keeps new exposure out and never keeps anybody from reducing; it stands until a person releases it, over
//! restarts, too; whatever is taken over from the venue without a trade of ours behind it is a [`Finding`] in the journal.

use crate::{Asset, InstrumentId, Notional, Price, Quantity, Timestamp};
use serde::{Deserialize, Serialize};

/// What kind of trouble holds an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldCause {
    /// News about an order of ours that contradicts our books.
    Order,
    /// An order that the venue had accepted and does not know any more.
    Missing,
    /// A balance that does not add up.
    Balance,
    /// Less is there than our position says.
    Position,
    /// Somebody else trades the instrument on this account.
    Foreign,
    /// A fill that could not be booked.
    Booking,
    /// Held by an earlier run that did not write down why.
    Earlier,
    /// A person had it flattened.
    Operator,
    /// A position whose exits could not be placed.
    Unprotected,
    /// New rules of the venue that cannot be computed with.
    Rules,
}

impl HoldCause {
    /// What a person does about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Order => "look the order up in the venue's order and trade history, then release the instrument",
            Self::Missing => {
                "look the order up in the venue's order history, settle it with what you find, then release the instrument"
            }
            Self::Balance => {
                "find the deposit, withdrawal, fee or trade behind the difference in the venue's history; releasing the instrument takes the venue's figure over"
            }
            Self::Position => {
                "something else sold what we hold: compare the venue's trade history with ours; releasing the instrument takes the venue's figure over"
            }
            Self::Foreign => "find out who else trades on this account, then release the instrument",
            Self::Booking => "compare the venue's trade history with ours, then release the instrument",
            Self::Earlier => "look at the log of the earlier run, then release the instrument",
            Self::Operator => "release the instrument, or resume, when it may be traded again",
            Self::Rules => "look at the venue's new rules of the instrument; close what is held, then start again",
            Self::Unprotected => "place an exit or close the position, then resume: the bracket tries again",
        }
    }
}

/// An instrument that takes no new exposure until a person has looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// What kind of trouble.
    pub cause: HoldCause,
    /// Since when, on the run's clock.
    pub since: Timestamp,
    /// What was found, in words.
    pub reason: String,
}

/// A hold as people and machines see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// What kind of trouble.
    pub cause: HoldCause,
    /// Since when, on the run's clock.
    pub since: Timestamp,
    /// What was found, in words.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl From<&Hold> for HoldView {
    fn from(hold: &Hold) -> Self {
        Self {
            instrument: hold.instrument,
            cause: hold.cause,
            since: hold.since,
            reason: hold.reason.clone(),
            remedy: hold.cause.remedy().to_owned(),
        }
    }
}

/// What became of an order, by the word of a person who looked it up at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settlement {
    /// The venue never had it.
    NeverAccepted,
    /// It is over at the venue, with this much filled in all.
    Ended {
        /// Quantity filled in all, what we have booked included.
        filled: Quantity,
        /// Average price of what we have not booked; needed when `filled` is more than we have.
        price: Option<Price>,
    },
}

/// Why a balance is expected to be what it is, other than by a trade of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceCause {
    /// The first word of the venue about it: everything later is compared with this.
    First,
    /// A deposit, withdrawal or transfer that the venue announced.
    Announced,
    /// A change from outside that nobody announced, found while the account stream or this program was away.
    Outside,
    /// The venue rounds values that have more decimal places than it keeps.
    Rounding,
    /// A person released an instrument that was held because of it.
    Released,
}

/// What a comparison with the venue found, as far as it must outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// An instrument is held.
    Held(Hold),
    /// From here on this total is expected, next to the trades that follow.
    Balance {
        /// Asset.
        asset: Asset,
        /// Free and locked together.
        total: Notional,
        /// How much more than expected before; zero for the first word.
        change: Notional,
        /// Why.
        cause: BalanceCause,
        /// Up to which time of the venue its trades are contained in the total.
        as_of: Timestamp,
    },
}
