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
    /// Takes rows of one instrument, at their receive times; the first ones ever begin with an empty book. Returns how many
    /// it has taken: at least one message, and no more once something stands in the outbox.
    pub fn process_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, out: &mut Outbox) -> usize {
        let Some(first) = rows.ts_recv_ns.first() else { return 0 };
        if self.book(instrument).is_none() {
            return rows.len();
        }
        if self.book(instrument).is_some_and(|book| !book.has_depth()) {
            let ts = Timestamp::from_ns(*first);
            let empty = BookSnapshot { instrument, ts_event: ts, ts_recv: ts, ..BookSnapshot::default() };
            self.process_market(&MarketEvent::BookSnapshot(empty), out);
        }
        self.process_message(instrument, rows, out)
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
