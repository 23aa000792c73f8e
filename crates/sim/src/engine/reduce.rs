//! Reduce-only orders on perpetuals: they never open a position and never add to one.
//!
//! As Binance USD-M has it: refused (-2022) when there is nothing to reduce as they are placed, stops excepted, which are looked
//! at when they are triggered. Of an order larger than the position only as much fills as there is to reduce; the rest expires. One that
//! rests while the position is closed by another order expires when its turn to fill comes. Without meaning on spot.

use super::MatchingEngine;
use super::ordering::Draft;
use crate::reject::Reject;
use crate::types::{AccountId, OrderRequest};
use keel_model::{InstrumentId, Side};

impl MatchingEngine {
    /// Refuses a reduce-only order that has nothing to reduce.
    pub(super) fn check_reduce_only(
        &self,
        m: usize,
        account: AccountId,
        draft: &Draft,
        request: &OrderRequest,
    ) -> Result<(), Reject> {
        let is_looked_at = request.reduce_only && !draft.order_type.has_stop_price();
        let instrument = self.markets[m].instrument.id;
        if is_looked_at && self.reducible(account, instrument, draft.side) == 0 {
            return Err(Reject::ReduceOnly);
        }
        Ok(())
    }

    /// As much of what remains of an order as may fill now.
    pub(super) fn allowed(&self, slot: u32) -> i64 {
        let order = &self.store[slot];
        if !order.is_reduce_only {
            return order.remaining();
        }
        order.remaining().min(self.reducible(order.account, order.instrument, order.side()))
    }

    /// What an order of this side could close.
    fn reducible(&self, account: AccountId, instrument: InstrumentId, side: Side) -> i64 {
        let held = self.store.book(account, instrument).map_or(0, |book| book.linear.quantity);
        (-held * side.sign()).max(0)
    }
}
