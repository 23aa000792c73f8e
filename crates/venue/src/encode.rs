//! Market and account events and order objects as Binance writes them.

use crate::json::{Decimal, Json, TimeUnit};
use crate::words;
use keel_model::{Balance, ExecType, Level, Notional, OrderType, Price, Quantity, Rounding, Side, Timestamp};
use keel_sim::{
    AccountTrade, BalanceUpdate, BookTicker, ExecReport, Kline, ListReport, OrderListView, OrderView, PublicTrade,
    StpMode, Ticker24h,
};

/// The labels that a client put on an order and that the engine does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrderLabels {
    /// `strategyId`.
    pub(crate) strategy_id: Option<u64>,
    /// `strategyType`.
    pub(crate) strategy_type: Option<u64>,
}

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

pub(crate) fn list_id(id: Option<u64>) -> i128 {
    id.map_or(-1, i128::from)
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

/// Figures of a window, whatever its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) ts_open: Timestamp,
    pub(crate) ts_close: Timestamp,
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) last: Price,
    pub(crate) volume: Quantity,
    pub(crate) quote_volume: Notional,
    pub(crate) trades: u64,
    pub(crate) first_id: Option<u64>,
    pub(crate) last_id: Option<u64>,
}

impl Figures {
    /// Of the last 24 hours.
    pub(crate) fn of_day(day: &Ticker24h) -> Self {
        Self {
            ts_open: day.ts_open,
            ts_close: day.ts_close,
            open: day.open,
            high: day.high,
            low: day.low,
            last: day.last,
            volume: day.volume,
            quote_volume: day.quote_volume,
            trades: day.trades,
            first_id: day.first_trade_id,
            last_id: day.last_trade_id,
        }
    }

    /// Of candles, oldest first; `None` when there are none.
    pub(crate) fn of_klines(klines: &[Kline], ts_close: Timestamp) -> Option<Self> {
        let (first, last) = (klines.first()?, klines.last()?);
        let mut figures = Self {
            ts_open: first.ts_open,
            ts_close,
            open: first.open,
            high: first.high,
            low: first.low,
            last: last.close,
            volume: Quantity::ZERO,
            quote_volume: Notional::ZERO,
            trades: 0,
            first_id: klines.iter().find_map(|kline| kline.first_trade_id),
            last_id: klines.iter().rev().find_map(|kline| kline.last_trade_id),
        };
        for kline in klines {
            figures.high = figures.high.max(kline.high);
            figures.low = figures.low.min(kline.low);
            figures.volume = figures.volume.checked_add(kline.volume).ok()?;
            figures.quote_volume = figures.quote_volume.checked_add(kline.quote_volume).ok()?;
            figures.trades += kline.trades;
        }
        Some(figures)
    }

    /// Change of the price.
    pub(crate) fn change(&self) -> Price {
        self.last.checked_sub(self.open).unwrap_or(Price::ZERO)
    }

    /// Change of the price in percent, with three places.
    pub(crate) fn change_percent(&self) -> String {
        let percent = || -> Option<Notional> {
            let change = self.change();
            let change = Notional::of(change, Quantity::from_int(100));
            let open = Quantity::new(self.open.mantissa(), self.open.scale()).ok()?;
            change.mul_div(Quantity::from_int(1), open, 3).ok()
        };
        percent().map_or_else(|| "0.000".to_owned(), |value| value.to_string())
    }

    /// Volume-weighted average price.
    pub(crate) fn average(&self) -> Price {
        let average = || self.quote_volume.mul_div(Quantity::from_int(1), self.volume, 8).ok();
        let price = average().and_then(|value| Price::new(i64::try_from(value.mantissa()).ok()?, 8).ok());
        price.unwrap_or(self.last)
    }

    fn ids(&self) -> (i128, i128) {
        (self.first_id.map_or(-1, i128::from), self.last_id.map_or(-1, i128::from))
    }

