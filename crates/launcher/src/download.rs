//! `launcher download-data`: historical data into the catalogue, from the cache, the venue's archives or REST.
//!
//! Runs under the same lifecycle as trading: a signal ends it in order, what was complete is kept, nothing else is left. One line
//! or one JSON object at the end says what there is now for each symbol.

mod progress;

use crate::cli::{Common, RunArgs};
use crate::config;
use crate::config::schema::RawHistory;
use crate::error::LaunchError;
use crate::{logging, out};
use clap::{Args, ValueEnum};
use keel_catalogue::{Catalogue, SeriesKey, SeriesKind};
use keel_history::{
    CacheStats, DataManager, Downloaded, HistoryError, Kind, Market, Patience, Request, RestBases, SourcePolicy, Span,
    VISION_BASE,
};
use keel_lifecycle::{
    Clock, ExitStatus, Lifecycle, LifecycleConfig, Program, RunContext, StopPlan, StopReason, StopStep,
};
use keel_marketdata::Interval;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What closing may take beyond the manager's own deadline.
const CLOSE_MARGIN: Duration = Duration::from_secs(1);

/// Flags of `download-data`.
#[derive(Clone, Debug, Args)]
pub struct DownloadArgs {
    /// The venue's symbols, comma-separated: BTCUSDT,ETHUSDT
    #[arg(long, visible_alias = "pairs", value_name = "SYMBOLS", value_delimiter = ',', required = true)]
    pub symbols: Vec<String>,
    /// Length of the bars: 1s (spot only), 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1mo [default: 1m]
    #[arg(long, visible_alias = "timeframe", value_name = "LENGTH")]
    pub interval: Option<String>,
    /// First day, or an instant such as 2024-01-01T12:00:00Z; UTC
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// The end, exclusive [default: now]
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// Kind of data
    #[arg(long, value_enum, default_value_t = KindWord::Klines)]
    pub kind: KindWord,
    /// Market of the venue
    #[arg(long, value_enum, default_value_t = MarketWord::Spot)]
    pub market: MarketWord,
    /// Where to take it from
    #[arg(long, value_enum, default_value_t = SourceWord::Auto)]
    pub source: SourceWord,
}

/// Kinds of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindWord {
    /// Bars
    Klines,
    /// Single trades
    Trades,
    /// Trades of one taker order at one price, put together
    AggTrades,
    /// Best bid and ask at each change (futures)
    BookTicker,
    /// Funding payments (futures)
    Funding,
}

/// Markets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MarketWord {
    /// Spot
    Spot,
    /// Futures margined in USD stablecoins
    Usdm,
    /// Futures margined in the coin
    Coinm,
}

/// Sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceWord {
    /// The cache, the archives for what is old enough, REST for the rest
    Auto,
    /// Only say what the cache has
    Cache,
    /// The archives alone
    Vision,
    /// REST alone
    Rest,
}

/// What became of one symbol.
struct Row {
    request: Request,
    result: Result<Downloaded, HistoryError>,
}

/// What the run comes to.
#[derive(Default)]
struct Outcome {
    rows: Vec<Row>,
    cache: CacheStats,
    failed: Option<HistoryError>,
}

/// `launcher download-data`.
pub fn download(common: &Common, args: &DownloadArgs) -> Result<ExitStatus, LaunchError> {
    let requests = requests(args, Clock::system().now_ns())?;
    let (outcome, folder, status) = carry_out(common, requests)?;
    tell(common, &folder, &outcome, status)
}

