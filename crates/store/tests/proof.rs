//! D-04, P-16, P-21, X-20: every single change of every byte of a small journal is seen, or is a torn tail that loses nothing
//! but what was never called durable; the way out of a damaged journal; foreign, newer and empty folders.

use crate::common::{FaultyDisk, LosingDisk, SOON, accepted, intent, options, put, small_journal, snapshot_of};
use keel_model::Timestamp;
use keel_store::record::SnapshotMarker;
use keel_store::salvage::salvage;
use keel_store::{
    Decision, ExportFormat, Journal, JournalOptions, LatchRecord, Record, SessionStart, StoreError, export, good_until,
    read_all, verify,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("journal-{number:08}.seg"))
}

fn damage(folder: &Path, what: &str) {
    match verify(folder) {
        Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => {}
        other => panic!("{what}: {other:?}"),
    }
}

/// What is still read must be what was written, from the first record on.
fn nothing_invented(folder: &Path, written: &[Record], kept_min: usize, what: &str) {
    if let Ok(found) = read_all(folder) {
        let found: Vec<Record> = found.into_iter().map(|entry| entry.record).collect();
        assert!(found.len() >= kept_min && found[..] == written[..found.len()], "{what}: {} records", found.len());
    }
}

#[test]
fn d_04_x_20_every_byte_of_a_closed_journal_flipped_zeroed_or_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 2);
    for name in ["journal-00000001.seg", "HEAD"] {
        let path = folder.path().join(name);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for change in [good[at] ^ 0x01, !good[at], 0] {
                if change != good[at] {
                    let mut bad = good.clone();
                    bad[at] = change;
                    std::fs::write(&path, &bad).unwrap();
                    damage(folder.path(), &format!("{name}, byte {at} set to {change}"));
                }
            }
            std::fs::write(&path, &good[..at]).unwrap();
            damage(folder.path(), &format!("{name} cut at {at}"));
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        damage(folder.path(), &format!("{name} with a byte more"));
        std::fs::write(&path, &good).unwrap();
    }
    assert_eq!(verify(folder.path()).unwrap().records, 2);
}

#[test]
fn d_04_p_16_every_byte_of_a_journal_that_was_cut_off_changed_loses_at_most_the_last_batch() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let written: Vec<Record> = vec![intent(1), accepted(1), intent(2), accepted(2)];
    written.iter().for_each(|record| put(&journal, record));
    snapshot_of(folder.path(), copy.path());
    journal.close(SOON).unwrap();
    let path = segment(copy.path(), 1);
    let good = std::fs::read(&path).unwrap();
    let end = good.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for at in 0..end + 24 {
        for change in [good[at] ^ 0x01, !good[at], 0] {
            let mut bad = good.clone();
            bad[at] = change;
            std::fs::write(&path, &bad).unwrap();
            nothing_invented(copy.path(), &written, 3, &format!("byte {at} set to {change}"));
        }
        // The file system lost the end: what was cut off is at most what was written last.
        let mut bad = good.clone();
        bad[at.min(end)..].fill(0);
        std::fs::write(&path, &bad).unwrap();
        nothing_invented(copy.path(), &written, 0, &format!("zeros from {at} on"));
    }
}

#[test]
fn d_04_segments_swapped_missing_or_duplicated_are_damage_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    (1..=1_500).for_each(|sequence| put(&journal, &intent(sequence)));
    journal.close(SOON).unwrap();
    let count = verify(folder.path()).unwrap().segments;
    assert!(count >= 3, "{count} segments");
    let good: Vec<Vec<u8>> = (1..=count).map(|number| std::fs::read(segment(folder.path(), number)).unwrap()).collect();
    let of = |number: u32| good[number as usize - 1].as_slice();
    for number in 1..=count {
        let path = segment(folder.path(), number);
        std::fs::remove_file(&path).unwrap();
        damage(folder.path(), &format!("segment {number} missing"));
        for other in (1..=count).filter(|other| *other != number) {
            std::fs::write(&path, of(other)).unwrap();
            damage(folder.path(), &format!("segment {other} in the place of {number}"));
        }
        std::fs::write(&path, of(number)).unwrap();
        for other in (1..=count).filter(|other| *other > number) {
            std::fs::write(&path, of(other)).unwrap();
            std::fs::write(segment(folder.path(), other), of(number)).unwrap();
            damage(folder.path(), &format!("segments {number} and {other} swapped"));
            std::fs::write(segment(folder.path(), other), of(other)).unwrap();
        }
        std::fs::write(&path, of(number)).unwrap();
    }
    std::fs::write(segment(folder.path(), count + 1), of(count)).unwrap();
    damage(folder.path(), "the last segment twice");
    std::fs::remove_file(segment(folder.path(), count + 1)).unwrap();
    assert_eq!(verify(folder.path()).unwrap().records, 1_500);
}

