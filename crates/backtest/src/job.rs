//! A backtest over columns: several series of several instruments, merged by time, through the live engine.
//!
//! A row happens when it is received: a bar at its close. At equal times: funding, then trades, then quotes, then bars from the
//! shortest to the longest, then in the order given. Nothing but the row at hand is read, so that a decision cannot know what
//! comes after it; a bar's own open, high and low are known when it has closed. Missing bars are counted, never made up.

use crate::replay::{BacktestError, Replay, ReplayConfig};
use crate::result::{BacktestResult, EquityCurve, Gaps, MARKS_MAX, PositionEnd};
use crate::trades::TradeLog;
use keel_marketdata::columns::{BarColumns, FundingColumns, QuoteColumns, TradeColumns};
use keel_model::{
    Asset, Command, Event, FundingRate, InstrumentId, InstrumentKind, MarketEvent, Notional, Price, Quantity, Timestamp,
};
use keel_strategy::Strategy;

const DAY_NS: u64 = 86_400_000_000_000;
/// Places of a balance, as venues write it.
const BALANCE_SCALE: u8 = 8;
/// Places of an average price beyond those of the tick.
const BETWEEN_TICKS: u8 = 6;

/// Rows of one kind.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Bars of one interval.
    Bars(&'a BarColumns),
    /// Best bids and asks.
    Quotes(&'a QuoteColumns),
    /// Public trades.
    Trades(&'a TradeColumns),
    /// Funding of a perpetual.
    Funding(&'a FundingColumns),
}

/// One series of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its rows, ascending in time.
    pub rows: Rows<'a>,
}

impl Rows<'_> {
    const fn times(&self) -> &[u64] {
        match self {
            Self::Bars(bars) => bars.ts_open_ns.as_slice(),
            Self::Quotes(quotes) => quotes.ts_ns.as_slice(),
            Self::Trades(trades) => trades.ts_ns.as_slice(),
            Self::Funding(funding) => funding.ts_ns.as_slice(),
        }
    }

    /// How many rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.times().len()
    }

    /// None?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.times().is_empty()
    }

    /// Smaller happens first at equal times.
    fn rank(&self) -> u64 {
        match self {
            Self::Funding(_) => 0,
            Self::Trades(_) => 1,
            Self::Quotes(_) => 2,
            Self::Bars(bars) => bars.interval.length_ns().unwrap_or(u64::MAX).max(3),
        }
    }

    /// When row number `at` happens; `None` beyond the end. Unit: nanoseconds.
    pub(crate) fn due(&self, at: usize) -> Option<u64> {
        let time = *self.times().get(at)?;
        Some(if let Self::Bars(bars) = self { bars.interval.close_ns(time) } else { time })
    }

    /// Row number `at` as an event; `None` beyond the end and for a row that is no number.
    #[inline]
    fn event(&self, at: usize, instrument: InstrumentId) -> Option<MarketEvent> {
        Some(match self {
            Self::Bars(bars) => MarketEvent::Bar(bars.bar(at, instrument)?),
            Self::Quotes(quotes) => MarketEvent::TopOfBook(quotes.quote(at, instrument)?),
            Self::Trades(trades) => MarketEvent::Trade(trades.trade(at, instrument)?),
            Self::Funding(funding) => {
                let ts = Timestamp::from_ns(*funding.ts_ns.get(at)?);
                let rate = Quantity::new(*funding.rate.get(at)?, funding.rate_scale).ok()?;
                MarketEvent::FundingRate(FundingRate { instrument, ts_event: ts, ts_recv: ts, rate, ts_next: ts })
            }
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Bars(bars) => format!("bars {}", bars.interval),
            Self::Quotes(_) => "quotes".to_owned(),
            Self::Trades(_) => "trades".to_owned(),
            Self::Funding(_) => "funding".to_owned(),
        }
    }

    fn gaps(&self, symbol: &str) -> Gaps {
        let mut gaps = Gaps { series: format!("{symbol} {}", self.name()), ..Gaps::default() };
        let Self::Bars(bars) = self else { return gaps };
        for pair in bars.ts_open_ns.windows(2) {
            let &[before, after] = pair else { continue };
            let expected = bars.interval.close_ns(before);
            if after > expected {
                gaps.count += 1;
                gaps.longest_ns = gaps.longest_ns.max(after - expected);
                gaps.bars_missing += (after - expected) / (expected - before).max(1);
            }
        }
        gaps
    }
}

