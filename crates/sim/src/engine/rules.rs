//! An instrument's rules in integers, and the checks of a request against them.

use super::SimError;
use crate::accounts::{AMOUNT_MAX, AMOUNT_SCALE, pow10, to_atoms};
use crate::reject::Reject;
use keel_model::instrument::LotRule;
use keel_model::{Instrument, Notional, Price, Quantity, Side};

/// Units of a rate: 10^-8.
pub(crate) const RATE_SCALE: u8 = 8;

/// Bounds of a quantity; zero means none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lot {
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) step: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) price_scale: u8,
    pub(crate) quantity_scale: u8,
    /// Atoms per unit of price × quantity.
    pub(crate) quote_unit: i128,
    /// Atoms per unit of quantity.
    pub(crate) base_unit: i128,
    tick: i64,
    price_min: i64,
    price_max: i64,
    pub(crate) lot: Lot,
    pub(crate) market_lot: Lot,
    notional_min: i128,
    is_min_for_market: bool,
    notional_max: Option<i128>,
    /// (least, largest) fraction of the average price for buys and sells.
    percent: Option<[(i128, i128); 2]>,
}

/// A number in units of 10^-`scale`; `None` when it is finer than that or does not fit. Venues pad their numbers with zeros,
/// so this is on the way of every price and quantity and stays within 64 bits.
#[inline]
pub(crate) fn units(mantissa: i64, from: u8, scale: u8) -> Option<i64> {
    const POW10: [i64; 19] = {
        let mut table = [1i64; 19];
        let mut i = 1;
        while i < 19 {
            table[i] = table[i - 1] * 10;
            i += 1;
        }
        table
    };
    let factor = *POW10.get(usize::from(from.abs_diff(scale)))?;
    if from <= scale {
        return mantissa.checked_mul(factor);
    }
    (mantissa % factor == 0).then(|| mantissa / factor)
}

/// A coarser rule than the scale rounds towards the looser side, which no real rule needs.
fn price_units(price: Price, scale: u8) -> i64 {
    units(price.mantissa(), price.scale(), scale).unwrap_or(0)
}
fn quantity_units(quantity: Quantity, scale: u8) -> i64 {
    units(quantity.mantissa(), quantity.scale(), scale).unwrap_or(0)
}

impl Rules {
    pub(crate) fn new(instrument: &Instrument) -> Result<Self, SimError> {
        let price_scale = match instrument.tick_size.normalized() {
            tick if tick.is_positive() => tick.scale(),
            _ => 8,
        };
        let quantity_scale = match instrument.lot.step.normalized() {
            step if step.is_positive() => step.scale(),
            _ => 8,
        };
        let places = price_scale + quantity_scale;
        if places > AMOUNT_SCALE {
            return Err(SimError::TooFine { symbol: instrument.symbol.to_string(), places });
        }
        let lot = |rule: &LotRule| Lot {
            min: quantity_units(rule.min, quantity_scale),
            max: quantity_units(rule.max, quantity_scale),
            step: quantity_units(rule.step, quantity_scale),
        };
        let rate = |value: Quantity| i128::from(quantity_units(value, RATE_SCALE));
        Ok(Self {
            price_scale,
            quantity_scale,
            quote_unit: pow10(AMOUNT_SCALE - places),
            base_unit: pow10(AMOUNT_SCALE - quantity_scale),
            tick: price_units(instrument.tick_size, price_scale),
            price_min: price_units(instrument.min_price, price_scale),
            price_max: price_units(instrument.max_price, price_scale),
            lot: lot(&instrument.lot),
            market_lot: lot(&instrument.market_lot),
            notional_min: to_atoms(instrument.min_notional)?,
            is_min_for_market: instrument.min_notional_applies_to_market,
            notional_max: instrument.max_notional.map(to_atoms).transpose()?,
            percent: instrument
                .percent_price
                .map(|rule| [(rate(rule.bid_down), rate(rule.bid_up)), (rate(rule.ask_down), rate(rule.ask_up))]),
        })
    }

    /// The quantity step: at least one unit.
    pub(crate) fn step(&self) -> i64 {
        self.lot.step.max(1)
    }

    /// The price step: at least one unit.
    pub(crate) fn tick(&self) -> i64 {
        self.tick.max(1)
    }

    pub(crate) fn price(&self, units: i64) -> Price {
        Price::new(units, self.price_scale).unwrap_or(Price::ZERO)
    }
    pub(crate) fn quantity(&self, units: i64) -> Quantity {
        Quantity::new(units, self.quantity_scale).unwrap_or(Quantity::ZERO)
    }
    /// Units of price × quantity as money.
    pub(crate) fn quote(&self, units: i128) -> Notional {
        Notional::new(units, self.price_scale + self.quantity_scale).unwrap_or(Notional::ZERO)
    }

    /// Checks a price against `PRICE_FILTER`.
    pub(crate) fn check_price(&self, price: Price) -> Result<i64, Reject> {
        if !price.is_positive() {
            return Err(Reject::Shape);
        }
        let units = units(price.mantissa(), price.scale(), self.price_scale).ok_or(Reject::PriceFilter)?;
        let is_above = self.price_max > 0 && units > self.price_max;
        if units < self.price_min || is_above || units % self.tick() != 0 {
            return Err(Reject::PriceFilter);
        }
        Ok(units)
    }

    /// Checks a quantity against `LOT_SIZE` and, for market orders, `MARKET_LOT_SIZE`.
    pub(crate) fn check_quantity(&self, quantity: Quantity, is_market: bool) -> Result<i64, Reject> {
        if !quantity.is_positive() {
            return Err(Reject::LotSize);
        }
        let units = units(quantity.mantissa(), quantity.scale(), self.quantity_scale).ok_or(Reject::LotSize)?;
        if !self.lot.holds(units) {
            return Err(Reject::LotSize);
        }
        if is_market && !self.market_lot.holds(units) {
            return Err(Reject::MarketLotSize);
        }
        Ok(units)
    }

    /// Checks `PERCENT_PRICE_BY_SIDE`.
    pub(crate) fn check_percent(&self, side: Side, price: i64, average: Option<i64>) -> Result<(), Reject> {
        let (Some(percent), Some(average)) = (self.percent, average) else { return Ok(()) };
        let [bid, ask] = percent;
        let (down, up) = if side == Side::Buy { bid } else { ask };
        let scaled = i128::from(price) * pow10(RATE_SCALE);
        let average = i128::from(average);
        let is_above = up > 0 && scaled > average.saturating_mul(up);
        if is_above || scaled < average.saturating_mul(down) { Err(Reject::PercentPrice) } else { Ok(()) }
    }

    /// Checks a value in atoms against `NOTIONAL`.
    pub(crate) fn check_value(&self, atoms: i128, is_market: bool) -> Result<(), Reject> {
        let is_min = !is_market || self.is_min_for_market;
        if (is_min && atoms < self.notional_min) || self.notional_max.is_some_and(|max| atoms > max) {
            return Err(Reject::Notional);
        }
        Ok(())
    }

    /// The value of a quantity at a price, in atoms.
    pub(crate) fn value(&self, price: i64, quantity: i64) -> Result<i128, Reject> {
        let units = i128::from(price) * i128::from(quantity);
        let atoms = units.checked_mul(self.quote_unit).ok_or(Reject::TooLarge)?;
        if atoms > AMOUNT_MAX { Err(Reject::TooLarge) } else { Ok(atoms) }
    }
}

impl Lot {
    fn holds(&self, units: i64) -> bool {
        units >= self.min && (self.max == 0 || units <= self.max) && (self.step == 0 || units % self.step == 0)
    }
}
