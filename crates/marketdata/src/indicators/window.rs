//! The last values of a series, in place: a ring that knows what leaves it, and the largest or smallest value in it.
//!
//! Nothing here grows: a window has its size from the start.

/// The last values, in place.
#[derive(Clone, Debug)]
pub(super) struct Window {
    values: Box<[f64]>,
    next: usize,
    is_full: bool,
}

impl Window {
    pub(super) fn new(period: usize) -> Self {
        Self { values: vec![0.0; period].into_boxed_slice(), next: 0, is_full: false }
    }

    /// Puts a value in and answers the one that left, zero until the window is full, and whether the window is just around.
    #[inline]
    pub(super) fn swap(&mut self, value: f64) -> (f64, bool) {
        let mut left = 0.0;
        if let Some(slot) = self.values.get_mut(self.next) {
            left = std::mem::replace(slot, value);
        }
        self.next += 1;
        let is_around = self.next == self.values.len();
        if is_around {
            self.next = 0;
            self.is_full = true;
        }
        (left, is_around)
    }

    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Its size.
    #[inline]
    pub(super) const fn period(&self) -> usize {
        self.values.len()
    }

    /// What is in it, in no particular order.
    #[inline]
    pub(super) fn values(&self) -> &[f64] {
        if self.is_full { &self.values } else { self.values.get(..self.next).unwrap_or_default() }
    }
}

/// The largest value of the last `period`, in constant time on average: values that a newer, larger one outlives are
/// forgotten. Give it negated values and it is the smallest.
#[derive(Clone, Debug)]
pub(super) struct Highest {
    period: u64,
    /// A ring of candidates, each smaller than the one before it: when it came, and what it is.
    ring: Box<[(u64, f64)]>,
    first: usize,
    held: usize,
    seen: u64,
}

impl Highest {
    pub(super) fn new(period: usize) -> Self {
        Self { period: period as u64, ring: vec![(0, 0.0); period].into_boxed_slice(), first: 0, held: 0, seen: 0 }
    }

    /// Takes a value and answers the largest of the window; `None` until it is full.
    #[inline]
    pub(super) fn push(&mut self, value: f64) -> Option<f64> {
        if self.held > 0 && self.at(0).is_some_and(|(when, _)| when + self.period <= self.seen) {
            self.first = self.place(1);
            self.held -= 1;
        }
        while self.held > 0 && self.at(self.held - 1).is_some_and(|(_, last)| last <= value) {
            self.held -= 1;
        }
        let place = self.place(self.held);
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = (self.seen, value);
        }
        self.held += 1;
        self.seen += 1;
        self.value()
    }

    #[inline]
    pub(super) fn value(&self) -> Option<f64> {
        if self.seen < self.period {
            return None;
        }
        self.at(0).map(|(_, value)| value)
    }

    pub(super) const fn period(&self) -> usize {
        self.ring.len()
    }

    #[inline]
    fn place(&self, number: usize) -> usize {
        let place = self.first + number;
        if place >= self.ring.len() { place - self.ring.len() } else { place }
    }

    #[inline]
    fn at(&self, number: usize) -> Option<(u64, f64)> {
        self.ring.get(self.place(number)).copied()
    }
}
