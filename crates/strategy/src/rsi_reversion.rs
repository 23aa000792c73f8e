//! Buys when the market is oversold and, on a perpetual, sells when it is overbought in a downtrend: an example to copy.
//!
//! The "oversold bounce" and the "short the rip": the relative strength index enters its zone, the stop is so many average true
//! ranges away, the target so many on the other side, and the signal is over when the index is back in the middle. One entry
//! for each visit to a zone. The [`Trader`] does the rest.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::trader::Trader;
use crate::{Context, OrderUpdate, Strategy, Subscription, Tag};
use keel_marketdata::{Atr, Ema, Rsi};
use keel_model::{Bar, ClientOrderId, Fill, InstrumentId, Side, TopOfBook};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "rsi-reversion";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::whole("bar_s", 1, 86_400, "60", "seconds", "Length of the bars; must divide a day.").fixed(),
    ParamSpec::money("order_notional_quote", 1, 1_000_000_000, "500", "quote asset", "Value of each entry."),
    ParamSpec::word("direction", &["both", "long", "short"], "both", "Which way it trades; short only on perpetuals.")
        .fixed(),
    ParamSpec::whole("rsi_bars_count", 2, 1_000, "14", "bars", "Bars of the relative strength index.")
        .swept("6", "30", "4"),
    ParamSpec::real("oversold", 1.0, 50.0, "30", "", "It buys when the index falls to this.").swept("15", "40", "5"),
    ParamSpec::real("overbought", 50.0, 99.0, "70", "", "It sells short when the index rises to this.")
        .swept("60", "85", "5"),
    ParamSpec::real("exit_rsi", 1.0, 99.0, "50", "", "The signal is over when the index is back here.").fixed(),
    ParamSpec::whole(
        "trend_bars_count",
        0,
        10_000,
        "100",
        "bars",
        "It sells short only below the moving average of so many bars; 0: anywhere.",
    )
    .fixed(),
    ParamSpec::whole("atr_bars_count", 1, 1_000, "14", "bars", "Bars of the average true range.").fixed(),
    ParamSpec::real("stop_atr", 0.1, 100.0, "2", "", "Distance of the stop from the entry, in average true ranges.")
        .swept("1", "4", "0.5"),
    ParamSpec::real(
        "target_atr",
        0.1,
        100.0,
        "3",
        "",
        "Distance of the target from the entry, in average true ranges.",
    )
    .swept("1", "6", "0.5"),
];

/// RSI mean reversion.
#[derive(Debug)]
pub struct RsiReversion {
    instrument: InstrumentId,
    bar: Duration,
    rsi: Rsi,
    atr: Atr,
    trend: Option<Ema>,
    oversold: f64,
    overbought: f64,
    exit_rsi: f64,
    stop_atr: f64,
    target_atr: f64,
    may_buy: bool,
    may_short: bool,
    /// The zone that the index is in.
    zone: Option<Side>,
    trader: Trader,
}

impl RsiReversion {
    /// Trades one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let direction = settings.word("direction")?;
        let (oversold, overbought) = (settings.real("oversold")?, settings.real("overbought")?);
        let exit_rsi = settings.real("exit_rsi")?;
        if !(oversold..=overbought).contains(&exit_rsi) {
            let cause = format!("exit_rsi {exit_rsi} is not between oversold {oversold} and overbought {overbought}");
            return Err(settings.contradiction(cause));
        }
        let wrong = |error: keel_marketdata::IndicatorError| settings.contradiction(error.to_string());
        let trend = settings.count("trend_bars_count")?;
        Ok(Self {
            instrument,
            bar: settings.bar_length("bar_s")?,
            rsi: Rsi::new(settings.count("rsi_bars_count")?).map_err(wrong)?,
            atr: Atr::new(settings.count("atr_bars_count")?).map_err(wrong)?,
            trend: if trend == 0 { None } else { Some(Ema::new(trend).map_err(wrong)?) },
            oversold,
            overbought,
            exit_rsi,
            stop_atr: settings.real("stop_atr")?,
            target_atr: settings.real("target_atr")?,
            may_buy: direction != "short",
            may_short: direction != "long",
            zone: None,
            trader: Trader::new(instrument, settings.money("order_notional_quote")?, settings.exits().clone()),
        })
    }

    /// Which side a zone speaks for.
    fn zone_of(&self, rsi: f64, is_downtrend: bool) -> Option<Side> {
        if self.may_buy && rsi <= self.oversold {
            Some(Side::Buy)
        } else if self.may_short && is_downtrend && rsi >= self.overbought {
            Some(Side::Sell)
        } else {
            None
        }
    }
}

impl Strategy for RsiReversion {
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
        let (high, low, close) = (bar.high.to_f64(), bar.low.to_f64(), bar.close.to_f64());
        let (rsi, atr) = (self.rsi.update(close), self.atr.update(high, low, close));
        let trend = self.trend.as_mut().map(|trend| trend.update(close));
        let (Some(rsi), Some(atr)) = (rsi, atr) else { return };
        let is_downtrend = trend.is_none_or(|average| average.is_some_and(|average| close < average));
        let (stop_atr, target_atr) = (self.stop_atr * atr, self.target_atr * atr);
        let exits = |side: Side, entry: f64| {
            let sign = side.sign() as f64;
            (Some(entry - sign * stop_atr), Some(entry + sign * target_atr))
        };
        self.trader.protect(ctx, exits);
        let zone = self.zone_of(rsi, is_downtrend);
        let before = std::mem::replace(&mut self.zone, zone);
        match (self.trader.side(ctx), self.zone) {
            (Some(Side::Buy), _) if rsi >= self.exit_rsi => self.trader.leave(ctx, Tag::SIGNAL),
            (Some(Side::Sell), _) if rsi <= self.exit_rsi => self.trader.leave(ctx, Tag::SIGNAL),
            (None, Some(side)) if before != Some(side) => {
                let (stop, target) = exits(side, close);
                self.trader.enter(ctx, side, stop, target);
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
