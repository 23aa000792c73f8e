//! Held instruments with their reasons, and what a person says about them.
//!
//! Invariants: risk holds an instrument exactly while the book of holds names it; one reason per kind stands, the first one;
//! each hold is told as a [`Finding`] so that the driver makes it outlive a restart; only a person's word ends it.

use super::Engine;
use crate::outbox::{Effect, Notice, Outbox};
use keel_execution::{Alarm, SettleError};
use keel_model::{Asset, ClientOrderId, Finding, Hold, HoldCause, HoldView, InstrumentId, Settlement};
use serde::{Deserialize, Serialize};

/// Reasons for holds: bounded by instruments times kinds of trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldBook {
    holds: Vec<Hold>,
}

impl HoldBook {
    /// Every hold, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter()
    }

    /// Is the instrument held?
    #[must_use]
    pub fn is_held(&self, instrument: InstrumentId) -> bool {
        self.holds.iter().any(|hold| hold.instrument == instrument)
    }

    /// Renumbers instruments; a hold of one that is not known any more goes with it.
    pub(super) fn renumber(&mut self, renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>) {
        self.holds.retain_mut(|hold| {
            renumber(hold.instrument).is_some_and(|id| {
                hold.instrument = id;
                true
            })
        });
    }

    /// Adds a hold; `false` when one of its kind stands already.
    fn add(&mut self, hold: Hold) -> bool {
        let stands = |known: &Hold| (known.instrument, known.cause) == (hold.instrument, hold.cause);
        if self.holds.iter().any(stands) {
            return false;
        }
        self.holds.push(hold);
        true
    }

    /// Ends all holds of an instrument; answers what they were.
    fn remove(&mut self, instrument: InstrumentId) -> Vec<Hold> {
        let (gone, left) = std::mem::take(&mut self.holds).into_iter().partition(|it| it.instrument == instrument);
        self.holds = left;
        gone
    }
}

impl Engine {
    /// Held instruments with their reasons.
    #[must_use]
    pub const fn holds(&self) -> &HoldBook {
        &self.holds
    }

    pub(super) fn hold_views(&self) -> Vec<HoldView> {
        self.holds.iter().map(HoldView::from).collect()
    }

    /// Holds an instrument, and tells it once per kind of trouble.
    pub(super) fn hold(&mut self, instrument: InstrumentId, cause: HoldCause, reason: String, out: &mut Outbox) {
        self.risk.hold(instrument);
        let hold = Hold { instrument, cause, since: self.now, reason };
        if self.holds.add(hold.clone()) {
            out.notify(Notice::Found(Finding::Held(hold)));
        }
    }

    /// Takes what an earlier run found over.
    pub(super) fn replay_finding(&mut self, finding: &Finding) {
        match finding {
            Finding::Held(hold) => {
                self.risk.hold(hold.instrument);
                self.holds.add(hold.clone());
            }
            Finding::Balance { asset, total, as_of, .. } => self.ledger.restore(*asset, *total, *as_of),
        }
    }

    /// Takes over what an earlier run held; one that did not write its reasons down leaves that they are not known.
    pub(super) fn restore_held(&mut self, held: &[InstrumentId]) {
        for id in held.iter().copied() {
            self.risk.hold(id);
            if !self.holds.is_held(id) {
                let reason = "held by an earlier run".to_owned();
                self.holds.add(Hold { instrument: id, cause: HoldCause::Earlier, since: self.now, reason });
            }
        }
    }

    /// What an alarm holds, and as what kind of trouble.
    pub(super) fn hold_for_alarm(&mut self, alarm: &Alarm, instrument: Option<InstrumentId>, out: &mut Outbox) -> bool {
        let is_foreign = matches!(alarm, Alarm::ForeignOrder { .. } | Alarm::ForeignFill { .. });
        let holds = alarm.holds() || (is_foreign && self.config.holds_on_foreign);
        let Some(instrument) = instrument.filter(|_| holds) else { return false };
        let cause = match alarm {
            Alarm::Missing { .. } => HoldCause::Missing,
            _ if is_foreign => HoldCause::Foreign,
            _ => HoldCause::Order,
        };
        self.hold(instrument, cause, alarm.to_string(), out);
        true
    }

    /// A person looked: the instrument may be traded again. What the venue says about its assets counts from now on.
    pub(super) fn release(&mut self, instrument: InstrumentId, out: &mut Outbox) {
        let gone = self.holds.remove(instrument);
        self.risk.release_hold(instrument);
        self.accept_balances(instrument, out);
        out.notify(Notice::Released { instrument, holds: gone.len() });
    }

    /// A person resumed everything: no hold is left.
    pub(super) fn release_all(&mut self, out: &mut Outbox) {
        let held: Vec<InstrumentId> = self.holds.iter().map(|hold| hold.instrument).collect();
        for instrument in held {
            if self.holds.is_held(instrument) {
                self.release(instrument, out);
            }
        }
    }

    /// A person says what became of an order.
    pub(super) fn settle_by_hand(&mut self, id: ClientOrderId, settlement: Settlement, out: &mut Outbox) {
        self.settle_order(id, settlement, false, out);
    }

    /// Would a person's word about an order be taken? For an engine that has replayed a journal and will not trade.
    pub fn try_settlement(&mut self, id: ClientOrderId, settlement: Settlement) -> Result<(), SettleError> {
        let mut out = Outbox::new();
        self.settle_order(id, settlement, true, &mut out);
        let refusal = out.drain().find_map(|effect| match effect {
            Effect::Notify(Notice::SettleRefused { error }) => Some(error),
            _ => None,
        });
        refusal.map_or(Ok(()), Err)
    }

    /// As [`Self::settle_by_hand`], from the journal: the order stands as it did when the word was given.
    pub(super) fn settle_order(
        &mut self,
        id: ClientOrderId,
        settlement: Settlement,
        is_replay: bool,
        out: &mut Outbox,
    ) {
        let instrument = self.orders.get(id).map(|order| order.new.intent.instrument);
        let fee_asset = instrument.and_then(|id| self.instruments.get(id)).map_or(Asset::EMPTY, |it| it.quote);
        let now = self.now;
        let mut actions = std::mem::take(&mut self.actions);
        let settled = self.orders.settle_by_hand(id, settlement, fee_asset, is_replay, now, &mut actions);
        self.actions = actions;
        match settled {
            Ok(()) => {
                out.notify(Notice::Settled { id, settlement });
                self.pump(out);
            }
            Err(error) => out.notify(Notice::SettleRefused { error }),
        }
    }
}
