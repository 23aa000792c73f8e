//! A journal in memory, without thread and without file: the same frames, batches, seals, head and scan, and a disk that
//! forgets what was not synced. For tests that simulate crashes and loss of power.
//!
//! Invariants: what is on the image is what the writer would have put into its first segment; opening it does to it what
//! opening a folder does; nothing here reads a clock or a random number.

use crate::frame::{self, Chain, Kind, SEGMENT_HEADER, SegmentHeader};
use crate::head::Head;
use crate::record::{Entry, Record};
use crate::scan;
use crate::{Durability, StoreError};
use std::path::Path;

/// Disks write sectors of this size as a whole.
const SECTOR: usize = 512;

/// What a loss of power leaves of bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// All of them.
    Nothing,
    /// None of them.
    Everything,
    /// The first so many, in 256ths.
    Cut(u8),
    /// Those sectors whose bit is set; the others read as zero.
    Sectors(u64),
}

/// What opening an image found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// This start; durable already.
    pub epoch: u32,
    /// Bytes of an interrupted write that were cut off.
    pub torn_bytes: usize,
    /// Records that were handed to the visitor.
    pub records: u64,
}

/// The journal.
#[derive(Clone, Debug)]
pub struct JournalImage {
    durability: Durability,
    instance: u32,
    /// Frames without sequence and checksum that no batch holds yet.
    lane: Vec<u8>,
    appended: u64,
    taken: u64,
    /// What was written, and how much of it is on stable storage.
    bytes: Vec<u8>,
    synced: usize,
    durable: u64,
    sequence: u64,
    chain: Chain,
    head: Option<Head>,
}

impl JournalImage {
    /// A fresh folder.
    #[must_use]
    pub fn new(instance: u32, durability: Durability) -> Self {
        Self {
            durability,
            instance,
            lane: Vec::with_capacity(1 << 12),
            appended: 0,
            taken: 0,
            bytes: Vec::with_capacity(1 << 15),
            synced: 0,
            durable: 0,
            sequence: 0,
            chain: [0; 32],
            head: None,
        }
    }

    /// Becomes a fresh folder again and keeps its memory.
    pub fn reset(&mut self, instance: u32, durability: Durability) {
        self.lane.clear();
        self.bytes.clear();
        (self.durability, self.instance) = (durability, instance);
        (self.appended, self.taken, self.durable, self.sequence) = (0, 0, 0, 0);
        (self.synced, self.chain, self.head) = (0, [0; 32], None);
    }

    /// Appends a record to the lane and answers its place there; see [`Self::durable`].
    pub fn append(&mut self, record: &Record) -> Result<u64, StoreError> {
        let at = frame::begin(&mut self.lane);
        if let Err(error) = record.encode(&mut self.lane) {
            self.lane.truncate(at);
            return Err(error);
        }
        frame::end(&mut self.lane, at, Kind::Record, record.version());
        self.appended += 1;
        Ok(self.appended)
    }

    /// Writes what waits in the lane as one batch; answers whether there was something. Under the policy `process` that makes
    /// it durable.
    pub fn write(&mut self) -> bool {
        if self.lane.is_empty() {
            return false;
        }
        let count = frame::finish_frames(&mut self.lane, self.sequence + 1);
        self.chain = frame::next_chain(&self.chain, &self.lane);
        self.sequence += count;
        frame::seal(&mut self.lane, self.sequence, &self.chain);
        self.bytes.extend_from_slice(&self.lane);
        self.lane.clear();
        self.taken = self.appended;
        if self.durability == Durability::Process {
            self.durable = self.taken;
        }
        true
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) {
        self.synced = keel_model::mutant!(55, self.bytes.len(), self.synced);
        self.durable = self.taken;
    }

    /// Up to which place of the lane records are durable, in the sense of the policy.
    #[must_use]
    pub fn durable(&self) -> u64 {
        keel_model::mutant!(53, self.durable, self.appended)
    }

