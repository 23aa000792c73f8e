//! Files that are there whole or not at all: written beside their place, made durable, then put there in one step.
//!
//! A half-written file has a name that begins with a point and ends in `.tmp`; it is removed when writing fails, and what a kill
//! leaves behind is swept by the next writer, who holds the lock. A program that is told to end calls [`give_up`], whatever its
//! threads are at.

use crate::error::CatalogueError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often and how long the lock is waited for: 30 s in all.
const LOCK_ATTEMPTS: u32 = 600;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The half-written files of this process. Everything that makes, places or removes one holds this lock for that moment, and
/// nothing else does.
static HALVES: Mutex<Halves> = Mutex::new(Halves { is_over: false, paths: Vec::new() });

struct Halves {
    is_over: bool,
    /// At most one a thread that writes.
    paths: Vec<PathBuf>,
}

fn halves() -> MutexGuard<'static, Halves> {
    // A list of paths is sound whatever happened to who held it.
    HALVES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn going_on() -> io::Result<MutexGuard<'static, Halves>> {
    let halves = halves();
    if halves.is_over { Err(io::Error::other("the program ends")) } else { Ok(halves) }
}

/// Removes every half-written file of this process and lets none come to be, nor into its place, from here on: for a program
/// that ends while a thread of it still works. Files that are whole stay.
pub fn give_up() {
    let mut halves = halves();
    halves.is_over = true;
    for path in halves.paths.drain(..) {
        drop(fs::remove_file(path));
    }
}

/// A half-written file, removed unless it is put into its place.
#[derive(Debug)]
pub struct HalfFile {
    path: PathBuf,
    is_done: bool,
}

impl HalfFile {
    /// Makes the file, beside the place where it belongs. Its folder must be there.
    pub fn create(place: &Path) -> io::Result<(Self, File)> {
        let name = place.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let path = place.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let mut halves = going_on()?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        halves.paths.push(path.clone());
        Ok((Self { path, is_done: false }, file))
    }

    /// Puts it there in one step. What was written must be durable.
    pub fn put(mut self, place: &Path) -> io::Result<()> {
        let halves = going_on()?;
        fs::rename(&self.path, place)?;
        self.is_done = true;
        drop(halves);
        Ok(())
    }
}

impl Drop for HalfFile {
    fn drop(&mut self) {
        let mut halves = halves();
        let known = halves.paths.iter().position(|path| *path == self.path);
        if let Some(at) = known {
            halves.paths.swap_remove(at);
            if !self.is_done {
                drop(fs::remove_file(&self.path));
            }
        }
    }
}

/// Writes a file through `fill`; readers see the old one or the whole new one.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let failed = |error| CatalogueError::write(path, error);
    let Some(folder) = path.parent().filter(|_| path.file_name().is_some()) else {
        return Err(CatalogueError::layout(path, "it is no name for a file", "name a file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::create_dir_all(folder).map_err(failed)?;
    let (half, file) = HalfFile::create(path).map_err(failed)?;
    let mut writer = BufWriter::with_capacity(256 * 1024, file);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    drop(file);
    half.put(path).map_err(failed)?;
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
