//! One process per data folder (P-20): a lock file that names its holder.
//!
//! The lock is the kernel's (`flock`), so that it ends with its holder however that ends; the text in the file is only
//! for people.

use crate::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the lock file in a folder.
pub const LOCK_FILE: &str = "LOCK";

/// Longest text of a holder that is read.
const HOLDER_BYTES_MAX: u64 = 256;

/// Holds a folder until it is dropped.
#[derive(Debug)]
#[must_use = "the folder is held only as long as this lives"]
pub struct FolderLock {
    file: File,
    path: PathBuf,
}

impl FolderLock {
    /// Takes the lock of `folder`, or says who has it. `purpose` is what other processes are told, for example
    /// `paper run`.
    pub fn acquire(folder: &Path, purpose: &str) -> Result<Self, StoreError> {
        let path = folder.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io("open the lock file", &path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked { holder: holder_of(&mut file), path });
            }
            Err(error) => return Err(StoreError::io("lock", &path, &error.into())),
        }
        let text = format!("pid {} ({purpose})\n", std::process::id());
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        write(&mut file).map_err(|error| StoreError::io("write the lock file", &path, &error))?;
        Ok(Self { file, path })
    }

    /// Who holds `folder`, if anybody.
    #[must_use]
    pub fn holder(folder: &Path) -> Option<String> {
        let mut file = File::open(folder.join(LOCK_FILE)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Some(holder_of(&mut file)),
            _ => None,
        }
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of the same name.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(path = %self.path.display(), %error, "the text of the lock file stays; the lock itself is gone");
        }
    }
}

fn holder_of(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim()) {
        (Ok(_), "") | (Err(_), _) => "another process".to_owned(),
        (Ok(_), text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}
