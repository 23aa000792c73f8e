//! Limits of the guards that watch what happens over time: window collar, counts, loss and drawdown, clock, margin, circuit
//! breakers and protections. Zero (or `None`) switches a guard off; a guard that is on must be whole.

use crate::limits::{LimitError, money};
use keel_model::Notional;
use serde::{Deserialize, Serialize};

/// Longest window of a guard; unit: milliseconds.
pub const WINDOW_MS_MAX: u64 = 7 * 86_400_000;
/// Most events that a guard counts exactly.
pub const EVENTS_MAX: u32 = 10_000;

/// A circuit breaker that opens after so many events within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerLimit {
    /// This many events open it; zero switches it off.
    pub count: u32,
    /// Within this time; unit: milliseconds.
    pub window_ms: u64,
}

/// Protections after losing trades, by instrument. A trade is a round trip: from flat to flat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionLimits {
    /// After each trade the instrument rests this long; unit: milliseconds.
    pub cooldown_ms: u64,
    /// This many trades that ended in a protective order lock the instrument.
    pub stop_loss_count: u32,
    /// Look back so far for them; unit: milliseconds.
    pub stop_loss_window_ms: u64,
    /// Lock for this long; unit: milliseconds.
    pub stop_loss_lock_ms: u64,
    /// The sum of closed trades may fall this far from its height within the window before everything is locked.
    pub drawdown_max: Option<Notional>,
    /// Look back so far; unit: milliseconds.
    pub drawdown_window_ms: u64,
    /// Lock for this long; unit: milliseconds.
    pub drawdown_lock_ms: u64,
    /// An instrument with at least this many trades within the window has to have earned `low_profit_min`.
    pub low_profit_count: u32,
    /// The least sum of profit.
    pub low_profit_min: Notional,
    /// Look back so far; unit: milliseconds.
    pub low_profit_window_ms: u64,
    /// Lock for this long; unit: milliseconds.
    pub low_profit_lock_ms: u64,
}

/// Limits of guards that watch over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardLimits {
    /// Window of the price collar and of the volatility breaker; unit: milliseconds.
    pub price_window_ms: u64,
    /// How far above the window's lowest mid price a buy, and below its highest a sell, may reach (RC-04); unit: basis points.
    pub window_collar_bps: u32,
    /// The span between the window's lowest and highest mid price that opens the volatility breaker; unit: basis points.
    pub volatility_bps: u32,
    /// Most orders within `count_window_ms` that nothing has filled (RC-09).
    pub unfilled_orders_max: u32,
    /// Most cancels per hundred orders within `count_window_ms` (RC-09).
    pub cancel_ratio_percent_max: u32,
    /// The ratio counts from this many orders on.
    pub cancel_ratio_orders_min: u32,
    /// Window of the two above; unit: milliseconds.
    pub count_window_ms: u64,
    /// Orders per second of one strategy; attempts that are denied count (RC-08).
    pub strategy_rate_per_s: u32,
    /// Orders at once of one strategy (RC-08).
    pub strategy_burst: u32,
    /// So often may one strategy enter again after a fill within `reentry_window_ms`; once more disables it (RC-10).
    pub reentries_max: u32,
    /// Window of the above; unit: milliseconds.
    pub reentry_window_ms: u64,
    /// Largest fall of the profit from its height (RC-13).
    pub drawdown_max: Option<Notional>,
    /// Largest loss of one strategy on one UTC day (RC-13).
    pub strategy_daily_loss_max: Option<Notional>,
    /// Largest fall of one strategy's profit from its height (RC-13).
    pub strategy_drawdown_max: Option<Notional>,
    /// Account stream gone for longer than this: what would open or add is cancelled (RC-19); unit: milliseconds.
    pub cancel_on_disconnect_ms: u64,
    /// Largest offset of the venue's clock, uncertainty included (RC-23); unit: milliseconds.
    pub clock_offset_ms_max: u64,
    /// An offset that is older than this is not known any more (RC-23); unit: milliseconds.
    pub clock_age_ms_max: u64,
    /// Least distance of the price to liquidation on derivatives (RC-07); unit: basis points.
    pub liquidation_distance_bps_min: u32,
    /// Maintenance margin on derivatives; unit: basis points of the position's value.
    pub maintenance_margin_bps: u32,
    /// Breaker of refused orders.
    pub order_errors: BreakerLimit,
    /// Breaker of answers that failed to come or were unsure.
    pub venue_errors: BreakerLimit,
    /// Breaker of losing trades in a row; zero switches it off.
    pub loss_streak_count: u32,
    /// An open breaker of errors or volatility tries again after this time; zero: only a person closes it; unit: milliseconds.
    pub breaker_timeout_ms: u64,
    /// The same for losses (streak, day, drawdown); unit: milliseconds.
    pub loss_timeout_ms: u64,
    /// Largest value of an order that tries out a half-open breaker.
    pub probe_notional_max: Notional,
    /// Protections after losing trades.
    pub protections: ProtectionLimits,
}

