//! What requests do, whatever way they came. Each handler reads all its parameters, refuses those nobody asked for, and
//! only then acts; it takes the state's lock once and gives back the answer's JSON.

mod account;
mod lists;
mod market;
mod order_params;
mod sapi;
mod tickers;
mod trading;

use crate::api_error::ApiError;
use crate::auth::ApiKey;
use crate::json::TimeUnit;
use crate::params::Params;
use crate::replica::ReadView;
use crate::routes::Op;
use crate::venue::Venue;
use keel_model::{InstrumentId, Timestamp};
use keel_sim::AccountId;

/// A request that passed the gate.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    /// The venue.
    pub(crate) venue: &'a Venue,
    /// Its parameters.
    pub(crate) params: &'a Params,
    /// Whose it is.
    pub(crate) key: Option<&'a ApiKey>,
    /// Unit of times in the answer.
    pub(crate) unit: TimeUnit,
    /// The venue's time.
    pub(crate) now: Timestamp,
    /// Answer questions about orders and trades as a replica that lags.
    pub(crate) view: Option<ReadView>,
}

/// JSON, or a refusal.
pub(crate) type Answer = Result<String, ApiError>;

impl Ctx<'_> {
    /// Whose account; every route that uses this needs a key.
    fn account(&self) -> Result<AccountId, ApiError> {
        self.key.map(|key| key.account).ok_or_else(ApiError::key_format)
    }

    /// The mandatory symbol's index in the state.
    fn symbol(&self) -> Result<(u32, InstrumentId), ApiError> {
        self.venue.find_symbol(self.params.req_symbol()?)
    }

    /// The optional symbol's index in the state.
    fn opt_symbol(&self) -> Result<Option<(u32, InstrumentId)>, ApiError> {
        self.params.opt_symbol()?.map(|name| self.venue.find_symbol(name)).transpose()
    }
}

/// Does what was asked.
pub(crate) fn run(op: Op, ctx: Ctx<'_>) -> Answer {
    match op {
        Op::Ping => {
            ctx.params.finish()?;
            Ok("{}".to_owned())
        }
        Op::Time => market::time(ctx),
        Op::ExchangeInfo => market::exchange_info(ctx),
        Op::ExecutionRules => market::execution_rules(ctx),
        Op::Depth => market::depth(ctx),
        Op::Trades => market::trades(ctx, false),
        Op::HistoricalTrades => market::trades(ctx, true),
        Op::HistoricalBlockTrades => market::block_trades(ctx),
        Op::AggTrades => market::agg_trades(ctx),
        Op::Klines => market::klines(ctx),
        Op::AvgPrice => market::avg_price(ctx),
        Op::ReferencePrice => market::reference_price(ctx),
        Op::Ticker24h => tickers::day(ctx),
        Op::TickerTradingDay => tickers::trading_day(ctx),
        Op::TickerPrice => tickers::price(ctx),
        Op::TickerBook => tickers::book(ctx),
        Op::TickerWindow => tickers::window(ctx),
        Op::NewOrder => trading::new_order(ctx),
        Op::TestOrder => trading::test_order(ctx),
        Op::CancelOrder => trading::cancel(ctx),
        Op::CancelAll => trading::cancel_all(ctx),
        Op::CancelReplace => trading::cancel_replace(ctx),
        Op::Amend => trading::amend(ctx),
        Op::NewOcoOld => lists::new_old(ctx),
        Op::NewOco => lists::new(ctx),
        Op::CancelList => lists::cancel(ctx),
        Op::QueryList => lists::query(ctx),
        Op::OpenLists => lists::open(ctx),
        Op::AllLists => lists::all(ctx),
        Op::QueryOrder => account::query_order(ctx),
        Op::OpenOrders => account::open_orders(ctx),
        Op::AllOrders => account::all_orders(ctx),
        Op::MyTrades => account::my_trades(ctx),
        Op::Account => account::account(ctx),
        Op::Commission => account::commission(ctx),
        Op::OrderRateLimits => account::order_rate_limits(ctx),
        Op::PreventedMatches => account::prevented_matches(ctx),
        Op::Allocations => account::allocations(ctx),
        Op::Amendments => account::amendments(ctx),
        Op::MyFilters => account::my_filters(ctx),
        Op::ListenKeyNew => account::listen_key_new(ctx),
        Op::ListenKeyKeep => account::listen_key_keep(ctx),
        Op::ListenKeyClose => account::listen_key_close(ctx),
        Op::SapiTradeFee => sapi::trade_fee(ctx),
        Op::SapiRestrictions => sapi::restrictions(ctx),
        Op::SapiCoins => sapi::coins(ctx),
        Op::SapiSystemStatus => sapi::system_status(ctx),
        Op::SapiAccountStatus => sapi::account_status(ctx),
        Op::SapiTradingStatus => sapi::trading_status(ctx),
        Op::Unsupported => Err(ApiError::new(-1020, "This operation is not supported.")),
        // Of a WebSocket API session; answered there.
        Op::SessionLogon
        | Op::SessionStatus
        | Op::SessionLogout
        | Op::SessionSubscriptions
        | Op::UserSubscribe
        | Op::UserSubscribeSigned
        | Op::UserUnsubscribe => Err(ApiError::new(-1020, "This operation is not supported.")),
    }
}
