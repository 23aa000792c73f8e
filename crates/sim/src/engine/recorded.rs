//! Recorded markets: feeding the recorded book and tape, and filling resting orders by their place in the queue.
//!
//! The receive time of a recorded event is the market's time; the feed's own latency is in it already. A resting order fills
//! when a recorded trade goes through its price, when it trades at its price and the queue in front is used up, or when the
//! recorded book comes to stand at or beyond its price on the other side. No more than the recorded quantity is ever filled,
//! unless [`crate::FillModel::Whole`] is asked for.

use super::MatchingEngine;
use super::rules::units;
use crate::book::Book;
use crate::config::{FillModel, QueueModel};
use crate::event::{BookChange, SimEvent};
use crate::external::{LevelChange, TopInt};
use crate::reject::Reject;
use crate::store::{NIL, OrderStore};
use crate::tape::TapeTrade;
use crate::types::{ClientId, ExpiryReason, OrderState};
use keel_model::{
    BookDelta, BookSnapshot, InstrumentId, Level, MarketEvent, Price, Quantity, Rounding, Side, TopOfBook, Trade,
};

/// How complete a recorded market is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStatus {
    /// Was there a snapshot of the whole book? Without one the book is only what deltas and the top of book have shown.
    pub has_snapshot: bool,
    /// Breaks in the numbering of deltas.
    pub gaps: u64,
    /// Updates after which an older level stood in the way of a newer one on the other side; the older one was removed.
    pub crossed: u64,
    /// Prices or quantities that do not fit the instrument; left out.
    pub unreadable: u64,
}

impl MatchingEngine {
    /// Feeds one event of a recorded market; its receive time becomes the engine's time. Bars, funding and mark prices mean
    /// nothing here. Refused for instruments whose liquidity comes from accounts.
    pub fn on_market(&mut self, event: &MarketEvent) -> Result<(), Reject> {
        let m = self.market_index(event.instrument())?;
        if self.markets[m].touch.is_some() {
            return self.touch_market(m, event);
        }
        if self.markets[m].external.is_none() {
            return Err(Reject::UnknownInstrument);
        }
        self.begin(event.ts_recv());
        let mut changes = std::mem::take(&mut self.changes);
        match event {
            MarketEvent::Trade(trade) => self.recorded_trade(m, trade),
            MarketEvent::TopOfBook(top) => self.recorded_top(m, top, &mut changes),
            MarketEvent::BookDelta(delta) => self.recorded_delta(m, delta, &mut changes),
            MarketEvent::BookSnapshot(snapshot) => self.recorded_snapshot(m, snapshot, &mut changes),
            MarketEvent::Bar(_) | MarketEvent::FundingRate(_) | MarketEvent::MarkPrice(_) => {}
        }
        if !changes.is_empty() {
            self.apply_changes(m, &changes);
            self.fill_crossed(m, Side::Buy);
            self.fill_crossed(m, Side::Sell);
            changes.clear();
        }
        self.changes = changes;
        self.finish(m);
        Ok(())
    }

    /// How complete a recorded market is; `None` when it is not one.
    #[must_use]
    pub fn recorded_status(&self, instrument: InstrumentId) -> Option<RecordedStatus> {
        let external = self.market(instrument)?.external.as_ref()?;
        Some(RecordedStatus {
            has_snapshot: external.has_snapshot,
            gaps: external.gaps,
            crossed: external.crossed,
            unreadable: external.unreadable,
        })
    }

    /// External quantity in front of a resting order in a recorded market; zero elsewhere.
    #[must_use]
    pub fn queue_ahead(&self, order_id: crate::OrderId) -> Quantity {
        let Some(slot) = self.store.slot_of(order_id) else { return Quantity::ZERO };
        let order = &self.store[slot];
        let market = self.market(order.instrument);
        market.map_or(Quantity::ZERO, |market| market.rules.quantity(order.ahead))
    }

    pub(super) fn price_units(&mut self, m: usize, price: Price) -> Option<i64> {
        let units = units(price.mantissa(), price.scale(), self.markets[m].rules.price_scale);
        self.counted(m, units.filter(|units| *units > 0))
    }

