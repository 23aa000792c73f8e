//! Do strategies and data fit? What cannot be decided on is refused before the run, and what bars cannot be measured by is adapted.

use super::setup::{Loaded, Prepared};
use crate::config::Config;
use crate::error::LaunchError;
use crate::out;
use keel_catalogue::Dataset;
use keel_marketdata::columns::Interval;
use keel_model::InstrumentId;
use keel_risk::RiskLimits;
use keel_strategy::{Strategy, Subscription, registry};
use std::collections::BTreeMap;

/// The reference of an instrument that only has bars may be this many bars old.
const BARS_OLD_MAX: u64 = 2;
/// The length of a month at most. Unit: nanoseconds.
const MONTH_NS: u64 = 31 * 86_400_000_000_000;
/// A move between two closes that is believed at once: the most that risk takes, a hundredfold; no fall is above it. Unit: basis
/// points.
const JUMP_BPS: u32 = 1_000_000;
/// Listens and never trades.
const LISTENER: &str = "idle";
/// The name under which strategies say how long their bars are.
const BAR_LENGTH: &str = "bar_s";

fn of(prepared: &Prepared, instrument: InstrumentId) -> impl Iterator<Item = &Dataset> {
    prepared.loaded.iter().filter(move |it: &&Loaded| it.instrument == instrument).map(|it| &it.data)
}

/// The lengths of an instrument's bars.
fn lengths(prepared: &Prepared, instrument: InstrumentId) -> Vec<Interval> {
    let length = |data: &Dataset| match data {
        Dataset::Bars(bars) => Some(bars.interval),
        _ => None,
    };
    of(prepared, instrument).filter_map(length).collect()
}

fn has_ticks(prepared: &Prepared, instrument: InstrumentId) -> bool {
    of(prepared, instrument).any(|data| matches!(data, Dataset::Quotes(_) | Dataset::Trades(_)))
}

/// A close is the price until the next bar has closed, and a move from one close to the next has been traded: age and jumps are
/// measured in bars where bars are all there is.
pub(super) fn limits_for_bars(limits: &mut RiskLimits, prepared: &Prepared) {
    let bars_alone = |id: &InstrumentId| !has_ticks(prepared, *id) && !lengths(prepared, *id).is_empty();
    let all: Vec<InstrumentId> = prepared.instruments.iter().map(|it| it.id).collect();
    let shortest = |id: &InstrumentId| {
        lengths(prepared, *id).into_iter().map(|it| it.length_ns().unwrap_or(MONTH_NS)).min().unwrap_or(0)
    };
    let longest_ns = all.iter().filter(|id| bars_alone(id)).map(shortest).max().unwrap_or(0);
    limits.reference_age_ms_max = limits.reference_age_ms_max.max((BARS_OLD_MAX * longest_ns).div_ceil(1_000_000));
    if all.iter().all(bars_alone) {
        limits.reference_jump_bps_max = limits.reference_jump_bps_max.max(JUMP_BPS);
    }
}

/// A strategy whose length of bars nobody chose takes that of the data, where the data has but one.
pub fn fit_bars(mut config: Config, prepared: &Prepared) -> Config {
    let all = || prepared.instruments.iter().map(|it| it.id);
    if prepared.recording.is_some() || all().any(|id| has_ticks(prepared, id)) {
        return config;
    }
    let mut lengths: Vec<Interval> = all().flat_map(|id| lengths(prepared, id)).collect();
    lengths.dedup();
    let [only] = lengths.as_slice() else { return config };
    let Some(length_s) = only.length_ns().map(|ns| ns / 1_000_000_000) else { return config };
    for choice in &mut config.strategies {
        let Ok(info) = registry::find(&choice.name) else { continue };
        let Some(spec) = info.params.iter().find(|spec| spec.name == BAR_LENGTH) else { continue };
        let (length, set) = (length_s.to_string(), choice.params.get(BAR_LENGTH).unwrap_or(spec.default));
        if set == spec.default && set != length && spec.accepts(&length) && 86_400u64.is_multiple_of(length_s) {
            out::note(&format!("note: {} takes the bars of the data, {only} (its default is {set} s)", choice.name));
            choice.params.set(BAR_LENGTH, length);
        }
    }
    config
}

/// Bars that a strategy waits for have to come from somewhere: from bars of that length, or from trades; and so do quotes.
pub fn check(prepared: &Prepared, strategies: &[Box<dyn Strategy>]) -> Result<(), LaunchError> {
    if prepared.recording.is_some() {
        return Ok(());
    }
    for strategy in strategies {
        let mut wanted: BTreeMap<InstrumentId, Vec<Subscription>> = BTreeMap::new();
        for one in strategy.subscriptions() {
            wanted.entry(one.instrument).or_default().push(one);
        }
        for (instrument, wanted) in wanted {
            check_bars(prepared, strategy.name(), instrument, &wanted)?;
            check_quotes(prepared, strategy.name(), instrument, &wanted)?;
        }
    }
    Ok(())
}

/// What an instrument is called, and what bars it has.
fn shown(prepared: &Prepared, instrument: InstrumentId) -> (String, String) {
    let symbol = prepared.instruments.get(instrument).map(|it| it.symbol.to_string()).unwrap_or_default();
    let has = lengths(prepared, instrument).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (symbol, if has.is_empty() { "none".to_owned() } else { has })
}

fn check_bars(
    prepared: &Prepared,
    name: &str,
    instrument: InstrumentId,
    wanted: &[Subscription],
) -> Result<(), LaunchError> {
    let has_trades = of(prepared, instrument).any(|data| matches!(data, Dataset::Trades(_)));
    for length in wanted.iter().filter_map(|one| one.bar_interval) {
        let fits = |it: &Interval| it.length_ns().map(u128::from) == Some(length.as_nanos());
        if has_trades || lengths(prepared, instrument).iter().any(fits) {
            continue;
        }
        let (symbol, has) = shown(prepared, instrument);
        return Err(LaunchError::refused(
            "backtest",
            format!(
                "{name} waits for bars of {} s of {symbol}, and the data has {has}; \
                 set its length of bars (`{}.bar_s`) or give other data",
                length.as_secs(),
                name.replace('-', "_")
            ),
        ));
    }
    Ok(())
}

/// A strategy that hears of nothing but quotes would sit through the run.
fn check_quotes(
    prepared: &Prepared,
    name: &str,
    instrument: InstrumentId,
    wanted: &[Subscription],
) -> Result<(), LaunchError> {
    let has = |is: fn(&Dataset) -> bool| of(prepared, instrument).any(is);
    let has_trades = has(|data| matches!(data, Dataset::Trades(_)));
    let hears = wanted.iter().any(|one| one.bar_interval.is_some() || (one.trades && has_trades));
    let needs = wanted.iter().any(|one| one.top_of_book || one.depth);
    let is_fed = has(|data| matches!(data, Dataset::Quotes(_) | Dataset::Funding(_)));
    if name == LISTENER || hears || !needs || is_fed {
        return Ok(());
    }
    let (symbol, bars) = shown(prepared, instrument);
    let kind = if has_trades { "trades".to_owned() } else { format!("bars of {bars}") };
    Err(LaunchError::refused(
        "backtest",
        format!(
            "{name} decides on quotes, and the data of {symbol} has {kind} and no quotes; name a strategy that decides on bars \
             (--strategy ema-cross), or give quotes (--data {symbol}=QUOTES) or a recorded session"
        ),
    ))
}
