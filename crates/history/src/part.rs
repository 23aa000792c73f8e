//! A file that is being downloaded.
//!
//! Invariants: a part has no name in the file system (it is gone with the process, however that ends) until it is known to be
//! large; a large one is kept under a name that says which resource it is the beginning of, so that the next run goes on with
//! it; its SHA-256 is always that of what it holds.

use crate::HistoryError;
use crate::fetch::Resume;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The ending of files that are resumed by the next run.
pub(crate) const PART_ENDING: &str = "part";
/// A resource of at least this length is kept over a kill; smaller ones are fetched anew in no time. Unit: bytes.
pub(crate) const KEEP_BYTES_MIN: u64 = 32 << 20;
/// The largest archive that is fetched; unit: bytes.
const BYTES_MAX: u64 = 64 << 30;

/// Where parts are.
#[derive(Debug)]
pub(crate) struct PartFolder {
    pub(crate) path: PathBuf,
    keep_bytes_min: u64,
}

impl PartFolder {
    pub(crate) fn new(path: PathBuf, keep_bytes_min: u64) -> Arc<Self> {
        Arc::new(Self { path, keep_bytes_min })
    }

    /// An unnamed file for what is not downloaded but made here.
    pub(crate) fn scratch(&self) -> Result<File, HistoryError> {
        tempfile::tempfile_in(&self.path).map_err(|error| HistoryError::io("make a file in", &self.path, error))
    }
}

/// A download under way.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    /// Only of one that outlives the process.
    path: Option<PathBuf>,
    folder: Arc<PartFolder>,
    /// Name of the resource, without folders.
    name: String,
    len: u64,
    whole: Option<u64>,
    etag: Option<String>,
    hash: Sha256,
    is_complete: bool,
}

impl Part {
    /// A part of the resource `name` in `folder`: the one that an earlier run left, or an empty one.
    pub(crate) fn open(folder: &Arc<PartFolder>, name: &str) -> Result<Self, HistoryError> {
        if let Some(left) = find_left(&folder.path, name) {
            let path = left.path.clone();
            match Self::reopen(folder, name, left) {
                Ok(part) => return Ok(part),
                Err(error) => {
                    tracing::warn!(%error, "cannot resume; fetching anew");
                    drop(std::fs::remove_file(path));
                }
            }
        }
        Ok(Self {
            file: folder.scratch()?,
            path: None,
            folder: folder.clone(),
            name: name.to_owned(),
            len: 0,
            whole: None,
            etag: None,
            hash: Sha256::new(),
            is_complete: false,
        })
    }

