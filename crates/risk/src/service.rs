//! The review, the reservations and the trading state. One owner calls it from one thread; see the crate's rules.

use crate::alerts::KillCause;
use crate::approved::Approved;
use crate::denied::{Denied, DenyReason, Filter};
use crate::ledger::Ledger;
use crate::limits::{LimitError, RiskLimits};
use crate::row::{Credit, Row, Sized, print_of};
use crate::throttle::Throttle;
use crate::units::{money_up, notional_down, to_notional, units_within};
use keel_model::{
    Asset, InstrumentId, InstrumentKind, Instruments, NewOrder, Notional, Price, Quantity, ReplaceOrder, RiskScope,
    Side, StrategyId, Timestamp, TradingState,
};

mod freeze;
mod guard;
mod image;
mod market;
mod quiet;
mod reserve;
mod restore;

use guard::Guards;
pub use guard::Outcome;
pub use image::RiskImage;

/// The strategy id of orders that the house itself places to close positions.
pub const HOUSE: StrategyId = StrategyId(u16::MAX);

const DAY_NS: u64 = 86_400_000_000_000;

/// Why the service cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RiskError {
    /// A limit is not one.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The instrument's rules do not fit whole numbers.
    #[error("the rules of instrument {symbol} cannot be held exactly; leave it out of the instruments to trade")]
    Instrument {
        /// The venue's symbol.
        symbol: String,
    },
}

/// The one gate in front of every order.
#[derive(Debug)]
pub struct RiskService {
    limits: RiskLimits,
    gross_max: i128,
    loss_max: i128,
    rows: Vec<Row>,
    ledger: Ledger,
    quote_slot: usize,
    throttle: Throttle,
    state: TradingState,
    is_emergency: bool,
    breach: bool,
    guards: Guards,
    gross: i128,
    open_orders: u32,
    pnl: i128,
    fees: i128,
    day: u64,
    day_base: i128,
    approved_total: u64,
    denied_total: u64,
}

impl RiskService {
    /// Checks the limits and compiles them with the instruments' rules. The service starts `Halted`.
    pub fn new(limits: RiskLimits, instruments: &Instruments) -> Result<Self, RiskError> {
        limits.validate()?;
        let mut ledger = Ledger::default();
        let quote_slot = ledger.slot(limits.quote_asset);
        let throttle = Throttle::new(limits.order_rate_per_s, limits.order_burst);
        let gross_max = notional_down(limits.gross_exposure_max).unwrap_or(0);
        let loss_max = notional_down(limits.daily_loss_max).unwrap_or(0);
        let mut rows = Vec::with_capacity(instruments.len());
        for instrument in instruments {
            let row = Row::compile(instrument, &limits, &mut ledger)
                .ok_or_else(|| RiskError::Instrument { symbol: instrument.symbol.to_string() })?;
            rows.push(row);
        }
        let guards = Guards::new(limits.guards);
        Ok(Self {
            limits,
            gross_max,
            loss_max,
            rows,
            ledger,
            quote_slot,
            throttle,
            state: TradingState::Halted,
            is_emergency: false,
            breach: false,
            guards,
            gross: 0,
            open_orders: 0,
            pnl: 0,
            fees: 0,
            day: 0,
            day_base: 0,
            approved_total: 0,
            denied_total: 0,
        })
    }

    // ── Review ──

    /// Reviews one order and, when it passes, reserves what it could come to.
    pub fn review(&mut self, order: NewOrder, now: Timestamp) -> Result<Approved<NewOrder>, Denied> {
        match self.check(&order, now, &Credit::default()) {
            Ok((sized, is_reducing)) => {
                self.reserve(&order, &sized, now);
                if !is_reducing {
                    self.guard_entry(&order, now);
                }
                Ok(Approved::new(order, is_reducing))
            }
            Err(reason) => Err(self.deny(&order, reason)),
        }
    }

