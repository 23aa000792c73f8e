//! One symbol as the venue shows it, and the changes of its book that wait to be sent.

use crate::encode::AggTrade;
use crate::replay_book::ReplayBook;
use crate::stream_name::StreamKind;
use keel_model::{Instrument, InstrumentId, Level, Price, Quantity, Side, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Changes of a book since they were last sent.
#[derive(Debug)]
pub(crate) struct PendingDepth {
    /// Last update id sent.
    sent: u64,
    /// Last update id seen.
    last: u64,
    bids: BTreeMap<Price, Quantity>,
    asks: BTreeMap<Price, Quantity>,
}

impl PendingDepth {
    pub(super) const fn new(sent: u64) -> Self {
        Self { sent, last: sent, bids: BTreeMap::new(), asks: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, side: Side, level: Level, update_id: u64) {
        if update_id <= self.sent {
            return;
        }
        self.last = self.last.max(update_id);
        let levels = if side == Side::Buy { &mut self.bids } else { &mut self.asks };
        levels.insert(level.price, level.quantity);
    }

    /// Ids and levels of the next event; `None` when nothing changed.
    pub(super) fn take(&mut self) -> Option<DepthChange> {
        if self.last <= self.sent {
            return None;
        }
        let ids = (self.sent + 1, self.last);
        self.sent = self.last;
        let level = |(price, quantity)| Level { price, quantity };
        let bids = std::mem::take(&mut self.bids).into_iter().rev().map(level).collect();
        let asks = std::mem::take(&mut self.asks).into_iter().map(level).collect();
        Some(DepthChange { ids, bids, asks })
    }
}

/// What one depth event says: first and last update id, changed levels.
#[derive(Debug)]
pub(super) struct DepthChange {
    pub(super) ids: (u64, u64),
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
}

/// One symbol as the venue shows it.
#[derive(Debug)]
pub(crate) struct Symbol {
    /// The engine's index.
    pub(crate) id: InstrumentId,
    /// `BTCUSDT`.
    pub(crate) name: String,
    /// `btcusdt`.
    pub(crate) lower: String,
    /// Status word when it is not what the engine says.
    pub(crate) status_word: Option<String>,
    /// Aggregate trades, oldest first.
    pub(crate) aggs: VecDeque<AggTrade>,
    /// Stream kinds that come as recorded frames.
    pub(crate) recorded: HashSet<StreamKind>,
    /// The recorded book by its deltas alone, once it had a snapshot.
    pub(crate) book: Option<ReplayBook>,
    pub(super) next_agg: u64,
    pub(super) open_agg: Option<AggTrade>,
    pub(super) pending: [Option<PendingDepth>; 2],
    pub(super) update_id: u64,
    pub(super) is_changed: bool,
    pub(super) last_trade: Timestamp,
    pub(super) shown_klines: HashMap<StreamKind, Timestamp>,
}

impl Symbol {
    pub(super) fn new(instrument: &Instrument) -> Self {
        let name = instrument.symbol.to_string();
        Self {
            id: instrument.id,
            lower: name.to_lowercase(),
            name,
            status_word: None,
            aggs: VecDeque::new(),
            recorded: HashSet::new(),
            book: None,
            next_agg: 1,
            open_agg: None,
            pending: [None, None],
            update_id: 0,
            is_changed: false,
            last_trade: Timestamp::ZERO,
            shown_klines: HashMap::new(),
        }
    }

    /// Notes where the book's numbering stands.
    pub(crate) fn note_depth_id(&mut self, update_id: u64) {
        self.update_id = self.update_id.max(update_id);
    }

    /// Notes a changed level for the depth streams.
    pub(crate) fn note_depth(&mut self, side: Side, level: Level, update_id: u64) {
        self.update_id = self.update_id.max(update_id);
        self.is_changed = true;
        for pending in self.pending.iter_mut().flatten() {
            pending.add(side, level, update_id);
        }
    }
}
