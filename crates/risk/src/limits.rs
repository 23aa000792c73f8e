//! Limits and their validation. Values in money are in the account's quote asset.

use crate::guards::GuardLimits;
use keel_model::{Asset, InstrumentId, Notional, Quantity};
use serde::{Deserialize, Serialize};

/// Limits that differ from the account's on one instrument. `None` means: as the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentLimits {
    /// Largest quantity of one order (RC-01).
    pub order_quantity_max: Option<Quantity>,
    /// Largest value of one order (RC-02).
    pub order_notional_max: Option<Notional>,
    /// Largest position by quantity, projected (RC-05).
    pub position_quantity_max: Option<Quantity>,
    /// Largest position by value, projected (RC-05).
    pub position_notional_max: Option<Notional>,
    /// Price collar (RC-03); unit: basis points.
    pub price_collar_bps: Option<u32>,
}

/// Limits of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskLimits {
    /// The asset that money limits, exposure and profit are in.
    pub quote_asset: Asset,
    /// Largest value of one order (RC-02).
    pub order_notional_max: Notional,
    /// Largest position of one instrument by value, projected over open and unknown orders (RC-05).
    pub position_notional_max: Notional,
    /// Largest sum of all positions by value, projected (RC-06).
    pub gross_exposure_max: Notional,
    /// Most value per unit of balance on derivatives; unit: whole times (RC-07).
    pub leverage_max: u32,
    /// Orders per second in the long run; attempts that are denied count (RC-08).
    pub order_rate_per_s: u32,
    /// Orders at once (RC-08).
    pub order_burst: u32,
    /// How far through the touch a price may reach (RC-03); unit: basis points.
    pub price_collar_bps: u32,
    /// Oldest quote that may decide (RC-15); unit: milliseconds.
    pub reference_age_ms_max: u64,
    /// A change of the mid price from one quote to the next above this is not believed at once (RC-16); unit: basis points.
    pub reference_jump_bps_max: u32,
    /// How long a jumped price must hold before it is believed (RC-16); unit: milliseconds.
    pub reference_jump_hold_ms: u64,
    /// An equal order within this time is a duplicate (RC-11); zero switches the control off; unit: milliseconds.
    pub duplicate_window_ms: u64,
    /// Largest loss of one UTC day, realised and open, fees included (RC-13).
    pub daily_loss_max: Notional,
    /// Most open orders in all (RC-14).
    pub open_orders_max: u32,
    /// Most open orders on one instrument (RC-14).
    pub open_orders_per_instrument_max: u32,
    /// Instruments that may be traded (RC-17); `None` means all that the run knows.
    pub instruments_allowed: Option<Vec<InstrumentId>>,
    /// Limits of single instruments.
    pub per_instrument: Vec<(InstrumentId, InstrumentLimits)>,
    /// Guards that watch over time.
    pub guards: GuardLimits,
}

impl Default for RiskLimits {
    /// Cautious limits for an account in USDT.
    fn default() -> Self {
        Self {
            quote_asset: Asset::new("USDT").unwrap_or_default(),
            order_notional_max: Notional::from_int(1_000),
            position_notional_max: Notional::from_int(5_000),
            gross_exposure_max: Notional::from_int(10_000),
            leverage_max: 1,
            order_rate_per_s: 10,
            order_burst: 20,
            price_collar_bps: 200,
            reference_age_ms_max: 10_000,
            reference_jump_bps_max: 1_000,
            reference_jump_hold_ms: 1_000,
            duplicate_window_ms: 50,
            daily_loss_max: Notional::from_int(500),
            open_orders_max: 100,
            open_orders_per_instrument_max: 50,
            instruments_allowed: None,
            per_instrument: Vec::new(),
            guards: GuardLimits::default(),
        }
    }
}

