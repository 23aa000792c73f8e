//! Questions: orders, trades and balances of an account; depth, trades, candles and figures of an instrument.

use super::report::{book_ticker, public_trade};
use super::{Market, MatchingEngine};
use crate::accounts::to_notional;
use crate::event::{AccountTrade, BookTicker, Kline, PublicTrade, Ticker24h};
use crate::reject::Reject;
use crate::tape::{Candle, Candles};
use crate::types::{AccountId, OrderId, OrderRef, OrderView};
use keel_model::{Asset, Balance, InstrumentId, Level, Notional, Price, Quantity, Side, Timestamp};

/// Span of a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KlineSpan {
    /// A fixed number of seconds that divides the day (or is whole days), aligned to midnight UTC.
    Seconds(u64),
    /// A week, from Monday.
    Week,
    /// A calendar month.
    Month,
}

const DAY_MS: u64 = 86_400_000;
/// 1970-01-05 was the first Monday.
const MONDAY_MS: u64 = 4 * DAY_MS;

impl KlineSpan {
    /// Start of the span that contains `ms`.
    #[must_use]
    pub fn start(self, ms: u64) -> u64 {
        match self {
            Self::Seconds(seconds) => {
                let span = seconds.max(1).saturating_mul(1000);
                ms / span * span
            }
            Self::Week if ms < MONDAY_MS => 0,
            Self::Week => (ms - MONDAY_MS) / (7 * DAY_MS) * (7 * DAY_MS) + MONDAY_MS,
            Self::Month => month_start(ms / DAY_MS) * DAY_MS,
        }
    }

    /// Start of the next span.
    #[must_use]
    pub fn next(self, start: u64) -> u64 {
        match self {
            Self::Seconds(seconds) => start.saturating_add(seconds.max(1).saturating_mul(1000)),
            Self::Week if start < MONDAY_MS => MONDAY_MS,
            Self::Week => start.saturating_add(7 * DAY_MS),
            Self::Month => month_start(start / DAY_MS + 31) * DAY_MS,
        }
    }
}

/// The day number (since 1970-01-01) on which the month of a day begins.
fn month_start(day: u64) -> u64 {
    // Civil-from-days on a year that begins in March, as in Howard Hinnant's date algorithms.
    let shifted = day + 719_468;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    day - day_of_month
}

impl MatchingEngine {
    /// An order, open or (while it is kept) closed.
    pub fn order(&self, account: AccountId, instrument: InstrumentId, which: OrderRef) -> Result<OrderView, Reject> {
        self.market_index(instrument)?;
        self.find(account, instrument, which).map(|slot| self.view_slot(slot)).ok_or(Reject::NoSuchOrder)
    }