    /// Was something appended that is not written yet?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.lane.is_empty()
    }

    /// Bytes written so far.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The process ends: what no batch held is gone.
    pub fn end_process(&mut self) {
        self.lane.clear();
        self.taken = self.appended;
    }

    /// The power fails: of what was not synced only a part is left.
    pub fn lose_power(&mut self, tear: Tear) {
        self.end_process();
        let from = self.synced;
        match tear {
            Tear::Nothing => {}
            Tear::Everything => self.bytes.truncate(from),
            Tear::Cut(parts) => {
                let keep = (self.bytes.len() - from) * usize::from(parts) / 256;
                self.bytes.truncate(from + keep);
            }
            Tear::Sectors(kept) => {
                let mut at = from;
                let mut number = 0;
                while at < self.bytes.len() {
                    let end = ((at / SECTOR + 1) * SECTOR).min(self.bytes.len());
                    if kept >> (number % 64) & 1 == 0 {
                        self.bytes[at..end].fill(0);
                    }
                    (at, number) = (end, number + 1);
                }
            }
        }
        self.synced = self.bytes.len();
    }

    /// Starts on it as [`crate::Journal::open`] does: reads and checks everything, cuts off a torn tail, raises the epoch
    /// and makes it durable.
    pub fn open(&mut self, visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>) -> Result<Opened, StoreError> {
        let path = Path::new("image");
        if self.bytes.is_empty() {
            let header = SegmentHeader { number: 1, first_sequence: 1, chain: [0; 32] };
            self.bytes.extend_from_slice(&header.to_bytes());
            self.synced = self.bytes.len();
        }
        let found = scan::scan_image(&self.bytes, path, self.head.as_ref(), visit)?;
        let torn_bytes = found.torn.as_ref().map_or(0, |torn| torn.to - torn.from);
        if keel_model::mutant!(52, true, false) {
            self.bytes.truncate(found.end.offset.max(SEGMENT_HEADER));
        }
        // As `open_end` does: what the head vouches for is durable before the head is.
        self.synced = self.bytes.len();
        (self.sequence, self.chain) = (found.end.sequence, found.end.chain);
        let last = self.head.as_ref().map_or(0, |head| head.epoch);
        let epoch = keel_model::mutant!(54, last + 1, 1);
        self.head = Some(Head {
            instance: self.instance,
            epoch,
            mode: "simulation".to_owned(),
            sequence: self.sequence,
            chain: self.chain,
            is_clean: false,
        });
        (self.appended, self.taken, self.durable) = (0, 0, 0);
        self.lane.clear();
        Ok(Opened { epoch, torn_bytes, records: found.records })
    }

    /// Reads and checks everything without changing anything.
    pub fn read(&self, visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>) -> Result<u64, StoreError> {
        scan::scan_image(&self.bytes, Path::new("image"), self.head.as_ref(), visit).map(|found| found.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::{Command, Timestamp};

    #[test]
    fn p_16_what_a_start_found_and_vouches_for_is_not_lost_with_the_power_after_it() {
        let mut image = JournalImage::new(1, Durability::Power);
        image.open(&mut |_| Ok(())).unwrap();
        image.append(&record(1)).unwrap();
        // Written, not synced: the process dies, the system goes on.
        image.write();
        image.end_process();
        assert_eq!(image.open(&mut |_| Ok(())).unwrap().records, 1);
        image.lose_power(Tear::Everything);
        let opened = image.open(&mut |_| Ok(())).unwrap();
        assert_eq!((opened.epoch, opened.records), (3, 1));
    }

    fn record(number: u64) -> Record {
        Record::Command(Timestamp::from_ms(number), Command::EmergencyStop("x".repeat(number as usize % 900)))
    }

    #[test]
    fn p_16_any_tear_of_the_last_batch_leaves_exactly_the_synced_records() {
        for cut in 0..=255u8 {
            for tear in [Tear::Cut(cut), Tear::Sectors(u64::from(cut)), Tear::Everything] {
                let mut image = JournalImage::new(1, Durability::Power);
                assert_eq!(image.open(&mut |_| Ok(())).unwrap().epoch, 1);
                (1..=3).for_each(|number| assert!(image.append(&record(number)).is_ok()));
                assert!(image.write() && image.durable() == 0);
                image.sync();
                assert_eq!(image.durable(), 3);
                (4..=8).for_each(|number| assert!(image.append(&record(number * 150)).is_ok()));
                image.write();
                let place = image.append(&record(9)).unwrap();
                image.lose_power(tear);
                assert!(image.durable() < place);
                let mut found = 0;
                let opened = image.open(&mut |entry| {
                    found = entry.sequence;
                    Ok(())
                });
                let opened = opened.unwrap_or_else(|error| panic!("{tear:?}: {error}"));
                assert!(found == 3 || found == 8, "a batch is there as a whole or not at all: {found}");
                assert_eq!((opened.epoch, opened.records), (2, found));
            }
        }
    }
}
