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
//! Examples to copy: [`strategy::ema_cross`] and [`strategy::market_maker`]. Indicators are in [`marketdata::indicators`].
#![forbid(unsafe_code)]

pub use keel_marketdata as marketdata;
pub use keel_model as model;
pub use keel_strategy as strategy;

/// Everything that most strategies use: `use keel::prelude::*`.
pub mod prelude {
    pub use keel_marketdata::{Atr, Bollinger, BollingerBands, Ema, OrderBook, Rsi, Sma, StdDev};
    pub use keel_model::{
        Asset, Balance, Bar, Bracket, ClientOrderId, FeedState, Fill, Iceberg, Instrument, InstrumentId, Level,
        Liquidity, Notional, Oco, OrderIntent, OrderPurpose, OrderType, ParentEnd, ParentId, Position, Price, Quantity,
        Rounding, Side, TimeInForce, Timestamp, TopOfBook, Trade, TradingState, Twap,
    };
    pub use keel_strategy::{
        Context, OpenOrder, OpenOrderState, OrderUpdate, OrderUpdateKind, ParamKind, ParamSpec, Params, ParentUpdate,
        ParentUpdateKind, Settings, Sizing, SizingFacts, Strategy, StrategyError, Subscription,
    };
}
