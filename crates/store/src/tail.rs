//! Reading along behind the writer: whole batches, oldest first, from files alone. It takes no lock, shares nothing with the
//! writer and never slows it; whoever reads slowly is simply behind. A batch that is still being written is not there yet.
//!
//! Invariant: what it hands out is checksummed and chained; it never hands out a part of a batch.

use crate::StoreError;
use crate::frame::{self, Chain, HeaderError, Parsed, SEGMENT_HEADER, SegmentHeader};
use crate::record::{Entry, RECORD_BYTES_MAX, Record};
use crate::scan::{SEGMENT_BYTES_MAX, segment_path};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// First size of the window through which a segment is read; grows up to the size of a segment when a batch is larger.
const WINDOW_BYTES: usize = 1 << 18;

/// A whole batch was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEnd {
    /// Sequence of its last record.
    pub sequence: u64,
    /// Hash over everything up to it.
    pub chain: [u8; 32],
}

/// A place in a journal that moves forward with each batch read.
#[derive(Debug)]
pub struct JournalTail {
    folder: PathBuf,
    file: File,
    segment: u32,
    /// Where the next batch begins in the segment.
    offset: usize,
    sequence: u64,
    chain: Chain,
    /// Bytes of the segment from `window_at` on.
    window: Vec<u8>,
    window_at: usize,
    window_max: usize,
}

