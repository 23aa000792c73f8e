//! The journal on a real file system: order, durability, epochs, locks, lanes, segments, faults of the disk.

use crate::common::{FaultyDisk, SOON, accepted, cancel, intent, options, policies, put, small_journal, snapshot_of};
use keel_store::{Durability, Journal, JournalOptions, Record, SessionStart, StoreError, read_all, verify};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn records_come_back_in_the_order_in_which_they_were_appended_under_every_policy() {
    for durability in policies() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, recovered) = Journal::open(JournalOptions { durability, ..options(folder.path()) }).unwrap();
        assert!(recovered.is_fresh && recovered.was_clean && recovered.records.is_empty());
        let start = Record::SessionStart(SessionStart { instance: 7, epoch: 1, ..SessionStart::default() });
        put(&journal, &start);
        let mut expected = vec![start];
        for sequence in 1..=50 {
            for record in [intent(sequence), accepted(sequence), cancel(sequence)] {
                drop(journal.append(&record).unwrap());
                expected.push(record);
            }
        }
        journal.close(SOON).unwrap();
        let found: Vec<Record> = read_all(folder.path()).unwrap().into_iter().map(|entry| entry.record).collect();
        let found: Vec<Record> = found.into_iter().filter(|r| !matches!(r, Record::IdLease { .. })).collect();
        assert_eq!(found, expected, "{durability}");
        let report = verify(folder.path()).unwrap();
        assert!(report.is_clean && report.torn_tail_bytes == 0 && report.holder.is_none());
    }
}

#[test]
fn each_start_raises_the_epoch_and_keeps_the_instance() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in 1..=4 {
        let (journal, recovered) =
            Journal::open(JournalOptions { instance: 100 + epoch, ..options(folder.path()) }).unwrap();
        assert_eq!((recovered.epoch, recovered.instance, journal.epoch()), (epoch, 101, epoch));
        assert_eq!(recovered.records_total, u64::from(epoch) - 1);
        put(&journal, &intent(u64::from(epoch)));
        journal.close(SOON).unwrap();
    }
}

#[test]
fn a_folder_copied_back_in_time_or_emptied_never_counts_an_epoch_again() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |path: &std::path::Path, epoch_min| {
        let (journal, recovered) = Journal::open(JournalOptions { epoch_min, ..options(path) }).unwrap();
        journal.close(SOON).unwrap();
        recovered.epoch
    };
    assert_eq!(at(folder.path(), 1_000), 1_000, "the clock's number");
    for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    assert_eq!(at(folder.path(), 1_000), 1_001, "twice within one second");
    assert_eq!(at(folder.path(), 900), 1_002, "and with a clock that was set back");
    assert_eq!(at(copy.path(), 1_060), 1_060, "the copy, a minute later: above all of them");
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(at(fresh.path(), 1_120), 1_120);
}

#[test]
fn epoch_is_durable_before_open_returns_even_if_nothing_is_ever_written() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, first) = Journal::open(options(folder.path())).unwrap();
    snapshot_of(folder.path(), copy.path());
    let (other, second) = Journal::open(options(copy.path())).unwrap();
    assert_eq!((first.epoch, second.epoch), (1, 2));
    assert!(!second.was_clean && !second.is_fresh);
    journal.close(SOON).unwrap();
    other.close(SOON).unwrap();
}

#[test]
fn p20_a_second_instance_is_refused_and_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let error = Journal::open(options(folder.path())).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Locked { .. }), "{text}");
    assert!(text.contains(&format!("pid {} (paper run)", std::process::id())), "{text}");
    assert_eq!(verify(folder.path()).unwrap().holder.unwrap(), format!("pid {} (paper run)", std::process::id()));
    journal.close(SOON).unwrap();
    let (journal, recovered) = Journal::open(options(folder.path())).unwrap();
    assert_eq!(recovered.epoch, 2, "the refused start did not count");
    journal.close(SOON).unwrap();
}

#[test]
fn a_paper_journal_is_never_opened_live() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 2);
    let error = Journal::open(JournalOptions { mode: "live".into(), ..options(folder.path()) }).unwrap_err();
    assert!(
        matches!(&error, StoreError::Foreign { found, wanted, .. } if found == "paper" && wanted == "live"),
        "{error}"
    );
}

#[test]
fn segments_roll_over_and_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) =
        Journal::open(JournalOptions { durability: Durability::Process, ..options(folder.path()) }).unwrap();
    for sequence in 1..=5_000 {
        // Small lanes push back; waiting for one record lets the writer catch up.
        match journal.append(&intent(sequence)) {
            Ok(ticket) => drop(ticket),
            Err(StoreError::LaneFull { .. }) => loop {
                std::thread::sleep(Duration::from_millis(1));
                if let Ok(ticket) = journal.append(&intent(sequence)) {
                    ticket.wait_blocking(SOON).unwrap();
                    break;
                }
            },
            Err(error) => panic!("{error}"),
        }
    }
    journal.close(SOON).unwrap();
    let report = verify(folder.path()).unwrap();
    assert!(report.segments > 3 && report.records == 5_000, "{report:?}");
    let sequences: Vec<u64> = read_all(folder.path()).unwrap().iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (1..=5_000).collect::<Vec<_>>());
    let (journal, recovered) = Journal::open(options(folder.path())).unwrap();
    assert_eq!(recovered.records.len(), 5_000);
    put(&journal, &intent(5_001));
    journal.close(SOON).unwrap();
    assert_eq!(verify(folder.path()).unwrap().records, 5_001);
}

