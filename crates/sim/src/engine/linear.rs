//! Linear perpetuals: one net position per account and instrument, profit and fees in the quote asset, a margin for all
//! perpetuals of one quote asset together.
//!
//! Conventions: average cost; what is closed is realised to the balance at once; funding is position × mark × rate, paid by
//! longs when the rate is positive. Margin: the largest position that open orders could lead to, at the mark price, must not
//! be worth more than `leverage_max` times the equity (balance and open profit); an order that can only reduce always passes.
//! When the equity falls to the maintenance margin the venue closes everything at the mark prices ([`MatchingEngine::liquidation`])
//! and takes no further order. What the account cannot pay is the venue's loss: positions that lose are then taken over at the
//! prices at which nothing is left, so that the fills add up to what the account lost.

use super::ordering::Draft;
use super::settle::{FillInt, fee_of};
use super::{Market, MatchingEngine};
use crate::reject::Reject;
use crate::types::{AccountId, ClientId, ExpiryReason, OrderState};
use keel_model::{FundingRate, InstrumentId, Notional, Price, Quantity, Side, Timestamp};

/// Basis points of one.
const BPS: i128 = 10_000;

/// A net position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinearPosition {
    /// Signed quantity.
    pub(crate) quantity: i64,
    /// What it cost, in atoms; same sign as the quantity.
    pub(crate) cost: i128,
}

/// A position that the venue closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedByVenue {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// What was held; signed.
    pub quantity: Quantity,
    /// At the mark price, or where the account could not pay for that, at the price at which nothing is left; may lie
    /// between two ticks then.
    pub price: Price,
}

/// What the venue closed because the margin was used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liquidation {
    /// Whose.
    pub account: AccountId,
    /// When.
    pub at: Timestamp,
    /// What was left of the balance after the positions were closed at the mark prices; never below zero.
    pub balance: Notional,
    /// The positions, by instrument.
    pub closed: Vec<ClosedByVenue>,
}

/// Places of a price between two ticks, beyond those of the market.
const BETWEEN_TICKS: u8 = 6;

impl MatchingEngine {
    /// The net position of an account in a perpetual; zero elsewhere.
    #[must_use]
    pub fn linear_position(&self, account: AccountId, instrument: InstrumentId) -> Quantity {
        let held = self.store.book(account, instrument).map_or(0, |book| book.linear.quantity);
        self.market(instrument).map_or(Quantity::ZERO, |market| market.rules.quantity(held))
    }

    /// Open profit of an account's perpetuals that are settled in the quote asset of `instrument`, at the mark prices.
    #[must_use]
    pub fn linear_unrealized(&self, account: AccountId, instrument: InstrumentId) -> Notional {
        let Some(market) = self.market(instrument) else { return Notional::ZERO };
        crate::accounts::to_notional(self.open_profit(account, market.quote))
    }

    /// The first liquidation, if there was one.
    #[must_use]
    pub const fn liquidation(&self) -> Option<&Liquidation> {
        self.liquidation.as_ref()
    }

    fn open_profit(&self, account: AccountId, quote: usize) -> i128 {
        let own = self.markets.iter().filter(|market| market.is_linear && market.quote == quote);
        own.map(|market| {
            let position = self.store.book(account, market.instrument.id).map_or_else(Default::default, |it| it.linear);
            match market.mark_price() {
                Some(mark) if position.quantity != 0 => {
                    i128::from(mark) * i128::from(position.quantity) * market.rules.quote_unit - position.cost
                }
                _ => 0,
            }
        })
        .sum()
    }

