//! A SQLite file as a thing on a disk: is it still the file that was opened, and how it is moved aside when it is not.

use crate::DbError;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How each database file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Damaged files that are kept; the oldest beyond are removed.
const DAMAGED_KEPT_MAX: usize = 3;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The file at `path`; an error when it is gone or does not begin like a database. A file without a byte is a fresh one.
pub(crate) fn look(path: &Path) -> Result<FileIdentity, DbError> {
    let damaged = |cause: String| DbError::Corrupt { what: format!("look at {}", path.display()), cause };
    let unreachable = |error: &std::io::Error| DbError::Unreachable {
        what: format!("look at {}", path.display()),
        cause: error.to_string(),
    };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("the file is gone".into())),
        Err(error) => return Err(unreachable(&error)),
    };
    let about = file.metadata().map_err(|error| unreachable(&error))?;
    let mut head = [0; 16];
    match file.read_exact(&mut head) {
        Ok(()) if head == *MAGIC => {}
        Ok(()) => return Err(damaged("the file does not begin like a database".into())),
        Err(_) if about.len() == 0 => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(damaged("the file is cut short".into())),
        Err(error) => return Err(unreachable(&error)),
    }
    Ok(FileIdentity { device: about.dev(), inode: about.ino() })
}

/// A file that nobody else may read, where there is none yet. What fails here fails again, with a better word, on the way in.
pub(crate) fn create_private(path: &Path) {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if let Err(error) = made.map(drop).or_else(|error| match error.kind() {
        ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }) {
        tracing::debug!(path = %path.display(), %error, "the database file cannot be made");
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Moves a damaged file aside, with what belongs to it; answers where it is now, or `None` when there was none.
pub(crate) fn move_aside(path: &Path, now_ms: u64) -> Result<Option<PathBuf>, DbError> {
    let failed = |error: std::io::Error| DbError::Unreachable {
        what: format!("move {} aside", path.display()),
        cause: error.to_string(),
    };
    let aside = with_suffix(path, &format!(".damaged-{now_ms}"));
    let mut has_moved = false;
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Ok(()) => has_moved |= suffix.is_empty(),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    prune(path);
    Ok(has_moved.then_some(aside))
}

/// Removes the oldest damaged files beyond those that are kept. A failure is only logged.
fn prune(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!("{}.damaged-", name.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let stamp = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy().strip_prefix(&prefix)?.parse::<u64>().ok()
    };
    let mut stamps: Vec<u64> = entries.filter_map(Result::ok).filter_map(stamp).collect();
    stamps.sort_unstable();
    let surplus = stamps.len().saturating_sub(DAMAGED_KEPT_MAX);
    for stamp in stamps.iter().take(surplus) {
        for suffix in ["", "-wal", "-shm"] {
            let old = with_suffix(path, &format!(".damaged-{stamp}{suffix}"));
            match std::fs::remove_file(&old) {
                Ok(()) => tracing::info!(path = %old.display(), "an old damaged database was removed"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %old.display(), %error, "an old damaged database stays"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_06_a_file_that_is_gone_cut_overwritten_or_exchanged_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite");
        assert!(matches!(look(&path), Err(DbError::Corrupt { .. })));
        std::fs::write(&path, b"SQLite format 3\0rest").unwrap();
        let first = look(&path).unwrap();
        assert_eq!(look(&path).unwrap(), first);
        for bytes in [&b"SQLite"[..], &[0; 100][..], b"this is another kind of file"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(look(&path), Err(DbError::Corrupt { .. })));
        }
        std::fs::write(folder.path().join("y"), b"SQLite format 3\0other").unwrap();
        std::fs::rename(folder.path().join("y"), &path).unwrap();
        assert_ne!(look(&path).unwrap(), first);
    }

    #[test]
    fn damaged_files_are_kept_but_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite");
        for at in 1..=6 {
            std::fs::write(&path, at.to_string()).unwrap();
            std::fs::write(with_suffix(&path, "-wal"), "").unwrap();
            assert!(move_aside(&path, at).unwrap().is_some());
        }
        assert_eq!(move_aside(&path, 7).unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2 * DAMAGED_KEPT_MAX);
        assert_eq!(std::fs::read_to_string(folder.path().join("x.sqlite.damaged-6")).unwrap(), "6");
    }
}
