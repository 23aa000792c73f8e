//! One book's synchronisation: deltas are buffered until a snapshot joins them, then each must follow on.
//!
//! Binance's rules: drop updates with `u <= lastUpdateId`; the first one used must have `U <= lastUpdateId + 1 <= u`; then
//! each `U` must be the previous `u + 1`. Invariants: deltas are handed on only in an unbroken row that begins at a
//! snapshot; what both connections of a roll-over deliver is handed on once. Bounded: beyond [`BUFFER_MAX`] deltas the
//! oldest are dropped, which the snapshot then shows as a gap.

use keel_model::{BookDelta, MarketEvent};
use std::collections::VecDeque;

/// Most deltas that wait for a snapshot: more than three minutes of a 100 ms stream.
pub const BUFFER_MAX: usize = 2_000;

/// Where a book stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not subscribed, or not connected.
    Idle,
    /// Waiting for a snapshot.
    Buffering,
    /// In step up to this update; `is_first` until one delta has joined the snapshot.
    Live { last_update_id: u64, is_first: bool },
}

/// What to do with a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand it on.
    Deliver,
    /// Hand it on with this first update id, since its beginning is known already.
    DeliverFrom(u64),
    /// Known already, or not wanted.
    Skip,
    /// Buffered until a snapshot comes.
    Buffered,
    /// Updates are missing: the book is buffering again, and a snapshot is needed.
    Gap,
}

/// What to do with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// It joins: hand it on, then the deltas of [`BookSync::drain`].
    Joined,
    /// It is older than the buffered deltas: fetch another.
    TooOld,
    /// Not waited for.
    Unwanted,
}

/// The synchronisation of one book.
#[derive(Clone, Debug)]
pub struct BookSync {
    state: State,
    buffer: VecDeque<BookDelta>,
}

impl Default for BookSync {
    fn default() -> Self {
        Self { state: State::Idle, buffer: VecDeque::new() }
    }
}

impl BookSync {
    /// Forgets everything and waits for a snapshot.
    pub fn start(&mut self) {
        self.buffer.clear();
        self.state = State::Buffering;
    }

    /// Forgets everything and takes nothing.
    pub fn stop(&mut self) {
        self.buffer.clear();
        self.state = State::Idle;
    }

    /// Is it in step?
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// The last update that was handed on; `None` while it is not in step.
    #[must_use]
    pub const fn last_update_id(&self) -> Option<u64> {
        match self.state {
            State::Live { last_update_id, .. } => Some(last_update_id),
            State::Idle | State::Buffering => None,
        }
    }

    /// Does it wait for a snapshot?
    #[must_use]
    pub const fn is_buffering(&self) -> bool {
        matches!(self.state, State::Buffering)
    }

    /// A delta came.
    #[inline]
    pub fn delta(&mut self, delta: &BookDelta) -> Step {
        match &mut self.state {
            State::Idle => Step::Skip,
            State::Buffering => {
                self.keep(delta);
                Step::Buffered
            }
            State::Live { last_update_id, is_first } => {
                if delta.last_update_id <= *last_update_id {
                    return Step::Skip;
                }
                let expected = last_update_id.saturating_add(1);
                if delta.first_update_id > expected || delta.first_update_id > delta.last_update_id {
                    self.start();
                    self.keep(delta);
                    return Step::Gap;
                }
                // The book takes an early beginning only right after a snapshot.
                let step = if delta.first_update_id == expected || *is_first {
                    Step::Deliver
                } else {
                    Step::DeliverFrom(expected)
                };
                *last_update_id = delta.last_update_id;
                *is_first = false;
                step
            }
        }
    }

    fn keep(&mut self, delta: &BookDelta) {
        if self.buffer.len() >= BUFFER_MAX {
            self.buffer.pop_front();
        }
        self.buffer.push_back(delta.clone());
    }

    /// A snapshot up to this update came.
    pub fn snapshot(&mut self, last_update_id: u64) -> Join {
        if !self.is_buffering() {
            return Join::Unwanted;
        }
        // Deltas that the snapshot holds already say nothing about whether it joins.
        while self.buffer.front().is_some_and(|delta| delta.last_update_id <= last_update_id) {
            self.buffer.pop_front();
        }
        if self.buffer.front().is_some_and(|delta| delta.first_update_id > last_update_id.saturating_add(1)) {
            return Join::TooOld;
        }
        self.state = State::Live { last_update_id, is_first: true };
        Join::Joined
    }

