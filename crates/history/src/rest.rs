//! REST: pages of bars, trades and funding, put into the same lines as the archives have, so that one reader decodes both.
//!
//! Invariants: a page that brings nothing new ends the paging, so it always ends; no bar that is still open is taken; numbers
//! are handed on digit by digit.

use crate::HistoryError;
use crate::limits::Weight;
use crate::request::{Kind, Market, Request};
use crate::transfer::Transfer;
use keel_catalogue::Span;
use keel_marketdata::Interval;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write;

/// The largest page that is read; unit: bytes.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Rows of a page: what every endpoint gives at most or more.
const PAGE_ROWS: usize = 1_000;
const MS: u64 = 1_000_000;
/// Futures answer aggregated trades by time within an hour only; unit: milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// The venue's code for a symbol that it does not have.
const INVALID_SYMBOL: &str = "-1121";

/// Addresses of the three markets' REST, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestBases {
    /// Spot.
    pub spot: String,
    /// USD-M futures.
    pub usdm: String,
    /// COIN-M futures.
    pub coinm: String,
}

impl Default for RestBases {
    /// The venue's public addresses.
    fn default() -> Self {
        Self {
            spot: "https://api.binance.com".to_owned(),
            usdm: "https://fapi.binance.com".to_owned(),
            coinm: "https://dapi.binance.com".to_owned(),
        }
    }
}

/// Headers of the archives.
const KLINES: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";
const AGG_TRADES: &str = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n";
const TRADES: &str = "id,price,qty,quote_qty,time,is_buyer_maker\n";
const FUNDING: &str = "calc_time,funding_interval_hours,last_funding_rate\n";

/// A trade of `historicalTrades`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trade {
    id: u64,
    price: String,
    qty: String,
    time: u64,
    is_buyer_maker: bool,
}

/// A trade of `aggTrades`.
#[derive(Deserialize)]
struct AggTrade {
    a: u64,
    p: String,
    q: String,
    f: u64,
    l: u64,
    #[serde(rename = "T")]
    time: u64,
    m: bool,
}

/// A payment of `fundingRate`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    funding_time: u64,
    funding_rate: String,
}

/// The REST of one venue.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    pub(crate) transfer: Transfer,
    pub(crate) bases: RestBases,
}

impl Rest {
    /// The lines of `span` in the form of the archives, times in milliseconds; the number of rows beside them.
    pub(crate) async fn lines(&self, request: &Request, span: Span) -> Result<(String, u64), HistoryError> {
        match request.kind {
            Kind::Klines(interval) => self.klines(request, interval, span).await,
            Kind::AggTrades => self.agg_trades(request, span).await,
            Kind::Trades => self.trades(request, span).await,
            Kind::Funding => self.funding(request, span).await,
            Kind::BookTicker => Err(HistoryError::Request("the venue's REST has no past book tickers".to_owned())),
        }
    }

    /// When the symbol's first day began; `None` when it has none. Unit: nanoseconds.
    pub(crate) async fn first_day_ns(&self, request: &Request) -> Result<Option<u64>, HistoryError> {
        let query = format!("symbol={}&interval=1d&startTime=0&limit=1", request.symbol);
        let page: Vec<Vec<Value>> = self.page(request, "klines", &query, 2).await?;
        Ok(page.first().and_then(|bar| bar.first()?.as_u64()).map(|ms| ms.saturating_mul(MS)))
    }