    /// The members of the short form on REST.
    pub(crate) fn write_mini(&self, j: &mut Json) {
        j.dec("openPrice", self.open);
        j.dec("highPrice", self.high);
        j.dec("lowPrice", self.low);
        j.dec("lastPrice", self.last);
        j.dec("volume", self.volume);
        j.dec("quoteVolume", self.quote_volume);
        self.write_rest_tail(j);
    }

    /// The members that end every REST form.
    pub(crate) fn write_rest_tail(&self, j: &mut Json) {
        let (first, last) = self.ids();
        j.time("openTime", self.ts_open);
        j.time("closeTime", self.ts_close);
        j.num("firstId", first);
        j.num("lastId", last);
        j.num("count", self.trades);
    }

    /// The members that begin every full REST form.
    pub(crate) fn write_rest_head(&self, j: &mut Json) {
        j.dec("priceChange", self.change());
        j.str("priceChangePercent", &self.change_percent());
        j.dec("weightedAvgPrice", self.average());
    }

    /// The members that end every stream form.
    pub(crate) fn write_stream_tail(&self, j: &mut Json) {
        let (first, last) = self.ids();
        j.dec("o", self.open);
        j.dec("h", self.high);
        j.dec("l", self.low);
        j.dec("v", self.volume);
        j.dec("q", self.quote_volume);
        j.time("O", self.ts_open);
        j.time("C", self.ts_close);
        j.num("F", first);
        j.num("L", last);
        j.num("n", self.trades);
    }
}

/// `24hrMiniTicker`.
pub(crate) fn mini_ticker_event(unit: TimeUnit, symbol: &str, now: Timestamp, day: &Ticker24h) -> String {
    Json::object(unit, |j| {
        j.str("e", "24hrMiniTicker");
        j.time("E", now);
        j.str("s", symbol);
        j.dec("c", day.last);
        j.dec("o", day.open);
        j.dec("h", day.high);
        j.dec("l", day.low);
        j.dec("v", day.volume);
        j.dec("q", day.quote_volume);
    })
}

/// `24hrTicker`.
pub(crate) fn ticker_event(unit: TimeUnit, symbol: &str, now: Timestamp, day: &Ticker24h) -> String {
    let figures = Figures::of_day(day);
    Json::object(unit, |j| {
        j.str("e", "24hrTicker");
        j.time("E", now);
        j.str("s", symbol);
        j.dec("p", figures.change());
        j.str("P", &figures.change_percent());
        j.dec("w", figures.average());
        j.dec("x", day.previous_close);
        j.dec("c", day.last);
        j.dec("Q", day.last_quantity);
        j.dec("b", day.bid.price);
        j.dec("B", day.bid.quantity);
        j.dec("a", day.ask.price);
        j.dec("A", day.ask.quantity);
        figures.write_stream_tail(j);
    })
}

/// `1hTicker` and the like.
pub(crate) fn rolling_event(unit: TimeUnit, event: &str, symbol: &str, now: Timestamp, figures: &Figures) -> String {
    Json::object(unit, |j| {
        j.str("e", event);
        j.time("E", now);
        j.str("s", symbol);
        j.dec("p", figures.change());
        j.str("P", &figures.change_percent());
        j.dec("w", figures.average());
        j.dec("c", figures.last);
        figures.write_stream_tail(j);
    })
}

/// `avgPrice`.
pub(crate) fn avg_price_event(unit: TimeUnit, symbol: &str, now: Timestamp, price: Price, last: Timestamp) -> String {
    Json::object(unit, |j| {
        j.str("e", "avgPrice");
        j.time("E", now);
        j.str("s", symbol);
        j.str("i", "5m");
        j.dec("w", price);
        j.time("T", last);
    })
}

/// A fee without more zeros than it needs: `"0"` for nothing, as the real venue writes it.
fn fee_text(fee: Notional) -> String {
    if fee.is_zero() {
        return "0".to_owned();
    }
    crate::json::decimal_text(fee)
}

