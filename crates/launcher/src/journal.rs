//! `launcher journal verify|export|replay|repair`: looking at a journal, and the way out of a damaged one. Nothing but `repair`
//! writes, and that only into a new folder; a running bot is not disturbed.

use crate::cli::{Common, RunArgs};
use crate::config;
use crate::control::data_dir;
use crate::error::LaunchError;
use crate::out;
use clap::{Args, Subcommand, ValueEnum};
use keel_engine::{Engine, EngineConfig};
use keel_execution::{ExecutionConfig, UnknownRule};
use keel_gateway::{RecordedEnd, ReplayOptions, Replayed, replay_journal};
use keel_lifecycle::ExitStatus;
use keel_model::instrument::{InstrumentKind, InstrumentStatus, LotRule};
use keel_model::{Asset, Instrument, InstrumentId, Instruments, Notional, Price, Quantity};
use keel_risk::RiskLimits;
use keel_store::{ExportFormat, Record, StoreError, VerifyReport, export, for_each, good_until, verify};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Flags of `journal`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub verb: JournalVerb,
}

/// What to do with a journal.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalVerb {
    /// Check every byte: checksums, hash chain, order, snapshots
    Verify(Where),
    /// Print the records as JSON
    Export(ExportArgs),
    /// Rebuild the state from the records and compare it with what each run wrote at its end
    Replay(ReplayArgs),
    /// Copy the good beginning of a damaged journal into a new folder; the damaged one stays as it is
    Repair(RepairArgs),
}

/// Which journal.
#[derive(Clone, Debug, Default, Args)]
pub struct Where {
    /// Folder of the journal or of its session [default: the newest in the data folder]
    pub path: Option<PathBuf>,
}

/// Flags of `journal export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Which journal.
    #[command(flatten)]
    pub at: Where,
    /// One object a line, or one array
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
    /// The last record to print
    #[arg(long, value_name = "SEQUENCE")]
    pub until: Option<u64>,
    /// Write to this new file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One JSON array.
    Json,
}

/// Flags of `journal replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Which journal.
    #[command(flatten)]
    pub at: Where,
    /// The last record to take
    #[arg(long, value_name = "SEQUENCE")]
    pub until: Option<u64>,
    /// Begin with the newest snapshot instead of the first record
    #[arg(long)]
    pub from_snapshot: bool,
}

/// Flags of `journal repair`.
#[derive(Clone, Debug, Args)]
pub struct RepairArgs {
    /// Which journal.
    #[command(flatten)]
    pub at: Where,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    /// The last record to keep [default: the last good one]
    #[arg(long, value_name = "SEQUENCE")]
    pub until: Option<u64>,
}

/// Does what was asked for.
pub fn run(common: &Common, args: &JournalArgs) -> Result<ExitStatus, LaunchError> {
    match &args.verb {
        JournalVerb::Verify(at) => show_verify(common, &find(common, at)?),
        JournalVerb::Export(args) => show_export(&find(common, &args.at)?, args),
        JournalVerb::Replay(args) => show_replay(common, &find(common, &args.at)?, args),
        JournalVerb::Repair(args) => repair(common, &find(common, &args.at)?, args),
    }
}

fn failed(error: StoreError) -> LaunchError {
    LaunchError::refused("journal", error)
}

/// The folder that holds the segments.
pub(crate) fn find(common: &Common, at: &Where) -> Result<PathBuf, LaunchError> {
    let holds = |path: &Path| path.join("HEAD").exists() || path.join("journal-00000001.seg").exists();
    if let Some(path) = &at.path {
        let inner = path.join("journal");
        return match (holds(path), holds(&inner)) {
            (true, _) => Ok(path.clone()),
            (false, true) => Ok(inner),
            (false, false) => newest(path)?.ok_or_else(|| nothing(path)),
        };
    }
    let root = data_dir(common)?;
    let found = newest(&root)?.ok_or_else(|| nothing(&root))?;
    out::note(&format!("journal: {}", found.display()));
    Ok(found)
}

fn nothing(path: &Path) -> LaunchError {
    let cause = format!("{} holds no journal; name the folder of a session or of its journal", path.display());
    LaunchError::refused("journal", cause)
}

/// The journal that was written to last, of all sessions in a data folder.
pub(crate) fn newest(root: &Path) -> Result<Option<PathBuf>, LaunchError> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let remedy = "name a folder that may be read".to_owned();
            return Err(LaunchError::Io { what: "list", path: root.to_path_buf(), source, remedy });
        }
    };
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let journal = entry.path().join("journal");
        if let Ok(written) = std::fs::metadata(journal.join("HEAD")).and_then(|data| data.modified()) {
            found.push((written, journal));
        }
    }
    found.sort();
    Ok(found.pop().map(|(_, path)| path))
}

