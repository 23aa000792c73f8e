//! Looking at a journal without opening it: verify, list, export. Nothing is changed, and a running bot is not disturbed.

use crate::StoreError;
use crate::head::Head;
use crate::lock::FolderLock;
use crate::record::Entry;
use crate::scan;
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
    /// Records, all of them readable and chained.
    pub records: u64,
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
    /// Who is writing to it now; then the end moves while it is read.
    pub holder: Option<String>,
}

/// Reads and checks a whole journal, and hands each record to `visit`.
pub fn for_each(
    folder: &Path,
    visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<VerifyReport, StoreError> {
    let Some(head) = Head::read(folder)? else {
        return Err(StoreError::NotAJournal {
            path: folder.to_path_buf(),
            cause: "there is no HEAD file; name the folder that holds the segments".to_owned(),
        });
    };
    let found = scan::scan(folder, Some(&head), visit)?;
    Ok(VerifyReport {
        instance: head.instance,
        epoch: head.epoch,
        mode: head.mode,
        records: found.records,
        batches: found.batches,
        segments: found.segments,
        torn_tail_bytes: found.torn.as_ref().map_or(0, |torn| (torn.to - torn.from) as u64),
        is_clean: head.is_clean,
        chain: hex::encode(found.end.chain),
        holder: FolderLock::holder(folder),
    })
}

/// Reads and checks a whole journal.
pub fn verify(folder: &Path) -> Result<VerifyReport, StoreError> {
    for_each(folder, &mut |_| Ok(()))
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

/// Writes a journal as JSON lines, one record each. On damage, what stands before it has been written.
pub fn export(folder: &Path, out: &mut dyn Write) -> Result<VerifyReport, StoreError> {
    let name = Path::new("<output>");
    let report = for_each(folder, &mut |entry| {
        serde_json::to_writer(&mut *out, &entry).map_err(|error| StoreError::io("write", name, &error.into()))?;
        out.write_all(b"\n").map_err(|error| StoreError::io("write", name, &error))
    })?;
    out.flush().map_err(|error| StoreError::io("write", name, &error))?;
    Ok(report)
}
