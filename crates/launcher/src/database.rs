//! The verbs about the database: what was traded, how far it is, and building it again from the journals.

use crate::cli::{Common, DatabaseArgs, DatabaseVerb, RunArgs, ShowTradesArgs};
use crate::config::{self, Config, DatabaseSettings};
use crate::error::LaunchError;
use crate::out;
use crate::verbs::show_list;
use keel_database::{Database, DbError, JournalRow, JournalSource, TradeRow, rebuild};
use keel_lifecycle::ExitStatus;
use keel_store::FolderLock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Other databases that a message names at most.
const OTHERS_MAX: usize = 5;

fn failed(error: DbError) -> LaunchError {
    LaunchError::start("database", error)
}

fn settings(common: &Common) -> Result<(Config, DatabaseSettings), LaunchError> {
    let layers = config::load_layers(common, &RunArgs::default())?;
    let config = config::validate(&layers)?;
    let settings = config.database.clone().ok_or_else(|| {
        LaunchError::config(
            layers.origin("database", "url"),
            "`database.url` is empty: there is no database",
            "write `sqlite` or an address",
        )
    })?;
    Ok((config, settings))
}

fn block_on<T>(work: impl Future<Output = Result<T, LaunchError>>) -> Result<T, LaunchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| LaunchError::start("database", error))?.block_on(work)
}

/// Opens the database that a run has made; never makes one.
async fn open(config: &Config, settings: &DatabaseSettings) -> Result<Database, LaunchError> {
    let options = crate::run::database::options(settings, &config.mode.to_string());
    let database = Database::open_lazy(options).map_err(failed)?;
    if !database.is_there() {
        let others = others_beside(settings.address.path());
        let hint = if others.is_empty() {
            String::new()
        } else {
            format!(". Beside it: {}; name the configuration of that run with -c", others.join(", "))
        };
        return Err(LaunchError::start(
            "database",
            format!("{} does not exist yet; a run makes it, or `launcher database rebuild`{hint}", settings.address),
        ));
    }
    database.prepare().await.map_err(failed)?;
    Ok(database)
}

/// Databases of other modes and accounts in the folder where this one is missing: a person meant perhaps one of them.
fn others_beside(missing: Option<&Path>) -> Vec<String> {
    let Some(Ok(entries)) = missing.and_then(Path::parent).map(std::fs::read_dir) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("keel-") && name.ends_with(".sqlite")).take(OTHERS_MAX).collect();
    names.sort();
    names
}

/// Does the database answer? What it is, in words; one that does not exist yet is no failure.
pub(crate) fn look(config: &Config) -> Result<String, LaunchError> {
    let Some(settings) = &config.database else { return Ok("none is configured".to_owned()) };
    if settings.address.path().is_some_and(|path| !path.exists()) {
        return Ok(format!("{} does not exist yet; a run makes it", settings.address));
    }
    block_on(async {
        let database = open(config, settings).await?;
        let journals = database.journals().await.map_err(failed);
        database.close(CLOSE_LIMIT).await.map_err(failed)?;
        Ok(format!("{} answers; journals in it: {}", settings.address, journals?.len()))
    })
}

/// `show-trades`.
pub fn show_trades(common: &Common, args: &ShowTradesArgs) -> Result<ExitStatus, LaunchError> {
    let (config, settings) = settings(common)?;
    let trades = block_on(async {
        let database = open(&config, &settings).await?;
        let trades = database.trades(args.symbol.as_deref(), args.limit).await.map_err(failed);
        database.close(CLOSE_LIMIT).await.map_err(failed)?;
        trades
    })?;
    if common.json {
        let json = serde_json::to_string(&trades).map_err(|error| LaunchError::start("show-trades", error))?;
        out::line(&json);
        return Ok(ExitStatus::Clean);
    }
    if trades.is_empty() {
        out::note("no trades");
    }
    let rows: Vec<Vec<String>> = trades
        .into_iter()
        .map(|it| {
            let fee = format!("{} {}", it.fee, it.fee_asset);
            let when = time_of(it.ts_booked_ns);
            vec![
                when,
                it.symbol,
                it.side,
                it.quantity,
                it.price,
                it.value,
                fee,
                it.liquidity,
                it.client_order_id,
                it.trade_id,
            ]
        })
        .collect();
    let head = ["booked (UTC)", "symbol", "side", "quantity", "price", "value", "fee", "liquidity", "order", "trade"];
    show_list(common, &head, &rows);
    Ok(ExitStatus::Clean)
}

/// The mode, the journals (oldest first) and the newest fills, newest first.
pub(crate) fn fills(common: &Common, count_max: u32) -> Result<(String, Vec<JournalRow>, Vec<TradeRow>), LaunchError> {
    let (config, settings) = settings(common)?;
    block_on(async {
        let database = open(&config, &settings).await?;
        let journals = database.journals().await.map_err(failed);
        let fills = database.trades(None, count_max).await.map_err(failed);
        database.close(CLOSE_LIMIT).await.map_err(failed)?;
        Ok((config.mode.to_string(), journals?, fills?))
    })
}

