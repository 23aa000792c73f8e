//! Looking at a journal without opening it: verify, list, export. Nothing is changed, and a running bot is not disturbed.

use crate::StoreError;
use crate::head::Head;
use crate::lock::FolderLock;
use crate::record::Entry;
use crate::scan::{self, End, Pass, Visit};
use crate::snapshot::{Place, SnapshotHeader, list_snapshots, read_snapshot};
use std::io::Write;
use std::path::Path;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// Which bot.
    pub instance: u32,
    /// Its last start.
    pub epoch: u32,
    /// `paper`, `live`, …
    pub mode: String,
    /// Records read, all of them readable and chained.
    pub records: u64,
    /// Records ever written: what stands before the first one read is covered by a snapshot.
    pub records_total: u64,
    /// Batches.
    pub batches: u64,
    /// Segments in use.
    pub segments: u32,
    /// Bytes at the end that an interrupted write left; cut off at the next start.
    pub torn_tail_bytes: u64,
    /// Was it closed in order?
    pub is_clean: bool,
    /// Hash over all of it, 64 hexadecimal digits.
    pub chain: String,
    /// The same as bytes.
    #[serde(skip)]
    pub chain_bytes: [u8; 32],
    /// Who is writing to it now; then the end moves while it is read.
    pub holder: Option<String>,
    /// Segment in which the next batch begins.
    pub end_segment: u32,
    /// Where in it; unit: bytes.
    pub end_offset: u64,
    /// Snapshots, by the last record that each covers, newest first.
    pub snapshots: Vec<u64>,
    /// What is wrong with snapshots that cannot be read; a start does without them and reads more records instead.
    pub damaged_snapshots: Vec<String>,
}

fn head_of(folder: &Path) -> Result<Head, StoreError> {
    Head::read(folder)?.ok_or_else(|| StoreError::NotAJournal {
        path: folder.to_path_buf(),
        cause: "there is no HEAD file; name the folder that holds the segments".to_owned(),
    })
}

/// Where the snapshots of a folder stand, as far as they can be read.
pub(crate) fn places(folder: &Path) -> Result<Vec<Place>, StoreError> {
    let (places, damaged) = places_and_damage(folder)?;
    for error in damaged {
        tracing::warn!(error, "a snapshot cannot be read and is left out");
    }
    Ok(places)
}

fn places_and_damage(folder: &Path) -> Result<(Vec<Place>, Vec<String>), StoreError> {
    let (mut places, mut damaged) = (Vec::new(), Vec::new());
    for (_, path) in list_snapshots(folder)? {
        match read_snapshot(&path) {
            Ok(snapshot) => places.push(Place::from(&snapshot.header)),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    Ok((places, damaged))
}

fn look(folder: &Path, start: Option<&SnapshotHeader>, visit: Option<Visit<'_>>) -> Result<VerifyReport, StoreError> {
    let head = head_of(folder)?;
    let (places, damaged_snapshots) = match start {
        Some(start) => (vec![Place::from(start)], Vec::new()),
        None => places_and_damage(folder)?,
    };
    let start = start.map(|start| start.segment);
    let holder = FolderLock::holder(folder);
    let mut pass = Pass { is_live: holder.is_some(), ..Pass::new(Some(head.clone()), places, start, visit) };
    let found = scan::scan(folder, &mut pass)?;
    Ok(VerifyReport {
        instance: head.instance,
        epoch: head.epoch,
        mode: head.mode,
        records: found.records,
        records_total: found.end.sequence,
        batches: found.batches,
        segments: found.segments,
        torn_tail_bytes: found.torn.as_ref().map_or(0, |torn| (torn.to - torn.from) as u64),
        is_clean: head.is_clean,
        chain: hex::encode(found.end.chain),
        chain_bytes: found.end.chain,
        holder,
        end_segment: found.end.segment,
        end_offset: found.end.offset as u64,
        snapshots: list_snapshots(folder)?.into_iter().map(|(sequence, _)| sequence).collect(),
        damaged_snapshots,
    })
}

/// Reads and checks a whole journal, as far back as it goes, and hands each record to `visit`.
pub fn for_each(
    folder: &Path,
    visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<VerifyReport, StoreError> {
    look(folder, None, Some(visit))
}

/// Reads and checks a journal from the place of a snapshot on, and hands the records after it to `visit`.
pub fn for_each_after(
    folder: &Path,
    snapshot: &SnapshotHeader,
    visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<VerifyReport, StoreError> {
    let mut later = |entry: Entry| if entry.sequence > snapshot.sequence { visit(entry) } else { Ok(()) };
    look(folder, Some(snapshot), Some(&mut later))
}

/// Reads and checks a whole journal.
pub fn verify(folder: &Path) -> Result<VerifyReport, StoreError> {
    look(folder, None, Some(&mut |_| Ok(())))
}

/// Reads a whole journal into memory.
pub fn read_all(folder: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for_each(folder, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    #[default]
    Lines,
    /// One JSON array.
    Array,
}

/// Writes the records of a journal up to `until` as JSON. On damage, what stands before it has been written; damage after
/// `until` does not matter. Returns how many records were written. Memory is bounded by a segment.
pub fn export(folder: &Path, format: ExportFormat, until: u64, out: &mut dyn Write) -> Result<u64, StoreError> {
    let name = Path::new("<output>");
    let failed = |error: &std::io::Error| StoreError::io("write", name, error);
    let (mut count, mut is_done) = (0u64, until == 0);
    let mut put = |entry: &Entry, count: u64| -> std::io::Result<()> {
        match format {
            ExportFormat::Lines => {}
            ExportFormat::Array => out.write_all(if count == 0 { b"[\n" } else { b",\n" })?,
        }
        serde_json::to_writer(&mut *out, entry)?;
        if format == ExportFormat::Lines { out.write_all(b"\n") } else { Ok(()) }
    };
    let read = for_each(folder, &mut |entry| {
        if entry.sequence <= until {
            put(&entry, count).map_err(|error| failed(&error))?;
            count += 1;
        }
        is_done = entry.sequence >= until;
        // Closed ends the reading; nothing is wrong.
        if is_done { Err(StoreError::Closed) } else { Ok(()) }
    });
    match read {
        Err(StoreError::Closed) if is_done => {}
        read => drop(read?),
    }
    if format == ExportFormat::Array {
        out.write_all(if count == 0 { b"[]\n" } else { b"\n]\n" }).map_err(|error| failed(&error))?;
    }
    out.flush().map_err(|error| failed(&error))?;
    Ok(count)
}

/// How far a journal can be read: the last record of the last whole batch before anything is wrong.
pub fn good_until(folder: &Path) -> Result<u64, StoreError> {
    reach(folder, u64::MAX).map(|end| end.sequence)
}

/// The end of the last whole batch that is good and does not go beyond `until`.
pub(crate) fn reach(folder: &Path, until: u64) -> Result<End, StoreError> {
    let mut pass = Pass { until, ..Pass::new(None, places(folder)?, None, None) };
    match scan::scan(folder, &mut pass) {
        Err(error) if pass.reached.sequence == 0 && error != StoreError::Closed => Err(error),
        _ => Ok(pass.reached),
    }
}
