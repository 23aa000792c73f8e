//! The way out of a damaged journal: what is good is copied into a new folder, byte for byte, chain and all.
//!
//! Nothing is ever removed or changed where it was: the damaged folder stays as it is, and a person moves the folders. The
//! epoch goes on, so that no client order id comes twice; a start on the copy is recovery, and asks the venue for the rest.

use crate::StoreError;
use crate::head::Head;
use crate::lock::FolderLock;
use crate::read::reach;
use crate::record::Record;
use crate::scan::{self, Pass, segment_path, segments_in};
use crate::snapshot::{list_snapshots, read_snapshot};
use crate::writer::sync_folder;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Epochs skipped where the head file cannot be read: as many starts may have left no record.
const EPOCH_MARGIN: u32 = 1_000;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Salvaged {
    /// The last record copied.
    pub sequence: u64,
    /// Segments copied.
    pub segments: usize,
    /// Snapshots copied.
    pub snapshots: usize,
    /// The epoch that the next start follows.
    pub epoch: u32,
}

/// Copies the good beginning of the journal in `from`, up to the last whole batch that does not go beyond `until`, into the
/// new folder `to`. Refused while somebody writes to it, and when `to` exists.
pub fn salvage(from: &Path, to: &Path, until: u64) -> Result<Salvaged, StoreError> {
    let _lock = FolderLock::acquire(from, "journal repair")?;
    let end = reach(from, until)?;
    if end.sequence == 0 {
        let cause = "no record in it can be read; move the folder aside and start with a fresh one".to_owned();
        return Err(StoreError::NotAJournal { path: from.to_path_buf(), cause });
    }
    let old = head_for(from, &end)?;
    DirBuilder::new().mode(0o700).create(to).map_err(|error| StoreError::io("make the new folder", to, &error))?;
    let mut salvaged = Salvaged { sequence: end.sequence, segments: 0, snapshots: 0, epoch: old.epoch };
    for number in segments_in(from)?.into_iter().filter(|number| *number <= end.segment) {
        let bytes = if number == end.segment { end.offset as u64 } else { u64::MAX };
        copy(&segment_path(from, number), &segment_path(to, number), bytes)?;
        salvaged.segments += 1;
    }
    for (_, path) in list_snapshots(from)?.into_iter().filter(|(sequence, _)| *sequence <= end.sequence) {
        let Some(name) = path.file_name().filter(|_| read_snapshot(&path).is_ok()) else { continue };
        copy(&path, &to.join(name), u64::MAX)?;
        salvaged.snapshots += 1;
    }
    Head { sequence: end.sequence, chain: end.chain, is_clean: false, ..old }.write(to)?;
    sync_folder(to)?;
    crate::read::verify(to)?;
    Ok(salvaged)
}

/// The head file, or what the records say where it cannot be read.
fn head_for(folder: &Path, end: &scan::End) -> Result<Head, StoreError> {
    match Head::read(folder) {
        Ok(Some(head)) => return Ok(head),
        Err(error @ StoreError::NewerFormat { .. }) => return Err(error),
        Ok(None) | Err(_) => {}
    }
    let mut head: Option<Head> = None;
    for (_, path) in list_snapshots(folder)? {
        if let Ok(snapshot) = read_snapshot(&path) {
            let (instance, mode) = (snapshot.header.instance, snapshot.header.mode);
            head.get_or_insert(Head { instance, epoch: 1, mode, sequence: 0, chain: end.chain, is_clean: false });
        }
    }
    let mut visit = |entry: crate::Entry| {
        if let Record::SessionStart(start) = entry.record {
            let epoch = start.epoch.max(head.as_ref().map_or(0, |head| head.epoch));
            let (instance, mode) = (start.instance, start.mode);
            head = Some(Head { instance, epoch, mode, sequence: 0, chain: end.chain, is_clean: false });
        }
        Ok(())
    };
    let places = crate::read::places(folder)?;
    let mut pass = Pass { until: end.sequence, ..Pass::new(None, places, None, Some(&mut visit)) };
    // Ends where the good part ends, with whatever error stands there.
    drop(scan::scan(folder, &mut pass));
    let mut head = head.ok_or_else(|| StoreError::NotAJournal {
        path: folder.to_path_buf(),
        cause: "neither its head file nor a record says whose journal it is".to_owned(),
    })?;
    head.epoch = head.epoch.saturating_add(EPOCH_MARGIN);
    Ok(head)
}

fn copy(from: &Path, to: &Path, bytes: u64) -> Result<(), StoreError> {
    let copy = || -> std::io::Result<()> {
        let mut source = File::open(from)?.take(bytes);
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = source.read(&mut buffer)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
            target.write_all(read)?;
        }
        target.sync_all()
    };
    copy().map_err(|error| StoreError::io("copy to", to, &error))
}
