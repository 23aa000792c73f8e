//! Snapshots: the whole state at one place of the journal, so that a start need not read everything before it.
//!
//! ```text
//! magic 8 | format u32 | header length u32 | header (postcard) | payload (its owner's format) | SHA-256 of all before
//! ```
//!
//! A snapshot is written beside its final name, made durable, renamed, and the folder is made durable. Two are kept, and the
//! segments from the older one on, so that a bad one costs a longer replay and nothing else. Invariants: a snapshot covers
//! only records that are durable; it says where in the journal it stands and what the hash chain is there, and a journal
//! that does not pass that place with that hash is damaged; segments are removed oldest first, so that no hole can come.

use crate::StoreError;
use crate::frame::Chain;
use crate::scan::{segment_path, segments_in};
use crate::writer::sync_folder;
use keel_model::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"KEELSNP\x01";
const FORMAT: u32 = 1;
const PREFIX_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const HEADER_BYTES_MAX: usize = 1 << 16;
/// How many snapshots are kept.
const KEPT: usize = 2;
/// Largest snapshot that is read; unit: bytes.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 32;

/// Where a snapshot stands, and what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Which bot.
    pub instance: u32,
    /// `paper`, `live`, …
    pub mode: String,
    /// Version of the program that wrote it.
    pub program: String,
    /// When, on the run's clock.
    pub ts: Timestamp,
    /// The last record that it covers; the end of a batch.
    pub sequence: u64,
    /// Segment in which the next batch begins.
    pub segment: u32,
    /// Offset of the next batch in it.
    pub offset: u64,
    /// Hash chain there.
    pub chain: [u8; 32],
    /// State digest, 64 hexadecimal digits.
    pub digest: String,
}

/// A snapshot that was read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it stands.
    pub header: SnapshotHeader,
    /// The state, in its owner's format.
    pub payload: Vec<u8>,
    /// Where it was read.
    pub path: PathBuf,
}

/// Path of the snapshot that covers records up to `sequence`.
#[must_use]
pub fn snapshot_path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("snapshot-{sequence:016}.snap"))
}

/// The snapshots of a folder by the last record that they cover, newest first; nothing is read.
pub fn list_snapshots(folder: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let entries = std::fs::read_dir(folder).map_err(|error| StoreError::io("list", folder, &error))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("list", folder, &error))?;
        let name = entry.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix("snapshot-")?.strip_suffix(".snap")?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(found)
}

/// Reads a snapshot and checks every byte of it.
pub fn read_snapshot(path: &Path) -> Result<Snapshot, StoreError> {
    let failed = |error: &std::io::Error| StoreError::io("read", path, error);
    let length = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > SNAPSHOT_BYTES_MAX {
        return Err(StoreError::corrupt(path, 0, format!("{length} bytes are more than a snapshot may have")));
    }
    let mut bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    let bad = |at: usize, cause: &str| StoreError::corrupt(path, at, cause);
    let (header, from, to) = parse(&bytes, path, &bad)?;
    if snapshot_path(Path::new(""), header.sequence).file_name() != path.file_name() {
        return Err(bad(0, "the name of the snapshot is not that of what is in it"));
    }
    bytes.truncate(to);
    bytes.drain(..from);
    Ok(Snapshot { header, payload: bytes, path: path.to_path_buf() })
}

/// Header, and where the payload begins and ends.
fn parse(
    bytes: &[u8],
    path: &Path,
    bad: &dyn Fn(usize, &str) -> StoreError,
) -> Result<(SnapshotHeader, usize, usize), StoreError> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..8) != Some(MAGIC) {
        return Err(bad(0, "it does not begin like a snapshot"));
    }
    let end = bytes.len().checked_sub(HASH_BYTES).filter(|end| *end >= PREFIX_BYTES);
    let end = end.ok_or_else(|| bad(bytes.len(), "the snapshot is cut short"))?;
    let (body, hash) = bytes.split_at(end);
    if Sha256::digest(body).as_slice() != hash {
        return Err(bad(0, "the hash of the snapshot is wrong"));
    }
    let format = word(8).unwrap_or(0);
    if format != FORMAT {
        return Err(StoreError::NewerFormat { path: path.to_path_buf(), found: format, known: FORMAT });
    }
    let from = PREFIX_BYTES + word(12).map_or(0, |length| length as usize).min(HEADER_BYTES_MAX);
    let header = body.get(PREFIX_BYTES..from).ok_or_else(|| bad(PREFIX_BYTES, "the header is cut short"))?;
    let header = postcard::from_bytes(header)
        .map_err(|error| bad(PREFIX_BYTES, &format!("the header of the snapshot cannot be read: {error}")))?;
    Ok((header, from, end))
}

