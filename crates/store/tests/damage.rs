//! D-04, P-16: every changed byte is seen; an interrupted write is told from damage and cut off.

use crate::common::{SOON, intent, options, put, small_journal, snapshot_of};
use keel_store::{Entry, Journal, JournalOptions, Record, StoreError, read_all, verify};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const SEGMENT: &str = "journal-00000001.seg";

fn segment(folder: &Path) -> PathBuf {
    folder.join(SEGMENT)
}

/// A journal of `count` single-record batches as a loss of power leaves it: synced, not closed.
fn unclosed(count: u64) -> (tempfile::TempDir, usize) {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    for sequence in 1..=count {
        put(&journal, &intent(sequence));
    }
    snapshot_of(folder.path(), copy.path());
    journal.close(SOON).unwrap();
    let bytes = std::fs::read(segment(copy.path())).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    (copy, end)
}

fn records_of(folder: &Path) -> Result<Vec<Record>, StoreError> {
    Ok(read_all(folder)?.into_iter().map(|entry: Entry| entry.record).collect())
}

fn expected(count: u64) -> Vec<Record> {
    (1..=count).map(intent).collect()
}

#[test]
fn d04_a_flipped_bit_at_every_position_of_a_closed_journal_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 4);
    let good = std::fs::read(segment(folder.path())).unwrap();
    assert!(good.len() > 400, "the file holds records");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(segment(folder.path()), &bad).unwrap();
        let error = verify(folder.path()).expect_err(&format!("byte {at}"));
        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }), "byte {at}: {error}");
    }
    std::fs::write(segment(folder.path()), &good).unwrap();
    assert_eq!(records_of(folder.path()).unwrap(), expected(4));
}

#[test]
fn d04_a_flipped_bit_in_a_journal_that_was_cut_off_is_never_taken_for_data() {
    let (folder, end) = unclosed(4);
    let good = std::fs::read(segment(folder.path())).unwrap();
    let (mut damaged, mut torn) = (0, 0);
    for at in 0..end + 40 {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(segment(folder.path()), &bad).unwrap();
        match verify(folder.path()) {
            Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => damaged += 1,
            Err(error) => panic!("byte {at}: {error}"),
            Ok(report) => {
                // Only the very last batch can look interrupted; what stands before it is whole.
                assert!(report.torn_tail_bytes > 0 && report.records >= 3, "byte {at}: {report:?}");
                assert_eq!(records_of(folder.path()).unwrap(), expected(report.records), "byte {at}");
                torn += 1;
            }
        }
    }
    assert!(damaged > end * 9 / 10 && torn < end / 10 + 40, "{damaged} damaged, {torn} torn of {end}");
}

#[test]
fn p16_a_journal_cut_at_every_byte_keeps_its_whole_batches_and_goes_on() {
    let (folder, end) = unclosed(3);
    let good = std::fs::read(segment(folder.path())).unwrap();
    for cut in (64..=end).step_by(7).chain([end]) {
        let copy = tempfile::tempdir().unwrap();
        snapshot_of(folder.path(), copy.path());
        let mut bad = good.clone();
        bad[cut..].fill(0);
        std::fs::write(segment(copy.path()), &bad).unwrap();
        let (journal, recovered) = Journal::open(options(copy.path())).unwrap();
        let kept: Vec<Record> = recovered.records.into_iter().map(|entry| entry.record).collect();
        assert_eq!(kept, expected(kept.len() as u64), "cut at {cut}");
        assert!(kept.len() == 3 || cut < end);
        put(&journal, &intent(99));
        journal.close(SOON).unwrap();
        let after = records_of(copy.path()).unwrap();
        assert_eq!(after.last(), Some(&intent(99)));
        assert_eq!(after.len(), kept.len() + 1, "cut at {cut}");
    }
}

#[test]
fn p16_a_file_that_ends_early_is_a_torn_tail_too() {
    let (folder, end) = unclosed(3);
    let good = std::fs::read(segment(folder.path())).unwrap();
    for cut in [end - 1, end - 20, end - 60, end - 100] {
        std::fs::write(segment(folder.path()), &good[..cut]).unwrap();
        let report = verify(folder.path()).unwrap();
        assert!(report.records == 2 && report.torn_tail_bytes > 0, "cut at {cut}: {report:?}");
    }
}

