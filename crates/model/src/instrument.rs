//! Instruments with the venue's rules: tick, lot, least and largest size and value, status.

use crate::ids::Symbol;
use crate::{Asset, InstrumentId, Notional, NumberError, OrderIntent, OrderType, Price, Quantity, Rounding, Side};
use serde::{Deserialize, Serialize};

/// May it be traded?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstrumentStatus {
    /// Open.
    Trading,
    /// Orders may only be cancelled.
    CancelOnly,
    /// Halted, in a break, before open or after close.
    Halted,
    /// A word we do not know: not tradable.
    Unknown,
}

impl InstrumentStatus {
    /// May new orders be placed?
    #[must_use]
    pub const fn is_tradable(self) -> bool {
        matches!(self, Self::Trading)
    }
}

/// What is traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstrumentKind {
    /// The asset itself.
    Spot,
    /// A perpetual future settled in the quote asset.
    LinearPerpetual,
}

/// Bounds of a quantity: Binance `LOT_SIZE`, `MARKET_LOT_SIZE`. A zero bound or step means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotRule {
    /// Least quantity.
    pub min: Quantity,
    /// Largest quantity.
    pub max: Quantity,
    /// Step.
    pub step: Quantity,
}

/// Bounds of a price relative to a reference: Binance `PERCENT_PRICE_BY_SIDE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PercentPriceRule {
    /// A buy may not be above reference × this.
    pub bid_up: Quantity,
    /// A buy may not be below reference × this.
    pub bid_down: Quantity,
    /// A sell may not be above reference × this.
    pub ask_up: Quantity,
    /// A sell may not be below reference × this.
    pub ask_down: Quantity,
}

/// An instrument and the venue's rules for orders on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Dense index within this run.
    pub id: InstrumentId,
    /// The venue's symbol.
    pub symbol: Symbol,
    /// Asset that is bought and sold.
    pub base: Asset,
    /// Asset that prices are in.
    pub quote: Asset,
    /// What is traded.
    pub kind: InstrumentKind,
    /// May it be traded?
    pub status: InstrumentStatus,
    /// Price step.
    pub tick_size: Price,
    /// Least price; zero means none.
    pub min_price: Price,
    /// Largest price; zero means none.
    pub max_price: Price,
    /// Quantity rule of limit orders.
    pub lot: LotRule,
    /// Extra quantity rule of market orders; zeros mean none.
    pub market_lot: LotRule,
    /// Least value of an order; zero means none.
    pub min_notional: Notional,
    /// Does the least value hold for market orders too?
    pub min_notional_applies_to_market: bool,
    /// Largest value of an order; `None` means none.
    pub max_notional: Option<Notional>,
    /// Price bounds relative to the recent average price.
    pub percent_price: Option<PercentPriceRule>,
    /// Most open orders at once; zero means none.
    pub max_open_orders: u32,
    /// Most open stop and take-profit orders at once; zero means none.
    pub max_open_algo_orders: u32,
}

/// Which rule of the instrument an order breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterViolation {
    /// Not open for new orders.
    #[error("the instrument is not trading")]
    NotTradable,
    /// Price is missing, or given where the type has none, or not positive.
    #[error("this order type needs a positive price where it has one and none where it has not")]
    PriceShape,
    /// Price is off the tick.
    #[error("price {price} is not a multiple of the tick {tick}")]
    Tick {
        /// The price.
        price: Price,
        /// The tick.
        tick: Price,
    },
    /// Price outside the bounds.
    #[error("price {price} is outside {min}..{max}")]
    PriceBounds {
        /// The price.
        price: Price,
        /// Least price.
        min: Price,
        /// Largest price.
        max: Price,
    },
    /// Quantity not positive or outside the bounds.
    #[error("quantity {quantity} is outside {min}..{max}")]
    QuantityBounds {
        /// The quantity.
        quantity: Quantity,
        /// Least quantity.
        min: Quantity,
        /// Largest quantity.
        max: Quantity,
    },
    /// Quantity off the step.
    #[error("quantity {quantity} is not a multiple of the lot step {step}")]
    Step {
        /// The quantity.
        quantity: Quantity,
        /// The step.
        step: Quantity,
    },
    /// Value below the least or above the largest.
    #[error("order value {value} is outside the instrument's bounds")]
    Value {
        /// The value.
        value: Notional,
    },
    /// The numbers do not fit.
    #[error(transparent)]
    Number(#[from] NumberError),
}

