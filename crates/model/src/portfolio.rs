//! Positions, balances and profit, exact to the last digit.
//!
//! Average-cost accounting on signed quantities: a fill in the direction of the position adds to its cost, a fill against
//! it realises profit on the part that it closes, and what is left over opens the other way. Nothing is lost to rounding:
//! the cost of the part that stays is what was there minus the cost of the part that left.

use crate::{Asset, Fill, InstrumentId, Notional, NumberError, Price, Quantity, Side, Timestamp};
use serde::{Deserialize, Serialize};

/// Decimal places kept when the cost of a partial close is split.
const COST_SCALE: u8 = 16;

/// Why a portfolio could not be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortfolioError {
    /// A number does not fit.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// A fill without a positive quantity.
    #[error("a fill of quantity {0} cannot be: quantities of fills are positive")]
    BadFill(Quantity),
    /// Too many positions or assets.
    #[error("more than {0} positions or assets in one portfolio")]
    Full(usize),
}

/// A holding in one instrument: long when positive, short when negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Signed quantity.
    pub quantity: Quantity,
    /// What the open quantity cost, in quote asset; same sign as the quantity.
    pub cost: Notional,
    /// Profit of what was closed, in quote asset, fees not subtracted.
    pub realized: Notional,
    /// Total quantity bought.
    pub bought: Quantity,
    /// Total quantity sold.
    pub sold: Quantity,
}

impl Position {
    /// Flat in `instrument`.
    #[must_use]
    pub fn flat(instrument: InstrumentId) -> Self {
        Self { instrument, ..Self::default() }
    }

    /// Is nothing held?
    #[must_use]
    pub const fn is_flat(&self) -> bool {
        self.quantity.is_zero()
    }

    /// Applies one fill. On an error the position is unchanged.
    pub fn apply(&mut self, side: Side, price: Price, quantity: Quantity) -> Result<(), PortfolioError> {
        if !quantity.is_positive() {
            return Err(PortfolioError::BadFill(quantity));
        }
        let mut next = *self;
        match side {
            Side::Buy => next.bought = next.bought.checked_add(quantity)?,
            Side::Sell => next.sold = next.sold.checked_add(quantity)?,
        }
        let signed = if side == Side::Buy { quantity } else { quantity.neg()? };
        let against =
            (next.quantity.is_positive() && side == Side::Sell) || (next.quantity.is_negative() && side == Side::Buy);
        if against {
            next.close_and_maybe_turn(side, price, quantity)?;
        } else {
            next.quantity = next.quantity.checked_add(signed)?;
            next.cost = next.cost.checked_add(Notional::of(price, signed))?;
        }
        *self = next;
        Ok(())
    }

    fn close_and_maybe_turn(&mut self, side: Side, price: Price, quantity: Quantity) -> Result<(), PortfolioError> {
        let held = self.quantity.abs()?;
        let closed = quantity.min(held);
        let cost = if closed == held { self.cost } else { self.cost.mul_div(closed, held, COST_SCALE)? };
        // A long sold gives proceeds − cost; a short bought back gives what it was sold for (−cost) − what it costs now.
        let value = Notional::of(price, closed);
        let value = if side == Side::Sell { value } else { value.neg()? };
        self.realized = self.realized.checked_add(value.checked_sub(cost)?)?;
        self.cost = if closed == held { Notional::ZERO } else { self.cost.checked_sub(cost)?.normalized() };
        let signed = if side == Side::Buy { quantity } else { quantity.neg()? };
        self.quantity = self.quantity.checked_add(signed)?;
        let rest = quantity.checked_sub(closed)?;
        if rest.is_positive() {
            let opened = if side == Side::Buy { rest } else { rest.neg()? };
            self.cost = Notional::of(price, opened);
        }
        Ok(())
    }

    /// Average entry price of what is open, rounded to `scale` places; zero when flat.
    pub fn average_price(&self, scale: u8) -> Result<Price, NumberError> {
        if self.is_flat() { Ok(Price::ZERO) } else { self.cost.price_per(self.quantity, scale) }
    }

    /// Profit of what is open at `price`, in quote asset, fees not subtracted.
    pub fn unrealized(&self, price: Price) -> Result<Notional, NumberError> {
        Notional::of(price, self.quantity).checked_sub(self.cost)
    }
}

/// What the account holds of one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Asset.
    pub asset: Asset,
    /// Free to use.
    pub free: Notional,
    /// Held by open orders.
    pub locked: Notional,
}

impl Balance {
    /// Free and locked together.
    pub fn total(&self) -> Result<Notional, NumberError> {
        self.free.checked_add(self.locked)
    }
}

