//! Pauses between connects: doubling, jittered and bounded; and a budget of connects per five minutes (N-12).
//!
//! Invariant: within any five minutes there are at most as many connects as the budget says, however many links and feeds
//! share it. Overload: a connect beyond the budget waits.

use std::collections::VecDeque;

const WINDOW_NS: u64 = 300_000_000_000;

/// Takes one connect from a budget at a monotonic time, or says how long to wait; unit: nanoseconds. A function, so that
/// a budget that is shared is locked for the taking alone, never while a sink runs.
pub type TakeConnect<'a> = dyn FnMut(u64) -> Result<(), u64> + 'a;

/// How many connects there may be within five minutes.
#[derive(Clone, Debug)]
pub struct ConnectBudget {
    max: usize,
    taken_mono_ns: VecDeque<u64>,
}

impl ConnectBudget {
    /// At most `max` connects within any five minutes; at least one.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max: max.max(1) as usize, taken_mono_ns: VecDeque::new() }
    }

    /// Takes one, or says how long to wait; unit: nanoseconds.
    pub fn take(&mut self, mono_ns: u64) -> Result<(), u64> {
        while self.taken_mono_ns.front().is_some_and(|taken| mono_ns >= taken.saturating_add(WINDOW_NS)) {
            self.taken_mono_ns.pop_front();
        }
        match self.taken_mono_ns.front() {
            Some(oldest) if self.taken_mono_ns.len() >= self.max => Err(oldest + WINDOW_NS - mono_ns),
            _ => {
                self.taken_mono_ns.push_back(mono_ns);
                Ok(())
            }
        }
    }
}

/// The pause before the next attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Pauses from `min_ms` doubling to `max_ms`; `seed` decides the jitter.
    #[must_use]
    pub const fn new(min_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self { min_ms, max_ms, failures: 0, random: seed | 1 }
    }

    /// The next pause: between half and the whole of the doubled minimum; unit: milliseconds.
    pub fn next_ms(&mut self) -> u64 {
        let whole =
            self.min_ms.saturating_mul(1 << self.failures.min(20)).clamp(self.min_ms, self.max_ms.max(self.min_ms));
        self.failures = self.failures.saturating_add(1);
        // xorshift64: spread is all that is asked for.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        whole / 2 + self.random % (whole / 2 + 1)
    }

    /// It worked: the next pause is the shortest again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_no_five_minutes_hold_more_connects_than_the_budget() {
        let mut budget = ConnectBudget::new(10);
        let mut backoff = Backoff::new(1, 1, 7);
        let (mut now, mut times) = (0u64, Vec::new());
        while times.len() < 100 {
            match budget.take(now) {
                Ok(()) => times.push(now),
                Err(wait) => now += wait,
            }
            now += backoff.next_ms() * 1_000_000;
        }
        assert!(times.windows(11).all(|run| run[10] - run[0] >= WINDOW_NS));
        assert!(budget.taken_mono_ns.len() <= 10);
    }

    #[test]
    fn pauses_double_with_jitter_up_to_the_longest_and_start_anew_after_success() {
        let mut backoff = Backoff::new(100, 30_000, 42);
        for n in 0..40u32 {
            let whole = (100u64 << n.min(20)).min(30_000);
            let pause = backoff.next_ms();
            assert!((whole / 2..=whole).contains(&pause), "{n}: {pause} of {whole}");
        }
        backoff.reset();
        assert!(backoff.next_ms() <= 100);
        let spread: std::collections::BTreeSet<u64> =
            (1..50).map(|seed| Backoff::new(1_000, 1_000, seed * 7_919).next_ms()).collect();
        assert!(spread.len() > 20, "seeds must not reconnect in step");
    }
}
