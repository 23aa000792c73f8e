//! Money: what an order needs, fills and fees, giving locks back, ending orders.

use super::MatchingEngine;
use super::rules::RATE_SCALE;
use crate::accounts::{AMOUNT_SCALE, FEE_SCALE, pow10};
use crate::types::{ClientId, ExpiryReason, OrderState};
use keel_model::{ExecType, Quantity, Side};

/// A fill in integers; the fee in atoms.
#[derive(Clone, Copy, Debug)]
pub(super) struct FillInt {
    pub(super) trade_id: u64,
    pub(super) price: i64,
    pub(super) quantity: i64,
    pub(super) fee: i128,
    pub(super) fee_asset: usize,
    pub(super) is_maker: bool,
}

impl MatchingEngine {
    /// What an order must have locked for what remains of it, in atoms of the asset it gives.
    pub(super) fn need(&self, m: usize, slot: u32) -> i128 {
        let order = &self.store[slot];
        let rules = &self.markets[m].rules;
        let remaining = i128::from(order.remaining());
        let is_unlocked = self.markets[m].is_linear || (order.price == 0 && (order.stop == 0 || order.is_working));
        match order.side() {
            _ if is_unlocked => 0,
            Side::Buy => {
                let price = if order.price > 0 { order.price } else { order.stop };
                i128::from(price) * remaining * rules.quote_unit
            }
            Side::Sell => remaining * rules.base_unit,
        }
    }

    /// Gives part of an order's own lock back.
    pub(super) fn release(&mut self, m: usize, slot: u32, amount: i128) {
        if amount == 0 {
            return;
        }
        let order = &mut self.store[slot];
        order.locked -= amount;
        let (account, side) = (order.account, order.side());
        let asset = self.given_asset(m, side);
        self.accounts.unlock(account, asset, amount);
        self.touch(account);
    }

    pub(super) fn given_asset(&self, m: usize, side: Side) -> usize {
        match side {
            Side::Buy => self.markets[m].quote,
            Side::Sell => self.markets[m].base,
        }
    }

    /// Books one fill of one order: balances, fee, order state, history, report.
    pub(super) fn fill(&mut self, m: usize, slot: u32, price: i64, quantity: i64, trade_id: u64, is_maker: bool) {
        let market = &self.markets[m];
        if market.is_linear {
            return self.fill_linear(m, slot, price, quantity, trade_id, is_maker);
        }
        let (rules, base, quote) = (market.rules, market.base, market.quote);
        let units = i128::from(price) * i128::from(quantity);
        let (paid, bought) = (units * rules.quote_unit, i128::from(quantity) * rules.base_unit);
        let order = &mut self.store[slot];
        let (account, side, is_locked) = (order.account, order.side(), order.locked != 0);
        let rate = if is_maker { self.config.fees.maker } else { self.config.fees.taker };
        let (given, given_asset, got, got_asset) = match side {
            Side::Buy => (paid, quote, bought, base),
            Side::Sell => (bought, base, paid, quote),
        };
        // A locked buy had its own price locked; what the better price saves goes back to free.
        let unlocked = match side {
            Side::Buy => i128::from(order.price) * i128::from(quantity) * rules.quote_unit,
            Side::Sell => bought,
        };
        if is_locked {
            order.locked -= unlocked;
        }
        order.filled += quantity;
        order.cum_quote += units;
        order.state = if order.remaining() == 0 { OrderState::Filled } else { OrderState::PartiallyFilled };
        order.updated = self.now;
        let fee = fee_of(got, rate);
        let given_cell = self.accounts.cell_mut(account, given_asset);
        if is_locked {
            given_cell.locked -= unlocked;
            given_cell.free += unlocked - given;
        } else {
            given_cell.free -= given;
        }
        self.accounts.cell_mut(account, got_asset).free += got - fee;
        self.accounts.collect_fee(got_asset, fee);
        self.touch(account);
        let fill = FillInt { trade_id, price, quantity, fee, fee_asset: got_asset, is_maker };
        self.record(m, slot, &fill);
        self.report_fill(m, slot, &fill);
    }

    /// Remembers a fill in the account's trades.
    pub(super) fn record(&mut self, m: usize, slot: u32, fill: &FillInt) {
        let order = &self.store[slot];
        if order.is_house {
            return;
        }
        let (account, order_id, side) = (order.account, order.id, order.side());
        let list_id = (order.list > 0).then_some(order.list);
        let trade = self.account_trade(m, order_id, list_id, side, fill);
        self.remember(account, trade);
    }

    /// Ends an open order with a report.
    pub(super) fn end(&mut self, m: usize, slot: u32, state: OrderState, reason: ExpiryReason, request: ClientId) {
        self.detach(m, slot, state, reason);
        let exec_type = match state {
            OrderState::Canceled => ExecType::Canceled,
            OrderState::ExpiredInMatch => ExecType::TradePrevention,
            _ => ExecType::Expired,
        };
        let client = if request.is_empty() { self.store[slot].client_id } else { request };
        // Prevention has its own report with the counter order in it.
        if state != OrderState::ExpiredInMatch {
            self.report(m, slot, exec_type, client);
        }
        self.forget(slot);
    }

    /// Ends an open order of which the end was reported already.
    pub(super) fn end_quietly(&mut self, m: usize, slot: u32, state: OrderState, reason: ExpiryReason) {
        self.detach(m, slot, state, reason);
        self.forget(slot);
    }

    fn forget(&mut self, slot: u32) {
        let list = self.store[slot].list;
        self.store.close(slot, self.config.limits.closed_orders_max);
        self.list_leg_closed((list > 0).then_some(list));
    }

    /// Takes an order out of book and stops, gives its lock back and sets its final state.
    fn detach(&mut self, m: usize, slot: u32, state: OrderState, reason: ExpiryReason) {
        let order = &self.store[slot];
        let (side, price) = (order.side(), order.price);
        if order.is_on_book {
            let total = self.markets[m].book.remove(&mut self.store, slot);
            self.book_changed(m, side, price, total);
        } else if order.is_waiting() {
            let key = (order.stop, order.id);
            let market = &mut self.markets[m];
            market.stops_up.remove(&key);
            market.stops_down.remove(&key);
        }
        let locked = self.store[slot].locked;
        self.release(m, slot, locked);
        let order = &mut self.store[slot];
        (order.state, order.expiry, order.updated) = (state, reason, self.now);
    }
}

/// The fee on what is received, cut to eight places.
pub(super) fn fee_of(received: i128, rate: Quantity) -> i128 {
    let rate = rate.rescale(RATE_SCALE).map_or(0, Quantity::mantissa);
    if rate == 0 {
        return 0;
    }
    let cut = pow10(AMOUNT_SCALE - FEE_SCALE);
    // Divided before it is multiplied where the product would not fit; amounts that large have no digits to lose.
    let fee = match received.checked_mul(i128::from(rate)) {
        Some(product) => product / pow10(RATE_SCALE),
        None => received / pow10(RATE_SCALE) * i128::from(rate),
    };
    fee / cut * cut
}
