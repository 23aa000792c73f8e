//! Answers of the REST and WebSocket APIs → model values, through borrowed structs; numbers go straight to exact decimals.
//!
//! Invariant: an answer that lacks what we need, or says it in a word we do not know, is an error; nothing is made up.
//! Unknown fields are ignored.

use super::super::symbols::SymbolTable;
use super::words;
use keel_model::ids::{InlineStr, Symbol};
use keel_model::instrument::{LotRule, PercentPriceRule};
use keel_model::{
    Asset, Balance, ClientOrderId, ExecType, ExecutionReport, Fill, Instrument, InstrumentId, InstrumentKind,
    Liquidity, Notional, OrderSnapshot, OrderStatus, Price, Quantity, SubmitAck, Timestamp, TradeId, VenueOrderId,
};
use serde::Deserialize;
use std::borrow::Cow;

/// An answer that could not be read: what is wrong with it.
pub type ReadError = String;

pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

pub(crate) fn price(text: &str) -> Result<Price, ReadError> {
    Price::parse_bytes(text.as_bytes()).map_err(|error| format!("price '{text}': {error}"))
}

pub(crate) fn quantity(text: &str) -> Result<Quantity, ReadError> {
    Quantity::parse_bytes(text.as_bytes()).map_err(|error| format!("quantity '{text}': {error}"))
}

pub(crate) fn notional(text: &str) -> Result<Notional, ReadError> {
    text.parse().map_err(|error| format!("amount '{text}': {error}"))
}

pub(crate) fn asset(text: &str) -> Result<Asset, ReadError> {
    Asset::new(text).map_err(|error| error.to_string())
}

/// A price where zero means that there is none.
pub(crate) fn optional_price(text: Option<&str>) -> Result<Option<Price>, ReadError> {
    Ok(text.map(price).transpose()?.filter(|price| !price.is_zero()))
}

pub(crate) fn ours(text: &str) -> Option<ClientOrderId> {
    text.parse().ok()
}

pub(crate) fn venue_order_id(id: i64) -> VenueOrderId {
    InlineStr::truncated(&id.to_string())
}

/// The venue's time: milliseconds, or microseconds where they were asked for; nothing below zero.
pub(crate) fn time(value: i64) -> Timestamp {
    super::decode::venue_time(u64::try_from(value).unwrap_or_default())
}

/// `GET /api/v3/time`
pub fn server_time(body: &[u8]) -> Result<Timestamp, ReadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        server_time: i64,
    }
    Ok(time(json::<Answer>(body)?.server_time))
}

/// A request or order limit, as `exchangeInfo` states it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// `REQUEST_WEIGHT`, `ORDERS` or `RAW_REQUESTS`.
    pub rate_limit_type: String,
    /// `SECOND`, `MINUTE` or `DAY`.
    pub interval: String,
    /// How many of them.
    pub interval_num: u64,
    /// The most within that time.
    pub limit: u64,
}

/// `GET /api/v3/exchangeInfo`: instruments that are spot, and the limits. Symbols that cannot be read are left out and named.
#[derive(Debug, Default)]
pub struct ExchangeInfo {
    /// The instruments, ids not yet given.
    pub instruments: Vec<Instrument>,
    /// The limits.
    pub rate_limits: Vec<RateLimit>,
    /// Symbols that were left out, and why.
    pub skipped: Vec<(String, ReadError)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SymbolInfo<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    base_asset: Cow<'a, str>,
    #[serde(borrow)]
    quote_asset: Cow<'a, str>,
    #[serde(default = "yes")]
    is_spot_trading_allowed: bool,
    #[serde(default)]
    filters: Vec<FilterInfo<'a>>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct FilterInfo<'a> {
    #[serde(borrow)]
    filter_type: Cow<'a, str>,
    #[serde(borrow)]
    min_price: Option<Cow<'a, str>>,
    #[serde(borrow)]
    max_price: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    min_qty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    max_qty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    min_notional: Option<Cow<'a, str>>,
    #[serde(borrow)]
    max_notional: Option<Cow<'a, str>>,
    apply_to_market: Option<bool>,
    apply_min_to_market: Option<bool>,
    #[serde(borrow)]
    multiplier_up: Option<Cow<'a, str>>,
    #[serde(borrow)]
    multiplier_down: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bid_multiplier_up: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bid_multiplier_down: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ask_multiplier_up: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ask_multiplier_down: Option<Cow<'a, str>>,
    max_num_orders: Option<u32>,
    max_num_algo_orders: Option<u32>,
}

/// Reads `GET /api/v3/exchangeInfo`.
pub fn exchange_info(body: &[u8]) -> Result<ExchangeInfo, ReadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        #[serde(default)]
        rate_limits: Vec<RateLimit>,
        #[serde(borrow)]
        symbols: Vec<SymbolInfo<'a>>,
    }
    let answer: Answer<'_> = json(body)?;
    let mut info = ExchangeInfo { rate_limits: answer.rate_limits, ..ExchangeInfo::default() };
    for symbol in answer.symbols.iter().filter(|symbol| symbol.is_spot_trading_allowed) {
        match instrument(symbol) {
            Ok(instrument) => info.instruments.push(instrument),
            Err(error) => info.skipped.push((symbol.symbol.to_string(), error)),
        }
    }
    Ok(info)
}

