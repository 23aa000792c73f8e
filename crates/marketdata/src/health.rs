//! Which streams are current and which have fallen silent, by receive time (N-05, N-07, RC-15).
//!
//! Invariants: a stream that never spoke is not `Live`; silence beyond the stream's own bound makes it `Stale` at the next
//! check; a state set from outside (`Resyncing`, `Down`) lasts until data comes; each change is told exactly once.

use keel_model::{FeedState, StreamKind, Timestamp};
use std::time::Duration;

/// The most streams watched in one run; more are refused by [`FeedHealth::watch`].
pub const STREAMS_MAX: usize = 16_384;

/// Handle of a watched stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSlot(usize);

/// A stream changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// Which stream.
    pub stream: StreamKind,
    /// Its state now.
    pub state: FeedState,
    /// How long it had been silent.
    pub silence: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    stream: StreamKind,
    stale_after: Duration,
    state: FeedState,
    last: Timestamp,
}

/// Watches streams for silence.
#[derive(Clone, Debug, Default)]
pub struct FeedHealth {
    watched: Vec<Watched>,
}

impl FeedHealth {
    /// Watches nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { watched: Vec::new() }
    }

    /// Watches a stream that must not be silent for longer than `stale_after`. The wait for its first data counts from
    /// `now`. `None` when [`STREAMS_MAX`] streams are watched already.
    pub fn watch(&mut self, stream: StreamKind, stale_after: Duration, now: Timestamp) -> Option<StreamSlot> {
        if self.watched.len() >= STREAMS_MAX {
            return None;
        }
        self.watched.push(Watched { stream, stale_after, state: FeedState::Down, last: now });
        Some(StreamSlot(self.watched.len() - 1))
    }

    /// Data came. Answers the change, if it made the stream current again.
    #[inline]
    pub fn on_data(&mut self, slot: StreamSlot, ts_recv: Timestamp) -> Option<HealthChange> {
        let watched = self.watched.get_mut(slot.0)?;
        let silence = ts_recv.since(watched.last);
        watched.last = watched.last.max(ts_recv);
        if watched.state == FeedState::Live {
            return None;
        }
        watched.state = FeedState::Live;
        Some(HealthChange { stream: watched.stream, state: FeedState::Live, silence })
    }

    /// The state is known from elsewhere: resyncing, disconnected. Answers the change, if it is one.
    pub fn set_state(&mut self, slot: StreamSlot, state: FeedState, now: Timestamp) -> Option<HealthChange> {
        let watched = self.watched.get_mut(slot.0)?;
        if watched.state == state {
            return None;
        }
        watched.state = state;
        Some(HealthChange { stream: watched.stream, state, silence: now.since(watched.last) })
    }

    /// Tells each stream that has fallen silent since the last check.
    pub fn check(&mut self, now: Timestamp, mut tell: impl FnMut(HealthChange)) {
        for watched in &mut self.watched {
            let silence = now.since(watched.last);
            if watched.state == FeedState::Live && silence > watched.stale_after {
                watched.state = FeedState::Stale;
                tell(HealthChange { stream: watched.stream, state: FeedState::Stale, silence });
            }
        }
    }

    /// State of one stream; `Down` for a handle of another table.
    #[must_use]
    pub fn state(&self, slot: StreamSlot) -> FeedState {
        self.watched.get(slot.0).map_or(FeedState::Down, |watched| watched.state)
    }

    /// How long a stream has been silent.
    #[must_use]
    pub fn silence(&self, slot: StreamSlot, now: Timestamp) -> Option<Duration> {
        self.watched.get(slot.0).map(|watched| now.since(watched.last))
    }

    /// Are all watched streams current?
    #[must_use]
    pub fn is_all_live(&self) -> bool {
        self.watched.iter().all(|watched| watched.state == FeedState::Live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::InstrumentId;

    fn second(at: u64) -> Timestamp {
        Timestamp::from_ms(at * 1_000)
    }

    #[test]
    fn a_stream_is_live_with_its_first_data_and_stale_after_its_own_silence() {
        let (market, account) = (StreamKind::Market(InstrumentId(1)), StreamKind::Account);
        let mut health = FeedHealth::new();
        let quick = health.watch(market, Duration::from_secs(3), second(0)).unwrap();
        let slow = health.watch(account, Duration::from_secs(60), second(0)).unwrap();
        assert_eq!(health.state(quick), FeedState::Down, "a stream that never spoke is not current");
        assert_eq!(health.on_data(quick, second(1)).unwrap().state, FeedState::Live);
        assert_eq!(health.on_data(quick, second(2)), None);
        health.on_data(slow, second(2));
        assert!(health.is_all_live());

        let mut told = Vec::new();
        health.check(second(5), |change| told.push(change));
        assert_eq!(told, [], "3 s of silence are allowed");
        health.check(second(6), |change| told.push(change));
        health.check(second(7), |change| told.push(change));
        assert_eq!(told, [HealthChange { stream: market, state: FeedState::Stale, silence: Duration::from_secs(4) }]);
        assert_eq!(health.state(slow), FeedState::Live, "one silent stream says nothing about another (N-07)");
        assert_eq!(health.silence(quick, second(9)), Some(Duration::from_secs(7)));
        assert_eq!(health.on_data(quick, second(9)).unwrap().state, FeedState::Live);
    }

    #[test]
    fn a_state_from_outside_lasts_until_data_comes() {
        let mut health = FeedHealth::new();
        let slot = health.watch(StreamKind::Account, Duration::from_secs(1), second(0)).unwrap();
        health.on_data(slot, second(1));
        assert_eq!(health.set_state(slot, FeedState::Resyncing, second(1)).unwrap().state, FeedState::Resyncing);
        assert_eq!(health.set_state(slot, FeedState::Resyncing, second(1)), None, "each change is told once");
        let mut told = 0;
        health.check(second(100), |_| told += 1);
        assert_eq!((told, health.state(slot)), (0, FeedState::Resyncing));
        assert!(health.on_data(slot, second(101)).is_some());
    }

    #[test]
    fn time_that_runs_backwards_makes_nothing_stale_and_nothing_young() {
        let mut health = FeedHealth::new();
        let slot = health.watch(StreamKind::Account, Duration::from_secs(5), second(10)).unwrap();
        health.on_data(slot, second(20));
        health.on_data(slot, second(12));
        assert_eq!(health.silence(slot, second(21)), Some(Duration::from_secs(1)));
        health.check(second(1), |change| panic!("{change:?}"));
    }
}