/// Why limits are not limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not positive.
    #[error("{name} must be greater than zero, it is {value}")]
    NotPositive {
        /// Name of the limit.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Too large to mean anything, or to be held.
    #[error("{name} must be at most {max}, it is {value}")]
    TooLarge {
        /// Name of the limit.
        name: &'static str,
        /// Its value.
        value: String,
        /// The most that is accepted.
        max: String,
    },
    /// Two limits contradict each other.
    #[error("{small} ({small_value}) must not be above {large} ({large_value})")]
    Contradiction {
        /// The limit that must be smaller.
        small: &'static str,
        /// Its value.
        small_value: String,
        /// The limit that must be larger.
        large: &'static str,
        /// Its value.
        large_value: String,
    },
    /// A guard that is on lacks what it needs.
    #[error("{name} is on and needs {needs}")]
    Incomplete {
        /// Name of the limit.
        name: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The quote asset is empty.
    #[error("quote_asset must name the asset that the limits are in")]
    NoQuoteAsset,
}

/// Largest money limit that is accepted: far above any account, far below what could overflow.
pub const MONEY_MAX: i64 = 1_000_000_000_000_000;
/// Widest collar; wider is no collar.
pub const COLLAR_BPS_MAX: u32 = 5_000;
/// Highest order rate.
pub const ORDER_RATE_MAX: u32 = 1_000_000;
/// Most open orders that are tracked.
pub const OPEN_ORDERS_MAX: u32 = 100_000;
/// Highest leverage.
pub const LEVERAGE_MAX: u32 = 125;

pub(crate) fn money(name: &'static str, value: Notional) -> Result<(), LimitError> {
    if !value.is_positive() {
        return Err(LimitError::NotPositive { name, value: value.to_string() });
    }
    let max = Notional::from_int(MONEY_MAX);
    if value > max {
        return Err(LimitError::TooLarge { name, value: value.to_string(), max: max.to_string() });
    }
    Ok(())
}

fn count(name: &'static str, value: u64, max: u64) -> Result<(), LimitError> {
    if value == 0 {
        return Err(LimitError::NotPositive { name, value: value.to_string() });
    }
    if value > max {
        return Err(LimitError::TooLarge { name, value: value.to_string(), max: max.to_string() });
    }
    Ok(())
}

fn ordered(
    small: &'static str,
    small_value: impl PartialOrd + ToString,
    large: &'static str,
    large_value: impl ToString,
    contradicts: bool,
) -> Result<(), LimitError> {
    if contradicts {
        let (small_value, large_value) = (small_value.to_string(), large_value.to_string());
        return Err(LimitError::Contradiction { small, small_value, large, large_value });
    }
    Ok(())
}

/// Two bars of the longest length, months. Unit: days.
const REFERENCE_AGE_DAYS_MAX: u64 = 62;

impl RiskLimits {
    /// Checks every limit by itself and against the others.
    pub fn validate(&self) -> Result<(), LimitError> {
        const DAY_MS: u64 = 86_400_000;
        if self.quote_asset.is_empty() {
            return Err(LimitError::NoQuoteAsset);
        }
        money("order_notional_max", self.order_notional_max)?;
        money("position_notional_max", self.position_notional_max)?;
        money("gross_exposure_max", self.gross_exposure_max)?;
        money("daily_loss_max", self.daily_loss_max)?;
        count("leverage_max", self.leverage_max.into(), LEVERAGE_MAX.into())?;
        count("order_rate_per_s", self.order_rate_per_s.into(), ORDER_RATE_MAX.into())?;
        count("order_burst", self.order_burst.into(), ORDER_RATE_MAX.into())?;
        count("price_collar_bps", self.price_collar_bps.into(), COLLAR_BPS_MAX.into())?;
        count("reference_age_ms_max", self.reference_age_ms_max, REFERENCE_AGE_DAYS_MAX * DAY_MS)?;
        count("reference_jump_bps_max", self.reference_jump_bps_max.into(), 1_000_000)?;
        count("reference_jump_hold_ms", self.reference_jump_hold_ms, DAY_MS)?;
        count("open_orders_max", self.open_orders_max.into(), OPEN_ORDERS_MAX.into())?;
        count("open_orders_per_instrument_max", self.open_orders_per_instrument_max.into(), OPEN_ORDERS_MAX.into())?;
        if self.duplicate_window_ms > DAY_MS {
            let (value, max) = (self.duplicate_window_ms.to_string(), DAY_MS.to_string());
            return Err(LimitError::TooLarge { name: "duplicate_window_ms", value, max });
        }
        let (order, position, gross) = (self.order_notional_max, self.position_notional_max, self.gross_exposure_max);
        ordered("order_notional_max", order, "position_notional_max", position, order > position)?;
        ordered("position_notional_max", position, "gross_exposure_max", gross, position > gross)?;
        let (one, all) = (self.open_orders_per_instrument_max, self.open_orders_max);
        ordered("open_orders_per_instrument_max", one, "open_orders_max", all, one > all)?;
        self.guards.validate()?;
        self.per_instrument.iter().try_for_each(|(_, limits)| limits.validate())
    }

    /// The limits that hold for one instrument.
    pub(crate) fn of(&self, id: InstrumentId) -> InstrumentLimits {
        let own = self.per_instrument.iter().find(|(other, _)| *other == id).map(|(_, limits)| *limits);
        let own = own.unwrap_or_default();
        InstrumentLimits {
            order_notional_max: own.order_notional_max.or(Some(self.order_notional_max)),
            position_notional_max: own.position_notional_max.or(Some(self.position_notional_max)),
            price_collar_bps: own.price_collar_bps.or(Some(self.price_collar_bps)),
            ..own
        }
    }
}

impl InstrumentLimits {
    fn validate(&self) -> Result<(), LimitError> {
        for (name, value) in
            [("order_notional_max", self.order_notional_max), ("position_notional_max", self.position_notional_max)]
        {
            value.map_or(Ok(()), |value| money(name, value))?;
        }
        for (name, value) in
            [("order_quantity_max", self.order_quantity_max), ("position_quantity_max", self.position_quantity_max)]
        {
            if let Some(value) = value.filter(|value| !value.is_positive()) {
                return Err(LimitError::NotPositive { name, value: value.to_string() });
            }
        }
        let (order, position) = (self.order_quantity_max, self.position_quantity_max);
        if let Some((order, position)) = order.zip(position) {
            ordered("order_quantity_max", order, "position_quantity_max", position, order > position)?;
        }
        self.price_collar_bps.map_or(Ok(()), |bps| count("price_collar_bps", bps.into(), COLLAR_BPS_MAX.into()))
    }
}
