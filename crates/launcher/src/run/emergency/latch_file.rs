//! The latch on disk: a small private file in the session's folder, written beside, synced, and moved into place.
//!
//! Invariant: while the file is there and nobody has rearmed it, no start trades. A file that cannot be read counts as held.

use super::super::folder::compact_utc;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the file in the session's folder.
pub const LATCH_FILE: &str = "EMERGENCY.json";
/// Longest file that is read; unit: bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// A person's word that it may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearmed {
    /// When, UTC.
    pub utc: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Rearmed {
    /// Now.
    #[must_use]
    pub fn new(now_ns: u64, by: &str, reason: &str) -> Self {
        Self { utc: compact_utc(now_ns), by: by.to_owned(), reason: reason.to_owned() }
    }
}

/// An emergency stop that holds until a person lifts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// When, unix nanoseconds.
    pub ts_ns: u64,
    /// When, UTC, for people.
    pub utc: String,
    /// What triggered it.
    pub trigger: String,
    /// Why.
    pub reason: String,
    /// The process that latched it.
    pub pid: u32,
    /// Set when a person has lifted it.
    pub rearmed: Option<Rearmed>,
}

impl Latch {
    /// Latched now.
    #[must_use]
    pub fn new(now_ns: u64, trigger: &str, reason: &str) -> Self {
        Self {
            ts_ns: now_ns,
            utc: compact_utc(now_ns),
            trigger: trigger.to_owned(),
            reason: reason.to_owned(),
            pid: std::process::id(),
            rearmed: None,
        }
    }

    /// Stands for a file that is there and cannot be read.
    #[must_use]
    pub fn unreadable(now_ns: u64, why: &str) -> Self {
        Self::new(now_ns, &format!("a latch file that cannot be read ({why})"), "it counts as held")
    }

    /// Who, when, why.
    #[must_use]
    pub fn words(&self) -> String {
        format!("an emergency stop, triggered by {} at {}: {}", self.trigger, self.utc, self.reason)
    }
}

/// Reads it; `None` when there is none.
pub fn read(folder: &Path) -> Result<Option<Latch>, String> {
    let file = match File::open(folder.join(LATCH_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map(Some).map_err(|error| error.to_string())
}

/// Writes it; when this returns it is on disk.
pub fn write(folder: &Path, latch: &Latch) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(latch).map_err(std::io::Error::other)?;
    let (draft, path) = (folder.join("EMERGENCY.json.new"), folder.join(LATCH_FILE));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, &path)?;
    File::open(folder)?.sync_all()
}

/// Keeps what happened under a name of its own and removes the latch.
pub fn archive(folder: &Path, latch: &Latch) -> std::io::Result<()> {
    write(folder, latch)?;
    let kept = folder.join(format!("emergency-{}.json", latch.utc));
    std::fs::rename(folder.join(LATCH_FILE), kept)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o_05_the_latch_survives_and_is_archived_when_a_person_lifts_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Ok(None));
        let mut latch = Latch::new(1_000_000_000, "SIGUSR2", "because");
        write(dir.path(), &latch).unwrap();
        assert_eq!(read(dir.path()), Ok(Some(latch.clone())));
        latch.rearmed = Some(Rearmed::new(2_000_000_000, "uid 0", "looked"));
        archive(dir.path(), &latch).unwrap();
        assert_eq!(read(dir.path()), Ok(None));
        let kept = std::fs::read_to_string(dir.path().join(format!("emergency-{}.json", latch.utc))).unwrap();
        assert!(kept.contains("because") && kept.contains("looked"), "{kept}");
    }

    #[test]
    fn o_05_a_latch_that_cannot_be_read_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in ["", "{", "null", "{\"utc\":\"x\"}"] {
            std::fs::write(dir.path().join(LATCH_FILE), bytes).unwrap();
            assert!(read(dir.path()).is_err(), "{bytes:?}");
        }
    }
}