/// What a snapshot is written into before it gets its name.
const DRAFT: &str = "snapshot.new";

/// For a start, under the folder's lock: removes the draft of a snapshot that a killed process left. It only takes space, so a
/// failure stops nothing.
pub(crate) fn remove_draft(folder: &Path) {
    let draft = folder.join(DRAFT);
    if let Err(error) = std::fs::remove_file(&draft)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %draft.display(), %error, "the draft of a snapshot cannot be removed");
    }
}

/// Makes a snapshot durable under its name. On an error nothing of it is left but perhaps a draft, which the next one replaces
/// and the next start removes.
pub fn write_snapshot(folder: &Path, header: &SnapshotHeader, payload: &[u8]) -> Result<PathBuf, StoreError> {
    let (path, draft) = (snapshot_path(folder, header.sequence), folder.join(DRAFT));
    let encoded = postcard::to_allocvec(header).map_err(|error| StoreError::Encode { cause: error.to_string() })?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES + encoded.len());
    prefix.extend_from_slice(MAGIC);
    prefix.extend_from_slice(&FORMAT.to_le_bytes());
    prefix.extend_from_slice(&u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_le_bytes());
    prefix.extend_from_slice(&encoded);
    let hash = Sha256::new().chain_update(&prefix).chain_update(payload).finalize();
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&prefix)?;
        file.write_all(payload)?;
        file.write_all(&hash)?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)
    };
    write().map_err(|error| StoreError::io("write", &path, &error))?;
    sync_folder(folder)?;
    Ok(path)
}

/// What was taken away because newer snapshots cover it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Snapshots removed.
    pub snapshots: usize,
    /// Segments removed.
    pub segments: usize,
}

/// Removes snapshots older than the newest two, and segments that lie wholly before the older of these two; at least
/// `segments_kept` segments stay in any case. Only snapshots that can be read count.
pub fn truncate(folder: &Path, segments_kept: usize) -> Result<Truncated, StoreError> {
    let mut gone = Truncated::default();
    let mut good = Vec::new();
    for (_, path) in list_snapshots(folder)? {
        if good.len() < KEPT {
            match read_snapshot(&path) {
                Ok(snapshot) => good.push(snapshot.header),
                Err(error) => tracing::warn!(%error, "a snapshot cannot be read; it is left where it is"),
            }
        } else {
            remove(&path)?;
            gone.snapshots += 1;
        }
    }
    let Some(oldest) = good.get(KEPT - 1) else { return Ok(gone) };
    let numbers = segments_in(folder)?;
    let surplus = numbers.len().saturating_sub(segments_kept.max(1));
    for number in numbers.into_iter().take(surplus).take_while(|number| *number < oldest.segment) {
        remove(&segment_path(folder, number))?;
        gone.segments += 1;
    }
    if gone != Truncated::default() {
        sync_folder(folder)?;
    }
    Ok(gone)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_file(path).map_err(|error| StoreError::io("remove", path, &error))
}

/// The newest snapshot that can be read, with what is wrong with newer ones. A folder whose first segment is gone needs one.
pub fn newest_snapshot(folder: &Path) -> Result<Option<Snapshot>, StoreError> {
    snapshot_before(folder, u64::MAX)
}

/// As [`newest_snapshot`], among those that cover no more than `sequence`.
pub fn snapshot_before(folder: &Path, sequence: u64) -> Result<Option<Snapshot>, StoreError> {
    for (_, path) in list_snapshots(folder)?.into_iter().filter(|(number, _)| *number <= sequence) {
        match read_snapshot(&path) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(error @ StoreError::NewerFormat { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be read; an older one and a longer replay are used")
            }
        }
    }
    Ok(None)
}

/// A place in the journal that a scan must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) segment: u32,
    pub(crate) chain: Chain,
}

impl From<&SnapshotHeader> for Place {
    fn from(header: &SnapshotHeader) -> Self {
        Self { sequence: header.sequence, segment: header.segment, chain: header.chain }
    }
}

/// Makes durable what was read of the segment, so that a snapshot never covers what the journal may still lose.
pub fn sync_segment(folder: &Path, number: u32) -> Result<(), StoreError> {
    let path = segment_path(folder, number);
    File::open(&path).and_then(|file| file.sync_data()).map_err(|error| StoreError::io("sync", &path, &error))
}
