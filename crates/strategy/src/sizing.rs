//! How large an order is to be: fixed, a share of the equity, a share at risk down to the stop, a target volatility, a capped
//! share of Kelly's bet.
//!
//! Invariants: what comes out is an exact decimal, rounded down to the lot, never above the rule's budget; floats are inside
//! the statistics only (volatility, Kelly's fraction) and become a decimal, rounded down, before they touch money; a number
//! that is missing, not finite or not positive gives an error and no order.

use crate::{Context, ParamSpec, Settings, StrategyError};
use keel_model::{
    Asset, Instrument, InstrumentId, InstrumentKind, Notional, NumberError, OrderType, Price, Quantity, Rounding,
};

/// What volatility and Kelly's bet are estimated from.
pub mod history;

pub use history::{Edge, Histories, PriceHistory, TradeHistory};

/// Decimal places of a fraction that came from a statistic.
const FRACTION_SCALE: u8 = 8;
/// Decimal places of a quotient before it is rounded down to the step.
const QUOTIENT_SCALE: u8 = 10;

/// Why there is no size.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SizingError {
    /// Something that the rule needs is not known.
    #[error("the size cannot be worked out without {0}")]
    Missing(&'static str),
    /// Not greater than zero, or not a number.
    #[error("{0} must be a number greater than zero")]
    NotPositive(&'static str),
    /// The trades so far earn nothing: Kelly's bet is none.
    #[error("the trades so far do not earn: no bet")]
    NoEdge,
    /// Less than the venue takes, or more than one order may be.
    #[error("the size is outside what the instrument takes in one order")]
    Untradable,
    /// A number does not fit.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// What a rule works with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizingFacts {
    /// What the account is worth, in quote asset.
    pub equity: Notional,
    /// The price at which the order is expected to fill.
    pub price: Price,
    /// Where the protective stop will be.
    pub stop: Option<Price>,
    /// Standard deviation of the return of one bar, as a fraction; a statistic.
    pub volatility: Option<f64>,
    /// How the trades so far went; a statistic.
    pub edge: Option<Edge>,
}

impl SizingFacts {
    /// Equity and price; the rest is not known.
    #[must_use]
    pub const fn new(equity: Notional, price: Price) -> Self {
        Self { equity, price, stop: None, volatility: None, edge: None }
    }
}

/// A rule for the size of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// Always this quantity.
    FixedQuantity(Quantity),
    /// Always this value.
    FixedValue(Notional),
    /// This share of the equity; unit: basis points.
    EquityShare {
        /// The share.
        share_bps: u32,
    },
    /// What is lost between price and stop is this share of the equity; unit: basis points.
    RiskPerTrade {
        /// The share at risk.
        risk_bps: u32,
        /// The order is worth at most this share of the equity, however near the stop.
        share_bps_max: u32,
    },
    /// One bar moves the equity by this share, at the volatility of late; unit: basis points.
    VolatilityTarget {
        /// The share that one standard deviation moves.
        target_bps: u32,
        /// The order is worth at most this share of the equity, however calm it is.
        share_bps_max: u32,
    },
    /// Kelly's bet by the trades of late, cut down.
    Kelly {
        /// How much of the full bet; unit: percent.
        part_percent: u32,
        /// The order is worth at most this share of the equity; unit: basis points.
        share_bps_max: u32,
    },
}

/// Parameters for strategies whose size can be chosen; see [`Sizing::from_settings`].
pub const SIZING_PARAMS: [ParamSpec; 6] = [
    ParamSpec::word(
        "sizing",
        &["fixed", "equity", "risk", "volatility", "kelly"],
        "fixed",
        "how the size of an entry is worked out",
    ),
    ParamSpec::money("sizing_notional_quote", 1, 1_000_000_000, "500", "quote", "fixed: value of each entry"),
    ParamSpec::whole(
        "sizing_share_bps",
        1,
        10_000,
        "1000",
        "bps",
        "equity: share of the equity; all others: the largest share",
    ),
    ParamSpec::whole(
        "sizing_risk_bps",
        1,
        1_000,
        "50",
        "bps",
        "risk: share of the equity that is lost if the stop is reached",
    ),
    ParamSpec::whole(
        "sizing_volatility_bps",
        1,
        5_000,
        "20",
        "bps",
        "volatility: share of the equity that one bar's standard deviation moves",
    ),
    ParamSpec::whole("sizing_kelly_percent", 1, 100, "25", "percent", "kelly: how much of the full bet"),
];