    /// Would the margin hold if this order filled?
    pub(super) fn check_margin(
        &self,
        m: usize,
        account: AccountId,
        draft: &Draft,
        reduce_only: bool,
    ) -> Result<(), Reject> {
        if self.accounts.is_house(account) {
            return Ok(());
        }
        if self.liquidation.as_ref().is_some_and(|it| it.account == account) {
            return Err(Reject::InsufficientBalance);
        }
        let market = &self.markets[m];
        let signed = draft.side.sign() * draft.quantity;
        let (high, low) = self.reach(m, account);
        let is_reducing = if signed > 0 { high + signed <= 0 } else { low + signed >= 0 };
        if is_reducing || reduce_only {
            return Ok(());
        }
        let (high, low) = if signed > 0 { (high + signed, low) } else { (high, low + signed) };
        let price = [draft.price, draft.stop].into_iter().find(|price| *price > 0);
        let Some(mark) = market.mark_price().or(price) else { return Err(Reject::NoLastPrice) };
        let own = high.abs().max(low.abs());
        let value = |price: i64, quantity: i64, unit: i128| i128::from(price) * i128::from(quantity) * unit;
        let mut exposure = value(mark.max(price.unwrap_or(0)), own, market.rules.quote_unit);
        for (other, it) in self.markets.iter().enumerate() {
            if other != m && it.is_linear && it.quote == market.quote {
                let (high, low) = self.reach(other, account);
                let mark = it.mark_price().unwrap_or(0);
                exposure += value(mark, high.abs().max(low.abs()), it.rules.quote_unit);
            }
        }
        let cell = self.accounts.cell(account, market.quote);
        let equity = cell.free + cell.locked + self.open_profit(account, market.quote);
        let leverage = i128::from(self.config.leverage_max.max(1));
        if exposure > equity.saturating_mul(leverage) { Err(Reject::InsufficientBalance) } else { Ok(()) }
    }

    /// The highest and the lowest position that the open orders could lead to.
    fn reach(&self, m: usize, account: AccountId) -> (i64, i64) {
        let instrument = self.markets[m].instrument.id;
        let held = self.store.book(account, instrument).map_or(0, |book| book.linear.quantity);
        self.store.open_slots(account, instrument).fold((held, held), |(high, low), slot| {
            let order = &self.store[slot];
            match order.side() {
                Side::Buy => (high + order.remaining(), low),
                Side::Sell => (high, low - order.remaining()),
            }
        })
    }

    /// Books one fill of a perpetual: position, realised profit, fee, order state, history, report.
    pub(super) fn fill_linear(
        &mut self,
        m: usize,
        slot: u32,
        price: i64,
        quantity: i64,
        trade_id: u64,
        is_maker: bool,
    ) {
        let (unit, quote) = (self.markets[m].rules.quote_unit, self.markets[m].quote);
        let units = i128::from(price) * i128::from(quantity);
        let rate = if is_maker { self.config.fees.maker } else { self.config.fees.taker };
        let fee = fee_of(units * unit, rate);
        let now = self.now;
        let order = &mut self.store[slot];
        order.filled += quantity;
        order.cum_quote += units;
        order.state = if order.remaining() == 0 { OrderState::Filled } else { OrderState::PartiallyFilled };
        order.updated = now;
        let (account, instrument, side) = (order.account, order.instrument, order.side());
        let realized = if order.is_house {
            0
        } else {
            self.store.book_mut(account, instrument).linear.apply(side, units * unit, quantity)
        };
        self.accounts.cell_mut(account, quote).free += realized - fee;
        self.accounts.collect_fee(quote, fee);
        self.touch(account);
        let fill = FillInt { trade_id, price, quantity, fee, fee_asset: quote, is_maker };
        self.record(m, slot, &fill);
        self.report_fill(m, slot, &fill);
    }

    /// Pays funding on an account's position at the mark price; answers what the account received.
    pub fn pay_funding(&mut self, account: AccountId, funding: &FundingRate) -> Result<Notional, Reject> {
        let m = self.market_index(funding.instrument)?;
        self.now = self.now.max(funding.ts_recv);
        let market = &self.markets[m];
        let held = self.store.book(account, funding.instrument).map_or(0, |book| book.linear.quantity);
        let Some(mark) = market.mark_price().filter(|_| market.is_linear && held != 0) else {
            return Ok(Notional::ZERO);
        };
        let value = i128::from(mark) * i128::from(held) * market.rules.quote_unit;
        let due = fee_of(value.abs(), funding.rate) * i128::from(held.signum());
        let quote = market.quote;
        self.accounts.cell_mut(account, quote).free -= due;
        self.accounts.collect_fee(quote, due);
        self.touch(account);
        self.watch_margin(m);
        self.flush(m);
        Ok(crate::accounts::to_notional(-due).normalized())
    }

