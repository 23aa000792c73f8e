//! Market data: trades, books, candles.

use crate::json::{Json, TimeUnit};
use keel_model::{Level, Price, Quantity, Side, Timestamp};
use keel_sim::{BookTicker, Kline, PublicTrade};

/// Trades of one taker at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AggTrade {
    /// Ascending by one per symbol.
    pub(crate) id: u64,
    /// Their price.
    pub(crate) price: Price,
    /// Their quantity together.
    pub(crate) quantity: Quantity,
    /// First trade.
    pub(crate) first: u64,
    /// Last trade.
    pub(crate) last: u64,
    /// When.
    pub(crate) ts: Timestamp,
    /// Side of the taker.
    pub(crate) aggressor: Side,
    /// The taker's order; zero in recorded markets.
    pub(crate) taker_order: u64,
}

/// `trade`.
pub(crate) fn trade_event(unit: TimeUnit, symbol: &str, trade: &PublicTrade) -> String {
    Json::object(unit, |j| {
        j.str("e", "trade");
        j.time("E", trade.ts);
        j.str("s", symbol);
        j.num("t", trade.trade_id);
        j.dec("p", trade.price);
        j.dec("q", trade.quantity);
        j.time("T", trade.ts);
        j.bool("m", trade.aggressor == Side::Sell);
        j.bool("M", true);
    })
}

/// `aggTrade`.
pub(crate) fn agg_trade_event(unit: TimeUnit, symbol: &str, trade: &AggTrade) -> String {
    Json::object(unit, |j| {
        j.str("e", "aggTrade");
        j.time("E", trade.ts);
        j.str("s", symbol);
        write_agg(j, trade);
    })
}

/// The members that the stream and the REST answer share.
pub(crate) fn write_agg(j: &mut Json, trade: &AggTrade) {
    j.num("a", trade.id);
    j.dec("p", trade.price);
    j.dec("q", trade.quantity);
    j.num("f", trade.first);
    j.num("l", trade.last);
    j.time("T", trade.ts);
    j.bool("m", trade.aggressor == Side::Sell);
    j.bool("M", true);
}

/// `bookTicker`.
pub(crate) fn book_ticker_event(unit: TimeUnit, symbol: &str, top: &BookTicker) -> String {
    Json::object(unit, |j| {
        j.num("u", top.update_id);
        j.str("s", symbol);
        j.dec("b", top.bid.price);
        j.dec("B", top.bid.quantity);
        j.dec("a", top.ask.price);
        j.dec("A", top.ask.quantity);
    })
}

/// An array of `["price","quantity"]`.
pub(crate) fn write_levels<'a>(j: &mut Json, key: &str, levels: impl Iterator<Item = &'a Level>) {
    j.arr(key, |j| {
        for level in levels {
            j.item_arr(|j| {
                j.item_dec(level.price);
                j.item_dec(level.quantity);
            });
        }
    });
}

/// `depthUpdate`.
pub(crate) fn depth_event(
    unit: TimeUnit,
    symbol: &str,
    now: Timestamp,
    ids: (u64, u64),
    bids: &[Level],
    asks: &[Level],
) -> String {
    Json::object(unit, |j| {
        j.str("e", "depthUpdate");
        j.time("E", now);
        j.str("s", symbol);
        j.num("U", ids.0);
        j.num("u", ids.1);
        write_levels(j, "b", bids.iter());
        write_levels(j, "a", asks.iter());
    })
}

/// A book, as REST and the partial depth streams show it.
pub(crate) fn book(unit: TimeUnit, update_id: u64, bids: &[Level], asks: &[Level]) -> String {
    Json::object(unit, |j| {
        j.num("lastUpdateId", update_id);
        write_levels(j, "bids", bids.iter());
        write_levels(j, "asks", asks.iter());
    })
}

/// `kline`.
pub(crate) fn kline_event(unit: TimeUnit, symbol: &str, interval: &str, now: Timestamp, kline: &Kline) -> String {
    let last_ms = Timestamp::from_ms(kline.ts_close.as_ms().saturating_sub(1));
    let id = |id: Option<u64>| id.map_or(-1, i128::from);
    Json::object(unit, |j| {
        j.str("e", "kline");
        j.time("E", now);
        j.str("s", symbol);
        j.obj("k", |j| {
            j.time("t", kline.ts_open);
            j.time("T", last_ms);
            j.str("s", symbol);
            j.str("i", interval);
            j.num("f", id(kline.first_trade_id));
            j.num("L", id(kline.last_trade_id));
            j.dec("o", kline.open);
            j.dec("c", kline.close);
            j.dec("h", kline.high);
            j.dec("l", kline.low);
            j.dec("v", kline.volume);
            j.num("n", kline.trades);
            j.bool("x", kline.is_closed);
            j.dec("q", kline.quote_volume);
            j.dec("V", kline.taker_buy_volume);
            j.dec("Q", kline.taker_buy_quote);
            j.str("B", "0");
        });
    })
}

/// A candle as REST shows it.
pub(crate) fn write_kline(j: &mut Json, kline: &Kline) {
    j.item_arr(|j| {
        j.item_time(kline.ts_open);
        for price in [kline.open, kline.high, kline.low, kline.close] {
            j.item_dec(price);
        }
        j.item_dec(kline.volume);
        j.item_time(Timestamp::from_ms(kline.ts_close.as_ms().saturating_sub(1)));
        j.item_dec(kline.quote_volume);
        j.item_num(kline.trades);
        j.item_dec(kline.taker_buy_volume);
        j.item_dec(kline.taker_buy_quote);
        j.item_str("0");
    });
}

/// A public trade on REST.
pub(crate) fn write_trade(j: &mut Json, trade: &PublicTrade) {
    j.item_obj(|j| {
        j.num("id", trade.trade_id);
        j.dec("price", trade.price);
        j.dec("qty", trade.quantity);
        j.dec("quoteQty", trade.quote);
        j.time("time", trade.ts);
        j.bool("isBuyerMaker", trade.aggressor == Side::Sell);
        j.bool("isBestMatch", true);
    });
}
