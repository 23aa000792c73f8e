//! What everyone may know about past trading of one instrument: last price, trades, candles, 24-hour figures.
//!
//! Invariant: candles of a resolution are contiguous; spans without a trade are flat at the close before.

use crate::config::HistoryLimits;
use keel_model::{Side, Timestamp};
use std::collections::VecDeque;

/// A trade in integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TapeTrade {
    pub(crate) id: u64,
    pub(crate) ts: Timestamp,
    pub(crate) price: i64,
    pub(crate) quantity: i64,
    pub(crate) aggressor: Side,
    pub(crate) buyer: u64,
    pub(crate) seller: u64,
}

impl TapeTrade {
    pub(crate) const fn quote(&self) -> i128 {
        self.price as i128 * self.quantity as i128
    }
}

/// A candle in integers; quote amounts in units of price × quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candle {
    pub(crate) open_ms: u64,
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    pub(crate) volume: i64,
    pub(crate) quote: i128,
    pub(crate) buy_volume: i64,
    pub(crate) buy_quote: i128,
    pub(crate) trades: u64,
    pub(crate) first_id: u64,
    pub(crate) last_id: u64,
}

impl Candle {
    pub(crate) const fn flat(open_ms: u64, price: i64) -> Self {
        Self {
            open_ms,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            quote: 0,
            buy_volume: 0,
            buy_quote: 0,
            trades: 0,
            first_id: 0,
            last_id: 0,
        }
    }

    fn add(&mut self, trade: &TapeTrade) {
        if self.trades == 0 {
            (self.open, self.high, self.low) = (trade.price, trade.price, trade.price);
            self.first_id = trade.id;
        }
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.close = trade.price;
        self.volume = self.volume.saturating_add(trade.quantity);
        self.quote += trade.quote();
        if trade.aggressor == Side::Buy {
            self.buy_volume = self.buy_volume.saturating_add(trade.quantity);
            self.buy_quote += trade.quote();
        }
        self.trades += 1;
        self.last_id = trade.id;
    }

    /// Appends a later candle to this one.
    pub(crate) fn merge(&mut self, later: &Self) {
        if later.trades > 0 {
            if self.trades == 0 {
                (self.open, self.high, self.low) = (later.open, later.high, later.low);
                self.first_id = later.first_id;
            }
            self.high = self.high.max(later.high);
            self.low = self.low.min(later.low);
            self.last_id = later.last_id;
        }
        self.close = later.close;
        self.volume = self.volume.saturating_add(later.volume);
        self.quote += later.quote;
        self.buy_volume = self.buy_volume.saturating_add(later.buy_volume);
        self.buy_quote += later.buy_quote;
        self.trades += later.trades;
    }
}

/// Contiguous candles of one resolution.
#[derive(Debug)]
pub(crate) struct Candles {
    span_ms: u64,
    max: usize,
    list: VecDeque<Candle>,
    /// End of the last candle, where it is known; a trade before it belongs to that candle.
    end_ns: u64,
}

impl Candles {
    const fn new(span_ms: u64, max: usize) -> Self {
        Self { span_ms, max, list: VecDeque::new(), end_ns: 0 }
    }

    pub(crate) fn push(&mut self, candle: Candle) {
        self.end_ns = (candle.open_ms + self.span_ms).saturating_mul(1_000_000);
        self.list.push_back(candle);
        while self.list.len() > self.max.max(2) {
            self.list.pop_front();
        }
    }

    #[inline]
    fn add(&mut self, trade: &TapeTrade) {
        if self.max == 0 {
            return;
        }
        match self.list.back_mut() {
            // Engine time never runs back.
            Some(last) if trade.ts.as_ns() < self.end_ns => last.add(trade),
            _ => self.add_later(trade),
        }
    }

