//! Bars and funding: a bar is gone through in steps, and the client hears of each step before the next one. Fills become
//! trades from flat to flat.

use super::Replay;
use crate::result::Refusal;
use crate::trades::{Terms, exit_reason};
use keel_engine::Notice;
use keel_execution::Change;
use keel_model::{
    Bar, ClientOrderId, Fill, FundingRate, Instrument, InstrumentKind, Liquidity, MarketEvent, Notional, OrderPurpose,
    OrderType, Side, StrategyId, TradeId,
};
use keel_risk::HOUSE;

/// Most kinds of refusals that are told apart.
const REFUSALS_MAX: usize = 32;

/// What a fill cost, and below what quantity its instrument cannot be sold.
fn terms_of(instrument: &Instrument, fill: &Fill) -> Terms {
    let (fee, price) = (fill.fee.to_f64(), fill.price.to_f64());
    let is_spot = instrument.kind == InstrumentKind::Spot;
    let (fee_quote, fee_base) = match fill.fee_asset {
        asset if asset == instrument.quote => (fee, 0.0),
        asset if asset == instrument.base && is_spot => (0.0, fee),
        // A fee in a third asset counts like one in coins, but leaves none missing.
        _ => (fee * price, 0.0),
    };
    let dust = if is_spot { smallest(instrument, price) } else { 0.0 };
    Terms { fee_quote, fee_base, dust, scale: instrument.lot.step.normalized().scale() }
}

/// The least quantity that an order may have at this price.
fn smallest(instrument: &Instrument, price: f64) -> f64 {
    let least = instrument.lot.step.to_f64().max(instrument.lot.min.to_f64());
    if price > 0.0 { least.max(instrument.min_notional.to_f64() / price) } else { least }
}

impl Replay {
    /// A closed bar, which `event` wraps. Orders that are open meet it first: its open at the time of its open, the rest at
    /// its close; then the engine sees it.
    pub(super) fn feed_bar(&mut self, bar: &Bar, event: &MarketEvent) {
        if !self.desk.is_touch(bar.instrument) {
            // A signal only: the market of this instrument is known better.
            self.run_until(bar.ts_recv.max(self.now));
            return self.decide_on(event);
        }
        if self.is_instant && bar.ts_recv < self.next_timer && self.desk.is_calm() {
            // Nothing can happen before its close but its close.
            match self.desk.venue_mut().bar_whole(bar) {
                Ok(true) => return self.decide_calmly(bar),
                Ok(false) => {}
                Err(_) => {
                    self.run_until(bar.ts_open.max(self.now));
                    self.refused += 1;
                    return;
                }
            }
        }
        self.run_until(bar.ts_open.max(self.now));
        match self.desk.venue_mut().bar_open(bar) {
            Ok(true) => self.step_through(bar),
            Ok(false) => {}
            Err(_) => {
                self.refused += 1;
                return;
            }
        }
        self.run_until(bar.ts_recv.max(self.now));
        self.desk.venue_mut().bar_inside(bar);
        if self.desk.venue().has_open_orders() {
            self.step_through(bar);
        }
        self.desk.venue_mut().bar_close(bar);
        self.desk.collect(self.now);
        self.decide_on(event);
    }

    /// The engine sees a bar in which nothing else has happened.
    #[inline]
    fn decide_calmly(&mut self, bar: &Bar) {
        self.now = self.now.max(bar.ts_recv);
        if self.desk.venue().has_events() {
            self.desk.collect(self.now);
            self.settle();
        }
        self.engine.process_bar(bar, &mut self.outbox);
        if !self.outbox.is_empty() || !self.is_started {
            self.dispatch();
        }
        if !self.desk.is_calm() {
            self.settle();
        }
    }

    fn step_through(&mut self, bar: &Bar) {
        while self.desk.venue_mut().bar_step(bar.instrument) {
            self.desk.collect(self.now);
            self.settle();
        }
    }

    /// Pays what is due at this time, before anybody decides on it.
    pub(super) fn feed_funding(&mut self, funding: &FundingRate) {
        self.run_until(funding.ts_recv.max(self.now));
        let account = self.desk.account();
        match self.desk.venue_mut().pay_funding(account, funding) {
            Ok(received) => self.funding = self.funding.checked_add(received).unwrap_or(self.funding),
            Err(_) => self.refused += 1,
        }
        self.desk.collect(self.now);
        self.settle();
    }

