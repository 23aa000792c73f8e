//! What risk decided, in the journal: orders that it denied, latches that a restart must not forget, how far the emergency
//! stop is durable. And what the venue's clock says, for risk.
//!
//! Bounded: denials come singly at most fifty a second from the engine, more of them as a count; latches are one record
//! whenever they change.

use crate::core::Core;
use keel_model::{NewOrder, Timestamp};
use keel_risk::{Denied, RiskSnapshot};
use keel_store::{Decision, Record, StoreError, Ticket};

/// The last state of latches on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct LatchWriter {
    pending: Option<Ticket>,
}

impl Core {
    pub(crate) fn record_denied(&mut self, denied: &Denied, order: &NewOrder) {
        let decision = Decision::Denied {
            order: *order,
            control: denied.control.code().to_owned(),
            reason: denied.reason.to_string(),
        };
        self.record_decision(decision);
    }

    pub(crate) fn record_denied_more(&mut self, count: u64) {
        self.record_decision(Decision::DeniedMore { count });
    }

    /// A decision that is missing in the journal loses no order: what was denied never existed for the venue. A journal that
    /// takes nothing any more is found by the next record that matters.
    fn record_decision(&mut self, decision: Decision) {
        if let Err(error) = self.journal.append(&Record::Decision(self.engine.now(), decision)) {
            tracing::debug!(%error, "a decision of risk is not in the journal");
        }
    }

    pub(crate) fn record_latches(&mut self, latches: &RiskSnapshot) {
        let written = postcard::to_allocvec(latches)
            .map_err(|error| StoreError::Encode { cause: error.to_string() })
            .and_then(|bytes| self.journal.append(&Record::RiskSnapshot(bytes)));
        match written {
            Ok(ticket) => self.latches.pending = Some(ticket),
            Err(error) => self.lose_journal(&error.to_string()),
        }
    }

    /// Tells the engine what has become durable, and how far the venue's clock is off.
    pub(crate) fn follow_risk(&mut self, now: Timestamp) {
        if let Some(state) = self.latches.pending.as_ref().and_then(Ticket::try_wait) {
            self.latches.pending = None;
            match state {
                Ok(()) => self.engine.note_emergency_persisted(),
                Err(error) => tracing::error!(%error, "the latches of risk are not durable"),
            }
        }
        self.engine.note_clock(self.gateway.clock_offset_ns_max(), now);
    }
}
