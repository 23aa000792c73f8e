//! Market data as rows: level changes and trades of one instrument, many at once.
//!
//! Rows mean the same as events: those that share a receive time are one message, a run of level changes in it one delta, a
//! trade one trade. Where nobody listens to single messages they go into the book together (`is_quiet`), and risk and the
//! checks that follow each event see every change of the best prices all the same, so that both ways end in the same state.

use super::Engine;
use crate::outbox::Outbox;
use keel_marketdata::L2Rows;
use keel_model::{
    BookDelta, BookSnapshot, InstrumentId, Level, MarketEvent, Price, Quantity, Side, Timestamp, Trade, TradeId,
};

impl Engine {
    /// Takes rows of one instrument that were received before `until`, at their receive times; the first ones ever begin with
    /// an empty book. Returns how many it has taken, and takes no more once something stands in the outbox.
    pub fn process_rows(
        &mut self,
        instrument: InstrumentId,
        rows: &L2Rows<'_>,
        until: Timestamp,
        out: &mut Outbox,
    ) -> usize {
        let Some(first) = rows.ts_recv_ns.first().filter(|ts| **ts < until.as_ns()) else { return 0 };
        let Some(book) = self.book(instrument) else { return rows.len() };
        if !book.has_depth() {
            let ts = Timestamp::from_ns(*first);
            let empty = BookSnapshot { instrument, ts_event: ts, ts_recv: ts, ..BookSnapshot::default() };
            self.process_market(&MarketEvent::BookSnapshot(empty), out);
        }
        // Nothing but quotes happens until then, so that one look is enough.
        let is_quiet = self.is_quiet(instrument);
        let mut taken = 0;
        while out.is_empty() && rows.ts_recv_ns.get(taken).is_some_and(|ts| *ts < until.as_ns()) {
            let rest = rows.since(taken);
            let quiet = if is_quiet { self.process_quietly(instrument, &rest, until, out) } else { 0 };
            taken += if quiet > 0 { quiet } else { self.process_message(instrument, &rest, out) };
        }
        taken
    }

    /// Does nobody listen to single messages of an instrument, and can nothing come of one but a changed book?
    #[must_use]
    pub fn is_quiet(&self, instrument: InstrumentId) -> bool {
        let is_heard =
            |route: &super::Route| !route.depth.is_empty() || !route.trades.is_empty() || !route.bars.is_empty();
        self.routes.get(instrument.index()).is_some_and(|route| !is_heard(route))
            && self.parents.is_idle()
            && !self.parents.is_watched()
            && self.wind.is_none()
            && self.emergency.is_none()
            && self.exit_timeouts.is_idle()
            && self.risk.is_far_from_guards(instrument)
    }

    /// Puts rows into the book and shows risk each change of the best prices. Returns how many rows were taken; none when
    /// they have to go message by message.
    fn process_quietly(
        &mut self,
        instrument: InstrumentId,
        rows: &L2Rows<'_>,
        until: Timestamp,
        out: &mut Outbox,
    ) -> usize {
        let Some(book) = self.books.get_mut(instrument.index()) else { return 0 };
        let (done, result) = book.apply_rows(rows, until);
        let Some(last) = done.rows.checked_sub(1).and_then(|last| rows.ts_recv_ns.get(last)) else { return 0 };
        self.market_events += done.events;
        if let Some(ts) = done.ts_level {
            self.advance(ts);
            self.after_depth(instrument, result, out);
        }
        self.advance(Timestamp::from_ns(*last));
        self.finish(out);
        done.rows
    }

    /// The first message of some rows, event by event.
    fn process_message(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, out: &mut Outbox) -> usize {
        let end = rows.message_length(0);
        let mut at = 0;
        while at < end {
            let message = rows.range(at, end);
            let levels = message.kind.iter().take_while(|kind| kind.book_side().is_some()).count();
            if levels == 0 {
                self.process_trade_row(instrument, &message, out);
                at += 1;
            } else {
                self.process_level_rows(instrument, &message.range(0, levels), out);
                at += levels;
            }
        }
        end
    }

    fn process_trade_row(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, out: &mut Outbox) {
        let Some((row, aggressor)) = rows.get(0).and_then(|row| Some((row, row.kind.aggressor()?))) else { return };
        let price = Price::new(row.price, rows.price_scale);
        let quantity = Quantity::new(row.quantity, rows.quantity_scale);
        let (Ok(price), Ok(quantity)) = (price, quantity) else { return };
        let trade = Trade {
            instrument,
            ts_event: Timestamp::from_ns(row.ts_event_ns),
            ts_recv: Timestamp::from_ns(row.ts_recv_ns),
            trade_id: TradeId::EMPTY,
            price,
            quantity,
            aggressor,
        };
        self.process_market(&MarketEvent::Trade(trade), out);
    }

    fn process_level_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, out: &mut Outbox) {
        let Some(first) = rows.get(0) else { return };
        let known = self.book(instrument).map_or(0, keel_marketdata::OrderBook::update_id);
        let mut delta = BookDelta {
            instrument,
            ts_event: Timestamp::from_ns(first.ts_event_ns),
            ts_recv: Timestamp::from_ns(first.ts_recv_ns),
            first_update_id: known + 1,
            last_update_id: known + rows.len() as u64,
            ..BookDelta::default()
        };
        for row in rows.iter() {
            let price = Price::new(row.price, rows.price_scale);
            let quantity = Quantity::new(row.quantity, rows.quantity_scale);
            let (Ok(price), Ok(quantity), Some(side)) = (price, quantity, row.kind.book_side()) else { continue };
            let levels = if side == Side::Buy { &mut delta.bids } else { &mut delta.asks };
            levels.push(Level { price, quantity });
        }
        self.process_market(&MarketEvent::BookDelta(delta), out);
    }
}
