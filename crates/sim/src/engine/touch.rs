//! Markets known by their best prices alone ([`crate::MarketKind::Touch`]): quotes, or bars, and what fills in them.
//!
//! Conventions. *Quotes*: a taker pays the best price and slippage, up to the quantity shown; a resting order fills at its own
//! price when the other side reaches it; a stop looks at the price it would trade at. *Trades* alone: the last trade is the price for both sides. *Bars* are gone through in steps, and
//! whoever drives the venue carries every report to the client and its answer back before the next step:
//!
//! 1. The open: market orders that wait for it ([`crate::BarFill::NextOpen`]) and stops that the open is beyond fill there.
//! 2. Stops within high and low, at their trigger price; those on the side that the price is taken to visit first (away from
//!    the close) come first. Stops come before every limit of the bar: the pessimistic order.
//! 3. Take-profits and resting limits that the price went *through*, by at least a tick, at their own price.
//! 4. The close is the price until the next bar.
//!
//! What is placed while a bar is gone through can be stopped within it, but never wins within it: its limits and take-profits
//! wait for the next bar, since the way of the price after the fill is not known. Slippage makes every taker's price worse and
//! is rounded against it. `participation_bps` of a bar's volume is all that fills within the bar, takers and makers together.

use super::MatchingEngine;
use super::ordering::triggers_up;
use crate::config::BarFill;
use crate::reject::Reject;
use crate::touch::{BarWalk, TouchBook, UNBOUNDED};
use crate::types::OrderId;
use keel_model::{Bar, MarketEvent, OrderType, Price, Quantity, Side, TopOfBook, Trade};

/// Most steps within one bar; what is left waits for the next one. A strategy that answers every stop with another stop
/// cannot keep time from passing.
const STEPS_MAX: u32 = 1_000;
const BPS: i128 = 10_000;

impl MatchingEngine {
    /// Is the market of the instrument known by bars alone so far, without quotes?
    #[must_use]
    pub fn is_touch(&self, instrument: keel_model::InstrumentId) -> bool {
        self.market(instrument).and_then(|market| market.touch.as_ref()).is_some_and(|touch| !touch.is_quoted)
    }

    /// An event of a market of quotes or bars; a bar is gone through without anybody acting in between.
    pub(super) fn touch_market(&mut self, m: usize, event: &MarketEvent) -> Result<(), Reject> {
        match event {
            MarketEvent::TopOfBook(top) => {
                self.begin(top.ts_recv);
                self.touch_quote(m, top)?;
                self.is_answering = false;
                self.flush(m);
            }
            MarketEvent::Trade(trade) => {
                self.begin(trade.ts_recv);
                self.touch_trade(m, trade)?;
                self.is_answering = false;
                self.flush(m);
            }
            MarketEvent::Bar(bar) if bar.is_closed => {
                self.bar_open(bar)?;
                while self.bar_step(bar.instrument) {}
                self.bar_inside(bar);
                while self.bar_step(bar.instrument) {}
                self.bar_close(bar);
            }
            _ => {}
        }
        Ok(())
    }

    /// New best prices. Refused when they cannot be.
    pub(super) fn touch_quote(&mut self, m: usize, top: &TopOfBook) -> Result<(), Reject> {
        let market = &self.markets[m];
        let rules = &market.rules;
        let side = |level: &keel_model::Level| {
            if level.quantity.is_zero() {
                return Some((0, 0));
            }
            let price = super::rules::units(level.price.mantissa(), level.price.scale(), rules.price_scale)?;
            let left = super::rules::units(level.quantity.mantissa(), level.quantity.scale(), rules.quantity_scale)?;
            (price > 0 && left > 0).then_some((price, left))
        };
        let ((bid, bid_left), (ask, ask_left)) = side(&top.bid).zip(side(&top.ask)).ok_or(Reject::PriceFilter)?;
        if bid > 0 && ask > 0 && bid > ask {
            return Err(Reject::PriceFilter);
        }
        let slippage = self.config.slippage_bps;
        let (tick, mark) = (rules.tick(), if bid > 0 && ask > 0 { bid + (ask - bid) / 2 } else { bid.max(ask) });
        let Some(touch) = &mut self.markets[m].touch else { return Err(Reject::UnknownInstrument) };
        *touch = TouchBook {
            bid: worse(bid, Side::Sell, slippage, tick),
            ask: worse(ask, Side::Buy, slippage, tick),
            bid_left,
            ask_left,
            mark,
            is_quoted: true,
            bar: None,
        };
        if self.store.open_total > 0 {
            self.touch_triggers(m);
            while self.fill_touched(m) {}
        }
        self.watch_margin(m);
        Ok(())
    }

