//! The one place in the workspace that reads a clock.
//!
//! Everything else is handed a [`Clock`], so that a run can be put on virtual time. Invariants: `mono_ns` never goes
//! backwards; on a manual clock wall and monotonic time move together and only when told to.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A cheap handle to a source of time; clones share the source.
///
/// ```
/// use keel_lifecycle::Clock;
/// use std::time::Duration;
/// let clock = Clock::manual_at(1_000);
/// let deadline = clock.deadline(Duration::from_nanos(500));
/// clock.advance(Duration::from_nanos(200));
/// assert_eq!(clock.now_ns(), 1_200);
/// assert_eq!(deadline.remaining(), Duration::from_nanos(300));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    anchor_ns: u64,
    wall_ns: AtomicU64,
    mono_ns: AtomicU64,
}

/// When this process first looked at the clock; zero of every `mono_ns`.
fn process_epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(instant_now)
}

/// What the wall clock showed at the process epoch.
fn process_anchor_ns() -> u64 {
    static ANCHOR: OnceLock<u64> = OnceLock::new();
    *ANCHOR.get_or_init(|| {
        let since = saturating_ns(instant_now().saturating_duration_since(process_epoch()));
        system_now().duration_since(UNIX_EPOCH).map_or(0, saturating_ns).saturating_sub(since)
    })
}

#[allow(clippy::disallowed_methods, reason = "this is the clock")]
fn instant_now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "this is the clock")]
fn system_now() -> SystemTime {
    SystemTime::now()
}

/// The runtime's own time, which tests may pause: used for deadlines of awaits in the stop path only.
pub(crate) fn runtime_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        process_anchor_ns();
        Self { source: Source::System }
    }

    /// A clock that stands at zero until it is moved; for tests and virtual runs.
    #[must_use]
    pub fn manual() -> Self {
        Self::manual_at(0)
    }

    /// A clock whose wall time stands at `wall_ns` (unix nanoseconds) until it is moved. Its monotonic time starts at 0.
    #[must_use]
    pub fn manual_at(wall_ns: u64) -> Self {
        let manual = Manual { anchor_ns: wall_ns, wall_ns: AtomicU64::new(wall_ns), mono_ns: AtomicU64::new(0) };
        Self { source: Source::Manual(Arc::new(manual)) }
    }

    /// Whether this clock only moves when told to.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        matches!(self.source, Source::Manual(_))
    }

    /// Wall time, nanoseconds since 1970-01-01 UTC. It may jump when the machine's clock is set.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.source {
            Source::System => system_now().duration_since(UNIX_EPOCH).map_or(0, saturating_ns),
            Source::Manual(manual) => manual.wall_ns.load(Ordering::Acquire),
        }
    }

    /// Wall time, milliseconds since 1970-01-01 UTC: what venues sign with.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// The run's time: what the wall clock showed when this process first looked at it, and monotonic time since then. It does
    /// not follow when the machine's clock is set, so time-outs and ages hold (T-02).
    #[must_use]
    pub fn run_ns(&self) -> u64 {
        let anchor_ns = match &self.source {
            Source::System => process_anchor_ns(),
            Source::Manual(manual) => manual.anchor_ns,
        };
        anchor_ns.saturating_add(self.mono_ns())
    }

    /// Monotonic time, nanoseconds since the process started; for measuring and for staleness.
    #[must_use]
    pub fn mono_ns(&self) -> u64 {
        match &self.source {
            Source::System => saturating_ns(instant_now().saturating_duration_since(process_epoch())),
            Source::Manual(manual) => manual.mono_ns.load(Ordering::Acquire),
        }
    }

    /// Time passed since an earlier `mono_ns` of this clock.
    #[must_use]
    pub fn since(&self, mono_ns: u64) -> Duration {
        Duration::from_nanos(self.mono_ns().saturating_sub(mono_ns))
    }

    /// A point `after` from now on this clock.
    #[must_use]
    pub fn deadline(&self, after: Duration) -> Deadline {
        Deadline { clock: self.clone(), at_ns: self.mono_ns().saturating_add(saturating_ns(after)) }
    }

    /// Moves a manual clock forward. Returns false, and does nothing, on the system clock.
    pub fn advance(&self, by: Duration) -> bool {
        let Source::Manual(manual) = &self.source else { return false };
        let by_ns = saturating_ns(by);
        manual.mono_ns.fetch_add(by_ns, Ordering::AcqRel);
        manual.wall_ns.fetch_add(by_ns, Ordering::AcqRel);
        true
    }

    /// Sets the wall time of a manual clock, forward or back, as somebody who sets the machine's clock would: monotonic time
    /// and the run's time do not follow. Returns false, and does nothing, on the system clock.
    pub fn set_wall_ns(&self, wall_ns: u64) -> bool {
        let Source::Manual(manual) = &self.source else { return false };
        manual.wall_ns.store(wall_ns, Ordering::Release);
        true
    }

    /// Moves a manual clock forward to the wall time `wall_ns`; an earlier time is ignored, so that time never runs
    /// backwards. Returns whether the clock moved.
    pub fn advance_to_ns(&self, wall_ns: u64) -> bool {
        let Source::Manual(manual) = &self.source else { return false };
        let before = manual.wall_ns.fetch_max(wall_ns, Ordering::AcqRel);
        let step = wall_ns.saturating_sub(before);
        manual.mono_ns.fetch_add(step, Ordering::AcqRel);
        step > 0
    }
}