/// Fetches what the series lacks between its first and its last row in `span` (`--fill fetch`).
pub(crate) fn fill_in(
    common: &Common,
    catalogue: &Catalogue,
    key: &SeriesKey,
    span: Span,
) -> Result<ExitStatus, LaunchError> {
    let refused = |cause: String| LaunchError::refused("--fill fetch", cause);
    let data = catalogue.read(key, span).map_err(|error| refused(error.to_string()))?;
    let (Some(first), Some(last)) = (data.times().first(), data.times().last()) else { return Ok(ExitStatus::Clean) };
    let span = Span::new(*first, *last + 1);
    drop(data);
    let market = match (key.venue.as_str(), key.market.as_str()) {
        ("binance", "spot") => Market::Spot,
        ("binance", "um") => Market::Usdm,
        ("binance", "cm") => Market::Coinm,
        _ => return Err(refused(format!("{key} is of no venue that data can be fetched from; take --fill forward"))),
    };
    let kind = match key.kind {
        SeriesKind::Bars(interval) => Kind::Klines(interval),
        SeriesKind::Quotes => Kind::BookTicker,
        SeriesKind::Trades => Kind::Trades,
        SeriesKind::AggTrades => Kind::AggTrades,
        SeriesKind::Funding => Kind::Funding,
    };
    let request = Request { market, symbol: key.symbol.clone(), kind, span, source: SourcePolicy::Auto };
    request.check(Clock::system().now_ns()).map_err(|error| LaunchError::Usage(error.to_string()))?;
    let (outcome, _, status) = carry_out(common, vec![request])?;
    match outcome.rows.into_iter().find_map(|row| row.result.err()) {
        Some(error) => Err(told(&error)),
        None => Ok(status),
    }
}

/// Downloads under a lifecycle of its own.
fn carry_out(common: &Common, requests: Vec<Request>) -> Result<(Outcome, PathBuf, ExitStatus), LaunchError> {
    let layers = config::load_layers(common, &RunArgs::default())?;
    let raw = layers.to_raw()?;
    let mut log = config::validate(&layers)?.log;
    if !common.debug {
        log.level = log.level.min(tracing::Level::WARN);
    }
    let folder = Catalogue::of_data_dir(Path::new(&raw.run.data_dir)).root().to_owned();
    let logging = logging::start(&log, None, out::may_colour(common.no_color))?;
    let lifecycle = Lifecycle::start(LifecycleConfig::default()).map_err(|error| LaunchError::start("start", error))?;
    let outcome: Arc<Mutex<Outcome>> = Arc::default();
    let (for_run, at) = (outcome.clone(), folder.clone());
    let ended = lifecycle.run(move |context| program(context, raw.history, at, requests, for_run));
    logging.flush();
    for reason in ended.reasons.iter().filter(|reason| reason.is_failure()) {
        out::note(&format!("error: {reason}"));
    }
    let status = if ended.errors == 0 { ended.status() } else { ended.finish() };
    let outcome = std::mem::take(&mut *outcome.lock());
    match outcome.failed {
        Some(error) => Err(told(&error)),
        None => Ok((outcome, folder, status)),
    }
}

/// What is asked for, by symbol; everything that can be wrong about it without asking anybody is told here.
fn requests(args: &DownloadArgs, now_ns: u64) -> Result<Vec<Request>, LaunchError> {
    let time = |flag: &str, text: &str| {
        keel_catalogue::time_from_text(text).ok_or_else(|| {
            LaunchError::Usage(format!("{flag}: `{text}` is no date; write 2024-01-31, or 2024-01-31T12:00:00Z (UTC)"))
        })
    };
    let from_ns = time("--from", &args.from)?;
    let to_ns = args.to.as_deref().map_or(Ok(now_ns), |text| time("--to", text))?;
    let interval = args.interval.as_deref().map(str::parse::<Interval>).transpose();
    let interval = interval.map_err(|error| LaunchError::Usage(format!("--interval: {error}")))?;
    let kind = match (args.kind, interval) {
        (KindWord::Klines, interval) => Kind::Klines(interval.unwrap_or(Interval::MINUTE_1)),
        (_, Some(_)) => {
            return Err(LaunchError::Usage("--interval is of klines only; leave it out, or take --kind klines".into()));
        }
        (KindWord::Trades, None) => Kind::Trades,
        (KindWord::AggTrades, None) => Kind::AggTrades,
        (KindWord::BookTicker, None) => Kind::BookTicker,
        (KindWord::Funding, None) => Kind::Funding,
    };
    let market = match args.market {
        MarketWord::Spot => Market::Spot,
        MarketWord::Usdm => Market::Usdm,
        MarketWord::Coinm => Market::Coinm,
    };
    let source = match args.source {
        SourceWord::Auto => SourcePolicy::Auto,
        SourceWord::Cache => SourcePolicy::Cache,
        SourceWord::Vision => SourcePolicy::Vision,
        SourceWord::Rest => SourcePolicy::Rest,
    };
    let mut requests: Vec<Request> = Vec::new();
    for symbol in &args.symbols {
        let symbol = symbol.trim().to_ascii_uppercase();
        let request = Request { market, symbol, kind, span: Span::new(from_ns, to_ns), source };
        request.check(now_ns).map_err(|error| LaunchError::Usage(error.to_string()))?;
        if !requests.contains(&request) {
            requests.push(request);
        }
    }
    Ok(requests)
}