    /// A trade is the price for both sides, for any quantity of a taker. Stops that it reaches come first; then resting limits
    /// that it goes through, no more than its quantity.
    fn touch_trade(&mut self, m: usize, trade: &Trade) -> Result<(), Reject> {
        let rules = &self.markets[m].rules;
        let price = super::rules::units(trade.price.mantissa(), trade.price.scale(), rules.price_scale);
        let price = price.filter(|price| *price > 0).ok_or(Reject::PriceFilter)?;
        let quantity = trade.quantity.round_to_step(rules.quantity(1), keel_model::Rounding::ToZero);
        let quantity = quantity.and_then(|it| it.rescale(rules.quantity_scale)).map_or(0, Quantity::mantissa);
        if let Some(touch) = &mut self.markets[m].touch {
            (touch.bid_left, touch.ask_left, touch.is_quoted) = (UNBOUNDED, UNBOUNDED, true);
        }
        self.touch_price(m, price);
        if self.store.open_total > 0 {
            self.touch_triggers(m);
            let mut left = quantity;
            for side in [Side::Buy, Side::Sell] {
                while left > 0 {
                    let Some((own, level)) = self.markets[m].book.best(side) else { break };
                    if if side == Side::Buy { own <= price } else { own >= price } {
                        break;
                    }
                    let (slot, filled) = (level.head, left.min(self.store[level.head].remaining()));
                    self.fill_resting(m, slot, own, filled);
                    left -= filled;
                }
            }
        }
        self.watch_margin(m);
        Ok(())
    }

    /// Goes through a closed bar while no order is open, which leaves nothing but its close. `false`, and nothing has happened,
    /// when orders are open: the bar is to be gone through in steps then.
    pub fn bar_whole(&mut self, bar: &Bar) -> Result<bool, Reject> {
        let m = self.market_index(bar.instrument)?;
        if self.store.open_total > 0 {
            return Ok(false);
        }
        let ([_, _, _, close], budget) = self.read_bar(m, bar)?;
        let Some(touch) = self.markets[m].touch.as_mut().filter(|touch| !touch.is_quoted) else {
            return Err(Reject::UnknownInstrument);
        };
        (touch.bid_left, touch.ask_left, touch.bar) = (budget, budget, None);
        self.now = self.now.max(bar.ts_recv);
        self.touch_price(m, close);
        self.watch_margin(m);
        self.flush(m);
        Ok(true)
    }

    /// Open, high, low and close in units, and how much may fill within the bar.
    #[inline]
    fn read_bar(&self, m: usize, bar: &Bar) -> Result<([i64; 4], i64), Reject> {
        let market = &self.markets[m];
        let rules = &market.rules;
        let price = |price: Price| {
            super::rules::units(price.mantissa(), price.scale(), rules.price_scale)
                .filter(|units| *units > 0)
                .ok_or(Reject::PriceFilter)
        };
        let (open, high) = (price(bar.open)?, price(bar.high)?);
        let (low, close) = (price(bar.low)?, price(bar.close)?);
        if low > open.min(close) || high < open.max(close) {
            return Err(Reject::PriceFilter);
        }
        let budget = match self.config.participation_bps {
            0 => UNBOUNDED,
            bps => {
                let volume = i128::from(bar.volume.mantissa()) * i128::from(bps) / BPS;
                let volume = keel_model::Notional::new(volume, bar.volume.scale()).map_err(|_| Reject::TooLarge)?;
                let cut =
                    volume.round(rules.quantity_scale, keel_model::Rounding::Down).map_err(|_| Reject::TooLarge)?;
                let up = crate::accounts::pow10(rules.quantity_scale.saturating_sub(cut.scale()));
                let units = i64::try_from(cut.mantissa() * up).unwrap_or(UNBOUNDED - 1);
                units / rules.step() * rules.step()
            }
        };
        Ok(([open, high, low, close], budget))
    }

    /// Begins to go through a closed bar: its open is the price. Answers whether steps have to be taken at the open; without
    /// open orders the bar is over at once.
    pub fn bar_open(&mut self, bar: &Bar) -> Result<bool, Reject> {
        let m = self.market_index(bar.instrument)?;
        let ([open, high, low, close], budget) = self.read_bar(m, bar)?;
        let first_new_order = self.next_order_id;
        let has_orders = self.store.open_total > 0;
        let Some(touch) = self.markets[m].touch.as_mut().filter(|touch| !touch.is_quoted) else {
            return Err(Reject::UnknownInstrument);
        };
        (touch.bid_left, touch.ask_left) = (budget, budget);
        touch.bar = Some(BarWalk { open, high, low, close, first_new_order, steps: 0, is_open: true });
        if has_orders {
            self.now = self.now.max(bar.ts_open);
            self.touch_price(m, open);
        }
        Ok(has_orders)
    }

