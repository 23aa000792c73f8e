//! Faults that tests ask for: answers that lie, are late or never come; streams that stall, gap, repeat or break off.
//!
//! Request faults are a bounded list; each counts down with every request it hits and then is gone.

use crate::routes::Op;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Most request faults waiting at once.
const WAITING_MAX: usize = 1_024;

/// Which requests a fault hits, on REST and on the WebSocket API alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTarget {
    /// Placements, with or without a cancel, single or as a list.
    Placement,
    /// Cancels of one order, of a list or of all orders.
    Cancel,
    /// Questions about one order.
    Query,
    /// Questions about open orders, order and trade history.
    Account,
    /// Server time.
    Time,
    /// Public market data.
    MarketData,
    /// Anything about listenKeys and account stream subscriptions.
    UserStream,
    /// Every request.
    Any,
}

impl FaultTarget {
    fn hits(self, op: Op) -> bool {
        let kind = match op {
            Op::NewOrder | Op::CancelReplace | Op::NewOco | Op::NewOcoOld | Op::Amend => Self::Placement,
            Op::CancelOrder | Op::CancelAll | Op::CancelList => Self::Cancel,
            Op::QueryOrder | Op::QueryList => Self::Query,
            Op::Time | Op::Ping => Self::Time,
            Op::ListenKeyNew
            | Op::ListenKeyKeep
            | Op::ListenKeyClose
            | Op::UserSubscribe
            | Op::UserSubscribeSigned
            | Op::UserUnsubscribe
            | Op::SessionLogon
            | Op::SessionLogout
            | Op::SessionStatus
            | Op::SessionSubscriptions => Self::UserStream,
            Op::ExchangeInfo
            | Op::ExecutionRules
            | Op::Depth
            | Op::Trades
            | Op::HistoricalTrades
            | Op::HistoricalBlockTrades
            | Op::AggTrades
            | Op::Klines
            | Op::AvgPrice
            | Op::Ticker24h
            | Op::TickerTradingDay
            | Op::TickerPrice
            | Op::TickerBook
            | Op::TickerWindow
            | Op::ReferencePrice
            | Op::SapiSystemStatus => Self::MarketData,
            _ => Self::Account,
        };
        self == Self::Any || self == kind
    }
}

/// Before or after the request does what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMoment {
    /// It is not executed (unless the effect is only a delay, after which it is).
    Before,
    /// It is executed, and then the answer suffers.
    After,
}

/// What happens to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// A refusal or failure in Binance's form.
    Error {
        /// HTTP status.
        status: u16,
        /// Binance's code.
        code: i32,
        /// Its words.
        msg: String,
    },
    /// Any status with any body, such as a proxy's HTML.
    Body {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// A redirect; on the WebSocket API a 307 without a target.
    Redirect {
        /// HTTP status, such as 307.
        status: u16,
        /// The `location` header.
        location: String,
    },
    /// No answer, ever; the connection stays open.
    Hang,
    /// The connection is closed without an answer.
    Reset,
    /// The answer comes later by this; with [`FaultMoment::Before`] the execution too.
    Delay(Duration),
    /// Every occurrence of one text in the answer's body is replaced: unknown words, missing fields.
    Rewrite {
        /// What to look for.
        from: String,
        /// What to put there.
        to: String,
    },
}

/// A fault of the next so many requests of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFault {
    /// Which requests.
    pub target: FaultTarget,
    /// When.
    pub moment: FaultMoment,
    /// What.
    pub effect: FaultEffect,
    /// How many requests.
    pub times: u32,
}

impl RequestFault {
    /// The next `times` placements are accepted, and answered with a 5xx that says nothing of it.
    #[must_use]
    pub fn server_error_after_accept(times: u32) -> Self {
        let msg = "Internal error; unable to process your request. Please try again.".to_owned();
        let effect = FaultEffect::Error { status: 503, code: -1001, msg };
        Self { target: FaultTarget::Placement, moment: FaultMoment::After, effect, times }
    }

    /// The next `times` placements are accepted, and never answered.
    #[must_use]
    pub fn hang_after_accept(times: u32) -> Self {
        Self { target: FaultTarget::Placement, moment: FaultMoment::After, effect: FaultEffect::Hang, times }
    }

    /// The next `times` placements are accepted, and the connection is closed instead of an answer.
    #[must_use]
    pub fn reset_after_accept(times: u32) -> Self {
        Self { target: FaultTarget::Placement, moment: FaultMoment::After, effect: FaultEffect::Reset, times }
    }
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptMode {
    /// They are served.
    #[default]
    Serve,
    /// Nobody listens: they are refused by the system.
    Refuse,
    /// They are accepted and closed at once.
    Close,
    /// They are accepted and never answered.
    BlackHole,
}

/// The switches.
#[derive(Debug, Default)]
pub(crate) struct FaultState {
    waiting: Mutex<Vec<RequestFault>>,
    has_waiting: AtomicBool,
    /// Added to the venue's clock; unit: milliseconds.
    pub(crate) clock_offset_ms: AtomicI64,
    /// What becomes of new connections.
    pub(crate) accept: Mutex<AcceptMode>,
    /// The mode has changed.
    pub(crate) accept_changed: Notify,
    /// WebSocket upgrades are refused with 503.
    pub(crate) refuses_ws: AtomicBool,
}

impl FaultState {
    /// Adds a fault; false when too many wait.
    pub(crate) fn add(&self, fault: RequestFault) -> bool {
        let mut waiting = self.waiting.lock();
        if fault.times == 0 || waiting.len() >= WAITING_MAX {
            return fault.times == 0;
        }
        waiting.push(fault);
        self.has_waiting.store(true, Ordering::Release);
        true
    }

    /// Forgets all request faults.
    pub(crate) fn clear(&self) {
        self.waiting.lock().clear();
        self.has_waiting.store(false, Ordering::Release);
    }

    /// The fault that this request meets, if any; counts it down.
    pub(crate) fn meet(&self, op: Op) -> Option<(FaultMoment, FaultEffect)> {
        if !self.has_waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let at = waiting.iter().position(|fault| fault.target.hits(op))?;
        let fault = waiting.get_mut(at)?;
        let met = (fault.moment, fault.effect.clone());
        fault.times -= 1;
        if fault.times == 0 {
            waiting.remove(at);
        }
        self.has_waiting.store(!waiting.is_empty(), Ordering::Release);
        Some(met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hit_their_kind_in_order_and_count_down() {
        let state = FaultState::default();
        assert_eq!(state.meet(Op::NewOrder), None);
        assert!(state.add(RequestFault::server_error_after_accept(2)));
        assert!(state.add(RequestFault {
            target: FaultTarget::Any,
            moment: FaultMoment::Before,
            effect: FaultEffect::Reset,
            times: 1,
        }));
        assert_eq!(state.meet(Op::CancelOrder), Some((FaultMoment::Before, FaultEffect::Reset)));
        assert_eq!(state.meet(Op::CancelOrder), None);
        assert!(state.meet(Op::CancelReplace).is_some_and(|(moment, _)| moment == FaultMoment::After));
        assert!(state.meet(Op::NewOrder).is_some());
        assert_eq!(state.meet(Op::NewOrder), None);
        state.add(RequestFault::hang_after_accept(1));
        state.clear();
        assert_eq!(state.meet(Op::NewOrder), None);
    }
}
