//! What is sent at intervals: depth each 100 ms or second, tickers each second, candles each second or two.

use super::Core;
use super::symbol::{DepthChange, PendingDepth};
use crate::encode;
use crate::json::TimeUnit;
use crate::stream_name::{Scope, StreamKey, StreamKind};
use keel_model::{InstrumentId, Level, Timestamp};
use keel_sim::{Kline, KlineSpan, Reject};

const MINUTE_MS: i64 = 60_000;

impl Core {
    /// Sends what is due each 100 ms; `tick` counts them.
    pub(crate) fn on_tick(&mut self, tick: u64, now: Timestamp) {
        self.send_depth(true, now);
        if tick.is_multiple_of(10) {
            self.send_depth(false, now);
            self.send_figures(now);
        }
        self.send_klines(now, tick.is_multiple_of(10), tick.is_multiple_of(20));
    }

    fn send_depth(&mut self, fast: bool, now: Timestamp) {
        for at in 0..self.symbols.len() as u32 {
            let key = StreamKey { scope: Scope::Symbol(at), kind: StreamKind::Depth { fast } };
            let is_wanted = self.hub.is_wanted(key);
            let Some(symbol) = self.symbols.get_mut(at as usize) else { continue };
            let Some(slot) = symbol.pending.get_mut(usize::from(fast)) else { continue };
            if !is_wanted {
                *slot = None;
                continue;
            }
            let Some(change) = slot.as_mut().and_then(PendingDepth::take) else { continue };
            if !self.is_depth_skipped(at) {
                let DepthChange { ids, bids, asks } = change;
                self.publish(key, |unit, name| encode::depth_event(unit, name, now, ids, &bids, &asks));
            }
        }
        for key in self.hub.wanted(|kind| matches!(kind, StreamKind::Partial { fast: is, .. } if is == fast)) {
            let (Scope::Symbol(at), StreamKind::Partial { levels, .. }) = (key.scope, key.kind) else { continue };
            let (mut bids, mut asks) = (Vec::new(), Vec::new());
            let id = self.depth(at, usize::from(levels), &mut bids, &mut asks);
            self.publish(key, |unit, _| encode::book(unit, id, &bids, &asks));
        }
    }

