//! The configuration: written ([`schema::RawConfig`]), layered ([`layers::Layers`]) and finally checked ([`Config`]).
//!
//! Invariant: what a [`Config`] holds can be acted upon; nothing behind it checks a range or parses a text again.

pub mod backtest;
pub mod declared;
mod guards;
pub mod layers;
pub mod schema;
pub mod secrets;
pub mod text;

use crate::cli::{Common, RunArgs};
use crate::error::LaunchError;
use keel_model::{ExitPolicy, Notional, ids::Symbol};
use keel_strategy::{Params, registry};
use layers::Layers;
use schema::RawConfig;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Money at stake?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Play money.
    Paper,
    /// Real money.
    Live,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Live => "live",
        })
    }
}

/// Where orders go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Venue {
    /// The simulated exchange inside this process.
    Embedded,
    /// A venue that speaks the protocol, at these addresses.
    Remote(Endpoints),
}

/// Addresses of a venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// What people call it.
    pub name: String,
    /// REST, `http(s)://host[:port]`.
    pub rest_url: String,
    /// Market streams, `ws(s)://host[:port]`.
    pub stream_url: String,
    /// WebSocket API, `ws(s)://host[:port]/path`.
    pub ws_api_url: String,
    /// Is it a simulated venue of ours on this machine?
    pub is_simulated: bool,
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times real time.
    Times(f64),
    /// As fast as it goes, in process, on a virtual clock.
    Max,
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}x"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// A recorded session to trade.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The file.
    pub file: PathBuf,
    /// How fast.
    pub speed: Speed,
}

/// A strategy that was named, with its parameters checked.
#[derive(Clone, Debug, PartialEq)]
pub struct StrategyChoice {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Params,
}

/// Limits of risk.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskSettings {
    /// Per order.
    pub order_notional_max: Notional,
    /// Per instrument.
    pub position_notional_max: Notional,
    /// All positions together.
    pub gross_exposure_max: Notional,
    /// Open at once.
    pub open_orders_max: u32,
    /// Placed within a second.
    pub orders_per_s_max: u32,
    /// Distance from the market; unit: basis points.
    pub price_collar_bps: u32,
    /// Oldest quote that may decide; unit: milliseconds.
    pub reference_age_max_ms: u64,
    /// An equal order within this time is a duplicate; zero: no such limit; unit: milliseconds.
    pub duplicate_window_ms: u64,
    /// Loss of one day.
    pub daily_loss_max: Notional,
    /// Guards that watch over time, and protections.
    pub guards: keel_risk::GuardLimits,
}

/// When is an order durable?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurabilityChoice {
    /// On the disk before it is sent.
    Power,
    /// A block of ids is on the disk.
    Lease,
    /// Written, not forced.
    Process,
}

/// The database of people and queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Where it is; shown without user and password.
    pub address: keel_database::DatabaseAddress,
    /// Most connections.
    pub connections_max: u32,
    /// Longest wait for one.
    pub acquire_timeout: Duration,
    /// Longest wait for a lock.
    pub busy_timeout: Duration,
    /// Behind for longer than this is told.
    pub lag_alarm: Duration,
}

/// Starting again after a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    /// Wanted?
    pub is_auto: bool,
    /// The most restarts.
    pub restarts_max: u64,
    /// Wait before the first.
    pub delay: Duration,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// The least that is logged.
    pub level: tracing::Level,
    /// JSON on the terminal?
    pub is_json: bool,
    /// Files kept.
    pub files_max: usize,
}

/// Keys.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialSettings {
    /// File, when named.
    pub file: Option<PathBuf>,
    /// Ed25519 instead of HMAC?
    pub is_ed25519: bool,
}