    async fn klines(&self, request: &Request, interval: Interval, span: Span) -> Result<(String, u64), HistoryError> {
        // REST writes the month with a capital letter.
        let word = if interval == Interval::Month { "1M".to_owned() } else { interval.to_string() };
        let weight = if request.market == Market::Spot { 2 } else { 5 };
        let (mut lines, mut rows) = (KLINES.to_owned(), 0);
        let (mut from_ms, to_ms) = (span.from_ns.div_ceil(MS), span.to_ns.div_ceil(MS));
        let now_ms = self.transfer.clock.now_ms();
        while from_ms < to_ms {
            let query = format!(
                "symbol={}&interval={word}&startTime={from_ms}&endTime={}&limit={PAGE_ROWS}",
                request.symbol,
                to_ms - 1
            );
            let page: Vec<Vec<Value>> = self.page(request, "klines", &query, weight).await?;
            let Some(last_ms) = page.last().and_then(|bar| bar.first()?.as_u64()) else { break };
            for bar in &page {
                let (open_ms, close_ms) = (number(bar, 0), number(bar, 6));
                let (Some(open_ms), Some(close_ms)) = (open_ms, close_ms) else {
                    return Err(self.unreadable(request, "klines", "a bar without its times"));
                };
                if open_ms < from_ms || open_ms >= to_ms || close_ms >= now_ms {
                    continue;
                }
                self.kline_line(request, &mut lines, bar)?;
                rows += 1;
            }
            if last_ms < from_ms || page.len() < PAGE_ROWS {
                break;
            }
            from_ms = last_ms + 1;
        }
        Ok((lines, rows))
    }

    fn kline_line(&self, request: &Request, lines: &mut String, bar: &[Value]) -> Result<(), HistoryError> {
        let mut is_good = bar.len() >= 12;
        for (at, value) in bar.iter().take(12).enumerate() {
            let separator = if at == 0 { "" } else { "," };
            let written = match value {
                Value::String(text) if is_decimal(text) => write!(lines, "{separator}{text}"),
                Value::Number(number) => write!(lines, "{separator}{number}"),
                _ => Err(std::fmt::Error),
            };
            is_good &= written.is_ok();
        }
        lines.push('\n');
        if is_good { Ok(()) } else { Err(self.unreadable(request, "klines", "a bar that is not twelve numbers")) }
    }

    async fn agg_trades(&self, request: &Request, span: Span) -> Result<(String, u64), HistoryError> {
        let (mut lines, mut rows) = (AGG_TRADES.to_owned(), 0);
        let to_ms = span.to_ns.div_ceil(MS);
        let mut page = self.first_agg_trades(request, span).await?;
        while let Some(last) = page.last() {
            let (next_id, last_ms) = (last.a + 1, last.time);
            for it in page.iter().filter(|it| it.time < to_ms) {
                let AggTrade { a, p, q, f, l, time, m } = it;
                if !is_decimal(p) || !is_decimal(q) {
                    return Err(self.unreadable(request, "aggTrades", "a price or quantity that is no number"));
                }
                lines.push_str(&format!("{a},{p},{q},{f},{l},{time},{m}\n"));
                rows += 1;
            }
            if last_ms >= to_ms {
                break;
            }
            let query = format!("symbol={}&fromId={next_id}&limit={PAGE_ROWS}", request.symbol);
            page = self.page(request, "aggTrades", &query, agg_weight(request.market)).await?;
            page.retain(|it| it.a >= next_id);
        }
        Ok((lines, rows))
    }

    /// The first page, by time; those after it go by number. Empty when there is nothing in the span.
    async fn first_agg_trades(&self, request: &Request, span: Span) -> Result<Vec<AggTrade>, HistoryError> {
        let (mut from_ms, to_ms) = (span.from_ns.div_ceil(MS), span.to_ns.div_ceil(MS));
        while from_ms < to_ms {
            let end_ms = (from_ms + HOUR_MS).min(to_ms);
            let query =
                format!("symbol={}&startTime={from_ms}&endTime={}&limit={PAGE_ROWS}", request.symbol, end_ms - 1);
            let mut page: Vec<AggTrade> = self.page(request, "aggTrades", &query, agg_weight(request.market)).await?;
            page.retain(|it| it.time >= from_ms);
            if !page.is_empty() {
                return Ok(page);
            }
            from_ms = end_ms;
        }
        Ok(Vec::new())
    }

