//! What risk knows of one instrument: its rules and limits as whole numbers, the live reference, and cached sums over
//! position and open orders.

use crate::alerts::KillCause;
use crate::breaker::Breaker;
use crate::denied::{DenyReason, Filter};
use crate::ledger::Ledger;
use crate::limits::RiskLimits;
use crate::units::{money_up, notional_down, notional_up, price_units, quantity_units};
use crate::window::PriceWindow;
use keel_model::{
    ClientOrderId, Instrument, InstrumentKind, OrderIntent, OrderType, Price, Quantity, Side, StrategyId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// How many of the last orders the duplicate detector remembers.
const RECENT_COUNT: usize = 8;

/// What one open order holds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) id: ClientOrderId,
    pub(crate) side: Side,
    /// Quantity that may still fill.
    pub(crate) remaining: i64,
    /// Limit price, or the worst price assumed for an order without one.
    pub(crate) price: i64,
    /// Does it rest in the book, so that an order of ours could trade with it?
    pub(crate) rests: bool,
    /// Until the price comes near this trigger it does not rest yet.
    #[serde(default)]
    pub(crate) stop: Option<i64>,
    /// Is its outcome unknown?
    pub(crate) is_unknown: bool,
    /// Whose order.
    pub(crate) strategy: StrategyId,
    /// Does it protect a position?
    pub(crate) is_protective: bool,
    /// When it was approved; zero when that was in a former run.
    pub(crate) placed: Timestamp,
    /// Has something of it filled?
    pub(crate) has_filled: bool,
}

/// An order in units of its instrument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sized {
    pub(crate) side: Side,
    pub(crate) quantity: i64,
    /// Limit price where there is one.
    pub(crate) limit: Option<i64>,
    pub(crate) stop: Option<i64>,
    /// The worst price that it may trade at, for value and reservation.
    pub(crate) price: i64,
}

/// The live reference price.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reference {
    /// The quote as it came; the same quote again costs a comparison.
    raw: (Price, Price),
    pub(crate) bid: i64,
    pub(crate) ask: i64,
    pub(crate) mid: i64,
    pub(crate) ts: Timestamp,
    /// Bid and ask positive, not crossed.
    pub(crate) is_sane: bool,
    /// The price jumped to `mid` and has not held long enough.
    pub(crate) jump: Option<(i64, Timestamp)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    // Rules.
    pub(crate) kind: InstrumentKind,
    pub(crate) is_tradable: bool,
    pub(crate) is_allowed: bool,
    pub(crate) is_foreign_quote: bool,
    pub(crate) price_scale: u8,
    pub(crate) quantity_scale: u8,
    tick: i64,
    price_min: i64,
    price_max: i64,
    lot: [i64; 3],
    market_lot: [i64; 3],
    notional_min: i128,
    notional_min_market: bool,
    notional_max: i128,
    pub(crate) open_orders_max: u32,
    pub(crate) base: usize,
    pub(crate) quote: usize,
    // Limits.
    pub(crate) order_quantity_max: i64,
    pub(crate) order_notional_max: i128,
    pub(crate) position_quantity_max: i64,
    pub(crate) position_notional_max: i128,
    pub(crate) collar_bps: u32,
    // Live.
    pub(crate) reference: Reference,
    pub(crate) is_feed_live: bool,
    pub(crate) is_held: bool,
    // Sums.
    pub(crate) position: i64,
    pub(crate) cash: i128,
    pub(crate) pnl: i128,
    /// What to value with before there is a quote: the price of the last fill or order.
    pub(crate) last_price: i64,
    pub(crate) open_buy: i64,
    pub(crate) open_sell: i64,
    pub(crate) unknown_count: u32,
    pub(crate) exposure: i128,
    pub(crate) open: Vec<Reservation>,
    recent: [(u64, Timestamp); RECENT_COUNT],
    recent_next: usize,
    // Guards.
    pub(crate) window: PriceWindow,
    pub(crate) volatility: Breaker,
    pub(crate) killed: Option<KillCause>,
    /// Is it killed, or its breaker not closed, so that a review has to look closer?
    pub(crate) is_guarded: bool,
}

fn triple(scale: u8, values: [Quantity; 3]) -> Option<[i64; 3]> {
    let [min, max, step] = values;
    Some([quantity_units(min, scale)?, quantity_units(max, scale)?, quantity_units(step, scale)?])
}

