//! What a strategy author needs, from one place.
//!
//! A strategy is a struct with handlers. It sees the market and its account through a [`Context`](prelude::Context), asks
//! for orders there, and hears what became of them. The same code runs in backtest, paper and live.
//!
//! ```
//! use keel::prelude::*;
//!
//! /// Buys once when the price falls below a line.
//! #[derive(Debug)]
//! struct BuyTheDip {
//!     instrument: InstrumentId,
//!     line: Price,
//!     order: Option<ClientOrderId>,
//! }
//!
//! impl Strategy for BuyTheDip {
//!     fn name(&self) -> &str {
//!         "buy-the-dip"
//!     }
//!     fn subscriptions(&self) -> Vec<Subscription> {
//!         vec![Subscription::top_of_book(self.instrument)]
//!     }
//!     fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
//!         if self.order.is_some() || top.ask.price >= self.line {
//!             return;
//!         }
//!         let worth = Notional::from_int(100);
//!         if let Some(quantity) = ctx.quantity_worth(self.instrument, worth, top.ask.price, OrderType::Market) {
//!             let intent = OrderIntent::market(self.instrument, Side::Buy, quantity, OrderPurpose::Entry);
//!             self.order = Some(ctx.submit(intent));
//!         }
//!     }
//!     fn on_order(&mut self, _ctx: &mut Context<'_>, update: &OrderUpdate) {
//!         if let OrderUpdateKind::Denied(reason) = update.kind {
//!             eprintln!("risk said no: {reason}");
//!         }
//!     }
//! }
//!
//! let strategy = BuyTheDip { instrument: InstrumentId(0), line: "58000".parse()?, order: None };
//! assert_eq!(strategy.name(), "buy-the-dip");
//! # Ok::<(), keel::model::NumberError>(())
//! ```
//!
//! Orders that belong together are asked for as one plan, and the engine carries it out, over restarts too:
//!
//! ```
//! use keel::prelude::*;
//!
//! # fn example(ctx: &mut Context<'_>, btc: InstrumentId, price: fn(&str) -> Price, quantity: fn(&str) -> Quantity) {
//! // Buy, and as it fills keep a stop under it and a target over it.
//! let entry = OrderIntent::limit(btc, Side::Buy, quantity("0.1"), price("60000"), OrderPurpose::Entry);
//! let bracket: ParentId = ctx.bracket(Bracket::new(entry, price("58000")).target(price("63000")).entry_timeout_ms(60_000));
//! // Protect what is held already.
//! ctx.oco(Oco::exit(btc, Side::Sell, quantity("0.1"), price("63000"), price("58000")));
//! // Half an hour in thirty pieces, moved by up to a fifth of a minute, never above 60 500.
//! ctx.twap(Twap::new(btc, Side::Buy, quantity("3"), 1_800_000).slices(30).randomise_bps(2_000, 7).limit(price("60500")));
//! // Five coins, of which a tenth of one is shown.
//! ctx.iceberg(Iceberg::new(btc, Side::Sell, quantity("5"), price("62000"), quantity("0.1")).post_only());
//! // No more entry; what has filled stays protected.
//! ctx.cancel_parent(bracket);
//! # }
//! ```
//!
//! Most strategies are long, short or flat. For them a [`Trader`](prelude::Trader) places the orders, keeps a stop at the venue
//! and finds its way after a restart or a refusal; the strategy only says what it wants:
//!
//! ```
//! use keel::prelude::*;
//! use keel::strategy::desk::{Desk, ID};
//! use std::time::Duration;
//!
//! #[derive(Debug)]
//! struct AboveAverage(Sma, Trader);
//!
//! impl Strategy for AboveAverage {
//!     fn name(&self) -> &str {
//!         "above-average"
//!     }
//!     fn subscriptions(&self) -> Vec<Subscription> {
//!         vec![Subscription::top_of_book(ID), Subscription::bars(ID, Duration::from_secs(60))]
//!     }
//!     fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
//!         match self.0.update(bar.close.to_f64()) {
//!             Some(average) if bar.close.to_f64() > average => self.1.enter(ctx, Side::Buy, None, None),
//!             _ => self.1.leave(ctx, Tag::SIGNAL),
//!         }
//!     }
//!     fn on_fill(&mut self, _: &mut Context<'_>, _: ClientOrderId, fill: &Fill) {
//!         self.1.on_fill(fill);
//!     }
//!     fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
//!         self.1.on_order(ctx, update);
//!     }
//! }
//!
//! // On a scripted desk, as in a test.
//! let trader = Trader::new(ID, Notional::from_int(500), ExitRules::default());
//! let (mut desk, mut strategy) = (Desk::new("0", "100000"), AboveAverage(Sma::new(3)?, trader));
//! [60_000.0, 60_000.0, 60_000.0, 60_010.0].map(|close| desk.bar(&mut strategy, close));
//! assert_eq!((desk.fills.len(), desk.fills[0].side), (1, Side::Buy));
//! # Ok::<(), keel::marketdata::IndicatorError>(())
//! ```
//!
//! `launcher new-strategy NAME` writes such a strategy as a crate of your own, and exits (stop-loss, trailing stop, ROI table,
//! time) come from the section `[exits]` of its configuration.
//!
//! Examples to copy: [`strategy::rsi_reversion`], [`strategy::bollinger_breakout`], [`strategy::ema_cross`],
//! [`strategy::market_maker`]. Indicators are in [`marketdata::indicators`].
#![forbid(unsafe_code)]

pub use keel_marketdata as marketdata;
pub use keel_model as model;
pub use keel_strategy as strategy;

/// Everything that most strategies use: `use keel::prelude::*`.
pub mod prelude {
    pub use keel_marketdata::{
        Adx, AdxValue, Atr, Bollinger, BollingerBands, Cci, Channel, Donchian, Ema, Keltner, Macd, MacdValue, Obv,
        OrderBook, Rsi, Sma, StdDev, Stochastic, StochasticValue, Supertrend, SupertrendValue, Vwap,
    };
    pub use keel_model::{
        Asset, Balance, Bar, Bracket, ClientOrderId, FeedState, Fill, FundingRate, Iceberg, Instrument, InstrumentId,
        Level, Liquidity, MarkPrice, Notional, Oco, OrderIntent, OrderPurpose, OrderType, ParentEnd, ParentId,
        Position, Price, Quantity, Rounding, Side, TimeInForce, Timestamp, TopOfBook, Trade, TradingState, Twap,
    };
    pub use keel_strategy::{
        Context, ExitRules, Exits, Made, OpenOrder, OpenOrderState, OrderUpdate, OrderUpdateKind, ParamKind, ParamSpec,
        Params, ParentUpdate, ParentUpdateKind, Settings, Sizing, SizingFacts, Strategy, StrategyError, StrategyInfo,
        Subscription, Tag, Trader,
    };
}
