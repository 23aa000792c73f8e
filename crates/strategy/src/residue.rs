//! What fees taken in coins leave in the books: bought, counted as held, and not there any more.
//!
//! On spot a buy of 1 coin with a fee of 0.001 in coins books a position of 1, of which 0.999 can ever be sold. Without this
//! the rest would be a position that is never closed. Invariant: never more than the position, and nothing on a perpetual.

use crate::Context;
use keel_model::{InstrumentId, Quantity, Side};

/// The part of a position that is only in the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residue(Quantity);

/// Fees are below one part in so many of what was traded.
const PART: f64 = 100.0;

impl Residue {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Quantity::ZERO)
    }

    /// To be called from `on_start`, when position and balances are what the venue says: what is booked and not there.
    pub fn on_start(&mut self, ctx: &Context<'_>, id: InstrumentId) {
        let booked = ctx.own_position(id).quantity;
        let there =
            ctx.instrument(id).and_then(|instrument| ctx.balance(instrument.base).total().ok()?.to_quantity().ok());
        if ctx.is_spot(id) && booked.is_positive() {
            self.0 = booked.checked_sub(there.unwrap_or(booked)).unwrap_or(Quantity::ZERO).max(Quantity::ZERO);
        }
    }

    /// To be called when a closing order of `quantity` has filled: a rest of less than the fees and a step is what the fees
    /// were, and what rounding to the step left.
    pub fn on_closed(&mut self, ctx: &Context<'_>, id: InstrumentId, side: Side, quantity: Quantity) {
        let left = ctx.own_position(id).quantity;
        // What was left before is still there.
        let more = self.without(left);
        let step = ctx.instrument(id).map_or(0.0, |instrument| instrument.lot.step.to_f64());
        if ctx.is_spot(id) && side == Side::Sell && more.to_f64() <= quantity.to_f64() / PART + step {
            self.0 = left.max(Quantity::ZERO);
        }
    }

    /// What of `booked` is there, with its sign.
    #[must_use]
    pub fn without(&self, booked: Quantity) -> Quantity {
        if !booked.is_positive() {
            return booked;
        }
        booked.checked_sub(self.0).unwrap_or(booked).max(Quantity::ZERO)
    }
}