    /// Reviews the new half of a cancel-replace. Funds that the old order holds are counted as given back, since the venue
    /// places the new one only after the old one is gone; what it may still fill until then is not (V-13, V-07). Its
    /// reservation stays until its end is known.
    pub fn review_replace(&mut self, replace: ReplaceOrder, now: Timestamp) -> Result<Approved<ReplaceOrder>, Denied> {
        let credit = self.credit_of(replace.cancel.instrument, replace.cancel.client_order_id);
        let credit =
            if replace.cancel.instrument == replace.new.intent.instrument { credit } else { Credit::default() };
        match self.check(&replace.new, now, &credit) {
            Ok((sized, is_reducing)) => {
                self.reserve(&replace.new, &sized, now);
                if !is_reducing {
                    self.guard_entry(&replace.new, now);
                }
                Ok(Approved::new(replace, is_reducing))
            }
            Err(reason) => Err(self.deny(&replace.new, reason)),
        }
    }

    #[cold]
    fn deny(&mut self, order: &NewOrder, reason: DenyReason) -> Denied {
        self.denied_total += 1;
        if reason == DenyReason::Repeated {
            self.kill_for(RiskScope::Strategy(order.strategy), KillCause::Repeated, self.guards.now);
        }
        let (client_order_id, strategy, instrument) = (order.client_order_id, order.strategy, order.intent.instrument);
        Denied { client_order_id, strategy, instrument, control: reason.control(), reason }
    }

    #[inline]
    fn check(&mut self, order: &NewOrder, now: Timestamp, credit: &Credit) -> Result<(Sized, bool), DenyReason> {
        let is_house = order.strategy == HOUSE;
        // Every attempt counts towards the rates, also one that something else denies.
        let has_own_token =
            self.guards.strategy_mut(order.strategy, self.rows.len()).is_none_or(|strategy| strategy.take(now));
        let has_token = self.throttle.take(now) && has_own_token;
        self.guards.now = self.guards.now.max(now);
        let counts = self.guards.counts.at(now);
        if self.is_emergency && !is_house {
            return Err(DenyReason::EmergencyStop);
        }
        if self.state == TradingState::Halted && !(self.is_emergency && is_house) {
            return Err(DenyReason::Halted);
        }
        let intent = &order.intent;
        let row = self.rows.get(intent.instrument.index()).ok_or(DenyReason::UnknownInstrument)?;
        if !row.is_allowed {
            return Err(DenyReason::NotAllowed);
        }
        if !row.is_tradable {
            return Err(DenyReason::NotTradable);
        }
        row.check_reference(now, self.limits.reference_age_ms_max)?;
        let sized = row.size(intent)?;
        row.check_collar(&sized)?;
        let value = row.check_size(&sized)?;
        let is_reducing = row.is_reducing(&sized, credit);
        let is_exempt = is_house && is_reducing;
        if !has_token && !is_exempt {
            return Err(DenyReason::Rate);
        }
        if !is_reducing {
            self.check_opening(row, &sized, intent.reduce_only, credit)?;
            self.guards.check(row, order, &sized, value, counts, now)?;
        }
        self.check_open_orders(row, credit)?;
        self.check_balance(row, &sized, value, credit)?;
        let print = print_of(&sized, intent.order_type);
        if self.limits.duplicate_window_ms > 0 && row.is_duplicate(print, now, self.limits.duplicate_window_ms) {
            return Err(DenyReason::Duplicate);
        }
        if let Some(price) = row.self_match(&sized, credit.id) {
            return Err(DenyReason::SelfMatch { price: Price::new(price, row.price_scale).unwrap_or_default() });
        }
        Ok((sized, is_reducing))
    }

    /// What holds only for orders that open or add: state, latches, freezes, position and exposure.
    #[inline]
    fn check_opening(&self, row: &Row, order: &Sized, reduce_only: bool, _credit: &Credit) -> Result<(), DenyReason> {
        if reduce_only {
            return Err(DenyReason::NotReducing);
        }
        if self.state != TradingState::Active {
            return Err(DenyReason::OnlyReducing);
        }
        if row.is_held {
            return Err(DenyReason::Held);
        }
        if keel_model::mutant!(30, row.unknown_count > 0, false) {
            return Err(DenyReason::Frozen);
        }
        if row.is_foreign_quote {
            return Err(DenyReason::ForeignQuote);
        }
        // An order that is being replaced may fill until it is gone, and the new one all the same: both count.
        let given_back = keel_model::mutant!(31, Credit::default(), *_credit);
        let projected = row.projected(Some(order), &given_back).ok_or(DenyReason::Overflow)?;
        if keel_model::mutant!(32, projected > row.position_quantity_max, false) {
            return Err(DenyReason::Position);
        }
        let price = row.reference.mid.max(order.price);
        let exposure = row.value(projected, price).ok_or(DenyReason::Overflow)?;
        if exposure > row.position_notional_max {
            return Err(DenyReason::Position);
        }
        let gross = self.gross.saturating_sub(row.exposure).saturating_add(exposure);
        if gross > self.gross_max {
            return Err(DenyReason::GrossExposure);
        }
        if row.kind == InstrumentKind::LinearPerpetual {
            let quote = self.ledger.get(self.quote_slot).filter(|asset| asset.is_known);
            let quote = quote.ok_or(DenyReason::BalanceUnknown)?;
            if gross > quote.total.saturating_mul(self.limits.leverage_max.into()) {
                return Err(DenyReason::Balance);
            }
            self.check_liquidation(quote.total, gross)?;
        }
        Ok(())
    }

