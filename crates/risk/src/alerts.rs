//! What the guards did, for people: a bounded list that forgets after a day (S2-042).

use crate::breaker::BreakerKind;
use crate::protections::LockCause;
use keel_model::{RiskScope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// Most alerts remembered; the oldest leaves first.
pub const ALERTS_MAX: usize = 256;
/// An alert is remembered this long; unit: nanoseconds.
const ALERT_NS_MAX: u64 = 86_400_000_000_000;

/// Why a kill switch is thrown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KillCause {
    /// A person, or the system on a person's behalf.
    Person,
    /// A strategy that fills and enters again too often (RC-10).
    Repeated,
    /// Loss of a strategy's day (RC-13).
    DailyLoss,
    /// Fall of a strategy's profit from its height (RC-13).
    Drawdown,
}

impl fmt::Display for KillCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Person => "killed by a person",
            Self::Repeated => "filled and entered again too often",
            Self::DailyLoss => "daily loss limit of the strategy",
            Self::Drawdown => "drawdown limit of the strategy",
        })
    }
}

/// What a guard did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardEvent {
    /// A breaker opened.
    BreakerOpened {
        /// Which.
        kind: BreakerKind,
        /// What it covers.
        scope: RiskScope,
        /// Until when; `None`: until a person re-arms it.
        until: Option<Timestamp>,
    },
    /// A breaker tries out whether it may close.
    BreakerHalfOpen {
        /// Which.
        kind: BreakerKind,
        /// What it covers.
        scope: RiskScope,
    },
    /// A breaker closed.
    BreakerClosed {
        /// Which.
        kind: BreakerKind,
        /// What it covers.
        scope: RiskScope,
    },
    /// A lock was set.
    Locked {
        /// What it covers.
        scope: RiskScope,
        /// Why.
        cause: LockCause,
        /// Until when.
        until: Timestamp,
    },
    /// A kill switch was thrown; only a person ends it.
    Killed {
        /// What it covers.
        scope: RiskScope,
        /// Why.
        cause: KillCause,
    },
}

impl fmt::Display for GuardEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BreakerOpened { kind, scope, until: Some(until) } => {
                write!(f, "breaker {kind} of {scope} opened until {until}")
            }
            Self::BreakerOpened { kind, scope, until: None } => {
                write!(f, "breaker {kind} of {scope} opened until a person re-arms it")
            }
            Self::BreakerHalfOpen { kind, scope } => write!(f, "breaker {kind} of {scope} is half-open"),
            Self::BreakerClosed { kind, scope } => write!(f, "breaker {kind} of {scope} closed"),
            Self::Locked { scope, cause, until } => write!(f, "{scope} locked by {cause} until {until}"),
            Self::Killed { scope, cause } => write!(f, "{scope} disabled until a person re-arms it: {cause}"),
        }
    }
}

/// A list with an end: at most [`ALERTS_MAX`], none older than a day.
#[derive(Clone, Debug)]
pub(crate) struct Alerts {
    all: VecDeque<(Timestamp, GuardEvent)>,
    /// How many of the last ones have not been told yet.
    untold: usize,
    /// Left the list before they were told.
    lost: u64,
}

impl Alerts {
    pub(crate) fn new() -> Self {
        Self { all: VecDeque::with_capacity(ALERTS_MAX), untold: 0, lost: 0 }
    }

    pub(crate) fn push(&mut self, now: Timestamp, event: GuardEvent) {
        if self.all.len() >= ALERTS_MAX {
            self.all.pop_front();
            if self.untold >= ALERTS_MAX {
                (self.untold, self.lost) = (ALERTS_MAX - 1, self.lost.saturating_add(1));
            }
        }
        self.all.push_back((now, event));
        self.untold += 1;
    }

    /// Is there something that was not told?
    #[inline]
    pub(crate) const fn has_news(&self) -> bool {
        self.untold > 0
    }

    /// The next one that was not told.
    pub(crate) fn take(&mut self) -> Option<GuardEvent> {
        let at = self.all.len().checked_sub(self.untold)?;
        let event = self.all.get(at).map(|(_, event)| *event)?;
        self.untold -= 1;
        Some(event)
    }

    pub(crate) fn on_time(&mut self, now: Timestamp) {
        while self.all.len() > self.untold
            && self.all.front().is_some_and(|(ts, _)| now.as_ns().saturating_sub(ts.as_ns()) > ALERT_NS_MAX)
        {
            self.all.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Timestamp, GuardEvent)> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_042_alerts_are_told_once_bounded_and_forgotten_after_a_day() {
        let mut alerts = Alerts::new();
        let event = GuardEvent::Killed { scope: RiskScope::Account, cause: KillCause::Person };
        for second in 0..1_000 {
            alerts.push(Timestamp::from_ms(second * 1_000), event);
        }
        assert_eq!((alerts.iter().count(), alerts.lost), (ALERTS_MAX, 1_000 - ALERTS_MAX as u64));
        alerts.on_time(Timestamp::from_ms(10 * 86_400_000));
        assert_eq!(alerts.iter().count(), ALERTS_MAX, "nothing is forgotten before it was told");
        let mut told = 0;
        while alerts.take().is_some() {
            told += 1;
        }
        assert_eq!((told, alerts.has_news()), (ALERTS_MAX, false));
        alerts.on_time(Timestamp::from_ms(86_400_000 + 900_000));
        assert_eq!(alerts.iter().count(), 100, "those of the last 24 h stay");
        alerts.on_time(Timestamp::from_ms(10 * 86_400_000));
        assert_eq!(alerts.iter().count(), 0);
    }
}
