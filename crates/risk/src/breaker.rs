//! Circuit breakers: closed, open, half-open.
//!
//! Closed counts failures; enough of them within the window open it. Open lets nothing through that opens or adds; after its
//! time it is half-open, or, without a time, only a person closes it. Half-open lets one small order at a time through to try
//! out: its success closes the breaker, a failure opens it again. Time is told; nothing here reads a clock.

use crate::window::EventRing;
use keel_model::{ClientOrderId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a breaker watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BreakerKind {
    /// Orders that the venue refused.
    OrderErrors,
    /// Answers that failed to come, were unsure or could not be read; requests that could not leave.
    VenueErrors,
    /// Prices that move too far within the window; by instrument.
    Volatility,
    /// Losing trades in a row.
    LossStreak,
    /// Loss of the UTC day (RC-13).
    DailyLoss,
    /// Fall of the profit from its height (RC-13).
    Drawdown,
}

impl BreakerKind {
    /// The kinds that watch the whole account.
    pub(crate) const ACCOUNT: [Self; 5] =
        [Self::OrderErrors, Self::VenueErrors, Self::LossStreak, Self::DailyLoss, Self::Drawdown];

    /// Does the result of trades decide over it, rather than the venue's answers?
    #[must_use]
    pub const fn is_about_losses(self) -> bool {
        matches!(self, Self::LossStreak | Self::DailyLoss | Self::Drawdown)
    }

    /// Is it about the venue's answers?
    #[must_use]
    pub const fn is_of_venue(self) -> bool {
        matches!(self, Self::OrderErrors | Self::VenueErrors)
    }

    /// Its name in journal, status and alerts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderErrors => "order-errors",
            Self::VenueErrors => "venue-errors",
            Self::Volatility => "volatility",
            Self::LossStreak => "loss-streak",
            Self::DailyLoss => "daily-loss",
            Self::Drawdown => "drawdown",
        }
    }
}

impl fmt::Display for BreakerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// State of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BreakerState {
    /// Everything passes; failures are counted.
    #[default]
    Closed,
    /// Nothing that opens or adds passes.
    Open {
        /// Until then; `None`: until a person closes it.
        until: Option<Timestamp>,
    },
    /// One small order at a time passes.
    HalfOpen {
        /// The order that is trying out.
        probe: Option<ClientOrderId>,
    },
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Open { until: Some(until) } => write!(f, "open until {until}"),
            Self::Open { until: None } => f.write_str("open until a person re-arms it"),
            Self::HalfOpen { .. } => f.write_str("half-open"),
        }
    }
}

/// One breaker.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    ring: EventRing,
    timeout_ns: u64,
    state: BreakerState,
    since: Timestamp,
}

impl Breaker {
    /// Opens with `count` failures within the window.
    pub(crate) fn new(count: u32, window_ms: u64, timeout_ms: u64) -> Self {
        Self {
            ring: EventRing::new(count, window_ms),
            timeout_ns: timeout_ms.saturating_mul(1_000_000),
            state: BreakerState::Closed,
            since: Timestamp::ZERO,
        }
    }