impl Row {
    /// Compiles an instrument and its limits. `None` when its numbers do not fit: such an instrument cannot be traded.
    pub(crate) fn compile(instrument: &Instrument, limits: &RiskLimits, ledger: &mut Ledger) -> Option<Self> {
        let own = limits.of(instrument.id);
        let step = if instrument.lot.step.is_zero() { instrument.market_lot.step } else { instrument.lot.step };
        // The finest scale that any rule uses; whole tick units keep later divisions short.
        let scales = [instrument.tick_size, instrument.min_price, instrument.max_price].map(|p| p.normalized().scale());
        let price_scale = if instrument.tick_size.is_zero() { 8 } else { scales.into_iter().max()? };
        let lots = [instrument.lot, instrument.market_lot];
        let lot_scales = lots.iter().flat_map(|lot| [lot.min, lot.max, lot.step]).map(|q| q.normalized().scale());
        let quantity_scale = if step.is_zero() { 8 } else { lot_scales.max()? };
        let units = |value: Quantity| {
            let floor = value.round_to_step(Quantity::new(1, quantity_scale).ok()?, keel_model::Rounding::Down).ok()?;
            quantity_units(floor, quantity_scale)
        };
        let or_none = |value: Option<Quantity>| value.map_or(Some(i64::MAX), units);
        let is_allowed = limits.instruments_allowed.as_ref().is_none_or(|list| list.contains(&instrument.id));
        Some(Self {
            kind: instrument.kind,
            is_tradable: instrument.status.is_tradable(),
            is_allowed,
            is_foreign_quote: instrument.quote != limits.quote_asset,
            price_scale,
            quantity_scale,
            tick: price_units(instrument.tick_size, price_scale)?,
            price_min: price_units(instrument.min_price, price_scale)?,
            price_max: price_units(instrument.max_price, price_scale)?,
            lot: triple(quantity_scale, [instrument.lot.min, instrument.lot.max, instrument.lot.step])?,
            market_lot: triple(
                quantity_scale,
                [instrument.market_lot.min, instrument.market_lot.max, instrument.market_lot.step],
            )?,
            notional_min: notional_up(instrument.min_notional)?,
            notional_min_market: instrument.min_notional_applies_to_market,
            notional_max: instrument.max_notional.map_or(Some(i128::MAX), notional_down)?,
            open_orders_max: match instrument.max_open_orders {
                0 => limits.open_orders_per_instrument_max,
                max => max.min(limits.open_orders_per_instrument_max),
            },
            base: ledger.slot(instrument.base),
            quote: ledger.slot(instrument.quote),
            order_quantity_max: or_none(own.order_quantity_max)?,
            order_notional_max: own.order_notional_max.and_then(notional_down)?,
            position_quantity_max: or_none(own.position_quantity_max)?,
            position_notional_max: own.position_notional_max.and_then(notional_down)?,
            collar_bps: own.price_collar_bps?,
            reference: Reference::default(),
            is_feed_live: true,
            is_held: false,
            position: 0,
            cash: 0,
            pnl: 0,
            last_price: 0,
            open_buy: 0,
            open_sell: 0,
            unknown_count: 0,
            exposure: 0,
            open: Vec::with_capacity(16),
            recent: [(0, Timestamp::ZERO); RECENT_COUNT],
            recent_next: 0,
            window: PriceWindow::new(limits.guards.price_window_ms),
            volatility: Breaker::new(0, 0, limits.guards.breaker_timeout_ms),
            killed: None,
            is_guarded: false,
        })
    }

    /// Takes over what is live from the row that this one replaces. `None` when the new scales cannot hold it.
    pub(crate) fn inherit(mut self, old: &Self) -> Option<Self> {
        if (self.price_scale, self.quantity_scale) != (old.price_scale, old.quantity_scale) {
            let price = |value: i64| crate::units::rescale(value, old.price_scale, self.price_scale);
            let quantity = |value: i64| crate::units::rescale(value, old.quantity_scale, self.quantity_scale);
            let (from, to) = (old.price_scale + old.quantity_scale, self.price_scale + self.quantity_scale);
            self.cash = crate::units::rescale(i64::try_from(old.cash).ok()?, from, to)?.into();
            self.position = quantity(old.position)?;
            self.open_buy = quantity(old.open_buy)?;
            self.open_sell = quantity(old.open_sell)?;
            self.last_price = price(old.valuation()).unwrap_or(0);
            for order in &old.open {
                let (remaining, price) = (quantity(order.remaining)?, price(order.price)?);
                let stop = order.stop.and_then(|stop| crate::units::rescale(stop, old.price_scale, self.price_scale));
                self.open.push(Reservation { remaining, price, stop, ..*order });
            }
        } else {
            (self.cash, self.position) = (old.cash, old.position);
            (self.open_buy, self.open_sell) = (old.open_buy, old.open_sell);
            self.open.extend_from_slice(&old.open);
            (self.reference, self.last_price) = (old.reference, old.last_price);
            self.window = old.window.clone();
        }
        self.volatility = old.volatility.clone();
        (self.killed, self.is_guarded) = (old.killed, old.is_guarded);
        (self.pnl, self.exposure) = (old.pnl, old.exposure);
        (self.unknown_count, self.is_held, self.is_feed_live) = (old.unknown_count, old.is_held, old.is_feed_live);
        (self.recent, self.recent_next) = (old.recent, old.recent_next);
        Some(self)
    }

