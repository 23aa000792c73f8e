//! From files and configuration to what a backtest runs on: instruments with the steps of the data, markets, series, limits.

use super::fit;
use super::sources::{self, Between, OneSeries};
use crate::config::Config;
use crate::error::LaunchError;
use crate::{recording, run};
use keel_backtest::{JobConfig, ReplayConfig, Rows, Series};
use keel_catalogue::Dataset;
use keel_exchange::binance::spot::capabilities;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Notional, Price, Quantity,
    ids::Symbol,
};
use keel_sim::{FeeModel, HistoryLimits, LatencyModel, MarketKind, SimConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A request takes at least this long to the venue of a recording and back, as in paper.
const RECORDING_WAY: Duration = Duration::from_millis(1);
/// Places of the quantity step where nothing is set and the data has fewer.
const LOT_PLACES_MIN: u8 = 6;
/// Places of price and quantity together that the simulated venue computes with.
const PLACES_MAX: u8 = 16;
/// What the simulated venue remembers of each kind.
const HISTORY_MAX: usize = 1_024;
/// Number of the account in order ids; a backtest sends none anywhere.
const INSTANCE: u32 = 1;

/// `FILE` or `SYMBOL=FILE`; instead of a file also a series of the catalogue, `venue/market/symbol/kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataArg {
    /// Of which instrument, when it was said.
    pub symbol: Option<String>,
    /// The file, or the series.
    pub file: PathBuf,
}

impl DataArg {
    /// Takes what stands before the first `=` for a symbol when it looks like one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_symbol =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        let is_word = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        match text.split_once('=') {
            Some((symbol, file)) if is_symbol(symbol) && !file.is_empty() => {
                Ok(Self { symbol: Some(symbol.to_owned()), file: PathBuf::from(file) })
            }
            Some((name, file)) if is_word(name) && !file.is_empty() && !Path::new(text).exists() => Err(format!(
                "`{name}` is no symbol: symbols are capital letters and digits; write {}={file}",
                name.to_ascii_uppercase()
            )),
            _ if text.is_empty() => Err("name a file, or SYMBOL=FILE".to_owned()),
            _ => Ok(Self { symbol: None, file: PathBuf::from(text) }),
        }
    }
}

/// Data of one file.
#[derive(Debug)]
pub struct Loaded {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Its rows.
    pub data: Dataset,
}

/// Everything that a run needs beside its settings.
#[derive(Debug)]
pub struct Prepared {
    /// What is traded.
    pub instruments: Instruments,
    /// Where the liquidity of each comes from.
    pub markets: Vec<MarketKind>,
    /// Rows.
    pub loaded: Vec<Loaded>,
    /// The recorded session that is played instead.
    pub recording: Option<PathBuf>,
    /// Rows that several files had; each was taken once.
    pub doubled: u64,
}

impl Prepared {
    /// The rows as the driver takes them.
    #[must_use]
    pub fn series(&self) -> Vec<Series<'_>> {
        self.loaded.iter().filter_map(rows_of).collect()
    }
}

const fn rows_of(loaded: &Loaded) -> Option<Series<'_>> {
    let rows = match &loaded.data {
        Dataset::Bars(bars) => Rows::Bars(bars),
        Dataset::Quotes(quotes) => Rows::Quotes(quotes),
        Dataset::Trades(trades) => Rows::Trades(trades),
        Dataset::Funding(funding) => Rows::Funding(funding),
        Dataset::Recording(_) => return None,
    };
    Some(Series { instrument: loaded.instrument, rows })
}