#[test]
fn closing_gives_reserved_space_back_and_is_idempotent() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    put(&journal, &intent(1));
    journal.close(SOON).unwrap();
    journal.close(SOON).unwrap();
    assert!(journal.is_closed());
    assert_eq!(journal.append(&intent(2)).unwrap_err(), StoreError::Closed);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap()).collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 2_000, "{bytes} bytes for one record");
}

#[test]
fn dropping_the_last_handle_ends_the_writer_and_frees_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let ledger = options.ledger.clone();
    let (journal, _) = Journal::open(options).unwrap();
    drop(journal.append(&intent(1)).unwrap());
    drop(journal);
    for _ in 0..2_000 {
        if ledger.total() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(ledger.total(), 0, "the writer's lease is gone");
    assert_eq!(verify(folder.path()).unwrap().records, 1);
}

#[test]
fn a_ticket_is_pending_until_the_sync_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    put(&journal, &intent(1));
    disk.hold();
    let ticket = journal.append(&intent(2)).unwrap();
    let error = ticket.wait_blocking(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, StoreError::Timeout { .. }) && ticket.try_wait().is_none());
    disk.release();
    ticket.wait_blocking(SOON).unwrap();
    journal.close(SOON).unwrap();
}

#[test]
fn d03_a_hanging_disk_is_seen_and_blocks_nobody_who_appends() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    put(&journal, &intent(1));
    disk.hold();
    let first = journal.append(&intent(2)).unwrap();
    // Long enough that it hangs, and is not only preparing space.
    while journal.status().stuck_ns < 200_000_000 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The lane is bounded: it fills, then refuses; the escape lane is not affected.
    let mut refused = None;
    for sequence in 3..100_000 {
        match journal.append(&intent(sequence)) {
            Ok(ticket) => drop(ticket),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(StoreError::LaneFull { bytes }) if bytes <= 1 << 14), "{refused:?}");
    drop(journal.append_escape(&cancel(2)).unwrap());
    assert!(first.try_wait().is_none());
    assert!(
        matches!(journal.close(Duration::from_millis(20)), Err(StoreError::Timeout { .. })),
        "a close has a deadline"
    );
    disk.release();
    journal.close(SOON).unwrap();
    first.wait_blocking(SOON).unwrap();
    // The escape record went before everything that waited with it.
    let entries = read_all(folder.path()).unwrap();
    let at = entries.iter().position(|entry| entry.record == cancel(2)).unwrap();
    assert!(at <= 3, "escape record at {at}");
}

#[test]
fn d02_after_a_failed_sync_nothing_is_called_durable_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    put(&journal, &intent(1));
    disk.fail_syncs.store(true, Ordering::SeqCst);
    let error = journal.append(&intent(2)).unwrap().wait_blocking(SOON).unwrap_err();
    assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
    disk.fail_syncs.store(false, Ordering::SeqCst);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert!(matches!(journal.append(&intent(3)), Err(StoreError::Poisoned { .. })));
    assert!(matches!(journal.health(), Err(StoreError::Poisoned { .. })));
    assert!(matches!(journal.close(SOON), Err(StoreError::Poisoned { .. })));
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs, "a failed sync is never retried");
    assert!(!verify(folder.path()).unwrap().is_clean);
}

#[test]
fn d01_without_space_for_another_segment_intents_are_refused_and_cancels_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    disk.fail_reserve.store(true, Ordering::SeqCst);
    let mut sequence = 0;
    let error = loop {
        sequence += 1;
        match journal.append(&intent(sequence)) {
            Ok(ticket) => ticket.wait_blocking(SOON).unwrap(),
            Err(error) => break error,
        }
        assert!(sequence < 10_000);
    };
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("cancels still work"), "{error}");
    for sequence in 1..=20 {
        put(&journal, &cancel(sequence));
        put(&journal, &accepted(sequence));
    }
    assert!(journal.health().is_err());
    journal.close(SOON).unwrap();
    assert!(verify(folder.path()).unwrap().is_clean);
}

#[test]
fn d01_a_write_without_space_poisons_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let (journal, _) = Journal::open(JournalOptions { disk: disk.clone(), ..options(folder.path()) }).unwrap();
    put(&journal, &intent(1));
    disk.fail_writes.store(true, Ordering::SeqCst);
    let error = journal.append(&intent(2)).unwrap().wait_blocking(SOON).unwrap_err();
    assert!(error.to_string().contains("no space"), "{error}");
    drop(journal);
}

