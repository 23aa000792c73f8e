//! One side of a book: sorted levels in chunks, so that a change moves a chunk's rest at most, wherever it falls.
//!
//! A real delta changes some 36 levels spread over a thousand; one sorted vector spends its time moving the levels between
//! the change and the top. Here a level costs a look at the chunk list, a search among at most [`CHUNK`] keys and a move of
//! at most as many. Changes of one delta come sorted, so the chunk of the one before is where the search begins.
//!
//! Invariants: keys grow towards the best, strictly, within and across chunks; unused keys are `i64::MAX`; no chunk in `order` is empty; `firsts` holds
//! the least key of each; emptied chunks wait in `free`; at most [`super::LEVELS_MAX`] levels. Prices and quantities are
//! held as whole numbers at the finest scale seen; no allocation once chunks suffice.
//!
//! A stream of single rows ([`BookSide::ladder_mut`]) has the levels in a ladder of ticks instead, until something else changes
//! the side: then they go back into chunks. A side has its levels in one of the two, never in both.

use super::LEVELS_MAX;
use crate::ladder::Ladder;
use keel_model::{Level, Price, Quantity};

/// Levels in one chunk.
const CHUNK: usize = 32;
/// Keys compared at once.
const GROUP: usize = 8;
/// How full chunks are made from a snapshot: changes find room.
const CHUNK_FILL: usize = 22;
/// A chunk below this joins a neighbour that has room.
const CHUNK_LOW: usize = 6;
/// Chunks looked at one by one from the last one used, before the search halves.
const WALK_MAX: usize = 6;

const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        #[allow(clippy::indexing_slicing, reason = "const evaluation; an index out of range fails the build")]
        {
            table[i] = table[i - 1] * 10;
        }
        i += 1;
    }
    table
};

/// A level cannot be held: its digits do not fit beside the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DoesNotFit;

#[derive(Clone, Debug)]
struct Chunk {
    length: usize,
    keys: [i64; CHUNK],
    quantities: [i64; CHUNK],
}

impl Chunk {
    const EMPTY: Self = Self { length: 0, keys: [i64::MAX; CHUNK], quantities: [0; CHUNK] };

    /// How many keys are below `key`: where it is, or would be. All loads of a step are independent of each other, where a
    /// binary search waits for each; what is not in use compares as above.
    #[inline]
    fn rank(&self, key: i64) -> usize {
        let (groups, _) = self.keys.as_chunks::<GROUP>();
        let whole = groups.iter().filter(|group| group[GROUP - 1] < key).count();
        let rest = groups.get(whole).map_or(0, |group| group.iter().filter(|known| **known < key).count());
        whole * GROUP + rest
    }

    fn clear(&mut self) {
        self.length = 0;
        self.keys = [i64::MAX; CHUNK];
    }

    fn keys(&self) -> &[i64] {
        self.keys.get(..self.length).unwrap_or_default()
    }

    /// Puts a level in; there is room and `at` is at most the length.
    #[inline]
    fn insert(&mut self, at: usize, key: i64, quantity: i64) {
        self.keys.copy_within(at..self.length, at + 1);
        self.quantities.copy_within(at..self.length, at + 1);
        self.length += 1;
        self.put(at, key, quantity);
    }

    #[inline]
    fn put(&mut self, at: usize, key: i64, quantity: i64) {
        if let (Some(known), Some(amount)) = (self.keys.get_mut(at), self.quantities.get_mut(at)) {
            (*known, *amount) = (key, quantity);
        }
    }

    /// Takes a level out; `at` is below the length.
    #[inline]
    fn remove(&mut self, at: usize) {
        self.keys.copy_within(at + 1..self.length, at);
        self.quantities.copy_within(at + 1..self.length, at);
        self.length -= 1;
        self.put(self.length, i64::MAX, 0);
    }

