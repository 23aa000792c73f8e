//! Parent orders: plans that the engine carries out through child orders. Brackets and OCO pairs protect or open with two
//! exits of which one counts; TWAP and iceberg work a large quantity in small pieces.
//!
//! A plan is data. What became of it is derived from its children, so that a plan and the list of its children are all that
//! has to survive a restart.

use crate::instrument::FilterViolation;
use crate::{
    ClientOrderId, Instrument, InstrumentId, Notional, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Side,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most children that one plan may come to.
pub const CHILDREN_MAX: u32 = 10_000;
/// Longest duration of a TWAP; unit: milliseconds.
pub const DURATION_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Ten thousand basis points are the whole.
pub const BPS: u32 = 10_000;

/// Id of a parent order; from the same never reused numbers as the ids of orders, but never sent to a venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParentId(pub ClientOrderId);

impl fmt::Display for ParentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stop: a market order, or a limit order, once the price has passed a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The line.
    pub stop_price: Price,
    /// Limit of the order that follows; `None` is a market order.
    pub limit_price: Option<Price>,
}

/// An entry, and exits that are placed as it fills, sized to what was filled.
///
/// Where one account cannot hold both exits at once (a sell on spot needs the asset twice) the stop rests at the venue and
/// the target waits in the engine: when the price touches it, the stop is cancelled and the target placed; when the price
/// falls back half way to the stop, the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// The entry.
    pub entry: OrderIntent,
    /// Where to give up.
    pub stop: Stop,
    /// Where to take profit; `None` leaves it to the stop or to the strategy.
    pub target: Option<Price>,
    /// The entry is cancelled when it has not filled after this time; unit: milliseconds.
    pub entry_timeout_ms: Option<u64>,
}

impl Bracket {
    /// An entry with a stop-market exit.
    #[must_use]
    pub const fn new(entry: OrderIntent, stop_price: Price) -> Self {
        Self { entry, stop: Stop { stop_price, limit_price: None }, target: None, entry_timeout_ms: None }
    }

    /// Makes the stop a stop-limit.
    #[must_use]
    pub const fn stop_limit(mut self, limit_price: Price) -> Self {
        self.stop.limit_price = Some(limit_price);
        self
    }

    /// Adds a target.
    #[must_use]
    pub const fn target(mut self, price: Price) -> Self {
        self.target = Some(price);
        self
    }

    /// Cancels the entry when it has not filled after this time; unit: milliseconds.
    #[must_use]
    pub const fn entry_timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.entry_timeout_ms = Some(timeout_ms);
        self
    }
}

/// A limit order and a stop order of one quantity, of which only one is to fill.
///
/// With purpose `Entry` both rest at the venue: what one fills is taken from the other by cancel and new, so that both may
/// fill for a moment; the position is then what the fills say, and an over-fill is an alarm. With purpose `Exit` or
/// `Protective` only one rests at a time, as in [`Bracket`], so that never more is sold than is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oco {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side of both.
    pub side: Side,
    /// Quantity that both together are to fill.
    pub quantity: Quantity,
    /// What they are for.
    pub purpose: OrderPurpose,
    /// Limit leg.
    pub price: Price,
    /// Stop leg.
    pub stop: Stop,
}

impl Oco {
    /// Two exits of a position that is already held.
    #[must_use]
    pub const fn exit(
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        target: Price,
        stop_price: Price,
    ) -> Self {
        let stop = Stop { stop_price, limit_price: None };
        Self { instrument, side, quantity, purpose: OrderPurpose::Protective, price: target, stop }
    }

    /// Two ways in: a limit below (buy) and a stop above the market, or the other way round for a sell.
    #[must_use]
    pub const fn entry(
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        price: Price,
        stop_price: Price,
    ) -> Self {
        let stop = Stop { stop_price, limit_price: None };
        Self { instrument, side, quantity, purpose: OrderPurpose::Entry, price, stop }
    }

    /// Makes the stop a stop-limit.
    #[must_use]
    pub const fn stop_limit(mut self, limit_price: Price) -> Self {
        self.stop.limit_price = Some(limit_price);
        self
    }
}

