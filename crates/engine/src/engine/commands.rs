//! Instructions of people, the launcher and the stop plan.

use super::wind::Wind;
use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox, StartBlocker};
use keel_model::{Command, ExitPolicy, TradingState};

impl Engine {
    pub(super) fn on_command(&mut self, command: &Command, out: &mut Outbox) {
        match command {
            Command::Start => self.start(out),
            Command::Pause => self.pause(),
            Command::ReduceOnly => self.reduce_only(out),
            Command::Resume => self.resume(out),
            Command::StopStrategies => self.stop_strategies(out),
            Command::Wind(policy) => self.wind_at_stop(*policy, out),
            Command::Cancel(id) => self.cancel(*id, out),
            Command::EmergencyStop(reason) => self.emergency_stop(reason, out),
            Command::Flatten(instrument) => self.flatten_while_running(*instrument, out),
            Command::CancelAll => self.cancel_every(out),
            Command::Settle { client_order_id, settlement } => self.settle_by_hand(*client_order_id, *settlement, out),
            Command::Release(instrument) => self.release(*instrument, out),
            Command::Reconcile => self.begin_reconciliation(true, out),
            Command::Rearm(scope) => self.rearm(*scope, out),
            Command::Kill(scope, reason) => self.kill(*scope, reason, out),
            Command::Instrument(told) => self.change_instrument(told, out),
        }
    }

    /// Opens the gate if recovery is complete; says what is missing otherwise.
    fn start(&mut self, out: &mut Outbox) {
        if self.phase != Phase::Recovering {
            return;
        }
        if let Some(blocker) = self.start_blocker() {
            out.notify(Notice::StartRefused(blocker));
            return;
        }
        self.phase = Phase::Running;
        self.wanted = self.wanted_at_start();
        self.risk.on_time(self.now);
        self.apply_state();
        self.parents.begin();
        out.notify(Notice::Started);
        for at in 0..self.strategies.len() {
            self.call(at, |strategy, ctx| strategy.on_start(ctx));
        }
        self.pump(out);
    }

    /// What keeps the engine from starting; `None` when [`Command::Start`] would be taken.
    #[must_use]
    pub fn start_blocker(&self) -> Option<StartBlocker> {
        if self.risk.is_emergency() {
            return Some(StartBlocker::Emergency);
        }
        if let Some(blocker) = self.reconciliation.blocker().filter(|_| keel_model::mutant!(43, true, false)) {
            return Some(blocker);
        }
        match self.orders.unresolved_count() {
            0 if self.ledger.has_doubts() => Some(StartBlocker::Doubt),
            0 => None,
            count => Some(StartBlocker::Unresolved(count)),
        }
    }

    /// A person says that trading may go on: latches and holds are cleared. Not before the start, not after the stop.
    fn resume(&mut self, out: &mut Outbox) {
        let blocker = match self.phase {
            _ if self.risk.is_emergency() => Some(StartBlocker::Emergency),
            Phase::Recovering => Some(self.start_blocker().unwrap_or(StartBlocker::NotStarted)),
            Phase::Running => None,
            Phase::Stopped => Some(StartBlocker::Stopped),
        };
        if let Some(blocker) = blocker {
            out.notify(Notice::StartRefused(blocker));
            return;
        }
        self.end_standing();
        self.wanted = TradingState::Active;
        self.risk.resume();
        self.release_all(out);
        self.parents.resume();
        self.apply_state();
    }

    /// The strategies' last call; what they ask for in it is refused.
    pub(super) fn stop_strategies(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Running {
            for at in 0..self.strategies.len() {
                self.call(at, |strategy, ctx| strategy.on_stop(ctx));
            }
            let refused = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
            self.requests.clear();
            self.askers.clear();
            if refused > 0 {
                out.notify(Notice::RequestsRefused { strategy: None, count: refused });
            }
        }
        self.phase = Phase::Stopped;
        if self.wanted == TradingState::Active {
            self.wanted = TradingState::Reducing;
            self.apply_state();
        }
    }

    /// The stop's exit policy. What an emergency stop has under way is not thrown away for less: it stands, and the stop's
    /// policy has what it wants once that is done.
    fn wind_at_stop(&mut self, policy: ExitPolicy, out: &mut Outbox) {
        let standing = self.wind.as_mut().filter(|_| self.risk.is_emergency());
        let stands = standing.and_then(|wind| wind.take_in(policy).then_some(wind.policy()));
        match stands {
            Some(stronger) => {
                self.stop_strategies(out);
                out.notify(Notice::Winding(stronger));
            }
            None => self.begin_wind(policy, out),
        }
    }

    fn begin_wind(&mut self, policy: ExitPolicy, out: &mut Outbox) {
        self.stop_strategies(out);
        if self.wanted == TradingState::Halted && !self.risk.is_emergency() && policy == ExitPolicy::Flatten {
            // Never started: there is nothing of this run to close, but what was recovered may be closed.
            self.wanted = TradingState::Reducing;
            self.apply_state();
        }
        out.notify(Notice::Winding(policy));
        self.wind_parents(policy, &[], out);
        self.wind = Some(Wind::new(policy));
    }

    /// The flag first, then everything else. Before the books were compared with the venue's, orders are cancelled and
    /// nothing is closed: what is held then is not known well enough.
    fn emergency_stop(&mut self, reason: &str, out: &mut Outbox) {
        self.risk.emergency_stop();
        self.wanted = TradingState::Halted;
        self.save_latches(out);
        out.notify(Notice::EmergencyStop(reason.to_owned()));
        if !self.begin_emergency(reason) {
            // Once is enough: what is under way goes on. What was given up is tried again, as a person asks for it again.
            if let Some(wind) = self.wind.as_mut() {
                wind.try_again(None);
            }
            return;
        }
        let is_known = self.phase != Phase::Recovering;
        self.begin_wind(if is_known { ExitPolicy::Flatten } else { ExitPolicy::CancelAll }, out);
    }
}