/// Positions by instrument, balances and fees by asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portfolio {
    positions: Vec<Position>,
    balances: Vec<Balance>,
    fees: Vec<(Asset, Notional)>,
    balances_as_of: Timestamp,
}

impl Portfolio {
    /// Most positions and most assets in one portfolio.
    pub const COUNT_MAX: usize = 1 << 20;

    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one fill to position and fees. Each fill must be given exactly once. On an error nothing has changed.
    pub fn apply_fill(&mut self, fill: &Fill) -> Result<(), PortfolioError> {
        let fee = self.fee_in(fill.fee_asset).checked_add(fill.fee)?;
        self.position_mut(fill.instrument)?.apply(fill.side, fill.price, fill.quantity)?;
        let known = self.fees.len();
        match self.fees.iter_mut().find(|(asset, _)| *asset == fill.fee_asset) {
            Some((_, total)) => *total = fee,
            None if known >= Self::COUNT_MAX => return Err(PortfolioError::Full(Self::COUNT_MAX)),
            None => self.fees.push((fill.fee_asset, fee)),
        }
        Ok(())
    }

    /// Adds to the position alone, without a fee: what was held before these books began, or moved here from others.
    pub fn add_position(
        &mut self,
        instrument: InstrumentId,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) -> Result<(), PortfolioError> {
        self.position_mut(instrument)?.apply(side, price, quantity)
    }

    /// Sets balances as the venue reports them; a complete report drops assets that it does not name. A report older than
    /// the last one is ignored and answers `false`.
    pub fn apply_balances(
        &mut self,
        balances: &[Balance],
        complete: bool,
        ts_event: Timestamp,
    ) -> Result<bool, PortfolioError> {
        if ts_event < self.balances_as_of {
            return Ok(false);
        }
        self.balances_as_of = ts_event;
        if complete {
            self.balances.clear();
        }
        for balance in balances {
            let count = self.balances.len();
            match self.balances.iter_mut().find(|known| known.asset == balance.asset) {
                Some(known) => *known = *balance,
                None if count >= Self::COUNT_MAX => return Err(PortfolioError::Full(Self::COUNT_MAX)),
                None => self.balances.push(*balance),
            }
        }
        Ok(true)
    }

    /// Renumbers instruments, after the portfolio was taken over from another run. The instrument that had fills and is not
    /// known any more is the error.
    pub fn renumber(&mut self, renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>) -> Result<(), InstrumentId> {
        let old = std::mem::take(&mut self.positions);
        for position in old.into_iter().filter(|position| !position.bought.is_zero() || !position.sold.is_zero()) {
            let id = renumber(position.instrument).ok_or(position.instrument)?;
            if let Ok(place) = self.position_mut(id) {
                *place = Position { instrument: id, ..position };
            }
        }
        Ok(())
    }

    /// The position in `instrument`; flat when there never was one.
    #[must_use]
    pub fn position(&self, instrument: InstrumentId) -> Position {
        self.positions.get(instrument.index()).copied().unwrap_or_else(|| Position::flat(instrument))
    }

    /// Every instrument that ever had a fill.
    pub fn positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.iter().filter(|position| !position.bought.is_zero() || !position.sold.is_zero())
    }

    /// What the account holds of `asset`.
    #[must_use]
    pub fn balance(&self, asset: Asset) -> Balance {
        self.balances
            .iter()
            .find(|known| known.asset == asset)
            .copied()
            .unwrap_or(Balance { asset, ..Balance::default() })
    }

    /// All balances known.
    #[must_use]
    pub fn balances(&self) -> &[Balance] {
        &self.balances
    }

    /// Fees paid by asset; negative where rebates exceed fees.
    #[must_use]
    pub fn fees(&self) -> &[(Asset, Notional)] {
        &self.fees
    }

    /// Fees paid in `asset`.
    #[must_use]
    pub fn fee_in(&self, asset: Asset) -> Notional {
        self.fees.iter().find(|(known, _)| *known == asset).map_or(Notional::ZERO, |(_, total)| *total)
    }

    fn position_mut(&mut self, instrument: InstrumentId) -> Result<&mut Position, PortfolioError> {
        let index = instrument.index();
        if index >= Self::COUNT_MAX {
            return Err(PortfolioError::Full(Self::COUNT_MAX));
        }
        while self.positions.len() <= index {
            let id = InstrumentId(u32::try_from(self.positions.len()).unwrap_or(u32::MAX));
            self.positions.push(Position::flat(id));
        }
        self.positions.get_mut(index).ok_or(PortfolioError::Full(Self::COUNT_MAX))
    }
}

#[cfg(test)]
mod tests;