fn program(
    context: &RunContext,
    settings: RawHistory,
    folder: PathBuf,
    requests: Vec<Request>,
    outcome: Arc<Mutex<Outcome>>,
) -> Result<Program, LaunchError> {
    let slot: Arc<Mutex<Option<Arc<DataManager>>>> = Arc::default();
    let for_stop = slot.clone();
    let limit = Duration::from_secs_f64(settings.close_timeout_s) + CLOSE_MARGIN;
    let step = StopStep::new("close-downloads", limit, move |_| async move {
        let manager = for_stop.lock().take();
        match manager {
            None => Ok(()),
            Some(manager) => {
                let report = manager.close().await;
                if report.is_clean() { Ok(()) } else { Err(format!("{report:?}").into()) }
            }
        }
    });
    let plan = StopPlan::builder(limit + CLOSE_MARGIN).step(step.essential()).build();
    let plan = plan.map_err(|error| LaunchError::start("stop plan", error))?;
    let context = context.clone();
    Ok(Program::new(plan, async move {
        let bar = progress::start();
        match manager(&context, &settings, folder, bar.clone()) {
            Ok(manager) => {
                let manager = Arc::new(manager);
                *slot.lock() = Some(manager.clone());
                fetch_all(&manager, requests, &bar, &outcome).await;
            }
            Err(error) => outcome.lock().failed = Some(error),
        }
        bar.finish();
        context.stop.request(StopReason::Finished { what: "the download".to_owned() });
        Ok::<(), LaunchError>(())
    }))
}

fn manager(
    context: &RunContext,
    settings: &RawHistory,
    folder: PathBuf,
    bar: Arc<progress::Bar>,
) -> Result<DataManager, HistoryError> {
    let or = |own: &str, default: &str| if own.is_empty() { default.to_owned() } else { own.to_owned() };
    let venue = RestBases::default();
    let rest = RestBases {
        spot: or(&settings.spot_rest_url, &venue.spot),
        usdm: or(&settings.usdm_rest_url, &venue.usdm),
        coinm: or(&settings.coinm_rest_url, &venue.coinm),
    };
    let stall = Duration::from_secs_f64(settings.stall_timeout_s);
    DataManager::builder(folder)
        .vision_base(or(&settings.vision_url, VISION_BASE))
        .rest_bases(rest)
        .parallel(settings.parallel_count)
        .patience(Patience { stall, ..Patience::default() })
        .close_timeout(Duration::from_secs_f64(settings.close_timeout_s))
        .environment(context.clock.clone(), context.ledger.clone())
        .progress(bar)
        .build()
}

