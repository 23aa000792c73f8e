//! The order book of one instrument: price levels, each a first-in-first-out queue linked through the order slots.
//!
//! Invariants: a level's total is the sum of its orders' remaining quantities and never zero; orders of a level are in the
//! order in which they came to it.

use crate::store::{NIL, OrderStore};
use keel_model::Side;
use std::collections::BTreeMap;

/// One price level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BookLevel {
    pub(crate) head: u32,
    tail: u32,
    pub(crate) total: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    bids: BTreeMap<i64, BookLevel>,
    asks: BTreeMap<i64, BookLevel>,
}

impl Book {
    pub(crate) const fn side(&self, side: Side) -> &BTreeMap<i64, BookLevel> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    const fn side_mut(&mut self, side: Side) -> &mut BTreeMap<i64, BookLevel> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Best price and its level.
    pub(crate) fn best(&self, side: Side) -> Option<(i64, &BookLevel)> {
        let entry = match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        };
        entry.map(|(price, level)| (*price, level))
    }

    /// Levels, best first.
    pub(crate) fn levels(&self, side: Side) -> Box<dyn Iterator<Item = (i64, &BookLevel)> + '_> {
        match side {
            Side::Buy => Box::new(self.bids.iter().rev().map(|(price, level)| (*price, level))),
            Side::Sell => Box::new(self.asks.iter().map(|(price, level)| (*price, level))),
        }
    }

    pub(crate) fn total_at(&self, side: Side, price: i64) -> i64 {
        self.side(side).get(&price).map_or(0, |level| level.total)
    }

    /// Appends an order to the queue of its price. Returns the level's new total.
    pub(crate) fn push(&mut self, store: &mut OrderStore, slot: u32) -> i64 {
        let order = &mut store[slot];
        order.is_on_book = true;
        let (side, price, remaining) = (order.side(), order.price, order.remaining());
        let level = self.side_mut(side).entry(price).or_insert(BookLevel { head: NIL, tail: NIL, total: 0 });
        level.total += remaining;
        (order.level_prev, order.level_next) = (level.tail, NIL);
        let tail = level.tail;
        level.tail = slot;
        let total = level.total;
        if tail == NIL {
            level.head = slot;
        } else {
            store[tail].level_next = slot;
        }
        total
    }

    /// Takes `quantity` off a level because one of its orders shrank. Returns the level's new total.
    pub(crate) fn shrink(&mut self, side: Side, price: i64, quantity: i64) -> i64 {
        self.side_mut(side).get_mut(&price).map_or(0, |level| {
            level.total -= quantity;
            level.total
        })
    }

    /// Unlinks an order and what remains of it. Returns the level's new total.
    pub(crate) fn remove(&mut self, store: &mut OrderStore, slot: u32) -> i64 {
        let order = &mut store[slot];
        order.is_on_book = false;
        let (side, price, remaining) = (order.side(), order.price, order.remaining());
        let (prev, next) = (order.level_prev, order.level_next);
        if prev != NIL {
            store[prev].level_next = next;
        }
        if next != NIL {
            store[next].level_prev = prev;
        }
        let levels = self.side_mut(side);
        let Some(level) = levels.get_mut(&price) else { return 0 };
        level.total -= remaining;
        if prev == NIL {
            level.head = next;
        }
        if next == NIL {
            level.tail = prev;
        }
        let total = level.total;
        if level.head == NIL {
            levels.remove(&price);
        }
        total
    }
}
