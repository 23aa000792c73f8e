//! The moving-average cross with a fixed quantity, on both sides or on the long one, decided on bars or on quotes: the job that
//! backtesters are compared by.
//!
//! Each average begins with the first price and then follows `v = a·x + (1 − a)·v`, `a = 2/(n + 1)`. Whenever the wanted side is
//! not the side that is held, one market order closes what is held and a second one opens the other side. While an order of its
//! own is open it waits; after a refusal it waits a moment, so that it asks again without hammering.

use crate::params::{ParamSpec, Settings, StrategyError};
use crate::{Context, OrderUpdate, OrderUpdateKind, Strategy, Subscription};
use keel_model::{Bar, InstrumentId, OrderIntent, OrderPurpose, Quantity, Side, Timestamp, TopOfBook, TradingState};
use std::time::Duration;

/// Name in configuration.
pub const NAME: &str = "ema-cross-flip";

/// What can be set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::word(
        "input",
        &["bars", "quotes"],
        "bars",
        "What is averaged: the close of each bar, or the middle of each best bid and ask.",
    )
    .fixed(),
    ParamSpec::whole("bar_s", 1, 86_400, "60", "seconds", "Length of the bars; must divide a day.").fixed(),
    ParamSpec::whole("fast_bars_count", 1, 10_000, "10", "inputs", "Inputs of the fast average.").swept("2", "50", "1"),
    ParamSpec::whole(
        "slow_bars_count",
        2,
        10_000,
        "20",
        "inputs",
        "Inputs of the slow average; more than of the fast one.",
    )
    .swept("10", "200", "5"),
    ParamSpec::whole(
        "warmup_count",
        0,
        1_000_000,
        "0",
        "inputs",
        "The first decision is made on this input; 0: on the one that fills the slow average.",
    )
    .fixed(),
    ParamSpec::word("sides", &["both", "long"], "both", "Is it short, or flat, while it is not long?").fixed(),
    ParamSpec::word(
        "signal",
        &["level", "cross"],
        "level",
        "Long while the fast average is not below the slow one, or from the input on where it came to be above it.",
    )
    .fixed(),
    ParamSpec::money("order_quantity_base", 0, 1_000_000_000, "0.01", "base asset", "Quantity of each entry."),
];

/// Wait after a refused order; doubles with each refusal in a row up to 64 times as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// An average that begins with its first value.
#[derive(Clone, Copy, Debug)]
struct Average {
    weight: f64,
    value: f64,
}

impl Average {
    fn new(count: usize) -> Self {
        Self { weight: 2.0 / (count as f64 + 1.0), value: f64::NAN }
    }

    #[inline]
    fn update(&mut self, x: f64) -> f64 {
        self.value = if self.value.is_nan() { x } else { self.weight * x + (1.0 - self.weight) * self.value };
        self.value
    }
}

/// The moving-average cross that flips.
#[derive(Debug)]
pub struct EmaCrossFlip {
    instrument: InstrumentId,
    is_quotes: bool,
    bar: Duration,
    fast: Average,
    slow: Average,
    warmup: u64,
    seen: u64,
    is_both: bool,
    is_cross: bool,
    was_above: bool,
    quantity: Quantity,
    /// The side that is wanted: 1 long, −1 short, 0 flat.
    wanted: i64,
    /// The side that is held, as far as it was looked at; what was refused is looked at again.
    held: Option<i64>,
    refusals: u32,
    ts_next: Timestamp,
}

impl EmaCrossFlip {
    /// Trades one instrument.
    pub fn new(instrument: InstrumentId, settings: &Settings) -> Result<Self, StrategyError> {
        let (fast, slow, bar_s) = crate::ema_cross::spans(settings)?;
        let quantity = settings.money("order_quantity_base")?.to_quantity().ok().filter(|it| it.is_positive());
        let warmup = match settings.whole("warmup_count")? {
            0 => slow as u64,
            count => count,
        };
        Ok(Self {
            instrument,
            is_quotes: settings.word("input")? == "quotes",
            bar: Duration::from_secs(bar_s),
            fast: Average::new(fast),
            slow: Average::new(slow),
            warmup,
            seen: 0,
            is_both: settings.word("sides")? == "both",
            is_cross: settings.word("signal")? == "cross",
            was_above: false,
            quantity: quantity
                .ok_or_else(|| settings.contradiction("order_quantity_base must be a quantity greater than zero"))?,
            wanted: 0,
            held: None,
            refusals: 0,
            ts_next: Timestamp::ZERO,
        })
    }

    #[inline]
    fn on_input(&mut self, ctx: &mut Context<'_>, x: f64) {
        let (fast, slow) = (self.fast.update(x), self.slow.update(x));
        self.seen += 1;
        let (was_above, is_above) = (self.was_above, fast > slow);
        self.was_above = is_above;
        if self.seen < self.warmup {
            return;
        }
        let out = if self.is_both { -1 } else { 0 };
        self.wanted = match (self.is_cross, is_above) {
            (false, _) if fast >= slow => 1,
            (false, _) => out,
            (true, true) if !was_above => 1,
            (true, false) if was_above && fast < slow => out,
            (true, _) => self.wanted,
        };
        if self.held != Some(self.wanted) {
            self.act(ctx);
        }
    }

    fn act(&mut self, ctx: &mut Context<'_>) {
        if ctx.now() < self.ts_next || ctx.trading_state() == TradingState::Halted || ctx.open_orders().next().is_some()
        {
            return;
        }
        let position = ctx.own_position(self.instrument).quantity;
        let side = position.mantissa().signum();
        if side == self.wanted {
            self.held = Some(side);
            return;
        }
        let direction = if self.wanted > side { Side::Buy } else { Side::Sell };
        if side != 0
            && let Ok(quantity) = position.abs()
        {
            let mut exit = OrderIntent::market(self.instrument, direction, quantity, OrderPurpose::Exit);
            exit.reduce_only = true;
            ctx.submit(exit);
        }
        if self.wanted != 0 {
            ctx.submit(OrderIntent::market(self.instrument, direction, self.quantity, OrderPurpose::Entry));
        }
        self.held = None;
    }
}

impl Strategy for EmaCrossFlip {
    fn name(&self) -> &str {
        NAME
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![if self.is_quotes {
            Subscription::top_of_book(self.instrument)
        } else {
            Subscription::bars(self.instrument, self.bar)
        }]
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        if !self.is_quotes {
            self.on_input(ctx, bar.close.to_f64());
        }
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
        if self.is_quotes && top.bid.quantity.is_positive() && top.ask.quantity.is_positive() {
            self.on_input(ctx, (top.bid.price.to_f64() + top.ask.price.to_f64()) / 2.0);
        }
    }

    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        match update.kind {
            OrderUpdateKind::Filled => self.refusals = 0,
            OrderUpdateKind::Denied(_)
            | OrderUpdateKind::Rejected(_)
            | OrderUpdateKind::NotSent(_)
            | OrderUpdateKind::Expired => {
                self.ts_next = ctx.now().plus(BACKOFF * (1 << self.refusals.min(6)));
                self.refusals = self.refusals.saturating_add(1);
                self.held = None;
            }
            _ => {}
        }
    }
}