fn instrument(info: &SymbolInfo<'_>) -> Result<Instrument, ReadError> {
    let mut instrument = Instrument {
        id: InstrumentId(0),
        symbol: Symbol::new(&info.symbol).map_err(|error| error.to_string())?,
        base: asset(&info.base_asset)?,
        quote: asset(&info.quote_asset)?,
        kind: InstrumentKind::Spot,
        status: words::instrument_status(&info.status),
        tick_size: Price::ZERO,
        min_price: Price::ZERO,
        max_price: Price::ZERO,
        lot: LotRule::default(),
        market_lot: LotRule::default(),
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: false,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    };
    for filter in &info.filters {
        apply_filter(&mut instrument, filter)?;
    }
    Ok(instrument)
}

fn apply_filter(instrument: &mut Instrument, filter: &FilterInfo<'_>) -> Result<(), ReadError> {
    // Rules are kept without the padding zeros, so that prices and quantities take the scale of their step.
    let price_of = |text: &Option<Cow<'_, str>>| price(text.as_deref().unwrap_or("0")).map(Price::normalized);
    let quantity_of = |text: &Option<Cow<'_, str>>| quantity(text.as_deref().unwrap_or("0")).map(Quantity::normalized);
    let lot = || -> Result<LotRule, ReadError> {
        Ok(LotRule {
            min: quantity_of(&filter.min_qty)?,
            max: quantity_of(&filter.max_qty)?,
            step: quantity_of(&filter.step_size)?,
        })
    };
    match filter.filter_type.as_ref() {
        "PRICE_FILTER" => {
            instrument.tick_size = price_of(&filter.tick_size)?;
            instrument.min_price = price_of(&filter.min_price)?;
            instrument.max_price = price_of(&filter.max_price)?;
        }
        "LOT_SIZE" => instrument.lot = lot()?,
        "MARKET_LOT_SIZE" => instrument.market_lot = lot()?,
        "MIN_NOTIONAL" => {
            instrument.min_notional = notional(filter.min_notional.as_deref().unwrap_or("0"))?.normalized();
            instrument.min_notional_applies_to_market = filter.apply_to_market.unwrap_or_default();
        }
        "NOTIONAL" => {
            instrument.min_notional = notional(filter.min_notional.as_deref().unwrap_or("0"))?.normalized();
            instrument.min_notional_applies_to_market = filter.apply_min_to_market.unwrap_or_default();
            instrument.max_notional =
                filter.max_notional.as_deref().map(notional).transpose()?.map(Notional::normalized);
        }
        "PERCENT_PRICE" => {
            let (up, down) = (quantity_of(&filter.multiplier_up)?, quantity_of(&filter.multiplier_down)?);
            let rule = PercentPriceRule { bid_up: up, bid_down: down, ask_up: up, ask_down: down };
            instrument.percent_price = Some(rule);
        }
        "PERCENT_PRICE_BY_SIDE" => {
            instrument.percent_price = Some(PercentPriceRule {
                bid_up: quantity_of(&filter.bid_multiplier_up)?,
                bid_down: quantity_of(&filter.bid_multiplier_down)?,
                ask_up: quantity_of(&filter.ask_multiplier_up)?,
                ask_down: quantity_of(&filter.ask_multiplier_down)?,
            });
        }
        "MAX_NUM_ORDERS" => instrument.max_open_orders = filter.max_num_orders.unwrap_or_default(),
        "MAX_NUM_ALGO_ORDERS" => instrument.max_open_algo_orders = filter.max_num_algo_orders.unwrap_or_default(),
        _ => {}
    }
    Ok(())
}