/// Reads what is named and makes instruments of it.
pub fn prepare(config: &Config, data: &[DataArg], between: Between) -> Result<Prepared, LaunchError> {
    let sources::Sources { series: read, doubled } = sources::load(config, data, between)?;
    if read.iter().any(|one| matches!(one.data, Dataset::Recording(_))) {
        let [OneSeries { data: Dataset::Recording(file), .. }] = read.as_slice() else {
            return Err(LaunchError::refused(
                "data",
                "a recorded session holds all its instruments and is played alone; name it as the only --data",
            ));
        };
        return of_recording(config, data, file);
    }
    let mut symbols: Vec<String> = Vec::new();
    for one in &read {
        if !symbols.contains(&one.symbol) {
            symbols.push(one.symbol.clone());
        }
    }
    let (mut instruments, mut markets) = (Instruments::new(), Vec::new());
    for symbol in &symbols {
        let own: Vec<&Dataset> = read.iter().filter(|one| one.symbol == *symbol).map(|one| &one.data).collect();
        instruments.upsert(instrument(config, symbol, &own)?);
        let has = |wanted: fn(&Dataset) -> bool| own.iter().any(|one| wanted(one));
        let (has_quotes, has_trades) =
            (has(|it| matches!(it, Dataset::Quotes(_))), has(|it| matches!(it, Dataset::Trades(_))));
        markets.push(if has_quotes && has_trades { MarketKind::External } else { MarketKind::Touch });
    }
    let id = |symbol: &str| instruments.by_symbol(symbol).map(|it| it.id).unwrap_or_default();
    let loaded = read
        .into_iter()
        .map(|one| {
            let id = id(&one.symbol);
            one.into_loaded(id)
        })
        .collect();
    Ok(Prepared { instruments, markets, loaded, recording: None, doubled })
}

fn of_recording(config: &Config, data: &[DataArg], file: &Path) -> Result<Prepared, LaunchError> {
    let contents = recording::scan(file)?;
    let named = data.iter().find_map(|one| one.symbol.clone());
    let mut instruments = contents.instruments.clone();
    if named.is_some() || !config.symbols_are_default {
        let wanted = named.map_or_else(|| config.symbols.iter().map(ToString::to_string).collect(), |one| vec![one]);
        instruments = Instruments::new();
        for symbol in wanted {
            let found = contents.instruments.by_symbol(&symbol).ok_or_else(|| {
                let has = contents.instruments.iter().map(|it| it.symbol.to_string()).collect::<Vec<_>>().join(", ");
                LaunchError::refused("recording", format!("it does not hold the instrument {symbol}; it holds {has}"))
            })?;
            instruments.upsert(found.clone());
        }
    }
    let markets = instruments.iter().map(|_| MarketKind::External).collect();
    Ok(Prepared { instruments, markets, loaded: Vec::new(), recording: Some(file.to_path_buf()), doubled: 0 })
}

fn instrument(config: &Config, symbol: &str, data: &[&Dataset]) -> Result<Instrument, LaunchError> {
    let settings = &config.backtest;
    let quote = settings.quote_asset;
    let base = symbol.strip_suffix(quote.as_str()).filter(|base| !base.is_empty());
    let base = base.and_then(|base| Asset::new(base).ok()).ok_or_else(|| {
        let cause = format!("{symbol} is not quoted in `backtest.quote_asset` {quote}");
        LaunchError::refused("data", format!("{cause}; set the asset, or name the symbol: --data BTC{quote}=FILE"))
    })?;
    let places = |pick: fn(&Dataset) -> Option<(u8, u8)>| {
        data.iter().filter_map(|one| pick(one)).reduce(|(a, b), (c, d)| (a.max(c), b.max(d)))
    };
    let (price_places, quantity_places) = places(|data| match data {
        Dataset::Bars(bars) => Some((bars.price_scale, bars.quantity_scale)),
        Dataset::Quotes(quotes) => Some((quotes.price_scale, quotes.quantity_scale)),
        Dataset::Trades(trades) => Some((trades.price_scale, trades.quantity_scale)),
        Dataset::Funding(_) | Dataset::Recording(_) => None,
    })
    .ok_or_else(|| LaunchError::refused("data", format!("{symbol} has no prices; add bars, quotes or trades of it")))?;
    let step = |places: u8| Quantity::new(1, places).unwrap_or(Quantity::from_int(1));
    // Volumes are often round; orders need not be. Price and quantity together have at most 16 places.
    let lot_places = quantity_places.max(LOT_PLACES_MIN).min(PLACES_MAX.saturating_sub(price_places));
    let lot = settings.lot.unwrap_or_else(|| step(lot_places));
    Ok(Instrument {
        id: InstrumentId::default(),
        symbol: Symbol::new(symbol).map_err(|error| LaunchError::refused("data", error))?,
        base,
        quote,
        kind: settings.kind,
        status: InstrumentStatus::Trading,
        tick_size: settings.tick.unwrap_or_else(|| Price::new(1, price_places).unwrap_or(Price::from_int(1))),
        min_price: Price::ZERO,
        max_price: Price::ZERO,
        lot: LotRule { min: lot, max: Quantity::ZERO, step: lot },
        market_lot: LotRule::default(),
        min_notional: settings.notional_min,
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    })
}