/// What a backtest needs to know beside the data.
#[derive(Clone, Debug, Default)]
pub struct JobConfig {
    /// Engine, venue, balances.
    pub replay: ReplayConfig,
    /// Bars (or rows of a series without bars) that strategies see before anything may be opened.
    pub warmup_rows: u64,
    /// Is the equity kept after each bar, too, and not only each day?
    pub has_marks: bool,
    /// Are orders and fills kept one by one?
    pub has_log: bool,
}

/// A run of the live engine over market data, with everything that a report needs.
#[derive(Debug)]
pub struct Backtest {
    replay: Replay,
    config: JobConfig,
    rows: u64,
    warmup_left: u64,
    denied_in_warmup: u64,
    /// End of the day at hand; zero before the first row.
    day_end: u64,
    first_ns: u64,
    last_ns: u64,
    start: Option<Notional>,
    is_begun: bool,
    daily: EquityCurve,
    marks: EquityCurve,
    /// Every so many bars are kept.
    marks_every: u64,
    bars: u64,
}

impl Backtest {
    /// Sets up engine and venue.
    pub fn new(config: JobConfig, strategies: Vec<Box<dyn Strategy>>) -> Result<Self, BacktestError> {
        let mut quotes = config.replay.engine.instruments.iter().map(|it| it.quote);
        let first = quotes.next().unwrap_or_default();
        if let Some(other) = quotes.find(|quote| *quote != first) {
            return Err(BacktestError::QuoteAssets { first, other });
        }
        let replay = Replay::new(
            ReplayConfig { has_trades: true, has_log: config.has_log, ..config.replay.clone() },
            strategies,
        )?;
        Ok(Self {
            replay,
            rows: 0,
            warmup_left: config.warmup_rows,
            denied_in_warmup: 0,
            day_end: 0,
            first_ns: 0,
            last_ns: 0,
            start: None,
            is_begun: false,
            daily: EquityCurve::default(),
            marks: EquityCurve::default(),
            marks_every: 1,
            bars: 0,
            config,
        })
    }

