//! Why an order was denied: which control, with the numbers that decided.

use crate::alerts::KillCause;
use crate::breaker::BreakerKind;
use crate::protections::LockCause;
use keel_model::{ClientOrderId, InstrumentId, Price, Quantity, RiskScope, StrategyId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A pre-trade control, by its number in the catalogue of controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Control {
    /// RC-01: order quantity.
    OrderQuantity,
    /// RC-02: order value.
    OrderNotional,
    /// RC-03: price collar against the live reference.
    PriceCollar,
    /// RC-05: position, projected over open and unknown orders.
    Position,
    /// RC-06: gross exposure.
    GrossExposure,
    /// RC-07: balance reservation.
    Balance,
    /// RC-08: order rate.
    Rate,
    /// RC-11: duplicate order.
    Duplicate,
    /// RC-12: self-match.
    SelfMatch,
    /// RC-13: daily loss.
    DailyLoss,
    /// RC-14: open orders.
    OpenOrders,
    /// RC-15: stale data.
    StaleData,
    /// RC-16: unreasonable data.
    BadData,
    /// RC-17: instrument list, status and the venue's filters.
    Instrument,
    /// RC-18: kill switch.
    KillSwitch,
    /// RC-21: trading state.
    TradingState,
    /// RC-04: price collar over a window.
    WindowCollar,
    /// RC-09: cancels per order and orders without a fill.
    OrderRatio,
    /// RC-10: repeated automated execution.
    Repeated,
    /// RC-13: loss or drawdown of a strategy.
    StrategyLoss,
    /// RC-23: offset of the venue's clock.
    Clock,
    /// A circuit breaker.
    Breaker,
    /// A lock after losing trades.
    Protection,
    /// RC-07: distance to liquidation.
    Liquidation,
}

impl Control {
    /// Its number in the catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OrderQuantity => "RC-01",
            Self::OrderNotional => "RC-02",
            Self::PriceCollar => "RC-03",
            Self::Position => "RC-05",
            Self::GrossExposure => "RC-06",
            Self::Balance => "RC-07",
            Self::Rate => "RC-08",
            Self::Duplicate => "RC-11",
            Self::SelfMatch => "RC-12",
            Self::DailyLoss => "RC-13",
            Self::OpenOrders => "RC-14",
            Self::StaleData => "RC-15",
            Self::BadData => "RC-16",
            Self::Instrument => "RC-17",
            Self::KillSwitch => "RC-18",
            Self::TradingState => "RC-21",
            Self::WindowCollar => "RC-04",
            Self::OrderRatio => "RC-09",
            Self::Repeated => "RC-10",
            Self::StrategyLoss => "RC-13",
            Self::Clock => "RC-23",
            Self::Breaker => "breaker",
            Self::Protection => "protection",
            Self::Liquidation => "RC-07",
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The finding behind a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DenyReason {
    /// Quantity above the limit.
    #[error("quantity {quantity} is above the limit {max} for one order")]
    OrderQuantity {
        /// Asked for.
        quantity: Quantity,
        /// Limit.
        max: Quantity,
    },
    /// Value above the limit.
    #[error("the order's value is above the limit for one order")]
    OrderNotional,
    /// Price through the collar.
    #[error("price {price} is more than {bps_max} bps through the reference {reference}")]
    PriceCollar {
        /// Asked for.
        price: Price,
        /// The touch or the trigger that it is measured against.
        reference: Price,
        /// Limit; unit: basis points.
        bps_max: u32,
    },
    /// Projected position above the limit.
    #[error("position with open and unknown orders would pass the limit of the instrument")]
    Position,
    /// The position of an instrument with an order of unknown outcome may not grow.
    #[error("an order of unknown outcome freezes the instrument for new exposure until the venue has answered")]
    Frozen,
    /// Gross exposure above the limit.
    #[error("gross exposure would pass the account's limit")]
    GrossExposure,
    /// Balance does not suffice, counting what open orders hold.
    #[error("the balance does not cover the order next to what open orders hold")]
    Balance,
    /// No balance has been reported.
    #[error("the balance is not known yet")]
    BalanceUnknown,
    /// Too many orders in a short time.
    #[error("order rate limit of our own")]
    Rate,
    /// The same order came a moment ago.
    #[error("the same instrument, side, quantity and price was ordered a moment ago")]
    Duplicate,
    /// Would trade with an order of ours.
    #[error("would trade with an open order of ours at {price}")]
    SelfMatch {
        /// Price of our resting order.
        price: Price,
    },
    /// The day's loss limit is reached.
    #[error("the daily loss limit is reached: only orders that reduce positions until a person resumes")]
    DailyLoss,
    /// Too many open orders in all.
    #[error("open orders are at the limit")]
    OpenOrders,
    /// No market data yet.
    #[error("no market data yet")]
    NoReference,
    /// Market data too old.
    #[error("market data is {age_ms} ms old")]
    StaleReference {
        /// Age; unit: milliseconds.
        age_ms: u64,
    },
    /// The stream is stale, resyncing or down.
    #[error("the market data stream is not live")]
    FeedNotLive,
    /// Crossed, zero or negative quotes.
    #[error("the quoted book is crossed, empty or not positive")]
    BadReference,
    /// The price jumped further than is believable and has not been confirmed by time.
    #[error("the reference price jumped; waiting for it to hold")]
    ReferenceJump,
    /// Unknown instrument.
    #[error("the instrument is not known")]
    UnknownInstrument,
    /// Not on the list of instruments to trade.
    #[error("the instrument is not on the list of instruments to trade")]
    NotAllowed,
    /// Not trading at the venue.
    #[error("the instrument is not trading at the venue")]
    NotTradable,
    /// Held after a mismatch, until a person resumes.
    #[error("the instrument is held after a mismatch until a person resumes")]
    Held,
    /// Breaks a filter of the venue.
    #[error("the order breaks a filter of the venue: {0}")]
    Filter(Filter),
    /// Numbers that cannot be held exactly.
    #[error("a number does not fit")]
    Overflow,
    /// The instrument is quoted in an asset that the account's limits are not in.
    #[error("limits are in the account's quote asset and this instrument is quoted in another one")]
    ForeignQuote,
    /// Emergency stop.
    #[error("emergency stop")]
    EmergencyStop,
    /// Halted.
    #[error("trading is halted")]
    Halted,
    /// Only reducing orders.
    #[error("only orders that reduce a position are allowed")]
    OnlyReducing,
    /// A reduce-only order that could open.
    #[error("a reduce-only order may not be larger than what is left to close")]
    NotReducing,
    /// Price through the collar over a window.
    #[error("price {price} is more than {bps_max} bps through the window's {reference}")]
    WindowCollar {
        /// Asked for.
        price: Price,
        /// The lowest (buy) or highest (sell) mid price of the window.
        reference: Price,
        /// Limit; unit: basis points.
        bps_max: u32,
    },
    /// Too many orders that nothing has filled.
    #[error("too many orders of late that nothing has filled")]
    UnfilledOrders,
    /// Too many cancels per order.
    #[error("too many cancels for the number of orders")]
    CancelRatio,
    /// One entry after a fill too many: the strategy is disabled.
    #[error("the strategy filled and entered again too often: it is disabled until a person re-arms it")]
    Repeated,
    /// The strategy is disabled.
    #[error("the strategy is disabled until a person re-arms it: {0}")]
    StrategyDisabled(KillCause),
    /// A kill switch.
    #[error("kill switch of {0}: only orders that reduce positions until a person re-arms it")]
    Killed(RiskScope),
    /// The venue's clock is too far off.
    #[error("the venue's clock is {offset_ms} ms off")]
    ClockOffset {
        /// Offset with its uncertainty; unit: milliseconds.
        offset_ms: u64,
    },
    /// Nobody knows how far the venue's clock is off.
    #[error("the offset of the venue's clock is not known")]
    ClockUnknown,
    /// A circuit breaker is open.
    #[error("circuit breaker {0} is open")]
    BreakerOpen(BreakerKind),
    /// A half-open breaker waits for the order that tries out.
    #[error("circuit breaker {0} is half-open and waits for the order that tries out")]
    ProbePending(BreakerKind),
    /// A half-open breaker takes small orders only.
    #[error("circuit breaker {0} is half-open and takes only a small order")]
    ProbeTooLarge(BreakerKind),
    /// A lock after losing trades.
    #[error("locked by {cause} until {until}")]
    Locked {
        /// Why.
        cause: LockCause,
        /// Until when.
        until: Timestamp,
    },
    /// Too near to liquidation.
    #[error("the account would be too near to liquidation")]
    Liquidation,
}

/// Which filter of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Filter {
    /// A price is missing, superfluous or not positive.
    #[error("price missing, superfluous or not positive")]
    PriceShape,
    /// Off the tick or outside the bounds.
    #[error("price off the tick or out of bounds")]
    Price,
    /// Off the lot step or outside the bounds.
    #[error("quantity off the lot step or out of bounds")]
    Lot,
    /// Value below the least or above the largest.
    #[error("value out of bounds")]
    Notional,
    /// Most open orders on the instrument.
    #[error("most open orders on the instrument")]
    OpenOrders,
}

impl DenyReason {
    /// The control that found it.
    #[must_use]
    pub const fn control(self) -> Control {
        match self {
            Self::OrderQuantity { .. } => Control::OrderQuantity,
            Self::OrderNotional => Control::OrderNotional,
            Self::PriceCollar { .. } => Control::PriceCollar,
            Self::Position | Self::Frozen => Control::Position,
            Self::GrossExposure | Self::ForeignQuote => Control::GrossExposure,
            Self::Balance | Self::BalanceUnknown => Control::Balance,
            Self::Rate => Control::Rate,
            Self::Duplicate => Control::Duplicate,
            Self::SelfMatch { .. } => Control::SelfMatch,
            Self::DailyLoss => Control::DailyLoss,
            Self::OpenOrders => Control::OpenOrders,
            Self::NoReference | Self::StaleReference { .. } | Self::FeedNotLive => Control::StaleData,
            Self::BadReference | Self::ReferenceJump | Self::Overflow => Control::BadData,
            Self::UnknownInstrument | Self::NotAllowed | Self::NotTradable | Self::Held | Self::Filter(_) => {
                Control::Instrument
            }
            Self::EmergencyStop => Control::KillSwitch,
            Self::Halted | Self::OnlyReducing | Self::NotReducing => Control::TradingState,
            Self::WindowCollar { .. } => Control::WindowCollar,
            Self::UnfilledOrders | Self::CancelRatio => Control::OrderRatio,
            Self::Repeated | Self::StrategyDisabled(KillCause::Repeated) => Control::Repeated,
            Self::StrategyDisabled(KillCause::DailyLoss | KillCause::Drawdown) => Control::StrategyLoss,
            Self::StrategyDisabled(KillCause::Person) | Self::Killed(_) => Control::KillSwitch,
            Self::ClockOffset { .. } | Self::ClockUnknown => Control::Clock,
            Self::BreakerOpen(_) | Self::ProbePending(_) | Self::ProbeTooLarge(_) => Control::Breaker,
            Self::Locked { .. } => Control::Protection,
            Self::Liquidation => Control::Liquidation,
        }
    }
}

/// An order that risk denied. It never existed for the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Which strategy wanted it.
    pub strategy: StrategyId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Which control denied it.
    pub control: Control,
    /// What it found.
    pub reason: DenyReason,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {} denied by {}: {}", self.client_order_id, self.control, self.reason)
    }
}
impl std::error::Error for Denied {}
