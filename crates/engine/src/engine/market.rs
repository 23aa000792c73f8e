//! Market data: books, reference prices, bars, and the strategies that listen. The hot path.

use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_marketdata::{Applied, BookError};
use keel_model::{Bar, BookDelta, BookSnapshot, InstrumentId, MarketEvent, Price, Quantity, TopOfBook, Trade};
use keel_strategy::{Context, Strategy};

impl Engine {
    /// Takes one market event, borrowed: an engine that runs inline on the sockets' thread copies nothing.
    #[inline]
    pub fn process_market(&mut self, event: &MarketEvent, out: &mut Outbox) {
        self.market_events += 1;
        self.advance(event.ts_recv());
        match event {
            MarketEvent::TopOfBook(top) => self.on_top_of_book(top, out),
            MarketEvent::Trade(trade) => self.on_trade(trade, out),
            MarketEvent::BookDelta(delta) => self.on_delta(delta, out),
            MarketEvent::BookSnapshot(snapshot) => self.on_snapshot(snapshot, out),
            MarketEvent::Bar(bar) => self.on_bar(bar, out),
            MarketEvent::FundingRate(funding) => {
                self.tell_all(funding.instrument, out, |strategy, ctx| strategy.on_funding(ctx, funding));
            }
            MarketEvent::MarkPrice(mark) => {
                self.tell_all(mark.instrument, out, |strategy, ctx| strategy.on_mark_price(ctx, mark));
            }
        }
        self.finish(out);
    }

    /// Takes one bar; as [`Self::process_market`] without wrapping.
    #[inline]
    pub fn process_bar(&mut self, bar: &Bar, out: &mut Outbox) {
        self.market_events += 1;
        self.advance(bar.ts_recv);
        self.on_bar(bar, out);
        self.finish(out);
    }