impl Default for GuardLimits {
    /// Every guard off.
    fn default() -> Self {
        let none = BreakerLimit::default();
        Self {
            price_window_ms: 0,
            window_collar_bps: 0,
            volatility_bps: 0,
            unfilled_orders_max: 0,
            cancel_ratio_percent_max: 0,
            cancel_ratio_orders_min: 0,
            count_window_ms: 0,
            strategy_rate_per_s: 0,
            strategy_burst: 0,
            reentries_max: 0,
            reentry_window_ms: 0,
            drawdown_max: None,
            strategy_daily_loss_max: None,
            strategy_drawdown_max: None,
            cancel_on_disconnect_ms: 0,
            clock_offset_ms_max: 0,
            clock_age_ms_max: 0,
            liquidation_distance_bps_min: 0,
            maintenance_margin_bps: 0,
            order_errors: none,
            venue_errors: none,
            loss_streak_count: 0,
            breaker_timeout_ms: 0,
            loss_timeout_ms: 0,
            probe_notional_max: Notional::ZERO,
            protections: ProtectionLimits::default(),
        }
    }
}

fn at_most(name: &'static str, value: u64, max: u64) -> Result<(), LimitError> {
    if value > max {
        return Err(LimitError::TooLarge { name, value: value.to_string(), max: max.to_string() });
    }
    Ok(())
}

/// A guard that is on needs what it counts with.
fn needs(name: &'static str, is_on: bool, other: &'static str, has: bool) -> Result<(), LimitError> {
    if is_on && !has { Err(LimitError::Incomplete { name, needs: other }) } else { Ok(()) }
}