    /// A new best bid and ask. Crossed, empty or jumping quotes are remembered as such (RC-16).
    #[inline]
    pub(crate) fn on_quote(&mut self, bid: Price, ask: Price, ts: Timestamp, jump_bps: u32, hold_ms: u64) {
        let reference = &mut self.reference;
        reference.ts = ts;
        let is_same = |a: Price, b: Price| a.mantissa() == b.mantissa() && a.scale() == b.scale();
        if reference.is_sane
            && reference.jump.is_none()
            && is_same(bid, reference.raw.0)
            && is_same(ask, reference.raw.1)
        {
            self.window.note(reference.mid, ts);
            return;
        }
        reference.raw = (bid, ask);
        let units = (price_units(bid, self.price_scale), price_units(ask, self.price_scale));
        let (Some(bid), Some(ask)) = units else {
            reference.is_sane = false;
            return;
        };
        reference.is_sane = bid > 0 && ask >= bid;
        if !reference.is_sane {
            return;
        }
        let mid = bid + (ask - bid) / 2;
        let anchor = reference.jump.map_or(reference.mid, |(anchor, _)| anchor);
        let is_far =
            anchor != 0 && i128::from(mid.abs_diff(anchor)) * 10_000 > i128::from(anchor) * i128::from(jump_bps);
        if is_far {
            reference.jump = Some((mid, ts));
        } else if reference.jump.is_some_and(|(_, since)| ts.since(since).as_millis() >= u128::from(hold_ms)) {
            reference.jump = None;
        }
        (reference.bid, reference.ask, reference.mid) = (bid, ask, mid);
        // A price that is not believed yet is none.
        if reference.jump.is_none() {
            self.window.note(mid, ts);
        }
    }

    /// What an open position in a derivative has lost, in money, gains not counted.
    pub(crate) fn derivative_loss(&self) -> i128 {
        if self.kind == InstrumentKind::LinearPerpetual { self.pnl.saturating_neg().max(0) } else { 0 }
    }

    pub(crate) fn refresh(&mut self) {
        self.is_guarded = self.killed.is_some() || !self.volatility.is_closed();
    }

    /// What is worth less than this, in money, is dust: the venue takes no order that small.
    pub(crate) const fn dust(&self) -> i128 {
        self.notional_min
    }

    /// The price to value positions with: the mid price, or before any quote the last price that was heard of.
    #[inline]
    pub(crate) const fn valuation(&self) -> i64 {
        if self.reference.mid != 0 { self.reference.mid } else { self.last_price }
    }

    /// Is there a reference that may decide (RC-15, RC-16)?
    #[inline]
    pub(crate) fn check_reference(&self, now: Timestamp, age_ms_max: u64) -> Result<(), DenyReason> {
        if self.reference.ts == Timestamp::ZERO {
            return Err(DenyReason::NoReference);
        }
        if !self.is_feed_live {
            return Err(DenyReason::FeedNotLive);
        }
        let age_ns = now.as_ns().saturating_sub(self.reference.ts.as_ns());
        if age_ns > age_ms_max.saturating_mul(1_000_000) {
            return Err(DenyReason::StaleReference { age_ms: age_ns / 1_000_000 });
        }
        if !self.reference.is_sane {
            return Err(DenyReason::BadReference);
        }
        if self.reference.jump.is_some() {
            return Err(DenyReason::ReferenceJump);
        }
        Ok(())
    }