    /// How far the price may go against everything that is held before the venue closes it: with equity `e`, exposure `g` and
    /// maintenance margin `m` it is `(e / g - m) / (1 + m)`, the nearer of both directions, with all positions in one margin
    /// account. Open losses count, open gains do not.
    fn check_liquidation(&self, balance: i128, gross: i128) -> Result<(), DenyReason> {
        let distance = i128::from(self.limits.guards.liquidation_distance_bps_min);
        if distance == 0 {
            return Ok(());
        }
        let margin = i128::from(self.limits.guards.maintenance_margin_bps);
        let open_loss = self.rows.iter().map(Row::derivative_loss).fold(0i128, i128::saturating_add);
        let equity = balance.checked_sub(open_loss).ok_or(DenyReason::Overflow)?;
        // e · 10⁸ ≥ g · (m · 10⁴ + d · (10⁴ + m)), all in basis points.
        let needed = gross.checked_mul(margin * 10_000 + distance * (10_000 + margin)).ok_or(DenyReason::Overflow)?;
        let has = equity.checked_mul(100_000_000).ok_or(DenyReason::Overflow)?;
        if has < needed { Err(DenyReason::Liquidation) } else { Ok(()) }
    }

    fn check_open_orders(&self, row: &Row, credit: &Credit) -> Result<(), DenyReason> {
        let replaced = u32::from(credit.id.is_some());
        if self.open_orders.saturating_sub(replaced) >= self.limits.open_orders_max {
            return Err(DenyReason::OpenOrders);
        }
        let here = u32::try_from(row.open.len()).unwrap_or(u32::MAX).saturating_sub(replaced);
        if here >= row.open_orders_max {
            return Err(DenyReason::Filter(Filter::OpenOrders));
        }
        Ok(())
    }

    /// Spot: a buy is covered by the quote asset, a sell by the base asset, next to what open orders hold (RC-07).
    #[inline]
    fn check_balance(&self, row: &Row, order: &Sized, value: i128, credit: &Credit) -> Result<(), DenyReason> {
        if row.kind != InstrumentKind::Spot {
            return Ok(());
        }
        let (slot, needed, given_back) = match order.side {
            Side::Buy => (row.quote, value, credit.quote),
            Side::Sell => {
                let needed = money_up(order.quantity.into(), row.quantity_scale).ok_or(DenyReason::Overflow)?;
                (row.base, needed, credit.base)
            }
        };
        let asset = self.ledger.get(slot).filter(|asset| asset.is_known).ok_or(DenyReason::BalanceUnknown)?;
        let held = asset.reserved.saturating_sub(given_back);
        if asset.total.saturating_sub(held) < needed { Err(DenyReason::Balance) } else { Ok(()) }
    }

    // ── State ──

    /// What risk allows: the state that was set, narrowed by latches.
    #[must_use]
    pub const fn state(&self) -> TradingState {
        match self.state {
            TradingState::Active if self.guards.is_shut => TradingState::Reducing,
            state => state,
        }
    }

    /// Sets the trading state. A latched emergency stop keeps it `Halted`; answers whether the state holds now.
    pub fn set_state(&mut self, state: TradingState) -> bool {
        self.state = if self.is_emergency { TradingState::Halted } else { state };
        self.state == state
    }

