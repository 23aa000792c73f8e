//! The venue's rules of instruments while the run goes on: filters change (V-18), trading halts, ends or is limited (V-20).
//!
//! Invariants: risk and strategies see the new rules from the next decision on; on an instrument that is not open for trading
//! nothing is placed and nothing that would add exposure stays open, whatever its venue's word for that is; rules that cannot
//! be computed with hold the instrument. When it is open again, trading goes on by itself: what is wanted of an entry then is
//! for the strategy to say.

use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox};
use keel_model::{HoldCause, Instrument, InstrumentId};

impl Engine {
    /// The venue has told the rules of an instrument anew.
    pub(super) fn change_instrument(&mut self, told: &Instrument, out: &mut Outbox) {
        let Some(known) = self.instruments.get(told.id) else { return };
        let what_it_is = |it: &Instrument| (it.symbol, it.base, it.quote, it.kind);
        if what_it_is(known) != what_it_is(told) || known == told {
            return;
        }
        let from = known.status;
        if let Err(error) = self.risk.set_instrument(told) {
            self.hold(told.id, HoldCause::Rules, error.to_string(), out);
        }
        self.instruments.upsert(told.clone());
        self.closed = Self::closed_ones(&self.instruments);
        out.notify(Notice::Instrument { instrument: told.id, from, to: told.status });
    }

    /// Instruments that are not open for trading.
    pub(super) fn closed_ones(instruments: &keel_model::Instruments) -> Vec<InstrumentId> {
        instruments.iter().filter(|it| !it.status.is_tradable()).map(|it| it.id).collect()
    }

    /// Follows each event: an order that was on its way when trading ended is cancelled once it is open.
    pub(super) fn keep_closed_empty(&mut self, out: &mut Outbox) {
        if self.closed.is_empty() || self.phase == Phase::Recovering {
            return;
        }
        let adding = self.adding_orders();
        self.cancel_where(out, |engine, order| {
            engine.closed.contains(&order.new.intent.instrument) && adding.contains(&order.id())
        });
    }
}