#[test]
fn d_04_a_damaged_journal_stops_the_start_and_what_is_good_can_be_had() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_journal(folder.path(), 6);
    let path = segment(folder.path(), 1);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    let at = bad.len() * 2 / 3;
    bad[at] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    assert!(error.to_string().contains("launcher journal repair"), "{error}");
    let until = good_until(folder.path()).unwrap();
    assert!((1..6).contains(&until), "{until}");
    let mut lines = Vec::new();
    assert!(export(folder.path(), ExportFormat::Lines, u64::MAX, &mut lines).is_err(), "the end is not reached");
    let mut lines = Vec::new();
    assert_eq!(export(folder.path(), ExportFormat::Lines, until, &mut lines).unwrap(), until);
    let to = other.path().join("salvaged");
    let salvaged = salvage(folder.path(), &to, u64::MAX).unwrap();
    assert_eq!((salvaged.sequence, salvaged.epoch), (until, 1));
    assert_eq!(std::fs::read(&path).unwrap(), bad, "the damaged one is as it was");
    assert!(salvage(folder.path(), &to, u64::MAX).is_err(), "nothing is ever overwritten");
    let (journal, recovered) = Journal::open(options(&to)).unwrap();
    assert_eq!((recovered.records_total, recovered.epoch), (until, 2), "no client order id comes twice");
    put(&journal, &intent(99));
    journal.close(SOON).unwrap();
    assert_eq!(verify(&to).unwrap().records, until + 1);
}

#[test]
fn d_04_without_a_head_file_the_records_say_whose_journal_it_is() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let start = SessionStart { instance: 7, epoch: 4, mode: "paper".into(), ..SessionStart::default() };
    put(&journal, &Record::SessionStart(start));
    put(&journal, &intent(1));
    assert!(matches!(salvage(folder.path(), &other.path().join("a"), 9), Err(StoreError::Locked { .. })));
    journal.close(SOON).unwrap();
    std::fs::write(folder.path().join("HEAD"), "gone").unwrap();
    let to = other.path().join("b");
    let salvaged = salvage(folder.path(), &to, u64::MAX).unwrap();
    assert!(salvaged.sequence == 2 && salvaged.epoch > 1_000, "{salvaged:?}");
    assert_eq!(verify(&to).unwrap().instance, 7);
}

