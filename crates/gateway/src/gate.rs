//! The submit gate: the last thing that is read before an order leaves.
//!
//! An atomic, so that a signal handler's thread closes it while every worker of the trading runtime is blocked. Invariants:
//! once the stop has begun it is only ever lowered; it starts shut and is opened when recovery is complete.

use keel_model::{OrderIntent, OrderPurpose};
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Notify;

/// What the gate lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateLevel {
    /// No placement.
    #[default]
    Shut = 0,
    /// Only placements that close or protect a position: nothing that adds exposure.
    ExitsOnly = 1,
    /// Everything that risk approved.
    Open = 2,
}

impl GateLevel {
    const fn from_bits(bits: u8) -> Self {
        match bits & LEVEL {
            2 => Self::Open,
            1 => Self::ExitsOnly,
            _ => Self::Shut,
        }
    }
}

const LEVEL: u8 = 0b011;
/// Set once the stop has begun.
const FINAL: u8 = 0b100;

/// The gate. Shared by everything that sends and by the control thread.
#[derive(Debug, Default)]
pub struct SubmitGate {
    bits: AtomicU8,
    lowered: Notify,
}

impl SubmitGate {
    /// A gate that is shut until it is opened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it lets through now.
    #[must_use]
    pub fn level(&self) -> GateLevel {
        GateLevel::from_bits(self.bits.load(Ordering::SeqCst))
    }

    /// Opens it; does nothing once the stop has begun. Returns whether it is open.
    pub fn open(&self) -> bool {
        let set = |bits: u8| (bits & FINAL == 0).then_some(GateLevel::Open as u8);
        self.bits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, set).is_ok()
    }

    /// The stop begins: lowers the gate to `level` for good; it can only be lowered further. Never blocks, so that a
    /// signal handler's thread may call it.
    pub fn close(&self, level: GateLevel) {
        let lower = |bits: u8| {
            let now = GateLevel::from_bits(bits);
            // A gate that was never opened is not opened for exits by a stop.
            Some(now.min(level) as u8 | FINAL)
        };
        let lowered = self.bits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lower);
        debug_assert!(lowered.is_ok(), "the closure always answers, so the update cannot fail");
        self.lowered.notify_waiters();
    }

    /// Has the stop begun?
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.bits.load(Ordering::SeqCst) & FINAL != 0
    }

    /// May this order leave?
    #[must_use]
    pub fn admits(&self, intent: &OrderIntent) -> bool {
        match self.level() {
            GateLevel::Open => true,
            GateLevel::ExitsOnly => matches!(intent.purpose, OrderPurpose::Exit | OrderPurpose::Protective),
            GateLevel::Shut => false,
        }
    }

    /// Waits until the gate no longer lets `intent` through.
    pub async fn refuses(&self, intent: &OrderIntent) {
        loop {
            let lowered = self.lowered.notified();
            tokio::pin!(lowered);
            // Registered before the look, or a close in between would be missed.
            lowered.as_mut().enable();
            if !self.admits(intent) {
                return;
            }
            lowered.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::{InstrumentId, Quantity, Side};

    fn intent(purpose: OrderPurpose) -> OrderIntent {
        OrderIntent::market(InstrumentId(0), Side::Buy, Quantity::new(1, 0).unwrap(), purpose)
    }

    #[test]
    fn s01_a_closed_gate_never_opens_again_and_is_only_lowered() {
        let gate = SubmitGate::new();
        assert!(!gate.admits(&intent(OrderPurpose::Entry)), "shut until recovery is complete");
        assert!(gate.open() && gate.admits(&intent(OrderPurpose::Entry)));
        gate.close(GateLevel::ExitsOnly);
        assert!(!gate.admits(&intent(OrderPurpose::Entry)) && gate.admits(&intent(OrderPurpose::Exit)));
        assert!(!gate.open() && gate.level() == GateLevel::ExitsOnly);
        gate.close(GateLevel::Open);
        assert_eq!(gate.level(), GateLevel::ExitsOnly);
        gate.close(GateLevel::Shut);
        gate.close(GateLevel::ExitsOnly);
        assert!(!gate.admits(&intent(OrderPurpose::Exit)) && gate.is_closing());
    }

    #[test]
    fn a_stop_before_the_opening_leaves_the_gate_shut() {
        let gate = SubmitGate::new();
        gate.close(GateLevel::ExitsOnly);
        assert!(!gate.open() && gate.level() == GateLevel::Shut);
    }

    #[tokio::test]
    async fn waiters_are_told_at_once() {
        let gate = std::sync::Arc::new(SubmitGate::new());
        gate.open();
        let entry = intent(OrderPurpose::Entry);
        let other = gate.clone();
        let closer = std::thread::Builder::new().spawn(move || other.close(GateLevel::Shut)).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(10), gate.refuses(&entry)).await.unwrap();
        closer.join().unwrap();
    }
}
