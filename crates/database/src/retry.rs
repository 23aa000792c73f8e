//! Pauses between attempts: growing, uneven, few.

use std::time::Duration;

const FIRST_MS: u64 = 10;
const PAUSE_MS_MAX: u64 = 500;

/// Pauses before further attempts; `None` when there are no more.
#[derive(Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    attempts_max: u32,
    seed: u64,
}

impl Backoff {
    pub(crate) fn new(attempts_max: u32, seed: u64) -> Self {
        Self { attempts: 1, attempts_max: attempts_max.max(1), seed: seed | 1 }
    }

    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Doubled each time, between half and the whole of it, so that two who wait do not wake together.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if self.attempts >= self.attempts_max {
            return None;
        }
        let base = FIRST_MS.saturating_mul(1 << self.attempts.min(20)).min(PAUSE_MS_MAX);
        self.attempts += 1;
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        Some(Duration::from_millis(base / 2 + self.seed % (base / 2 + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s0_003_attempts_are_few_and_pauses_grow_unevenly_up_to_a_limit() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(10, seed);
            std::iter::from_fn(move || backoff.next()).map(|it| it.as_millis()).collect::<Vec<_>>()
        };
        let (a, b) = (pauses(1), pauses(99));
        assert_eq!(a.len(), 9);
        assert_ne!(a, b, "two who wait must not wake together");
        assert!(a.iter().all(|pause| (10..=500).contains(pause)) && a[8] > a[0], "{a:?}");
    }
}