fn show_verify(common: &Common, folder: &Path) -> Result<ExitStatus, LaunchError> {
    match verify(folder) {
        Ok(report) => {
            if common.json {
                let mut value = serde_json::to_value(&report).unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("ok".to_owned(), report.damaged_snapshots.is_empty().into());
                    fields.insert("folder".to_owned(), folder.display().to_string().into());
                }
                out::line(&value.to_string());
            } else {
                out::line(&describe(folder, &report));
            }
            match report.damaged_snapshots.as_slice() {
                [] => Ok(ExitStatus::Clean),
                damaged => Err(LaunchError::refused(
                    "journal",
                    format!(
                        "the records are good, but {} of its snapshots cannot be read: {}; a start does without them; move \
                         them out of the folder once the cause is known",
                        damaged.len(),
                        damaged.join("; ")
                    ),
                )),
            }
        }
        Err(error @ StoreError::Corrupt { .. }) => {
            let good = good_until(folder).unwrap_or(0);
            if common.json {
                let value = serde_json::json!({
                    "ok": false,
                    "folder": folder.display().to_string(),
                    "error": error.to_string(),
                    "good_until": good,
                });
                out::line(&value.to_string());
            }
            let keep = match good {
                0 => "no record can be trusted".to_owned(),
                good => format!(
                    "records up to {good} are good: `launcher journal export {0} --until {good}` prints them, \
                     `launcher journal repair {0} --to NEW-FOLDER` copies them",
                    folder.display()
                ),
            };
            Err(LaunchError::refused("journal", format!("{error}; {keep}")))
        }
        Err(error) => Err(failed(error)),
    }
}

fn describe(folder: &Path, report: &VerifyReport) -> String {
    let mut rows = vec![
        ("folder", folder.display().to_string()),
        ("mode", report.mode.clone()),
        ("instance", report.instance.to_string()),
        ("epoch", report.epoch.to_string()),
        ("records", report.records_total.to_string()),
        ("read", format!("{} records in {} batches, {} segments", report.records, report.batches, report.segments)),
        ("closed in order", if report.is_clean { "yes" } else { "no" }.to_owned()),
        ("chain", report.chain.clone()),
    ];
    if report.torn_tail_bytes > 0 {
        let text = format!("{} bytes of an interrupted write; cut off by the next start", report.torn_tail_bytes);
        rows.push(("torn tail", text));
    }
    if !report.snapshots.is_empty() {
        let list: Vec<String> = report.snapshots.iter().map(ToString::to_string).collect();
        rows.push(("snapshots at", list.join(", ")));
    }
    if let Some(holder) = &report.holder {
        rows.push(("written by", holder.clone()));
    }
    let result = match report.damaged_snapshots.len() {
        0 => "good".to_owned(),
        count => format!("records good, {count} damaged snapshots"),
    };
    rows.push(("result", result));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    out::table(&rows)
}

/// Hears whether the reader of a pipe has gone: then there is nothing left to do, and nothing has failed.
struct Pipe<W> {
    inner: W,
    is_broken: bool,
}

impl<W: Write> Pipe<W> {
    fn note<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        self.is_broken |= result.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.inner.flush();
        self.note(flushed)
    }
}

