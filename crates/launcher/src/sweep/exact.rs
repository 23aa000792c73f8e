//! The exact level: one run of the event engine for each set of parameters, several at a time.

use crate::backtest::cpu_seconds;
use crate::backtest::setup::{self, Loaded, Prepared};
use crate::config::Config;
use crate::error::LaunchError;
use keel_backtest::{BacktestResult, JobConfig};
use keel_catalogue::Dataset;
use keel_marketdata::columns::BarColumns;
use keel_strategy::Params;
use keel_sweep::SweepError;
use keel_sweep::backend::Control;
use keel_sweep::kernel::rule::{Daily, Outcome};
use keel_sweep::kernel::run::Stretch;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The data of a stretch, and what was configured.
pub(super) struct Runs<'a> {
    config: &'a Config,
    prepared: Prepared,
    /// Rows that strategies see before anything may be opened.
    warmup: u64,
    /// Days that end before this time do not count. Unit: nanoseconds.
    trade_from_ns: u64,
}

/// Bars from..to.
fn cut(bars: &BarColumns, from: usize, to: usize) -> BarColumns {
    let of = |column: &[i64]| column.get(from..to).map(<[i64]>::to_vec).unwrap_or_default();
    BarColumns {
        ts_open_ns: bars.ts_open_ns.get(from..to).map(<[u64]>::to_vec).unwrap_or_default(),
        open: of(&bars.open),
        high: of(&bars.high),
        low: of(&bars.low),
        close: of(&bars.close),
        volume: of(&bars.volume),
        ..BarColumns::new(bars.interval, bars.price_scale, bars.quantity_scale)
    }
}

impl<'a> Runs<'a> {
    /// Runs over a stretch of the only series, or over everything.
    pub(super) fn new(config: &'a Config, prepared: &Prepared, stretch: Stretch) -> Self {
        let mut trade_from_ns = 0;
        let of = |loaded: &Loaded| {
            let data = match &loaded.data {
                Dataset::Bars(bars) if prepared.loaded.len() == 1 => Dataset::Bars(cut(bars, stretch.from, stretch.to)),
                other => other.clone(),
            };
            Loaded { instrument: loaded.instrument, data }
        };
        if stretch.trade_from > 0
            && let Some(Dataset::Bars(bars)) = prepared.loaded.first().map(|loaded| &loaded.data)
        {
            trade_from_ns = bars.ts_open_ns.get(stretch.trade_from).copied().unwrap_or(0);
        }
        let own = Prepared {
            instruments: prepared.instruments.clone(),
            markets: prepared.markets.clone(),
            loaded: prepared.loaded.iter().map(of).collect(),
            recording: prepared.recording.clone(),
            doubled: prepared.doubled,
        };
        let warmup = config.backtest.warmup_rows.max((stretch.trade_from - stretch.from) as u64);
        Self { config, prepared: own, warmup, trade_from_ns }
    }

    /// One run.
    pub(super) fn run(&self, params: &Params) -> Result<Outcome, LaunchError> {
        let mut config = self.config.clone();
        if let Some(choice) = config.strategies.first_mut() {
            choice.params = params.clone();
        }
        if self.prepared.recording.is_some() {
            let result = crate::backtest::run(&config, &self.prepared, true, false)?;
            return Ok(outcome(&result, self.trade_from_ns));
        }
        let job = setup::job(&config, &self.prepared);
        let job = JobConfig { has_marks: true, warmup_rows: self.warmup, ..job };
        let strategies = crate::run::strategies::build(&config, &self.prepared.instruments)?;
        crate::backtest::fit::check(&self.prepared, &strategies)?;
        let result = keel_backtest::run(job, &self.prepared.series(), strategies, &cpu_seconds)
            .map_err(|error| LaunchError::refused("backtest", error))?;
        Ok(outcome(&result, self.trade_from_ns))
    }

    /// Several sets, in their order, on so many threads.
    pub(super) fn all(&self, sets: &[Params], threads: usize, control: &Control) -> Result<Vec<Outcome>, LaunchError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(params) = sets.get(at) else { return Ok(found) };
                if control.stop.load(Ordering::Relaxed) {
                    return Err(super::setup::told(SweepError::Stopped));
                }
                found.push((at, self.run(params)?));
            }
        };
        let parts: Vec<Result<Vec<(usize, Outcome)>, LaunchError>> = std::thread::scope(|scope| {
            let start =
                |number: usize| std::thread::Builder::new().name(format!("sweep-{number}")).spawn_scoped(scope, work);
            let others: Vec<_> = (1..threads.min(sets.len())).map(start).collect();
            let own = work();
            let joined = others.into_iter().map(|other| match other.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => Err(LaunchError::start("sweep", "a run panicked; the log has the place")),
                // What no thread could be had for was done by the others.
                Err(_) => Ok(Vec::new()),
            });
            joined.chain(std::iter::once(own)).collect()
        });
        let mut outcomes = vec![Outcome::default(); sets.len()];
        for part in parts {
            for (at, outcome) in part? {
                if let Some(slot) = outcomes.get_mut(at) {
                    *slot = outcome;
                }
            }
        }
        Ok(outcomes)
    }
}

/// What a sweep keeps of a run. A worth that is not known (a price is missing) counts as the balance.
fn outcome(result: &BacktestResult, trade_from_ns: u64) -> Outcome {
    let start = result.start_balance.to_f64();
    let end = result.final_equity.unwrap_or(result.final_balance).to_f64();
    let (mut peak, mut fall) = (start, 0.0f64);
    for equity in result.marks.equity.iter().copied().chain(std::iter::once(end)) {
        peak = peak.max(equity);
        if peak > 0.0 && equity.is_finite() {
            fall = fall.min(equity / peak - 1.0);
        }
    }
    let mut daily = Daily::default();
    for (r, ts) in result.daily.returns(start).into_iter().zip(&result.daily.ts_ns) {
        if *ts > trade_from_ns && r.is_finite() {
            daily.add(r);
        }
    }
    let count = |orders: u64| u32::try_from(orders).unwrap_or(u32::MAX);
    let mut outcome = Outcome {
        total_return: if start > 0.0 { end / start - 1.0 } else { 0.0 },
        max_drawdown: fall,
        // What filled: a stop that was never reached is no trade of anybody.
        orders: count(result.fills),
        trades: count(result.trades.len() as u64),
        daily,
        ..Outcome::default()
    };
    for trade in &result.trades {
        outcome.wins += u32::from(trade.pnl > 0.0);
        outcome.gross_profit += trade.pnl.max(0.0);
        outcome.gross_loss += (-trade.pnl).max(0.0);
    }
    outcome
}
