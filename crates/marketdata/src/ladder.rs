//! Levels of one side of a book with the best at hand: near the best one slot per tick, farther away a map.
//!
//! A key is a price in ticks, signed so that the better price is the larger key. Invariants: the near part is a ring of
//! [`WINDOW`] slots for the keys `low..low + WINDOW`, and a bit says which of them are in use; every key in the map is below
//! `low`; the best key is near whenever there is any level. Setting, finding and removing a near level touches one slot and
//! one bit; the next best is found by words of 64 bits. The window follows the best in large steps.

use std::collections::BTreeMap;

/// Slots of the near part; a power of two and a multiple of 64.
pub const WINDOW: usize = 4_096;
const SPAN: i64 = WINDOW as i64;
const MASK: i64 = SPAN - 1;
const WORDS: usize = WINDOW / 64;
/// Room above the best when the window is put anew.
const ROOM: i64 = SPAN / 4;
/// So near the end of the window the best makes it move.
const EDGE: i64 = SPAN / 16;

/// Largest key, either way, that a level can have.
pub const KEY_MAX: u64 = i64::MAX as u64 / 4;

/// Levels of one side.
#[derive(Clone, Debug)]
pub struct Ladder<V> {
    slots: Vec<V>,
    bits: [u64; WORDS],
    low: i64,
    /// Of the near levels; meaningless without one.
    best: i64,
    near: usize,
    far: BTreeMap<i64, V>,
}

impl<V: Copy + Default> Default for Ladder<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Copy + Default> Ladder<V> {
    /// Without levels.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new(), bits: [0; WORDS], low: 0, best: 0, near: 0, far: BTreeMap::new() }
    }

    /// How many levels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.near + self.far.len()
    }

    /// Are there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.near == 0
    }

    /// The best key.
    #[must_use]
    #[inline]
    pub const fn best_key(&self) -> Option<i64> {
        if self.near == 0 { None } else { Some(self.best) }
    }

    /// The best key, or `other` without levels.
    #[must_use]
    #[inline]
    pub const fn best_key_or(&self, other: i64) -> i64 {
        if self.near == 0 { other } else { self.best }
    }

    /// The best key and its level.
    #[must_use]
    #[inline]
    pub fn best(&self) -> Option<(i64, &V)> {
        let key = self.best_key()?;
        Some((key, self.slots.get(slot_of(key))?))
    }

    /// One level.
    #[must_use]
    #[inline]
    pub fn get(&self, key: i64) -> Option<&V> {
        if self.is_near(key) {
            return if self.is_used(key) { self.slots.get(slot_of(key)) } else { None };
        }
        self.far.get(&key)
    }

    /// One level, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: i64) -> Option<&mut V> {
        if self.is_near(key) {
            return if self.is_used(key) { self.slots.get_mut(slot_of(key)) } else { None };
        }
        self.far.get_mut(&key)
    }

    /// One level, to change it; a new one is the default. `None` only for keys beyond [`KEY_MAX`].
    #[inline]
    pub fn entry(&mut self, key: i64) -> Option<&mut V> {
        if !self.is_near(key) {
            if key.unsigned_abs() > KEY_MAX {
                return None;
            }
            if self.near > 0 && key < self.low {
                return Some(self.far.entry(key).or_default());
            }
            self.make_room(key);
        }
        let slot = slot_of(key);
        let bit = 1u64 << (slot % 64);
        let word = self.bits.get_mut(slot / 64)?;
        if *word & bit == 0 {
            *word |= bit;
            self.best = if self.near == 0 { key } else { self.best.max(key) };
            self.near += 1;
            if let Some(value) = self.slots.get_mut(slot) {
                *value = V::default();
            }
        }
        self.slots.get_mut(slot)
    }

    /// Takes a level out.
    #[inline]
    pub fn remove(&mut self, key: i64) -> Option<V> {
        if !self.is_near(key) {
            return self.far.remove(&key);
        }
        if !self.is_used(key) {
            return None;
        }
        let slot = slot_of(key);
        *self.bits.get_mut(slot / 64)? &= !(1u64 << (slot % 64));
        let value = self.slots.get(slot).copied();
        self.near -= 1;
        if key == self.best {
            self.find_best();
        }
        value
    }

    /// Forgets all levels.
    pub fn clear(&mut self) {
        self.bits = [0; WORDS];
        self.near = 0;
        self.far.clear();
    }

    /// The best key below `key`.
    #[must_use]
    pub fn key_below(&self, key: i64) -> Option<i64> {
        let near = if self.near > 0 && key > self.low { self.used_below(key.min(self.low + SPAN)) } else { None };
        near.or_else(|| self.far.range(..key).next_back().map(|(key, _)| *key))
    }

    /// The worst key.
    #[must_use]
    pub fn worst_key(&self) -> Option<i64> {
        if let Some((key, _)) = self.far.first_key_value() {
            return Some(*key);
        }
        let mut worst = self.best_key();
        while let Some(key) = worst.and_then(|key| self.used_below(key)) {
            worst = Some(key);
        }
        worst
    }

    /// Keys and levels, best first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &V)> + '_ {
        let mut next = self.best_key();
        let near = std::iter::from_fn(move || {
            let key = next?;
            next = self.used_below(key);
            Some((key, self.slots.get(slot_of(key))?))
        });
        near.chain(self.far.iter().rev().map(|(key, value)| (*key, value)))
    }

    #[inline]
    const fn is_near(&self, key: i64) -> bool {
        (key.wrapping_sub(self.low) as u64) < WINDOW as u64 && self.near > 0
    }

    #[inline]
    fn is_used(&self, key: i64) -> bool {
        let slot = slot_of(key);
        self.bits.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// The best near key below `key`, which is near.
    #[inline]
    fn used_below(&self, key: i64) -> Option<i64> {
        let mut key = key - 1;
        while key >= self.low {
            let slot = slot_of(key);
            let at = (slot % 64) as u32;
            let word = self.bits.get(slot / 64)? << (63 - at);
            if word != 0 {
                let found = key - i64::from(word.leading_zeros());
                return (found >= self.low).then_some(found);
            }
            key -= i64::from(at) + 1;
        }
        None
    }

    /// After the best near level was taken out.
    fn find_best(&mut self) {
        if self.near > 0 {
            self.best = self.used_below(self.best).unwrap_or(self.best);
        }
        let is_at_end = self.near == 0 || self.best - self.low < EDGE;
        if is_at_end && let Some((far, _)) = self.far.last_key_value() {
            let best = if self.near == 0 { *far } else { self.best };
            self.move_down(best);
        }
    }

    /// Puts the window so that `key`, which is not near, has a slot, and is the best or there was no level.
    #[cold]
    fn make_room(&mut self, key: i64) {
        if self.slots.is_empty() {
            self.slots = vec![V::default(); WINDOW];
        }
        let low = key + ROOM - SPAN;
        // What falls out at the lower end.
        let mut next = self.best_key();
        while let Some(at) = next {
            next = self.used_below(at);
            if at < low {
                let slot = slot_of(at);
                if let (Some(word), Some(value)) = (self.bits.get_mut(slot / 64), self.slots.get(slot)) {
                    *word &= !(1u64 << (slot % 64));
                    self.near -= 1;
                    self.far.insert(at, *value);
                }
            }
        }
        self.low = low;
        if self.near == 0 {
            self.best = key;
        }
    }

    /// Puts the window around `best`, which has fallen, and takes in what is near now.
    #[cold]
    fn move_down(&mut self, best: i64) {
        self.low = best + ROOM - SPAN;
        let near = self.far.split_off(&self.low);
        self.best = best;
        for (key, value) in near {
            let slot = slot_of(key);
            if let (Some(word), Some(place)) = (self.bits.get_mut(slot / 64), self.slots.get_mut(slot)) {
                *word |= 1u64 << (slot % 64);
                *place = value;
                self.near += 1;
            }
        }
    }
}

