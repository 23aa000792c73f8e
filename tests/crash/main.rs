//! The crash test's short slice: the real binary is killed, refused the disk, starved and cut off, started again, and the
//! venue's log, the journal and the final status are compared. The whole of it: `just crash-sweep`, `just crash-random`.
//! Where `strace` may not trace, the tests that need it say so and are skipped.

mod disk;
mod kills;
mod limits;
mod network;

use keel_crashtest::trial::{self, Outcome};
use keel_crashtest::{Bench, Ended, Place, strike};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bench in a folder of its own, in memory where there is memory: a kill loses nothing of it, and a slow disk is no part of
/// these tests.
pub(crate) struct TestBench {
    pub(crate) bench: Bench,
    _folder: tempfile::TempDir,
}

pub(crate) fn bench() -> TestBench {
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let bench = Bench::new(Path::new(env!("CARGO_BIN_EXE_launcher")), folder.path()).unwrap();
    TestBench { bench, _folder: folder }
}

/// A place of its own.
pub(crate) fn place(bench: &TestBench) -> Place {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Place::open(&bench.bench, &format!("place-{number}"), u64::from(number)).unwrap()
}

/// Can calls be struck here?
pub(crate) fn can_strike() -> bool {
    match strike::probe() {
        Ok(()) => true,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            false
        }
    }
}

/// Starts again, compares, and fails with everything that is needed to see why.
#[track_caller]
pub(crate) fn converges(place: Place, ended: Option<Ended>) -> Outcome {
    let folder = place.folder.clone();
    let outcome = trial::finish(place, true, ended, Vec::new()).unwrap();
    assert_fine(&outcome, &folder);
    outcome
}

/// Fails with the output of every run.
#[track_caller]
pub(crate) fn assert_fine(outcome: &Outcome, folder: &Path) {
    if outcome.violations.is_empty() {
        return;
    }
    let mut text = String::new();
    for violation in &outcome.violations {
        text.push_str(&format!("{violation}\n"));
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|it| it == "err") {
            let said = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(40).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            text.push_str(&format!("--- {}\n{}\n", entry.path().display(), last.join("\n")));
        }
    }
    panic!("{text}");
}
