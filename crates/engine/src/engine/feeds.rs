//! States of streams: what is not live is not traded on.

use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_marketdata::BookState;
use keel_model::{Balance, FeedEvent, FeedState, InstrumentId, StreamKind, Timestamp, TradingState};

impl Engine {
    pub(super) fn on_feed(&mut self, event: &FeedEvent, out: &mut Outbox) {
        match *event {
            FeedEvent::State(StreamKind::Market(instrument), state) => self.on_market_feed(instrument, state, out),
            FeedEvent::State(StreamKind::Account, state) => self.on_account_feed(state, out),
            FeedEvent::TradesLost { instrument, count } => out.notify(Notice::TradesLost { instrument, count }),
        }
    }

    fn on_market_feed(&mut self, instrument: InstrumentId, state: FeedState, out: &mut Outbox) {
        let Some(known) = self.feeds.get_mut(instrument.index()) else { return };
        if *known == state {
            return;
        }
        *known = state;
        out.notify(Notice::Feed(StreamKind::Market(instrument), state));
        if matches!(state, FeedState::Down | FeedState::Resyncing) {
            // Nothing may be decided on the old book; a snapshot or a new top of book will fill it again.
            if let Some(book) = self.books.get_mut(instrument.index()) {
                book.reset();
            }
        }
        self.update_tradable(instrument);
        if self.phase != Phase::Running {
            return;
        }
        for at in 0..self.routes.get(instrument.index()).map_or(0, |route| route.all.len()) {
            let Some(strategy) = self.routes.get(instrument.index()).and_then(|route| route.all.get(at)) else { break };
            self.call(usize::from(*strategy), |strategy, ctx| strategy.on_feed(ctx, instrument, state));
        }
        self.pump(out);
    }

    /// Risk may use an instrument's data only while its stream is live and its book is whole.
    pub(super) fn update_tradable(&mut self, instrument: InstrumentId) {
        let index = instrument.index();
        let is_live = self.feeds.get(index) == Some(&FeedState::Live);
        let is_whole = self.books.get(index).is_some_and(|book| book.state() != BookState::Broken);
        self.risk.on_feed(instrument, is_live && is_whole);
    }

    /// While the account stream is not live nobody tells us of fills: no new exposure. When it is back, what happened
    /// meanwhile is asked for before exposure is allowed again.
    fn on_account_feed(&mut self, state: FeedState, out: &mut Outbox) {
        if self.account_feed == state {
            // Live once more: something happened there that its messages do not tell.
            if state == FeedState::Live && self.phase != Phase::Recovering {
                self.begin_reconciliation(true, out);
            }
            return;
        }
        self.account_feed = state;
        self.account_lost = (state != FeedState::Live).then(|| self.account_lost.unwrap_or(self.now));
        if state != FeedState::Live {
            self.ledger.note_gap();
        }
        out.notify(Notice::Feed(StreamKind::Account, state));
        if state == FeedState::Live && (self.phase != Phase::Recovering || self.reconciliation.was_asked()) {
            self.begin_reconciliation(true, out);
        }
        self.apply_state();
    }

    pub(super) fn on_balances(&mut self, balances: &[Balance], complete: bool, ts_event: Timestamp, out: &mut Outbox) {
        self.risk.on_balances(balances, complete, ts_event);
        if complete {
            self.note_balances(balances, ts_event, out);
        }
        if let Err(error) = self.portfolio.apply_balances(balances, complete, ts_event) {
            out.notify(Notice::Booking { instrument: None, error });
        }
    }

    /// Brings risk to the state that was asked for, narrowed by what is not known at the moment.
    pub(super) fn apply_state(&mut self) {
        let is_blind =
            self.account_feed != FeedState::Live || self.reconciliation.blocks() || self.ledger.has_doubts_after_gap();
        let state = match self.wanted {
            TradingState::Active if is_blind => TradingState::Reducing,
            state => state,
        };
        self.risk.set_state(state);
    }
}