#[inline]
const fn slot_of(key: i64) -> usize {
    (key & MASK) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    struct Random(u64);
    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound
        }
    }

    #[test]
    fn it_is_a_sorted_map_wherever_the_best_goes() {
        for (seed, width) in [(1, 20), (2, 300), (3, 5_000), (4, 60_000), (5, 3_000_000)] {
            let (mut random, mut ladder, mut map) = (Random(seed), Ladder::<i64>::new(), BTreeMap::new());
            let mut middle = -40_000i64;
            for step in 0..30_000i64 {
                middle += random.below(65) as i64 - 32;
                let far = if random.below(8) == 0 { width } else { 20 };
                let key = middle - random.below(far) as i64;
                match random.below(3) {
                    0 => assert_eq!(ladder.remove(key), map.remove(&key)),
                    1 => {
                        let best = map.last_key_value().map(|(key, _)| *key).unwrap_or(key);
                        assert_eq!(ladder.remove(best), map.remove(&best));
                    }
                    _ => {
                        *ladder.entry(key).unwrap() += step;
                        *map.entry(key).or_default() += step;
                    }
                }
                assert_eq!(
                    ladder.best().map(|(key, value)| (key, *value)),
                    map.last_key_value().map(|(k, v)| (*k, *v))
                );
                assert_eq!(ladder.get(key), map.get(&key));
                assert_eq!((ladder.len(), ladder.is_empty()), (map.len(), map.is_empty()));
                if step % 997 == 0 {
                    assert!(ladder.iter().eq(map.iter().rev().map(|(key, value)| (*key, value))), "seed {seed}");
                    assert_eq!(ladder.worst_key(), map.first_key_value().map(|(key, _)| *key));
                    let below = map.range(..key).next_back().map(|(key, _)| *key);
                    assert_eq!(ladder.key_below(key), below, "seed {seed}");
                }
            }
            ladder.clear();
            assert_eq!((ladder.best(), ladder.iter().count()), (None, 0));
        }
    }

    #[test]
    fn keys_without_room_are_refused() {
        let mut ladder = Ladder::<i64>::new();
        assert_eq!(ladder.entry(i64::MAX), None);
        assert_eq!(ladder.entry(i64::MIN), None);
        assert!(ladder.is_empty());
        assert!(ladder.entry(5).is_some());
        assert_eq!(ladder.entry(i64::MIN), None);
        assert!(ladder.entry(-(KEY_MAX as i64)).is_some(), "far below is in the map");
        assert_eq!((ladder.remove(5), ladder.len(), ladder.best_key()), (Some(0), 1, Some(-(KEY_MAX as i64))));
    }
}
