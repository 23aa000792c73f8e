//! Live arming in two steps: `launcher arm` shows what would be traded and a one-time code; `launcher confirm CODE` writes a
//! private file that is bound to account, venue, key, limits, configuration and binary. A start with the same of all of these is
//! armed, and so is each restart; any change disarms, and the message names what has changed.
//!
//! Invariants: the file holds no secret (the key as a fingerprint, the code as a hash); it counts only when it is a regular
//! file of ours that nobody else may read; a code is good once, for one minute, for three tries.

use super::account_lock::{key_fingerprint, venue_address};
use super::folder::compact_utc;
use crate::config::layers::Layers;
use crate::config::secrets::Keys;
use crate::config::{Config, text};
use crate::error::LaunchError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How long a code is good; unit: seconds.
pub const CODE_S: u64 = 60;
/// How often a wrong code may be tried.
const TRIES_MAX: u32 = 3;
/// Folder of the arming files within the data folder.
pub(super) const FOLDER: &str = "arming";
/// Longest arming file that is read; unit: bytes.
const BYTES_MAX: u64 = 1 << 20;
/// Most changes that a message names.
const CHANGES_MAX: usize = 8;
/// Settings that say where and how much is logged, and nothing about what is traded.
const NOT_BOUND: [&str; 1] = ["log."];
/// Letters of a code: none that is taken for another.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 8;

/// What an arming is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Name of the account.
    pub account: String,
    /// The venue's address.
    pub venue: String,
    /// Fingerprint of the key.
    pub key: String,
    /// Hash of the limits.
    pub limits_hash: String,
    /// Hash of the whole effective configuration.
    pub config_hash: String,
    /// Hash of the program.
    pub binary_hash: String,
    /// The effective configuration, so that a change can be named.
    pub settings: BTreeMap<String, String>,
}

/// An arming on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arming {
    /// What it is bound to.
    pub binding: Binding,
    /// When it was confirmed, UTC.
    pub utc: String,
    /// By whom.
    pub uid: u32,
}

/// What waits for its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    binding: Binding,
    /// Salt and hash of the code.
    salt: String,
    code_hash: String,
    /// Until when, unix nanoseconds.
    until_ns: u64,
    tries_left: u32,
    uid: u32,
}

impl Binding {
    /// What a start with this configuration, these keys and this program would be bound to.
    pub fn of(config: &Config, layers: &Layers, keys: &Keys) -> Result<Self, LaunchError> {
        let settings = settings(layers);
        let hash = |keep: &dyn Fn(&str) -> bool| {
            let lines = settings.iter().filter(|(key, _)| keep(key)).map(|(key, value)| format!("{key}={value}\n"));
            hex::encode(Sha256::digest(lines.collect::<String>().as_bytes()))
        };
        Ok(Self {
            account: config.account.clone(),
            venue: venue_address(config),
            key: key_fingerprint(keys),
            limits_hash: hash(&|key| key.starts_with("risk.")),
            config_hash: hash(&|_| true),
            binary_hash: binary_hash()?,
            settings,
        })
    }

    /// What differs, in words; empty when nothing does.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut compare = |what: &str, then: &str, now: &str| {
            if then != now {
                changes.push(format!("{what}: armed for {then}, now {now}"));
            }
        };
        compare("account", &self.account, &now.account);
        compare("venue", &self.venue, &now.venue);
        compare("key", &self.key, &now.key);
        compare("program", short(&self.binary_hash), short(&now.binary_hash));
        let keys: std::collections::BTreeSet<_> = self.settings.keys().chain(now.settings.keys()).collect();
        let value = |of: &Self, key: &String| of.settings.get(key).cloned().unwrap_or_else(|| "nothing".to_owned());
        for key in keys {
            compare(key, &value(self, key), &value(now, key));
        }
        if changes.is_empty() && self != now {
            changes.push("the arming file does not agree with itself".to_owned());
        }
        let more = changes.len().saturating_sub(CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        if more > 0 {
            changes.push(format!("and {more} more"));
        }
        changes
    }

    /// For people, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<(String, String)> {
        [
            ("account", &self.account),
            ("venue", &self.venue),
            ("key fingerprint", &self.key),
            ("limits hash", &self.limits_hash),
            ("configuration hash", &self.config_hash),
            ("binary hash", &self.binary_hash),
        ]
        .map(|(what, value)| (what.to_owned(), value.clone()))
        .to_vec()
    }
}