/// What engine and venue are set up with.
#[must_use]
pub fn job(config: &Config, prepared: &Prepared) -> JobConfig {
    let settings = &config.backtest;
    let is_recording = prepared.recording.is_some();
    let engine = run::engine_config(config, &prepared.instruments, &capabilities(config.recv_window), INSTANCE, 1);
    let mut replay = ReplayConfig {
        engine,
        sim: SimConfig { seed: config.seed, publish_market_data: false, ..SimConfig::default() },
        markets: prepared.markets.clone(),
        exit_policy: config.on_exit,
        ..ReplayConfig::default()
    };
    if is_recording {
        // As a paper run on the same recording.
        let way = config.simulation_latency.max(RECORDING_WAY);
        replay.sim.latency = LatencyModel { order_in: way, report_out: way, ..LatencyModel::default() };
        replay.balances = run::simulated_balances(&prepared.instruments);
        return JobConfig { replay, ..JobConfig::default() };
    }
    replay.engine.limits.leverage_max = settings.leverage_max;
    fit::limits_for_bars(&mut replay.engine.limits, prepared);
    // The venue's books are in this process; they are compared at the start.
    replay.engine.reconcile_interval_ms = 0;
    replay.engine.has_trade_prices = true;
    replay.sim = SimConfig {
        fees: FeeModel { maker: settings.maker_fee, taker: settings.taker_fee },
        latency: LatencyModel {
            order_in: settings.latency,
            order_in_jitter: settings.latency_jitter,
            report_out: settings.latency,
            report_out_jitter: settings.latency_jitter,
        },
        queue: settings.queue,
        bar_fill: settings.fill,
        slippage_bps: settings.slippage_bps,
        participation_bps: settings.participation_bps,
        leverage_max: settings.leverage_max,
        maintenance_margin_bps: settings.maintenance_margin_bps,
        // Nobody asks this venue about the past.
        limits: HistoryLimits {
            closed_orders_max: HISTORY_MAX,
            account_trades_max: HISTORY_MAX,
            public_trades_max: HISTORY_MAX,
            ..HistoryLimits::default()
        },
        ..replay.sim
    };
    replay.is_instant = settings.latency.is_zero() && settings.latency_jitter.is_zero();
    replay.timer_interval = settings.timer;
    replay.balances = balances(config, &prepared.instruments);
    JobConfig { replay, warmup_rows: settings.warmup_rows, ..JobConfig::default() }
}

fn balances(config: &Config, instruments: &Instruments) -> Vec<(Asset, Notional)> {
    let settings = &config.backtest;
    let mut balances = vec![(settings.quote_asset, settings.balance_quote)];
    for instrument in instruments.iter().filter(|it| it.kind == InstrumentKind::Spot) {
        if !balances.iter().any(|(asset, _)| *asset == instrument.base) {
            balances.push((instrument.base, settings.balance_base));
        }
    }
    balances
}
