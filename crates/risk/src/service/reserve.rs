//! Reservations of open orders, and what fills do to them.

use super::{HOUSE, RiskService};
use crate::row::{Credit, Reservation, Sized, print_of};
use crate::units::{money_down, money_up, notional_up, price_units, quantity_units};
use keel_model::{
    ClientOrderId, Fill, InstrumentId, InstrumentKind, NewOrder, Notional, OrderPurpose, Quantity, Rounding, Side,
    StrategyId, Timestamp,
};

impl RiskService {
    pub(super) fn reserve(&mut self, order: &NewOrder, sized: &Sized, now: Timestamp) {
        self.approved_total += 1;
        let rests = sized.limit.is_some();
        let reservation = Reservation {
            id: order.client_order_id,
            side: sized.side,
            remaining: sized.quantity,
            price: sized.price,
            rests,
            stop: sized.stop,
            is_unknown: false,
            strategy: order.strategy,
            is_protective: order.intent.purpose == OrderPurpose::Protective,
            placed: now,
            has_filled: false,
        };
        self.guards.counts.on_order(now);
        if let Some(row) = self.rows.get_mut(order.intent.instrument.index()) {
            row.remember(print_of(sized, order.intent.order_type), now);
        }
        self.add(order.intent.instrument, reservation);
    }

    pub(super) fn add(&mut self, instrument: InstrumentId, reservation: Reservation) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        debug_assert!(row.find(reservation.id).is_none(), "one order reserves once");
        row.last_price = reservation.price;
        row.open.push(reservation);
        row.unknown_count += u32::from(reservation.is_unknown);
        self.open_orders += 1;
        self.shift(instrument, reservation.side, 0, reservation.remaining, reservation.price);
    }

    /// Moves sums from `before` to `after` quantity of one order.
    pub(super) fn shift(&mut self, instrument: InstrumentId, side: Side, before: i64, after: i64, price: i64) {
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

    pub(super) fn update_exposure(&mut self, instrument: InstrumentId) {
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        let projected = row.projected(None, &Credit::default()).unwrap_or(i64::MAX);
        let exposure = row.value(projected, row.valuation()).unwrap_or(i128::MAX);
        self.gross = self.gross.saturating_sub(row.exposure).saturating_add(exposure);
        row.exposure = exposure;
    }

    pub(super) fn credit_of(&self, instrument: InstrumentId, id: ClientOrderId) -> Credit {
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
                let reservation = Reservation {
                    id,
                    side,
                    remaining,
                    price,
                    rests,
                    stop: intent.stop_price.and_then(|price| price_units(price, row.price_scale)),
                    is_unknown,
                    strategy: order.strategy,
                    is_protective: intent.purpose == OrderPurpose::Protective,
                    placed: Timestamp::ZERO,
                    has_filled: false,
                };
                self.add(intent.instrument, reservation);
            }
        }
    }

    /// Does the order rest in the venue's book? One that the venue does not know holds its reservation, but nothing matches it.
    pub fn set_rests(&mut self, instrument: InstrumentId, id: ClientOrderId, rests: bool) {
        if let Some(own) = self.open_mut(instrument, id) {
            own.rests = rests;
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
        self.guard_release(instrument, id);
        true
    }

    /// Books a fill: position, profit, balances, and what its order still holds. Each fill must be given exactly once. Its
    /// strategy is that of the order's reservation; a fill without one is the house's.
    pub fn on_fill(&mut self, id: Option<ClientOrderId>, fill: &Fill) {
        let own = id.and_then(|id| {
            let row = self.rows.get(fill.instrument.index())?;
            row.find(id).and_then(|at| row.open.get(at))
        });
        let (strategy, is_stop) = own.map_or((HOUSE, false), |own| (own.strategy, own.is_protective));
        self.on_fill_of(id, strategy, is_stop, fill);
    }

    /// Books a fill of a strategy's order; `is_stop` when the order was there to protect a position.
    pub fn on_fill_of(&mut self, id: Option<ClientOrderId>, strategy: StrategyId, is_stop: bool, fill: &Fill) {
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
        row.last_price = price;
        row.position = row.position.saturating_add(keel_model::mutant!(35, quantity, 0).saturating_mul(sign));
        row.cash = row.cash.saturating_sub(value.saturating_mul(sign.into()));
        let (base_slot, quote_slot, is_spot) = (row.base, row.quote, row.kind == InstrumentKind::Spot);
        let open = id.and_then(|id| row.find(id)).and_then(|at| row.open.get_mut(at)).map(|own| {
            let before = own.remaining;
            own.remaining = before.saturating_sub(quantity).max(0);
            if !std::mem::replace(&mut own.has_filled, true) && own.placed != Timestamp::ZERO {
                self.guards.counts.on_first_fill(own.placed);
            }
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
        let fee = self.book_fee(fill, base_slot, quote_slot);
        self.guard_fill(strategy, is_stop, fill, quantity.saturating_mul(sign), price, fee);
        self.mark(fill.instrument);
    }

    /// Fees count against the day where they can be valued: paid in the quote asset or in the base asset.
    fn book_fee(&mut self, fill: &Fill, base_slot: usize, quote_slot: usize) -> i128 {
        let is = |slot: usize| self.ledger.get(slot).is_some_and(|row| row.asset == fill.fee_asset);
        let value = if is(quote_slot) {
            notional_up(fill.fee)
        } else if is(base_slot) {
            let fee = fill.fee.to_quantity().ok();
            fee.and_then(|fee| notional_up(Notional::of(fill.price, fee)))
        } else {
            Some(0)
        };
        let value = value.unwrap_or(0);
        self.fees = self.fees.saturating_add(value);
        value
    }
}

/// A quantity in units, rounded away from zero where it is finer than the instrument's step.
fn quantity_ceiling(quantity: Quantity, scale: u8) -> i64 {
    quantity_units(quantity, scale).unwrap_or_else(|| {
        let step = Quantity::new(1, scale).unwrap_or_default();
        let rounding = if quantity.is_negative() { Rounding::Down } else { Rounding::Up };
        quantity.round_to_step(step, rounding).ok().and_then(|up| quantity_units(up, scale)).unwrap_or(i64::MAX)
    })
}