/// The first digits of a hash, enough for a person to compare.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

fn settings(layers: &Layers) -> BTreeMap<String, String> {
    let entries = text::effective_json(layers);
    let pair = |entry: &serde_json::Value| {
        let key = entry.get("key")?.as_str()?.to_owned();
        let is_bound = !NOT_BOUND.iter().any(|prefix| key.starts_with(prefix));
        is_bound.then(|| (key, entry.get("value").map(ToString::to_string).unwrap_or_default()))
    };
    entries.as_array().into_iter().flatten().filter_map(pair).collect()
}

/// The hash of the program that runs now, whatever has become of its file.
fn binary_hash() -> Result<String, LaunchError> {
    let path = PathBuf::from("/proc/self/exe");
    let failed = |source| io("read the program", &path, source);
    let mut file = File::open(&path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..count) {
            Some([]) | None => return Ok(hex::encode(hash.finalize())),
            Some(bytes) => hash.update(bytes),
        }
    }
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> LaunchError {
    LaunchError::Io {
        what,
        path: path.to_path_buf(),
        source,
        remedy: "check the permissions of the data folder".into(),
    }
}

fn refused(cause: impl ToString) -> LaunchError {
    LaunchError::refused("arming", cause)
}

/// A name of an account as part of a file name, never two alike.
fn file_of(data_dir: &Path, account: &str, what: &str) -> PathBuf {
    let name = hex::encode(Sha256::digest(account.as_bytes()));
    data_dir.join(FOLDER).join(format!("{what}-{}.json", short(&name)))
}

/// First step: what is to be confirmed waits, and the code is handed out.
pub fn arm(data_dir: &Path, binding: &Binding, now_ns: u64) -> Result<String, LaunchError> {
    let (code, salt) = (random_code()?, random_code()?);
    let folder = data_dir.join(FOLDER);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|source| io("make the folder", &folder, source))?;
    let pending = Pending {
        binding: binding.clone(),
        code_hash: code_hash(&salt, &code),
        salt,
        until_ns: now_ns.saturating_add(CODE_S * 1_000_000_000),
        tries_left: TRIES_MAX,
        uid: rustix::process::geteuid().as_raw(),
    };
    write_private(&folder.join("pending.json"), &pending)?;
    Ok(code)
}

/// Second step: the code makes an arming of what waits.
pub fn confirm(data_dir: &Path, code: &str, now_ns: u64) -> Result<Arming, LaunchError> {
    let path = data_dir.join(FOLDER).join("pending.json");
    let forget = || match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", &path, error)),
        _ => Ok(()),
    };
    let Some(mut pending) = read_private::<Pending>(&path)? else {
        return Err(refused("nothing waits for a code; begin with `launcher arm`"));
    };
    if now_ns >= pending.until_ns || pending.until_ns - now_ns > CODE_S * 1_000_000_000 {
        forget()?;
        return Err(refused(format!(
            "the code was good for {CODE_S} s and is no longer; `launcher arm` gives another"
        )));
    }
    if pending.binding.binary_hash != binary_hash()? {
        forget()?;
        return Err(refused("the program has changed since `launcher arm`; begin again"));
    }
    let given: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_uppercase();
    if code_hash(&pending.salt, &given) != pending.code_hash {
        pending.tries_left = pending.tries_left.saturating_sub(1);
        let left = pending.tries_left;
        if left == 0 {
            forget()?;
            return Err(refused("the code is wrong, and it was the last try; `launcher arm` gives another"));
        }
        write_private(&path, &pending)?;
        return Err(refused(format!("the code is wrong; {left} tries are left")));
    }
    // Used up before anything is armed: a code is good once.
    forget()?;
    let arming = Arming { binding: pending.binding, utc: compact_utc(now_ns), uid: pending.uid };
    write_private(&file_of(data_dir, &arming.binding.account, "live"), &arming)?;
    Ok(arming)
}

