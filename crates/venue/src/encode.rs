//! Market and account events and order objects as Binance writes them.

mod account;
mod figures;
mod market;
mod orders;

pub(crate) use account::{
    account_position, account_position_of, balance_update, execution_report, is_first_fill, list_status,
};
pub(crate) use figures::{Figures, avg_price_event, mini_ticker_event, rolling_event, ticker_event};
pub(crate) use market::{
    AggTrade, agg_trade_event, book, book_ticker_event, depth_event, kline_event, trade_event, write_agg, write_kline,
    write_trade,
};
pub(crate) use orders::{
    ResponseType, STP_MODES, default_response, rate_text, write_amended, write_canceled, write_list, write_my_trade,
    write_placed, write_queried,
};

/// The labels that a client put on an order and that the engine does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrderLabels {
    /// `strategyId`.
    pub(crate) strategy_id: Option<u64>,
    /// `strategyType`.
    pub(crate) strategy_type: Option<u64>,
}

/// An optional id; -1 stands for none.
pub(crate) fn list_id(id: Option<u64>) -> i128 {
    id.map_or(-1, i128::from)
}
