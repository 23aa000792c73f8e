//! Real limits of the system: a child process whose files may not grow (D-01), and one without the right to write (D-07).

use crate::common::{intent, options};
use keel_store::{Journal, JournalOptions, StoreError};
use std::process::Command;

const CHILD: &str = "KEEL_TEST_JOURNAL_FOLDER";

/// Runs the named test of this binary in a child, under a shell prefix that sets limits.
fn run_child(test: &str, folder: &std::path::Path, prefix: &str) -> (bool, String) {
    let me = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{prefix} exec {} --exact limits::{test} --nocapture --test-threads=1", me.display()))
        .env(CHILD, folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn d01_child_opens_without_room_for_a_segment() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let error = Journal::open(JournalOptions { segment_bytes: 1 << 24, ..options(folder.as_ref()) }).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("reserve space for"), "{error}");
}

#[test]
fn d01_a_limit_on_file_sizes_is_named_as_no_space_and_nobody_dies_of_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    // 1 MiB at most; SIGXFSZ is ignored as the launcher does.
    let (ok, text) =
        run_child("d01_child_opens_without_room_for_a_segment", folder.path(), "trap '' XFSZ; ulimit -f 2048;");
    assert!(ok && text.contains("1 passed"), "{text}");
}

#[test]
fn d01_child_writes_into_a_file_that_cannot_grow() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    // Reserved space is what the limit allows; the next segment is refused, so intents end in a typed error.
    let (journal, _) = Journal::open(options(folder.as_ref())).unwrap();
    for sequence in 1..100_000 {
        match journal.append(&intent(sequence)) {
            Ok(ticket) => ticket.wait_blocking(crate::common::SOON).unwrap(),
            Err(StoreError::NoSpace { .. }) => {
                journal.close(crate::common::SOON).unwrap();
                return;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sequence < 50_000, "the limit was never met");
    }
}

#[test]
fn d07_child_opens_a_folder_that_belongs_to_somebody_else() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let folder = std::path::Path::new(&folder).join("inner");
    let error = Journal::open(options(&folder)).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[test]
fn d07_a_folder_without_the_right_to_write_is_refused_with_a_way_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o555)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Root may write anywhere: the child gives that right away.
    let is_root = rustix::process::geteuid().is_root();
    let prefix = if is_root { "exec setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    let (ok, text) = if is_root {
        let me = std::env::current_exe().unwrap();
        let copy = folder.path().join("child");
        std::fs::copy(&me, &copy).unwrap();
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{prefix} {} --exact limits::d07_child_opens_a_folder_that_belongs_to_somebody_else --nocapture",
                copy.display()
            ))
            .env(CHILD, folder.path())
            .output()
            .unwrap();
        if output.status.code() == Some(127) {
            eprintln!("SKIPPED: setpriv is missing");
            return;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    } else {
        run_child("d07_child_opens_a_folder_that_belongs_to_somebody_else", folder.path(), prefix)
    };
    assert!(ok && text.contains("1 passed"), "{text}");
}
