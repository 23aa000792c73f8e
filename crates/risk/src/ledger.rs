//! What the account has of each asset and what open orders hold of it (RC-07).
//!
//! The venue's balances are the authority. Between two reports the fills since the last one are booked on top, so that a
//! fill cannot be spent twice; a fill that the report already contains (by venue time) is not booked again.

use crate::units::{notional_down, notional_up};
use keel_model::{Asset, Balance, Notional, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AssetRow {
    pub(crate) asset: Asset,
    /// Free and locked together; money units of this asset, rounded down.
    pub(crate) total: i128,
    /// Held by our open orders; money units of this asset, rounded up.
    pub(crate) reserved: i128,
    /// Venue time of the last report; fills up to it are contained in `total`.
    pub(crate) as_of: Timestamp,
    /// Has the venue ever reported it (a complete report reports absence, too)?
    pub(crate) is_known: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    rows: Vec<AssetRow>,
}

impl Ledger {
    /// The slot of an asset; new assets get one. Only called when instruments or balances are set.
    pub(crate) fn slot(&mut self, asset: Asset) -> usize {
        if let Some(at) = self.rows.iter().position(|row| row.asset == asset) {
            return at;
        }
        self.rows.push(AssetRow { asset, total: 0, reserved: 0, as_of: Timestamp::ZERO, is_known: false });
        self.rows.len() - 1
    }

    /// Every asset that was heard of.
    pub(crate) fn assets(&self) -> &[AssetRow] {
        &self.rows
    }

    /// Takes an asset over as a former run left it.
    pub(crate) fn take_over(&mut self, asset: AssetRow) {
        let slot = self.slot(asset.asset);
        if let Some(row) = self.rows.get_mut(slot) {
            *row = asset;
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&AssetRow> {
        self.rows.get(slot)
    }

    pub(crate) fn by_asset(&self, asset: Asset) -> Option<&AssetRow> {
        self.rows.iter().find(|row| row.asset == asset)
    }

    #[inline]
    pub(crate) fn reserve(&mut self, slot: usize, change: i128) {
        if let Some(row) = self.rows.get_mut(slot) {
            row.reserved = row.reserved.saturating_add(change);
            debug_assert!(row.reserved >= 0, "an order released more than it held");
        }
    }

    /// Books what a fill moved, unless the last report contains it.
    pub(crate) fn book(&mut self, slot: usize, change: i128, ts_event: Timestamp) {
        if let Some(row) = self.rows.get_mut(slot).filter(|row| row.is_known && ts_event > row.as_of) {
            row.total = row.total.saturating_add(change);
        }
    }

    pub(crate) fn book_fee(&mut self, asset: Asset, fee: Notional, ts_event: Timestamp) {
        if let (Some(at), Some(fee)) = (self.rows.iter().position(|row| row.asset == asset), notional_up(fee)) {
            self.book(at, -fee, ts_event);
        }
    }

    /// Takes a report of the venue; one that is older than what is known is ignored.
    pub(crate) fn on_balances(&mut self, balances: &[Balance], complete: bool, ts_event: Timestamp) {
        if complete {
            for row in self.rows.iter_mut().filter(|row| row.as_of <= ts_event) {
                row.total = 0;
                row.is_known = true;
                row.as_of = ts_event;
            }
        }
        for balance in balances {
            let slot = self.slot(balance.asset);
            let Some(row) = self.rows.get_mut(slot).filter(|row| row.as_of <= ts_event) else { continue };
            // A number that does not fit counts as nothing: fail closed.
            row.total = balance.total().ok().and_then(notional_down).unwrap_or(0);
            row.is_known = true;
            row.as_of = ts_event;
        }
    }
}
