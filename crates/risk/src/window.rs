//! What happened lately, in fixed memory: the lowest and highest price of a window, exact times of the last events, counts by
//! part of a window. Nothing here allocates after it was made.

use keel_model::Timestamp;

/// Parts of a window. What is in the part at hand and the fifteen before counts, so that a window is never longer than asked
/// for, and at most a sixteenth shorter.
const PARTS: usize = 16;

/// The lowest and highest price of a window that ends with the last price heard of.
#[derive(Clone, Debug)]
pub(crate) struct PriceWindow {
    part_ns: u64,
    end_ns: u64,
    at: usize,
    parts: [(i64, i64); PARTS],
    low: i64,
    high: i64,
}

const EMPTY: (i64, i64) = (i64::MAX, i64::MIN);

impl PriceWindow {
    /// A window; a length of zero keeps nothing.
    pub(crate) fn new(window_ms: u64) -> Self {
        let part_ns = window_ms.saturating_mul(1_000_000) / PARTS as u64;
        Self { part_ns, end_ns: 0, at: 0, parts: [EMPTY; PARTS], low: i64::MAX, high: i64::MIN }
    }

    /// Takes a price; answers whether the window's bounds may have changed.
    #[inline]
    pub(crate) fn note(&mut self, price: i64, ts: Timestamp) -> bool {
        if self.part_ns == 0 {
            return false;
        }
        if ts.as_ns() >= self.end_ns {
            self.turn(price, ts.as_ns());
            return true;
        }
        let Some(part) = self.parts.get_mut(self.at) else { return false };
        (part.0, part.1) = (part.0.min(price), part.1.max(price));
        if price < self.low || price > self.high {
            (self.low, self.high) = (self.low.min(price), self.high.max(price));
            return true;
        }
        false
    }

    fn turn(&mut self, price: i64, now_ns: u64) {
        let turns = (now_ns - self.end_ns) / self.part_ns + 1;
        self.end_ns = self.end_ns.saturating_add(turns.saturating_mul(self.part_ns));
        for _ in 0..turns.min(PARTS as u64) {
            self.at = (self.at + 1) % PARTS;
            if let Some(part) = self.parts.get_mut(self.at) {
                *part = EMPTY;
            }
        }
        if let Some(part) = self.parts.get_mut(self.at) {
            *part = (price, price);
        }
        self.low = self.parts.iter().map(|part| part.0).min().unwrap_or(i64::MAX);
        self.high = self.parts.iter().map(|part| part.1).max().unwrap_or(i64::MIN);
    }

    /// Lowest and highest; `None` before the first price.
    #[inline]
    pub(crate) const fn range(&self) -> Option<(i64, i64)> {
        if self.low > self.high { None } else { Some((self.low, self.high)) }
    }

    /// Is the highest more than `bps` above the lowest?
    #[inline]
    pub(crate) fn spans_more_than(&self, bps: u32) -> bool {
        self.range().is_some_and(|(low, high)| {
            (i128::from(high) - i128::from(low)) * 10_000 > i128::from(low) * i128::from(bps)
        })
    }
}

/// Times of the last events, exact.
#[derive(Clone, Debug)]
pub(crate) struct EventRing {
    times: Vec<u64>,
    next: usize,
    window_ns: u64,
}

impl EventRing {
    /// Room for `count` events within the window; zero keeps nothing.
    pub(crate) fn new(count: u32, window_ms: u64) -> Self {
        Self { times: vec![0; count as usize], next: 0, window_ns: window_ms.saturating_mul(1_000_000) }
    }

    /// Room for none?
    pub(crate) const fn is_off(&self) -> bool {
        self.times.is_empty()
    }

    /// Are there as many events as there is room for within the window that ends now?
    #[inline]
    pub(crate) fn is_full(&self, now: Timestamp) -> bool {
        // The next slot holds the oldest; one at zero was never filled.
        self.times
            .get(self.next)
            .is_some_and(|&oldest| oldest != 0 && now.as_ns().saturating_sub(oldest) < self.window_ns)
    }

    /// Takes an event; answers whether the window is full with it.
    #[inline]
    pub(crate) fn push(&mut self, now: Timestamp) -> bool {
        let Some(slot) = self.times.get_mut(self.next) else { return false };
        *slot = now.as_ns().max(1);
        self.next = (self.next + 1) % self.times.len();
        self.is_full(now)
    }

    pub(crate) fn clear(&mut self) {
        self.times.fill(0);
        self.next = 0;
    }
}

/// Orders, cancels and orders without a fill, by part of a window (RC-09).
#[derive(Clone, Debug)]
pub(crate) struct OrderCounts {
    part_ns: u64,
    /// Number of the part: time divided by its length.
    parts: [Counts; PARTS],
    sum: Counts,
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) orders: u32,
    pub(crate) cancels: u32,
    pub(crate) unfilled: u32,
}

impl OrderCounts {
    pub(crate) fn new(window_ms: u64) -> Self {
        let part_ns = window_ms.saturating_mul(1_000_000) / PARTS as u64;
        Self { part_ns, parts: [Counts::default(); PARTS], sum: Counts::default(), newest: 0 }
    }