/// `executionReport`. `r` tells orders that were refused after they were triggered.
pub(crate) fn execution_report(unit: TimeUnit, symbol: &str, report: &ExecReport, labels: OrderLabels) -> String {
    let order = &report.order;
    // A cancel has an id of its own; the order's id is then the original one.
    let is_cancel = matches!(report.exec_type, ExecType::Canceled | ExecType::Replaced);
    let (id, original) = if is_cancel && !report.request_client_id.is_empty() {
        (report.request_client_id.as_str(), order.client_order_id.as_str())
    } else {
        (order.client_order_id.as_str(), "")
    };
    Json::object(unit, |j| {
        j.str("e", "executionReport");
        j.time("E", report.ts_transact);
        j.str("s", symbol);
        j.str("c", id);
        j.str("S", words::side_word(order.side));
        j.str("o", words::order_type_word(order.order_type));
        j.str("f", words::time_in_force_word(order.time_in_force));
        j.dec("q", order.quantity);
        j.dec("p", order.price);
        j.dec("P", order.stop_price);
        j.dec("F", Quantity::ZERO);
        j.num("g", list_id(order.list_id));
        j.str("C", original);
        j.str("x", words::exec_type_word(report.exec_type));
        j.str("X", words::state_word(order.state));
        j.str("r", "NONE");
        j.num("i", order.order_id);
        j.dec("l", report.last_quantity);
        j.dec("z", order.cum_quantity);
        j.dec("L", report.last_price);
        j.str("n", &fee_text(report.fee));
        match report.fee_asset {
            Some(asset) => j.str("N", asset.as_str()),
            None => j.null("N"),
        }
        j.time("T", report.ts_transact);
        j.num("t", list_id(report.trade_id));
        write_report_conditionals(j, symbol, report, labels);
        j.num("I", report.execution_id);
        j.bool("w", report.is_on_book);
        j.bool("m", report.is_maker);
        j.bool("M", report.trade_id.is_some());
        j.time("O", order.ts_created);
        j.dec("Z", order.cum_quote);
        j.dec("Y", report.last_quote);
        j.dec("Q", order.quote_quantity);
        if order.ts_working > Timestamp::ZERO {
            j.time("W", order.ts_working);
        }
        j.str("V", words::stp_word(order.stp_mode));
        if let Some(reason) = words::expiry_word(order.expiry_reason) {
            j.str("eR", reason);
        }
    })
}

fn write_report_conditionals(j: &mut Json, symbol: &str, report: &ExecReport, labels: OrderLabels) {
    if let Some(id) = labels.strategy_id {
        j.num("j", id);
    }
    if let Some(kind) = labels.strategy_type {
        j.num("J", kind);
    }
    if let Some(id) = report.prevented_match_id {
        j.num("v", id);
        j.dec("A", report.order.prevented_quantity);
        j.dec("B", report.last_prevented_quantity);
        j.num("u", id);
        if let Some(counter) = report.counter_order_id {
            j.num("U", counter);
        }
        j.str("Cs", symbol);
        j.dec("pl", report.last_prevented_quantity);
        j.dec("pL", report.prevented_price);
        let value = Notional::of(report.prevented_price, report.last_prevented_quantity);
        j.dec("pY", value.round(8, Rounding::HalfUp).unwrap_or(value));
    }
}

fn write_balance(j: &mut Json, balance: &Balance) {
    j.item_obj(|j| {
        j.str("a", balance.asset.as_str());
        j.dec("f", balance.free);
        j.dec("l", balance.locked);
    });
}

/// `outboundAccountPosition` after a request.
pub(crate) fn account_position(unit: TimeUnit, update: &BalanceUpdate) -> String {
    account_position_of(unit, update.ts, &[update.base, update.quote])
}

/// `outboundAccountPosition`.
pub(crate) fn account_position_of(unit: TimeUnit, ts: Timestamp, balances: &[Balance]) -> String {
    Json::object(unit, |j| {
        j.str("e", "outboundAccountPosition");
        j.time("E", ts);
        j.time("u", ts);
        j.arr("B", |j| balances.iter().for_each(|balance| write_balance(j, balance)));
    })
}