    /// Calls every strategy that subscribed to an instrument in any form.
    fn tell_all(
        &mut self,
        instrument: InstrumentId,
        out: &mut Outbox,
        handler: impl Fn(&mut dyn Strategy, &mut Context<'_>),
    ) {
        self.advance_bars(instrument, out);
        if self.phase != Phase::Running {
            return;
        }
        let index = instrument.index();
        for at in 0..self.routes.get(index).map_or(0, |route| route.all.len()) {
            let Some(strategy) = self.routes.get(index).and_then(|route| route.all.get(at)) else { break };
            self.call(usize::from(*strategy), &handler);
        }
        self.pump(out);
    }

    #[inline]
    fn on_top_of_book(&mut self, top: &TopOfBook, out: &mut Outbox) {
        let Some(book) = self.books.get_mut(top.instrument.index()) else { return };
        match book.apply_top(top) {
            Ok(Applied::Yes) => self.quote(top.instrument),
            Ok(Applied::Outdated) => return,
            Err(_) => {
                // Data that cannot be: risk sees it as it came and trusts nothing until a good quote follows (RC-16).
                let price = |level: keel_model::Level| {
                    if level.quantity.is_positive() { level.price } else { Price::ZERO }
                };
                self.risk.on_quote(top.instrument, price(top.bid), price(top.ask), self.now);
                return;
            }
        }
        self.advance_bars(top.instrument, out);
        if self.phase != Phase::Running {
            return;
        }
        let index = top.instrument.index();
        for at in 0..self.routes.get(index).map_or(0, |route| route.top.len()) {
            let Some(strategy) = self.routes.get(index).and_then(|route| route.top.get(at)) else { break };
            self.call(usize::from(*strategy), |strategy, ctx| strategy.on_top_of_book(ctx, top));
        }
        self.pump(out);
    }

    /// Tells risk the best prices of a book that has just changed.
    #[inline]
    fn quote(&mut self, instrument: InstrumentId) {
        let Some(book) = self.books.get(instrument.index()) else { return };
        let price = |level: Option<keel_model::Level>| level.map_or(Price::ZERO, |level| level.price);
        self.risk.on_quote(instrument, price(book.best_bid()), price(book.best_ask()), self.now);
        if self.parents.is_watched() {
            self.parents.note_quote(instrument);
        }
    }

    fn on_trade(&mut self, trade: &Trade, out: &mut Outbox) {
        if self.config.has_trade_prices {
            self.price_of(trade.instrument, trade.price, trade.quantity, trade.ts_event);
        }
        if self.parents.is_watched() {
            self.parents.note_trade(trade.instrument, trade.quantity);
        }
        self.advance_bars(trade.instrument, out);
        let index = trade.instrument.index();
        let Some(route) = self.routes.get(index) else { return };
        for at in 0..route.bars.len() {
            self.add_to_bar(index, at, trade.price, trade.quantity, trade.ts_recv);
        }
        if self.phase != Phase::Running {
            return;
        }
        for at in 0..self.routes.get(index).map_or(0, |route| route.trades.len()) {
            let Some(strategy) = self.routes.get(index).and_then(|route| route.trades.get(at)) else { break };
            self.call(usize::from(*strategy), |strategy, ctx| strategy.on_trade(ctx, trade));
        }
        self.pump(out);
    }

    fn add_to_bar(
        &mut self,
        index: usize,
        at: usize,
        price: Price,
        quantity: Quantity,
        ts_recv: keel_model::Timestamp,
    ) {
        let Some(feed) = self.routes.get(index).and_then(|route| route.bars.get(at)) else { return };
        if let Some(feed) = self.bars.get_mut(usize::from(*feed)) {
            // A late or impossible trade is left out of the bar; the books have their own alarms for bad data.
            let _refused = feed.builder.add(price, quantity, ts_recv);
        }
    }

    /// Closes the bars that engine time has passed and tells those who listen.
    #[inline]
    pub(super) fn advance_bars(&mut self, instrument: InstrumentId, out: &mut Outbox) {
        let index = instrument.index();
        let count = self.routes.get(index).map_or(0, |route| route.bars.len());
        for at in 0..count {
            let Some(feed) = self.routes.get(index).and_then(|route| route.bars.get(at)) else { break };
            let feed = usize::from(*feed);
            while let Some(bar) = self.bars.get_mut(feed).and_then(|bars| bars.builder.advance(self.now)) {
                self.tell_bar(feed, &bar, out);
            }
        }
    }

    fn tell_bar(&mut self, feed: usize, bar: &Bar, out: &mut Outbox) {
        if self.phase != Phase::Running {
            return;
        }
        for at in 0..self.bars.get(feed).map_or(0, |bars| bars.strategies.len()) {
            let Some(strategy) = self.bars.get(feed).and_then(|bars| bars.strategies.get(at)) else { break };
            self.call(usize::from(*strategy), |strategy, ctx| strategy.on_bar(ctx, bar));
        }
        self.pump(out);
    }

    /// A bar that the venue built; told to those who asked for bars of its length.
    fn on_bar(&mut self, bar: &Bar, out: &mut Outbox) {
        if !bar.is_closed {
            return;
        }
        self.price_of(bar.instrument, bar.close, bar.volume, bar.ts_close);
        let length = bar.ts_close.since(bar.ts_open);
        let fits = |builder: &keel_marketdata::BarBuilder| {
            builder.instrument() == bar.instrument && builder.interval() == length
        };
        if let Some(feed) = self.bars.iter().position(|feed| fits(&feed.builder)) {
            self.tell_bar(feed, bar, out);
        }
    }

    /// Where there are no quotes, the close of a bar (or a trade, where that is asked for) is the price that risk and strategies
    /// go by.
    fn price_of(&mut self, id: InstrumentId, price: Price, quantity: Quantity, ts_event: keel_model::Timestamp) {
        let now = self.now;
        let Some(book) = self.books.get_mut(id.index()) else { return };
        match book.apply_last(price, quantity, ts_event, now) {
            Ok(Applied::Yes) => self.quote(id),
            Ok(Applied::Outdated) => {}
            Err(_) => self.risk.on_quote(id, Price::ZERO, Price::ZERO, now),
        }
    }

    fn on_delta(&mut self, delta: &BookDelta, out: &mut Outbox) {
        let Some(book) = self.books.get_mut(delta.instrument.index()) else { return };
        let result = book.apply_delta(delta);
        self.after_depth(delta.instrument, result, out);
    }

    fn on_snapshot(&mut self, snapshot: &BookSnapshot, out: &mut Outbox) {
        let Some(book) = self.books.get_mut(snapshot.instrument.index()) else { return };
        let result = book.apply_snapshot(snapshot);
        if result.is_ok() {
            self.update_tradable(snapshot.instrument);
        }
        self.after_depth(snapshot.instrument, result, out);
    }

    pub(super) fn after_depth(
        &mut self,
        instrument: InstrumentId,
        result: Result<Applied, BookError>,
        out: &mut Outbox,
    ) {
        match result {
            Ok(Applied::Yes) => self.quote(instrument),
            Ok(Applied::Outdated) => return,
            Err(error) => {
                // Deltas before the first snapshot are normal at the start of a stream.
                if error != BookError::NoSnapshot {
                    out.notify(Notice::BookBroken { instrument, error });
                }
                self.update_tradable(instrument);
                return;
            }
        }
        self.advance_bars(instrument, out);
        if self.phase != Phase::Running {
            return;
        }
        let index = instrument.index();
        for at in 0..self.routes.get(index).map_or(0, |route| route.depth.len()) {
            let Some(strategy) = self.routes.get(index).and_then(|route| route.depth.get(at)) else { break };
            self.call(usize::from(*strategy), |strategy, ctx| strategy.on_book(ctx, instrument));
        }
        self.pump(out);
    }
}
