//! Reading along behind the writer.

use crate::common::{FaultyDisk, SOON, accepted, intent, options, put};
use keel_store::{Entry, Journal, JournalOptions, JournalTail, read_all};
use std::sync::Arc;
use std::time::Duration;

fn all_there_is(tail: &mut JournalTail, out: &mut Vec<Entry>) -> u64 {
    let mut batches = 0;
    while tail.next_batch(u64::MAX, out).unwrap().is_some() {
        batches += 1;
    }
    batches
}

#[test]
fn a_reader_that_follows_the_writer_sees_each_record_once_in_order_over_many_segments() {
    let folder = tempfile::tempdir().unwrap();
    assert!(JournalTail::open(folder.path()).unwrap().is_none(), "no journal yet");
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    let mut tail = JournalTail::open(folder.path()).unwrap().unwrap();
    let mut seen = Vec::new();
    assert_eq!(all_there_is(&mut tail, &mut seen), 0);
    for sequence in 1..=2_000 {
        if sequence % 3 == 0 {
            drop(journal.append(&accepted(sequence)).unwrap());
        }
        if sequence % 7 == 0 {
            put(&journal, &intent(sequence));
            all_there_is(&mut tail, &mut seen);
        }
    }
    journal.close(SOON).unwrap();
    all_there_is(&mut tail, &mut seen);
    assert_eq!(seen, read_all(folder.path()).unwrap());
    let segments = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(segments > 2, "the test needs more than one segment, there are {segments} files");
    let mut again = Vec::new();
    let mut late = JournalTail::open(folder.path()).unwrap().unwrap();
    all_there_is(&mut late, &mut again);
    assert_eq!(seen, again);
    assert_eq!((late.sequence(), late.chain()), (tail.sequence(), tail.chain()));
}

#[test]
fn nothing_beyond_the_limit_is_handed_out_and_a_batch_comes_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let own = JournalOptions { disk: disk.clone(), ..options(folder.path()) };
    let (journal, _) = Journal::open(own).unwrap();
    put(&journal, &intent(1));
    disk.hold();
    let first = journal.append(&intent(2)).unwrap();
    // Wait until the writer hangs in its sync: what is appended now makes one batch.
    while journal.status().stuck_ns == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let tickets: Vec<_> = (3..=5).map(|sequence| journal.append(&intent(sequence)).unwrap()).collect();
    disk.release();
    for ticket in std::iter::once(first).chain(tickets) {
        ticket.wait_blocking(SOON).unwrap();
    }
    let mut tail = JournalTail::open(folder.path()).unwrap().unwrap();
    let mut seen = Vec::new();
    while tail.next_batch(4, &mut seen).unwrap().is_some() {}
    assert_eq!(tail.sequence(), seen.len() as u64);
    assert!(tail.sequence() <= 2, "records 3 to 5 are of one batch, and 5 is beyond the limit: {}", tail.sequence());
    while tail.next_batch(5, &mut seen).unwrap().is_some() {}
    assert_eq!(seen.len(), 5);
    journal.close(SOON).unwrap();
}

#[test]
fn d_04_damage_behind_the_writer_is_told_and_a_torn_end_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(folder.path())).unwrap();
    for sequence in 1..=1_500 {
        put(&journal, &intent(sequence));
    }
    journal.close(SOON).unwrap();
    let path = folder.path().join("journal-00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut tail = JournalTail::open(folder.path()).unwrap().unwrap();
    let mut seen = Vec::new();
    let error = loop {
        match tail.next_batch(u64::MAX, &mut seen) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("damage before the last segment is not the end of the journal"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("journal-00000001.seg is damaged at byte"), "{error}");
    assert!(!seen.is_empty() && seen.len() < 1_500);
}
