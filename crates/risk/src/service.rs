//! The review, the reservations and the trading state. One owner calls it from one thread; see the crate's rules.

use crate::approved::Approved;
use crate::denied::{Denied, DenyReason, Filter};
use crate::ledger::Ledger;
use crate::limits::{LimitError, RiskLimits};
use crate::row::{Credit, Reservation, Row, Sized, print_of};
use crate::snapshot::{ReservationView, RiskSnapshot};
use crate::throttle::Throttle;
use crate::units::{
    money_down, money_up, notional_down, notional_up, price_units, quantity_units, to_notional, units_within,
};
use keel_model::{
    Asset, Balance, ClientOrderId, Fill, Instrument, InstrumentId, InstrumentKind, Instruments, NewOrder, Notional,
    Price, Quantity, ReplaceOrder, Side, StrategyId, Timestamp, TradingState,
};

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
    is_loss_latched: bool,
    breach: bool,
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
            is_loss_latched: false,
            breach: false,
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
                Ok(Approved::new(order, is_reducing))
            }
            Err(reason) => Err(self.deny(&order, reason)),
        }
    }

    /// Reviews the new half of a cancel-replace. What the old order holds is counted as given back, since the venue places
    /// the new one only after the old one is gone; its reservation stays until its end is known.
    pub fn review_replace(&mut self, replace: ReplaceOrder, now: Timestamp) -> Result<Approved<ReplaceOrder>, Denied> {
        let credit = self.credit_of(replace.cancel.instrument, replace.cancel.client_order_id);
        let credit =
            if replace.cancel.instrument == replace.new.intent.instrument { credit } else { Credit::default() };
        match self.check(&replace.new, now, &credit) {
            Ok((sized, is_reducing)) => {
                self.reserve(&replace.new, &sized, now);
                Ok(Approved::new(replace, is_reducing))
            }
            Err(reason) => Err(self.deny(&replace.new, reason)),
        }
    }

    #[cold]
    fn deny(&mut self, order: &NewOrder, reason: DenyReason) -> Denied {
        self.denied_total += 1;
        let (client_order_id, strategy, instrument) = (order.client_order_id, order.strategy, order.intent.instrument);
        Denied { client_order_id, strategy, instrument, control: reason.control(), reason }
    }

    #[inline]
    fn check(&mut self, order: &NewOrder, now: Timestamp, credit: &Credit) -> Result<(Sized, bool), DenyReason> {
        let is_house = order.strategy == HOUSE;
        // Every attempt counts towards the rate, also one that something else denies.
        let has_token = self.throttle.take(now);
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
        if !has_token && !(is_house && is_reducing) {
            return Err(DenyReason::Rate);
        }
        if !is_reducing {
            self.check_opening(row, &sized, intent.reduce_only, credit)?;
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
    fn check_opening(&self, row: &Row, order: &Sized, reduce_only: bool, credit: &Credit) -> Result<(), DenyReason> {
        if reduce_only {
            return Err(DenyReason::NotReducing);
        }
        if self.is_loss_latched {
            return Err(DenyReason::DailyLoss);
        }
        if self.state != TradingState::Active {
            return Err(DenyReason::OnlyReducing);
        }
        if row.is_held {
            return Err(DenyReason::Held);
        }
        if row.unknown_count > 0 {
            return Err(DenyReason::Frozen);
        }
        if row.is_foreign_quote {
            return Err(DenyReason::ForeignQuote);
        }
        let projected = row.projected(Some(order), credit).ok_or(DenyReason::Overflow)?;
        if projected > row.position_quantity_max {
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
        }
        Ok(())
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

    // ── Reservations ──

    fn reserve(&mut self, order: &NewOrder, sized: &Sized, now: Timestamp) {
        self.approved_total += 1;
        let rests = sized.limit.is_some();
        let reservation = Reservation {
            id: order.client_order_id,
            side: sized.side,
            remaining: sized.quantity,
            price: sized.price,
            rests,
            is_unknown: false,
        };
        if let Some(row) = self.rows.get_mut(order.intent.instrument.index()) {
            row.remember(print_of(sized, order.intent.order_type), now);
        }
        self.add(order.intent.instrument, reservation);
    }

    fn add(&mut self, instrument: InstrumentId, reservation: Reservation) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        debug_assert!(row.find(reservation.id).is_none(), "one order reserves once");
        row.open.push(reservation);
        row.unknown_count += u32::from(reservation.is_unknown);
        self.open_orders += 1;
        self.shift(instrument, reservation.side, 0, reservation.remaining, reservation.price);
    }

    /// Moves sums from `before` to `after` quantity of one order.
    fn shift(&mut self, instrument: InstrumentId, side: Side, before: i64, after: i64, price: i64) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let open = match side {
            Side::Buy => &mut row.open_buy,
            Side::Sell => &mut row.open_sell,
        };
        *open = open.saturating_sub(before).saturating_add(after);
        let (slot, before, after) = match side {
            Side::Buy => (row.quote, row.value(before, price), row.value(after, price)),
            Side::Sell => {
                (row.base, money_up(before.into(), row.quantity_scale), money_up(after.into(), row.quantity_scale))
            }
        };
        if row.kind == InstrumentKind::Spot {
            self.ledger.reserve(slot, after.unwrap_or(0).saturating_sub(before.unwrap_or(0)));
        }
        self.update_exposure(instrument);
    }

    fn update_exposure(&mut self, instrument: InstrumentId) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let projected = row.projected(None, &Credit::default()).unwrap_or(i64::MAX);
        let exposure = row.value(projected, row.reference.mid).unwrap_or(i128::MAX);
        self.gross = self.gross.saturating_sub(row.exposure).saturating_add(exposure);
        row.exposure = exposure;
    }

    fn credit_of(&self, instrument: InstrumentId, id: ClientOrderId) -> Credit {
        let Some(row) = self.rows.get(instrument.index()) else { return Credit::default() };
        let Some(own) = row.find(id).and_then(|at| row.open.get(at)) else { return Credit::default() };
        let base = money_up(own.remaining.into(), row.quantity_scale).unwrap_or(0);
        match own.side {
            Side::Buy => {
                let quote = row.value(own.remaining, own.price).unwrap_or(0);
                Credit { buy: own.remaining, quote, id: Some(id), ..Credit::default() }
            }
            Side::Sell => Credit { sell: own.remaining, base, id: Some(id), ..Credit::default() },
        }
    }

    /// Makes the reservation of an order what its owner knows: `remaining` may still fill. An order without one (restored
    /// from the journal, adopted from the venue, risen again) gets one; nothing remaining and not unknown needs none.
    pub fn sync(&mut self, order: &NewOrder, remaining: Quantity, is_unknown: bool) {
        let intent = &order.intent;
        let Some(row) = self.rows.get(intent.instrument.index()) else { return };
        let (id, side) = (order.client_order_id, intent.side);
        let remaining = quantity_ceiling(remaining, row.quantity_scale).max(0);
        let known = row.find(id).and_then(|at| row.open.get(at)).copied();
        match known {
            Some(own) if own.remaining == remaining && own.is_unknown == is_unknown => {}
            Some(own) => {
                if let Some(slot) = self.open_mut(intent.instrument, id) {
                    slot.remaining = remaining;
                }
                self.shift(intent.instrument, side, own.remaining, remaining, own.price);
                self.set_unknown(intent.instrument, id, is_unknown);
            }
            None => {
                let price = intent.price.or(intent.stop_price).and_then(|price| price_units(price, row.price_scale));
                let price = price.unwrap_or_else(|| row.touch(side));
                let rests = intent.price.is_some();
                self.add(intent.instrument, Reservation { id, side, remaining, price, rests, is_unknown });
            }
        }
    }

    fn open_mut(&mut self, instrument: InstrumentId, id: ClientOrderId) -> Option<&mut Reservation> {
        let row = self.rows.get_mut(instrument.index())?;
        let at = row.find(id)?;
        row.open.get_mut(at)
    }

    fn set_unknown(&mut self, instrument: InstrumentId, id: ClientOrderId, is_unknown: bool) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let Some(at) = row.find(id) else { return };
        let Some(own) = row.open.get_mut(at).filter(|own| own.is_unknown != is_unknown) else { return };
        own.is_unknown = is_unknown;
        row.unknown_count =
            if is_unknown { row.unknown_count.saturating_add(1) } else { row.unknown_count.saturating_sub(1) };
    }

    /// The order can fill no further: what it still holds is free. Answers whether it held anything.
    pub fn release(&mut self, instrument: InstrumentId, id: ClientOrderId) -> bool {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return false };
        let Some(at) = row.find(id) else { return false };
        let own = row.open.swap_remove(at);
        row.unknown_count = row.unknown_count.saturating_sub(u32::from(own.is_unknown));
        self.open_orders = self.open_orders.saturating_sub(1);
        self.shift(instrument, own.side, own.remaining, 0, own.price);
        true
    }

    /// Books a fill: position, profit, balances, and what its order still holds. Each fill must be given exactly once.
    pub fn on_fill(&mut self, id: Option<ClientOrderId>, fill: &Fill) {
        let Some(row) = self.rows.get_mut(fill.instrument.index()) else { return };
        let quantity = quantity_ceiling(fill.quantity, row.quantity_scale);
        let Some(price) = price_units(fill.price, row.price_scale) else {
            // A price off our scale cannot be booked exactly: hold, and let reconciliation and a person look.
            row.is_held = true;
            return;
        };
        let scale = row.price_scale + row.quantity_scale;
        let value = i128::from(quantity) * i128::from(price);
        let base = money_down(quantity.into(), row.quantity_scale).unwrap_or(0);
        let quote = money_up(value, scale).unwrap_or(0);
        let sign = fill.side.sign();
        row.position = row.position.saturating_add(quantity.saturating_mul(sign));
        row.cash = row.cash.saturating_sub(value.saturating_mul(sign.into()));
        let (base_slot, quote_slot, is_spot) = (row.base, row.quote, row.kind == InstrumentKind::Spot);
        let open = id.and_then(|id| row.find(id)).and_then(|at| row.open.get_mut(at)).map(|own| {
            let before = own.remaining;
            own.remaining = before.saturating_sub(quantity).max(0);
            (own.side, before, own.remaining, own.price)
        });
        if is_spot {
            self.ledger.book(base_slot, base.saturating_mul(sign.into()), fill.ts_event);
            self.ledger.book(quote_slot, quote.saturating_mul(i128::from(-sign)), fill.ts_event);
            self.ledger.book_fee(fill.fee_asset, fill.fee, fill.ts_event);
        }
        match open {
            Some((side, before, after, price)) => self.shift(fill.instrument, side, before, after, price),
            None => self.update_exposure(fill.instrument),
        }
        self.book_fee(fill, base_slot, quote_slot);
        self.mark(fill.instrument);
    }

    /// Fees count against the day where they can be valued: paid in the quote asset or in the base asset.
    fn book_fee(&mut self, fill: &Fill, base_slot: usize, quote_slot: usize) {
        let is = |slot: usize| self.ledger.get(slot).is_some_and(|row| row.asset == fill.fee_asset);
        let value = if is(quote_slot) {
            notional_up(fill.fee)
        } else if is(base_slot) {
            let fee = fill.fee.to_quantity().ok();
            fee.and_then(|fee| notional_up(Notional::of(fill.price, fee)))
        } else {
            Some(0)
        };
        self.fees = self.fees.saturating_add(value.unwrap_or(0));
    }

    // ── Market and account ──

    /// A new best bid and ask; a side without orders is a price of zero.
    #[inline]
    pub fn on_quote(&mut self, instrument: InstrumentId, bid: Price, ask: Price, ts: Timestamp) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let before = row.reference.mid;
        row.on_quote(bid, ask, ts, self.limits.reference_jump_bps_max, self.limits.reference_jump_hold_ms);
        if row.reference.mid != before && (row.position != 0 || !row.open.is_empty()) {
            self.update_exposure(instrument);
            self.mark(instrument);
        }
    }

    /// Is the market data stream of an instrument live?
    pub fn on_feed(&mut self, instrument: InstrumentId, is_live: bool) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            row.is_feed_live = is_live;
        }
    }

    /// New rules for a known instrument, or a new instrument at the end of the table.
    pub fn set_instrument(&mut self, instrument: &Instrument) -> Result<(), RiskError> {
        let refused = || RiskError::Instrument { symbol: instrument.symbol.to_string() };
        let row = Row::compile(instrument, &self.limits, &mut self.ledger).ok_or_else(refused)?;
        let count = self.rows.len();
        match self.rows.get_mut(instrument.id.index()) {
            Some(old) => match row.inherit(old) {
                Some(row) => *old = row,
                None => {
                    old.is_held = true;
                    return Err(refused());
                }
            },
            None if instrument.id.index() == count => self.rows.push(row),
            None => return Err(refused()),
        }
        Ok(())
    }

    /// Balances as the venue reports them; all of them when `complete`.
    pub fn on_balances(&mut self, balances: &[Balance], complete: bool, ts_event: Timestamp) {
        self.ledger.on_balances(balances, complete, ts_event);
    }

    #[inline]
    fn mark(&mut self, instrument: InstrumentId) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        if row.is_foreign_quote {
            return;
        }
        let open = i128::from(row.position) * i128::from(row.reference.mid);
        let pnl = money_down(row.cash.saturating_add(open), row.price_scale + row.quantity_scale);
        let pnl = pnl.unwrap_or(row.pnl);
        self.pnl = self.pnl.saturating_sub(row.pnl).saturating_add(pnl);
        row.pnl = pnl;
        if !self.is_loss_latched && self.day_pnl_money() <= -self.loss_max {
            self.is_loss_latched = true;
            self.breach = true;
        }
    }

    fn day_pnl_money(&self) -> i128 {
        self.pnl.saturating_sub(self.fees).saturating_sub(self.day_base)
    }

    /// Tells the time, so that a new UTC day starts a new loss account. The latch stays until a person resumes.
    pub fn on_time(&mut self, now: Timestamp) {
        let day = now.as_ns() / DAY_NS;
        if day > self.day {
            self.day = day;
            self.day_base = self.pnl.saturating_sub(self.fees);
        }
    }

    /// Has the daily loss limit been reached since the last call?
    pub fn take_breach(&mut self) -> bool {
        std::mem::take(&mut self.breach)
    }

    // ── State ──

    /// What risk allows: the state that was set, narrowed by latches.
    #[must_use]
    pub const fn state(&self) -> TradingState {
        match self.state {
            TradingState::Active if self.is_loss_latched => TradingState::Reducing,
            state => state,
        }
    }

    /// Sets the trading state. A latched emergency stop keeps it `Halted`; answers whether the state holds now.
    pub fn set_state(&mut self, state: TradingState) -> bool {
        self.state = if self.is_emergency { TradingState::Halted } else { state };
        self.state == state
    }

    /// A person resumes: the loss latch and the holds are cleared and a new loss account begins. An emergency stop stays.
    pub fn resume(&mut self) -> bool {
        self.is_loss_latched = false;
        self.breach = false;
        self.day_base = self.pnl.saturating_sub(self.fees);
        for row in &mut self.rows {
            row.is_held = false;
        }
        self.set_state(TradingState::Active)
    }

    /// Kill switch (RC-18): from now on nothing but the house's own reducing orders passes. Only a new start ends it.
    pub fn emergency_stop(&mut self) {
        self.is_emergency = true;
        self.state = TradingState::Halted;
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

    // ── Freeze, save, clear ──

    /// Freezes: halts and takes the state, so that it can be saved before anything is cleared.
    pub fn freeze(&mut self, now: Timestamp) -> RiskSnapshot {
        self.state = TradingState::Halted;
        self.snapshot(now)
    }

    /// The state as it is, for a digest or a status.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> RiskSnapshot {
        let with_id = || self.rows.iter().zip(0u32..).map(|(row, id)| (row, InstrumentId(id)));
        let quantity = |row: &Row, units| Quantity::new(units, row.quantity_scale).unwrap_or_default();
        let mut reservations: Vec<ReservationView> = with_id()
            .flat_map(|(row, instrument)| {
                row.open.iter().map(move |own| ReservationView {
                    client_order_id: own.id,
                    instrument,
                    side: own.side,
                    remaining: quantity(row, own.remaining),
                    is_unknown: own.is_unknown,
                })
            })
            .collect();
        reservations.sort_by_key(|view| view.client_order_id);
        let mut slots: Vec<usize> = self.rows.iter().flat_map(|row| [row.base, row.quote]).collect();
        slots.sort_unstable();
        slots.dedup();
        RiskSnapshot {
            ts: now,
            trading_state: self.state(),
            is_emergency: self.is_emergency,
            is_loss_latched: self.is_loss_latched,
            day: self.day,
            day_pnl: self.day_pnl(),
            approved_total: self.approved_total,
            denied_total: self.denied_total,
            gross_exposure: self.gross_exposure(),
            positions: with_id().map(|(row, id)| (id, quantity(row, row.position))).collect(),
            held: with_id().filter(|(row, _)| row.is_held).map(|(_, id)| id).collect(),
            reservations,
            reserved: slots
                .into_iter()
                .filter_map(|slot| self.ledger.get(slot).map(|asset| (asset.asset, to_notional(asset.reserved))))
                .collect(),
        }
    }

    /// Takes latches and the day's loss over from a former run. Positions and reservations come back through
    /// [`Self::on_fill`] and [`Self::sync`].
    pub fn restore(&mut self, saved: &RiskSnapshot) {
        self.is_emergency |= saved.is_emergency;
        self.is_loss_latched |= saved.is_loss_latched;
        self.day = saved.day;
        let day_pnl = notional_down(saved.day_pnl).unwrap_or(0);
        self.day_base = self.pnl.saturating_sub(self.fees).saturating_sub(day_pnl);
        for id in &saved.held {
            self.hold(*id);
        }
    }

    /// Drops all reservations. Takes the snapshot as proof that the state was frozen first; answers `false`, and clears
    /// nothing, when the state has moved on since.
    pub fn clear(&mut self, saved: &RiskSnapshot) -> bool {
        if self.snapshot(saved.ts) != *saved {
            return false;
        }
        for row in &mut self.rows {
            row.open.clear();
            (row.open_buy, row.open_sell, row.unknown_count) = (0, 0, 0);
        }
        for view in &saved.reserved {
            let slot = self.ledger.slot(view.0);
            self.ledger.reserve(slot, notional_up(view.1).unwrap_or(0).saturating_neg());
        }
        self.open_orders = 0;
        for id in 0..self.rows.len() {
            self.update_exposure(InstrumentId(u32::try_from(id).unwrap_or(u32::MAX)));
        }
        true
    }
}

/// A quantity in units, rounded away from zero where it is finer than the instrument's step.
fn quantity_ceiling(quantity: Quantity, scale: u8) -> i64 {
    quantity_units(quantity, scale).unwrap_or_else(|| {
        let step = Quantity::new(1, scale).unwrap_or_default();
        let rounding = if quantity.is_negative() { keel_model::Rounding::Down } else { keel_model::Rounding::Up };
        quantity.round_to_step(step, rounding).ok().and_then(|up| quantity_units(up, scale)).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;