#[test]
fn p16_a_missing_sector_in_the_last_batch_is_torn_and_in_an_earlier_one_damage() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = Journal::open(JournalOptions { segment_bytes: 1 << 18, ..options(folder.path()) }).unwrap();
    put(&journal, &Record::RiskSnapshot(vec![1; 4_000]));
    put(&journal, &Record::RiskSnapshot(vec![2; 4_000]));
    snapshot_of(folder.path(), copy.path());
    journal.close(SOON).unwrap();
    let good = std::fs::read(segment(copy.path())).unwrap();
    for (sector, is_torn) in [(3, false), (6, false), (10, true), (12, true)] {
        let mut bad = good.clone();
        bad[sector * 512..(sector + 1) * 512].fill(0);
        std::fs::write(segment(copy.path()), &bad).unwrap();
        match verify(copy.path()) {
            Ok(report) => assert!(is_torn && report.records == 1, "sector {sector}: {report:?}"),
            Err(error) => assert!(!is_torn && matches!(error, StoreError::Corrupt { .. }), "sector {sector}: {error}"),
        }
    }
}

#[test]
fn records_that_were_vouched_for_and_are_gone_are_damage_not_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 3);
    // A start and a loss of power: the head vouches for three records, the journal is not marked as closed.
    let copy = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    snapshot_of(folder.path(), copy.path());
    journal.close(SOON).unwrap();
    let mut bytes = std::fs::read(segment(copy.path())).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes[end - 30..end].fill(0);
    std::fs::write(segment(copy.path()), &bytes).unwrap();
    let error = Journal::open(options(copy.path())).unwrap_err();
    assert!(error.to_string().contains("were durable and are gone"), "{error}");
    assert!(error.to_string().contains("move the folder aside"), "a way out is named: {error}");
}

#[test]
fn d04_swapped_missing_foreign_and_empty_segments_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    for sequence in 1..=1_200 {
        put(&journal, &intent(sequence));
    }
    journal.close(SOON).unwrap();
    let second = folder.path().join("journal-00000002.seg");
    let (one, two) = (std::fs::read(segment(folder.path())).unwrap(), std::fs::read(&second).unwrap());
    let is_damage = |what: &str| match verify(folder.path()) {
        Err(StoreError::Corrupt { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    std::fs::write(segment(folder.path()), &two).unwrap();
    std::fs::write(&second, &one).unwrap();
    is_damage("swapped");
    std::fs::write(segment(folder.path()), &one).unwrap();
    std::fs::remove_file(&second).unwrap();
    is_damage("last one missing");
    std::fs::write(&second, &two).unwrap();
    std::fs::remove_file(segment(folder.path())).unwrap();
    is_damage("first one missing");
    std::fs::write(segment(folder.path()), b"this is somebody's text file").unwrap();
    is_damage("foreign");
    std::fs::write(segment(folder.path()), b"").unwrap();
    is_damage("empty");
    std::fs::write(segment(folder.path()), vec![0; one.len()]).unwrap();
    is_damage("zeroed");
}

#[test]
fn a_folder_without_a_head_is_not_taken_for_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(verify(folder.path()), Err(StoreError::NotAJournal { .. })));
    small_journal(folder.path(), 2);
    std::fs::remove_file(folder.path().join("HEAD")).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    assert!(error.to_string().contains("the head file is missing"), "{error}");
}

#[test]
fn p21_a_newer_record_is_refused_and_nothing_is_changed() {
    let (folder, _) = unclosed(2);
    let path = segment(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    // The version byte of the first record, with a checksum that fits.
    let length = u32::from_le_bytes(bytes[64..68].try_into().unwrap()) as usize;
    bytes[69] = 200;
    let crc = crc32c::crc32c(&bytes[64..64 + 16 + length]);
    bytes[80 + length..84 + length].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 200, known: 2, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn d04_random_damage_never_panics_and_never_invents_a_record(
        seed_bytes in proptest::collection::vec((0usize..2_000, any::<u8>()), 1..12)
    ) {
        let (folder, _) = unclosed(5);
        let path = segment(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in &seed_bytes {
            bytes[*at] = *value;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(records) = records_of(folder.path()) {
            prop_assert_eq!(&records, &expected(records.len() as u64));
        }
    }
}