/// A configuration that can be acted upon.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Money at stake?
    pub mode: Mode,
    /// Name of the account.
    pub account: String,
    /// How long; `None`: until stopped.
    pub duration: Option<Duration>,
    /// Folder of everything that is written.
    pub data_dir: PathBuf,
    /// What becomes of open orders.
    pub on_exit: ExitPolicy,
    /// Seed of the simulated market.
    pub seed: u64,
    /// How often a heartbeat line.
    pub heartbeat: Duration,
    /// Threads of the trading runtime.
    pub worker_threads: usize,
    /// Where orders go.
    pub venue: Venue,
    /// Validity of a signed request.
    pub recv_window: Duration,
    /// How long an accepted order may stay invisible at the venue; `None`: as the adapter says.
    pub staleness_bound: Option<Duration>,
    /// How often the books are compared with the venue's.
    pub reconcile_interval: Duration,
    /// An entry that has not filled after this time is cancelled.
    pub entry_timeout: Option<Duration>,
    /// An exit that has not filled after this time is cancelled.
    pub exit_timeout: Option<Duration>,
    /// After so many of those in a row it is closed at the market; zero means never.
    pub exit_timeouts_max: u32,
    /// Does an order or a fill of somebody else hold its instrument?
    pub holds_on_foreign: bool,
    /// Total limit of one request.
    pub request_timeout: Duration,
    /// What is traded.
    pub symbols: Vec<Symbol>,
    /// Were the symbols asked for, or are they the default?
    pub symbols_are_default: bool,
    /// Keys.
    pub credentials: CredentialSettings,
    /// Which strategies, with their parameters.
    pub strategies: Vec<StrategyChoice>,
    /// Limits.
    pub risk: RiskSettings,
    /// Durability of the journal.
    pub durability: DurabilityChoice,
    /// Records between two snapshots; zero: never one.
    pub snapshot_records: u64,
    /// Segments of the journal that are kept in any case.
    pub keep_segments: usize,
    /// The database of people and queries; `None` without one.
    pub database: Option<DatabaseSettings>,
    /// Latency of the embedded venue.
    pub simulation_latency: Duration,
    /// What a backtest trades and how it fills.
    pub backtest: backtest::BacktestSettings,
    /// The recording, when one is traded.
    pub replay: Option<Replay>,
    /// Time for the whole stop.
    pub stop_total: Duration,
    /// Where the observability server listens, if anywhere.
    pub observe: Option<SocketAddr>,
    /// Starting again.
    pub restart: Restart,
    /// Logs.
    pub log: LogSettings,
}

/// Reads all layers.
pub fn load_layers(common: &Common, run: &RunArgs) -> Result<Layers, LaunchError> {
    let mut layers = Layers::defaults()?;
    for file in &common.config {
        let (name, text) = read_file(file)?;
        layers.add_text(&name, &text)?;
    }
    layers.add_variables(std::env::vars_os())?;
    for name in Layers::misspelled(std::env::vars_os().map(|(name, _)| name)) {
        let wanted = name.replacen("KEEL_", "KEEL__", 1);
        crate::out::note(&format!("warning: variable {name} is not read; did you mean {wanted}?"));
    }
    common.apply(&mut layers)?;
    run.apply(&mut layers)?;
    Ok(layers)
}

/// Most bytes of a configuration file; a larger one is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

fn read_file(path: &Path) -> Result<(String, String), LaunchError> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |source: std::io::Error| LaunchError::Io {
        what: "read the configuration",
        path: PathBuf::from(&name),
        remedy: "check path and permissions, or write one with `launcher new-config`".into(),
        source,
    };
    let mut bytes = Vec::new();
    let read = if is_stdin {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(LaunchError::config(name, "the file is larger than 1 MiB", "this is not a configuration file"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            Err(LaunchError::config(
                format!("{name}, line {line}"),
                format!("byte {at} is not UTF-8"),
                "save the file as UTF-8",
            ))
        }
    }
}