    /// Follows each new price: closes everything of an account whose equity has fallen to its maintenance margin.
    pub(super) fn watch_margin(&mut self, m: usize) {
        if !self.markets[m].is_linear || self.liquidation.is_some() {
            return;
        }
        let (id, quote) = (self.markets[m].instrument.id, self.markets[m].quote);
        for at in 0..self.accounts.count() {
            let account = AccountId(u32::try_from(at).unwrap_or(u32::MAX));
            let is_held = self.store.book(account, id).is_some_and(|book| book.linear.quantity != 0);
            if !is_held {
                continue;
            }
            let own = self.markets.iter().filter(|market| market.is_linear && market.quote == quote);
            let exposure: i128 = own
                .map(|market| {
                    let held = self.store.book(account, market.instrument.id).map_or(0, |book| book.linear.quantity);
                    i128::from(market.mark_price().unwrap_or(0)) * i128::from(held.abs()) * market.rules.quote_unit
                })
                .sum();
            let cell = self.accounts.cell(account, quote);
            let equity = cell.free + cell.locked + self.open_profit(account, quote);
            if equity * BPS <= exposure.saturating_mul(i128::from(self.config.maintenance_margin_bps)) {
                self.liquidate(account, quote);
            }
        }
    }

    /// Would the price have to double, or to fall to nothing, before the margin of any account on this market is used up?
    pub(super) fn is_margin_far(&self, m: usize) -> bool {
        let market = &self.markets[m];
        if !market.is_linear || self.liquidation.is_some() {
            return true;
        }
        let far = BPS + i128::from(self.config.maintenance_margin_bps) * 2;
        (0..self.accounts.count()).all(|at| {
            let account = AccountId(u32::try_from(at).unwrap_or(u32::MAX));
            let held = self.store.book(account, market.instrument.id).map_or(0, |book| book.linear.quantity);
            let Some(mark) = market.mark_price().filter(|_| held != 0) else { return held == 0 };
            let exposure = i128::from(mark) * i128::from(held.abs()) * market.rules.quote_unit;
            let cell = self.accounts.cell(account, market.quote);
            let equity = cell.free + cell.locked + self.open_profit(account, market.quote);
            equity.saturating_mul(BPS) > exposure.saturating_mul(far)
        })
    }

    #[cold]
    fn liquidate(&mut self, account: AccountId, quote: usize) {
        let equity = self.open_profit(account, quote);
        let cell = self.accounts.cell(account, quote);
        let closed = self.closings(account, quote, -(cell.free + cell.locked + equity));
        for m in 0..self.markets.len() {
            if !self.markets[m].is_linear || self.markets[m].quote != quote {
                continue;
            }
            let id = self.markets[m].instrument.id;
            let open: Vec<u32> = self.store.open_slots(account, id).collect();
            for slot in open {
                self.end(m, slot, OrderState::Canceled, ExpiryReason::InsufficientBalance, ClientId::EMPTY);
            }
            self.store.book_mut(account, id).linear = LinearPosition::default();
        }
        let cell = self.accounts.cell_mut(account, quote);
        cell.free = (cell.free + equity).max(0);
        let left = cell.free + cell.locked;
        let balance = crate::accounts::to_notional(left).normalized();
        self.liquidation = Some(Liquidation { account, at: self.now, balance, closed });
        self.touch(account);
    }

