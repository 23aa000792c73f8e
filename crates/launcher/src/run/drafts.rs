//! Drafts that a killed process has left: files are written beside their name and moved over it, and a kill between the two
//! leaves the draft.
//!
//! Invariants: called under the lock of the data folder, so that no run is writing; only drafts of our own files go, by their
//! names; a draft of the arming, which asks for no lock, goes only once it is old; a failure is told and stops nothing.

use super::arming;
use super::emergency::latch_file::LATCH_FILE;
use super::market::BAN_FILE;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Drafts in the folder of a session or an account, beside that of the latch.
const IN_SESSION: [&str; 3] = ["report.json.new", "journal/HEAD.new", "journal/snapshot.new"];
/// Reports of earlier runs, in the folder of a session or an account.
const REPORTS: &str = "reports";
/// Nobody takes so long to write a small file.
const OLD: Duration = Duration::from_secs(60);

/// Removes what is left in the data folder `root`, in the folders of sessions and accounts, and in that of the arming; answers
/// how many files that were.
pub fn remove(root: &Path, now_ns: u64) -> usize {
    let mut removed = usize::from(drop_file(&root.join(BAN_FILE).with_extension("new")));
    for folder in folders_in(root) {
        let names = IN_SESSION.iter().map(|name| folder.join(name));
        removed += names.chain([folder.join(format!("{LATCH_FILE}.new"))]).filter(|path| drop_file(path)).count();
        removed += drafts_in(&folder.join(REPORTS)).filter(|path| drop_file(path)).count();
    }
    let is_old = |path: &PathBuf| {
        let written = path.symlink_metadata().and_then(|it| it.modified()).ok();
        let age = written.and_then(|at| (std::time::UNIX_EPOCH + Duration::from_nanos(now_ns)).duration_since(at).ok());
        age.is_some_and(|age| age > OLD)
    };
    removed + drafts_in(&root.join(arming::FOLDER)).filter(is_old).filter(|path| drop_file(path)).count()
}

fn folders_in(root: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn drafts_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "new"))
}

fn drop_file(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Ok(()) => {
            tracing::info!(path = %path.display(), "a draft that a killed process left was removed");
            true
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a draft that a killed process left could not be removed");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { found.extend(all_files(&entry.path())) } else { found.push(entry.path()) }
        }
        found
    }

    #[test]
    fn p_15_every_draft_of_a_killed_run_goes_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let kept = [
            "venue-ban.json",
            "mine.new",
            "live-main/EMERGENCY.json",
            "live-main/report.json",
            "live-main/mine.new",
            "live-main/reports/0000000001.json",
            "live-main/journal/HEAD",
            "session-1/journal/snapshot-0000000000000007.snap",
            "arming/pending.json",
        ];
        let left = [
            "venue-ban.new",
            "live-main/EMERGENCY.json.new",
            "live-main/report.json.new",
            "live-main/reports/0000000002.json.new",
            "live-main/journal/HEAD.new",
            "session-1/EMERGENCY.json.new",
            "session-1/journal/snapshot.new",
        ];
        let draft_of_arming = root.join(arming::FOLDER).join("pending.new");
        let write = |path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "half").unwrap();
        };
        kept.iter().chain(&left).for_each(|name| write(&root.join(name)));
        write(&draft_of_arming);
        let written = draft_of_arming.metadata().unwrap().modified().unwrap();
        let written_ns = u64::try_from(written.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        assert_eq!(remove(root, written_ns), left.len());
        assert!(draft_of_arming.exists(), "somebody may be arming just now");
        assert_eq!(all_files(root).len(), kept.len() + 1);
        assert_eq!(remove(root, written_ns + 61_000_000_000), 1);
        assert!(kept.iter().all(|name| root.join(name).exists()) && !draft_of_arming.exists());
    }
}