/// Turns checked layers into a configuration, with the checks that concern more than one key.
pub fn validate(layers: &Layers) -> Result<Config, LaunchError> {
    let raw = layers.to_raw()?;
    let refuse = |section: &str, key: &str, cause: String, remedy: &str| {
        LaunchError::config(layers.origin(section, key), format!("`{section}.{key}`: {cause}"), remedy)
    };
    let mode = if raw.run.mode == "live" { Mode::Live } else { Mode::Paper };
    let replay = replay(layers, &raw)?;
    let venue = venue(layers, &raw)?;
    check_mode(layers, mode, &venue, replay.is_some())?;
    check_account(&raw.run.account).map_err(|cause| refuse("run", "account", cause, "use letters, digits, - and _"))?;
    Ok(Config {
        mode,
        duration: (raw.run.duration_s > 0.0).then(|| Duration::from_secs_f64(raw.run.duration_s)),
        data_dir: PathBuf::from(&raw.run.data_dir),
        on_exit: match raw.run.on_exit.as_str() {
            "cancel-all" => ExitPolicy::CancelAll,
            "keep" => ExitPolicy::Keep,
            "flatten" => ExitPolicy::Flatten,
            _ => ExitPolicy::CancelEntries,
        },
        seed: raw.run.seed,
        heartbeat: Duration::from_secs_f64(raw.run.heartbeat_s),
        worker_threads: raw.run.worker_threads_count,
        recv_window: Duration::from_millis(raw.venue.recv_window_ms),
        reconcile_interval: Duration::from_secs_f64(raw.reconciliation.interval_s),
        entry_timeout: Some(Duration::from_secs_f64(raw.strategy.entry_timeout_s)).filter(|it| !it.is_zero()),
        exit_timeout: Some(Duration::from_secs_f64(raw.strategy.exit_timeout_s)).filter(|it| !it.is_zero()),
        exit_timeouts_max: u32::try_from(raw.strategy.exit_timeouts_max_count).unwrap_or(u32::MAX),
        holds_on_foreign: raw.reconciliation.on_foreign == "hold",
        staleness_bound: Some(Duration::from_millis(raw.venue.staleness_bound_ms)).filter(|it| !it.is_zero()),
        request_timeout: Duration::from_millis(raw.venue.request_timeout_ms),
        symbols: symbols(layers, &raw)?,
        symbols_are_default: layers.origin("venue", "symbols") == layers::Origin::Default,
        credentials: CredentialSettings {
            file: (!raw.credentials.file.is_empty()).then(|| PathBuf::from(&raw.credentials.file)),
            is_ed25519: raw.credentials.key_type == "ed25519",
        },
        strategies: check_notionals(layers, &raw, strategies(layers, &raw)?)?,
        risk: guards::risk_settings(layers, &raw)?,
        database: database(layers, &raw, mode)?,
        snapshot_records: raw.journal.snapshot_records_count,
        keep_segments: usize::try_from(raw.journal.keep_segments_count).unwrap_or(usize::MAX),
        durability: match raw.journal.durability.as_str() {
            "lease" => DurabilityChoice::Lease,
            "process" => DurabilityChoice::Process,
            _ => DurabilityChoice::Power,
        },
        simulation_latency: Duration::from_micros(raw.simulation.latency_us),
        backtest: backtest::settings(layers, &raw.backtest)?,
        stop_total: Duration::from_millis(raw.stop.total_ms),
        observe: observe(layers, &raw.observe.address)?,
        restart: Restart {
            is_auto: raw.restart.auto,
            restarts_max: raw.restart.restarts_max_count,
            delay: Duration::from_secs_f64(raw.restart.delay_s),
        },
        log: LogSettings {
            level: raw.log.level.parse().unwrap_or(tracing::Level::INFO),
            is_json: raw.log.format == "json",
            files_max: usize::try_from(raw.log.files_max_count).unwrap_or(7),
        },
        account: raw.run.account,
        venue,
        replay,
    })
}

fn observe(layers: &Layers, address: &str) -> Result<Option<SocketAddr>, LaunchError> {
    if address.is_empty() {
        return Ok(None);
    }
    let place = || layers.origin("observe", "address");
    let found: SocketAddr = address.parse().map_err(|_| {
        LaunchError::config(place(), format!("`observe.address` is '{address}', not an address"), "try 127.0.0.1:8080")
    })?;
    if !found.ip().is_loopback() {
        return Err(LaunchError::config(
            place(),
            format!("`observe.address` {found} can be reached from other machines, and the server speaks no TLS"),
            "use 127.0.0.1 and a proxy with TLS in front of it, or an SSH tunnel",
        ));
    }
    Ok(Some(found))
}

fn check_mode(layers: &Layers, mode: Mode, venue: &Venue, has_replay: bool) -> Result<(), LaunchError> {
    let place = layers.origin("run", "mode");
    match (mode, venue) {
        (Mode::Live, _) if has_replay => Err(LaunchError::config(
            place,
            "live trading of a recording makes no sense",
            "leave out --live or --replay",
        )),
        (Mode::Live, Venue::Embedded) => Err(LaunchError::config(
            place,
            "`run.mode` is live, but `venue.name` is embedded, which is play money",
            "name a venue: --venue binance, or `venue.name` in the configuration",
        )),
        (_, Venue::Remote(_)) if has_replay => Err(LaunchError::config(
            layers.origin("venue", "name"),
            "a recording is traded on the embedded venue only",
            "leave out --venue, or serve the recording with `launcher venue --replay FILE`",
        )),
        (Mode::Paper, Venue::Remote(endpoints)) if endpoints.name == "binance-testnet" => Err(LaunchError::config(
            layers.origin("venue", "name"),
            "the testnet takes real orders of an account with keys, so it is not paper",
            "use --live --venue binance-testnet with testnet keys, or --venue binance for real data with simulated fills",
        )),
        _ => Ok(()),
    }
}

