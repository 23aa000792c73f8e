//! One side of a book: levels in a vector with the best at the end, so that changes near the top move little memory.
//!
//! Invariant: strictly sorted by price towards the best, no empty level, at most [`super::LEVELS_MAX`] levels.

use super::LEVELS_MAX;
use keel_model::{Level, Price};

/// Levels looked at one by one from the top before the search halves; most changes hit there.
const LINEAR: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct BookSide {
    is_bid: bool,
    levels: Vec<Level>,
    evicted: u64,
}

impl BookSide {
    pub(super) const fn bids() -> Self {
        Self { is_bid: true, levels: Vec::new(), evicted: 0 }
    }

    pub(super) const fn asks() -> Self {
        Self { is_bid: false, levels: Vec::new(), evicted: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.levels.clear();
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    #[inline]
    pub(super) fn best(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    /// Best first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.levels.iter().rev().copied()
    }

    /// Replaces all levels; of several with one price the last counts. Any order is taken, best first is fastest.
    pub(super) fn fill(&mut self, levels: &[Level]) {
        self.levels.clear();
        let is_sorted = levels.windows(2).all(|pair| match pair {
            [a, b] => self.is_better(a.price, b.price),
            _ => true,
        });
        if is_sorted {
            let kept = levels.iter().filter(|level| !level.quantity.is_zero()).take(LEVELS_MAX);
            self.levels.extend(kept);
            self.levels.reverse();
        } else {
            for level in levels {
                self.set(*level);
            }
        }
    }

    /// Sets the quantity at a price; zero removes the level.
    #[inline]
    pub(super) fn set(&mut self, level: Level) {
        match self.find(level.price) {
            Ok(at) if level.quantity.is_zero() => {
                self.levels.remove(at);
            }
            Ok(at) => {
                if let Some(known) = self.levels.get_mut(at) {
                    *known = level;
                }
            }
            Err(_) if level.quantity.is_zero() => {}
            Err(at) => self.insert(at, level),
        }
    }

    fn insert(&mut self, at: usize, level: Level) {
        if self.levels.len() < LEVELS_MAX {
            self.levels.insert(at, level);
            return;
        }
        self.evicted += 1;
        if at > 0 {
            // The farthest level, at the front, makes room; the levels between move down by one.
            if let Some(moved) = self.levels.get_mut(..at) {
                moved.rotate_left(1);
            }
            if let Some(slot) = self.levels.get_mut(at - 1) {
                *slot = level;
            }
        }
    }

    #[inline]
    fn is_better(&self, a: Price, b: Price) -> bool {
        if self.is_bid { a > b } else { a < b }
    }

    /// Index of the price, or where it would be inserted.
    #[inline]
    fn find(&self, price: Price) -> Result<usize, usize> {
        let length = self.levels.len();
        for (back, known) in self.levels.iter().rev().take(LINEAR).enumerate() {
            if known.price == price {
                return Ok(length - 1 - back);
            }
            if self.is_better(price, known.price) {
                return Err(length - back);
            }
        }
        let rest = self.levels.get(..length.saturating_sub(LINEAR)).unwrap_or_default();
        rest.binary_search_by(|known| if self.is_bid { known.price.cmp(&price) } else { price.cmp(&known.price) })
    }
}