/// Takes an arming away, and what waits for a code; answers whether there was one.
pub fn disarm(data_dir: &Path, account: &str) -> Result<bool, LaunchError> {
    let mut was_armed = false;
    for path in [data_dir.join(FOLDER).join("pending.json"), file_of(data_dir, account, "live")] {
        match std::fs::remove_file(&path) {
            Ok(()) => was_armed = true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io("remove", &path, error)),
        }
    }
    Ok(was_armed)
}

/// Is there an arming to compare with?
#[must_use]
pub fn is_there(data_dir: &Path, account: &str) -> bool {
    file_of(data_dir, account, "live").symlink_metadata().is_ok()
}

/// Is a start with this binding armed?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Nobody has armed this account here.
    No,
    /// Armed, since when.
    Since(String),
    /// It was, for something else; it no longer is. What has changed.
    Changed(Vec<String>),
}

/// Looks the arming up. One that does not fit is taken away: a later change back does not arm again (RC-24).
pub fn look_up(data_dir: &Path, binding: &Binding) -> Result<Armed, LaunchError> {
    let path = file_of(data_dir, &binding.account, "live");
    let Some(arming) = read_private::<Arming>(&path)? else { return Ok(Armed::No) };
    let mut changes = arming.binding.changes(binding);
    let uid = rustix::process::geteuid().as_raw();
    if arming.uid != uid {
        changes.push(format!("user: armed by uid {}, now {uid}", arming.uid));
    }
    if changes.is_empty() {
        return Ok(Armed::Since(arming.utc));
    }
    std::fs::remove_file(&path).map_err(|source| io("remove", &path, source))?;
    Ok(Armed::Changed(changes))
}

fn code_hash(salt: &str, code: &str) -> String {
    hex::encode(Sha256::digest(format!("keel arming code 1\0{salt}\0{code}").as_bytes()))
}

fn random_code() -> Result<String, LaunchError> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0_u8; CODE_LETTERS];
    File::open(&path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| io("read random numbers from", &path, source))?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).map(|letter| char::from(*letter));
    Ok(bytes.iter().filter_map(letter).collect())
}

fn write_private<T: Serialize>(path: &Path, value: &T) -> Result<(), LaunchError> {
    let failed = |source| io("write", path, source);
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(std::io::Error::other(error)))?;
    let draft = path.with_extension("new");
    // A leftover, or something that somebody else has put there, is not written into.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)?;
    match path.parent().map(File::open) {
        Some(Ok(folder)) => folder.sync_all().map_err(failed),
        _ => Ok(()),
    }
}

