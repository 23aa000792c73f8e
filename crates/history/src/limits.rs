//! Request weight of the venue's REST, per market and minute, so that downloads leave room for the bot on the same address.
//!
//! Invariants: by the larger of our own count and the venue's, never more than the share of the limit is asked in one minute;
//! while a hold (429, 418) lasts, nothing is. Overload: what is not admitted waits, at most as long as the caller's patience.

use crate::request::Market;
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use std::time::Duration;

/// Length of the venue's window; unit: milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Share of the venue's limit that downloads use; unit: percent.
const SHARE_PERCENT: u64 = 50;
/// Into the new window before anything is asked in it, for clocks that differ a little; unit: milliseconds.
const MARGIN_MS: u64 = 250;

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) market: Market,
    pub(crate) weight: u64,
}

/// The limits of the three markets.
#[derive(Debug)]
pub(crate) struct Limits {
    windows: [Mutex<Window>; 3],
}

#[derive(Debug)]
struct Window {
    limit: u64,
    minute: u64,
    used: u64,
    held_until_mono_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Documented limits per minute and address: spot 6,000, both futures 2,400.
        let window = |limit: u64| {
            Mutex::new(Window { limit: limit * SHARE_PERCENT / 100, minute: 0, used: 0, held_until_mono_ms: 0 })
        };
        Self { windows: [window(6_000), window(2_400), window(2_400)] }
    }
}

impl Limits {
    fn window(&self, market: Market) -> &Mutex<Window> {
        let [spot, usdm, coinm] = &self.windows;
        match market {
            Market::Spot => spot,
            Market::Usdm => usdm,
            Market::Coinm => coinm,
        }
    }

    /// Waits until the request may be made. The error is the wait in seconds that is longer than `patience`.
    pub(crate) async fn admit(&self, clock: &Clock, weight: Weight, patience: Duration) -> Result<(), u64> {
        loop {
            let wait_ms = {
                let mut window = self.window(weight.market).lock();
                window.admit(clock.now_ms(), clock.mono_ns() / 1_000_000, weight.weight)
            };
            let Some(wait_ms) = wait_ms else { return Ok(()) };
            // A full window empties within its minute, whatever the patience.
            if wait_ms > WINDOW_MS + MARGIN_MS && Duration::from_millis(wait_ms) > patience {
                return Err(wait_ms.div_ceil(1_000));
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// What the venue says is used; it counts the bot on the same address, too.
    pub(crate) fn observe(&self, clock: &Clock, weight: Weight, used: Option<u64>) {
        let Some(used) = used else { return };
        let mut window = self.window(weight.market).lock();
        if window.minute == clock.now_ms() / WINDOW_MS {
            window.used = window.used.max(used);
        }
    }

    /// Nothing is asked for so many seconds.
    pub(crate) fn hold(&self, clock: &Clock, weight: Weight, for_s: u64) {
        let until = (clock.mono_ns() / 1_000_000).saturating_add(for_s.saturating_mul(1_000));
        let mut window = self.window(weight.market).lock();
        window.held_until_mono_ms = window.held_until_mono_ms.max(until);
    }
}

impl Window {
    /// `None`: admitted and counted. Else the time to wait; unit: milliseconds.
    fn admit(&mut self, now_ms: u64, mono_ms: u64, weight: u64) -> Option<u64> {
        if mono_ms < self.held_until_mono_ms {
            return Some(self.held_until_mono_ms - mono_ms);
        }
        let minute = now_ms / WINDOW_MS;
        if minute != self.minute {
            (self.minute, self.used) = (minute, 0);
        }
        // A single request that is heavier than the share may go alone.
        if self.used + weight > self.limit && self.used > 0 {
            return Some(WINDOW_MS - now_ms % WINDOW_MS + MARGIN_MS);
        }
        self.used += weight;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT_KLINES: Weight = Weight { market: Market::Spot, weight: 2 };

    #[tokio::test(start_paused = true)]
    async fn the_share_of_a_minute_is_kept_and_the_venues_count_believed() {
        let (limits, clock) = (Limits::default(), Clock::manual_at(120_000_000_000));
        for _ in 0..1_500 {
            assert_eq!(limits.window(Market::Spot).lock().admit(clock.now_ms(), 0, 2), None);
        }
        assert_eq!(limits.window(Market::Spot).lock().admit(clock.now_ms(), 0, 2), Some(60_250));
        clock.advance(Duration::from_secs(60));
        limits.admit(&clock, SPOT_KLINES, Duration::from_secs(1)).await.unwrap();
        limits.observe(&clock, SPOT_KLINES, Some(2_999));
        assert!(limits.window(Market::Spot).lock().admit(clock.now_ms(), 0, 2).is_some());
        assert_eq!(limits.window(Market::Usdm).lock().admit(clock.now_ms(), 0, 10), None, "each market has its own");
    }

    #[tokio::test]
    async fn a_hold_longer_than_the_patience_is_an_error_that_says_how_long() {
        let (limits, clock) = (Limits::default(), Clock::manual());
        limits.hold(&clock, SPOT_KLINES, 7_200);
        assert_eq!(limits.admit(&clock, SPOT_KLINES, Duration::from_secs(60)).await, Err(7_200));
    }
}