    pub(super) fn quantity_units(&mut self, m: usize, quantity: Quantity) -> Option<i64> {
        let scale = self.markets[m].rules.quantity_scale;
        let exact = units(quantity.mantissa(), quantity.scale(), scale).or_else(|| {
            // Finer than the step: what cannot be traded is cut off.
            let step = Quantity::new(1, scale).ok()?;
            quantity.round_to_step(step, Rounding::ToZero).ok()?.rescale(scale).ok().map(Quantity::mantissa)
        });
        self.counted(m, exact.filter(|units| *units >= 0))
    }

    fn counted(&mut self, m: usize, units: Option<i64>) -> Option<i64> {
        if let (None, Some(external)) = (units, &mut self.markets[m].external) {
            external.unreadable += 1;
        }
        units
    }

    fn level_units(&mut self, m: usize, level: &Level) -> Option<(i64, i64)> {
        self.price_units(m, level.price).zip(self.quantity_units(m, level.quantity))
    }

    fn recorded_trade(&mut self, m: usize, trade: &Trade) {
        let (Some(price), Some(quantity)) = (self.price_units(m, trade.price), self.quantity_units(m, trade.quantity))
        else {
            return;
        };
        self.trade_in_units(m, trade.trade_id.as_str().parse().ok(), price, quantity, trade.aggressor);
    }

    /// A recorded trade; without an id it gets the one after the last.
    pub(super) fn trade_in_units(&mut self, m: usize, id: Option<u64>, price: i64, quantity: i64, aggressor: Side) {
        if quantity == 0 {
            return;
        }
        let market = &mut self.markets[m];
        let id = id.unwrap_or_else(|| market.tape.last.map_or(0, |last| last.id) + 1);
        let tape = TapeTrade { id, ts: self.now, price, quantity, aggressor, buyer: 0, seller: 0 };
        market.tape.add(tape);
        market.is_stop_check_due = true;
        let side = aggressor.opposite();
        if let Some(external) = &mut market.external {
            external.traded(side, price, quantity);
        }
        self.publish_trade(m, &tape);
        match self.config.fills {
            FillModel::Recorded => self.fill_by_trade(m, side, price, quantity),
            FillModel::Whole => self.fill_whole_by_trade(m, side, price, quantity),
        }
    }

    /// Fills resting orders of a side with a recorded trade: those with a better price than it first, then those at its
    /// price behind their queue.
    fn fill_by_trade(&mut self, m: usize, side: Side, price: i64, quantity: i64) {
        let (mut left, mut used_by_queue) = (quantity, 0i64);
        while left > 0 {
            let Some((best, level)) = self.markets[m].book.best(side) else { return };
            let slot = level.head;
            let is_better = if side == Side::Buy { best > price } else { best < price };
            if !is_better {
                if best == price {
                    break;
                }
                return;
            }
            let filled = left.min(self.store[slot].remaining());
            self.fill_resting(m, slot, best, filled);
            left -= filled;
        }
        let mut at =
            self.markets[m].book.best(side).filter(|(best, _)| *best == price).map_or(NIL, |(_, level)| level.head);
        while at != NIL {
            let next = self.store[at].level_next;
            let order = &mut self.store[at];
            let passed = order.ahead.min(used_by_queue);
            order.ahead -= passed;
            let in_front = order.ahead.min(left);
            order.ahead -= in_front;
            used_by_queue += in_front;
            left -= in_front;
            let filled = if order.ahead == 0 { left.min(order.remaining()) } else { 0 };
            if filled > 0 {
                self.fill_resting(m, at, price, filled);
                left -= filled;
            }
            at = next;
        }
    }

    /// As [`Self::fill_by_trade`], but each order by itself and whole ([`FillModel::Whole`]).
    fn fill_whole_by_trade(&mut self, m: usize, side: Side, price: i64, quantity: i64) {
        while let Some((best, level)) = self.markets[m].book.best(side) {
            let is_better = if side == Side::Buy { best > price } else { best < price };
            if !is_better {
                break;
            }
            let slot = level.head;
            self.fill_resting(m, slot, best, self.store[slot].remaining());
        }
        let mut at =
            self.markets[m].book.best(side).filter(|(best, _)| *best == price).map_or(NIL, |(_, level)| level.head);
        while at != NIL {
            let order = &mut self.store[at];
            let (next, remaining) = (order.level_next, order.remaining());
            let is_reached = quantity > order.ahead;
            order.ahead = order.ahead.saturating_sub(quantity).max(0);
            if is_reached {
                self.fill_resting(m, at, price, remaining);
            }
            at = next;
        }
    }