    /// Every position at the price that it is closed at. `unpaid` atoms, if above zero, are more than the account has.
    fn closings(&self, account: AccountId, quote: usize, unpaid: i128) -> Vec<ClosedByVenue> {
        let held = |it: &Market| {
            let position = self.store.book(account, it.instrument.id).map_or_else(Default::default, |book| book.linear);
            let mark = it.mark_price().filter(|_| position.quantity != 0)?;
            let value = i128::from(mark) * i128::from(position.quantity) * it.rules.quote_unit;
            Some((position, mark, value))
        };
        let own = || self.markets.iter().filter(|market| market.is_linear && market.quote == quote);
        let lost = |(position, _, value): &(LinearPosition, i64, i128)| (position.cost - value).max(0);
        let all: i128 = own().filter_map(held).map(|it| lost(&it)).sum();
        let unpaid = unpaid.clamp(0, all);
        let close = |market: &Market| {
            let it = held(market)?;
            let (position, mark, value) = it;
            let quantity = market.rules.quantity(position.quantity);
            let written_off = share(unpaid, lost(&it), all);
            let mark = market.rules.price(mark);
            let price = if written_off == 0 {
                mark
            } else {
                let scale = market.rules.price_scale + BETWEEN_TICKS;
                crate::accounts::to_notional(value + written_off).price_per(quantity, scale).unwrap_or(mark)
            };
            Some(ClosedByVenue { instrument: market.instrument.id, quantity, price: price.normalized() })
        };
        own().filter_map(close).collect()
    }
}

/// The part of `whole` that falls to `own` of `all`.
fn share(whole: i128, own: i128, all: i128) -> i128 {
    if own == all {
        return whole;
    }
    match whole.checked_mul(own) {
        Some(product) => product / all.max(1),
        // To a billionth; the difference is the venue's.
        None => (whole / 1_000_000_000).saturating_mul(own / (all / 1_000_000_000).max(1)),
    }
}

impl LinearPosition {
    /// Applies a fill worth `value` atoms; answers the profit that it realised, in atoms.
    pub(super) fn apply(&mut self, side: Side, value: i128, quantity: i64) -> i128 {
        let sign = side.sign();
        if self.quantity.signum() != -sign {
            self.quantity += sign * quantity;
            self.cost += i128::from(sign) * value;
            return 0;
        }
        let held = self.quantity.abs();
        let closed = quantity.min(held);
        // The value is price × quantity, so that this divides without a rest.
        let value_closed = if closed == quantity { value } else { value / i128::from(quantity) * i128::from(closed) };
        let cost_closed = if closed == held { self.cost } else { part(self.cost, closed, held) };
        self.cost -= cost_closed;
        self.quantity += sign * closed;
        let rest = quantity - closed;
        if rest > 0 {
            self.quantity = sign * rest;
            self.cost = i128::from(sign) * (value - value_closed);
        }
        // A long sold: proceeds − cost; a short bought back: what it was sold for (−cost) − what it costs now.
        -i128::from(sign) * value_closed - cost_closed
    }
}

/// `cost · closed / held`, rounded half away from zero as the engine's books do; what is rounded stays in what is held.
fn part(cost: i128, closed: i64, held: i64) -> i128 {
    let (closed, held) = (i128::from(closed), i128::from(held.max(1)));
    match cost.checked_mul(closed) {
        Some(product) => (product.abs() + held / 2) / held * product.signum(),
        None => cost / held * closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_realises_and_turning_opens_the_rest() {
        let mut position = LinearPosition::default();
        assert_eq!(position.apply(Side::Buy, 300, 3), 0);
        assert_eq!(position.apply(Side::Sell, 110, 1), 10);
        assert_eq!((position.quantity, position.cost), (2, 200));
        assert_eq!(position.apply(Side::Sell, 5 * 120, 5), 40, "two closed, three opened short");
        assert_eq!((position.quantity, position.cost), (-3, -360));
        assert_eq!(position.apply(Side::Buy, 3 * 100, 3), 60);
        assert_eq!((position.quantity, position.cost), (0, 0));
        assert_eq!(part(-100, 1, 3), -33);
    }
}