fn database(layers: &Layers, raw: &RawConfig, mode: Mode) -> Result<Option<DatabaseSettings>, LaunchError> {
    let (own, base) = (&raw.database, PathBuf::from(&raw.run.data_dir));
    let address = match own.url.as_str() {
        "" => return Ok(None),
        "sqlite" if mode == Mode::Live => {
            keel_database::DatabaseAddress::file(base.join(format!("keel-live-{}.sqlite", raw.run.account)))
        }
        "sqlite" => keel_database::DatabaseAddress::file(base.join("keel-paper.sqlite")),
        url => keel_database::DatabaseAddress::parse(url, &base).map_err(|error| {
            LaunchError::config(
                layers.origin("database", "url"),
                format!("`database.url`: {error}"),
                "or `sqlite` for a file in the data folder, or nothing for no database",
            )
        })?,
    };
    Ok(Some(DatabaseSettings {
        address,
        connections_max: own.connections_max_count,
        acquire_timeout: Duration::from_millis(own.acquire_timeout_ms),
        busy_timeout: Duration::from_millis(own.busy_timeout_ms),
        lag_alarm: Duration::from_millis(own.lag_alarm_ms),
    }))
}

fn check_account(account: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if account.is_empty() || account.len() > 32 || !account.chars().all(fits) {
        return Err(format!("`{account}` is not a name of 1 to 32 characters"));
    }
    Ok(())
}

fn replay(layers: &Layers, raw: &RawConfig) -> Result<Option<Replay>, LaunchError> {
    let speed = parse_speed(&raw.replay.speed).map_err(|cause| {
        LaunchError::config(
            layers.origin("replay", "speed"),
            format!("`replay.speed`: {cause}"),
            "write 1, a number such as 20, or max",
        )
    })?;
    Ok((!raw.replay.file.is_empty()).then(|| Replay { file: PathBuf::from(&raw.replay.file), speed }))
}

/// `1`, `N` or `max`.
pub fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(times) if (0.01..=100_000.0).contains(&times) => Ok(Speed::Times(times)),
        Ok(times) => Err(format!("{times} is outside 0.01 to 100000")),
        Err(_) => Err(format!("'{text}' is not a speed")),
    }
}

fn symbols(layers: &Layers, raw: &RawConfig) -> Result<Vec<Symbol>, LaunchError> {
    let refuse = |cause: String| {
        LaunchError::config(
            layers.origin("venue", "symbols"),
            format!("`venue.symbols`: {cause}"),
            "write symbols as the venue does, such as BTCUSDT",
        )
    };
    if raw.venue.symbols.is_empty() || raw.venue.symbols.len() > 200 {
        return Err(refuse(format!("{} symbols; between 1 and 200 can be traded", raw.venue.symbols.len())));
    }
    let mut symbols: Vec<Symbol> = Vec::new();
    for text in &raw.venue.symbols {
        let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        let symbol =
            Symbol::new(text).ok().filter(|_| is_plain).ok_or_else(|| refuse(format!("'{text}' is not a symbol")))?;
        if symbols.contains(&symbol) {
            return Err(refuse(format!("'{text}' is named twice")));
        }
        symbols.push(symbol);
    }
    Ok(symbols)
}

fn strategies(layers: &Layers, raw: &RawConfig) -> Result<Vec<StrategyChoice>, LaunchError> {
    let place = || layers.origin("strategy", "names");
    if raw.strategy.names.is_empty() {
        return Err(LaunchError::config(
            place(),
            "`strategy.names` is empty",
            "name one; `launcher list-strategies` shows them",
        ));
    }
    let mut choices: Vec<StrategyChoice> = Vec::new();
    for name in &raw.strategy.names {
        if cfg!(debug_assertions) && crate::TEST_STRATEGIES.contains(&name.as_str()) {
            choices.push(StrategyChoice { name: name.clone(), params: Params::new() });
            continue;
        }
        let info = registry::find(name)
            .map_err(|error| LaunchError::config(place(), error, "`launcher list-strategies` shows them"))?;
        if choices.iter().any(|other| other.name == info.name) {
            return Err(LaunchError::config(place(), format!("strategy `{name}` is named twice"), "name it once"));
        }
        let section = info.section();
        let params = layers.section(&section).fold(Params::new(), |params, (key, value)| params.with(key, value));
        let params = layers
            .section(declared::EXITS)
            .fold(params, |params, (key, value)| params.with(&format!("{}{key}", keel_strategy::exits::PREFIX), value));
        registry::check(info.name, &params).map_err(|error| {
            let at_exits = error.to_string().starts_with("strategy `exits`");
            let place = if at_exits { declared::EXITS } else { section.as_str() };
            LaunchError::config(format!("section [{place}]"), error, "correct it there")
        })?;
        choices.push(StrategyChoice { name: info.name.to_owned(), params });
    }
    Ok(choices)
}