    fn add_later(&mut self, trade: &TapeTrade) {
        let start = trade.ts.as_ms() / self.span_ms * self.span_ms;
        match self.list.back_mut() {
            // Engine time never runs back, so a trade belongs to the last candle or to a later one.
            Some(last) if start <= last.open_ms => return last.add(trade),
            Some(last) => {
                let (mut at, close) = (last.open_ms + self.span_ms, last.close);
                if (start - at) / self.span_ms > self.max as u64 {
                    self.list.clear();
                    at = start;
                }
                while at < start {
                    self.push(Candle::flat(at, close));
                    at += self.span_ms;
                }
            }
            None => {}
        }
        let mut candle = Candle::flat(start, trade.price);
        candle.add(trade);
        self.push(candle);
    }

    /// The candle that starts at `open_ms`: kept, or flat when it is later than the last trade; `None` before the first.
    pub(crate) fn at(&self, open_ms: u64) -> Option<Candle> {
        let (first, last) = (self.list.front()?, self.list.back()?);
        if open_ms < first.open_ms {
            return None;
        }
        if open_ms > last.open_ms {
            return Some(Candle::flat(open_ms, last.close));
        }
        self.list.get(usize::try_from((open_ms - first.open_ms) / self.span_ms).ok()?).copied()
    }

    pub(crate) fn first_ms(&self) -> Option<u64> {
        self.list.front().map(|candle| candle.open_ms)
    }

    pub(crate) const fn span_ms(&self) -> u64 {
        self.span_ms
    }
}

/// The tape.
#[derive(Debug)]
pub(crate) struct Tape {
    pub(crate) last: Option<TapeTrade>,
    pub(crate) trades: VecDeque<TapeTrade>,
    trades_max: usize,
    pub(crate) minutes: Candles,
    pub(crate) seconds: Candles,
}

impl Tape {
    pub(crate) fn new(limits: &HistoryLimits) -> Self {
        Self {
            last: None,
            trades: VecDeque::new(),
            trades_max: limits.public_trades_max,
            minutes: Candles::new(60_000, limits.klines_minute_max),
            seconds: Candles::new(1_000, limits.klines_second_max),
        }
    }

    pub(crate) fn add(&mut self, trade: TapeTrade) {
        self.minutes.add(&trade);
        self.seconds.add(&trade);
        self.last = Some(trade);
        if self.trades_max == 0 {
            return;
        }
        if self.trades.len() >= self.trades_max {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
    }

    /// The last price there is: of a trade, or the close of the history.
    pub(crate) fn last_price(&self) -> Option<i64> {
        self.last.map(|trade| trade.price).or_else(|| self.minutes.list.back().map(|candle| candle.close))
    }

    /// Volume-weighted average price of the last five minutes; the last price when nothing traded in them.
    pub(crate) fn average_price(&self, now: Timestamp) -> Option<i64> {
        const WINDOW_MS: u64 = 300_000;
        let since = now.as_ms().saturating_sub(WINDOW_MS);
        let recent = self.minutes.list.iter().rev().take_while(|candle| candle.open_ms + 60_000 > since).take(6);
        let (quote, volume) =
            recent.fold((0i128, 0i128), |(q, v), candle| (q + candle.quote, v + i128::from(candle.volume)));
        if volume == 0 {
            return self.last_price();
        }
        i64::try_from((quote + volume / 2) / volume).ok()
    }

    /// All minutes of the last 24 hours in one candle, and the close before them.
    pub(crate) fn day(&self, now: Timestamp) -> (Option<Candle>, Option<i64>) {
        const DAY_MS: u64 = 86_400_000;
        let since = now.as_ms().saturating_sub(DAY_MS);
        let start = self.minutes.list.partition_point(|candle| candle.open_ms < since);
        let before = start.checked_sub(1).and_then(|at| self.minutes.list.get(at)).map(|candle| candle.close);
        let mut window = self.minutes.list.range(start..);
        let Some(mut day) = window.next().copied() else {
            return (self.last_price().map(|price| Candle::flat(since, price)), before);
        };
        for candle in window {
            day.merge(candle);
        }
        (Some(day), before)
    }
}
