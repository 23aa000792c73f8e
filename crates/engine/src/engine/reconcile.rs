//! Do the balances add up? What is expected is compared with what the venue reports.

use super::Engine;
use crate::outbox::Outbox;
use keel_model::{Asset, InstrumentId, Notional, Timestamp};

/// What is expected of each balance.
#[derive(Clone, Debug, Default)]
pub(super) struct BalanceLedger {}

impl BalanceLedger {
    pub(super) fn restore(&mut self, _asset: Asset, _total: Notional, _as_of: Timestamp) {}
}

impl Engine {
    /// A person has looked: what the venue says about the instrument's assets counts from now on.
    pub(super) fn accept_balances(&mut self, _instrument: InstrumentId, _out: &mut Outbox) {}
}