    /// One virtual trade of a resting order with the recorded market.
    pub(super) fn fill_resting(&mut self, m: usize, slot: u32, price: i64, quantity: i64) {
        let quantity = quantity.min(self.allowed(slot));
        if quantity == 0 {
            return self.end(m, slot, OrderState::Expired, ExpiryReason::NothingToReduce, ClientId::EMPTY);
        }
        let market = &mut self.markets[m];
        let id = market.next_trade_id;
        market.next_trade_id += 1;
        self.fill_maker(m, slot, price, quantity, id);
    }

    /// Fills resting orders of a side at whose price or beyond the recorded book stands on the other side.
    pub(super) fn fill_crossed(&mut self, m: usize, side: Side) {
        loop {
            let market = &self.markets[m];
            let Some((own, level)) = market.book.best(side) else { return };
            let slot = level.head;
            let other = market.external.as_ref().and_then(|external| external.best_available(side.opposite()));
            let Some((price, available)) = other else { return };
            let is_crossed = if side == Side::Buy { price <= own } else { price >= own };
            if !is_crossed {
                return;
            }
            let remaining = self.store[slot].remaining();
            let quantity = match self.config.fills {
                FillModel::Recorded => available.min(remaining),
                FillModel::Whole => remaining,
            };
            if let (FillModel::Recorded, Some(external)) = (self.config.fills, &mut self.markets[m].external) {
                external.take(side.opposite(), price, quantity);
            }
            self.fill_resting(m, slot, own, quantity);
        }
    }

    /// External quantity in front of the resting orders at a price was taken.
    pub(super) fn shorten_queue(&mut self, m: usize, side: Side, price: i64, quantity: i64) {
        let mut at = self.markets[m].book.side(side).get(&price).map_or(NIL, |level| level.head);
        while at != NIL {
            let order = &mut self.store[at];
            order.ahead = (order.ahead - quantity).max(0);
            at = order.level_next;
        }
    }

    /// Reports changed levels and moves the queues of resting orders at them.
    pub(super) fn apply_changes(&mut self, m: usize, changes: &[LevelChange]) {
        let market = &mut self.markets[m];
        let last_id = market.external.as_ref().map_or(0, |external| external.last_id);
        market.update_id = (market.update_id + 1).max(last_id);
        for change in changes {
            if self.config.publish_market_data {
                let market = &self.markets[m];
                let level =
                    Level { price: market.rules.price(change.price), quantity: market.rules.quantity(change.after) };
                let (instrument, update_id) = (market.instrument.id, market.update_id);
                let side = change.side;
                self.publish(SimEvent::Book(BookChange { instrument, update_id, ts: self.now, side, level }));
            }
            move_queue(&self.markets[m].book, &mut self.store, self.config.queue, change);
        }
    }

    fn recorded_top(&mut self, m: usize, top: &TopOfBook, changes: &mut Vec<LevelChange>) {
        let is_empty = |level: &Level| level.quantity.is_zero();
        let bid = if is_empty(&top.bid) { Some((0, 0)) } else { self.level_units(m, &top.bid) };
        let ask = if is_empty(&top.ask) { Some((0, 0)) } else { self.level_units(m, &top.ask) };
        let (Some(bid), Some(ask)) = (bid, ask) else { return };
        let Some(external) = &mut self.markets[m].external else { return };
        if top.update_id > 0 && top.update_id < external.last_id {
            return;
        }
        let top = TopInt { update_id: top.update_id, bid, ask };
        external.top = Some(top);
        self.apply_top(m, &top, changes);
    }

    pub(super) fn apply_top(&mut self, m: usize, top: &TopInt, changes: &mut Vec<LevelChange>) {
        let Some(external) = &mut self.markets[m].external else { return };
        for (side, (price, quantity), (other, other_quantity)) in
            [(Side::Buy, top.bid, top.ask), (Side::Sell, top.ask, top.bid)]
        {
            external.cut_better(side, (quantity > 0).then_some(price), changes);
            if quantity > 0 {
                changes.extend(external.show(side, price, quantity));
            }
            // An older level of this side may still reach into the other one.
            if other_quantity > 0 {
                let limit = if side == Side::Buy { other - 1 } else { other + 1 };
                external.cut_better(side, Some(limit), changes);
            }
        }
    }