fn show_export(folder: &Path, args: &ExportArgs) -> Result<ExitStatus, LaunchError> {
    let format = match args.format {
        Format::Jsonl => ExportFormat::Lines,
        Format::Json => ExportFormat::Array,
    };
    let until = args.until.unwrap_or(u64::MAX);
    let Some(path) = &args.output else {
        let mut pipe = BufWriter::with_capacity(1 << 16, Pipe { inner: std::io::stdout().lock(), is_broken: false });
        let written = export(folder, format, until, &mut pipe);
        return match written {
            Err(_) if pipe.get_ref().is_broken => Ok(ExitStatus::Clean),
            Err(error) => {
                // What is good goes out before the error is told.
                out::remember(pipe.flush());
                Err(failed(error))
            }
            Ok(_) => Ok(ExitStatus::Clean),
        };
    };
    let refused = |source| LaunchError::Io {
        what: "write the export to",
        path: path.clone(),
        source,
        remedy: "name a new file in a folder of yours; existing files are never overwritten".into(),
    };
    if path.symlink_metadata().is_ok() {
        return Err(refused(std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
    }
    let (half, file) = keel_catalogue::HalfFile::create(path).map_err(refused)?;
    let mut buffered = BufWriter::with_capacity(1 << 16, file);
    let count = export(folder, format, until, &mut buffered).map_err(failed)?;
    let file = buffered.into_inner().map_err(|error| refused(error.into_error()))?;
    file.sync_all().and_then(|()| half.put(path)).map_err(refused)?;
    out::note(&format!("wrote {count} records to {}", path.display()));
    Ok(ExitStatus::Clean)
}

fn repair(common: &Common, folder: &Path, args: &RepairArgs) -> Result<ExitStatus, LaunchError> {
    let until = args.until.unwrap_or(u64::MAX);
    let salvaged = keel_store::salvage::salvage(folder, &args.to, until).map_err(failed)?;
    if common.json {
        out::line(&serde_json::to_value(&salvaged).unwrap_or_default().to_string());
    }
    out::note(&format!(
        "records 1 to {} are in {}; {} is as it was. To go on with the copy, move the old folder aside and the new one into \
         its place; the next start asks the venue for what is missing",
        salvaged.sequence,
        args.to.display(),
        folder.display()
    ));
    Ok(ExitStatus::Clean)
}

/// Assets that others are priced in, the longer names first.
const QUOTES: [&str; 12] = ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD", "GBP"];

/// Instruments by name alone: a journal names them and does not hold their rules, and a replay reviews nothing.
fn instruments_of(folder: &Path) -> Result<Instruments, LaunchError> {
    let mut instruments = Instruments::new();
    let mut add = |symbols: &[keel_model::ids::Symbol]| {
        for symbol in symbols {
            if instruments.by_symbol(symbol.as_str()).is_none() {
                instruments.upsert(plain(symbol));
            }
        }
    };
    if let Ok(Some(snapshot)) = keel_store::snapshot::newest_snapshot(folder) {
        add(&keel_gateway::replay::symbols_of(&snapshot));
    }
    let read = for_each(folder, &mut |entry| {
        if let Record::SessionStart(start) = &entry.record {
            add(&start.symbols);
        }
        Ok(())
    });
    read.map_err(failed)?;
    Ok(instruments)
}

fn plain(symbol: &keel_model::ids::Symbol) -> Instrument {
    let name = symbol.as_str();
    let split =
        QUOTES.iter().find_map(|quote| name.strip_suffix(quote).filter(|base| !base.is_empty()).map(|it| (it, *quote)));
    let (base, quote) = split.unwrap_or((name, "USDT"));
    let asset = |name: &str| name.parse::<Asset>().unwrap_or_default();
    let step = Quantity::new(1, 8).unwrap_or_default();
    Instrument {
        id: InstrumentId(0),
        symbol: *symbol,
        base: asset(base),
        quote: asset(quote),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: Price::new(1, 8).unwrap_or_default(),
        min_price: Price::ZERO,
        max_price: Price::ZERO,
        lot: LotRule { min: step, max: Quantity::from_int(1_000_000_000), step },
        market_lot: LotRule::default(),
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: false,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    }
}

/// An engine that sends nothing, for the state that the records come to.
fn plain_config(instruments: &Instruments, report: &VerifyReport) -> EngineConfig {
    EngineConfig {
        instruments: instruments.clone(),
        limits: RiskLimits {
            quote_asset: instruments.iter().next().map(|it| it.quote).unwrap_or_default(),
            ..RiskLimits::default()
        },
        execution: ExecutionConfig {
            instance: report.instance,
            epoch: report.epoch.saturating_add(1),
            ..ExecutionConfig::default()
        },
        ..EngineConfig::default()
    }
}

/// What the run went by when it called an order never accepted: where its configuration says another time than the default,
/// the replay needs the same.
fn rules_of_run(common: &Common, config: &mut EngineConfig) -> Result<(), LaunchError> {
    let run = config::validate(&config::load_layers(common, &RunArgs::default())?)?;
    let whole_ms = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX).max(1);
    config.execution.recv_window_ms = whole_ms(run.recv_window);
    if let (Some(bound), UnknownRule::Fence { staleness_bound_ms, staleness_bound_degraded_ms }) =
        (run.staleness_bound, &mut config.execution.unknown_rule)
    {
        *staleness_bound_ms = whole_ms(bound);
        *staleness_bound_degraded_ms = whole_ms(bound).max(*staleness_bound_degraded_ms);
    }
    Ok(())
}

/// The state that a journal replays to.
pub(crate) fn rebuild(folder: &Path) -> Result<(Engine, VerifyReport), LaunchError> {
    let report = verify(folder).map_err(failed)?;
    let instruments = instruments_of(folder)?;
    let config = plain_config(&instruments, &report);
    let mut make = || Engine::new(config.clone(), Vec::new()).map_err(|error| error.to_string());
    let (engine, _) = replay_journal(folder, &instruments, &mut make, &ReplayOptions::default())
        .map_err(|error| LaunchError::refused("journal", error))?;
    Ok((engine, report))
}

fn show_replay(common: &Common, folder: &Path, args: &ReplayArgs) -> Result<ExitStatus, LaunchError> {
    let report = verify(folder).map_err(failed)?;
    let instruments = instruments_of(folder)?;
    let mut config = plain_config(&instruments, &report);
    rules_of_run(common, &mut config)?;
    let options = ReplayOptions {
        until: args.until.unwrap_or(report.records_total),
        ignores_snapshots: !args.from_snapshot && report.records == report.records_total,
        compares_ends: true,
        is_cut: None,
    };
    let mut make = || Engine::new(config.clone(), Vec::new()).map_err(|error| error.to_string());
    let (engine, replayed) = replay_journal(folder, &instruments, &mut make, &options)
        .map_err(|error| LaunchError::refused("journal", error))?;
    show_state(common, folder, &engine, &replayed, &instruments);
    let wrong = |end: &&RecordedEnd| end.recorded != end.replayed;
    match replayed.ends.iter().find(wrong) {
        None => Ok(ExitStatus::Clean),
        Some(end) => Err(LaunchError::refused(
            "journal",
            format!(
                "the run that ended with record {} wrote the state digest {} and the replay comes to {}: the journal and that run \
                 differ; if it ran with another configuration, name that with -c",
                end.sequence, end.recorded, end.replayed
            ),
        )),
    }
}

fn show_state(common: &Common, folder: &Path, engine: &Engine, replayed: &Replayed, instruments: &Instruments) {
    let status = engine.status();
    let name = |id: InstrumentId| instruments.get(id).map_or_else(String::new, |it| it.symbol.to_string());
    let digest = engine.digest_of_replay().to_string();
    let matching = replayed.ends.iter().filter(|end| end.recorded == end.replayed).count();
    if common.json {
        let orders = status.open_orders.iter().map(|it| {
            serde_json::json!({
                "client_order_id": it.client_order_id.to_string(), "instrument": name(it.instrument),
                "side": format!("{:?}", it.side), "quantity": it.quantity.to_string(),
                "filled": it.cum_quantity.to_string(), "state": it.state,
            })
        });
        let positions = status.positions.iter().map(|it| {
            serde_json::json!({
                "instrument": name(it.instrument), "quantity": it.quantity.to_string(),
                "average_price": it.average_price.to_string(),
            })
        });
        let value = serde_json::json!({
            "folder": folder.display().to_string(),
            "records": replayed.records,
            "from_snapshot": replayed.snapshot_sequence,
            "until": replayed.sequence,
            "digest": digest,
            "ends": replayed.ends.len(),
            "ends_matching": matching,
            "open_orders": orders.collect::<Vec<_>>(),
            "positions": positions.collect::<Vec<_>>(),
        });
        out::line(&value.to_string());
        return;
    }
    let mut lines = vec![
        format!("folder: {}", folder.display()),
        format!("records: {} replayed, up to {}", replayed.records, replayed.sequence),
    ];
    if replayed.snapshot_sequence > 0 {
        lines.push(format!("snapshot: of record {}", replayed.snapshot_sequence));
    }
    lines.push(format!("state digest: {digest}"));
    lines.push(format!(
        "ends of runs: {} recorded, {matching} with the digest that the replay has",
        replayed.ends.len()
    ));
    lines.push(format!("open orders: {}", status.open_orders.len()));
    for order in &status.open_orders {
        lines.push(format!(
            "  {} {:?} {} {}, filled {}, {}",
            order.client_order_id,
            order.side,
            order.quantity,
            name(order.instrument),
            order.cum_quantity,
            order.state
        ));
    }
    lines.push(format!("positions: {}", status.positions.len()));
    for position in &status.positions {
        lines.push(format!("  {} {} at {}", name(position.instrument), position.quantity, position.average_price));
    }
    out::line(&lines.join("\n"));
}
