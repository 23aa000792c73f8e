//! What ties the risk service's guards to the engine: kill switches and re-arming, what became of requests, news of breakers
//! and locks, saving what a restart must not forget, cancels when the account stream is lost.

use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_execution::{Change, Order, OrderState};
use keel_model::{ExitPolicy, FeedState, GuardView, NewOrder, RiskScope, Timestamp};
use keel_risk::{BreakerState, KillCause, Outcome};

impl Engine {
    /// A person re-arms what was latched within the scope. What an emergency stop began is not taken back: this run has
    /// ended its strategies, and only a new start trades again.
    pub(super) fn rearm(&mut self, scope: RiskScope, out: &mut Outbox) {
        self.risk.rearm(scope, self.now);
        self.apply_state();
        out.notify(Notice::Rearmed(scope));
    }

    /// Kill switch: within the scope nothing that opens or adds passes until a person re-arms it, and what is open there and
    /// would open or add is cancelled.
    pub(super) fn kill(&mut self, scope: RiskScope, reason: &str, out: &mut Outbox) {
        self.risk.kill(scope, self.now);
        out.notify(Notice::Killed { scope, reason: reason.to_owned() });
        self.cancel_entries_within(scope, out);
    }

    /// Cancels what would open or add within a scope; answers how many orders.
    fn cancel_entries_within(&mut self, scope: RiskScope, out: &mut Outbox) -> usize {
        let is_within = |order: &Order| match scope {
            RiskScope::Account | RiskScope::Venue => true,
            RiskScope::Instrument(id) => order.new.intent.instrument == id,
            RiskScope::Strategy(id) => order.new.strategy == id && !order.is_adopted,
        };
        let is_target = |order: &&Order| {
            !order.is_cancel_wanted
                && order.state.may_fill()
                && is_within(order)
                && self.is_unwanted(ExitPolicy::CancelEntries, order)
        };
        let targets: Vec<_> = self.orders.open().filter(is_target).map(Order::id).collect();
        for id in &targets {
            self.cancel(*id, out);
        }
        targets.len()
    }

    /// Tells what guards did, acts on it, and has saved what a restart must not forget.
    #[cold]
    pub(super) fn tell_guards(&mut self, out: &mut Outbox) {
        while let Some(event) = self.risk.take_guard_event() {
            out.notify(Notice::Guard(event));
            if let keel_risk::GuardEvent::Killed { scope, cause } = event
                && cause != KillCause::Person
                && self.phase != Phase::Recovering
            {
                self.cancel_entries_within(scope, out);
            }
        }
        self.save_latches(out);
    }

    /// Has the latches made durable, if they changed.
    pub(super) fn save_latches(&mut self, out: &mut Outbox) {
        if self.risk.take_unsaved() {
            out.notify(Notice::Latches(Box::new(self.risk.latches(self.now))));
        }
    }

    /// What became of a request, for the breakers.
    pub(super) fn note_outcome(&mut self, new: &NewOrder, from: OrderState, to: OrderState, change: Change) {
        let outcome = match (to, change) {
            (OrderState::Rejected, Change::Rejected(reject)) => Outcome::Rejected(reject.reason),
            (OrderState::Unknown, Change::Unknown(reason)) if reason != keel_model::UnknownReason::Restart => {
                Outcome::Unknown
            }
            // What we held back ourselves says nothing about the venue.
            (OrderState::Abandoned, Change::NotSent(keel_model::NotSentReason::NotConnected)) => Outcome::NotSent,
            (OrderState::Live | OrderState::Settling | OrderState::Done, _) if from != OrderState::Live => {
                Outcome::Accepted
            }
            _ => return,
        };
        self.risk.on_outcome(new, outcome, self.now);
    }

    /// The account stream is gone for longer than the limit: nobody would tell us of fills, so what would open or add is
    /// cancelled, and again whatever appears meanwhile (RC-19).
    pub(super) fn cancel_on_disconnect(&mut self, out: &mut Outbox) {
        let limit_ms = self.risk.limits().guards.cancel_on_disconnect_ms;
        let Some(since) = self.account_lost.filter(|_| limit_ms > 0 && self.account_feed != FeedState::Live) else {
            return;
        };
        let gone = self.now.since(since).as_millis();
        if gone <= u128::from(limit_ms) {
            return;
        }
        let orders = self.cancel_entries_within(RiskScope::Account, out);
        if orders > 0 {
            out.notify(Notice::Disconnected { gone_ms: u64::try_from(gone).unwrap_or(u64::MAX), orders });
        }
    }

    /// How far the venue's clock is off, its uncertainty included; `None` when nobody knows (RC-23).
    pub fn note_clock(&mut self, offset_ns: Option<u64>, now: Timestamp) {
        self.risk.on_clock(offset_ns, now);
    }

    /// Guards that keep orders out at the moment.
    pub(super) fn guard_views(&self) -> Vec<GuardView> {
        let guards = self.risk.guards_snapshot();
        let kills = guards.kills.iter().map(|(scope, cause)| GuardView {
            scope: *scope,
            name: "kill-switch".to_owned(),
            state: cause.to_string(),
            until: None,
        });
        let breakers = guards.breakers.iter().map(|view| GuardView {
            scope: view.scope,
            name: format!("breaker/{}", view.kind),
            state: view.state.to_string(),
            until: match view.state {
                BreakerState::Open { until } => until,
                BreakerState::Closed | BreakerState::HalfOpen { .. } => None,
            },
        });
        let locks = guards.locks.iter().map(|lock| GuardView {
            scope: lock.scope,
            name: format!("lock/{}", lock.cause.to_string().replace(' ', "-")),
            state: "locked".to_owned(),
            until: Some(lock.until),
        });
        kills.chain(breakers).chain(locks).collect()
    }
}
