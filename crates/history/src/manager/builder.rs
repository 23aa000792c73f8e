//! Making a manager: what may be set, and what is opened.

use super::{CLOSE_TIMEOUT, DataManager, Held, Settings, VISION_BASE};
use crate::HistoryError;
use crate::cache::Cache;
use crate::fetch::{Fetch, HttpFetch};
use crate::part::{KEEP_BYTES_MIN, PART_ENDING, PartFolder};
use crate::progress::{NoProgress, Progress};
use crate::request::Market;
use crate::rest::RestBases;
use crate::transfer::Patience;
use crate::worker::Worker;
use keel_lifecycle::{CancellationToken, Clock, ResourceLedger};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Where downloads under way are, inside the cache's folder.
const PARTS: &str = ".downloads";
/// Downloads at the same time.
const PARALLEL: usize = 6;
/// The most of them.
const PARALLEL_MAX: usize = 32;
/// How often a file whose checksum fails is fetched.
const CHECKSUM_ATTEMPTS_MAX: u32 = 3;

/// A [`DataManager`] in the making.
#[derive(Clone, Debug)]
pub struct DataManagerBuilder {
    settings: Settings,
    keep_bytes_min: u64,
    session: Option<Arc<dyn Fetch>>,
    progress: Arc<dyn Progress>,
    clock: Clock,
    ledger: ResourceLedger,
}

impl DataManagerBuilder {
    pub(super) fn new(folder: PathBuf) -> Self {
        let clock = Clock::system();
        Self {
            settings: Settings {
                market: Market::Spot,
                folder,
                use_cache: true,
                vision_base: VISION_BASE.to_owned(),
                rest: RestBases::default(),
                patience: Patience::default(),
                parallel: PARALLEL,
                checksum_attempts_max: CHECKSUM_ATTEMPTS_MAX,
                close_timeout: CLOSE_TIMEOUT,
            },
            keep_bytes_min: KEEP_BYTES_MIN,
            session: None,
            progress: Arc::new(NoProgress),
            ledger: ResourceLedger::new(clock.clone()),
            clock,
        }
    }

    /// The market of [`DataManager::get_data`] [spot].
    #[must_use]
    pub const fn market(mut self, market: Market) -> Self {
        self.settings.market = market;
        self
    }

    /// Read from and write to the cache? [yes] Without it rows are held in memory, and nothing stays on the disk.
    #[must_use]
    pub const fn use_cache(mut self, use_cache: bool) -> Self {
        self.settings.use_cache = use_cache;
        self
    }

    /// Where the archives are [`VISION_BASE`].
    #[must_use]
    pub fn vision_base(mut self, base: impl Into<String>) -> Self {
        self.settings.vision_base = base.into().trim_end_matches('/').to_owned();
        self
    }

    /// Where REST is.
    #[must_use]
    pub fn rest_bases(mut self, bases: RestBases) -> Self {
        let trimmed = |base: String| base.trim_end_matches('/').to_owned();
        let RestBases { spot, usdm, coinm } = bases;
        self.settings.rest = RestBases { spot: trimmed(spot), usdm: trimmed(usdm), coinm: trimmed(coinm) };
        self
    }

    /// How long failures are borne.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Downloads at the same time, 1 to 32 [6].
    #[must_use]
    pub fn parallel(mut self, parallel: usize) -> Self {
        self.settings.parallel = parallel.clamp(1, PARALLEL_MAX);
        self
    }

    /// How long closing may take [5 s] (S4-016).
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.settings.close_timeout = timeout;
        self
    }

    /// From which length on a download that a kill cut short is resumed by the next run [32 MiB]. Unit: bytes.
    #[must_use]
    pub const fn keep_bytes_min(mut self, bytes: u64) -> Self {
        self.keep_bytes_min = bytes;
        self
    }

    /// A session of one's own instead of the one over HTTP.
    #[must_use]
    pub fn session(mut self, session: Arc<dyn Fetch>) -> Self {
        self.session = Some(session);
        self
    }

    /// Who is told how far it is.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The clock and the ledger of the program.
    #[must_use]
    pub fn environment(mut self, clock: Clock, ledger: ResourceLedger) -> Self {
        (self.clock, self.ledger) = (clock, ledger);
        self
    }

    /// Opens the folder, sweeps what a killed run left there, and starts the session and the writer.
    ///
    /// # Errors
    /// A base that is no `http(s)` address, a folder that cannot be used or that another download works in.
    pub fn build(self) -> Result<DataManager, HistoryError> {
        let settings = self.settings;
        let bases = [&settings.vision_base, &settings.rest.spot, &settings.rest.usdm, &settings.rest.coinm];
        let hosts = bases.map(|base| host(base));
        for (base, host) in bases.iter().zip(&hosts) {
            let is_loopback = host.as_deref().is_some_and(is_loopback);
            if host.is_none() || (base.starts_with("http://") && !is_loopback) {
                return Err(HistoryError::Request(format!(
                    "`{base}` is no address to fetch from; write https://host (http:// on loopback only)"
                )));
            }
        }
        let folder = &settings.folder;
        std::fs::create_dir_all(folder).map_err(|error| HistoryError::io("make the folder", folder, error))?;
        let lock = lock(folder)?;
        let parts = PartFolder::new(open_parts(folder)?, self.keep_bytes_min);
        let cache = Cache::open(folder);
        let all_loopback = hosts.iter().flatten().all(|host| is_loopback(host));
        let session = match self.session {
            Some(session) => session,
            None => HttpFetch::new(&self.ledger, settings.patience.stall, all_loopback)?,
        };
        let worker = Worker::start(&self.ledger)?;
        let held = Held { session: Some(session), worker: Some(worker), parts: Some(parts), lock: Some(lock) };
        Ok(DataManager {
            settings,
            cache,
            clock: self.clock,
            limits: Arc::default(),
            progress: self.progress,
            held: Mutex::new(held),
            closing: CancellationToken::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        })
    }
}

/// The host of an address without user and password.
fn host(base: &str) -> Option<String> {
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"))?;
    let authority = rest.split('/').next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    let is_host = !host.is_empty() && host.bytes().all(|it| it.is_ascii_alphanumeric() || b".-_[]:".contains(&it));
    is_host.then(|| host.trim_matches(['[', ']']).to_owned())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// One download at a time in a folder; the lock goes with the process, however that ends.
fn lock(folder: &Path) -> Result<File, HistoryError> {
    let file = File::open(folder).map_err(|error| HistoryError::io("open the folder", folder, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HistoryError::Busy { folder: folder.to_owned() }),
        Err(error) => Err(HistoryError::io("lock the folder", folder, error.into())),
    }
}

/// Makes the folder of downloads under way and removes what no run will go on with.
fn open_parts(folder: &Path) -> Result<PathBuf, HistoryError> {
    let path = folder.join(PARTS);
    std::fs::create_dir_all(&path).map_err(|error| HistoryError::io("make the folder", &path, error))?;
    let entries = std::fs::read_dir(&path).map_err(|error| HistoryError::io("read the folder", &path, error))?;
    for entry in entries.flatten() {
        let file = entry.path();
        let is_part = file.extension().is_some_and(|ending| ending == PART_ENDING);
        if !is_part && std::fs::remove_file(&file).is_ok() {
            tracing::info!(file = %file.display(), "swept a file that a killed download left");
        }
    }
    Ok(path)
}
