//! Turning integers into reports.

use super::settle::FillInt;
use super::{Market, MatchingEngine};
use crate::accounts::to_notional;
use crate::event::{BalanceUpdate, BookChange, BookTicker, ExecReport, PublicTrade, SimEvent};
use crate::tape::TapeTrade;
use crate::types::{AccountId, ClientId, OrderState, OrderView};
use keel_model::{ExecType, Level, Notional, Price, Quantity, Side};

impl MatchingEngine {
    pub(super) fn view_slot(&self, slot: u32) -> OrderView {
        let order = &self.store[slot];
        let m = self.market_index(order.instrument).unwrap_or(0);
        let rules = &self.markets[m].rules;
        OrderView {
            order_id: order.id,
            list_id: (order.list > 0).then_some(order.list),
            client_order_id: order.client_id,
            account: order.account,
            instrument: order.instrument,
            side: order.side(),
            order_type: order.order_type(),
            time_in_force: order.tif.0,
            state: order.state,
            quantity: rules.quantity(order.quantity),
            quote_quantity: match order.quote_quantity {
                0 => Quantity::ZERO,
                units => rules.quote(units).to_quantity().unwrap_or(Quantity::ZERO),
            },
            price: rules.price(order.price),
            stop_price: rules.price(order.stop),
            cum_quantity: rules.quantity(order.filled),
            cum_quote: rules.quote(order.cum_quote),
            prevented_quantity: rules.quantity(order.prevented),
            stp_mode: order.stp,
            is_working: order.is_working,
            ts_created: order.created,
            ts_updated: order.updated,
            ts_working: order.working_since,
            expiry_reason: order.expiry,
        }
    }

    fn blank_report(&mut self, slot: u32, exec_type: ExecType, request_client_id: ClientId) -> ExecReport {
        let execution_id = self.next_execution_id;
        self.next_execution_id += 1;
        ExecReport {
            order: self.view_slot(slot),
            exec_type,
            ts_transact: self.now,
            request_client_id,
            last_quantity: Quantity::ZERO,
            last_price: Price::ZERO,
            last_quote: Notional::ZERO,
            fee: Notional::ZERO,
            fee_asset: None,
            trade_id: None,
            is_maker: false,
            is_on_book: self.store[slot].is_on_book,
            counter_order_id: None,
            last_prevented_quantity: Quantity::ZERO,
            prevented_match_id: None,
            prevented_price: Price::ZERO,
            execution_id,
        }
    }

    /// Reports that something happened to an order of an account.
    pub(super) fn report(&mut self, m: usize, slot: u32, exec_type: ExecType, request_client_id: ClientId) {
        if self.store[slot].is_house {
            return;
        }
        debug_assert_eq!(self.markets[m].instrument.id, self.store[slot].instrument);
        let mut report = self.blank_report(slot, exec_type, request_client_id);
        // A working limit order is on its way into the book when it is accepted.
        report.is_on_book |= exec_type == ExecType::New && report.order.is_working && report.order.price.is_positive();
        self.events.push(SimEvent::Execution(report));
    }

    pub(super) fn report_fill(&mut self, m: usize, slot: u32, fill: &FillInt) {
        if self.store[slot].is_house {
            return;
        }
        let client = self.store[slot].client_id;
        let mut report = self.blank_report(slot, ExecType::Trade, client);
        let rules = &self.markets[m].rules;
        report.last_quantity = rules.quantity(fill.quantity);
        report.last_price = rules.price(fill.price);
        report.last_quote = rules.quote(i128::from(fill.price) * i128::from(fill.quantity));
        report.fee = to_notional(fill.fee);
        report.fee_asset = Some(self.accounts.asset(fill.fee_asset));
        report.trade_id = Some(fill.trade_id);
        report.is_maker = fill.is_maker;
        report.is_on_book = fill.is_maker && report.order.state.is_open();
        if !fill.is_maker && self.is_answering {
            self.fills.push(report);
        }
        self.events.push(SimEvent::Execution(report));
    }

