//! The order rate limit: a token bucket kept as one number, the time at which the bucket would be empty again.
//!
//! Denied attempts count too, so that a runaway caller stays blocked until it calms down; they never count further ahead
//! than one full bucket.

use keel_model::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    interval_ns: u64,
    depth_ns: u64,
    filled_until_ns: u64,
}

impl Throttle {
    pub(crate) fn new(rate_per_s: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(rate_per_s.max(1));
        let interval_ns = interval_ns.max(1);
        Self { interval_ns, depth_ns: interval_ns.saturating_mul(u64::from(burst.max(1))), filled_until_ns: 0 }
    }

    /// Takes one token; `false` when there is none.
    #[inline]
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        let now_ns = now.as_ns();
        let full_ns = now_ns.saturating_add(self.depth_ns);
        let next_ns = self.filled_until_ns.max(now_ns).saturating_add(self.interval_ns);
        self.filled_until_ns = next_ns.min(full_ns);
        next_ns <= full_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc_08_burst_then_rate_and_denied_attempts_count() {
        let mut throttle = Throttle::new(10, 3);
        let at = |ms: u64| Timestamp::from_ms(1_000_000 + ms);
        assert!((0..3).all(|_| throttle.take(at(0))), "the burst passes");
        assert!(!throttle.take(at(0)), "the fourth does not");
        assert!(!throttle.take(at(50)), "half an interval is not a token, and the attempt counts");
        assert!(!throttle.take(at(120)), "hammering keeps it shut");
        assert!(throttle.take(at(220)), "one quiet interval opens it");
        let quiet = at(10_000);
        assert_eq!((0..10).filter(|_| throttle.take(quiet)).count(), 3, "never more than the burst after a pause");
    }
}