/// What was checked is what is read: one open file.
fn read_private<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, LaunchError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", path, error)),
    };
    let found = file.metadata().map_err(|source| io("look at", path, source))?;
    let uid = rustix::process::geteuid().as_raw();
    let remedy = "remove it and arm again";
    if !found.is_file() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(refused(format!("{} is no private file of this user (0600); {remedy}", path.display())));
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|source| io("read", path, source))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| refused(format!("{} cannot be read ({error}); {remedy}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const S: u64 = 1_000_000_000;

    fn binding() -> Binding {
        Binding {
            account: "main".into(),
            venue: "https://x".into(),
            key: "0123".into(),
            limits_hash: "l".into(),
            config_hash: "c".into(),
            binary_hash: binary_hash().unwrap(),
            settings: [("risk.daily_loss_max_quote".to_owned(), "\"200\"".to_owned())].into(),
        }
    }

    #[test]
    fn x_19_rc_22_the_code_arms_once_and_the_same_start_stays_armed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look_up(dir.path(), &binding()).unwrap(), Armed::No);
        let code = arm(dir.path(), &binding(), S).unwrap();
        assert_eq!(code.len(), CODE_LETTERS);
        let spaced = format!("{} {}", code[..4].to_lowercase(), &code[4..]);
        confirm(dir.path(), &spaced, 30 * S).unwrap();
        for _ in 0..3 {
            assert!(matches!(look_up(dir.path(), &binding()).unwrap(), Armed::Since(_)));
        }
        let again = confirm(dir.path(), &code, 31 * S).unwrap_err().to_string();
        assert!(again.contains("nothing waits"), "{again}");
        let text = std::fs::read_to_string(file_of(dir.path(), "main", "live")).unwrap();
        assert!(!text.contains(&code));
        assert!(disarm(dir.path(), "main").unwrap() && !disarm(dir.path(), "main").unwrap());
        assert_eq!(look_up(dir.path(), &binding()).unwrap(), Armed::No);
    }

    #[test]
    fn x_19_a_code_is_good_for_a_minute_and_three_tries() {
        let dir = tempfile::tempdir().unwrap();
        let code = arm(dir.path(), &binding(), S).unwrap();
        let late = confirm(dir.path(), &code, 61 * S).unwrap_err().to_string();
        assert!(late.contains("60 s"), "{late}");
        let code = arm(dir.path(), &binding(), 100 * S).unwrap();
        // A clock that was set back does not make it good for longer.
        assert!(confirm(dir.path(), &code, S).is_err());
        let code = arm(dir.path(), &binding(), S).unwrap();
        for says in ["2 tries", "1 tries", "last try", "nothing waits"] {
            let wrong = confirm(dir.path(), "WRONG234", 2 * S).unwrap_err().to_string();
            assert!(wrong.contains(says), "{wrong}");
        }
        assert!(confirm(dir.path(), &code, 3 * S).is_err());
    }

    #[test]
    fn rc_24_o_02_any_change_disarms_and_is_named() {
        let changed = |change: fn(&mut Binding)| {
            let mut now = binding();
            change(&mut now);
            now
        };
        for (now, says) in [
            (changed(|it| it.venue = "https://y".into()), "venue: armed for https://x, now https://y"),
            (changed(|it| it.key = "4567".into()), "key: armed for 0123, now 4567"),
            (changed(|it| it.binary_hash = "00".into()), "program: armed for"),
            (
                changed(|it| drop(it.settings.insert("risk.daily_loss_max_quote".into(), "\"900\"".into()))),
                "risk.daily_loss_max_quote: armed for \"200\", now \"900\"",
            ),
            (changed(|it| drop(it.settings.insert("run.new".into(), "1".into()))), "run.new: armed for nothing, now 1"),
            (changed(|it| it.config_hash = "d".into()), "does not agree with itself"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let code = arm(dir.path(), &binding(), S).unwrap();
            confirm(dir.path(), &code, S).unwrap();
            let Armed::Changed(changes) = look_up(dir.path(), &now).unwrap() else { panic!("{says}: still armed") };
            assert!(changes.iter().any(|change| change.contains(says)), "{says}: {changes:?}");
            // Changing it back does not arm again.
            assert_eq!(look_up(dir.path(), &binding()).unwrap(), Armed::No);
        }
    }

    #[test]
    fn an_arming_that_others_may_read_or_that_is_a_link_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let code = arm(dir.path(), &binding(), S).unwrap();
        confirm(dir.path(), &code, S).unwrap();
        let path = file_of(dir.path(), "main", "live");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(look_up(dir.path(), &binding()).unwrap_err().to_string().contains("no private file"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(look_up(dir.path(), &binding()).is_err());
    }
}