    /// Reports what self-trade prevention did to one of the two orders.
    pub(super) fn report_prevented(
        &mut self,
        m: usize,
        slot: u32,
        counter: u32,
        prevented_id: u64,
        quantity: i64,
        price: i64,
        is_expired: bool,
    ) {
        let is_decremented = self.store[slot].prevented > 0 && quantity > 0;
        if self.store[slot].is_house || (!is_expired && !is_decremented) {
            return;
        }
        let client = self.store[slot].client_id;
        let counter_id = self.store[counter].id;
        let mut report = self.blank_report(slot, ExecType::TradePrevention, client);
        let rules = &self.markets[m].rules;
        report.counter_order_id = Some(counter_id);
        report.last_prevented_quantity = rules.quantity(quantity);
        report.prevented_match_id = Some(prevented_id);
        report.prevented_price = rules.price(price);
        if is_expired {
            report.order.state = OrderState::ExpiredInMatch;
            report.order.expiry_reason = crate::types::ExpiryReason::SelfTrade;
            report.order.ts_updated = self.now;
            report.is_on_book = false;
        }
        self.events.push(SimEvent::Execution(report));
    }

    pub(super) fn publish_trade(&mut self, m: usize, trade: &TapeTrade) {
        if self.config.publish_market_data {
            let event = SimEvent::Trade(public_trade(&self.markets[m], trade));
            self.publish(event);
        }
    }

    /// A level of the accounts' book changed: counts the change and reports it. In a recorded market the recorded book is
    /// what everyone sees, so that nothing is reported.
    pub(super) fn book_changed(&mut self, m: usize, side: Side, price: i64, total: i64) {
        let market = &mut self.markets[m];
        if market.is_fed() {
            return;
        }
        market.update_id += 1;
        if self.config.publish_market_data {
            let market = &self.markets[m];
            let level = Level { price: market.rules.price(price), quantity: market.rules.quantity(total) };
            let (instrument, update_id) = (market.instrument.id, market.update_id);
            self.publish(SimEvent::Book(BookChange { instrument, update_id, ts: self.now, side, level }));
        }
    }

    /// Notes that an account's balances changed.
    pub(super) fn touch(&mut self, account: AccountId) {
        if let Some(found) = self.accounts.get_mut(account)
            && !found.is_house
            && !found.is_touched
        {
            found.is_touched = true;
            self.touched.push(account);
        }
    }

    /// Reports changed balances and the top of the book.
    pub(super) fn flush(&mut self, m: usize) {
        let (base, quote) = (self.markets[m].base, self.markets[m].quote);
        while let Some(account) = self.touched.pop() {
            if let Some(found) = self.accounts.get_mut(account) {
                found.is_touched = false;
            }
            let update = BalanceUpdate {
                account,
                ts: self.now,
                base: self.accounts.balance(account, base),
                quote: self.accounts.balance(account, quote),
            };
            self.events.push(SimEvent::Balances(update));
        }
        if !self.config.publish_market_data {
            return;
        }
        let market = &mut self.markets[m];
        let top = [market.best_shown(Side::Buy), market.best_shown(Side::Sell)];
        if top != market.top {
            market.top = top;
            let ticker = book_ticker(market, self.now);
            self.publish(SimEvent::Top(ticker));
        }
    }
}

pub(super) fn public_trade(market: &Market, trade: &TapeTrade) -> PublicTrade {
    PublicTrade {
        instrument: market.instrument.id,
        trade_id: trade.id,
        ts: trade.ts,
        price: market.rules.price(trade.price),
        quantity: market.rules.quantity(trade.quantity),
        quote: market.rules.quote(trade.quote()),
        aggressor: trade.aggressor,
        buyer_order_id: trade.buyer,
        seller_order_id: trade.seller,
    }
}

pub(super) fn book_ticker(market: &Market, now: keel_model::Timestamp) -> BookTicker {
    let best = |side| match market.best_shown(side) {
        (_, 0) => Level::default(),
        (price, quantity) => Level { price: market.rules.price(price), quantity: market.rules.quantity(quantity) },
    };
    BookTicker {
        instrument: market.instrument.id,
        update_id: market.update_id,
        ts: now,
        bid: best(Side::Buy),
        ask: best(Side::Sell),
    }
}