/// A strategy whose orders are all larger than the limit of one order would be denied each time.
fn check_notionals(
    layers: &Layers,
    raw: &RawConfig,
    choices: Vec<StrategyChoice>,
) -> Result<Vec<StrategyChoice>, LaunchError> {
    let Ok(limit) = raw.risk.order_notional_max_quote.parse::<Notional>() else { return Ok(choices) };
    for choice in &choices {
        let section = choice.name.replace('-', "_");
        for (key, value) in layers.section(&section) {
            let is_order = ["quote_notional_quote", "order_notional_quote"].contains(&key);
            let Ok(wanted) = value.to_string().parse::<Notional>() else { continue };
            if is_order && wanted > limit {
                return Err(LaunchError::config(
                    layers.origin("risk", "order_notional_max_quote"),
                    format!(
                        "`{section}.{key}` is {wanted}, above `risk.order_notional_max_quote` {limit}: risk would deny each order"
                    ),
                    "raise the limit or lower the strategy's",
                ));
            }
        }
    }
    Ok(choices)
}

fn venue(layers: &Layers, raw: &RawConfig) -> Result<Venue, LaunchError> {
    let checked = |key: &str, text: &str, schemes: [&str; 2]| -> Result<(), LaunchError> {
        let host = schemes.iter().find_map(|scheme| text.strip_prefix(&format!("{scheme}://")));
        if host.is_some_and(|host| !host.is_empty() && !host.contains('@') && !host.contains(char::is_whitespace)) {
            return Ok(());
        }
        let cause = format!("`venue.{key}` is '{}', not an address", text::redact_url(text));
        Err(LaunchError::config(
            layers.origin("venue", key),
            cause,
            format!("write {}://host:port without user or password", schemes[0]),
        ))
    };
    let mut endpoints = if !raw.venue.url.is_empty() {
        checked("url", &raw.venue.url, ["http", "https"])?;
        let base = raw.venue.url.trim_end_matches('/');
        let sockets = base.replacen("http", "ws", 1);
        Endpoints {
            name: base.to_owned(),
            rest_url: base.to_owned(),
            stream_url: sockets.clone(),
            ws_api_url: format!("{sockets}/ws-api/v3"),
            is_simulated: true,
        }
    } else {
        match raw.venue.name.as_str() {
            "embedded" => return Ok(Venue::Embedded),
            "binance-testnet" => fixed(
                "binance-testnet",
                "https://testnet.binance.vision",
                "wss://stream.testnet.binance.vision",
                "wss://ws-api.testnet.binance.vision/ws-api/v3",
            ),
            _ => fixed(
                "binance",
                "https://api.binance.com",
                "wss://stream.binance.com:9443",
                "wss://ws-api.binance.com:443/ws-api/v3",
            ),
        }
    };
    for (key, own, to, schemes) in [
        ("rest_url", &raw.venue.rest_url, &mut endpoints.rest_url, ["https", "http"]),
        ("stream_url", &raw.venue.stream_url, &mut endpoints.stream_url, ["wss", "ws"]),
        ("ws_api_url", &raw.venue.ws_api_url, &mut endpoints.ws_api_url, ["wss", "ws"]),
    ] {
        if !own.is_empty() {
            checked(key, own, schemes)?;
            *to = own.trim_end_matches('/').to_owned();
        }
    }
    if raw.run.mode == "paper" && endpoints.is_simulated && !is_loopback(&endpoints.rest_url) {
        return Err(LaunchError::config(
            layers.origin("venue", "url"),
            format!(
                "`venue.url` {} is not on this machine, and paper orders go only to a simulated venue",
                endpoints.rest_url
            ),
            "use 127.0.0.1, or --venue binance for real data with simulated fills",
        ));
    }
    Ok(Venue::Remote(endpoints))
}

fn fixed(name: &str, rest: &str, stream: &str, ws_api: &str) -> Endpoints {
    Endpoints {
        name: name.into(),
        rest_url: rest.into(),
        stream_url: stream.into(),
        ws_api_url: ws_api.into(),
        is_simulated: false,
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .map_or_else(|| host.split(':').next().unwrap_or_default(), |v6| v6.split(']').next().unwrap_or_default());
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