/// A quantity spread over time.
///
/// Slice `k` of `n` is due at `start + k × duration / n`, shifted by a random part of the interval; it brings what was sent
/// up to the share of the quantity that is due, so that what one slice could not fill is carried to the next. With a limit
/// a slice rests at it until the next is due, else it is a market order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twap {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Total quantity.
    pub quantity: Quantity,
    /// What it is for.
    pub purpose: OrderPurpose,
    /// Over which time; unit: milliseconds.
    pub duration_ms: u64,
    /// In how many pieces.
    pub slices: u32,
    /// How far the time of a slice may be moved, as a part of the interval; unit: basis points.
    pub randomise_bps: u32,
    /// Seed of the moves.
    pub seed: u64,
    /// No piece is filled at a worse price.
    pub limit: Option<Price>,
    /// No slice is more than this part of what was traded publicly since the last one; needs trades of the instrument;
    /// unit: basis points.
    pub participation_bps_max: Option<u32>,
}

impl Twap {
    /// In ten slices at the market.
    #[must_use]
    pub const fn new(instrument: InstrumentId, side: Side, quantity: Quantity, duration_ms: u64) -> Self {
        Self {
            instrument,
            side,
            quantity,
            purpose: OrderPurpose::Entry,
            duration_ms,
            slices: 10,
            randomise_bps: 0,
            seed: 0,
            limit: None,
            participation_bps_max: None,
        }
    }

    /// In so many slices.
    #[must_use]
    pub const fn slices(mut self, count: u32) -> Self {
        self.slices = count;
        self
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(mut self, purpose: OrderPurpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Moves the slices by up to this part of the interval.
    #[must_use]
    pub const fn randomise_bps(mut self, part_bps: u32, seed: u64) -> Self {
        self.randomise_bps = part_bps;
        self.seed = seed;
        self
    }

    /// No piece is filled at a worse price.
    #[must_use]
    pub const fn limit(mut self, price: Price) -> Self {
        self.limit = Some(price);
        self
    }

    /// No slice is more than this part of what was traded publicly since the last one.
    #[must_use]
    pub const fn participation_bps_max(mut self, part_bps: u32) -> Self {
        self.participation_bps_max = Some(part_bps);
        self
    }
}

/// A large limit order of which only a small part is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iceberg {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Total quantity.
    pub quantity: Quantity,
    /// What it is for.
    pub purpose: OrderPurpose,
    /// Limit price.
    pub price: Price,
    /// How much is shown.
    pub display: Quantity,
    /// By how much of itself the shown part may be smaller; unit: basis points.
    pub randomise_bps: u32,
    /// Seed of the sizes.
    pub seed: u64,
    /// Only as a maker.
    pub is_post_only: bool,
}

impl Iceberg {
    /// Shows `display` of `quantity`.
    #[must_use]
    pub const fn new(
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        price: Price,
        display: Quantity,
    ) -> Self {
        let purpose = OrderPurpose::Entry;
        Self { instrument, side, quantity, purpose, price, display, randomise_bps: 0, seed: 0, is_post_only: false }
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(mut self, purpose: OrderPurpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Shows up to this part less each time.
    #[must_use]
    pub const fn randomise_bps(mut self, part_bps: u32, seed: u64) -> Self {
        self.randomise_bps = part_bps;
        self.seed = seed;
        self
    }

    /// Only as a maker.
    #[must_use]
    pub const fn post_only(mut self) -> Self {
        self.is_post_only = true;
        self
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentPlan {
    /// Entry, stop, target.
    Bracket(Bracket),
    /// One of two.
    Oco(Oco),
    /// Spread over time.
    Twap(Twap),
    /// Shown in small pieces.
    Iceberg(Iceberg),
}

impl From<Bracket> for ParentPlan {
    fn from(plan: Bracket) -> Self {
        Self::Bracket(plan)
    }
}
impl From<Oco> for ParentPlan {
    fn from(plan: Oco) -> Self {
        Self::Oco(plan)
    }
}
impl From<Twap> for ParentPlan {
    fn from(plan: Twap) -> Self {
        Self::Twap(plan)
    }
}
impl From<Iceberg> for ParentPlan {
    fn from(plan: Iceberg) -> Self {
        Self::Iceberg(plan)
    }
}

/// Why a plan is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A rule of the instrument.
    #[error("{0}")]
    Filter(#[from] FilterViolation),
    /// The exits are on the wrong sides of each other or of the entry.
    #[error("the target {target} must lie on the gaining side of the stop {stop}, and the entry between them")]
    Sides {
        /// Target.
        target: Price,
        /// Stop.
        stop: Price,
    },
    /// The pieces would be too small for the venue.
    #[error("a piece of {piece} is below what the venue takes; use fewer or larger pieces")]
    PieceTooSmall {
        /// Size of a piece.
        piece: Quantity,
    },
    /// Too many or no pieces.
    #[error("{count} pieces; there must be 1 to {CHILDREN_MAX}")]
    Pieces {
        /// How many.
        count: u64,
    },
    /// Duration or part outside its range.
    #[error("{name} must be within {min}..={max}, it is {value}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Least value.
        min: u64,
        /// Largest value.
        max: u64,
    },
}

impl ParentPlan {
    /// What is traded.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        match self {
            Self::Bracket(plan) => plan.entry.instrument,
            Self::Oco(plan) => plan.instrument,
            Self::Twap(plan) => plan.instrument,
            Self::Iceberg(plan) => plan.instrument,
        }
    }

    /// The same plan for another index of the instrument: indices mean something within one run only.
    pub const fn set_instrument(&mut self, id: InstrumentId) {
        match self {
            Self::Bracket(plan) => plan.entry.instrument = id,
            Self::Oco(plan) => plan.instrument = id,
            Self::Twap(plan) => plan.instrument = id,
            Self::Iceberg(plan) => plan.instrument = id,
        }
    }

    /// Side of what the plan opens with; of both exits for an OCO.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::Bracket(plan) => plan.entry.side,
            Self::Oco(plan) => plan.side,
            Self::Twap(plan) => plan.side,
            Self::Iceberg(plan) => plan.side,
        }
    }

