//! Strategies by name: one of each kind for each instrument, or for each pair of spot and perpetual.

use crate::config::Config;
use crate::error::LaunchError;
use keel_model::Instruments;
use keel_strategy::{Strategy, registry};

/// Builds what the configuration names.
pub fn build(config: &Config, instruments: &Instruments) -> Result<Vec<Box<dyn Strategy>>, LaunchError> {
    let mut built: Vec<Box<dyn Strategy>> = Vec::new();
    for choice in &config.strategies {
        #[cfg(debug_assertions)]
        if let Some(name) = crate::TEST_STRATEGIES.into_iter().find(|name| *name == choice.name) {
            built.extend(instruments.iter().map(|it| Box::new(bad::Bad::new(name, it.id)) as Box<dyn Strategy>));
            continue;
        }
        let strategies = registry::build_for(&choice.name, instruments, &choice.params);
        built.extend(strategies.map_err(|error| LaunchError::refused("strategy", error))?);
    }
    Ok(built)
}

/// Strategies that block or panic, to test the escape path. Release builds do not have them.
#[cfg(debug_assertions)]
mod bad {
    use crate::out;
    use keel_model::{InstrumentId, OrderIntent, OrderPurpose, Price, Quantity, Rounding, Side, TopOfBook};
    use keel_strategy::{Context, OpenOrderState, OrderUpdate, OrderUpdateKind, Strategy, Subscription};

    const ORDERS: usize = 2;

    /// Places two bids below the market, waits until the venue has them, and blocks or panics.
    #[derive(Debug)]
    pub(super) struct Bad {
        name: &'static str,
        instrument: InstrumentId,
        is_asked: bool,
    }

    impl Bad {
        pub(super) const fn new(name: &'static str, instrument: InstrumentId) -> Self {
            Self { name, instrument, is_asked: false }
        }

        fn bid(ctx: &Context<'_>, id: InstrumentId, best: Price, bps_below: i64) -> Option<OrderIntent> {
            let instrument = ctx.instrument(id)?;
            let price = best.to_f64() * (1.0 - bps_below as f64 / 1e4);
            let price = Price::from_f64(price, best.scale(), Rounding::Down).ok()?;
            let price = instrument.round_passive(price, Side::Buy).ok()?;
            let quantity = Quantity::from_f64(100.0 / price.to_f64(), 8, Rounding::Down).ok()?;
            let quantity = instrument.round_quantity(quantity, keel_model::OrderType::Limit).ok()?;
            Some(OrderIntent::limit(id, Side::Buy, quantity, price, OrderPurpose::Entry))
        }
    }

    impl Strategy for Bad {
        fn name(&self) -> &str {
            self.name
        }

        fn subscriptions(&self) -> Vec<Subscription> {
            vec![Subscription::top_of_book(self.instrument)]
        }

        fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
            if self.is_asked {
                return;
            }
            self.is_asked = true;
            for bps_below in [100, 110] {
                match Self::bid(ctx, self.instrument, top.bid.price, bps_below) {
                    Some(intent) => drop(ctx.submit(intent)),
                    None => out::note("no order could be made"),
                }
            }
        }

        fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
            let live = ctx.open_orders().filter(|order| order.state == OpenOrderState::Live).count();
            if !matches!(update.kind, OrderUpdateKind::Accepted { .. }) || live < ORDERS {
                return;
            }
            out::note(&format!("{}: now", self.name));
            #[allow(clippy::panic, reason = "this strategy tests what a panic leads to")]
            if self.name == crate::TEST_STRATEGIES[1] {
                panic!("a strategy panics, as the test wants it");
            }
            loop {
                std::thread::park();
            }
        }
    }
}
