//! Market data that came while the lane was full, kept as one state per instrument.
//!
//! Bounded by the number of instruments and by [`LEVELS_MAX`] levels per merged delta; a delta that would grow beyond that
//! is given up, and the stream is told to be resyncing, so that nothing is decided on a book with a hole.

use keel_model::{
    Bar, BookDelta, BookSnapshot, Event, FeedEvent, FeedState, FundingRate, InstrumentId, Level, MarkPrice,
    MarketEvent, StreamKind, Timestamp, TopOfBook,
};
use std::collections::{BTreeMap, VecDeque};

/// Most levels on one side of a merged delta.
const LEVELS_MAX: usize = 5_000;
/// Most bars kept; only final ones, which cannot be merged.
const BARS_MAX: usize = 64;

#[derive(Debug, Default)]
struct Pending {
    snapshot: Option<BookSnapshot>,
    delta: Option<BookDelta>,
    top: Option<TopOfBook>,
    bars: VecDeque<Bar>,
    funding: Option<FundingRate>,
    mark: Option<MarkPrice>,
    trades_lost: u64,
    /// The last state of the stream; it comes after the data.
    state: Option<(Timestamp, FeedEvent)>,
    is_broken: bool,
}

/// One state per instrument, and the account stream's.
#[derive(Debug, Default)]
pub(crate) struct Conflated {
    pending: BTreeMap<InstrumentId, Pending>,
}

impl Conflated {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn count_lost_trade(&mut self, instrument: InstrumentId) {
        self.pending.entry(instrument).or_default().trades_lost += 1;
    }

    /// Takes the place of what it makes old.
    pub(crate) fn merge(&mut self, event: &MarketEvent) {
        let pending = self.pending.entry(event.instrument()).or_default();
        match event {
            MarketEvent::TopOfBook(top) => pending.top = Some(*top),
            MarketEvent::BookSnapshot(snapshot) => {
                pending.snapshot = Some(snapshot.clone());
                pending.delta = None;
                pending.is_broken = false;
            }
            MarketEvent::BookDelta(delta) if !pending.is_broken => merge_delta(pending, delta),
            MarketEvent::BookDelta(_) => {}
            MarketEvent::Bar(bar) => {
                // A bar that is still being built is only for display, so it is not worth a place.
                if bar.is_closed {
                    if pending.bars.len() == BARS_MAX {
                        pending.bars.pop_front();
                    }
                    pending.bars.push_back(*bar);
                }
            }
            MarketEvent::FundingRate(rate) => pending.funding = Some(*rate),
            MarketEvent::MarkPrice(mark) => pending.mark = Some(*mark),
            MarketEvent::Trade(_) => pending.trades_lost += 1,
        }
    }

    pub(crate) fn set_state(&mut self, ts: Timestamp, event: FeedEvent) {
        match event {
            FeedEvent::State(StreamKind::Market(instrument), _) => {
                self.pending.entry(instrument).or_default().state = Some((ts, event));
            }
            FeedEvent::TradesLost { instrument, count } => {
                self.pending.entry(instrument).or_default().trades_lost += count;
            }
            // The account stream's state goes through the execution lane.
            FeedEvent::State(StreamKind::Account, _) => {}
        }
    }

    /// Moves everything to the end of `out`, book before top before news.
    pub(crate) fn drain(&mut self, now: Timestamp, out: &mut VecDeque<Event>) {
        while let Some((instrument, pending)) = self.pending.pop_first() {
            let Pending { snapshot, delta, top, bars, funding, mark, trades_lost, state, is_broken } = pending;
            out.extend(snapshot.map(MarketEvent::BookSnapshot).map(Event::Market));
            out.extend(delta.map(MarketEvent::BookDelta).map(Event::Market));
            out.extend(top.map(MarketEvent::TopOfBook).map(Event::Market));
            out.extend(bars.into_iter().map(MarketEvent::Bar).map(Event::Market));
            out.extend(funding.map(MarketEvent::FundingRate).map(Event::Market));
            out.extend(mark.map(MarketEvent::MarkPrice).map(Event::Market));
            if trades_lost > 0 {
                out.push_back(Event::Feed(now, FeedEvent::TradesLost { instrument, count: trades_lost }));
            }
            out.extend(state.map(|(ts, event)| Event::Feed(ts, event)));
            if is_broken {
                let event = FeedEvent::State(StreamKind::Market(instrument), FeedState::Resyncing);
                out.push_back(Event::Feed(now, event));
            }
        }
    }
}

/// Quantities of a delta are absolute, so two deltas in a row are one: the later level wins.
fn merge_delta(pending: &mut Pending, delta: &BookDelta) {
    let merged = pending.delta.get_or_insert_with(|| BookDelta {
        instrument: delta.instrument,
        first_update_id: delta.first_update_id,
        previous_update_id: delta.previous_update_id,
        ..BookDelta::default()
    });
    merged.ts_event = delta.ts_event;
    merged.ts_recv = delta.ts_recv;
    merged.last_update_id = delta.last_update_id;
    merge_levels(&mut merged.bids, &delta.bids);
    merge_levels(&mut merged.asks, &delta.asks);
    if merged.bids.len() > LEVELS_MAX || merged.asks.len() > LEVELS_MAX {
        pending.delta = None;
        pending.is_broken = true;
    }
}

/// `into` is sorted by price and holds each price once.
fn merge_levels(into: &mut Vec<Level>, newer: &[Level]) {
    for level in newer {
        match into.binary_search_by_key(&level.price, |old| old.price) {
            Ok(at) => {
                if let Some(old) = into.get_mut(at) {
                    *old = *level;
                }
            }
            Err(at) => into.insert(at, *level),
        }
    }
}
