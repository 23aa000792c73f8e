//! Files that are there whole or not at all: written beside their place, made durable, then put there in one step.
//!
//! A half-written file has a name that begins with a point and ends in `.tmp`; it is removed when writing fails, and what a kill
//! leaves behind is swept by the next writer, who holds the lock.

use crate::error::CatalogueError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often and how long the lock is waited for: 30 s in all.
const LOCK_ATTEMPTS: u32 = 600;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// A half-written file, removed unless it is put into its place.
struct Half {
    path: PathBuf,
    is_done: bool,
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.is_done {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Writes a file through `fill`; readers see the old one or the whole new one.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let failed = |error| CatalogueError::write(path, error);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(CatalogueError::layout(path, "it is no name for a file", "name a file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::create_dir_all(folder).map_err(failed)?;
    let half = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&half).map_err(failed)?;
    let mut half = Half { path: half, is_done: false };
    let mut writer = BufWriter::with_capacity(256 * 1024, file);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    drop(file);
    fs::rename(&half.path, path).map_err(failed)?;
    half.is_done = true;
    // The name is durable when the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// One writer at a time within a folder, over all processes.
#[derive(Debug)]
pub(crate) struct WriteLock {
    // Closing it lifts the lock.
    _file: File,
}

/// Waits for the lock, at most 30 s.
pub(crate) fn lock(folder: &Path) -> Result<WriteLock, CatalogueError> {
    let path = folder.join(".lock");
    let failed = |error| CatalogueError::write(&path, error);
    fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(WriteLock { _file: file }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_WAIT),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    Err(failed(std::io::Error::new(std::io::ErrorKind::TimedOut, "another process has been writing here for 30 s")))
}

/// Removes what killed writers left in a folder; only the holder of the lock may do so.
pub(crate) fn sweep(_lock: &WriteLock, folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Fills through a plain writer.
pub(crate) fn write_bytes(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), CatalogueError> {
    write(path, |writer| fill(writer).map_err(|error| CatalogueError::write(path, error)))
}