#[test]
fn policy_lease_makes_a_block_of_ids_durable_and_syncs_once_per_block() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let options = JournalOptions { disk: disk.clone(), durability: Durability::Lease, ..options(folder.path()) };
    let (journal, _) = Journal::open(options).unwrap();
    put(&journal, &cancel(1));
    while journal.status().records < 1 {
        std::thread::yield_now();
    }
    // Whatever the writer prepares in idle time is done before the count begins.
    std::thread::sleep(Duration::from_millis(50));
    let before = disk.syncs.load(Ordering::SeqCst);
    for sequence in 1..=100 {
        put(&journal, &intent(sequence));
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=3).contains(&syncs), "{syncs} syncs for 100 intents");
    journal.close(SOON).unwrap();
    let entries = read_all(folder.path()).unwrap();
    let lease = entries.iter().position(|e| matches!(e.record, Record::IdLease { epoch: 1, up_to } if up_to >= 100));
    let first = entries.iter().position(|e| matches!(e.record, Record::Intent(_)));
    assert!(lease.unwrap() < first.unwrap(), "the lease is written before the first id is used");
}

#[test]
fn a_record_that_is_too_large_is_refused_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let error = journal.append(&Record::RiskSnapshot(vec![1; 2 << 20])).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    put(&journal, &intent(1));
    journal.close(SOON).unwrap();
    assert_eq!(verify(folder.path()).unwrap().records, 1);
}

#[test]
fn tickets_wake_tasks_without_blocking_them() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tickets: Vec<_> = (1..=64).map(|sequence| journal.append(&intent(sequence)).unwrap()).collect();
        for ticket in tickets {
            ticket.await.unwrap();
        }
    });
    journal.close(SOON).unwrap();
    assert_eq!(verify(folder.path()).unwrap().records, 64);
}

#[test]
fn many_threads_append_while_the_journal_is_closed_and_every_ticket_is_decided() {
    for durability in policies() {
        let folder = tempfile::tempdir().unwrap();
        let options = JournalOptions { durability, segment_bytes: 1 << 20, ..options(folder.path()) };
        let (journal, _) = Journal::open(options).unwrap();
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let journal = journal.clone();
                std::thread::Builder::new()
                    .spawn(move || {
                        let mut written = 0u64;
                        for number in 1.. {
                            match journal.append(&cancel(thread * 1_000_000 + number)) {
                                Ok(ticket) => match ticket.wait_blocking(SOON) {
                                    Ok(()) => written += 1,
                                    Err(StoreError::Closed) => return written,
                                    Err(error) => panic!("{error}"),
                                },
                                Err(StoreError::Closed) => return written,
                                Err(error) => panic!("{error}"),
                            }
                        }
                        written
                    })
                    .unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        journal.close(SOON).unwrap();
        let written: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let report = verify(folder.path()).unwrap();
        assert!(report.is_clean && report.records == written && written > 0, "{durability}: {written} of {report:?}");
    }
}

#[test]
fn export_writes_one_json_line_for_each_record() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 3);
    let mut out = Vec::new();
    keel_store::export(folder.path(), keel_store::ExportFormat::Lines, u64::MAX, &mut out).unwrap();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["sequence"], 3);
    assert_eq!(lines[2]["record"]["Intent"]["intent"]["price"], "60000.03");
}

#[test]
fn d07_a_folder_that_cannot_be_written_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Journal::open(options(&file.join("journal"))).unwrap_err().to_string();
    assert!(error.contains("file/journal"), "{error}");
    let error = Journal::open(options(std::path::Path::new("/proc/keel-journal"))).unwrap_err().to_string();
    assert!(error.contains("/proc/keel-journal"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_appended_over_several_runs_comes_back(runs in proptest::collection::vec(proptest::collection::vec(0u64..1_000, 0..40), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            let (journal, recovered) = Journal::open(JournalOptions { durability: Durability::Process, ..options(folder.path()) }).unwrap();
            prop_assert_eq!(recovered.epoch as usize, at + 1);
            let found: Vec<Record> = recovered.records.into_iter().map(|entry| entry.record).collect();
            prop_assert_eq!(&found, &expected);
            for number in run {
                let record = match number % 4 {
                    0 => intent(*number),
                    1 => accepted(*number),
                    2 => cancel(*number),
                    _ => Record::RiskSnapshot(vec![u8::try_from(number % 256).unwrap(); usize::try_from(*number).unwrap()]),
                };
                drop(journal.append(&record).unwrap());
                expected.push(record);
            }
            journal.close(SOON).unwrap();
        }
        prop_assert_eq!(verify(folder.path()).unwrap().records as usize, expected.len());
    }
}

#[test]
fn p_15_drafts_that_a_killed_run_left_go_with_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    small_journal(folder.path(), 2);
    let drafts = ["HEAD.new", "snapshot.new"].map(|name| folder.path().join(name));
    drafts.iter().for_each(|draft| std::fs::write(draft, "half").unwrap());
    let (journal, recovered) = Journal::open(options(folder.path())).unwrap();
    assert_eq!(recovered.records_total, 2);
    assert!(drafts.iter().all(|draft| !draft.exists()));
    journal.close(SOON).unwrap();
}
