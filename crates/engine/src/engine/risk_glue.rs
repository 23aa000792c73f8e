//! What ties the risk service's guards to the engine: kill switches and re-arming, news of breakers and locks, saving what a
//! restart must not forget, cancels when the account stream is lost.

use super::Engine;
use crate::outbox::{Notice, Outbox};
use keel_model::RiskScope;

impl Engine {
    /// A person re-arms what was latched within the scope. What an emergency stop began is not taken back: only a new start
    /// trades again.
    pub(super) fn rearm(&mut self, scope: RiskScope, out: &mut Outbox) {
        self.risk.rearm(scope, self.now);
        self.apply_state();
        out.notify(Notice::Rearmed(scope));
    }

    /// Kill switch: within the scope nothing that opens or adds passes until a person re-arms it.
    pub(super) fn kill(&mut self, scope: RiskScope, reason: &str, out: &mut Outbox) {
        self.risk.kill(scope, self.now);
        out.notify(Notice::Killed { scope, reason: reason.to_owned() });
    }
}
