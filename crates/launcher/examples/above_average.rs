//! A strategy of your own: long from the bar that closes above the moving average to the first that does not.
//!
//! The same code runs in backtest, paper and live. `cargo run --release -- --help` shows what the program can do.

use keel::prelude::*;
use std::process::ExitCode;
use std::time::Duration;

/// What can be set: once here, for the configuration, for sweeps and for `list-strategies`.
const PARAMS: &[ParamSpec] = &[
    ParamSpec::whole("bar_s", 1, 86_400, "60", "seconds", "Length of the bars; must divide a day.").fixed(),
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "500", "quote asset", "Value of each entry."),
    ParamSpec::whole("average_bars_count", 2, 10_000, "20", "bars", "Bars of the moving average.")
        .swept("5", "100", "5"),
];

/// Long above the moving average.
#[derive(Debug)]
struct AboveAverage {
    instrument: InstrumentId,
    bar: Duration,
    average: Sma,
    /// Did the last bar close above? It enters on the crossing only, so an exit by a stop is not followed by an entry.
    was_above: bool,
    /// Places and protects orders, one step at a time.
    trader: Trader,
}

impl AboveAverage {
    fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let average = Sma::new(settings.count("average_bars_count")?);
        Ok(Self {
            instrument,
            bar: settings.bar_length("bar_s")?,
            average: average.map_err(|error| settings.contradiction(error.to_string()))?,
            was_above: true,
            trader: Trader::new(instrument, settings.money("order_notional_quote")?, settings.exits().clone()),
        })
    }
}

impl Strategy for AboveAverage {
    fn name(&self) -> &str {
        "above-average"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument), Subscription::bars(self.instrument, self.bar)]
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        self.trader.step(ctx);
        let close = bar.close.to_f64();
        let Some(average) = self.average.update(close) else { return };
        let is_above = close > average;
        if !is_above {
            self.trader.leave(ctx, Tag::SIGNAL);
        } else if !self.was_above {
            self.trader.enter(ctx, Side::Buy, None, None);
        }
        self.was_above = is_above;
    }

    // The trader has to hear of everything.
    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.trader.on_start(ctx);
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        self.trader.step(ctx);
    }

    fn on_fill(&mut self, _ctx: &mut Context<'_>, _id: ClientOrderId, fill: &Fill) {
        self.trader.on_fill(fill);
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        self.trader.on_order(ctx, update);
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        self.trader.step(ctx);
    }
}

/// How it is called, what it does, what can be set, how it is made.
const INFO: StrategyInfo = StrategyInfo::new(
    "above-average",
    "long while the price is above its moving average",
    PARAMS,
    |instrument, settings| Ok(Box::new(AboveAverage::new(instrument, settings)?)),
)
.with_own_exits();

fn main() -> ExitCode {
    keel_launcher::program(&[INFO])
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel::strategy::desk::{Desk, ID};

    #[test]
    fn it_buys_above_the_average_and_sells_below() {
        let params = Params::new().with("average_bars_count", 3);
        let settings = Settings::check("above-average", PARAMS, &params).unwrap();
        let (mut desk, mut strategy) = (Desk::new("0", "100000"), AboveAverage::new(ID, &settings).unwrap());
        for close in [60_000.0, 60_000.0, 60_000.0, 60_010.0, 60_020.0] {
            desk.bar(&mut strategy, close);
        }
        assert_eq!((desk.fills.len(), desk.fills[0].side), (1, Side::Buy));
        desk.bar(&mut strategy, 59_900.0);
        assert!(desk.position().is_zero());
    }
}