    /// A person resumes: breakers are closed, holds are cleared and a new loss account begins. Kill switches, locks and an
    /// emergency stop stay until they are re-armed.
    pub fn resume(&mut self) -> bool {
        self.close_breakers();
        for row in &mut self.rows {
            row.is_held = false;
        }
        self.set_state(TradingState::Active)
    }

    /// Emergency stop (RC-18): from now on nothing but the house's own reducing orders passes, over restarts, too, until a
    /// person re-arms the account.
    pub fn emergency_stop(&mut self) {
        self.is_emergency = true;
        self.state = TradingState::Halted;
        self.guards.is_unsaved = true;
    }

    /// Is the emergency stop latched?
    #[must_use]
    pub const fn is_emergency(&self) -> bool {
        self.is_emergency
    }

    /// Holds an instrument after a mismatch: only reducing orders until a person resumes.
    pub fn hold(&mut self, instrument: InstrumentId) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            row.is_held = true;
        }
    }

    /// A person released an instrument.
    pub fn release_hold(&mut self, instrument: InstrumentId) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            row.is_held = false;
        }
    }

    /// Is the instrument held?
    #[must_use]
    pub fn is_held(&self, instrument: InstrumentId) -> bool {
        self.rows.get(instrument.index()).is_some_and(|row| row.is_held)
    }

    /// Does an order of unknown outcome freeze the instrument?
    #[must_use]
    pub fn is_frozen(&self, instrument: InstrumentId) -> bool {
        self.rows.get(instrument.index()).is_some_and(|row| row.unknown_count > 0)
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> &RiskLimits {
        &self.limits
    }

    /// The largest market order that the size limits let through at `price`, for closing a position in pieces; `None` when
    /// the numbers do not fit. A buy is valued at the end of the price collar, as the review values it.
    #[must_use]
    pub fn market_order_max(&self, instrument: InstrumentId, side: Side, price: Price) -> Option<Quantity> {
        let limits = self.limits.of(instrument);
        let value = limits.order_notional_max?;
        let reach = if side == Side::Buy { limits.price_collar_bps.unwrap_or_default() } else { 0 };
        let worst = Quantity::new(price.mantissa().checked_mul(10_000 + i64::from(reach))?, price.scale()).ok()?;
        // One part in a hundred is left for a market that moves before the review.
        let quantity = value.mul_div(Quantity::from_int(9_900), worst, 8).ok()?.to_quantity().ok()?;
        Some(limits.order_quantity_max.map_or(quantity, |max| max.min(quantity)))
    }

    /// Orders denied so far.
    #[must_use]
    pub const fn denied_total(&self) -> u64 {
        self.denied_total
    }

    /// Orders approved so far.
    #[must_use]
    pub const fn approved_total(&self) -> u64 {
        self.approved_total
    }

    /// Orders that hold a reservation.
    #[must_use]
    pub const fn open_orders(&self) -> u32 {
        self.open_orders
    }

    /// Projected gross exposure.
    #[must_use]
    pub fn gross_exposure(&self) -> Notional {
        to_notional(self.gross)
    }

    /// Profit since the UTC day began (or a person resumed): realised, open, fees included where they can be valued.
    #[must_use]
    pub fn day_pnl(&self) -> Notional {
        to_notional(self.day_pnl_money())
    }

    /// What is still free of an asset next to what our open orders hold; `None` before the venue has reported it.
    #[must_use]
    pub fn available(&self, asset: Asset) -> Option<Notional> {
        let row = self.ledger.by_asset(asset).filter(|row| row.is_known)?;
        Some(to_notional(row.total.saturating_sub(row.reserved)))
    }

    /// The largest quantity of an order of `side` that can only reduce, by position and, on spot, by what is held free.
    #[must_use]
    pub fn closable(&self, instrument: InstrumentId, side: Side) -> Quantity {
        let Some(row) = self.rows.get(instrument.index()) else { return Quantity::ZERO };
        let mut left = match side {
            Side::Sell => row.position.saturating_sub(row.open_sell),
            Side::Buy => row.position.saturating_neg().saturating_sub(row.open_buy),
        };
        if row.kind == InstrumentKind::Spot && side == Side::Sell {
            let free = self.ledger.get(row.base).map_or(0, |asset| asset.total.saturating_sub(asset.reserved));
            let free = units_within(free.max(0), row.quantity_scale);
            left = left.min(free);
        }
        Quantity::new(left.max(0), row.quantity_scale).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
