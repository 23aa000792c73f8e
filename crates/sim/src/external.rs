//! The book of a recorded market, kept as it was, and beside each level what accounts have virtually taken from it.
//!
//! What was taken is gone until it is shown anew: only quantity that is added to a level, or a level that returns after it
//! was gone, can be taken again; what leaves a level leaves from what is still to be had first.
//!
//! Each side is a ladder of ticks: keys are prices in price units, of asks negated, so that the best is the largest.

use keel_marketdata::ladder::Ladder;
use keel_model::{BookDelta, Side};
use std::collections::VecDeque;

/// One level: what the recording shows, and what of it is still to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExternalLevel {
    pub(crate) shown: i64,
    pub(crate) available: i64,
    /// Traded at the price since the level was last shown; tells trades from cancels.
    pub(crate) traded: i64,
}

impl ExternalLevel {
    /// Shows another quantity, which is positive.
    #[inline]
    pub(crate) fn show(&mut self, quantity: i64) {
        self.available = self.available.saturating_add(quantity - self.shown).clamp(0, quantity);
        (self.shown, self.traded) = (quantity, 0);
    }
}

/// The recorded book in integers.
#[derive(Debug, Default)]
pub(crate) struct ExternalBook {
    /// Bids and asks.
    pub(crate) sides: [Ladder<ExternalLevel>; 2],
    /// Update id that the book has reached; zero when the recording has none.
    pub(crate) last_id: u64,
    /// Best bid and ask as last told by themselves, with their update id; newer than the deltas around them.
    pub(crate) top: Option<TopInt>,
    pub(crate) has_snapshot: bool,
    /// Deltas that came while a snapshot is missing or after a gap: the next snapshot may be older than they are.
    pub(crate) early: VecDeque<BookDelta>,
    /// Is a snapshot missing, or is there a gap since the last one?
    pub(crate) is_behind_gap: bool,
    pub(crate) gaps: u64,
    pub(crate) crossed: u64,
    pub(crate) unreadable: u64,
}

/// Top of book in integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopInt {
    pub(crate) update_id: u64,
    /// (price, quantity); a quantity of zero means no orders.
    pub(crate) bid: (i64, i64),
    pub(crate) ask: (i64, i64),
}

/// What a change did to a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelChange {
    pub(crate) side: Side,
    pub(crate) price: i64,
    pub(crate) before: i64,
    pub(crate) after: i64,
    /// Traded at the price since the level was last shown.
    pub(crate) traded: i64,
}

/// Most deltas kept for a snapshot to join; the oldest leaves first. More than three minutes of a 100 ms stream.
const EARLY_MAX: usize = 2_048;

impl ExternalBook {
    /// Keeps a delta for a snapshot that is still to come.
    pub(crate) fn keep_early(&mut self, delta: &BookDelta) {
        if self.early.len() >= EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(delta.clone());
    }

    #[inline]
    const fn side(&self, side: Side) -> &Ladder<ExternalLevel> {
        let [bids, asks] = &self.sides;
        match side {
            Side::Buy => bids,
            Side::Sell => asks,
        }
    }

    #[inline]
    const fn side_mut(&mut self, side: Side) -> &mut Ladder<ExternalLevel> {
        let [bids, asks] = &mut self.sides;
        match side {
            Side::Buy => bids,
            Side::Sell => asks,
        }
    }

    fn levels(&self, side: Side) -> impl Iterator<Item = (i64, &ExternalLevel)> + '_ {
        self.side(side).iter().map(move |(key, level)| (key * side.sign(), level))
    }

    #[inline]
    pub(crate) fn best_shown(&self, side: Side) -> Option<(i64, i64)> {
        self.side(side).best().map(|(key, level)| (key * side.sign(), level.shown))
    }

    /// The best level of which something is still to be had.
    #[inline]
    pub(crate) fn best_available(&self, side: Side) -> Option<(i64, i64)> {
        match self.side(side).best() {
            Some((key, level)) if level.available > 0 => Some((key * side.sign(), level.available)),
            _ => self.available(side).next(),
        }
    }

    pub(crate) fn shown(&self, side: Side) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.levels(side).map(|(price, level)| (price, level.shown))
    }

    pub(crate) fn available(&self, side: Side) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.levels(side).filter(|(_, level)| level.available > 0).map(|(price, level)| (price, level.available))
    }

    pub(crate) fn shown_at(&self, side: Side, price: i64) -> i64 {
        self.side(side).get(price * side.sign()).map_or(0, |level| level.shown)
    }

    /// An account took something.
    pub(crate) fn take(&mut self, side: Side, price: i64, quantity: i64) {
        if let Some(level) = self.side_mut(side).get_mut(price * side.sign()) {
            level.available = (level.available - quantity).max(0);
        }
    }

    /// The recording traded at a price.
    pub(crate) fn traded(&mut self, side: Side, price: i64, quantity: i64) {
        if let Some(level) = self.side_mut(side).get_mut(price * side.sign()) {
            level.traded = level.traded.saturating_add(quantity);
        }
    }

    /// The recording shows a level anew; zero removes it. Returns what changed, if anything did.
    #[inline]
    pub(crate) fn show(&mut self, side: Side, price: i64, quantity: i64) -> Option<LevelChange> {
        let levels = self.side_mut(side);
        let key = price * side.sign();
        if quantity <= 0 {
            let gone = levels.remove(key)?;
            return Some(LevelChange { side, price, before: gone.shown, after: 0, traded: gone.traded });
        }
        let level = levels.entry(key)?;
        let (before, traded) = (level.shown, level.traded);
        level.show(quantity);
        (before != quantity).then_some(LevelChange { side, price, before, after: quantity, traded })
    }

    /// Removes the levels better than `price` (all of the side without one). Appends what changed.
    pub(crate) fn cut_better(&mut self, side: Side, price: Option<i64>, changes: &mut Vec<LevelChange>) {
        while let Some((best, _)) = self.best_shown(side) {
            let is_better = match (price, side) {
                (None, _) => true,
                (Some(price), Side::Buy) => best > price,
                (Some(price), Side::Sell) => best < price,
            };
            if !is_better {
                return;
            }
            changes.extend(self.show(side, best, 0));
        }
    }

    /// New best prices have been shown: levels of the other side that they reach must be older, and go.
    pub(crate) fn uncross(&mut self, bid: Option<i64>, ask: Option<i64>, changes: &mut Vec<LevelChange>) {
        let before = changes.len();
        if let Some(bid) = bid {
            self.cut_better(Side::Sell, Some(bid + 1), changes);
        }
        if let Some(ask) = ask {
            self.cut_better(Side::Buy, Some(ask - 1), changes);
        }
        self.crossed += u64::from(changes.len() > before);
    }

    /// Removes all levels of a side that are not among `kept` (ascending prices).
    pub(crate) fn keep_only(&mut self, side: Side, kept: &[i64], changes: &mut Vec<LevelChange>) {
        let is_gone = |price: &i64| kept.binary_search(price).is_err();
        let mut gone: Vec<i64> = self.levels(side).map(|(price, _)| price).filter(is_gone).collect();
        gone.sort_unstable();
        for price in gone {
            changes.extend(self.show(side, price, 0));
        }
    }
}
