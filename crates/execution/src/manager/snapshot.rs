//! Taking the books over from a snapshot: the configuration is this run's, everything else is what was saved, with instruments
//! renumbered as this run numbers them.

use super::OrderManager;
use keel_model::{InstrumentId, StrategyId};

impl OrderManager {
    /// Gives every order to the strategy that stands for its own in this run.
    pub fn reassign(&mut self, place: &dyn Fn(StrategyId) -> StrategyId) {
        for order in self.slots.iter_mut().flatten() {
            order.new.strategy = place(order.new.strategy);
        }
    }

    /// Goes on with books that were saved. `renumber` answers this run's id of an instrument of the saved books; an
    /// instrument without one is the error.
    pub fn resume(
        &mut self,
        mut saved: Self,
        renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>,
    ) -> Result<(), InstrumentId> {
        for order in saved.slots.iter_mut().flatten() {
            let id = order.new.intent.instrument;
            order.new.intent.instrument = renumber(id).ok_or(id)?;
        }
        saved.trades.renumber(renumber, self.config.trade_ids_max);
        saved.foreign.renumber(renumber, super::FOREIGN_COUNT_MAX);
        saved.foreign_fills.renumber(renumber, super::FOREIGN_COUNT_MAX);
        saved.config = self.config;
        saved.timeouts = std::mem::take(&mut self.timeouts);
        *self = saved;
        Ok(())
    }
}