    async fn trades(&self, request: &Request, span: Span) -> Result<(String, u64), HistoryError> {
        let (mut lines, mut rows) = (TRADES.to_owned(), 0);
        // Single trades are asked for by number only; the aggregated ones know the number of the first.
        let first = self.first_agg_trades(request, span).await?;
        let Some(mut next_id) = first.first().map(|it| it.f) else { return Ok((lines, rows)) };
        let (from_ms, to_ms) = (span.from_ns.div_ceil(MS), span.to_ns.div_ceil(MS));
        loop {
            let query = format!("symbol={}&fromId={next_id}&limit={PAGE_ROWS}", request.symbol);
            let mut page: Vec<Trade> = self.page(request, "historicalTrades", &query, 25).await?;
            let is_full = page.len() >= PAGE_ROWS;
            page.retain(|it| it.id >= next_id);
            let Some(last) = page.last() else { break };
            let is_last = last.time >= to_ms || !is_full;
            next_id = last.id + 1;
            for it in page.iter().filter(|it| (from_ms..to_ms).contains(&it.time)) {
                let Trade { id, price, qty, time, is_buyer_maker } = it;
                if !is_decimal(price) || !is_decimal(qty) {
                    return Err(self.unreadable(request, "historicalTrades", "a price or quantity that is no number"));
                }
                lines.push_str(&format!("{id},{price},{qty},0,{time},{is_buyer_maker}\n"));
                rows += 1;
            }
            if is_last {
                break;
            }
        }
        Ok((lines, rows))
    }

    async fn funding(&self, request: &Request, span: Span) -> Result<(String, u64), HistoryError> {
        let (mut lines, mut rows) = (FUNDING.to_owned(), 0);
        let (mut from_ms, to_ms) = (span.from_ns.div_ceil(MS), span.to_ns.div_ceil(MS));
        while from_ms < to_ms {
            let query =
                format!("symbol={}&startTime={from_ms}&endTime={}&limit={PAGE_ROWS}", request.symbol, to_ms - 1);
            let page: Vec<Payment> = self.page(request, "fundingRate", &query, 1).await?;
            let Some(last_ms) = page.last().map(|it| it.funding_time) else { break };
            for it in page.iter().filter(|it| (from_ms..to_ms).contains(&it.funding_time)) {
                if !is_decimal(&it.funding_rate) {
                    return Err(self.unreadable(request, "fundingRate", "a rate that is no number"));
                }
                // The middle column is the hours of the period, which REST does not say; nobody reads it.
                lines.push_str(&format!("{},0,{}\n", it.funding_time, it.funding_rate));
                rows += 1;
            }
            if last_ms < from_ms || page.len() < PAGE_ROWS {
                break;
            }
            from_ms = last_ms + 1;
        }
        Ok((lines, rows))
    }

    async fn page<T: DeserializeOwned>(
        &self,
        request: &Request,
        endpoint: &'static str,
        query: &str,
        weight: u64,
    ) -> Result<T, HistoryError> {
        let url = format!("{}?{query}", self.url(request, endpoint));
        let weight = Weight { market: request.market, weight };
        let body = match self.transfer.small(&url, Some(weight), PAGE_BYTES_MAX).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                return Err(HistoryError::Refused { url, status: 404, text: "there is no such endpoint".to_owned() });
            }
            Err(HistoryError::Refused { status: 400, text, .. }) if text.contains(INVALID_SYMBOL) => {
                let symbol = request.symbol.clone();
                return Err(HistoryError::UnknownSymbol { market: request.market.as_str(), symbol });
            }
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&body).map_err(|error| HistoryError::Unreadable { url, cause: error.to_string() })
    }

    fn url(&self, request: &Request, endpoint: &str) -> String {
        match request.market {
            Market::Spot => format!("{}/api/v3/{endpoint}", self.bases.spot),
            Market::Usdm => format!("{}/fapi/v1/{endpoint}", self.bases.usdm),
            Market::Coinm => format!("{}/dapi/v1/{endpoint}", self.bases.coinm),
        }
    }

    fn unreadable(&self, request: &Request, endpoint: &str, cause: &str) -> HistoryError {
        HistoryError::Unreadable { url: self.url(request, endpoint), cause: cause.to_owned() }
    }
}

const fn agg_weight(market: Market) -> u64 {
    match market {
        Market::Spot => 4,
        Market::Usdm | Market::Coinm => 20,
    }
}

fn number(bar: &[Value], at: usize) -> Option<u64> {
    bar.get(at)?.as_u64()
}

/// Digits, a point, a sign: nothing that could end a field or a line.
fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}
