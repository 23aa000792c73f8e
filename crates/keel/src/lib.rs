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
//! Examples to copy: [`strategy::ema_cross`] and [`strategy::market_maker`]. Indicators are in [`marketdata::indicators`].
#![forbid(unsafe_code)]

pub use keel_marketdata as marketdata;
pub use keel_model as model;
pub use keel_strategy as strategy;

/// Everything that most strategies use: `use keel::prelude::*`.
pub mod prelude {
    pub use keel_marketdata::{Atr, Bollinger, BollingerBands, Ema, OrderBook, Rsi, Sma, StdDev};
    pub use keel_model::{
        Asset, Balance, Bar, ClientOrderId, FeedState, Fill, Instrument, InstrumentId, Level, Liquidity, Notional,
        OrderIntent, OrderPurpose, OrderType, Position, Price, Quantity, Rounding, Side, TimeInForce, Timestamp,
        TopOfBook, Trade, TradingState,
    };
    pub use keel_strategy::{
        Context, OpenOrder, OpenOrderState, OrderUpdate, OrderUpdateKind, ParamKind, ParamSpec, Params, Settings,
        Strategy, StrategyError, Subscription,
    };
}