impl GuardLimits {
    /// Checks every guard by itself and with what it needs.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        for (name, value) in [
            ("price_window_ms", self.price_window_ms),
            ("count_window_ms", self.count_window_ms),
            ("reentry_window_ms", self.reentry_window_ms),
            ("cancel_on_disconnect_ms", self.cancel_on_disconnect_ms),
            ("clock_offset_ms_max", self.clock_offset_ms_max),
            ("clock_age_ms_max", self.clock_age_ms_max),
            ("order_errors.window_ms", self.order_errors.window_ms),
            ("venue_errors.window_ms", self.venue_errors.window_ms),
            ("breaker_timeout_ms", self.breaker_timeout_ms),
            ("loss_timeout_ms", self.loss_timeout_ms),
        ] {
            at_most(name, value, WINDOW_MS_MAX)?;
        }
        for (name, value) in [
            ("unfilled_orders_max", self.unfilled_orders_max),
            ("reentries_max", self.reentries_max),
            ("order_errors.count", self.order_errors.count),
            ("venue_errors.count", self.venue_errors.count),
            ("loss_streak_count", self.loss_streak_count),
        ] {
            at_most(name, value.into(), EVENTS_MAX.into())?;
        }
        at_most("window_collar_bps", self.window_collar_bps.into(), 10_000)?;
        at_most("volatility_bps", self.volatility_bps.into(), 10_000)?;
        at_most("cancel_ratio_percent_max", self.cancel_ratio_percent_max.into(), 10_000)?;
        at_most("liquidation_distance_bps_min", self.liquidation_distance_bps_min.into(), 9_999)?;
        at_most("maintenance_margin_bps", self.maintenance_margin_bps.into(), 5_000)?;
        at_most("strategy_rate_per_s", self.strategy_rate_per_s.into(), crate::limits::ORDER_RATE_MAX.into())?;
        at_most("strategy_burst", self.strategy_burst.into(), crate::limits::ORDER_RATE_MAX.into())?;
        for (name, value) in [
            ("drawdown_max", self.drawdown_max),
            ("strategy_daily_loss_max", self.strategy_daily_loss_max),
            ("strategy_drawdown_max", self.strategy_drawdown_max),
            ("protections.drawdown_max", self.protections.drawdown_max),
        ] {
            value.map_or(Ok(()), |value| money(name, value))?;
        }
        if self.probe_notional_max.is_negative() {
            let value = self.probe_notional_max.to_string();
            return Err(LimitError::NotPositive { name: "probe_notional_max", value });
        }
        self.validate_pairs()?;
        self.protections.validate()
    }

    fn validate_pairs(&self) -> Result<(), LimitError> {
        let has_window = self.price_window_ms > 0;
        needs("window_collar_bps", self.window_collar_bps > 0, "price_window_ms", has_window)?;
        needs("volatility_bps", self.volatility_bps > 0, "price_window_ms", has_window)?;
        let has_count = self.count_window_ms > 0;
        needs("unfilled_orders_max", self.unfilled_orders_max > 0, "count_window_ms", has_count)?;
        needs("cancel_ratio_percent_max", self.cancel_ratio_percent_max > 0, "count_window_ms", has_count)?;
        needs("reentries_max", self.reentries_max > 0, "reentry_window_ms", self.reentry_window_ms > 0)?;
        needs("strategy_rate_per_s", self.strategy_rate_per_s > 0, "strategy_burst", self.strategy_burst > 0)?;
        needs("clock_offset_ms_max", self.clock_offset_ms_max > 0, "clock_age_ms_max", self.clock_age_ms_max > 0)?;
        let (orders, venue) = (self.order_errors, self.venue_errors);
        needs("order_errors.count", orders.count > 0, "order_errors.window_ms", orders.window_ms > 0)?;
        needs("venue_errors.count", venue.count > 0, "venue_errors.window_ms", venue.window_ms > 0)?;
        let tries = self.breaker_timeout_ms > 0 || self.loss_timeout_ms > 0;
        needs("breaker_timeout_ms", tries, "probe_notional_max", self.probe_notional_max.is_positive())
    }
}

impl ProtectionLimits {
    /// Is any of them on?
    pub(crate) const fn is_on(&self) -> bool {
        self.cooldown_ms > 0 || self.stop_loss_count > 0 || self.drawdown_max.is_some() || self.low_profit_count > 0
    }

    fn validate(&self) -> Result<(), LimitError> {
        for (name, value) in [
            ("protections.cooldown_ms", self.cooldown_ms),
            ("protections.stop_loss_window_ms", self.stop_loss_window_ms),
            ("protections.stop_loss_lock_ms", self.stop_loss_lock_ms),
            ("protections.drawdown_window_ms", self.drawdown_window_ms),
            ("protections.drawdown_lock_ms", self.drawdown_lock_ms),
            ("protections.low_profit_window_ms", self.low_profit_window_ms),
            ("protections.low_profit_lock_ms", self.low_profit_lock_ms),
        ] {
            at_most(name, value, WINDOW_MS_MAX)?;
        }
        let most = crate::protections::TRADES_MAX as u64;
        at_most("protections.stop_loss_count", self.stop_loss_count.into(), most)?;
        at_most("protections.low_profit_count", self.low_profit_count.into(), most)?;
        for (name, is_on, window_ms, lock_ms) in [
            ("protections.stop_loss_count", self.stop_loss_count > 0, self.stop_loss_window_ms, self.stop_loss_lock_ms),
            ("protections.drawdown_max", self.drawdown_max.is_some(), self.drawdown_window_ms, self.drawdown_lock_ms),
            (
                "protections.low_profit_count",
                self.low_profit_count > 0,
                self.low_profit_window_ms,
                self.low_profit_lock_ms,
            ),
        ] {
            needs(name, is_on, "a window", window_ms > 0)?;
            needs(name, is_on, "a time to lock for", lock_ms > 0)?;
        }
        Ok(())
    }
}