    /// One step through the bar at hand at most; `false` when nothing more happens at this stage. The stages are the open
    /// and, after [`Self::bar_inside`], the rest.
    pub fn bar_step(&mut self, instrument: keel_model::InstrumentId) -> bool {
        let Ok(m) = self.market_index(instrument) else { return false };
        let Some(walk) = self.markets[m].touch.as_mut().and_then(|touch| touch.bar.as_mut()) else { return false };
        walk.steps += 1;
        if walk.steps > STEPS_MAX || self.store.open_total == 0 {
            return false;
        }
        let walk = *walk;
        self.begin(self.now);
        let has_moved = if walk.is_open { self.step_at_open(m, &walk) } else { self.step_inside(m, &walk) };
        self.is_answering = false;
        if has_moved {
            self.flush(m);
        }
        has_moved
    }

    /// The open is over: from here on the bar's high and low count, at the time of its close.
    pub fn bar_inside(&mut self, bar: &Bar) {
        self.now = self.now.max(bar.ts_recv);
        if let Ok(m) = self.market_index(bar.instrument)
            && let Some(walk) = self.markets[m].touch.as_mut().and_then(|touch| touch.bar.as_mut())
        {
            walk.is_open = false;
        }
    }

    /// The bar is over: its close is the price.
    pub fn bar_close(&mut self, bar: &Bar) {
        self.now = self.now.max(bar.ts_recv);
        let Ok(m) = self.market_index(bar.instrument) else { return };
        let Some(walk) = self.markets[m].touch.as_mut().and_then(|touch| touch.bar.take()) else { return };
        self.touch_price(m, walk.close);
        self.watch_margin(m);
        self.flush(m);
    }

    /// One price for both sides, and slippage.
    fn touch_price(&mut self, m: usize, price: i64) {
        let (tick, slippage) = (self.markets[m].rules.tick(), self.config.slippage_bps);
        if let Some(touch) = &mut self.markets[m].touch {
            touch.mark = price;
            touch.bid = worse(price, Side::Sell, slippage, tick);
            touch.ask = worse(price, Side::Buy, slippage, tick);
        }
    }

    fn step_at_open(&mut self, m: usize, walk: &BarWalk) -> bool {
        if let Some((slot, id)) = self.markets[m].waiting_for_open.pop_front() {
            // It may have been cancelled while it waited.
            if self.store[slot].id == id && self.store[slot].state.is_open() {
                self.work_market(m, slot);
            }
            return true;
        }
        let reached = self.next_stop(m, walk.open, walk.open, true, OrderId::MAX);
        reached.is_some_and(|slot| {
            self.trigger(m, slot);
            true
        })
    }

    fn step_inside(&mut self, m: usize, walk: &BarWalk) -> bool {
        if let Some(slot) = self.next_stop(m, walk.low, walk.high, walk.is_down_first(), OrderId::MAX) {
            let stop = self.store[slot].stop;
            self.touch_price(m, stop.clamp(walk.low, walk.high));
            self.trigger(m, slot);
            return true;
        }
        if let Some(slot) = self.next_take_profit(m, walk) {
            let stop = self.store[slot].stop;
            self.touch_price(m, stop.clamp(walk.low, walk.high));
            self.trigger(m, slot);
            return true;
        }
        self.fill_passed(m, walk)
    }

    /// The stop that comes first among those that a price within `low..=high` triggers.
    fn next_stop(&self, m: usize, low: i64, high: i64, is_down_first: bool, before: OrderId) -> Option<u32> {
        let market = &self.markets[m];
        let is_stop = |slot: &u32| {
            let order = &self.store[*slot];
            matches!(order.order_type(), OrderType::StopLoss | OrderType::StopLossLimit) && order.id < before
        };
        let up = || market.stops_up.range(..=(high, OrderId::MAX)).map(|(_, slot)| *slot).find(&is_stop);
        let down = || market.stops_down.range((low, 0)..).rev().map(|(_, slot)| *slot).find(&is_stop);
        if is_down_first { down().or_else(up) } else { up().or_else(down) }
    }

    /// A take-profit that was there before the bar and that the price went through.
    fn next_take_profit(&self, m: usize, walk: &BarWalk) -> Option<u32> {
        let market = &self.markets[m];
        let is_due = |slot: &u32| {
            let order = &self.store[*slot];
            matches!(order.order_type(), OrderType::TakeProfit | OrderType::TakeProfitLimit)
                && order.id < walk.first_new_order
        };
        let up = || market.stops_up.range(..(walk.high, 0)).map(|(_, slot)| *slot).find(&is_due);
        let down = || market.stops_down.range((walk.low + 1, 0)..).rev().map(|(_, slot)| *slot).find(&is_due);
        if walk.is_down_first() { down().or_else(up) } else { up().or_else(down) }
    }

