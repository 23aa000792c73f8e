//! A strategy that asks for everything: entries, exits, market and stop orders, cancels and replacements on two instruments,
//! far more than risk allows.
//!
//! Invariant: what it asks for depends on its seed and on what the engine shows it, on nothing else.

use crate::kit::SCALE;
use keel_model::{
    ClientOrderId, InstrumentId, OrderIntent, OrderPurpose, OrderType, Price, Quantity, Side, TimeInForce,
};
use keel_sim::rng::Rng;
use keel_strategy::{Context, Strategy, Subscription};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Debug)]
pub struct Greedy {
    rng: Rng,
    is_active: Arc<AtomicBool>,
}

impl Greedy {
    /// A strategy that asks while the switch is on.
    #[must_use]
    pub fn new(seed: u64, is_active: Arc<AtomicBool>) -> Self {
        Self { rng: Rng::new(seed), is_active }
    }

    fn lots(&mut self) -> Quantity {
        Quantity::new(1 + self.rng.below(14) as i64, SCALE).unwrap_or(Quantity::ZERO)
    }

    fn cents(&mut self, low: i64, high: i64) -> Price {
        Price::new(self.rng.between(low, high), SCALE).unwrap_or(Price::ZERO)
    }

    fn intent(&mut self) -> OrderIntent {
        let instrument = InstrumentId(self.rng.below(2) as u32);
        let side = if self.rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let quantity = self.lots();
        // Within the spread of everybody else; buys below sells, so that orders of one account never meet.
        let passive = if side == Side::Buy { self.cents(9_991, 9_998) } else { self.cents(10_002, 10_009) };
        match self.rng.below(12) {
            0 => OrderIntent::market(instrument, side, quantity, OrderPurpose::Exit),
            1 => {
                let far = if side == Side::Buy { self.cents(10_010, 10_012) } else { self.cents(9_988, 9_990) };
                let intent = OrderIntent::limit(instrument, side, quantity, far, OrderPurpose::Entry);
                OrderIntent { time_in_force: TimeInForce::Ioc, ..intent }
            }
            2 => OrderIntent::post_only(instrument, side, quantity, passive, OrderPurpose::Entry),
            3 => {
                let (stop, limit) = match side {
                    Side::Sell => (self.cents(9_990, 9_995), self.cents(9_980, 9_985)),
                    Side::Buy => (self.cents(10_005, 10_010), self.cents(10_015, 10_020)),
                };
                let intent = OrderIntent::limit(instrument, side, quantity, limit, OrderPurpose::Protective);
                OrderIntent { order_type: OrderType::StopLossLimit, stop_price: Some(stop), ..intent }
            }
            4 => OrderIntent::limit(instrument, side, quantity, passive, OrderPurpose::Exit),
            _ => OrderIntent::limit(instrument, side, quantity, passive, OrderPurpose::Entry),
        }
    }
}

impl Strategy for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(InstrumentId(0)), Subscription::top_of_book(InstrumentId(1))]
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        if !self.is_active.load(Ordering::Relaxed) || self.rng.below(3) != 0 {
            return;
        }
        let count = ctx.open_orders().count() as u64;
        let at = self.rng.below(count.max(1)) as usize;
        let chosen: Option<ClientOrderId> = ctx.open_orders().nth(at).map(|order| order.client_order_id);
        match (self.rng.below(8), chosen) {
            (0..=1, Some(id)) => ctx.cancel(id),
            (2..=3, Some(id)) => {
                // A replacement stays on its instrument and side.
                let old = ctx.open_order(id).map(|order| (order.instrument, order.side));
                let mut intent = self.intent();
                if let Some((instrument, side)) = old.filter(|(_, side)| *side == intent.side) {
                    (intent.instrument, intent.side) = (instrument, side);
                }
                ctx.replace(id, intent);
            }
            _ => {
                let intent = self.intent();
                ctx.submit(intent);
            }
        }
    }
}
