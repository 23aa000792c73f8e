//! The vocabulary of Keel: exact numbers, instruments, orders, reports, positions, balances and events.
//!
//! No IO, no async, no clock, no random number: every value here means the same in backtest, paper and live.
//! Money is exact: [`Price`], [`Quantity`] and [`Notional`] are decimals with checked arithmetic; floats are for indicators only.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

/// Exact decimal numbers and their rounding.
pub mod decimal;
/// What flows into the engine: market, execution, command and timer events.
pub mod event;
/// Held instruments, settlements by a person's word, findings of a comparison with the venue.
pub mod hold;
/// Identifiers: instruments, orders, trades, strategies, assets.
pub mod ids;
/// Instruments with the venue's rules for price, size and value.
pub mod instrument;
/// Market data: trades, top of book, depth, bars, funding, mark price.
pub mod market;
/// Wrong variants of the rules, for the test of the tests.
pub mod mutant;
/// What a running bot tells the person who steers it.
pub mod operator;
/// Orders: sides, types, intents, requests and their outcomes.
pub mod order;
/// Parent orders: brackets, OCO pairs, TWAP and iceberg as plans.
pub mod parent;
/// Positions, balances and the portfolio with realised and unrealised profit.
pub mod portfolio;
/// What the venue says about our orders: execution reports and fills.
pub mod report;
/// What a running system publishes about itself.
pub mod status;
/// Points in time and spans, in nanoseconds.
pub mod time;

pub use decimal::{Notional, NumberError, Price, Quantity, Rounding};
pub use event::{Command, Event, ExecutionEvent, ExitPolicy, FeedEvent, FeedState, RiskScope, StreamKind};
pub use hold::{BalanceCause, Finding, Hold, HoldCause, HoldView, Settlement};
pub use ids::{Asset, ClientOrderId, IdError, InlineStr, InstrumentId, StrategyId, TradeId, VenueOrderId};
pub use instrument::{FilterViolation, Instrument, InstrumentKind, InstrumentStatus, Instruments};
pub use market::{Bar, BookDelta, BookSnapshot, FundingRate, Level, MarkPrice, MarketEvent, TopOfBook, Trade};
pub use operator::{OperatorView, StreamView, WindView};
pub use order::{
    CancelOrder, CancelOutcome, NewOrder, NotSentReason, OrderIntent, OrderPurpose, OrderStatus, OrderType, QueryOrder,
    QueryOutcome, Reject, RejectReason, ReplaceOrder, ReplaceOutcome, Side, SubmitAck, SubmitOutcome, TimeInForce,
    UnknownReason,
};
pub use parent::{Bracket, Iceberg, Oco, ParentEnd, ParentId, ParentPlan, ParentView, PlanError, Stop, Twap};
pub use portfolio::{Balance, Portfolio, PortfolioError, Position};
pub use report::{ExecType, ExecutionReport, Fill, Liquidity, OrderSnapshot};
pub use status::{EmergencyReport, GuardView, OpenOrderView, PositionView, StatusSnapshot, TradingState};
pub use time::Timestamp;