/// `balanceUpdate`.
pub(crate) fn balance_update(unit: TimeUnit, ts: Timestamp, asset: &str, delta: Notional) -> String {
    Json::object(unit, |j| {
        j.str("e", "balanceUpdate");
        j.time("E", ts);
        j.str("a", asset);
        j.dec("d", delta);
        j.time("T", ts);
    })
}

/// `listStatus`.
pub(crate) fn list_status(unit: TimeUnit, symbol: &str, report: &ListReport) -> String {
    let list = &report.list;
    let (status, orders) = words::list_words(list.status);
    Json::object(unit, |j| {
        j.str("e", "listStatus");
        j.time("E", list.ts_transact);
        j.str("s", symbol);
        j.num("g", list.list_id);
        j.str("c", "OCO");
        j.str("l", status);
        j.str("L", orders);
        j.str("r", "NONE");
        j.str("C", list.list_client_order_id.as_str());
        j.time("T", list.ts_transact);
        j.arr("O", |j| {
            for (id, client_id) in &list.orders {
                j.item_obj(|j| {
                    j.str("s", symbol);
                    j.num("i", *id);
                    j.str("c", client_id.as_str());
                });
            }
        });
    })
}

/// The members of an order list, without reports.
pub(crate) fn write_list(j: &mut Json, symbol: &str, list: &OrderListView) {
    let (status, orders) = words::list_words(list.status);
    j.num("orderListId", list.list_id);
    j.str("contingencyType", "OCO");
    j.str("listStatusType", status);
    j.str("listOrderStatus", orders);
    j.str("listClientOrderId", list.list_client_order_id.as_str());
    j.time("transactionTime", list.ts_transact);
    j.str("symbol", symbol);
    j.arr("orders", |j| {
        for (id, client_id) in &list.orders {
            j.item_obj(|j| {
                j.str("symbol", symbol);
                j.num("orderId", *id);
                j.str("clientOrderId", client_id.as_str());
            });
        }
    });
}

/// How much a placement's answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResponseType {
    /// Ids and time.
    Ack,
    /// The order too.
    Result,
    /// And its fills.
    Full,
}

/// The members of a placement's answer.
pub(crate) fn write_placed(
    j: &mut Json,
    symbol: &str,
    order: &OrderView,
    fills: &[ExecReport],
    labels: OrderLabels,
    response: ResponseType,
) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", order.client_order_id.as_str());
    j.time("transactTime", order.ts_updated);
    if response == ResponseType::Ack {
        return;
    }
    write_body(j, order);
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    } else {
        j.num("workingTime", -1);
    }
    write_tail(j, order, labels);
    if response == ResponseType::Full {
        j.arr("fills", |j| {
            for fill in fills {
                j.item_obj(|j| {
                    j.dec("price", fill.last_price);
                    j.dec("qty", fill.last_quantity);
                    j.dec("commission", fill.fee);
                    j.str("commissionAsset", fill.fee_asset.unwrap_or_default().as_str());
                    j.num("tradeId", fill.trade_id.unwrap_or_default());
                });
            }
        });
    }
}

/// The members of a cancel's answer. `cancel_id` is the id of the cancel itself.
pub(crate) fn write_canceled(j: &mut Json, symbol: &str, order: &OrderView, cancel_id: &str, labels: OrderLabels) {
    j.str("symbol", symbol);
    j.str("origClientOrderId", order.client_order_id.as_str());
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", cancel_id);
    j.time("transactTime", order.ts_updated);
    write_body(j, order);
    write_tail(j, order, labels);
}

/// The members of an order as queries show it.
pub(crate) fn write_queried(j: &mut Json, symbol: &str, order: &OrderView, labels: OrderLabels) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("clientOrderId", order.client_order_id.as_str());
    j.dec("price", order.price);
    j.dec("origQty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("cummulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
    j.dec("stopPrice", order.stop_price);
    j.dec("icebergQty", Quantity::ZERO);
    j.time("time", order.ts_created);
    j.time("updateTime", order.ts_updated);
    j.bool("isWorking", order.is_working);
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    } else {
        j.num("workingTime", -1);
    }
    j.dec("origQuoteOrderQty", order.quote_quantity);
    write_conditionals(j, order, labels, false);
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