async fn fetch_all(manager: &DataManager, requests: Vec<Request>, bar: &progress::Bar, outcome: &Mutex<Outcome>) {
    for request in requests {
        bar.begin(&request);
        let result = manager.download(&request).await;
        // What concerns one symbol does not stop the others; what concerns all of them does.
        let is_over = matches!(
            result,
            Err(HistoryError::Unreachable { .. }
                | HistoryError::Limited { .. }
                | HistoryError::DiskFull { .. }
                | HistoryError::Io { .. }
                | HistoryError::Closed)
        );
        let mut outcome = outcome.lock();
        outcome.rows.push(Row { request, result });
        outcome.cache = manager.get_cache_stats();
        if is_over {
            return;
        }
    }
}

fn told(error: &HistoryError) -> LaunchError {
    if error.is_retryable() { LaunchError::start("download", error) } else { LaunchError::refused("download", error) }
}

/// The results, and the exit status that they make.
fn tell(common: &Common, folder: &Path, outcome: &Outcome, status: ExitStatus) -> Result<ExitStatus, LaunchError> {
    let mut worst = status;
    for row in &outcome.rows {
        match &row.result {
            Ok(downloaded) => warn_missing(&row.request, downloaded),
            Err(error) => {
                worst = worst.and(ExitStatus::Failed);
                out::note(&format!("error: {} {}: {error}", row.request.symbol, row.request.kind));
            }
        }
    }
    if status == ExitStatus::Interrupted {
        out::note("interrupted; what was complete is kept, and the same command goes on from there");
    }
    if common.json {
        let rows: Vec<Value> = outcome.rows.iter().map(as_json).collect();
        let CacheStats { hits, misses, errors } = outcome.cache;
        let cache = json!({ "hits": hits, "misses": misses, "errors": errors });
        let is_complete = worst == ExitStatus::Clean;
        let folder = folder.display().to_string();
        out::line(
            &json!({ "downloads": rows, "cache": cache, "catalogue": folder, "is_complete": is_complete }).to_string(),
        );
    } else if !outcome.rows.is_empty() {
        let head = ["symbol", "data", "rows", "archives", "rest", "MB", "from"].map(str::to_owned).to_vec();
        let rows = outcome.rows.iter().map(as_cells);
        out::line(&out::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        out::note(&format!("catalogue: {}", folder.display()));
    }
    Ok(worst)
}

fn warn_missing(request: &Request, downloaded: &Downloaded) {
    if let (Some(first), Some(last)) = (downloaded.missing.first(), downloaded.missing.last()) {
        let count = downloaded.missing.len();
        out::note(&format!(
            "warning: {}: {count} archives do not exist, from {first} to {last}; take --source auto to fill in from REST",
            request.symbol
        ));
    }
}

fn as_json(row: &Row) -> Value {
    let Request { market, symbol, kind, span, .. } = &row.request;
    let mut object = json!({
        "symbol": symbol,
        "market": market.as_str(),
        "kind": kind.as_str(),
        "interval": kind.interval().map(|interval| interval.to_string()),
        "from": keel_catalogue::time_to_text(span.from_ns),
        "to": keel_catalogue::time_to_text(span.to_ns),
    });
    let more = match &row.result {
        Ok(it) => json!({
            "rows": it.rows,
            "rows_fetched": it.rows_fetched,
            "is_hit": it.is_hit,
            "vision_pieces": it.vision_pieces,
            "rest_pieces": it.rest_pieces,
            "bytes": it.bytes,
            "checksum_failures": it.checksum_failures,
            "missing": it.missing,
        }),
        Err(error) => json!({ "error": error.to_string(), "is_retryable": error.is_retryable() }),
    };
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn as_cells(row: &Row) -> Vec<String> {
    let (symbol, kind) = (row.request.symbol.clone(), row.request.kind.to_string());
    match &row.result {
        Ok(it) => {
            let mb = format!("{:.1}", it.bytes as f64 / 1e6);
            let from = if it.is_hit { "cache" } else { "network" }.to_owned();
            vec![symbol, kind, it.rows.to_string(), it.vision_pieces.to_string(), it.rest_pieces.to_string(), mb, from]
        }
        Err(_) => vec![symbol, kind, "failed".to_owned()],
    }
}
