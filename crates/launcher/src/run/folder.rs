//! The data folder: lock, logs, and the folder of this session.
//!
//! Invariants: one process per data folder; paper and live never share a folder; a run against books that end with the process
//! (embedded venue, simulated fills) gets a fresh session folder, one against a separate venue goes on in the folder of that
//! venue; only session folders are ever removed, oldest first.

use crate::config::{Config, Mode, Venue};
use crate::error::LaunchError;
use keel_store::FolderLock;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Session folders kept; the oldest beyond are removed.
const SESSIONS_KEPT_MAX: usize = 100;
const SESSION_PREFIX: &str = "session-";

/// Where a run writes.
#[derive(Debug)]
pub struct Folders {
    /// Held as long as this lives.
    pub lock: FolderLock,
    /// Logs of all runs.
    pub logs: PathBuf,
    /// Of this session, or of the live account.
    pub session: PathBuf,
    /// Which bot this is: the first part of client order ids.
    pub instance: u32,
}

/// Makes and locks the folders. `now_ns` names the session.
pub fn open(config: &Config, now_ns: u64) -> Result<Folders, LaunchError> {
    let root = &config.data_dir;
    make(root)?;
    let root = root.canonicalize().map_err(|source| io("find", root, source))?;
    let lock = FolderLock::acquire(&root, &format!("{} run", config.mode))
        .map_err(|error| LaunchError::Locked(error.to_string()))?;
    super::drafts::remove(&root, now_ns);
    let logs = root.join("logs");
    make(&logs)?;
    let (session, name) = match config.mode {
        Mode::Live => {
            let name = format!("live-{}", config.account);
            (root.join(&name), format!("{}/{name}", root.display()))
        }
        Mode::Paper if lasting_venue(config).is_some() => {
            let venue = lasting_venue(config).unwrap_or_default();
            let name = format!("paper-{}-{venue}", config.account);
            (root.join(&name), format!("{}/{name}", root.display()))
        }
        Mode::Paper => {
            prune(&root);
            let name = format!("{SESSION_PREFIX}{}-{}", compact_utc(now_ns), std::process::id());
            (root.join(&name), format!("{name}/{now_ns}"))
        }
    };
    make(&session)?;
    Ok(Folders { lock, logs, session, instance: instance_of(&name) })
}

/// Host and port of a separate simulated venue, as part of a file name. Its books outlive this process, so the next run has
/// to know what this one left there.
fn lasting_venue(config: &Config) -> Option<String> {
    let Venue::Remote(endpoints) = &config.venue else { return None };
    let (_, address) = endpoints.rest_url.split_once("://")?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    endpoints.is_simulated.then(|| address.trim_end_matches('/').chars().map(plain).collect())
}

/// Can the data folder be used? Leaves nothing behind but the folder itself.
pub fn probe(config: &Config) -> Result<String, LaunchError> {
    let root = &config.data_dir;
    make(root)?;
    let root = root.canonicalize().map_err(|source| io("find", root, source))?;
    if let Some(holder) = FolderLock::holder(&root) {
        return Err(LaunchError::Locked(format!(
            "{} is in use by {holder}; stop that process or choose another (--data-dir)",
            root.display()
        )));
    }
    let path = root.join(".probe");
    std::fs::write(&path, b"probe")
        .and_then(|()| std::fs::remove_file(&path))
        .map_err(|source| io("write into", &root, source))?;
    Ok(format!("{} can be written and is free", root.display()))
}

fn make(path: &Path) -> Result<(), LaunchError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| io("make the folder", path, source))
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> LaunchError {
    LaunchError::Io {
        what,
        path: path.to_path_buf(),
        source,
        remedy: "choose a data folder that may be written (--data-dir)".into(),
    }
}

/// Removes the oldest sessions beyond what is kept. A failure is only logged.
fn prune(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    let mut sessions: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(SESSION_PREFIX))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    sessions.sort();
    let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_KEPT_MAX);
    for path in sessions.iter().take(surplus) {
        match std::fs::remove_dir_all(path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), kept = SESSIONS_KEPT_MAX, "an old paper session was removed")
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "an old paper session could not be removed"),
        }
    }
}

/// `20261121T120501.123Z`: sorts by time.
#[must_use]
pub fn compact_utc(now_ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

/// A stable number for a name (FNV-1a), never zero.
fn instance_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{layers::Layers, validate};

    fn config(root: &Path, mode: &str) -> Config {
        let mut layers = Layers::defaults().unwrap();
        layers
            .add_text(
                "x",
                &format!("[run]\ndata_dir = '{}'\nmode = '{mode}'\n[venue]\nname = 'binance'", root.display()),
            )
            .unwrap();
        validate(&layers).unwrap()
    }

    #[test]
    fn a_second_process_is_refused_and_told_who_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(&config(dir.path(), "paper"), 1).unwrap();
        let error = open(&config(dir.path(), "paper"), 2).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {} (paper run)", std::process::id())) && error.contains("--data-dir"),
            "{error}"
        );
        drop(first);
        drop(open(&config(dir.path(), "paper"), 3).unwrap());
    }

    #[test]
    fn paper_sessions_are_fresh_and_the_live_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (first, instance) = {
            let folders = open(&config(dir.path(), "paper"), 1_000_000_000).unwrap();
            (folders.session.clone(), folders.instance)
        };
        let second = open(&config(dir.path(), "paper"), 2_000_000_000).unwrap();
        assert_ne!(first, second.session);
        assert_ne!(instance, second.instance);
        assert!(first.file_name().unwrap().to_string_lossy().starts_with("session-19700101T000001"));
        drop(second);
        let live: Vec<_> = (0..2)
            .map(|at| open(&config(dir.path(), "live"), at).map(|it| (it.session, it.instance)).unwrap())
            .collect();
        assert_eq!(live[0], live[1]);
        assert!(live[0].0.ends_with("live-paper"));
    }

    #[test]
    fn on_a_separate_venue_the_next_run_knows_the_orders_of_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let on = |url: &str| {
            let mut config = config(dir.path(), "paper");
            if let Venue::Remote(endpoints) = &mut config.venue {
                endpoints.rest_url = url.into();
                endpoints.is_simulated = true;
            }
            open(&config, 7).map(|it| (it.session, it.instance)).unwrap()
        };
        let first = on("http://127.0.0.1:9080");
        assert_eq!(first, on("http://127.0.0.1:9080/"));
        assert_ne!(first, on("http://127.0.0.1:9081"));
        assert!(first.0.ends_with("paper-paper-127.0.0.1-9080"), "{first:?}");
    }

    #[test]
    fn only_old_sessions_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..SESSIONS_KEPT_MAX + 5 {
            std::fs::create_dir(dir.path().join(format!("session-{at:05}"))).unwrap();
        }
        std::fs::create_dir(dir.path().join("live-main")).unwrap();
        std::fs::write(dir.path().join("session-file"), "").unwrap();
        prune(dir.path());
        assert!(dir.path().join("live-main").exists() && dir.path().join("session-file").exists());
        assert!(!dir.path().join("session-00005").exists() && dir.path().join("session-00006").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = open(&config(&file.join("data"), "paper"), 1).unwrap_err().to_string();
        assert!(error.contains("file/data") && error.contains("--data-dir"), "{error}");
    }
}