    /// Brings an intent into units and checks the venue's filters (RC-17). Needs a checked reference.
    #[inline]
    pub(crate) fn size(&self, intent: &OrderIntent) -> Result<Sized, DenyReason> {
        let kind = intent.order_type;
        if intent.price.is_some() != kind.has_price() || intent.stop_price.is_some() != kind.has_stop_price() {
            return Err(DenyReason::Filter(Filter::PriceShape));
        }
        let limit = intent.price.map(|price| self.check_price(price)).transpose()?;
        let stop = intent.stop_price.map(|price| self.check_price(price)).transpose()?;
        let quantity = quantity_units(intent.quantity, self.quantity_scale).ok_or(DenyReason::Filter(Filter::Lot))?;
        check_lot(&self.lot, quantity)?;
        if limit.is_none() {
            check_lot(&self.market_lot, quantity)?;
        }
        let price = match (limit, stop) {
            (Some(limit), _) => limit,
            (None, Some(stop)) => self.with_collar(stop, intent.side),
            (None, None) => self.with_collar(self.touch(intent.side), intent.side),
        };
        Ok(Sized { side: intent.side, quantity, limit, stop, price })
    }

    fn check_price(&self, price: Price) -> Result<i64, DenyReason> {
        let units = price_units(price, self.price_scale).ok_or(DenyReason::Filter(Filter::Price))?;
        if units <= 0 {
            return Err(DenyReason::Filter(Filter::PriceShape));
        }
        let above = self.price_max != 0 && units > self.price_max;
        if units < self.price_min || above || (self.tick != 0 && units % self.tick != 0) {
            return Err(DenyReason::Filter(Filter::Price));
        }
        Ok(units)
    }

    /// The price that an order of `side` would trade at now.
    #[inline]
    pub(crate) fn touch(&self, side: Side) -> i64 {
        match side {
            Side::Buy => self.reference.ask,
            Side::Sell => self.reference.bid,
        }
    }

    /// The worst believable price from `price` on: a buy pays more, a sell is still valued at the full price.
    fn with_collar(&self, price: i64, side: Side) -> i64 {
        match side {
            Side::Buy => price.saturating_add((i128::from(price) * i128::from(self.collar_bps) / 10_000) as i64),
            Side::Sell => price,
        }
    }

    /// The price collar (RC-03): a buy not above, a sell not below the reference by more than the collar. Stop orders are
    /// measured from their trigger.
    #[inline]
    pub(crate) fn check_collar(&self, order: &Sized) -> Result<(), DenyReason> {
        let Some(limit) = order.limit else { return Ok(()) };
        let reference = order.stop.unwrap_or_else(|| self.touch(order.side));
        let through = match order.side {
            Side::Buy => i128::from(limit) - i128::from(reference),
            Side::Sell => i128::from(reference) - i128::from(limit),
        };
        if through * 10_000 <= i128::from(reference) * i128::from(self.collar_bps) {
            return Ok(());
        }
        let price = |units| Price::new(units, self.price_scale).unwrap_or_default();
        Err(DenyReason::PriceCollar { price: price(limit), reference: price(reference), bps_max: self.collar_bps })
    }

    /// Value of `quantity` at `price` in money, rounded up.
    #[inline]
    pub(crate) fn value(&self, quantity: i64, price: i64) -> Option<i128> {
        money_up(i128::from(quantity) * i128::from(price), self.price_scale + self.quantity_scale)
    }

    /// Size and value of one order against limits (RC-01, RC-02) and the venue's value filter. Answers the value.
    #[inline]
    pub(crate) fn check_size(&self, order: &Sized) -> Result<i128, DenyReason> {
        if order.quantity > self.order_quantity_max {
            let quantity = |units| Quantity::new(units, self.quantity_scale).unwrap_or_default();
            let max = quantity(self.order_quantity_max);
            return Err(DenyReason::OrderQuantity { quantity: quantity(order.quantity), max });
        }
        let value = self.value(order.quantity, order.price).ok_or(DenyReason::Overflow)?;
        if value > self.order_notional_max {
            return Err(DenyReason::OrderNotional);
        }
        let min_applies = order.limit.is_some() || self.notional_min_market;
        if (min_applies && value < self.notional_min) || value > self.notional_max {
            return Err(DenyReason::Filter(Filter::Notional));
        }
        Ok(value)
    }

    /// Can the order only reduce the position, whatever becomes of our other orders?
    #[inline]
    pub(crate) fn is_reducing(&self, order: &Sized, credit: &Credit) -> bool {
        let left = match order.side {
            Side::Sell => self.position.saturating_sub(self.open_sell.saturating_sub(credit.sell)),
            Side::Buy => self.position.saturating_neg().saturating_sub(self.open_buy.saturating_sub(credit.buy)),
        };
        order.quantity <= left
    }