enum Found {
    Batch(BatchEnd, usize),
    /// The window ends inside a batch.
    Cut,
    /// Nothing (whole) is there yet.
    Nothing(&'static str),
}

impl JournalTail {
    /// Stands before the oldest record that the folder still holds; `None` while it holds none.
    pub fn open(folder: &Path) -> Result<Option<Self>, StoreError> {
        let mut numbers = Vec::new();
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("list", folder, &error)),
        };
        for entry in entries {
            let name = entry.map_err(|error| StoreError::io("list", folder, &error))?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".seg")?.parse().ok());
            numbers.extend(number);
        }
        let Some(first) = numbers.into_iter().min() else { return Ok(None) };
        let Some((file, header)) = open_segment(folder, first)? else { return Ok(None) };
        Ok(Some(Self {
            folder: folder.to_path_buf(),
            file,
            segment: first,
            offset: SEGMENT_HEADER,
            sequence: header.first_sequence.saturating_sub(1),
            chain: header.chain,
            window: Vec::new(),
            window_at: SEGMENT_HEADER,
            window_max: WINDOW_BYTES,
        }))
    }

    /// Stands before record `sequence + 1` or not long before it; `None` when the folder does not hold that place any more.
    pub fn open_before(folder: &Path, sequence: u64) -> Result<Option<Self>, StoreError> {
        let Some(mut tail) = Self::open(folder)? else { return Ok(None) };
        if tail.sequence > sequence {
            return Ok(None);
        }
        // The last segment that begins no later.
        while let Some((file, header)) = open_segment(folder, tail.segment + 1)? {
            if header.first_sequence > sequence + 1 {
                break;
            }
            (tail.file, tail.segment) = (file, tail.segment + 1);
            (tail.sequence, tail.chain) = (header.first_sequence.saturating_sub(1), header.chain);
        }
        Ok(Some(tail))
    }

    /// Sequence of the last record before this place.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Hash over everything before this place.
    #[must_use]
    pub const fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// Appends the records of the next whole batch to `out`; `None` when there is none yet, or when its last record lies
    /// beyond `limit` (what the caller knows to be durable).
    pub fn next_batch(&mut self, limit: u64, out: &mut Vec<Entry>) -> Result<Option<BatchEnd>, StoreError> {
        if self.sequence >= limit {
            return Ok(None);
        }
        let mut is_fresh = false;
        loop {
            let before = out.len();
            match self.parse_batch(out)? {
                Found::Batch(end, _) if end.sequence > limit => {
                    out.truncate(before);
                    return Ok(None);
                }
                Found::Batch(end, next) => {
                    self.offset = next;
                    self.sequence = end.sequence;
                    self.chain = end.chain;
                    return Ok(Some(end));
                }
                Found::Cut if self.window_max < SEGMENT_BYTES_MAX as usize && is_fresh => {
                    out.truncate(before);
                    self.window_max *= 2;
                    self.fill()?;
                }
                Found::Cut | Found::Nothing(_) if !is_fresh => {
                    // What was read earlier may be older than what is there now.
                    out.truncate(before);
                    self.fill()?;
                    is_fresh = true;
                }
                Found::Cut => return Err(self.corrupt("a batch is larger than a segment")),
                Found::Nothing(cause) => {
                    out.truncate(before);
                    if !self.go_on_in_next(cause)? {
                        return Ok(None);
                    }
                    is_fresh = false;
                }
            }
        }
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        let path = segment_path(&self.folder, self.segment);
        self.window.resize(self.window_max, 0);
        self.window_at = self.offset;
        let mut filled = 0;
        while let Some(free) = self.window.get_mut(filled..).filter(|free| !free.is_empty()) {
            match self.file.read_at(free, (self.window_at + filled) as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io("read", &path, &error)),
            }
        }
        self.window.truncate(filled);
        Ok(())
    }

    fn parse_batch(&self, out: &mut Vec<Entry>) -> Result<Found, StoreError> {
        let path = segment_path(&self.folder, self.segment);
        let begin = self.offset - self.window_at;
        let is_full = self.window.len() == self.window_max;
        let (mut at, mut sequence) = (begin, self.sequence);
        loop {
            match frame::parse(&self.window, at, RECORD_BYTES_MAX) {
                Parsed::Record { version, sequence: found, payload, end } if found == sequence + 1 => {
                    sequence = found;
                    let record = Record::decode(version, payload, &path, self.window_at + at)?;
                    out.push(Entry { sequence, record });
                    at = end;
                }
                Parsed::Seal { sequence: found, chain, end } => {
                    let frames = self.window.get(begin..at).unwrap_or_default();
                    let expected = frame::next_chain(&self.chain, frames);
                    if found != sequence || at == begin || chain != expected {
                        return Ok(Found::Nothing("the hash chain is broken here"));
                    }
                    return Ok(Found::Batch(BatchEnd { sequence, chain: expected }, self.window_at + end));
                }
                Parsed::Record { .. } => return Ok(Found::Nothing("a record stands where another belongs")),
                Parsed::Zero | Parsed::Bad { .. }
                    if is_full && at + RECORD_BYTES_MAX + 64 > self.window.len() && at > begin =>
                {
                    return Ok(Found::Cut);
                }
                Parsed::Bad { claimed_end, .. } if is_full && claimed_end > self.window.len() => return Ok(Found::Cut),
                Parsed::Zero if at == begin => return Ok(Found::Nothing("")),
                Parsed::Zero => return Ok(Found::Nothing("a batch has no end")),
                Parsed::Bad { cause, .. } => return Ok(Found::Nothing(cause)),
            }
        }
    }

    /// Goes to the next segment when the writer has gone there. A segment that was left behind must end in order.
    fn go_on_in_next(&mut self, cause: &'static str) -> Result<bool, StoreError> {
        let Some((file, header)) = open_segment(&self.folder, self.segment + 1)? else { return Ok(false) };
        // It may have got its last batch between our look and its successor's first.
        self.fill()?;
        if let Found::Batch(..) = self.parse_batch(&mut Vec::new())? {
            return Ok(true);
        }
        if header.first_sequence != self.sequence + 1 || header.chain != self.chain {
            let cause = if cause.is_empty() { "the segment does not continue the one before it" } else { cause };
            return Err(self.corrupt(cause));
        }
        self.file = file;
        self.segment += 1;
        self.offset = SEGMENT_HEADER;
        self.window.clear();
        self.window_at = SEGMENT_HEADER;
        Ok(true)
    }

    fn corrupt(&self, cause: &str) -> StoreError {
        StoreError::corrupt(&segment_path(&self.folder, self.segment), self.offset, cause)
    }
}

/// A segment that is in use, with its header; `None` when it is missing or only reserved.
fn open_segment(folder: &Path, number: u32) -> Result<Option<(File, SegmentHeader)>, StoreError> {
    let path = segment_path(folder, number);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", &path, &error)),
    };
    let mut head = [0; SEGMENT_HEADER];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(StoreError::io("read", &path, &error)),
    }
    match SegmentHeader::parse(&head) {
        Ok(header) => Ok(Some((file, header))),
        // Reserved, or its header is just being written.
        Err(HeaderError::Unused | HeaderError::Bad(_)) => Ok(None),
        Err(HeaderError::Newer(found)) => Err(StoreError::NewerFormat { path, found, known: frame::FORMAT }),
    }
}
