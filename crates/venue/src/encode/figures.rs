//! Figures of a window of time: tickers of 24 hours and other windows, average price.

use crate::json::{Json, TimeUnit};
use keel_model::{Notional, Price, Quantity, Timestamp};
use keel_sim::{Kline, Ticker24h};

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