    fn trigger(&mut self, m: usize, slot: u32) {
        let order = &self.store[slot];
        let key = (order.stop, order.id);
        let is_up = triggers_up(order.order_type(), order.side());
        let market = &mut self.markets[m];
        if is_up {
            market.stops_up.remove(&key)
        } else {
            market.stops_down.remove(&key)
        };
        self.activate(m, slot);
    }

    /// Fills the next resting limit that the price of the bar went through.
    fn fill_passed(&mut self, m: usize, walk: &BarWalk) -> bool {
        let sides = if walk.is_down_first() { [Side::Buy, Side::Sell] } else { [Side::Sell, Side::Buy] };
        for side in sides {
            let market = &self.markets[m];
            let left = market.touch.as_ref().map_or(0, |touch| touch.bid_left);
            if left <= 0 {
                return false;
            }
            let mut found = None;
            for (price, level) in market.book.levels(side) {
                let is_through = if side == Side::Buy { walk.low < price } else { walk.high > price };
                if !is_through {
                    break;
                }
                let mut at = level.head;
                while at != crate::store::NIL && self.store[at].id >= walk.first_new_order {
                    at = self.store[at].level_next;
                }
                if at != crate::store::NIL {
                    found = Some((price, at));
                    break;
                }
            }
            if let Some((price, slot)) = found {
                let quantity = left.min(self.store[slot].remaining());
                self.touch_price(m, price);
                if let Some(touch) = &mut self.markets[m].touch {
                    touch.take(side, quantity);
                }
                self.fill_resting(m, slot, price, quantity);
                return true;
            }
        }
        false
    }

    /// Quotes: fills the best resting order that the other side has reached.
    fn fill_touched(&mut self, m: usize) -> bool {
        for side in [Side::Buy, Side::Sell] {
            let market = &self.markets[m];
            let Some((own, level)) = market.book.best(side) else { continue };
            let slot = level.head;
            let Some(touch) = &market.touch else { continue };
            let Some((_, left)) = touch.available(side.opposite()) else { continue };
            let other = if side == Side::Buy { touch.ask } else { touch.bid };
            let is_reached = if side == Side::Buy { other <= own } else { other >= own };
            if !is_reached {
                continue;
            }
            let quantity = left.min(self.store[slot].remaining());
            if let Some(touch) = &mut self.markets[m].touch {
                touch.take(side.opposite(), quantity);
            }
            self.fill_resting(m, slot, own, quantity);
            return true;
        }
        false
    }

    /// Quotes: puts every stop to work whose price the touch has reached.
    fn touch_triggers(&mut self, m: usize) {
        loop {
            let market = &self.markets[m];
            let Some(touch) = &market.touch else { return };
            let price = |slot: u32| if self.store[slot].side() == Side::Buy { touch.ask } else { touch.bid };
            let up = market.stops_up.iter().find(|(key, slot)| price(**slot) > 0 && price(**slot) >= key.0);
            let down =
                || market.stops_down.iter().rev().find(|(key, slot)| price(**slot) > 0 && price(**slot) <= key.0);
            let Some(slot) = up.or_else(down).map(|(_, slot)| *slot) else { return };
            self.trigger(m, slot);
        }
    }

    /// Does a market order wait for the next open instead of filling at the price at hand?
    pub(super) fn waits_for_open(&self, m: usize) -> bool {
        self.config.bar_fill == BarFill::NextOpen
            && self.markets[m].touch.as_ref().is_some_and(|touch| !touch.is_quoted)
    }
}

/// A price and slippage against the taker, rounded to the tick against it; at least a tick.
fn worse(price: i64, side: Side, slippage_bps: u32, tick: i64) -> i64 {
    if slippage_bps == 0 || price == 0 {
        return price;
    }
    let (price, slippage) = (i128::from(price), i128::from(slippage_bps));
    let (units, tick) = (price * slippage, i128::from(tick));
    let moved = match side {
        Side::Buy => (price * BPS + units + BPS * tick - 1) / (BPS * tick) * tick,
        Side::Sell => ((price * BPS - units) / (BPS * tick) * tick).max(tick),
    };
    i64::try_from(moved).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slippage_is_rounded_against_the_taker() {
        assert_eq!(worse(10_000, Side::Buy, 1, 1), 10_001);
        assert_eq!(worse(10_001, Side::Buy, 1, 1), 10_003, "1.0001 is rounded up");
        assert_eq!(worse(10_001, Side::Sell, 1, 1), 9_999, "rounded down");
        assert_eq!(worse(10_000, Side::Sell, 1, 5), 9_995);
        assert_eq!(worse(10_000, Side::Buy, 0, 5), 10_000);
        assert_eq!(worse(1, Side::Sell, 9_000, 1), 1, "never free");
    }
}
