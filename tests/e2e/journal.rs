//! `launcher journal verify|export|replay|repair` on what a real run left: it is good, its replay comes to the digest that the
//! run told, every byte counts, and a damaged one has a way out.

use crate::harness::Launcher;
use std::path::PathBuf;

/// A run of two seconds; its journal's folder and the digest that it told.
fn traded(launcher: &Launcher) -> (PathBuf, String) {
    let ended = launcher.run(&["--paper", "--duration", "2"]).expect_code(0);
    let digest = ended.line("state digest:");
    (PathBuf::from(ended.line("folder:")).join("journal"), digest)
}

#[test]
fn d_04_x_20_a_journal_is_verified_exported_replayed_and_a_changed_byte_is_noticed() {
    let launcher = Launcher::new();
    let (journal, digest) = traded(&launcher);
    let path = journal.to_str().unwrap().to_owned();
    let good = launcher.run(&["journal", "verify"]).expect_code(0);
    assert!(good.stdout.contains("result") && good.line("closed in order").starts_with("yes"), "{}", good.stdout);
    let report: serde_json::Value =
        serde_json::from_str(&launcher.run(&["journal", "verify", &path, "--json"]).expect_code(0).stdout).unwrap();
    let records = report["records"].as_u64().unwrap();
    assert!(report["ok"] == true && records > 10, "{report}");

    let replayed = launcher.run(&["journal", "replay", &path]).expect_code(0);
    assert_eq!(replayed.line("state digest:"), digest, "the replay comes to what the run told");
    let lines = launcher.run(&["journal", "export", &path]).expect_code(0).stdout;
    assert_eq!(lines.lines().count() as u64, records);
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].is_u64()));
    let some = launcher.run(&["journal", "export", &path, "--format", "json", "--until", "5"]).expect_code(0).stdout;
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&some).unwrap().len(), 5);

    let segment = journal.join("journal-00000001.seg");
    let bytes = std::fs::read(&segment).unwrap();
    for at in (64..bytes.len()).step_by(bytes.len() / 8) {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        std::fs::write(&segment, &bad).unwrap();
        let ended = launcher.run(&["journal", "verify", &path]).expect_code(1);
        assert!(ended.stderr.contains("damaged at byte"), "byte {at}: {}", ended.stderr);
    }
}

#[test]
fn d_04_what_is_good_of_a_damaged_journal_is_copied_and_the_damaged_one_stays() {
    let launcher = Launcher::new();
    let (journal, _) = traded(&launcher);
    let segment = journal.join("journal-00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let path = journal.to_str().unwrap();
    launcher.run(&["journal", "verify", path]).expect_code(1).expect_stderr("launcher journal repair");
    launcher.run(&["journal", "replay", path]).expect_code(1).expect_stderr("damaged at byte");
    let to = launcher.folder().join("salvaged");
    let ended = launcher.run(&["journal", "repair", path, "--to", to.to_str().unwrap()]).expect_code(0);
    assert!(ended.stderr.contains("is as it was"), "{}", ended.stderr);
    assert_eq!(std::fs::read(&segment).unwrap(), bytes);
    launcher.run(&["journal", "verify", to.to_str().unwrap()]).expect_code(0);
    launcher.run(&["journal", "repair", path, "--to", to.to_str().unwrap()]).expect_code(1);
    launcher.run(&["journal", "verify", "nowhere"]).expect_code(1).expect_stderr("holds no journal");
}