    pub(crate) const fn state(&self) -> BreakerState {
        self.state
    }

    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state, BreakerState::Closed)
    }

    /// Does it never open by counting?
    pub(crate) const fn is_off(&self) -> bool {
        self.ring.is_off()
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, BreakerState::Open { .. })
    }

    /// A failure; answers whether it opened the breaker.
    pub(crate) fn fail(&mut self, now: Timestamp) -> bool {
        match self.state {
            BreakerState::Closed => self.ring.push(now) && self.open(now),
            BreakerState::HalfOpen { .. } => self.open(now),
            BreakerState::Open { .. } => false,
        }
    }

    /// Opens it whatever was counted; answers whether it was not open.
    pub(crate) fn open(&mut self, now: Timestamp) -> bool {
        if self.is_open() {
            return false;
        }
        let until = (self.timeout_ns > 0).then(|| Timestamp::from_ns(now.as_ns().saturating_add(self.timeout_ns)));
        (self.state, self.since) = (BreakerState::Open { until }, now);
        self.ring.clear();
        true
    }

    /// Time has passed; answers whether the breaker became half-open.
    pub(crate) fn on_time(&mut self, now: Timestamp) -> bool {
        match self.state {
            BreakerState::Open { until: Some(until) } if now >= until => {
                (self.state, self.since) = (BreakerState::HalfOpen { probe: None }, now);
                true
            }
            _ => false,
        }
    }

    /// A success: the order that tries out went well, or one does without it. Answers whether it closed the breaker.
    pub(crate) fn succeed(&mut self, now: Timestamp) -> bool {
        matches!(self.state, BreakerState::HalfOpen { .. }) && self.close(now)
    }

    /// Closes it; answers whether it was not closed.
    pub(crate) fn close(&mut self, now: Timestamp) -> bool {
        if self.is_closed() {
            return false;
        }
        (self.state, self.since) = (BreakerState::Closed, now);
        self.ring.clear();
        true
    }

    /// An order was let through half-open.
    pub(crate) fn begin_probe(&mut self, id: ClientOrderId) {
        if let BreakerState::HalfOpen { probe } = &mut self.state {
            *probe = Some(id);
        }
    }

    /// An order is over; if it was trying out and decided nothing, the next one may.
    pub(crate) fn end_probe(&mut self, id: ClientOrderId) {
        if let BreakerState::HalfOpen { probe } = &mut self.state
            && *probe == Some(id)
        {
            *probe = None;
        }
    }

    /// Takes a state over from a former run: a breaker that was not closed does not close by a restart, and an order that
    /// was trying out then has lost its turn.
    pub(crate) fn restore(&mut self, state: BreakerState, since: Timestamp) {
        self.state = match state {
            BreakerState::HalfOpen { .. } => BreakerState::HalfOpen { probe: None },
            state => state,
        };
        self.since = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ClientOrderId = ClientOrderId { instance: 1, epoch: 1, sequence: 1 };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + ms)
    }

    #[test]
    fn s2_016_ten_failures_in_sixty_seconds_open_it_and_nine_do_not() {
        let mut breaker = Breaker::new(10, 60_000, 30_000);
        assert!((0..9).all(|step| !breaker.fail(at(step))) && breaker.is_closed());
        assert!(!breaker.fail(at(60_000)), "the first of ten is just out of the window");
        assert!(breaker.fail(at(60_000)), "now ten are within it");
        assert_eq!(breaker.state(), BreakerState::Open { until: Some(at(90_000)) });
        assert!(!breaker.fail(at(60_001)), "open stays open");
    }

    #[test]
    fn s2_016_half_open_tries_once_and_recovers_or_opens_again() {
        let mut breaker = Breaker::new(1, 1_000, 100);
        assert!(breaker.fail(at(0)));
        assert!(!breaker.on_time(at(99)) && breaker.on_time(at(100)) && !breaker.on_time(at(101)));
        breaker.begin_probe(ID);
        assert_eq!(breaker.state(), BreakerState::HalfOpen { probe: Some(ID) });
        assert!(breaker.fail(at(110)), "the probe failed");
        assert_eq!(breaker.state(), BreakerState::Open { until: Some(at(210)) });
        assert!(breaker.on_time(at(210)));
        breaker.begin_probe(ID);
        breaker.end_probe(ID);
        assert_eq!(breaker.state(), BreakerState::HalfOpen { probe: None }, "undecided: the next may try");
        assert!(breaker.succeed(at(220)) && breaker.is_closed() && !breaker.succeed(at(221)));
    }

    #[test]
    fn s2_016_without_a_time_only_a_person_closes_it_and_a_restart_does_not() {
        let mut breaker = Breaker::new(1, 1_000, 0);
        assert!(breaker.fail(at(0)) && !breaker.on_time(at(u64::from(u32::MAX))));
        let mut next = Breaker::new(1, 1_000, 0);
        next.restore(breaker.state(), breaker.since());
        assert!(next.is_open());
        assert!(next.close(at(5)) && !next.close(at(5)));
        next.restore(BreakerState::HalfOpen { probe: Some(ID) }, at(6));
        assert_eq!(next.state(), BreakerState::HalfOpen { probe: None });
    }

    #[test]
    fn a_breaker_without_a_count_never_opens_by_failures() {
        let mut breaker = Breaker::new(0, 1_000, 100);
        assert!((0..100).all(|step| !breaker.fail(at(step))));
    }
}