impl Sizing {
    /// The rule that settings name; they must declare [`SIZING_PARAMS`].
    pub fn from_settings(settings: &Settings) -> Result<Self, StrategyError> {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let share_bps = narrow(settings.whole("sizing_share_bps")?);
        Ok(match settings.word("sizing")? {
            "equity" => Self::EquityShare { share_bps },
            "risk" => {
                let risk_bps = narrow(settings.whole("sizing_risk_bps")?);
                Self::RiskPerTrade { risk_bps, share_bps_max: share_bps }
            }
            "volatility" => {
                let target_bps = narrow(settings.whole("sizing_volatility_bps")?);
                Self::VolatilityTarget { target_bps, share_bps_max: share_bps }
            }
            "kelly" => {
                let part_percent = narrow(settings.whole("sizing_kelly_percent")?);
                Self::Kelly { part_percent, share_bps_max: share_bps }
            }
            _ => Self::FixedValue(settings.money("sizing_notional_quote")?),
        })
    }

    /// The size, rounded down to the instrument's step. Its limits are not looked at; see [`Context::size`].
    pub fn quantity(&self, facts: &SizingFacts, instrument: &Instrument) -> Result<Quantity, SizingError> {
        if !facts.price.is_positive() {
            return Err(SizingError::NotPositive("the price"));
        }
        if let Self::FixedQuantity(quantity) = self {
            return positive(*quantity, "the quantity")
                .and_then(|it| Ok(instrument.round_quantity(it, OrderType::Limit)?));
        }
        let worth = |value: Notional| floor_quantity(value, facts.price, instrument);
        match *self {
            Self::FixedQuantity(_) => Err(SizingError::NotPositive("the quantity")),
            Self::FixedValue(value) if !value.is_positive() => Err(SizingError::NotPositive("the value")),
            Self::FixedValue(value) => worth(value),
            Self::EquityShare { share_bps } => worth(share(facts, share_bps)?),
            Self::RiskPerTrade { risk_bps, share_bps_max } => {
                let stop = facts.stop.ok_or(SizingError::Missing("a stop price"))?;
                if !stop.is_positive() {
                    return Err(SizingError::NotPositive("the stop price"));
                }
                let distance = facts.price.checked_sub(stop)?.abs()?;
                if !distance.is_positive() {
                    return Err(SizingError::NotPositive("the distance from price to stop"));
                }
                let by_risk = floor_quantity(share(facts, risk_bps)?, distance, instrument)?;
                Ok(by_risk.min(worth(share(facts, share_bps_max)?)?))
            }
            Self::VolatilityTarget { target_bps, share_bps_max } => {
                let volatility = facts.volatility.ok_or(SizingError::Missing("a volatility"))?;
                if !(volatility.is_finite() && volatility > 0.0) {
                    return Err(SizingError::NotPositive("the volatility"));
                }
                let fraction = f64::from(target_bps) / 10_000.0 / volatility;
                worth(part_of(facts, fraction, share_bps_max)?)
            }
            Self::Kelly { part_percent, share_bps_max } => {
                let edge = facts.edge.ok_or(SizingError::Missing("trades to look back on"))?;
                let fraction = edge.kelly_fraction().ok_or(SizingError::NotPositive("the statistic of trades"))?;
                if fraction <= 0.0 {
                    return Err(SizingError::NoEdge);
                }
                worth(part_of(facts, fraction * f64::from(part_percent) / 100.0, share_bps_max)?)
            }
        }
    }
}

