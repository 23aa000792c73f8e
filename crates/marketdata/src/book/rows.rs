//! A book kept from rows: single level changes, many at once, with a look at the best prices after each delta.

use super::{Applied, BookError, BookState, OrderBook, check_best};
use crate::l2::L2Rows;
use keel_model::{Side, Timestamp};

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
        let mut done = RowsApplied::default();
        let fits = |side: &mut super::BookSide| side.take_scales(rows.price_scale, rows.quantity_scale).is_some();
        if !self.takes_rows() || !fits(&mut self.bids) || !fits(&mut self.asks) {
            return (done, Ok(Applied::Outdated));
        }
        let (bid, ask) = (self.bids.best_key(), self.asks.best_key());
        let before = (self.bids.best(), self.asks.best());
        let (mut levels, mut is_delta_open, mut may_have_moved) = (0u64, false, false);
        for (at, row) in rows.iter().enumerate() {
            if row.ts_recv_ns >= until.as_ns() {
                break;
            }
            match row.kind.book_side() {
                Some(Side::Buy) => {
                    self.bids.set_row(row.price, row.quantity);
                    may_have_moved |= row.price >= bid;
                }
                Some(Side::Sell) => {
                    self.asks.set_row(row.price, row.quantity);
                    may_have_moved |= -row.price >= ask;
                }
                None => {}
            }
            if row.kind.book_side().is_some() {
                levels += 1;
                done.events += u64::from(!is_delta_open);
                done.ts_level = Some(Timestamp::from_ns(row.ts_recv_ns));
                is_delta_open = true;
            } else {
                done.events += 1;
                is_delta_open = false;
            }
            let is_more = is_delta_open && rows.ts_recv_ns.get(at + 1) == Some(&row.ts_recv_ns);
            if is_more && rows.kind.get(at + 1).is_some_and(|kind| kind.book_side().is_some()) {
                continue;
            }
            is_delta_open = false;
            done.rows = at + 1;
            if may_have_moved && (bid, ask) != (self.bids.best_key(), self.asks.best_key()) {
                done.is_best_moved = true;
                break;
            }
            may_have_moved = false;
        }
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
}