/// `GET /api/v3/account`: balances that are not zero, and the venue's time of the last change.
pub fn account(body: &[u8]) -> Result<(Vec<Balance>, Timestamp), ReadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        #[serde(default)]
        update_time: i64,
        #[serde(borrow)]
        balances: Vec<Line<'a>>,
    }
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        asset: Cow<'a, str>,
        #[serde(borrow)]
        free: Cow<'a, str>,
        #[serde(borrow)]
        locked: Cow<'a, str>,
    }
    let answer: Answer<'_> = json(body)?;
    let mut balances = Vec::new();
    for line in answer.balances {
        let (free, locked) = (notional(&line.free)?, notional(&line.locked)?);
        if !free.is_zero() || !locked.is_zero() {
            balances.push(Balance { asset: asset(&line.asset)?, free, locked });
        }
    }
    Ok((balances, time(answer.update_time)))
}

/// One order, as it stands in the answers to placements, cancels and questions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderBody<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    pub(crate) order_id: i64,
    #[serde(borrow, default)]
    client_order_id: Cow<'a, str>,
    /// In answers to cancels, the id of the order; `client_order_id` is then that of the cancel.
    #[serde(borrow, default)]
    orig_client_order_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    price: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    orig_qty: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    executed_qty: Option<Cow<'a, str>>,
    // The venue's own spelling.
    #[serde(borrow, default, rename = "cummulativeQuoteQty")]
    cumulative_quote_qty: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    time_in_force: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    order_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    side: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stop_price: Option<Cow<'a, str>>,
    #[serde(default)]
    update_time: Option<i64>,
    #[serde(default)]
    transact_time: Option<i64>,
    #[serde(default)]
    time: Option<i64>,
    #[serde(borrow, default)]
    fills: Vec<FillBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FillBody<'a> {
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    qty: Cow<'a, str>,
    #[serde(borrow, default)]
    commission: Cow<'a, str>,
    #[serde(borrow, default)]
    commission_asset: Option<Cow<'a, str>>,
    trade_id: i64,
}

impl OrderBody<'_> {
    fn ts_event(&self) -> Timestamp {
        time(self.update_time.or(self.transact_time).or(self.time).unwrap_or_default())
    }

    pub(crate) fn our_id(&self) -> Option<ClientOrderId> {
        let original = self.orig_client_order_id.as_deref().filter(|text| !text.is_empty());
        ours(original.unwrap_or(&self.client_order_id))
    }

    fn snapshot(&self, symbols: &SymbolTable) -> Result<OrderSnapshot, ReadError> {
        let missing = |field: &str| format!("order without '{field}'");
        let status = self.status.as_deref().ok_or_else(|| missing("status"))?;
        let side = self.side.as_deref().ok_or_else(|| missing("side"))?;
        let quantity_text = self.orig_qty.as_deref().ok_or_else(|| missing("origQty"))?;
        Ok(OrderSnapshot {
            client_order_id: self.our_id(),
            venue_order_id: venue_order_id(self.order_id),
            instrument: known(&self.symbol, symbols)?,
            side: words::side(side).ok_or_else(|| format!("unknown side '{side}'"))?,
            order_type: self.order_type.as_deref().and_then(words::order_type),
            time_in_force: self.time_in_force.as_deref().and_then(words::time_in_force),
            status: words::order_status(status).ok_or_else(|| format!("unknown order status '{status}'"))?,
            quantity: quantity(quantity_text)?,
            price: optional_price(self.price.as_deref())?,
            stop_price: optional_price(self.stop_price.as_deref())?,
            cum_quantity: quantity(self.executed_qty.as_deref().ok_or_else(|| missing("executedQty"))?)?,
            // The venue writes a negative value where it does not know (very old orders).
            cum_quote: self
                .cumulative_quote_qty
                .as_deref()
                .map(notional)
                .transpose()?
                .filter(|value| !value.is_negative()),
            ts_event: self.ts_event(),
        })
    }
}

pub(crate) fn known(symbol: &str, symbols: &SymbolTable) -> Result<InstrumentId, ReadError> {
    symbols.get(symbol.as_bytes()).ok_or_else(|| format!("symbol '{symbol}' is not among the instruments of this run"))
}

/// `GET /api/v3/order` and the answer of a cancel.
pub fn order(body: &[u8], symbols: &SymbolTable) -> Result<OrderSnapshot, ReadError> {
    json::<OrderBody<'_>>(body)?.snapshot(symbols)
}

/// `GET /api/v3/openOrders`, `GET /api/v3/allOrders`. Orders of instruments that are not of this run are left out.
pub fn orders(body: &[u8], symbols: &SymbolTable) -> Result<Vec<OrderSnapshot>, ReadError> {
    let list: Vec<OrderBody<'_>> = json(body)?;
    let known = list.iter().filter(|order| symbols.get(order.symbol.as_bytes()).is_some());
    known.map(|order| order.snapshot(symbols)).collect()
}