    /// Forgets what has left the window, and counts what is in it.
    #[inline]
    pub(crate) fn at(&mut self, now: Timestamp) -> Counts {
        let Some(part) = now.as_ns().checked_div(self.part_ns) else { return Counts::default() };
        let turns = part.saturating_sub(self.newest).min(PARTS as u64);
        for turn in 0..turns {
            let index = (part.wrapping_sub(turn) % PARTS as u64) as usize;
            if let Some(old) = self.parts.get_mut(index) {
                self.sum.orders = self.sum.orders.saturating_sub(old.orders);
                self.sum.cancels = self.sum.cancels.saturating_sub(old.cancels);
                self.sum.unfilled = self.sum.unfilled.saturating_sub(old.unfilled);
                *old = Counts::default();
            }
        }
        self.newest = self.newest.max(part);
        self.sum
    }

    fn newest_mut(&mut self) -> Option<&mut Counts> {
        self.parts.get_mut((self.newest % PARTS as u64) as usize)
    }

    pub(crate) fn on_order(&mut self, now: Timestamp) {
        if self.part_ns == 0 {
            return;
        }
        self.at(now);
        if let Some(part) = self.newest_mut() {
            (part.orders, part.unfilled) = (part.orders.saturating_add(1), part.unfilled.saturating_add(1));
            (self.sum.orders, self.sum.unfilled) =
                (self.sum.orders.saturating_add(1), self.sum.unfilled.saturating_add(1));
        }
    }

    pub(crate) fn on_cancel(&mut self, now: Timestamp) {
        if self.part_ns == 0 {
            return;
        }
        self.at(now);
        if let Some(part) = self.newest_mut() {
            part.cancels = part.cancels.saturating_add(1);
            self.sum.cancels = self.sum.cancels.saturating_add(1);
        }
    }

    /// The first fill of an order that was placed at `placed`.
    pub(crate) fn on_first_fill(&mut self, placed: Timestamp) {
        let Some(part) = placed.as_ns().checked_div(self.part_ns) else { return };
        if part > self.newest || self.newest - part >= PARTS as u64 {
            return;
        }
        if let Some(counts) = self.parts.get_mut((part % PARTS as u64) as usize).filter(|counts| counts.unfilled > 0) {
            counts.unfilled -= 1;
            self.sum.unfilled = self.sum.unfilled.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rc_04_a_window_forgets_what_is_older_than_itself() {
        let mut window = PriceWindow::new(16_000);
        let at = |ms: u64| Timestamp::from_ms(1_000_000_000 + ms);
        assert_eq!(window.range(), None);
        window.note(100, at(0));
        window.note(90, at(1_000));
        window.note(110, at(2_000));
        assert_eq!(window.range(), Some((90, 110)));
        window.note(105, at(17_001));
        assert_eq!(window.range(), Some((105, 110)), "the low is 16 s old");
        window.note(104, at(100_000));
        assert_eq!(window.range(), Some((104, 104)), "after a pause only the new price counts");
    }

    #[test]
    fn rc_10_a_ring_counts_exactly() {
        let mut ring = EventRing::new(3, 1_000);
        let at = |ms: u64| Timestamp::from_ms(1_000_000 + ms);
        assert!(!ring.push(at(0)) && !ring.push(at(10)) && ring.push(at(999)));
        assert!(ring.is_full(at(999)) && !ring.is_full(at(1_000)), "at the window's length the first is out of it");
        assert!(ring.push(at(1_001)), "10, 999, 1,001 are within one second");
        ring.clear();
        assert!(!ring.is_full(at(1_001)));
        assert!(!EventRing::new(0, 1_000).push(at(0)), "no room: nothing counts");
    }

    proptest! {
        #[test]
        fn rc_09_counts_are_those_of_the_window(steps in prop::collection::vec((0u64..3_000, 0u8..3), 1..200)) {
            let mut counts = OrderCounts::new(16_000);
            let mut now = 1_000_000_000u64;
            let mut orders: Vec<(u64, bool)> = Vec::new();
            let mut cancels: Vec<u64> = Vec::new();
            for (pause, kind) in steps {
                now += pause;
                let ts = Timestamp::from_ms(now);
                match kind {
                    0 => { counts.on_order(ts); orders.push((now, false)); }
                    1 => { counts.on_cancel(ts); cancels.push(now); }
                    _ => if let Some(order) = orders.iter_mut().find(|order| !order.1) {
                        counts.at(ts);
                        counts.on_first_fill(Timestamp::from_ms(order.0));
                        order.1 = true;
                    }
                }
                let is_in = |placed: u64| now / 1_000 - placed / 1_000 < 16;
                let sum = counts.at(ts);
                prop_assert_eq!(sum.orders as usize, orders.iter().filter(|(at, _)| is_in(*at)).count());
                prop_assert_eq!(sum.cancels as usize, cancels.iter().filter(|at| is_in(**at)).count());
                prop_assert_eq!(sum.unfilled as usize, orders.iter().filter(|(at, done)| is_in(*at) && !done).count());
            }
        }
    }
}
