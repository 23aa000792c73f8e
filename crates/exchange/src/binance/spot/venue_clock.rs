//! The venue's clock as seen from here, for signing and for the fence (T-01, T-02, V-26).
//!
//! It is kept relative to our monotonic clock, so that a step of the machine's wall clock changes nothing. Invariant: it
//! is either unknown or within half a round trip (plus drift since the measurement) of the venue's.

use keel_lifecycle::Clock;
use keel_model::Timestamp;
use parking_lot::Mutex;

/// The relation of the venue's time to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measured {
    venue_ns: u64,
    mono_ns: u64,
    round_trip_ns: u64,
}

/// The venue's clock; `None` until it was measured.
#[derive(Debug)]
pub struct VenueClock {
    clock: Clock,
    measured: Mutex<Option<Measured>>,
}

impl VenueClock {
    /// Not measured yet.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock, measured: Mutex::new(None) }
    }

    /// Takes a measurement: the venue's answer to a question sent and answered at these monotonic times. The answer is
    /// taken to be of the middle.
    pub fn measure(&self, venue: Timestamp, sent_mono_ns: u64, answered_mono_ns: u64) {
        let round_trip_ns = answered_mono_ns.saturating_sub(sent_mono_ns);
        let measured = Measured { venue_ns: venue.as_ns(), mono_ns: sent_mono_ns + round_trip_ns / 2, round_trip_ns };
        *self.measured.lock() = Some(measured);
    }

    /// Forgets the measurement: the venue refused a timestamp.
    pub fn invalidate(&self) {
        *self.measured.lock() = None;
    }

    /// The venue's time now.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        let measured = (*self.measured.lock())?;
        let since_ns = self.clock.mono_ns().saturating_sub(measured.mono_ns);
        Some(Timestamp::from_ns(measured.venue_ns.saturating_add(since_ns)))
    }

    /// The venue's time less ours, and the round trip that it was measured with; unit: nanoseconds. For display.
    #[must_use]
    pub fn offset_ns(&self) -> Option<(i64, u64)> {
        let round_trip_ns = (*self.measured.lock())?.round_trip_ns;
        let difference = i128::from(self.now()?.as_ns()) - i128::from(self.clock.now_ns());
        Some((i64::try_from(difference).unwrap_or(i64::MAX), round_trip_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn t01_the_offset_is_measured_from_the_middle_of_the_round_trip() {
        let clock = Clock::manual_at(1_000_000_000_000);
        let venue = VenueClock::new(clock.clone());
        assert_eq!(venue.now(), None);
        let sent = clock.mono_ns();
        clock.advance(Duration::from_millis(40));
        venue.measure(Timestamp::from_ms(1_003_000), sent, clock.mono_ns());
        assert_eq!(venue.now(), Some(Timestamp::from_ms(1_003_020)));
        assert_eq!(venue.offset_ns(), Some((2_980_000_000, 40_000_000)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(venue.now(), Some(Timestamp::from_ms(1_008_020)));
        venue.invalidate();
        assert_eq!((venue.now(), venue.offset_ns()), (None, None));
    }
}
