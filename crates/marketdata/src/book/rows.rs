//! A book kept from rows: single level changes, many at once, with a look at the best prices after each delta.

use super::{Applied, BookError, BookSide, BookState, OrderBook, check_best};
use crate::l2::L2Rows;
use keel_model::Timestamp;

/// What became of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsApplied {
    /// Rows that were taken, from the first on.
    pub rows: usize,
    /// Deltas and trades that they are: level changes of one receive time that follow each other are one delta.
    pub events: u64,
    /// Receive time of the last level change among them; `None` when there was none.
    pub ts_level: Option<Timestamp>,
    /// Has the best bid or the best ask moved to another price with the last delta?
    pub is_best_moved: bool,
}

impl OrderBook {
    /// Are rows taken by [`Self::apply_rows`]? Not while the book waits for a snapshot or a top of book runs beside it.
    #[must_use]
    pub const fn takes_rows(&self) -> bool {
        self.has_depth && matches!(self.state, BookState::Live) && self.top.is_none()
    }

    /// Applies rows that were received before `until` and follow the last update, as [`Self::apply_delta`] would the deltas
    /// that they are. Stops behind the first delta that moves a best price. Takes nothing when [`Self::takes_rows`] is
    /// false or the rows' numbers do not fit the book's: then they go as deltas.
    pub fn apply_rows(&mut self, rows: &L2Rows<'_>, until: Timestamp) -> (RowsApplied, Result<Applied, BookError>) {
        let fits = |side: &mut BookSide| side.take_scales(rows.price_scale, rows.quantity_scale).is_some();
        if !self.takes_rows() || !fits(&mut self.bids) || !fits(&mut self.asks) {
            return (RowsApplied::default(), Ok(Applied::Outdated));
        }
        let before = (self.bids.best(), self.asks.best());
        let (done, levels) = self.set_rows(rows, until.as_ns());
        self.update_id += levels;
        self.is_first_after_snapshot &= levels == 0;
        self.ts_recv = self.ts_recv.max(done.ts_level.unwrap_or(Timestamp::ZERO));
        if done.is_best_moved {
            let after = (self.bids.best(), self.asks.best());
            if let Err(error) = check_best(before, after) {
                return (done, Err(self.broken(error)));
            }
        }
        (done, Ok(Applied::Yes))
    }

    /// The loop over the rows: what was taken, and how many level changes it holds. Which side a row is about cannot be
    /// foretold, so that it chooses an address and not a way through the code.
    #[inline]
    fn set_rows(&mut self, rows: &L2Rows<'_>, until_ns: u64) -> (RowsApplied, u64) {
        let (Some(bids), Some(asks)) = (self.bids.ladder_mut(), self.asks.ladder_mut()) else {
            return (RowsApplied::default(), 0);
        };
        let mut sides = [bids, asks];
        let best = sides.each_ref().map(|side| side.best_key_or(i64::MIN));
        let (mut taken, mut levels, mut joined, mut ts_level, mut last_ns) = (0usize, 0u64, 0u64, 0u64, 0u64);
        let (mut was_level, mut may_have_moved, mut is_best_moved) = (false, false, false);
        for (row, behind) in rows.iter().zip(1..) {
            if row.ts_recv_ns >= until_ns {
                break;
            }
            taken = behind;
            let is_level = row.kind.is_level();
            if is_level {
                let at = row.kind.side_index();
                let key = row.price * row.kind.sign();
                if let (Some(side), Some(best)) = (sides.get_mut(at), best.get(at)) {
                    if row.quantity == 0 {
                        side.remove(key);
                    } else if let Some(known) = side.entry(key) {
                        *known = row.quantity;
                    }
                    may_have_moved |= key >= *best;
                }
                joined += u64::from(was_level && row.ts_recv_ns == last_ns);
                levels += 1;
                ts_level = row.ts_recv_ns;
            }
            (was_level, last_ns) = (is_level, row.ts_recv_ns);
            if may_have_moved && !goes_on(rows, behind, &row.ts_recv_ns) {
                may_have_moved = false;
                if best != sides.each_ref().map(|side| side.best_key_or(i64::MIN)) {
                    is_best_moved = true;
                    break;
                }
            }
        }
        self.bids.bound_ladder();
        self.asks.bound_ladder();
        let ts_level = (levels > 0).then(|| Timestamp::from_ns(ts_level));
        (RowsApplied { rows: taken, events: taken as u64 - joined, ts_level, is_best_moved }, levels)
    }
}

/// Is the row behind a level change of the same delta?
fn goes_on(rows: &L2Rows<'_>, behind: usize, ts_recv_ns: &u64) -> bool {
    rows.ts_recv_ns.get(behind) == Some(ts_recv_ns) && rows.kind.get(behind).is_some_and(|kind| kind.is_level())
}