    fn recorded_delta(&mut self, m: usize, delta: &BookDelta, changes: &mut Vec<LevelChange>) {
        let Some(external) = &mut self.markets[m].external else { return };
        if delta.last_update_id > 0 {
            if delta.last_update_id <= external.last_id {
                return;
            }
            let is_next = delta.previous_update_id == external.last_id || delta.first_update_id <= external.last_id + 1;
            if external.last_id > 0 && !is_next {
                external.gaps += 1;
                external.is_behind_gap = true;
            }
            external.last_id = delta.last_update_id;
            if external.is_behind_gap || !external.has_snapshot {
                external.keep_early(delta);
            }
        }
        let bid = self.show_levels(m, Side::Buy, &delta.bids, changes);
        let ask = self.show_levels(m, Side::Sell, &delta.asks, changes);
        let Some(external) = &mut self.markets[m].external else { return };
        external.uncross(bid, ask, changes);
        match external.top {
            Some(top) if top.update_id > external.last_id => self.apply_top(m, &top, changes),
            _ => external.top = None,
        }
    }

    fn recorded_snapshot(&mut self, m: usize, snapshot: &BookSnapshot, changes: &mut Vec<LevelChange>) {
        let known = self.markets[m].external.as_ref();
        let is_older = snapshot.last_update_id > 0
            && known.is_some_and(|known| {
                known.has_snapshot && !known.is_behind_gap && snapshot.last_update_id < known.last_id
            });
        if is_older {
            return;
        }
        for (side, levels) in [(Side::Buy, &snapshot.bids), (Side::Sell, &snapshot.asks)] {
            let mut kept: Vec<i64> = levels.iter().filter_map(|level| self.price_units(m, level.price)).collect();
            kept.sort_unstable();
            if let Some(external) = &mut self.markets[m].external {
                external.keep_only(side, &kept, changes);
            }
            let best = self.show_levels(m, side, levels, changes);
            if let Some(external) = &mut self.markets[m].external {
                let (bid, ask) = if side == Side::Buy { (best, None) } else { (None, best) };
                external.uncross(bid, ask, changes);
            }
        }
        let Some(external) = &mut self.markets[m].external else { return };
        (external.has_snapshot, external.is_behind_gap) = (true, false);
        external.last_id = snapshot.last_update_id;
        if external.top.is_some_and(|top| top.update_id <= snapshot.last_update_id) {
            external.top = None;
        }
        // A snapshot asked for is often older than the deltas that came meanwhile: they follow it.
        for delta in std::mem::take(&mut external.early) {
            self.recorded_delta(m, &delta, changes);
        }
        if let Some(top) = self.markets[m].external.as_ref().and_then(|external| external.top) {
            self.apply_top(m, &top, changes);
        }
    }

    /// Shows levels anew; returns the best price among them that has a quantity.
    fn show_levels(&mut self, m: usize, side: Side, levels: &[Level], changes: &mut Vec<LevelChange>) -> Option<i64> {
        let mut best: Option<i64> = None;
        for level in levels {
            let Some((price, quantity)) = self.level_units(m, level) else { continue };
            if let Some(external) = &mut self.markets[m].external {
                changes.extend(external.show(side, price, quantity));
            }
            if quantity > 0 {
                best = Some(match (best, side) {
                    (None, _) => price,
                    (Some(known), Side::Buy) => known.max(price),
                    (Some(known), Side::Sell) => known.min(price),
                });
            }
        }
        best
    }
}

/// Moves the queues of the resting orders at a level that has changed.
pub(super) fn move_queue(book: &Book, store: &mut OrderStore, queue: QueueModel, change: &LevelChange) {
    let mut at = book.side(change.side).get(&change.price).map_or(NIL, |level| level.head);
    // What left without a trade was cancelled, somewhere in the queue.
    let cancelled = (change.before - change.after - change.traded).max(0);
    while at != NIL {
        let order = &mut store[at];
        if queue == QueueModel::Proportional && change.before > 0 && cancelled > 0 {
            let in_front = i128::from(cancelled) * i128::from(order.ahead) / i128::from(change.before);
            order.ahead -= i64::try_from(in_front).unwrap_or(0).min(order.ahead);
        }
        order.ahead = order.ahead.min(change.after);
        at = order.level_next;
    }
}