fn write_body(j: &mut Json, order: &OrderView) {
    j.dec("price", order.price);
    j.dec("origQty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("origQuoteOrderQty", order.quote_quantity);
    j.dec("cummulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
}

fn write_tail(j: &mut Json, order: &OrderView, labels: OrderLabels) {
    write_conditionals(j, order, labels, order.order_type.has_stop_price());
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

fn write_conditionals(j: &mut Json, order: &OrderView, labels: OrderLabels, with_stop: bool) {
    if with_stop {
        j.dec("stopPrice", order.stop_price);
    }
    if let Some(id) = labels.strategy_id {
        j.num("strategyId", id);
    }
    if let Some(kind) = labels.strategy_type {
        j.num("strategyType", kind);
    }
    if order.prevented_quantity.is_positive() {
        j.dec("preventedQuantity", order.prevented_quantity);
    }
    if let Some(reason) = words::expiry_word(order.expiry_reason) {
        j.str("expiryReason", reason);
    }
}

/// An order after an amendment.
pub(crate) fn write_amended(j: &mut Json, symbol: &str, order: &OrderView, original_id: &str) {
    j.str("symbol", symbol);
    j.num("orderId", order.order_id);
    j.num("orderListId", list_id(order.list_id));
    j.str("origClientOrderId", original_id);
    j.str("clientOrderId", order.client_order_id.as_str());
    j.dec("price", order.price);
    j.dec("qty", order.quantity);
    j.dec("executedQty", order.cum_quantity);
    j.dec("preventedQty", order.prevented_quantity);
    j.dec("quoteOrderQty", order.quote_quantity);
    j.dec("cumulativeQuoteQty", order.cum_quote);
    j.str("status", words::state_word(order.state));
    j.str("timeInForce", words::time_in_force_word(order.time_in_force));
    j.str("type", words::order_type_word(order.order_type));
    j.str("side", words::side_word(order.side));
    if order.ts_working > Timestamp::ZERO {
        j.time("workingTime", order.ts_working);
    }
    j.str("selfTradePreventionMode", words::stp_word(order.stp_mode));
}

/// A trade of an account.
pub(crate) fn write_my_trade(j: &mut Json, symbol: &str, trade: &AccountTrade) {
    j.item_obj(|j| {
        j.str("symbol", symbol);
        j.num("id", trade.trade_id);
        j.num("orderId", trade.order_id);
        j.num("orderListId", list_id(trade.list_id));
        j.dec("price", trade.price);
        j.dec("qty", trade.quantity);
        j.dec("quoteQty", trade.quote);
        j.dec("commission", trade.fee);
        j.str("commissionAsset", trade.fee_asset.as_str());
        j.time("time", trade.ts);
        j.bool("isBuyer", trade.side == Side::Buy);
        j.bool("isMaker", trade.is_maker);
        j.bool("isBestMatch", true);
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

/// Is this the first fill of its order?
pub(crate) fn is_first_fill(report: &ExecReport) -> bool {
    report.exec_type == ExecType::Trade && report.order.cum_quantity == report.last_quantity
}

/// Does the type answer with everything unless asked otherwise?
pub(crate) const fn default_response(order_type: OrderType) -> ResponseType {
    match order_type {
        OrderType::Market | OrderType::Limit => ResponseType::Full,
        _ => ResponseType::Ack,
    }
}

/// A rate with eight places.
pub(crate) fn rate_text(rate: impl Decimal) -> String {
    crate::json::decimal_text(rate)
}

/// Modes of self-trade prevention that symbols allow.
pub(crate) const STP_MODES: [StpMode; 5] =
    [StpMode::None, StpMode::ExpireMaker, StpMode::ExpireTaker, StpMode::ExpireBoth, StpMode::Decrement];