    /// Open orders of an account on an instrument, oldest first.
    pub fn open_orders(&self, account: AccountId, instrument: InstrumentId) -> impl Iterator<Item = OrderView> + '_ {
        self.store.open_slots(account, instrument).map(|slot| self.view_slot(slot))
    }

    /// How many orders an account has open on an instrument.
    #[must_use]
    pub fn open_order_count(&self, account: AccountId, instrument: InstrumentId) -> usize {
        self.store.book(account, instrument).map_or(0, |book| book.open as usize)
    }

    /// Orders of an account on an instrument with at least this id, open and (while kept) closed, oldest first; can be
    /// walked from both ends.
    pub fn orders(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        from: OrderId,
    ) -> impl DoubleEndedIterator<Item = OrderView> + '_ {
        self.store.history(account, instrument, from).map(|slot| self.view_slot(slot))
    }

    /// Kept trades of an account on an instrument, oldest first; can be walked from both ends.
    pub fn account_trades(
        &self,
        account: AccountId,
        instrument: InstrumentId,
    ) -> impl DoubleEndedIterator<Item = &AccountTrade> + '_ {
        self.store.book(account, instrument).into_iter().flat_map(|book| book.trades.iter())
    }

    /// All balances of an account, zero ones too; empty for an unknown account.
    #[must_use]
    pub fn balances(&self, account: AccountId) -> Vec<Balance> {
        self.accounts.balances(account)
    }

    /// One balance of an account; zero when it has none.
    #[must_use]
    pub fn balance(&self, account: AccountId, asset: Asset) -> Balance {
        let balance = self.accounts.find(asset).filter(|_| self.accounts.get(account).is_some());
        let none = Balance { asset, free: Notional::ZERO, locked: Notional::ZERO };
        balance.map_or(none, |index| self.accounts.balance(account, index))
    }

    /// Fees collected in an asset.
    #[must_use]
    pub fn fees_collected(&self, asset: Asset) -> Notional {
        self.accounts.find(asset).map_or(Notional::ZERO, |index| to_notional(self.accounts.fee_total(index)))
    }

    /// Everything there is of an asset: all balances and collected fees. Changes only by deposits and by trades with a
    /// recorded market, whose side has no account.
    #[must_use]
    pub fn supply(&self, asset: Asset) -> Notional {
        self.accounts.find(asset).map_or(Notional::ZERO, |index| to_notional(self.accounts.supply(index)))
    }

    /// Number of accounts, house accounts included.
    #[must_use]
    pub fn account_count(&self) -> usize {
        self.accounts.count()
    }

    /// Best levels of both sides, best first, at most `limit` each; returns the last update id of the book.
    pub fn depth(
        &self,
        instrument: InstrumentId,
        limit: usize,
        bids: &mut Vec<Level>,
        asks: &mut Vec<Level>,
    ) -> Result<u64, Reject> {
        let market = &self.markets[self.market_index(instrument)?];
        for (side, out) in [(Side::Buy, bids), (Side::Sell, asks)] {
            out.clear();
            let level =
                |(price, total)| Level { price: market.rules.price(price), quantity: market.rules.quantity(total) };
            match &market.external {
                Some(external) => out.extend(external.shown(side).take(limit).map(level)),
                None => {
                    out.extend(market.book.levels(side).take(limit).map(|(price, found)| level((price, found.total))))
                }
            }
        }
        Ok(market.update_id)
    }

    /// Best bid and ask.
    pub fn book_ticker(&self, instrument: InstrumentId) -> Result<BookTicker, Reject> {
        Ok(book_ticker(&self.markets[self.market_index(instrument)?], self.now))
    }

    /// Total shown at a price.
    #[must_use]
    pub fn level_quantity(&self, instrument: InstrumentId, side: Side, price: Price) -> Quantity {
        let Some(market) = self.market(instrument) else { return Quantity::ZERO };
        let units = price.rescale(market.rules.price_scale).map_or(0, Price::mantissa);
        let total = match &market.external {
            Some(external) => external.shown_at(side, units),
            None => market.book.total_at(side, units),
        };
        market.rules.quantity(total)
    }

    /// Kept public trades, oldest first; can be walked from both ends.
    pub fn public_trades(&self, instrument: InstrumentId) -> impl DoubleEndedIterator<Item = PublicTrade> + '_ {
        let market = self.market(instrument);
        market.into_iter().flat_map(|market| market.tape.trades.iter().map(move |trade| public_trade(market, trade)))
    }

    /// The last price; `None` before the first trade (unless there is a history).
    #[must_use]
    pub fn last_price(&self, instrument: InstrumentId) -> Option<Price> {
        let market = self.market(instrument)?;
        market.tape.last_price().map(|price| market.rules.price(price))
    }

    /// Volume-weighted average price of the last five minutes; the last price when nothing traded in them.
    #[must_use]
    pub fn average_price(&self, instrument: InstrumentId) -> Option<Price> {
        let market = self.market(instrument)?;
        market.tape.average_price(self.now).map(|price| market.rules.price(price))
    }

    /// Figures of the last 24 hours; `None` before the first trade.
    #[must_use]
    pub fn ticker_24h(&self, instrument: InstrumentId) -> Option<Ticker24h> {
        let market = self.market(instrument)?;
        let (day, before) = market.tape.day(self.now);
        let day = day?;
        let last = market.tape.last_price()?;
        let top = book_ticker(market, self.now);
        let average =
            if day.volume > 0 { i64::try_from(day.quote / i128::from(day.volume)).unwrap_or(last) } else { last };
        let rules = &market.rules;
        Some(Ticker24h {
            ts_open: Timestamp::from_ms(self.now.as_ms().saturating_sub(DAY_MS)),
            ts_close: self.now,
            open: rules.price(day.open),
            high: rules.price(day.high),
            low: rules.price(day.low),
            last: rules.price(last),
            last_quantity: rules.quantity(market.tape.last.map_or(0, |trade| trade.quantity)),
            previous_close: rules.price(before.unwrap_or(day.open)),
            volume: rules.quantity(day.volume),
            quote_volume: rules.quote(day.quote),
            average: rules.price(average),
            trades: day.trades,
            first_trade_id: (day.trades > 0).then_some(day.first_id),
            last_trade_id: (day.trades > 0).then_some(day.last_id),
            bid: top.bid,
            ask: top.ask,
        })
    }

    /// Candles whose start lies in `from_ms..=to_ms`, oldest first: the first `limit` of them from `from_ms`, or without it
    /// the last `limit` up to `to_ms`. Spans without a trade are flat.
    pub fn klines(
        &self,
        instrument: InstrumentId,
        span: KlineSpan,
        from_ms: Option<u64>,
        to_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Kline>, Reject> {
        let market = &self.markets[self.market_index(instrument)?];
        let candles = match span {
            KlineSpan::Seconds(seconds) if seconds % 60 != 0 => &market.tape.seconds,
            _ => &market.tape.minutes,
        };
        let Some(first) = candles.first_ms() else { return Ok(Vec::new()) };
        let now = self.now.as_ms().max(first);
        let last = span.start(to_ms.unwrap_or(now).min(now));
        let oldest = span.start(first);
        let mut starts = Vec::with_capacity(limit.min(1024));
        match from_ms {
            Some(from) => {
                let mut at = span.start(from.max(oldest));
                if at < from {
                    at = span.next(at);
                }
                while at <= last && starts.len() < limit {
                    starts.push(at);
                    at = span.next(at);
                }
            }
            None => {
                let mut at = last;
                while starts.len() < limit && at >= oldest {
                    starts.push(at);
                    let Some(before) = at.checked_sub(1) else { break };
                    at = span.start(before);
                }
                starts.reverse();
            }
        }
        Ok(starts.into_iter().filter_map(|start| self.kline(market, candles, span, start)).collect())
    }

    fn kline(&self, market: &Market, candles: &Candles, span: KlineSpan, start: u64) -> Option<Kline> {
        let (end, now) = (span.next(start), self.now.as_ms());
        let mut merged: Option<Candle> = None;
        let mut at = start.max(candles.first_ms()? / candles.span_ms() * candles.span_ms());
        while at < end && at <= now {
            if let Some(candle) = candles.at(at) {
                match &mut merged {
                    Some(merged) => merged.merge(&candle),
                    None => merged = Some(candle),
                }
            }
            at += candles.span_ms();
        }
        merged.map(|candle| to_kline(market, &candle, start, end, end <= now))
    }
}

fn to_kline(market: &Market, candle: &Candle, start: u64, end: u64, is_closed: bool) -> Kline {
    let rules = &market.rules;
    Kline {
        ts_open: Timestamp::from_ms(start),
        ts_close: Timestamp::from_ms(end),
        open: rules.price(candle.open),
        high: rules.price(candle.high),
        low: rules.price(candle.low),
        close: rules.price(candle.close),
        volume: rules.quantity(candle.volume),
        quote_volume: rules.quote(candle.quote),
        taker_buy_volume: rules.quantity(candle.buy_volume),
        taker_buy_quote: rules.quote(candle.buy_quote),
        trades: candle.trades,
        first_trade_id: (candle.trades > 0).then_some(candle.first_id),
        last_trade_id: (candle.trades > 0).then_some(candle.last_id),
        is_closed,
    }
}