    /// The buffered deltas that follow the snapshot, in order, ready to be handed on. Answers `false` at a gap among them.
    pub fn drain(&mut self, mut deliver: impl FnMut(&MarketEvent)) -> bool {
        let mut waiting = std::mem::take(&mut self.buffer);
        while let Some(mut delta) = waiting.pop_front() {
            match self.delta(&delta) {
                Step::Deliver => deliver(&MarketEvent::BookDelta(delta)),
                Step::DeliverFrom(first_update_id) => {
                    delta.first_update_id = first_update_id;
                    deliver(&MarketEvent::BookDelta(delta));
                }
                Step::Skip | Step::Buffered => {}
                Step::Gap => {
                    self.buffer.extend(waiting);
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delta(first_update_id: u64, last_update_id: u64) -> BookDelta {
        BookDelta { first_update_id, last_update_id, ..BookDelta::default() }
    }

    fn drained(sync: &mut BookSync) -> (Vec<(u64, u64)>, bool) {
        let mut ids = Vec::new();
        let whole = sync.drain(|event| {
            if let MarketEvent::BookDelta(delta) = event {
                ids.push((delta.first_update_id, delta.last_update_id));
            }
        });
        (ids, whole)
    }

    #[test]
    fn deltas_before_the_snapshot_are_dropped_and_the_first_one_must_reach_back_to_it() {
        let mut sync = BookSync::default();
        assert_eq!(sync.delta(&delta(1, 2)), Step::Skip);
        sync.start();
        for (first, last) in [(10, 12), (13, 15), (16, 20), (21, 22)] {
            assert_eq!(sync.delta(&delta(first, last)), Step::Buffered);
        }
        assert_eq!(sync.snapshot(17), Join::Joined);
        assert_eq!(drained(&mut sync), (vec![(16, 20), (21, 22)], true));
        assert_eq!(sync.delta(&delta(23, 23)), Step::Deliver);
        assert_eq!(sync.snapshot(30), Join::Unwanted);
    }

    #[test]
    fn a_snapshot_older_than_the_buffer_is_refused_and_a_newer_one_joins() {
        let mut sync = BookSync::default();
        sync.start();
        sync.delta(&delta(10, 12));
        assert_eq!(sync.snapshot(8), Join::TooOld);
        assert!(sync.is_buffering());
        assert_eq!(sync.snapshot(9), Join::Joined);
        assert_eq!(drained(&mut sync), (vec![(10, 12)], true));
    }

    #[test]
    fn a_snapshot_that_comes_before_any_delta_joins_the_next_one() {
        let mut sync = BookSync::default();
        sync.start();
        assert_eq!(sync.snapshot(100), Join::Joined);
        assert_eq!(sync.delta(&delta(90, 100)), Step::Skip);
        assert_eq!(sync.delta(&delta(95, 101)), Step::Deliver);
        // Later overlaps come from a second connection: only the new part counts.
        assert_eq!(sync.delta(&delta(99, 105)), Step::DeliverFrom(102));
        assert_eq!(sync.delta(&delta(102, 105)), Step::Skip);
    }

    #[test]
    fn n13_a_gap_is_seen_and_what_follows_it_is_kept_for_the_next_snapshot() {
        let mut sync = BookSync::default();
        sync.start();
        sync.snapshot(100);
        assert_eq!(sync.delta(&delta(101, 110)), Step::Deliver);
        assert_eq!(sync.delta(&delta(112, 115)), Step::Gap);
        assert_eq!(sync.delta(&delta(116, 118)), Step::Buffered);
        assert_eq!(sync.snapshot(113), Join::Joined);
        assert_eq!(drained(&mut sync), (vec![(112, 115), (116, 118)], true));
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut sync = BookSync::default();
        sync.start();
        for n in 0..BUFFER_MAX as u64 + 500 {
            sync.delta(&delta(n, n));
        }
        assert_eq!(sync.buffer.len(), BUFFER_MAX);
        assert_eq!(sync.snapshot(0), Join::TooOld);
    }

    proptest! {
        /// Whatever is lost, doubled or comes late: what is handed on is an unbroken row from a snapshot on.
        #[test]
        fn n14_what_is_delivered_is_always_an_unbroken_row(
            lengths in prop::collection::vec(1u64..4, 1..80),
            order in prop::collection::vec((0usize..90, 0u8..10), 0..160),
        ) {
            let mut all = Vec::new();
            let mut next = 1;
            for length in lengths {
                all.push(delta(next, next + length - 1));
                next += length;
            }
            let mut sync = BookSync::default();
            sync.start();
            let mut last: Option<u64> = None;
            for (at, what) in order {
                if what == 0 {
                    let id = all.get(at).map_or(next, |delta| delta.last_update_id);
                    if sync.snapshot(id) == Join::Joined {
                        last = Some(id);
                        let mut delivered = Vec::new();
                        sync.drain(|event| if let MarketEvent::BookDelta(delta) = event { delivered.push(delta.clone()) });
                        for delta in delivered {
                            prop_assert!(delta.first_update_id <= last.unwrap() + 1);
                            prop_assert!(delta.last_update_id > last.unwrap());
                            last = Some(delta.last_update_id);
                        }
                    }
                } else if let Some(delta) = all.get(at) {
                    match sync.delta(delta) {
                        Step::Deliver => {
                            prop_assert!(delta.first_update_id <= last.unwrap() + 1 && delta.last_update_id > last.unwrap());
                            last = Some(delta.last_update_id);
                        }
                        Step::DeliverFrom(first) => {
                            prop_assert_eq!(first, last.unwrap() + 1);
                            last = Some(delta.last_update_id);
                        }
                        Step::Gap => last = None,
                        Step::Skip | Step::Buffered => {}
                    }
                }
            }
        }
    }
}