    /// The driver below, for reading.
    #[must_use]
    pub const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// The driver below, to observe it or to give it commands.
    pub const fn replay_mut(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// One row. `false` when the run is over, because the venue has closed everything.
    #[inline]
    pub fn feed(&mut self, event: &MarketEvent) -> bool {
        self.feed_at(event, event.ts_recv())
    }

    /// As [`Self::feed`], where it is known when the row happens.
    #[inline]
    fn feed_at(&mut self, event: &MarketEvent, at: Timestamp) -> bool {
        let now = at.as_ns();
        self.rows += 1;
        self.last_ns = now;
        // What is stamped exactly at midnight, such as the last bar of a day, belongs to the day that ends.
        if now > self.day_end {
            self.turn_day(now, matches!(event, MarketEvent::Bar(_)));
        }
        self.replay.feed_at(event, at);
        if self.warmup_left > 0 || self.start.is_none() || !self.is_begun || self.config.has_marks {
            self.follow(event);
        }
        self.replay.venue().liquidation().is_none()
    }

    /// A day has ended, or the run begins.
    #[cold]
    fn turn_day(&mut self, now: u64, is_bar: bool) {
        if self.day_end == 0 {
            // A run that begins with a bar that closes at midnight begins on the day that ends.
            let day = if is_bar { now.saturating_sub(1) } else { now };
            (self.first_ns, self.day_end) = (now, day - day % DAY_NS + DAY_NS);
            return;
        }
        let equity = self.replay.equity().map_or(f64::NAN, Notional::to_f64);
        while now > self.day_end {
            self.daily.ts_ns.push(self.day_end);
            self.daily.equity.push(equity);
            self.day_end += DAY_NS;
        }
    }

    /// What is not done for every row of every run.
    fn follow(&mut self, event: &MarketEvent) {
        if self.start.is_none() {
            self.start = self.start_balance();
        }
        if !self.is_begun {
            self.is_begun = true;
            if self.warmup_left > 0 {
                self.replay.command(&Event::Command(self.replay.now(), Command::Pause));
            }
        }
        let is_bar = matches!(event, MarketEvent::Bar(_));
        if self.warmup_left > 0 {
            self.warmup_left -= 1;
            if self.warmup_left == 0 {
                self.denied_in_warmup = self.replay.status().orders_denied;
                self.replay.command(&Event::Command(self.replay.now(), Command::Resume));
            }
        }
        if self.config.has_marks && is_bar {
            self.bars += 1;
            if self.bars.is_multiple_of(self.marks_every) {
                self.mark();
            }
        }
    }

    fn mark(&mut self) {
        if self.marks.ts_ns.len() >= MARKS_MAX {
            let thin = |at: &mut usize| {
                *at += 1;
                (*at).is_multiple_of(2)
            };
            let (mut one, mut other) = (0, 0);
            self.marks.ts_ns.retain(|_| thin(&mut one));
            self.marks.equity.retain(|_| thin(&mut other));
            self.marks_every *= 2;
        }
        self.marks.ts_ns.push(self.last_ns);
        self.marks.equity.push(self.replay.equity().map_or(f64::NAN, Notional::to_f64));
    }

    /// What the account began with, at the first prices.
    fn start_balance(&self) -> Option<Notional> {
        let (quote, venue) = (self.quote(), self.replay.venue());
        self.config.replay.balances.iter().try_fold(Notional::ZERO, |sum, (asset, amount)| {
            if *asset == quote || amount.is_zero() {
                return sum.checked_add(*amount).ok();
            }
            let instruments = &self.config.replay.engine.instruments;
            if !instruments.iter().any(|it| it.base == *asset) {
                return Some(sum);
            }
            let market = instruments.iter().find(|it| it.base == *asset && it.quote == quote)?;
            let price = venue.mark_price(market.id)?;
            sum.checked_add(Notional::of(price, amount.to_quantity().ok()?)).ok()
        })
    }

    fn quote(&self) -> Asset {
        self.config.replay.engine.instruments.iter().next().map(|it| it.quote).unwrap_or_default()
    }

    /// The end: the exit policy, then everything there is to tell.
    #[must_use]
    pub fn finish(mut self, run_cpu_seconds: f64, gaps: Vec<Gaps>) -> BacktestResult {
        self.replay.wind();
        let fills_by_venue = self.replay.note_liquidation();
        let quote = self.quote();
        let equity = self.replay.equity();
        if self.day_end > 0 {
            self.daily.ts_ns.push(self.last_ns);
            self.daily.equity.push(equity.map_or(f64::NAN, Notional::to_f64));
        }
        let status = self.replay.status();
        let account = self.replay.account();
        let balance = self.replay.venue().balances(account).into_iter().find(|balance| balance.asset == quote);
        let positions = self.positions();
        BacktestResult {
            quote_asset: quote.to_string(),
            rows: self.rows,
            orders: status.orders_total,
            orders_denied: status.orders_denied - self.denied_in_warmup,
            orders_rejected: status.orders_rejected,
            refusals: self.replay.refusals().clone(),
            fills: status.fills_total + fills_by_venue,
            final_position: match positions.as_slice() {
                [only] => Some(only.quantity),
                _ => None,
            },
            positions,
            start_balance: padded(self.start.unwrap_or_else(|| self.start_balance().unwrap_or_default())),
            final_balance: padded(balance.and_then(|it| it.total().ok()).unwrap_or_default()),
            final_equity: equity.map(padded),
            volume: self.replay.trades().map_or(0.0, TradeLog::volume),
            fees: self.replay.engine().portfolio().fee_in(quote).normalized(),
            funding: self.replay.funding().normalized(),
            run_cpu_seconds,
            digest: self.replay.digest().to_string(),
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            rows_refused: self.replay.refused(),
            gaps,
            liquidated_ns: self.replay.venue().liquidation().map(|it| it.at.as_ns()),
            daily: self.daily,
            marks: self.marks,
            trades: self.replay.take_trades(),
            log: self.replay.take_log(),
        }
    }

    fn positions(&self) -> Vec<PositionEnd> {
        let (engine, venue) = (self.replay.engine(), self.replay.venue());
        let of = |instrument: &keel_model::Instrument| {
            let own = engine.portfolio().position(instrument.id);
            let scale = instrument.lot.step.normalized().scale();
            let quantity = match instrument.kind {
                InstrumentKind::LinearPerpetual => venue.linear_position(self.replay.account(), instrument.id),
                InstrumentKind::Spot => own.quantity,
            };
            let is_open = !quantity.is_zero() && !own.is_flat();
            let entered = self.replay.trades().and_then(|trades| trades.entered_ns(instrument.id));
            let places = instrument.tick_size.normalized().scale() + BETWEEN_TICKS;
            let price = || own.average_price(places).ok().map(Price::normalized);
            PositionEnd {
                symbol: instrument.symbol.to_string(),
                quantity: quantity.rescale(scale).unwrap_or(quantity),
                entry_ns: entered.filter(|_| is_open),
                entry_price: is_open.then(price).flatten(),
                unrealized: match venue.mark_price(instrument.id) {
                    Some(price) if is_open => own.unrealized(price).ok().map(Notional::normalized),
                    Some(_) => Some(Notional::ZERO),
                    None => None,
                },
            }
        };
        engine.instruments().iter().map(of).collect()
    }
}

/// With at least the places of a balance.
fn padded(value: Notional) -> Notional {
    let value = value.normalized();
    let missing = u32::from(BALANCE_SCALE.saturating_sub(value.scale()));
    let mantissa = 10i128.checked_pow(missing).and_then(|factor| value.mantissa().checked_mul(factor));
    mantissa.and_then(|it| Notional::new(it, value.scale().max(BALANCE_SCALE)).ok()).unwrap_or(value)
}

/// Runs strategies over series. `cpu_seconds` reads the thread's CPU clock; it is asked before and after the loop.
pub fn run(
    config: JobConfig,
    series: &[Series<'_>],
    strategies: Vec<Box<dyn Strategy>>,
    cpu_seconds: &dyn Fn() -> f64,
) -> Result<BacktestResult, BacktestError> {
    let instruments = config.replay.engine.instruments.clone();
    let symbol = |id| instruments.get(id).map(|it| it.symbol.to_string()).unwrap_or_default();
    for one in series {
        let times = one.rows.times();
        if let Some(row) = times.windows(2).position(|pair| matches!(pair, [before, after] if after < before)) {
            let series = format!("{} {}", symbol(one.instrument), one.rows.name());
            return Err(BacktestError::Unsorted { series, row: row + 1 });
        }
    }
    let gaps = series.iter().map(|one| one.rows.gaps(&symbol(one.instrument))).collect();
    let mut backtest = Backtest::new(config, strategies)?;
    if let Some(first) = series.iter().filter_map(|one| one.rows.due(0)).min() {
        backtest.replay.begin_early(Timestamp::from_ns(first));
    }
    let begun = cpu_seconds();
    match series {
        [only] => feed_one(&mut backtest, only),
        several => feed_merged(&mut backtest, several),
    }
    let spent = cpu_seconds() - begun;
    Ok(backtest.finish(spent, gaps))
}

fn feed_one(backtest: &mut Backtest, series: &Series<'_>) {
    let mut at = 0;
    while let Some(due) = series.rows.due(at) {
        // Read where it was made: a copy would wait for it.
        let event = series.rows.event(at, series.instrument);
        at += 1;
        if let Some(event) = &event
            && !backtest.feed_at(event, Timestamp::from_ns(due))
        {
            return;
        }
    }
}

fn feed_merged(backtest: &mut Backtest, series: &[Series<'_>]) {
    let mut order: Vec<(&Series<'_>, usize)> = series.iter().map(|one| (one, 0)).collect();
    // Sorted once, so that at equal times the first one found is the one whose turn it is.
    order.sort_by_key(|(one, _)| one.rows.rank());
    loop {
        let next = order.iter_mut().filter_map(|entry| Some((entry.0.rows.due(entry.1)?, entry)));
        let Some((_, (one, at))) = next.min_by_key(|(due, _)| *due) else { return };
        let event = one.rows.event(*at, one.instrument);
        *at += 1;
        if let Some(event) = &event
            && !backtest.feed(event)
        {
            return;
        }
    }
}
