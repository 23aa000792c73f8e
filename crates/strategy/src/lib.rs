//! The trait that strategies implement, the context they act through, and good examples to copy.
//!
//! A strategy is called with events, looks at state through [`Context`], and asks for orders; it never sees a socket, a
//! clock or a thread, so the same code gives the same answer in backtest, paper and live.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![forbid(unsafe_code)]

/// With a close outside the Bollinger bands.
pub mod bollinger_breakout;
/// Long spot and short the perpetual while funding pays.
pub mod carry;
/// What a strategy sees and acts through.
pub mod context;
/// A trading desk for the tests of strategies.
pub mod desk;
/// Long while the fast moving average is above the slow one.
pub mod ema_cross;
/// The cross with a fixed quantity, on both sides, on bars or quotes.
pub mod ema_cross_flip;
/// Stop-loss, trailing stop, ROI table and time exit for any strategy.
pub mod exits;
/// A ladder of buys, each sold one step higher.
pub mod grid;
/// Exits around a strategy that knows nothing of them.
pub mod guarded;
/// A strategy that does nothing.
pub mod idle;
/// A bid and an ask around the middle of the book.
pub mod market_maker;
/// Declared parameters and checked values of them.
pub mod params;
/// The strategies that can be named in configuration.
pub mod registry;
/// What fees taken in coins leave in the books.
pub mod residue;
/// Against an oversold or overbought market.
pub mod rsi_reversion;
/// How large an order is to be.
pub mod sizing;
/// Why an order was asked for.
pub mod tag;
/// Brings a position to what is wanted, one step at a time.
pub mod trader;
/// News about an order of the strategy.
pub mod update;

pub use bollinger_breakout::BollingerBreakout;
pub use carry::Carry;
pub use context::{Context, Lent, OpenOrder, OpenOrderState, OrderIdGenerator, REQUESTS_MAX, StrategyRequest};
pub use ema_cross::EmaCross;
pub use ema_cross_flip::EmaCrossFlip;
pub use exits::{ExitRules, Exits};
pub use grid::Grid;
pub use guarded::Guarded;
pub use idle::Idle;
pub use market_maker::MarketMaker;
pub use params::{ParamKind, ParamSpec, Params, Settings, StrategyError, SweepSpec};
pub use registry::{Made, RegistryError, StrategyInfo, build, strategies};
pub use residue::Residue;
pub use rsi_reversion::RsiReversion;
pub use sizing::{Sizing, SizingError, SizingFacts};
pub use tag::Tag;
pub use trader::Trader;
pub use update::{OrderUpdate, OrderUpdateKind, ParentUpdate, ParentUpdateKind};

use keel_model::{Bar, ClientOrderId, FeedState, Fill, FundingRate, InstrumentId, MarkPrice, TopOfBook, Trade};
use std::fmt;
use std::time::Duration;

/// What a strategy wants to hear about one instrument. Several for one instrument add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Call [`Strategy::on_top_of_book`].
    pub top_of_book: bool,
    /// Keep the whole book and call [`Strategy::on_book`].
    pub depth: bool,
    /// Call [`Strategy::on_trade`].
    pub trades: bool,
    /// Build bars of this length from public trades and call [`Strategy::on_bar`] with each closed one. Whole seconds
    /// that divide a day.
    pub bar_interval: Option<Duration>,
}

impl Subscription {
    /// Best bid and ask only.
    #[must_use]
    pub const fn top_of_book(instrument: InstrumentId) -> Self {
        Self { instrument, top_of_book: true, depth: false, trades: false, bar_interval: None }
    }

    /// Bars of one length.
    #[must_use]
    pub const fn bars(instrument: InstrumentId, interval: Duration) -> Self {
        Self { instrument, top_of_book: false, depth: false, trades: false, bar_interval: Some(interval) }
    }
}

/// A trading strategy. Only `name` and `subscriptions` have to be written; every handler defaults to doing nothing.
///
/// Handlers run one after the other on the engine's thread and must return soon: a handler that blocks stops everything
/// but the emergency path. State belongs into `self`; nothing else survives a call.
pub trait Strategy: Send + fmt::Debug {
    /// Its name in configuration, logs and reports.
    fn name(&self) -> &str;

    /// What it wants to hear; asked once, before the start.
    fn subscriptions(&self) -> Vec<Subscription>;

    /// Trading may begin: recovery is complete and the gate is open.
    fn on_start(&mut self, _ctx: &mut Context<'_>) {}

    /// The best bid or ask changed.
    fn on_top_of_book(&mut self, _ctx: &mut Context<'_>, _top: &TopOfBook) {}

    /// A public trade.
    fn on_trade(&mut self, _ctx: &mut Context<'_>, _trade: &Trade) {}

    /// The depth changed; look at it with [`Context::book`].
    fn on_book(&mut self, _ctx: &mut Context<'_>, _instrument: InstrumentId) {}

    /// A bar closed.
    fn on_bar(&mut self, _ctx: &mut Context<'_>, _bar: &Bar) {}

    /// The funding rate of a perpetual that it subscribed to, in whatever form, was announced or has changed.
    fn on_funding(&mut self, _ctx: &mut Context<'_>, _funding: &FundingRate) {}

    /// The mark price of a perpetual that it subscribed to, in whatever form, has changed.
    fn on_mark_price(&mut self, _ctx: &mut Context<'_>, _mark: &MarkPrice) {}

    /// One of the exits of the section `[exits]` closes its position, for this reason: what it wanted is over until its next
    /// signal. Its orders are cancelled and what is held is closed for it; orders that it asks for meanwhile are denied.
    fn on_exit(&mut self, _ctx: &mut Context<'_>, _why: Tag) {}

    /// A fill of one of its orders; called once per fill, after position and balances were brought up to date.
    fn on_fill(&mut self, _ctx: &mut Context<'_>, _client_order_id: ClientOrderId, _fill: &Fill) {}

    /// Any other news about one of its orders.
    fn on_order(&mut self, _ctx: &mut Context<'_>, _update: &OrderUpdate) {}

    /// News about one of its parent orders: brackets, OCO pairs, TWAP, iceberg.
    fn on_parent(&mut self, _ctx: &mut Context<'_>, _update: &ParentUpdate) {}

    /// The data of an instrument became current, stale, or is down.
    fn on_feed(&mut self, _ctx: &mut Context<'_>, _instrument: InstrumentId, _state: FeedState) {}

    /// Time has passed; called at the engine's timer, about ten times a second.
    fn on_timer(&mut self, _ctx: &mut Context<'_>) {}

    /// The last call. Orders asked for here are refused; what becomes of open orders is the exit policy's business.
    fn on_stop(&mut self, _ctx: &mut Context<'_>) {}
}