fn positive(quantity: Quantity, what: &'static str) -> Result<Quantity, SizingError> {
    if quantity.is_positive() { Ok(quantity) } else { Err(SizingError::NotPositive(what)) }
}

/// An exact share of the equity.
fn share(facts: &SizingFacts, bps: u32) -> Result<Notional, SizingError> {
    if !facts.equity.is_positive() {
        return Err(SizingError::NotPositive("the equity"));
    }
    Ok(facts.equity.checked_mul(Quantity::new(i64::from(bps), 4)?)?)
}

/// A share of the equity that a statistic gave: rounded down to a decimal first, and never above the largest share.
fn part_of(facts: &SizingFacts, fraction: f64, bps_max: u32) -> Result<Notional, SizingError> {
    let largest = f64::from(bps_max) / 10_000.0;
    if !fraction.is_finite() || fraction >= largest {
        // More than the cap, however much more.
        return if fraction.is_nan() { Err(SizingError::NotPositive("the share")) } else { share(facts, bps_max) };
    }
    let fraction = Quantity::from_f64(fraction.max(0.0), FRACTION_SCALE, Rounding::Down)?;
    let capped = fraction.min(Quantity::new(i64::from(bps_max), 4)?);
    if !facts.equity.is_positive() {
        return Err(SizingError::NotPositive("the equity"));
    }
    Ok(facts.equity.checked_mul(capped)?)
}

/// The largest quantity in whole steps of which `per_unit` times it is at most `value`.
fn floor_quantity(value: Notional, per_unit: Price, instrument: &Instrument) -> Result<Quantity, SizingError> {
    let step = instrument.lot.step;
    let divisor = Quantity::new(per_unit.mantissa(), per_unit.scale())?;
    let quotient = value.mul_div(Quantity::from_int(1), divisor, step.scale().max(QUOTIENT_SCALE))?;
    let mut quantity = instrument.round_quantity(quotient.to_quantity()?, OrderType::Limit)?;
    if Notional::of(per_unit, quantity) > value {
        // The quotient was rounded up to just a whole step (or, without a step, to its last place).
        let least = if step.is_zero() { Quantity::new(1, QUOTIENT_SCALE)? } else { step };
        quantity = quantity.checked_sub(least)?;
    }
    Ok(quantity.max(Quantity::ZERO))
}

impl Context<'_> {
    /// What the account is worth in `quote`: what it has of it, and what selling everything else that is traded against it
    /// would bring now. `None` when something is held whose price is not known: a size from a guess is none.
    #[must_use]
    pub fn equity(&self, quote: Asset) -> Option<Notional> {
        let mut seen: [Option<Asset>; 32] = [None; 32];
        let mut sum = self.balance(quote).total().ok()?;
        let markets = self.instruments().iter().filter(|it| it.quote == quote && it.kind == InstrumentKind::Spot);
        for market in markets {
            let held = self.balance(market.base).total().ok()?;
            if held.is_zero() || seen.iter().flatten().any(|known| *known == market.base) {
                continue;
            }
            *seen.iter_mut().find(|slot| slot.is_none())? = Some(market.base);
            let bid = self.book(market.id)?.best_bid()?.price;
            sum = sum.checked_add(Notional::of(bid, held.to_quantity().ok()?)).ok()?;
        }
        Some(sum)
    }

    /// The size that a rule gives for one order now, rounded down to what the instrument takes; an error says why there is
    /// none.
    pub fn size(
        &self,
        sizing: &Sizing,
        id: InstrumentId,
        facts: &SizingFacts,
        order_type: OrderType,
    ) -> Result<Quantity, SizingError> {
        let instrument = self.instrument(id).ok_or(SizingError::Missing("the instrument"))?;
        let quantity = sizing.quantity(facts, instrument)?;
        self.tradable(id, quantity, facts.price, order_type).ok_or(SizingError::Untradable)
    }
}

#[cfg(test)]
mod tests;