    /// Moves everything from `at` on to the end of `other`, which has room.
    fn move_tail(&mut self, at: usize, other: &mut Self) {
        for from in at..self.length {
            if let (Some(key), Some(quantity)) = (self.keys.get(from).copied(), self.quantities.get(from).copied()) {
                other.put(other.length, key, quantity);
                other.length += 1;
                self.put(from, i64::MAX, 0);
            }
        }
        self.length = at;
    }
}

#[derive(Clone, Debug)]
pub(super) struct BookSide {
    /// +1 for bids, −1 for asks: key = sign · price, so that the best is the largest.
    sign: i64,
    price_scale: u8,
    quantity_scale: u8,
    chunks: Vec<Chunk>,
    /// Chunks in use, worst first.
    order: Vec<u32>,
    firsts: Vec<i64>,
    free: Vec<u32>,
    length: usize,
    evicted: u64,
    /// The levels of a side that rows are fed to; the chunks are empty then.
    ladder: Option<Box<Ladder<i64>>>,
}

impl BookSide {
    pub(super) const fn bids() -> Self {
        Self::new(1)
    }

    pub(super) const fn asks() -> Self {
        Self::new(-1)
    }

    const fn new(sign: i64) -> Self {
        Self {
            sign,
            price_scale: 0,
            quantity_scale: 0,
            chunks: Vec::new(),
            order: Vec::new(),
            firsts: Vec::new(),
            free: Vec::new(),
            length: 0,
            evicted: 0,
            ladder: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.ladder = None;
        self.free.append(&mut self.order);
        self.firsts.clear();
        self.length = 0;
        (self.price_scale, self.quantity_scale) = (0, 0);
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    #[inline]
    pub(super) fn best(&self) -> Option<Level> {
        if let Some(ladder) = &self.ladder {
            let (key, quantity) = ladder.best()?;
            return self.level_of(key, *quantity);
        }
        let chunk = self.chunk(self.order.len().checked_sub(1)?)?;
        self.level(chunk, chunk.length.checked_sub(1)?)
    }

    /// Best first.
    pub(super) fn iter(&self) -> Levels<'_> {
        match &self.ladder {
            Some(ladder) => Levels { side: self, position: 0, at: 0, left: ladder.len(), next: ladder.best_key() },
            None => Levels { side: self, position: self.order.len(), at: 0, left: self.length, next: None },
        }
    }

    /// Replaces all levels; of several with one price the last counts. Any order is taken, best first is fastest.
    pub(super) fn fill(&mut self, levels: &[Level]) -> Result<(), DoesNotFit> {
        self.clear();
        let is_sorted = levels.is_sorted_by(|a, b| if self.sign > 0 { a.price > b.price } else { a.price < b.price });
        if !is_sorted {
            return self.set_all(levels);
        }
        let kept = levels.get(..levels.len().min(LEVELS_MAX)).unwrap_or_default();
        for level in kept.iter().rev().filter(|level| !level.quantity.is_zero()) {
            let (key, quantity) = self.encode(level)?;
            let is_room = self.order.len().checked_sub(1).and_then(|last| self.chunk(last));
            if is_room.is_none_or(|chunk| chunk.length >= CHUNK_FILL) {
                self.open_chunk(self.order.len(), key);
            }
            if let Some(chunk) = self.chunk_mut(self.order.len() - 1) {
                chunk.put(chunk.length, key, quantity);
                chunk.length += 1;
            }
            self.length += 1;
        }
        Ok(())
    }

    /// Sets the quantity at each price; zero removes the level.
    pub(super) fn set_all(&mut self, levels: &[Level]) -> Result<(), DoesNotFit> {
        if self.ladder.is_some() {
            self.leave_ladder();
        }
        let mut position = self.order.len().saturating_sub(1);
        for level in levels {
            let (key, quantity) = self.encode(level)?;
            position = self.find_chunk(key, position);
            position = self.set(key, quantity, position);
        }
        Ok(())
    }

    /// Brings the side to scales at which whole numbers are given without conversion; `None` when it is finer already.
    #[inline]
    pub(super) fn take_scales(&mut self, price_scale: u8, quantity_scale: u8) -> Option<()> {
        if price_scale == self.price_scale && quantity_scale == self.quantity_scale {
            return Some(());
        }
        self.take_other_scales(price_scale, quantity_scale)
    }

    #[cold]
    fn take_other_scales(&mut self, price_scale: u8, quantity_scale: u8) -> Option<()> {
        self.leave_ladder();
        let price = Price::new(1, price_scale).ok()?;
        self.encode_at_other_scale(price, Quantity::new(0, quantity_scale).ok()?).ok()?;
        (price_scale == self.price_scale && quantity_scale == self.quantity_scale).then_some(())
    }

    /// The ladder that rows go into, at the side's scales and by key; `None` never.
    #[inline]
    pub(super) fn ladder_mut(&mut self) -> Option<&mut Ladder<i64>> {
        if self.ladder.is_none() {
            self.enter_ladder();
        }
        self.ladder.as_deref_mut()
    }

    /// After rows: no more levels than there may be.
    #[inline]
    pub(super) fn bound_ladder(&mut self) {
        while self.ladder.as_ref().is_some_and(|ladder| ladder.len() > LEVELS_MAX) {
            self.evict_worst();
        }
    }

    #[cold]
    fn evict_worst(&mut self) {
        if let Some(ladder) = &mut self.ladder
            && let Some(worst) = ladder.worst_key()
        {
            ladder.remove(worst);
            self.evicted += 1;
        }
    }

    /// From chunks to a ladder.
    #[cold]
    fn enter_ladder(&mut self) {
        let mut ladder = Box::new(Ladder::new());
        for position in (0..self.order.len()).rev() {
            let Some(chunk) = self.chunk(position) else { continue };
            for (key, quantity) in chunk.keys().iter().zip(&chunk.quantities).rev() {
                if let Some(known) = ladder.entry(*key) {
                    *known = *quantity;
                }
            }
        }
        self.free.append(&mut self.order);
        self.firsts.clear();
        self.length = 0;
        self.ladder = Some(ladder);
    }

    /// From a ladder to chunks.
    #[cold]
    fn leave_ladder(&mut self) {
        let Some(ladder) = self.ladder.take() else { return };
        for (key, quantity) in ladder.iter() {
            self.set(key, *quantity, 0);
        }
    }

    /// Sets one level in the chunk where it belongs; answers where to go on searching.
    #[inline]
    fn set(&mut self, key: i64, quantity: i64, position: usize) -> usize {
        let Some(chunk) = self.chunk_mut(position) else {
            if quantity != 0 {
                self.open_chunk(0, key);
                self.insert(0, 0, key, quantity);
            }
            return 0;
        };
        let at = chunk.rank(key);
        let is_known = chunk.keys.get(at) == Some(&key);
        match (is_known, quantity == 0) {
            (true, false) => {
                chunk.put(at, key, quantity);
                position
            }
            (true, true) => self.remove(position, at),
            (false, true) => position,
            (false, false) => self.insert_bounded(position, at, key, quantity),
        }
    }

    #[inline]
    fn insert_bounded(&mut self, position: usize, at: usize, key: i64, quantity: i64) -> usize {
        if self.length < LEVELS_MAX {
            return self.insert(position, at, key, quantity);
        }
        // Full: the level farthest from the top makes room, which may be this one.
        self.evicted += 1;
        if position == 0 && at == 0 {
            return position;
        }
        let position = self.insert(position, at, key, quantity);
        self.remove(0, 0);
        self.find_chunk(key, position.min(self.order.len().saturating_sub(1)))
    }

    #[inline]
    fn insert(&mut self, position: usize, at: usize, key: i64, quantity: i64) -> usize {
        let (mut position, mut at) = (position, at);
        if self.chunk(position).is_some_and(|chunk| chunk.length >= CHUNK) {
            self.split(position);
            if at > CHUNK / 2 {
                (position, at) = (position + 1, at - CHUNK / 2);
            }
        }
        if let Some(chunk) = self.chunk_mut(position) {
            chunk.insert(at, key, quantity);
            self.length += 1;
        }
        if at == 0
            && let Some(first) = self.firsts.get_mut(position)
        {
            *first = key;
        }
        position
    }

    #[inline]
    fn remove(&mut self, position: usize, at: usize) -> usize {
        let Some(chunk) = self.chunk_mut(position) else { return position };
        chunk.remove(at);
        let (length, first) = (chunk.length, chunk.keys().first().copied());
        self.length -= 1;
        if let (0, Some(first), Some(slot)) = (at, first, self.firsts.get_mut(position)) {
            *slot = first;
        }
        if length < CHUNK_LOW { self.shrink(position) } else { position }
    }

    /// Halves a full chunk.
    #[cold]
    fn split(&mut self, position: usize) {
        let middle = self.chunk(position).and_then(|chunk| chunk.keys.get(CHUNK / 2)).copied().unwrap_or(0);
        self.open_chunk(position + 1, middle);
        self.move_between(position, position + 1, CHUNK / 2);
    }

    /// Gives up an empty chunk, or joins a low one with a neighbour that has room.
    #[cold]
    fn shrink(&mut self, position: usize) -> usize {
        let length = |position: usize| self.chunk(position).map(|chunk| chunk.length);
        if length(position) == Some(0) {
            self.close_chunk(position);
            return position.min(self.order.len().saturating_sub(1));
        }
        let own = length(position).unwrap_or(0);
        let fits = |other: Option<usize>| other.is_some_and(|other| other + own <= CHUNK_FILL);
        if position > 0 && fits(length(position - 1)) {
            self.move_between(position, position - 1, 0);
            self.close_chunk(position);
            return position - 1;
        }
        if fits(length(position + 1)) {
            self.move_between(position + 1, position, 0);
            self.close_chunk(position + 1);
        }
        position
    }

    /// Moves the levels of one chunk from `at` on to the end of another.
    fn move_between(&mut self, from: usize, to: usize, at: usize) {
        let (Some(from), Some(to)) = (self.order.get(from), self.order.get(to)) else { return };
        if let Ok([from, to]) = self.chunks.get_disjoint_mut([*from as usize, *to as usize]) {
            from.move_tail(at, to);
        }
    }

    fn open_chunk(&mut self, position: usize, first: i64) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::EMPTY);
            // At most LEVELS_MAX chunks.
            self.chunks.len() as u32 - 1
        });
        if let Some(chunk) = self.chunks.get_mut(number as usize) {
            chunk.clear();
        }
        self.order.insert(position, number);
        self.firsts.insert(position, first);
    }

    fn close_chunk(&mut self, position: usize) {
        self.free.push(self.order.remove(position));
        self.firsts.remove(position);
    }

    /// Where in the order the chunk is that holds a key, or would; begins at `from`.
    #[inline]
    fn find_chunk(&self, key: i64, from: usize) -> usize {
        let mut position = from;
        for _ in 0..WALK_MAX {
            if position > 0 && self.firsts.get(position).is_some_and(|first| *first > key) {
                position -= 1;
            } else if self.firsts.get(position + 1).is_some_and(|first| *first <= key) {
                position += 1;
            } else {
                return position;
            }
        }
        self.firsts.partition_point(|first| *first <= key).saturating_sub(1)
    }

    #[inline]
    fn chunk(&self, position: usize) -> Option<&Chunk> {
        self.chunks.get(*self.order.get(position)? as usize)
    }

    #[inline]
    fn chunk_mut(&mut self, position: usize) -> Option<&mut Chunk> {
        self.chunks.get_mut(*self.order.get(position)? as usize)
    }

    #[inline]
    fn level(&self, chunk: &Chunk, at: usize) -> Option<Level> {
        self.level_of(*chunk.keys.get(at)?, *chunk.quantities.get(at)?)
    }

    #[inline]
    fn level_of(&self, key: i64, quantity: i64) -> Option<Level> {
        let price = Price::new(key * self.sign, self.price_scale).ok()?;
        let quantity = Quantity::new(quantity, self.quantity_scale).ok()?;
        Some(Level { price, quantity })
    }

    /// Key and amount at the side's scales.
    #[inline]
    fn encode(&mut self, level: &Level) -> Result<(i64, i64), DoesNotFit> {
        let (price, quantity) = (level.price, level.quantity);
        if price.mantissa() == i64::MAX {
            // Reserved for slots that are not in use.
            return Err(DoesNotFit);
        }
        if price.scale() == self.price_scale && quantity.scale() == self.quantity_scale {
            return Ok((price.mantissa() * self.sign, quantity.mantissa()));
        }
        self.encode_at_other_scale(price, quantity)
    }

    #[cold]
    fn encode_at_other_scale(&mut self, price: Price, quantity: Quantity) -> Result<(i64, i64), DoesNotFit> {
        if price.scale() > self.price_scale {
            let factor = factor(self.price_scale, price.scale())?;
            for first in &mut self.firsts {
                *first = first.checked_mul(factor).ok_or(DoesNotFit)?;
            }
            self.multiply(|chunk| &mut chunk.keys, factor)?;
            self.price_scale = price.scale();
        }
        if quantity.scale() > self.quantity_scale {
            let factor = factor(self.quantity_scale, quantity.scale())?;
            self.multiply(|chunk| &mut chunk.quantities, factor)?;
            self.quantity_scale = quantity.scale();
        }
        let widen = |mantissa: i64, from, to| mantissa.checked_mul(factor(from, to)?).ok_or(DoesNotFit);
        let key = widen(price.mantissa(), price.scale(), self.price_scale)?;
        if key == i64::MAX {
            return Err(DoesNotFit);
        }
        Ok((key * self.sign, widen(quantity.mantissa(), quantity.scale(), self.quantity_scale)?))
    }

    /// Brings all levels to a finer scale.
    fn multiply(&mut self, part: fn(&mut Chunk) -> &mut [i64; CHUNK], factor: i64) -> Result<(), DoesNotFit> {
        for number in &self.order {
            let Some(chunk) = self.chunks.get_mut(*number as usize) else { continue };
            let length = chunk.length;
            for value in part(chunk).iter_mut().take(length) {
                *value = value.checked_mul(factor).ok_or(DoesNotFit)?;
            }
        }
        Ok(())
    }
}

fn factor(from: u8, to: u8) -> Result<i64, DoesNotFit> {
    let places = to.checked_sub(from).ok_or(DoesNotFit)?;
    POW10.get(usize::from(places)).copied().ok_or(DoesNotFit)
}

/// Levels of one side, best first.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    side: &'a BookSide,
    /// One behind the chunk to be read, in the order.
    position: usize,
    /// Levels left in that chunk.
    at: usize,
    left: usize,
    /// The next key, where the levels are in a ladder.
    next: Option<i64>,
}

impl Iterator for Levels<'_> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        if let Some(ladder) = &self.side.ladder {
            let key = self.next?;
            self.next = ladder.key_below(key);
            self.left = self.left.saturating_sub(1);
            return self.side.level_of(key, *ladder.get(key)?);
        }
        if self.at == 0 {
            self.position = self.position.checked_sub(1)?;
            self.at = self.side.chunk(self.position)?.length;
        }
        self.at -= 1;
        self.left -= 1;
        self.side.level(self.side.chunk(self.position)?, self.at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Levels<'_> {}

#[cfg(test)]
mod tests;