    /// The largest position, by amount, that open and unknown orders could lead to, with `order` on top.
    #[inline]
    pub(crate) fn projected(&self, order: Option<&Sized>, credit: &Credit) -> Option<i64> {
        let (buy, sell) = (self.open_buy.checked_sub(credit.buy)?, self.open_sell.checked_sub(credit.sell)?);
        let mut buy = keel_model::mutant!(33, buy, 0);
        let mut sell = keel_model::mutant!(34, sell, 0);
        match order.map(|order| (order.side, order.quantity)) {
            Some((Side::Buy, quantity)) => buy = buy.checked_add(quantity)?,
            Some((Side::Sell, quantity)) => sell = sell.checked_add(quantity)?,
            None => {}
        }
        let high = self.position.checked_add(buy)?.checked_abs()?;
        let low = self.position.checked_sub(sell)?.checked_abs()?;
        Some(high.max(low))
    }

    /// The best of our resting orders on the other side that `order` would trade with (RC-12).
    pub(crate) fn self_match(&self, order: &Sized, credit: Option<ClientOrderId>) -> Option<i64> {
        let crosses = |resting: &Reservation| match (order.side, order.limit) {
            (_, None) => true,
            (Side::Buy, Some(limit)) => limit >= resting.price,
            (Side::Sell, Some(limit)) => limit <= resting.price,
        };
        let other_side_open = match order.side {
            Side::Buy => self.open_sell,
            Side::Sell => self.open_buy,
        };
        // A stop order trades later, against a book that nobody knows yet.
        if other_side_open == 0 || order.stop.is_some() {
            return None;
        }
        self.open
            .iter()
            .find(|own| {
                own.side != order.side
                    && own.rests
                    && Some(own.id) != credit
                    && crosses(own)
                    && own.stop.is_none_or(|stop| self.is_near(stop))
            })
            .map(|own| own.price)
    }

    /// Is the price so near a trigger, by the width of the collar, that the order behind it may be in the book any moment?
    fn is_near(&self, stop: i64) -> bool {
        let mid = self.reference.mid;
        i128::from(mid.abs_diff(stop)) * 10_000 <= i128::from(mid) * i128::from(self.collar_bps)
    }

    /// Is it the same order as one of a moment ago (RC-11)? Remembers it if not.
    pub(crate) fn is_duplicate(&self, print: u64, now: Timestamp, window_ms: u64) -> bool {
        let window_ns = window_ms.saturating_mul(1_000_000);
        self.recent
            .iter()
            .any(|(known, ts)| *known == print && now.as_ns().saturating_sub(ts.as_ns()) < window_ns && ts.as_ns() != 0)
    }

    pub(crate) fn remember(&mut self, print: u64, now: Timestamp) {
        if let Some(slot) = self.recent.get_mut(self.recent_next) {
            *slot = (print, now);
        }
        self.recent_next = (self.recent_next + 1) % RECENT_COUNT;
    }

    pub(crate) fn find(&self, id: ClientOrderId) -> Option<usize> {
        self.open.iter().position(|own| own.id == id)
    }
}

/// What an order that is being replaced gives back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credit {
    pub(crate) buy: i64,
    pub(crate) sell: i64,
    pub(crate) base: i128,
    pub(crate) quote: i128,
    pub(crate) id: Option<ClientOrderId>,
}

#[inline]
fn check_lot(rule: &[i64; 3], quantity: i64) -> Result<(), DenyReason> {
    let [min, max, step] = *rule;
    if quantity <= 0 || quantity < min || (max != 0 && quantity > max) || (step != 0 && quantity % step != 0) {
        return Err(DenyReason::Filter(Filter::Lot));
    }
    Ok(())
}

/// What makes two orders equal for the duplicate detector.
#[inline]
pub(crate) fn print_of(order: &Sized, order_type: OrderType) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |hash: u64, value: u64| (hash ^ value).wrapping_mul(ODD).rotate_left(29);
    let mut hash = fold(ODD, order.side as u64 + 1);
    hash = fold(hash, order_type as u64 + 1);
    hash = fold(hash, order.quantity as u64);
    hash = fold(hash, order.limit.unwrap_or(-1) as u64);
    fold(hash, order.stop.unwrap_or(-1) as u64)
}