fn time_of(ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// `database status` and `database rebuild`.
pub fn database(common: &Common, args: &DatabaseArgs) -> Result<ExitStatus, LaunchError> {
    let (config, settings) = settings(common)?;
    match args.what {
        DatabaseVerb::Status => status(common, &config, &settings),
        DatabaseVerb::Rebuild => rebuild_all(common, &config, &settings),
    }
}

fn status(common: &Common, config: &Config, settings: &DatabaseSettings) -> Result<ExitStatus, LaunchError> {
    let journals = block_on(async {
        let database = open(config, settings).await?;
        let journals = database.journals().await.map_err(failed);
        database.close(CLOSE_LIMIT).await.map_err(failed)?;
        journals
    })?;
    out::note(&format!("{}, schema {}, mode {}", settings.address, keel_database::SCHEMA_VERSION, config.mode));
    let rows: Vec<Vec<String>> = journals
        .into_iter()
        .map(|it| {
            let held = keel_database::last_sequence(Path::new(&it.folder));
            let behind = held.ok().flatten().map_or_else(
                || "the journal is gone".to_owned(),
                |last| last.saturating_sub(u64::try_from(it.projected_sequence).unwrap_or(0)).to_string(),
            );
            let counts = [it.projected_sequence, it.sessions, it.orders, it.fills].map(|count| count.to_string());
            let [record, sessions, orders, fills] = counts;
            vec![it.instance.to_string(), record, behind, sessions, orders, fills, it.folder]
        })
        .collect();
    show_list(common, &["instance", "record", "behind", "runs", "orders", "fills", "journal"], &rows);
    Ok(ExitStatus::Clean)
}

fn rebuild_all(common: &Common, config: &Config, settings: &DatabaseSettings) -> Result<ExitStatus, LaunchError> {
    let root = config.data_dir.canonicalize().map_err(|source| LaunchError::Io {
        what: "find the data folder",
        path: config.data_dir.clone(),
        source,
        remedy: "name it with --data-dir".into(),
    })?;
    // A run that is under way writes the database itself.
    let lock =
        FolderLock::acquire(&root, "database rebuild").map_err(|error| LaunchError::Locked(error.to_string()))?;
    let journals = journals_of(&root, &crate::run::start::books_of(config))?;
    let mode = config.mode.to_string();
    let rows = block_on(async {
        let options = crate::run::database::options(settings, &mode);
        let (database, aside) = Database::open_anew(options).await.map_err(failed)?;
        if let Some(aside) = aside {
            out::note(&format!("the old file is damaged and kept as {}", aside.display()));
        }
        let built = rebuild_each(&database, &mode, &journals).await;
        database.close(CLOSE_LIMIT).await.map_err(failed)?;
        built
    })?;
    drop(lock);
    show_list(common, &["journal", "records", "what"], &rows);
    let is_whole = rows.iter().all(|row| row.last().is_some_and(|what| !what.starts_with("failed")));
    Ok(if is_whole { ExitStatus::Clean } else { ExitStatus::Failed })
}

async fn rebuild_each(database: &Database, mode: &str, journals: &[Found]) -> Result<Vec<Vec<String>>, LaunchError> {
    let mut rows = Vec::new();
    for (folder, instance) in journals {
        let row = |records: u64, what: String| vec![folder.display().to_string(), records.to_string(), what];
        let instance = match instance {
            Ok(instance) => *instance,
            Err(error) => {
                rows.push(row(0, format!("failed: {error}")));
                continue;
            }
        };
        let source = JournalSource::new(folder, instance, mode);
        rows.push(match rebuild(database, &source).await {
            Ok(built) if built.has_kept_older => {
                let first = built.first_sequence;
                row(
                    built.records,
                    format!("added; rows of records before {first} are kept, the journal no longer holds them"),
                )
            }
            Ok(built) => row(built.records, "built anew".into()),
            Err(error @ (DbError::Integrity { .. } | DbError::Journal(_) | DbError::Truncated(_))) => {
                row(0, format!("failed: {error}"))
            }
            Err(error) => return Err(failed(error)),
        });
    }
    Ok(rows)
}

/// Folder of a journal, and which bot wrote it or why it cannot be read.
type Found = (PathBuf, Result<u32, keel_store::StoreError>);

/// The journals in a data folder that hold these books, and those that cannot be read; none at all is an error.
fn journals_of(root: &Path, books: &str) -> Result<Vec<Found>, LaunchError> {
    let (mut found, mut others) = (Vec::new(), BTreeSet::new());
    for folder in journals_in(root) {
        match keel_store::verify(&folder) {
            Ok(report) if report.mode == books => found.push((folder, Ok(report.instance))),
            Ok(report) => {
                others.insert(report.mode);
            }
            Err(error) => found.push((folder, Err(error))),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let others: Vec<String> = others.into_iter().collect();
    let there = match others.as_slice() {
        [] => "name the data folder with --data-dir".to_owned(),
        others => format!("there are journals of {}: name their configuration with -c", others.join(", ")),
    };
    Err(LaunchError::start("database", format!("no journal of {books} found in {}; {there}", root.display())))
}

/// Folders of journals in a data folder, oldest name first.
fn journals_in(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path().join("journal"));
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("HEAD").is_file()).collect();
    folders.sort();
    folders
}
