//! What was reported of accounts' orders, kept for whoever drives the venue without sockets: the log that judges read, and
//! the past that a lagging replica answers from.
//!
//! Invariants: nothing is kept unless it was asked for; an answer of a replica is a state that was true once, never a mix.

use keel_model::{InstrumentId, Timestamp};
use keel_sim::{AccountId, ExecReport, OrderRef, OrderView};
use std::time::Duration;

/// How far behind a question's answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadView {
    /// Everything is answered as it was so long ago.
    pub lag: Duration,
    /// Each order and each trade becomes visible later by up to this, at random but always by the same for the same one; so
    /// trades appear in another order than they happened.
    pub jitter_ms: u64,
    /// Decides who is how late.
    pub salt: u64,
}

impl ReadView {
    /// Is something of this time and number visible at `now`?
    pub(crate) fn shows(&self, ts: Timestamp, number: u64, now: Timestamp) -> bool {
        let mixed = (number ^ self.salt).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        let late_ms = if self.jitter_ms == 0 { 0 } else { mixed % (self.jitter_ms + 1) };
        ts.plus(self.lag).plus(Duration::from_millis(late_ms)) <= now
    }
}

/// The log of reports.
#[derive(Debug, Default)]
pub(crate) struct ReportLog {
    pub(crate) is_kept: bool,
    pub(crate) reports: Vec<ExecReport>,
}

impl ReportLog {
    pub(crate) fn note(&mut self, report: &ExecReport) {
        if self.is_kept {
            self.reports.push(*report);
        }
    }

    /// The order as a replica knows it; the youngest that fits.
    pub(crate) fn order(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        which: OrderRef,
        view: ReadView,
        now: Timestamp,
    ) -> Option<OrderView> {
        let fits = |order: &OrderView| {
            let by_name = match which {
                OrderRef::Id(id) => order.order_id == id,
                OrderRef::Client(id) => order.client_order_id == id,
                OrderRef::Both(id, client) => order.order_id == id && order.client_order_id == client,
            };
            by_name && order.account == account && order.instrument == instrument
        };
        let mut seen = self.reports.iter().rev().filter(|report| fits(&report.order));
        seen.find(|report| view.shows(report.ts_transact, report.order.order_id, now)).map(|report| report.order)
    }

    /// Every order of an account on an instrument as a replica knows it, oldest first.
    pub(crate) fn orders(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        view: ReadView,
        now: Timestamp,
    ) -> Vec<OrderView> {
        let mut known: Vec<&OrderView> = Vec::new();
        for report in &self.reports {
            let order = &report.order;
            let is_asked = order.account == account && order.instrument == instrument;
            if !is_asked || !view.shows(report.ts_transact, order.order_id, now) {
                continue;
            }
            match known.iter_mut().find(|other| other.order_id == order.order_id) {
                Some(other) => *other = order,
                None => known.push(order),
            }
        }
        known.sort_unstable_by_key(|order| order.order_id);
        known.into_iter().copied().collect()
    }
}
