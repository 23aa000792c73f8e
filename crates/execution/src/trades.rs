//! The memory of applied trades: each (instrument, trade id) passes once.
//!
//! Bounded: beyond the limit the oldest leave. The horizon is the venue time up to which memory may have forgotten: a trade
//! at or before it that is not remembered cannot be told from a repetition.

use crate::hash::FixedSet;
use keel_model::{InstrumentId, Timestamp, TradeId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hash::Hash;

/// A set that forgets its oldest members. Serialised as its members in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Members<K>", bound(deserialize = "K: Copy + Eq + Hash + Deserialize<'de>"))]
struct Ring<K> {
    #[serde(skip)]
    set: FixedSet<K>,
    order: VecDeque<(K, Timestamp)>,
}

#[derive(Deserialize)]
struct Members<K> {
    order: VecDeque<(K, Timestamp)>,
}

impl<K: Copy + Eq + Hash> From<Members<K>> for Ring<K> {
    fn from(Members { order }: Members<K>) -> Self {
        Self { set: order.iter().map(|(key, _)| *key).collect(), order }
    }
}

impl<K: Copy + Eq + Hash> Ring<K> {
    fn new() -> Self {
        Self { set: FixedSet::default(), order: VecDeque::new() }
    }

    /// Adds a member; `false` when it is known.
    fn insert(&mut self, key: K, ts: Timestamp, count_max: usize, horizon: &mut Timestamp) -> bool {
        if !self.set.insert(key) {
            return false;
        }
        self.order.push_back((key, ts));
        while self.order.len() > count_max {
            let Some((oldest, ts)) = self.order.pop_front() else { break };
            self.set.remove(&oldest);
            *horizon = (*horizon).max(ts);
        }
        true
    }
}

impl<T: Copy + Eq + Hash> Ring<(u32, T)> {
    fn renumber(&mut self, renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>) {
        self.order.retain_mut(|((id, _), _)| match renumber(InstrumentId(*id)) {
            Some(new) => {
                *id = new.0;
                true
            }
            None => false,
        });
        self.set = self.order.iter().map(|(key, _)| *key).collect();
    }
}

/// The memory of applied trades.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TradeMemory {
    /// Most venues number their trades; a number takes a fifth of a text's room.
    numbers: Ring<(u32, u64)>,
    texts: Ring<(u32, TradeId)>,
    count_max: usize,
    horizon: Timestamp,
}

impl TradeMemory {
    /// Empty, with room for `count_max` trades of each kind.
    #[must_use]
    pub fn new(count_max: usize) -> Self {
        Self { numbers: Ring::new(), texts: Ring::new(), count_max, horizon: Timestamp::ZERO }
    }

    /// Remembers a trade; `false` when it was there already.
    pub fn insert(&mut self, instrument: InstrumentId, id: &TradeId, ts: Timestamp) -> bool {
        match number_of(id) {
            Some(number) => self.numbers.insert((instrument.0, number), ts, self.count_max, &mut self.horizon),
            None => self.texts.insert((instrument.0, *id), ts, self.count_max, &mut self.horizon),
        }
    }

    /// Renumbers instruments; what was traded in one that is not known any more is forgotten.
    pub(crate) fn renumber(&mut self, renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>, count_max: usize) {
        self.count_max = count_max;
        self.numbers.renumber(renumber);
        self.texts.renumber(renumber);
    }

    /// Is the trade remembered?
    #[must_use]
    pub fn contains(&self, instrument: InstrumentId, id: &TradeId) -> bool {
        match number_of(id) {
            Some(number) => self.numbers.set.contains(&(instrument.0, number)),
            None => self.texts.set.contains(&(instrument.0, *id)),
        }
    }

    /// Up to which venue time memory may have forgotten; zero while it has forgotten nothing.
    #[must_use]
    pub const fn horizon(&self) -> Timestamp {
        self.horizon
    }

    /// How many trades are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.order.len() + self.texts.order.len()
    }

    /// Is nothing remembered?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The id as a number, where writing the number gives the id back.
#[inline]
fn number_of(id: &TradeId) -> Option<u64> {
    let text = id.as_bytes();
    // Nineteen digits always fit.
    if text.len() > 19 || !matches!(text, [b'0'] | [b'1'..=b'9', ..]) {
        return None;
    }
    let mut number = 0u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_each_trade_passes_once_per_instrument_and_memory_is_bounded() {
        let mut memory = TradeMemory::new(3);
        let (a, b) = (InstrumentId(0), InstrumentId(1));
        let id = |text: &str| TradeId::new(text).unwrap();
        let ts = Timestamp::from_ms;
        assert!(memory.insert(a, &id("7"), ts(1)) && memory.insert(b, &id("7"), ts(1)));
        assert!(!memory.insert(a, &id("7"), ts(2)) && memory.contains(b, &id("7")));
        assert!(memory.insert(a, &id("07"), ts(1)), "text ids that look alike are not alike");
        assert!(memory.insert(a, &id("x-7"), ts(1)));
        let numbers = ["0", "9", "1234567890123456789", "9999999999999999999"].map(|text| number_of(&id(text)));
        assert_eq!(numbers, [Some(0), Some(9), Some(1_234_567_890_123_456_789), Some(9_999_999_999_999_999_999)]);
        for text in ["", "00", "-1", "+1", "1x", "12345678901234567890"] {
            assert_eq!(number_of(&id(text)), None, "{text}");
        }
        assert_eq!(memory.horizon(), Timestamp::ZERO);
        for number in 10..20 {
            assert!(memory.insert(a, &id(&number.to_string()), ts(number)));
        }
        assert_eq!((memory.len(), memory.horizon()), (3 + 2, ts(16)));
        assert!(!memory.contains(a, &id("7")) && memory.contains(a, &id("x-7")));
    }

    #[test]
    fn renumbered_instruments_keep_their_trades_and_unknown_ones_lose_theirs() {
        let mut memory = TradeMemory::new(10);
        let (a, b, gone) = (InstrumentId(0), InstrumentId(1), InstrumentId(2));
        let id = |text: &str| TradeId::new(text).unwrap();
        for instrument in [a, b, gone] {
            assert!(memory.insert(instrument, &id("7"), Timestamp::ZERO));
            assert!(memory.insert(instrument, &id("x-7"), Timestamp::ZERO));
        }
        assert!(memory.insert(a, &id("8"), Timestamp::ZERO));
        memory.renumber(&|old| (old != gone).then_some(InstrumentId(5 + old.0)), 10);
        assert_eq!(memory.len(), 5);
        for known in [InstrumentId(5), InstrumentId(6)] {
            assert!(memory.contains(known, &id("7")) && memory.contains(known, &id("x-7")));
            assert!(!memory.insert(known, &id("7"), Timestamp::ZERO), "applied before, under the old number");
        }
        assert!(memory.contains(InstrumentId(5), &id("8")) && !memory.contains(InstrumentId(6), &id("8")));
        assert!([a, b, gone, InstrumentId(7)].iter().all(|old| !memory.contains(*old, &id("7"))));
    }
}