    /// Is this depth event to be swallowed? Counts down.
    pub(crate) fn is_depth_skipped(&mut self, at: u32) -> bool {
        match self.skip_depth.get_mut(&at) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// The book as REST shows it; returns its update id.
    pub(crate) fn depth(&self, at: u32, limit: usize, bids: &mut Vec<Level>, asks: &mut Vec<Level>) -> u64 {
        let Some(symbol) = self.symbols.get(at as usize) else { return 0 };
        if let Some(book) = &symbol.book {
            return book.levels(limit, bids, asks);
        }
        self.engine.depth(symbol.id, limit, bids, asks).unwrap_or_default()
    }

    fn send_figures(&mut self, now: Timestamp) {
        let (mut mini, mut full) = (Vec::new(), Vec::new());
        for at in 0..self.symbols.len() as u32 {
            let Some(symbol) = self.symbols.get_mut(at as usize) else { continue };
            let (id, last_trade) = (symbol.id, symbol.last_trade);
            if !std::mem::take(&mut symbol.is_changed) {
                continue;
            }
            let scope = Scope::Symbol(at);
            let Some(day) = self.engine.ticker_24h(id) else { continue };
            let key = |kind| StreamKey { scope, kind };
            self.publish(key(StreamKind::MiniTicker), |u, name| encode::mini_ticker_event(u, name, now, &day));
            self.publish(key(StreamKind::Ticker), |u, name| encode::ticker_event(u, name, now, &day));
            if let Some(price) = self.engine.average_price(id) {
                let make = |u: TimeUnit, name: &str| encode::avg_price_event(u, name, now, price, last_trade);
                self.publish(key(StreamKind::AvgPrice), make);
            }
            let name = self.name_of(id).to_owned();
            mini.push((name.clone(), day));
            full.push((name, day));
            self.send_rolling(at, id, now);
        }
        if self.is_market_stalled || mini.is_empty() {
            return;
        }
        let all = |kind| StreamKey { scope: Scope::All, kind };
        self.hub.publish(all(StreamKind::MiniTicker), |unit| {
            array(mini.iter().map(|(name, day)| encode::mini_ticker_event(unit, name, now, day)))
        });
        self.hub.publish(all(StreamKind::Ticker), |unit| {
            array(full.iter().map(|(name, day)| encode::ticker_event(unit, name, now, day)))
        });
        self.send_rolling_arrays(now);
    }

    fn send_rolling(&self, at: u32, id: InstrumentId, now: Timestamp) {
        for key in self.hub.wanted(|kind| matches!(kind, StreamKind::RollingTicker(_))) {
            let StreamKind::RollingTicker(window) = key.kind else { continue };
            if key.scope != Scope::Symbol(at) {
                continue;
            }
            if let Some(figures) = self.window(id, window.minutes(), now) {
                self.publish(key, |unit, name| encode::rolling_event(unit, window.event(), name, now, &figures));
            }
        }
    }

    fn send_rolling_arrays(&self, now: Timestamp) {
        for key in self.hub.wanted(|kind| matches!(kind, StreamKind::RollingTicker(_))) {
            let (Scope::All, StreamKind::RollingTicker(window)) = (key.scope, key.kind) else { continue };
            let figures: Vec<_> = self
                .symbols
                .iter()
                .filter_map(|symbol| Some((symbol, self.window(symbol.id, window.minutes(), now)?)))
                .collect();
            self.hub.publish(key, |unit| {
                let event = window.event();
                array(figures.iter().map(|(symbol, f)| encode::rolling_event(unit, event, &symbol.name, now, f)))
            });
        }
    }

    /// Figures of the last so many minutes, from the start of a minute on.
    pub(crate) fn window(&self, id: InstrumentId, minutes: u64, now: Timestamp) -> Option<encode::Figures> {
        let from_ms = (now.as_ms() / 60_000).saturating_sub(minutes) * 60_000;
        let span = keel_sim::KlineSpan::Seconds(60);
        let limit = usize::try_from(minutes).unwrap_or(usize::MAX).saturating_add(1);
        let klines = self.engine.klines(id, span, Some(from_ms), None, limit).ok()?;
        encode::Figures::of_klines(&klines, now)
    }

    /// Candles whose spans begin and end by a clock that is `offset_minutes` ahead of UTC. Those of other clocks are put
    /// together from the minutes kept.
    pub(crate) fn klines(
        &self,
        id: InstrumentId,
        span: KlineSpan,
        offset_minutes: i64,
        (from_ms, to_ms): (Option<u64>, Option<u64>),
        limit: usize,
    ) -> Result<Vec<Kline>, Reject> {
        let offset_ms = offset_minutes * MINUTE_MS;
        // Spans that divide every offset are the same on every clock.
        let is_plain = offset_ms == 0 || matches!(span, KlineSpan::Seconds(seconds) if seconds <= 60);
        if is_plain {
            return self.engine.klines(id, span, from_ms, to_ms, limit);
        }
        let minutes = self.engine.klines(id, KlineSpan::Seconds(60), None, to_ms, usize::MAX)?;
        let shifted = |ms: u64| ms.saturating_add_signed(offset_ms);
        let start = |ms: u64| span.start(shifted(ms)).saturating_add_signed(-offset_ms);
        let end = |ms: u64| span.next(span.start(shifted(ms))).saturating_add_signed(-offset_ms);
        let now = self.engine.now();
        let mut klines: Vec<Kline> = Vec::new();
        for minute in &minutes {
            let open_ms = minute.ts_open.as_ms();
            let ts_open = Timestamp::from_ms(start(open_ms));
            match klines.last_mut() {
                Some(last) if last.ts_open == ts_open => merge(last, minute),
                _ => {
                    let ts_close = Timestamp::from_ms(end(open_ms));
                    klines.push(Kline { ts_open, ts_close, is_closed: ts_close <= now, ..*minute });
                }
            }
        }
        klines.retain(|kline| from_ms.is_none_or(|from| kline.ts_open.as_ms() >= from));
        let skip = if from_ms.is_some() { 0 } else { klines.len().saturating_sub(limit) };
        Ok(klines.into_iter().skip(skip).take(limit).collect())
    }

    /// `1s` candles each second, the others each two seconds.
    fn send_klines(&mut self, now: Timestamp, is_second: bool, is_two: bool) {
        if !is_second {
            return;
        }
        for key in self.hub.wanted(|kind| matches!(kind, StreamKind::Kline { .. })) {
            let (Scope::Symbol(at), StreamKind::Kline { interval, east }) = (key.scope, key.kind) else { continue };
            if interval.name() != "1s" && !is_two {
                continue;
            }
            let Some(id) = self.symbols.get(at as usize).map(|symbol| symbol.id) else { continue };
            let offset_minutes = if east { 8 * 60 } else { 0 };
            let klines = self.klines(id, interval.span(), offset_minutes, (None, None), 2).unwrap_or_default();
            let Some(current) = klines.last() else { continue };
            let shown =
                self.symbols.get_mut(at as usize).and_then(|s| s.shown_klines.insert(key.kind, current.ts_open));
            // The candle before is shown once more, closed.
            let is_new = shown.is_some_and(|shown| shown < current.ts_open);
            for kline in klines.iter().skip(usize::from(!is_new && klines.len() == 2)) {
                self.publish(key, |unit, name| encode::kline_event(unit, name, interval.name(), now, kline));
            }
        }
    }
}

/// Adds a later candle to one that it lies within.
fn merge(kline: &mut Kline, later: &Kline) {
    kline.high = kline.high.max(later.high);
    kline.low = kline.low.min(later.low);
    kline.close = later.close;
    kline.volume = kline.volume.checked_add(later.volume).unwrap_or(kline.volume);
    kline.quote_volume = kline.quote_volume.checked_add(later.quote_volume).unwrap_or(kline.quote_volume);
    kline.taker_buy_volume =
        kline.taker_buy_volume.checked_add(later.taker_buy_volume).unwrap_or(kline.taker_buy_volume);
    kline.taker_buy_quote = kline.taker_buy_quote.checked_add(later.taker_buy_quote).unwrap_or(kline.taker_buy_quote);
    kline.trades += later.trades;
    kline.first_trade_id = kline.first_trade_id.or(later.first_trade_id);
    kline.last_trade_id = later.last_trade_id.or(kline.last_trade_id);
}

fn array(items: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}
