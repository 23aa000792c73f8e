//! One live bot per account, whatever data folder it runs on.
//!
//! The data folder's lock keeps two bots off one folder; this one keeps two bots of one user off one account. It is named
//! after the venue's address and a fingerprint of the key, and lies in the user's run folder: `$XDG_RUNTIME_DIR/keel`,
//! `/run/user/UID/keel` and `/tmp/keel-UID`, in each that can be had, so that a service and a shell with different
//! environments meet in at least one.
//!
//! Invariants: the folders are private (0700, ours, no link) or not used; the kernel holds the lock, so it ends with its
//! holder; at least one folder must be had, or live trading does not begin.

use crate::config::secrets::Keys;
use crate::config::{Config, Mode, Venue};
use crate::error::LaunchError;
use keel_store::{FolderLock, StoreError};
use rustix::fs::{CWD, Mode as FileMode};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Held until the end of the run.
#[derive(Debug, Default)]
#[must_use = "the account is held only as long as this lives"]
pub struct AccountLock {
    locks: Vec<FolderLock>,
}

/// What names a key without telling it: enough to tell two keys apart, nothing to find the key by.
#[must_use]
pub fn key_fingerprint(keys: &Keys) -> String {
    let mut hash = Sha256::new();
    hash.update(b"keel key fingerprint 1\0");
    hash.update(keys.api_key.expose_secret().as_bytes());
    hex::encode(hash.finalize()).chars().take(16).collect()
}

/// The address that the account is at.
#[must_use]
pub fn venue_address(config: &Config) -> String {
    match &config.venue {
        Venue::Embedded => "embedded".to_owned(),
        Venue::Remote(endpoints) => endpoints.rest_url.trim_end_matches('/').to_owned(),
    }
}

/// Takes the account for a live run; paper takes nothing.
pub fn take(config: &Config, keys: Option<&Keys>) -> Result<AccountLock, LaunchError> {
    match (config.mode, keys) {
        (Mode::Live, Some(keys)) => take_in(&run_folders(), config, keys),
        _ => Ok(AccountLock::default()),
    }
}

/// Where the locks may lie, whether they are there or not.
fn run_folders() -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let mut folders: Vec<PathBuf> = of_session.map(|path| path.join("keel")).into_iter().collect();
    for folder in [PathBuf::from(format!("/run/user/{uid}/keel")), PathBuf::from(format!("/tmp/keel-{uid}"))] {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn take_in(folders: &[PathBuf], config: &Config, keys: &Keys) -> Result<AccountLock, LaunchError> {
    let address = venue_address(config);
    let fingerprint = key_fingerprint(keys);
    let name = hex::encode(Sha256::digest(format!("{address}\0{fingerprint}"))).chars().take(24).collect::<String>();
    let purpose = format!("live run on {}", config.data_dir.canonicalize().unwrap_or_default().display());
    let mut locks = Vec::new();
    let mut refused = Vec::new();
    for folder in folders {
        let folder = match private(folder).and_then(|()| {
            let own = folder.join(&name);
            private(&own).map(|()| own)
        }) {
            Ok(folder) => folder,
            Err(why) => {
                refused.push(format!("{}: {why}", folder.display()));
                continue;
            }
        };
        match FolderLock::acquire(&folder, &purpose) {
            Ok(lock) => locks.push(lock),
            Err(StoreError::Locked { holder, .. }) => {
                return Err(LaunchError::Locked(format!(
                    "the account with key {fingerprint} at {address} is already traded by {holder}; \
                     two bots on one account would trade against each other's books. Stop that one first"
                )));
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    if locks.is_empty() {
        return Err(LaunchError::Locked(format!(
            "the account cannot be locked against a second bot, so live trading does not begin: {}",
            refused.join("; ")
        )));
    }
    Ok(AccountLock { locks })
}

/// Makes a private folder, or checks that the one that is there is private.
fn private(folder: &Path) -> Result<(), String> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {
            // Whatever the umask says.
            let mode = FileMode::RWXU;
            return rustix::fs::chmodat(CWD, folder, mode, rustix::fs::AtFlags::empty()).map_err(|it| it.to_string());
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    let found = folder.symlink_metadata().map_err(|error| error.to_string())?;
    let uid = rustix::process::geteuid().as_raw();
    match () {
        () if !found.is_dir() => Err("it is no folder".to_owned()),
        () if found.uid() != uid => Err(format!("it belongs to another user (uid {})", found.uid())),
        () if found.mode() & 0o077 != 0 => Err("others may enter it; make it private (chmod 700)".to_owned()),
        () => Ok(()),
    }
}

impl AccountLock {
    /// How many folders hold the lock.
    #[must_use]
    pub fn count(&self) -> usize {
        self.locks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{layers::Layers, secrets::KeyType, validate};
    use std::os::unix::fs::PermissionsExt;

    fn keys(key: &str) -> Keys {
        Keys { api_key: key.into(), secret: "s".into(), key_type: KeyType::Hmac, origin: "test".into() }
    }

    fn live(url: &str) -> Config {
        let mut layers = Layers::defaults().unwrap();
        layers.add_text("x", "[run]\nmode = 'live'\naccount = 'main'\n[venue]\nname = 'binance'\n").unwrap();
        let mut config = validate(&layers).unwrap();
        if let Venue::Remote(endpoints) = &mut config.venue {
            endpoints.rest_url = url.to_owned();
        }
        config
    }

    #[test]
    fn p_20_one_account_is_one_bot_s_whatever_the_data_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().join("a"), dir.path().join("b")];
        let first = take_in(&folders, &live("https://x"), &keys("one")).unwrap();
        assert_eq!(first.count(), 2);
        let message = take_in(&folders[1..], &live("https://x/"), &keys("one")).unwrap_err().to_string();
        assert!(message.contains(&format!("pid {}", std::process::id())), "{message}");
        assert!(!message.contains("one at"), "the key itself is told: {message}");
        drop(take_in(&folders, &live("https://x"), &keys("two")).unwrap());
        drop(take_in(&folders, &live("https://y"), &keys("one")).unwrap());
        drop(first);
        drop(take_in(&folders, &live("https://x"), &keys("one")).unwrap());
    }

    #[test]
    fn a_run_folder_that_others_may_enter_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (open, link, file) = (dir.path().join("open"), dir.path().join("link"), dir.path().join("file"));
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        std::fs::write(&file, "").unwrap();
        for (folder, why) in [(open, "chmod 700"), (link, "no folder"), (file, "no folder")] {
            let message =
                take_in(std::slice::from_ref(&folder), &live("https://x"), &keys("k")).unwrap_err().to_string();
            assert!(message.contains(why) && message.contains("does not begin"), "{message}");
        }
    }
}