    /// What it is to come to.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        match self {
            Self::Bracket(plan) => plan.entry.quantity,
            Self::Oco(plan) => plan.quantity,
            Self::Twap(plan) => plan.quantity,
            Self::Iceberg(plan) => plan.quantity,
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> OrderPurpose {
        match self {
            Self::Bracket(plan) => plan.entry.purpose,
            Self::Oco(plan) => plan.purpose,
            Self::Twap(plan) => plan.purpose,
            Self::Iceberg(plan) => plan.purpose,
        }
    }

    /// One word for logs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Bracket(_) => "bracket",
            Self::Oco(_) => "oco",
            Self::Twap(_) => "twap",
            Self::Iceberg(_) => "iceberg",
        }
    }

    /// Checks the plan against the instrument's rules and the bounds.
    pub fn check(&self, rules: &Instrument) -> Result<(), PlanError> {
        match self {
            Self::Bracket(plan) => {
                rules.check(&plan.entry, plan.entry.price.or(Some(plan.stop.stop_price)))?;
                check_stop(rules, &plan.stop)?;
                check_exits(rules, plan.entry.side.opposite(), plan.target, &plan.stop, plan.entry.price)
            }
            Self::Oco(plan) => {
                let limit = OrderIntent::limit(plan.instrument, plan.side, plan.quantity, plan.price, plan.purpose);
                rules.check(&limit, None)?;
                check_stop(rules, &plan.stop)?;
                check_exits(rules, plan.side, Some(plan.price), &plan.stop, None)
            }
            Self::Twap(plan) => {
                in_range("duration_ms", plan.duration_ms, 1, DURATION_MS_MAX)?;
                in_range("randomise_bps", plan.randomise_bps.into(), 0, BPS.into())?;
                in_range("participation_bps_max", plan.participation_bps_max.unwrap_or(1).into(), 1, BPS.into())?;
                if plan.slices == 0 || plan.slices > CHILDREN_MAX / 4 {
                    return Err(PlanError::Pieces { count: plan.slices.into() });
                }
                if let Some(price) = plan.limit {
                    rules.check_price(price)?;
                }
                check_piece(rules, part_of(plan.quantity, 1, plan.slices.into()), plan.limit)
            }
            Self::Iceberg(plan) => {
                in_range("randomise_bps", plan.randomise_bps.into(), 0, u64::from(BPS) / 2)?;
                rules.check_price(plan.price)?;
                let least = part_of(plan.display, u64::from(BPS - plan.randomise_bps.min(BPS / 2)), BPS.into());
                check_piece(rules, least, Some(plan.price))?;
                check_piece(rules, plan.quantity, Some(plan.price))?;
                let count = plan.quantity.to_f64() / plan.display.to_f64();
                if plan.display > plan.quantity || count > f64::from(CHILDREN_MAX) / 4.0 {
                    return Err(PlanError::Pieces { count: count.min(1e15) as u64 });
                }
                Ok(())
            }
        }
    }
}

