//! Goes with a close outside the Bollinger bands, long above and, on a perpetual, short below: an example to copy.
//!
//! The stop is the middle band at the time of the entry, and the signal is over when a bar closes back beyond the middle. One
//! entry for each time that the close leaves the bands. The [`Trader`] does the rest.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::trader::Trader;
use crate::{Context, OrderUpdate, Strategy, Subscription, Tag};
use keel_marketdata::Bollinger;
use keel_model::{Bar, ClientOrderId, Fill, InstrumentId, Side, TopOfBook};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "bollinger-breakout";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::whole("bar_s", 1, 86_400, "60", "seconds", "Length of the bars; must divide a day.").fixed(),
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "500", "quote asset", "Value of each entry."),
    ParamSpec::word("direction", &["both", "long", "short"], "both", "Which way it trades; short only on perpetuals.")
        .fixed(),
    ParamSpec::whole("bars_count", 2, 10_000, "20", "bars", "Bars of the middle band and of the deviation.")
        .swept("10", "100", "10"),
    ParamSpec::real("width", 0.1, 10.0, "2", "", "Distance of the bands from the middle, in standard deviations.")
        .swept("1", "3.5", "0.25"),
    ParamSpec::real(
        "squeeze_bps",
        0.0,
        100_000.0,
        "0",
        "basis points",
        "It enters only when the bands were at most this far apart a bar before; 0: in any case.",
    )
    .fixed(),
];

/// Bollinger breakout.
#[derive(Debug)]
pub struct BollingerBreakout {
    instrument: InstrumentId,
    bar: Duration,
    bands: Bollinger,
    squeeze: f64,
    may_buy: bool,
    may_short: bool,
    /// On which side of the bands the last bar closed.
    outside: Option<Side>,
    /// Distance of the bands a bar before, as a fraction of the middle.
    span: f64,
    trader: Trader,
}

impl BollingerBreakout {
    /// Trades one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let direction = settings.word("direction")?;
        let bands = Bollinger::new(settings.count("bars_count")?, settings.real("width")?)
            .map_err(|error| settings.contradiction(error.to_string()))?;
        Ok(Self {
            instrument,
            bar: settings.bar_length("bar_s")?,
            bands,
            squeeze: settings.real("squeeze_bps")? / 1e4,
            may_buy: direction != "short",
            may_short: direction != "long",
            outside: None,
            span: f64::INFINITY,
            trader: Trader::new(instrument, settings.money("order_notional_quote")?, settings.exits().clone()),
        })
    }
}

impl Strategy for BollingerBreakout {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument), Subscription::bars(self.instrument, self.bar)]
    }

    fn on_start(&mut self, ctx: &mut Context<'_>) {
        self.trader.on_start(ctx);
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        self.trader.step(ctx);
        let close = bar.close.to_f64();
        let Some(bands) = self.bands.update(close) else { return };
        self.trader.protect(ctx, |_, _| (Some(bands.middle), None));
        let outside = if self.may_buy && close > bands.upper {
            Some(Side::Buy)
        } else if self.may_short && close < bands.lower {
            Some(Side::Sell)
        } else {
            None
        };
        let before = std::mem::replace(&mut self.outside, outside);
        let span = std::mem::replace(&mut self.span, (bands.upper - bands.lower) / bands.middle);
        let may_enter = self.squeeze == 0.0 || span <= self.squeeze;
        match (self.trader.side(ctx), outside) {
            (Some(Side::Buy), _) if close < bands.middle => self.trader.leave(ctx, Tag::SIGNAL),
            (Some(Side::Sell), _) if close > bands.middle => self.trader.leave(ctx, Tag::SIGNAL),
            (None, Some(side)) if before != outside && may_enter => {
                self.trader.enter(ctx, side, Some(bands.middle), None);
            }
            (Some(_), None) => self.trader.forget_entry(),
            _ => {}
        }
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

#[cfg(test)]
mod tests;