#[test]
fn p_21_new_kinds_of_records_carry_the_version_that_brought_them_and_old_ones_the_first() {
    let ts = Timestamp::from_ns(5);
    let order = crate::common::order(1);
    let latch = LatchRecord { name: "x".into(), is_latched: true, reason: "y".into(), state: vec![1] };
    let denied = Decision::Denied { order, control: "RC-04".into(), reason: "too far".into() };
    let new = [
        Record::Decision(ts, denied),
        Record::Decision(ts, Decision::DeniedMore { count: 3 }),
        Record::Parent(ts, vec![1, 2]),
        Record::Latch(ts, latch),
        Record::Snapshot(ts, SnapshotMarker { sequence: 3, digest: "0".repeat(64) }),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    new.iter().for_each(|record| put(&journal, record));
    put(&journal, &intent(1));
    journal.close(SOON).unwrap();
    let found: Vec<Record> = read_all(folder.path()).unwrap().into_iter().map(|entry| entry.record).collect();
    assert_eq!(found[..new.len()], new[..]);
    assert!(new.iter().all(|record| record.version() == keel_store::RECORD_VERSION));
    assert_eq!(intent(1).version(), 1);
    // The version stands in the frame: byte 5 of the first one is that of a new kind.
    assert_eq!(std::fs::read(segment(folder.path(), 1)).unwrap()[64 + 5], keel_store::RECORD_VERSION);
}

#[test]
fn p_21_newer_segments_heads_and_snapshots_are_called_newer_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 2);
    let path = segment(folder.path(), 1);
    let good = std::fs::read(&path).unwrap();
    let mut newer = good.clone();
    newer[8..12].copy_from_slice(&9u32.to_le_bytes());
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &newer).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 9, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), newer);
    std::fs::write(&path, &good).unwrap();
    let head = std::fs::read_to_string(folder.path().join("HEAD")).unwrap();
    let body = head.split("crc ").next().unwrap().replace("keel-journal 1", "keel-journal 3");
    let crc = crc32c::crc32c(body.as_bytes());
    std::fs::write(folder.path().join("HEAD"), format!("{body}crc {crc:08x}\n")).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 3, .. }), "{error}");
}

#[test]
fn d_09_a_journal_of_another_account_is_foreign_and_an_empty_folder_is_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let live = |account: &str| JournalOptions { mode: format!("live {account}"), ..options(folder.path()) };
    let (journal, recovered) = Journal::open(live("main")).unwrap();
    assert!(recovered.is_fresh && recovered.records.is_empty());
    journal.close(SOON).unwrap();
    let error = Journal::open(live("second")).unwrap_err();
    assert!(error.to_string().contains("belongs to a live main run, this one is live second"), "{error}");
    assert!(matches!(Journal::open(options(folder.path())), Err(StoreError::Foreign { .. })));
    assert!(matches!(verify(tempfile::tempdir().unwrap().path()), Err(StoreError::NotAJournal { .. })));
}

#[test]
fn d_02_d_09_a_failed_sync_leaves_a_journal_that_opens_again_and_holds_what_was_durable() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    put(&journal, &intent(1));
    disk.fail_syncs.store(true, Ordering::SeqCst);
    assert!(journal.append(&intent(2)).unwrap().wait_blocking(SOON).is_err());
    assert!(matches!(journal.append(&intent(3)), Err(StoreError::Poisoned { .. })));
    assert!(journal.close(SOON).is_err());
    let (journal, recovered) = Journal::open(options(folder.path())).unwrap();
    let found: Vec<Record> = recovered.records.into_iter().map(|entry| entry.record).collect();
    assert!(found.starts_with(&[intent(1)]) && found.len() <= 2, "what was called durable is there");
    journal.close(SOON).unwrap();
}

#[test]
fn p_16_what_a_start_vouches_for_survives_a_loss_of_power_right_after_it() {
    let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = Arc::new(LosingDisk::new());
    let with_disk = || JournalOptions { disk: disk.clone(), ..options(folder.path()) };
    let (journal, _) = Journal::open(with_disk()).unwrap();
    put(&journal, &intent(1));
    // Written, never synced, and the process is gone: only the system's memory holds it.
    disk.cut();
    assert!(journal.append(&intent(2)).unwrap().wait_blocking(SOON).is_err());
    assert!(journal.close(SOON).is_err());
    disk.lose_power(folder.path(), &after.path().join("before"));
    let before = read_all(&after.path().join("before")).unwrap();
    assert_eq!(before.len(), 1, "the test loses what was not synced");
    // The next start reads it and vouches for it. Then the power goes, before the writer has done anything.
    let (journal, recovered) = Journal::open(with_disk()).unwrap();
    assert_eq!(recovered.records_total, 2);
    disk.lose_power(folder.path(), &after.path().join("after"));
    drop(journal);
    let (journal, recovered) = Journal::open(options(&after.path().join("after"))).unwrap();
    let found: Vec<Record> = recovered.records.into_iter().map(|entry| entry.record).collect();
    assert_eq!((found, recovered.epoch), (vec![intent(1), intent(2)], 3));
    journal.close(SOON).unwrap();
}
