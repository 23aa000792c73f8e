//! Market orders that fill whole the moment they arrive, where nobody needs to see them on the way: the same rules, the same
//! money and the same numbers as by [`MatchingEngine::submit`], but no open order, no reports and nothing to ask about
//! afterwards but the trade. What cannot be done that way is left untouched, for the usual one.

use super::MatchingEngine;
use super::settle::{FillInt, fee_of};
use crate::event::{AccountTrade, BalanceUpdate};
use crate::types::{AccountId, OrderId, OrderRequest};
use keel_model::{Asset, InstrumentId, Notional, Price, Quantity, Side, Timestamp};

/// A market order that was filled at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilledAtOnce {
    /// The venue's number of the order.
    pub order_id: OrderId,
    /// Trade id.
    pub trade_id: u64,
    /// Price.
    pub price: Price,
    /// Quantity, at the instrument's places.
    pub quantity: Quantity,
    /// Fee.
    pub fee: Notional,
    /// Asset of the fee.
    pub fee_asset: Asset,
    /// The account's balances afterwards.
    pub balances: BalanceUpdate,
}

impl MatchingEngine {
    /// Fills a market order whole against the best price; `None`, and nothing has happened, where that takes more than one
    /// look: without that much at the best price, while any order is open or any event waits, in markets that are not known
    /// by their best prices alone, for every order that is to be refused, and for one that is to reduce a position and could do
    /// more than that.
    pub fn fill_at_once(
        &mut self,
        now: Timestamp,
        account: AccountId,
        instrument: InstrumentId,
        side: Side,
        quantity: Quantity,
        is_reduce_only: bool,
    ) -> Option<FilledAtOnce> {
        let is_free = self.store.open_total == 0 && self.events.is_empty() && self.touched.is_empty();
        if !is_free || self.config.publish_market_data || self.config.limits.open_orders_max == 0 {
            return None;
        }
        let m = self.market_index(instrument).ok()?;
        if self.waits_for_open(m) || self.accounts.get(account)?.is_house {
            return None;
        }
        let (price, left) = self.markets[m].touch.as_ref()?.available(side.opposite())?;
        self.begin(now);
        let request = OrderRequest::market(instrument, side, quantity);
        let draft = self.draft(m, &request).ok().filter(|draft| draft.quantity <= left)?;
        if is_reduce_only && self.markets[m].is_linear {
            let held = self.store.book(account, instrument).map_or(0, |book| book.linear.quantity);
            if draft.quantity > (-held).saturating_mul(side.sign()) {
                return None;
            }
        }
        self.check_funds(m, account, &draft, &request).ok()?;
        let (fee, fee_asset) = self.pay_at_once(m, account, side, price, draft.quantity)?;
        let market = &mut self.markets[m];
        if let Some(touch) = &mut market.touch {
            touch.take(side.opposite(), draft.quantity);
        }
        let (order_id, trade_id) = (self.next_order_id, market.next_trade_id);
        market.next_trade_id += 1;
        self.next_order_id += 1;
        // As many as the order would have had reports.
        self.next_execution_id += 2;
        let fill = FillInt { trade_id, price, quantity: draft.quantity, fee, fee_asset, is_maker: false };
        let trade = self.account_trade(m, order_id, None, side, &fill);
        self.remember(account, trade);
        self.is_answering = false;
        let (base, quote) = (self.markets[m].base, self.markets[m].quote);
        Some(FilledAtOnce {
            order_id,
            trade_id,
            price: trade.price,
            quantity: trade.quantity,
            fee: trade.fee,
            fee_asset: trade.fee_asset,
            balances: BalanceUpdate {
                account,
                ts: self.now,
                base: self.accounts.balance(account, base),
                quote: self.accounts.balance(account, quote),
            },
        })
    }

    /// Books what the fill moves; `None`, and nothing has moved, when the account cannot pay for all of it. Returns the fee, in
    /// atoms, and its asset.
    fn pay_at_once(
        &mut self,
        m: usize,
        account: AccountId,
        side: Side,
        price: i64,
        quantity: i64,
    ) -> Option<(i128, usize)> {
        let market = &self.markets[m];
        let (rules, base, quote, instrument) = (&market.rules, market.base, market.quote, market.instrument.id);
        let paid = i128::from(price) * i128::from(quantity) * rules.quote_unit;
        let bought = i128::from(quantity) * rules.base_unit;
        let (is_linear, rate) = (market.is_linear, self.config.fees.taker);
        let (got, fee_asset) = if is_linear {
            let fee = fee_of(paid, rate);
            let realized = self.store.book_mut(account, instrument).linear.apply(side, paid, quantity);
            self.accounts.cell_mut(account, quote).free += realized - fee;
            (paid, quote)
        } else {
            let (given, given_asset, got, got_asset) = match side {
                Side::Buy => (paid, quote, bought, base),
                Side::Sell => (bought, base, paid, quote),
            };
            let free = &mut self.accounts.cell_mut(account, given_asset).free;
            if *free < given {
                return None;
            }
            *free -= given;
            self.accounts.cell_mut(account, got_asset).free += got - fee_of(got, rate);
            (got, got_asset)
        };
        let fee = fee_of(got, rate);
        self.accounts.collect_fee(fee_asset, fee);
        Some((fee, fee_asset))
    }

    /// A fill as the account's history has it.
    pub(super) fn account_trade(
        &self,
        m: usize,
        order_id: OrderId,
        list_id: Option<u64>,
        side: Side,
        fill: &FillInt,
    ) -> AccountTrade {
        let rules = &self.markets[m].rules;
        AccountTrade {
            trade_id: fill.trade_id,
            order_id,
            list_id,
            instrument: self.markets[m].instrument.id,
            ts: self.now,
            side,
            price: rules.price(fill.price),
            quantity: rules.quantity(fill.quantity),
            quote: rules.quote(i128::from(fill.price) * i128::from(fill.quantity)),
            fee: crate::accounts::to_notional(fill.fee),
            fee_asset: self.accounts.asset(fill.fee_asset),
            is_maker: fill.is_maker,
        }
    }

    /// Keeps a trade in the account's history.
    pub(super) fn remember(&mut self, account: AccountId, trade: AccountTrade) {
        let count_max = self.config.limits.account_trades_max.max(1);
        let trades = &mut self.store.book_mut(account, trade.instrument).trades;
        if trades.len() >= count_max {
            trades.pop_front();
        }
        trades.push_back(trade);
    }
}