/// The answer of a placement.
pub fn submit_ack(body: &[u8], symbols: &SymbolTable, ts_recv: Timestamp) -> Result<SubmitAck, ReadError> {
    ack(&json::<OrderBody<'_>>(body)?, symbols, ts_recv)
}

fn ack(order: &OrderBody<'_>, symbols: &SymbolTable, ts_recv: Timestamp) -> Result<SubmitAck, ReadError> {
    let venue_order_id = venue_order_id(order.order_id);
    let ts_event = order.ts_event();
    // With newOrderRespType=ACK there is no status: the order was accepted, no more is known.
    let Some(status) = order.status.as_deref() else {
        return Ok(SubmitAck { venue_order_id, ts_event, status: OrderStatus::New, reports: Vec::new() });
    };
    let status = words::order_status(status).ok_or_else(|| format!("unknown order status '{status}'"))?;
    let mut reports = Vec::with_capacity(order.fills.len());
    if !order.fills.is_empty() {
        let end = order.snapshot(symbols)?;
        let mut cum_quantity = Quantity::ZERO;
        for fill in &order.fills {
            let fill = fill_of(fill, &end, ts_event)?;
            cum_quantity = cum_quantity.checked_add(fill.quantity).map_err(|error| error.to_string())?;
            let is_last = cum_quantity >= end.cum_quantity;
            reports.push(ExecutionReport {
                exec_type: ExecType::Trade,
                client_order_id: end.client_order_id,
                venue_order_id,
                instrument: end.instrument,
                side: end.side,
                status: if is_last { status } else { OrderStatus::PartiallyFilled },
                quantity: end.quantity,
                price: end.price,
                cum_quantity,
                fill: Some(fill),
                ts_event,
                ts_recv,
                text: InlineStr::EMPTY,
            });
        }
    }
    Ok(SubmitAck { venue_order_id, ts_event, status, reports })
}

fn fill_of(fill: &FillBody<'_>, order: &OrderSnapshot, ts_event: Timestamp) -> Result<Fill, ReadError> {
    Ok(Fill {
        trade_id: TradeId::truncated(&fill.trade_id.to_string()),
        instrument: order.instrument,
        side: order.side,
        price: price(&fill.price)?,
        quantity: quantity(&fill.qty)?,
        fee: if fill.commission.is_empty() { Notional::ZERO } else { notional(&fill.commission)? },
        fee_asset: asset(fill.commission_asset.as_deref().unwrap_or_default())?,
        // What fills within the answer to its placement took liquidity.
        liquidity: Liquidity::Taker,
        ts_event,
    })
}

/// `GET /api/v3/myTrades`: venue order id, numeric trade id and fill, oldest first.
pub fn my_trades(body: &[u8], symbols: &SymbolTable) -> Result<Vec<(i64, i64, Fill)>, ReadError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        #[serde(borrow)]
        symbol: Cow<'a, str>,
        id: i64,
        order_id: i64,
        #[serde(borrow)]
        price: Cow<'a, str>,
        #[serde(borrow)]
        qty: Cow<'a, str>,
        #[serde(borrow)]
        commission: Cow<'a, str>,
        #[serde(borrow)]
        commission_asset: Cow<'a, str>,
        time: i64,
        is_buyer: bool,
        is_maker: bool,
    }
    let lines: Vec<Line<'_>> = json(body)?;
    let mut trades = Vec::with_capacity(lines.len());
    for line in &lines {
        let fill = Fill {
            trade_id: TradeId::truncated(&line.id.to_string()),
            instrument: known(&line.symbol, symbols)?,
            side: if keel_model::mutant!(68, line.is_buyer, !line.is_buyer) {
                keel_model::Side::Buy
            } else {
                keel_model::Side::Sell
            },
            price: price(&line.price)?,
            quantity: quantity(&line.qty)?,
            fee: notional(&line.commission)?,
            fee_asset: asset(&line.commission_asset)?,
            liquidity: if line.is_maker { Liquidity::Maker } else { Liquidity::Taker },
            ts_event: time(line.time),
        };
        trades.push((line.order_id, line.id, fill));
    }
    trades.sort_by_key(|(_, id, _)| *id);
    Ok(trades)
}

/// `(venue order id, our id)` of every order of ours in an answer of `GET /api/v3/allOrders`.
pub fn order_ids(body: &[u8]) -> Result<Vec<(i64, Option<ClientOrderId>)>, ReadError> {
    let list: Vec<OrderBody<'_>> = json(body)?;
    Ok(list.iter().map(|order| (order.order_id, order.our_id())).collect())
}

#[cfg(test)]
mod tests;
