//! A recorded book kept by its snapshot and deltas alone, so that what REST shows fits the recorded diff stream id by id.

use keel_model::{BookDelta, BookSnapshot, Level, Price, Quantity};
use std::collections::BTreeMap;

/// The book.
#[derive(Debug, Default)]
pub(crate) struct ReplayBook {
    bids: BTreeMap<Price, Quantity>,
    asks: BTreeMap<Price, Quantity>,
    update_id: u64,
}

impl ReplayBook {
    /// A book from a snapshot.
    pub(crate) fn new(snapshot: &BookSnapshot) -> Self {
        let side = |levels: &[Level]| levels.iter().map(|level| (level.price, level.quantity)).collect();
        Self { bids: side(&snapshot.bids), asks: side(&snapshot.asks), update_id: snapshot.last_update_id }
    }

    /// Last update id.
    pub(crate) const fn update_id(&self) -> u64 {
        self.update_id
    }

    /// Applies a delta; one that is older than the book is ignored. Returns whether it followed without a gap.
    pub(crate) fn apply(&mut self, delta: &BookDelta) -> bool {
        if delta.last_update_id <= self.update_id {
            return true;
        }
        let follows = delta.first_update_id <= self.update_id + 1;
        for (levels, changes) in [(&mut self.bids, &delta.bids), (&mut self.asks, &delta.asks)] {
            for level in changes {
                if level.quantity.is_zero() {
                    levels.remove(&level.price);
                } else {
                    levels.insert(level.price, level.quantity);
                }
            }
        }
        self.update_id = delta.last_update_id;
        follows
    }

    /// The best levels of both sides; returns the update id.
    pub(crate) fn levels(&self, limit: usize, bids: &mut Vec<Level>, asks: &mut Vec<Level>) -> u64 {
        let level = |(price, quantity): (&Price, &Quantity)| Level { price: *price, quantity: *quantity };
        bids.clear();
        asks.clear();
        bids.extend(self.bids.iter().rev().take(limit).map(level));
        asks.extend(self.asks.iter().take(limit).map(level));
        self.update_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: &str, quantity: &str) -> Level {
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    }

    #[test]
    fn deltas_are_applied_in_order_and_gaps_are_told() {
        let snapshot = BookSnapshot {
            last_update_id: 10,
            bids: vec![level("99", "1"), level("98", "2")],
            asks: vec![level("101", "1")],
            ..BookSnapshot::default()
        };
        let mut book = ReplayBook::new(&snapshot);
        let delta = |first_update_id, last_update_id, bids: Vec<Level>| BookDelta {
            first_update_id,
            last_update_id,
            bids,
            ..BookDelta::default()
        };
        assert!(book.apply(&delta(5, 10, vec![level("99", "7")])), "older than the snapshot: ignored");
        assert!(book.apply(&delta(9, 12, vec![level("99.00", "0"), level("97", "3")])));
        assert!(!book.apply(&delta(15, 16, vec![])), "13 and 14 are missing");
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        assert_eq!(book.levels(5, &mut bids, &mut asks), 16);
        assert_eq!((bids.len(), bids[0].price.to_string(), asks.len()), (2, "98".to_owned(), 1));
        assert_eq!(book.levels(1, &mut bids, &mut asks), 16);
        assert_eq!(bids.len(), 1);
    }
}