/// Decimal places that a part of a quantity is worked out with.
const PART_SCALE: u8 = 9;

/// `quantity × numerator / denominator`, rounded down; zero when the numbers do not fit.
#[must_use]
pub fn part_of(quantity: Quantity, numerator: u64, denominator: u64) -> Quantity {
    let fine = quantity.rescale(quantity.scale().max(PART_SCALE)).unwrap_or(quantity);
    let product = i128::from(fine.mantissa()) * i128::from(numerator) / i128::from(denominator.max(1));
    i64::try_from(product).ok().and_then(|it| Quantity::new(it, fine.scale()).ok()).unwrap_or(Quantity::ZERO)
}

fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), PlanError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(PlanError::OutOfRange { name, value, min, max }) }
}

fn check_stop(rules: &Instrument, stop: &Stop) -> Result<(), PlanError> {
    rules.check_price(stop.stop_price)?;
    stop.limit_price.map_or(Ok(()), |price| rules.check_price(price)).map_err(PlanError::Filter)
}

/// A sell takes profit above its stop, a buy below; an entry price lies between.
fn check_exits(
    rules: &Instrument,
    exit: Side,
    target: Option<Price>,
    stop: &Stop,
    entry: Option<Price>,
) -> Result<(), PlanError> {
    let stop = stop.stop_price;
    let is_beyond = |a: Price, b: Price| match exit {
        Side::Sell => a > b,
        Side::Buy => a < b,
    };
    if let Some(target) = target {
        rules.check_price(target)?;
        let is_between = entry.is_none_or(|entry| is_beyond(target, entry));
        if !is_beyond(target, stop) || !is_between {
            return Err(PlanError::Sides { target, stop });
        }
    }
    match entry {
        Some(entry) if !is_beyond(entry, stop) => Err(PlanError::Sides { target: target.unwrap_or(entry), stop }),
        _ => Ok(()),
    }
}

fn check_piece(rules: &Instrument, piece: Quantity, price: Option<Price>) -> Result<(), PlanError> {
    let order_type = if price.is_some() { OrderType::Limit } else { OrderType::Market };
    match rules.tradable(piece, price, order_type) {
        Some(_) => Ok(()),
        None => Err(PlanError::PieceTooSmall { piece }),
    }
}

impl Instrument {
    /// The largest quantity not above `quantity` that one order may have; `None` when that is too little. Without a price
    /// the least value is not looked at.
    #[must_use]
    pub fn tradable(&self, quantity: Quantity, price: Option<Price>, order_type: OrderType) -> Option<Quantity> {
        let market_lot = (!order_type.has_price()).then_some(&self.market_lot);
        let mut quantity = quantity;
        for lot in std::iter::once(&self.lot).chain(market_lot) {
            if lot.max.is_positive() {
                quantity = quantity.min(lot.max);
            }
        }
        quantity = self.round_quantity(quantity, order_type).ok()?;
        let is_enough = quantity.is_positive()
            && quantity >= self.lot.min
            && market_lot.is_none_or(|lot| quantity >= lot.min)
            && price.is_none_or(|price| Notional::of(price, quantity) >= self.min_notional);
        is_enough.then_some(quantity)
    }
}

/// How a parent order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentEnd {
    /// All that was wanted was done.
    Completed,
    /// Cancelled, or its entry was; a part may have been filled.
    Canceled,
    /// Its time was over before all was filled.
    Expired,
    /// Its orders were refused too often.
    Failed,
    /// Ended by the exit policy.
    Stopped,
}

/// A parent order as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Its id.
    pub id: ParentId,
    /// `bracket`, `oco`, `twap`, `iceberg`.
    pub kind: String,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// What it is to come to.
    pub quantity: Quantity,
    /// What of it is filled.
    pub filled: Quantity,
    /// What its exits have closed; brackets only.
    pub closed: Quantity,
    /// What of its position has no protective order at the venue.
    pub unprotected: Quantity,
    /// Its orders that are not terminal.
    pub open_orders: u32,
}