    /// Follows a fill for the list of trades.
    pub(super) fn note_fill(&mut self, id: ClientOrderId, strategy: StrategyId, fill: &Fill) {
        if let Some(log) = &mut self.log {
            log.fills.push((id, *fill));
        }
        let Some(trades) = &mut self.trades else { return };
        trades.count_volume(fill);
        let Some(known) = self.engine.instruments().get(fill.instrument) else { return };
        let terms = terms_of(known, fill);
        let reason = self.engine.tag(id).map(|tag| tag.as_str()).unwrap_or_else(|| {
            let intent = self.engine.orders().get(id).map(|order| order.new.intent);
            match intent.map(|intent| (intent.purpose, intent.order_type)) {
                _ if strategy == HOUSE => exit_reason::HOUSE,
                Some((OrderPurpose::Entry, _)) => exit_reason::REVERSAL,
                Some((OrderPurpose::Protective, OrderType::StopLoss | OrderType::StopLossLimit)) => {
                    exit_reason::STOP_LOSS
                }
                Some((OrderPurpose::Protective, _)) => exit_reason::TARGET,
                _ => exit_reason::SIGNAL,
            }
        });
        trades.on_fill(strategy, fill, terms, reason);
    }

    /// Where the venue has closed everything: its fills, of no order of ours ([`ClientOrderId::default`]), end the trades.
    /// Answers how many.
    pub(crate) fn note_liquidation(&mut self) -> u64 {
        let Some(liquidation) = self.desk.venue().liquidation() else { return 0 };
        let mut count = 0;
        for closed in &liquidation.closed {
            let Some(known) = self.engine.instruments().get(closed.instrument) else { continue };
            let Ok(quantity) = closed.quantity.abs() else { continue };
            let fill = Fill {
                trade_id: TradeId::EMPTY,
                instrument: closed.instrument,
                side: if closed.quantity.is_positive() { Side::Sell } else { Side::Buy },
                price: closed.price,
                quantity,
                fee: Notional::ZERO,
                fee_asset: known.quote,
                liquidity: Liquidity::Taker,
                ts_event: liquidation.at,
            };
            count += 1;
            if let Some(log) = &mut self.log {
                log.fills.push((ClientOrderId::default(), fill));
            }
            if let Some(trades) = &mut self.trades {
                trades.count_volume(&fill);
                trades.close_by_venue(&fill);
            }
        }
        count
    }

    /// Counts refused orders by who refused them, with the first reason of each.
    #[cold]
    fn count_refusal(&mut self, by: String, reason: String, count: u64) {
        if let Some(known) = self.refusals.iter_mut().find(|known| known.by == by) {
            known.count += count;
        } else if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal { by, reason, count });
        }
    }

    pub(super) fn note_refusal(&mut self, notice: &Notice) {
        match notice {
            Notice::Denied(denied, _) => {
                self.count_refusal(format!("risk ({})", denied.control), denied.reason.to_string(), 1);
            }
            Notice::DeniedMore { count } => {
                self.count_refusal("risk".to_owned(), "not told one by one".to_owned(), *count);
            }
            Notice::Order { change: Change::Rejected(reject), .. } => {
                self.count_refusal(format!("the venue ({:?})", reject.reason), reject.text.to_string(), 1);
            }
            _ => {}
        }
    }

    /// What the account is worth in the quote asset of the first instrument; `None` while a price is missing.
    #[must_use]
    pub fn equity(&self) -> Option<Notional> {
        let quote = self.engine.instruments().iter().next()?.quote;
        let (venue, account) = (self.desk.venue(), self.desk.account());
        let mut sum = Notional::ZERO;
        for balance in venue.balances(account) {
            let total = balance.total().ok()?;
            // What nothing in the run trades has no price here, and does not change.
            let is_traded = self.engine.instruments().iter().any(|it| it.base == balance.asset);
            if total.is_zero() || (balance.asset != quote && !is_traded) {
                continue;
            }
            if balance.asset == quote {
                sum = sum.checked_add(total).ok()?;
                continue;
            }
            let market = self.engine.instruments().iter().find(|it| it.base == balance.asset && it.quote == quote)?;
            let price = venue.mark_price(market.id)?;
            sum = sum.checked_add(Notional::of(price, total.to_quantity().ok()?)).ok()?;
        }
        let first = self.engine.instruments().iter().next()?.id;
        sum.checked_add(venue.linear_unrealized(account, first)).ok()
    }
}