impl Instrument {
    /// Checks an intent against every static rule; `reference` values market orders. The first broken rule is the error.
    pub fn check(&self, intent: &OrderIntent, reference: Option<Price>) -> Result<(), FilterViolation> {
        if !self.status.is_tradable() {
            return Err(FilterViolation::NotTradable);
        }
        if intent.price.is_some() != intent.order_type.has_price()
            || intent.stop_price.is_some() != intent.order_type.has_stop_price()
        {
            return Err(FilterViolation::PriceShape);
        }
        for price in [intent.price, intent.stop_price].into_iter().flatten() {
            self.check_price(price)?;
        }
        Self::check_lot(&self.lot, intent.quantity)?;
        let is_market = !intent.order_type.has_price();
        if is_market {
            Self::check_lot(&self.market_lot, intent.quantity)?;
        }
        match intent.price.or(intent.stop_price).or(reference) {
            Some(price) => self.check_value(Notional::of(price, intent.quantity), is_market),
            None => Ok(()),
        }
    }

    /// Checks sign, bounds and tick of a price.
    pub fn check_price(&self, price: Price) -> Result<(), FilterViolation> {
        if !price.is_positive() {
            return Err(FilterViolation::PriceShape);
        }
        let above = !self.max_price.is_zero() && price > self.max_price;
        if price < self.min_price || above {
            return Err(FilterViolation::PriceBounds { price, min: self.min_price, max: self.max_price });
        }
        if !price.is_multiple_of(self.tick_size) {
            return Err(FilterViolation::Tick { price, tick: self.tick_size });
        }
        Ok(())
    }

    fn check_lot(rule: &LotRule, quantity: Quantity) -> Result<(), FilterViolation> {
        let above = !rule.max.is_zero() && quantity > rule.max;
        if !quantity.is_positive() || quantity < rule.min || above {
            return Err(FilterViolation::QuantityBounds { quantity, min: rule.min, max: rule.max });
        }
        if !quantity.is_multiple_of(rule.step) {
            return Err(FilterViolation::Step { quantity, step: rule.step });
        }
        Ok(())
    }

    fn check_value(&self, value: Notional, is_market: bool) -> Result<(), FilterViolation> {
        let min_applies = !is_market || self.min_notional_applies_to_market;
        let too_large = self.max_notional.is_some_and(|max| value > max);
        if (min_applies && value < self.min_notional) || too_large {
            return Err(FilterViolation::Value { value });
        }
        Ok(())
    }

    /// The nearest price on the tick that is not more aggressive than `price`: down for a buy, up for a sell.
    pub fn round_passive(&self, price: Price, side: Side) -> Result<Price, NumberError> {
        let rounding = match side {
            Side::Buy => Rounding::Down,
            Side::Sell => Rounding::Up,
        };
        price.round_to_step(self.tick_size, rounding)
    }

    /// The largest quantity on the step that is not above `quantity`.
    pub fn round_quantity(&self, quantity: Quantity, order_type: OrderType) -> Result<Quantity, NumberError> {
        let step =
            if order_type.has_price() || self.market_lot.step.is_zero() { self.lot.step } else { self.market_lot.step };
        if step.is_zero() { Ok(quantity) } else { quantity.round_to_step(step, Rounding::ToZero) }
    }
}

/// The instruments of a run, by dense index and by symbol.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    list: Vec<Instrument>,
}

impl Instruments {
    /// Most instruments in one run.
    pub const COUNT_MAX: usize = 1 << 20;

    /// No instruments.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds an instrument and gives it its index; an instrument of the same symbol is replaced in place (filters change).
    /// Returns the index, or `None` when [`Self::COUNT_MAX`] is reached.
    pub fn upsert(&mut self, mut instrument: Instrument) -> Option<InstrumentId> {
        if let Some(existing) = self.list.iter_mut().find(|other| other.symbol == instrument.symbol) {
            instrument.id = existing.id;
            *existing = instrument;
            return Some(existing.id);
        }
        if self.list.len() >= Self::COUNT_MAX {
            return None;
        }
        let id = InstrumentId(u32::try_from(self.list.len()).ok()?);
        instrument.id = id;
        self.list.push(instrument);
        Some(id)
    }

    /// By index.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.list.get(id.index())
    }

    /// By the venue's symbol.
    #[must_use]
    pub fn by_symbol(&self, symbol: &str) -> Option<&Instrument> {
        self.list.iter().find(|instrument| instrument.symbol.as_str() == symbol)
    }

    /// All of them, by index.
    pub fn iter(&self) -> std::slice::Iter<'_, Instrument> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'a> IntoIterator for &'a Instruments {
    type Item = &'a Instrument;
    type IntoIter = std::slice::Iter<'a, Instrument>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