    fn reopen(folder: &Arc<PartFolder>, name: &str, left: Left) -> Result<Self, HistoryError> {
        let wrong = |error| HistoryError::io("read", &left.path, error);
        let mut file = OpenOptions::new().read(true).write(true).open(&left.path).map_err(wrong)?;
        let (mut hash, mut len, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 16]);
        loop {
            let count = file.read(&mut buffer).map_err(wrong)?;
            if count == 0 {
                break;
            }
            hash.update(buffer.get(..count).unwrap_or_default());
            len += count as u64;
        }
        if len > left.whole {
            return Err(wrong(std::io::Error::other("it is longer than the resource")));
        }
        Ok(Self {
            file,
            path: Some(left.path),
            folder: folder.clone(),
            name: name.to_owned(),
            len,
            whole: Some(left.whole),
            etag: Some(format!("\"{}\"", left.tag)),
            hash,
            is_complete: len == left.whole,
        })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) const fn whole(&self) -> Option<u64> {
        self.whole
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// How to ask for what is missing; `None` when everything has to be asked for.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let etag = self.etag.clone().filter(|_| self.len > 0 && self.whole.is_some())?;
        Some(Resume { from: self.len, etag })
    }

    /// Throws away what is there; the resource that comes now has this tag and length.
    pub(crate) fn restart(&mut self, etag: Option<&str>, whole: Option<u64>) -> Result<(), HistoryError> {
        if whole.is_some_and(|whole| whole > BYTES_MAX) {
            let cause = format!("{} bytes; more than {BYTES_MAX} are not fetched", whole.unwrap_or_default());
            return Err(HistoryError::Archive { file: self.name.clone(), cause });
        }
        self.unname()?;
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|error| HistoryError::io("write in", &self.folder.path, error))?;
        (self.len, self.whole, self.etag) = (0, whole, etag.map(str::to_owned));
        (self.hash, self.is_complete) = (Sha256::new(), false);
        self.name_if_large()
    }

    /// A large resource with a tag that can be part of a file name gets one.
    fn name_if_large(&mut self) -> Result<(), HistoryError> {
        let (Some(whole), Some(etag)) = (self.whole, self.etag.as_deref()) else { return Ok(()) };
        let tag = etag.trim_matches('"');
        let is_name =
            !tag.is_empty() && tag.len() <= 80 && tag.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if whole < self.folder.keep_bytes_min || !is_name {
            return Ok(());
        }
        let path = self.folder.path.join(format!("{}.{whole}.{tag}.{PART_ENDING}", self.name));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        self.file = file.map_err(|error| HistoryError::io("write", &path, error))?;
        self.path = Some(path);
        Ok(())
    }

    fn unname(&mut self) -> Result<(), HistoryError> {
        if self.path.is_some() {
            self.remove();
            self.file = self.folder.scratch()?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HistoryError> {
        if self.len + bytes.len() as u64 > self.whole.unwrap_or(BYTES_MAX) {
            let cause = "more bytes came than were announced".to_owned();
            return Err(HistoryError::Archive { file: self.name.clone(), cause });
        }
        self.file.write_all(bytes).map_err(|error| HistoryError::io("write in", &self.folder.path, error))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn finish(&mut self) {
        self.is_complete = true;
    }

    /// SHA-256 of what is there, in hex.
    pub(crate) fn sha256(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// The bytes from the start. The part stays until it is dropped or discarded.
    pub(crate) fn rewound(&self) -> Result<File, HistoryError> {
        let wrong = |error| HistoryError::io("read in", &self.folder.path, error);
        let mut file = self.file.try_clone().map_err(wrong)?;
        file.seek(SeekFrom::Start(0)).map_err(wrong)?;
        Ok(file)
    }

    /// Away with it.
    pub(crate) fn discard(mut self) {
        self.remove();
    }

    fn remove(&mut self) {
        let Some(path) = self.path.take() else { return };
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "error during cleanup: cannot remove a part");
        }
    }
}

/// A part that an earlier run left.
struct Left {
    path: PathBuf,
    whole: u64,
    tag: String,
}

fn find_left(folder: &Path, name: &str) -> Option<Left> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let file_name = entry.file_name().into_string().ok()?;
        let rest = file_name.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(PART_ENDING)?.strip_suffix('.')?;
        let (whole, tag) = rest.split_once('.')?;
        Some(Left { path: entry.path(), whole: whole.parse().ok()?, tag: tag.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_small_part_has_no_name_and_a_large_one_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartFolder::new(folder.path().to_owned(), 100);
        let mut small = Part::open(&parts, "a.zip").unwrap();
        small.restart(Some("\"abc-1\""), Some(99)).unwrap();
        small.write(b"hello").unwrap();
        assert_eq!(names(folder.path()), [""; 0]);

        let mut large = Part::open(&parts, "b.zip").unwrap();
        large.restart(Some("\"abc-1\""), Some(100)).unwrap();
        large.write(b"hello").unwrap();
        drop(large);
        assert_eq!(names(folder.path()), ["b.zip.100.abc-1.part"]);
        let mut again = Part::open(&parts, "b.zip").unwrap();
        assert_eq!(again.resume(), Some(Resume { from: 5, etag: "\"abc-1\"".into() }));
        again.write(&[b'x'; 95]).unwrap();
        let mut whole = b"hello".to_vec();
        whole.extend([b'x'; 95]);
        assert_eq!(again.sha256(), hex::encode(Sha256::digest(&whole)));
        assert!(again.write(b"one more").unwrap_err().to_string().contains("more bytes"));
        again.discard();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn another_resource_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let parts = PartFolder::new(folder.path().to_owned(), 0);
        let mut part = Part::open(&parts, "b.zip").unwrap();
        part.restart(Some("\"one\""), Some(100)).unwrap();
        part.write(b"hello").unwrap();
        part.restart(Some("\"two\""), Some(50)).unwrap();
        assert_eq!((part.len(), names(folder.path())), (0, vec!["b.zip.50.two.part".to_owned()]));
        part.restart(Some("W/\"not a name\""), None).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