/// A point in time on a clock, passed down so that all parts of a job share what is left (S4-001).
#[derive(Clone, Debug)]
pub struct Deadline {
    clock: Clock,
    at_ns: u64,
}

impl Deadline {
    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.at_ns.saturating_sub(self.clock.mono_ns()))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_past(&self) -> bool {
        self.clock.mono_ns() >= self.at_ns
    }

    /// The earlier of this and a point `after` from now.
    #[must_use]
    pub fn at_most(&self, after: Duration) -> Deadline {
        let other = self.clock.deadline(after);
        if other.at_ns < self.at_ns { other } else { self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_is_monotonic_and_after_2020() {
        let clock = Clock::system();
        let (a, b) = (clock.mono_ns(), clock.mono_ns());
        assert!(b >= a);
        assert!(clock.now_ns() > 1_577_836_800_000_000_000);
        assert_eq!(clock.now_ms(), clock.now_ms().min(clock.now_ns() / 1_000_000));
        assert!(!clock.advance(Duration::from_secs(1)), "the machine's clock is not ours to move");
    }

    #[test]
    fn manual_clock_moves_only_forward_and_only_when_told() {
        let clock = Clock::manual_at(100);
        let twin = clock.clone();
        assert!(clock.is_manual());
        assert!(clock.advance_to_ns(150));
        assert!(!clock.advance_to_ns(120));
        assert_eq!((twin.now_ns(), twin.mono_ns()), (150, 50));
        assert_eq!(twin.since(20), Duration::from_nanos(30));
    }

    #[test]
    fn t_02_the_time_of_the_run_does_not_follow_when_the_wall_clock_is_set() {
        let clock = Clock::manual_at(7_200_000_000_000);
        clock.advance(Duration::from_secs(10));
        assert_eq!((clock.run_ns(), clock.now_ns()), (7_210_000_000_000, 7_210_000_000_000));
        assert!(clock.set_wall_ns(3_610_000_000_000), "an hour back");
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.run_ns(), clock.now_ns()), (7_211_000_000_000, 3_611_000_000_000));
        let system = Clock::system();
        let (wall, run) = (system.now_ns(), system.run_ns());
        assert!(wall.abs_diff(run) < 60_000_000_000, "{wall} {run}");
    }

    #[test]
    fn deadline_shares_what_is_left() {
        // S4-007: remaining = max(0, timeout - elapsed)
        let clock = Clock::manual();
        let deadline = clock.deadline(Duration::from_secs(5));
        assert_eq!(deadline.remaining(), Duration::from_secs(5));
        clock.advance(Duration::from_secs(2));
        assert_eq!(deadline.remaining(), Duration::from_secs(3));
        assert_eq!(deadline.at_most(Duration::from_secs(1)).remaining(), Duration::from_secs(1));
        clock.advance(Duration::from_secs(9));
        assert!(deadline.is_past());
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
