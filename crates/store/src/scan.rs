//! Reads a journal folder from its first byte to its end, and tells a torn tail from damage.
//!
//! Only the last batch can be torn: a batch is made durable before the next one is written. So what is unreadable is
//! *torn* only if nothing valid of a later batch follows it and the bytes look as an interrupted write leaves them: cut
//! short (zeros to the end), or with whole sectors missing. Everything else is damage, and damage stops the start (D-04).

use crate::StoreError;
use crate::frame::{self, Chain, HeaderError, Parsed, SEGMENT_HEADER, SegmentHeader};
use crate::head::Head;
use crate::record::{Entry, RECORD_BYTES_MAX, Record};
use crate::snapshot::Place;
use std::path::{Path, PathBuf};

/// Disks write sectors of this size as a whole.
const SECTOR: usize = 512;
/// A sector counts as missing only if at least so much of it belongs to the batch; less may be zero by chance.
const SECTOR_EVIDENCE_MIN: usize = 16;
/// Most bytes of a segment file that are read; segments are never made larger.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 28;

/// Where the journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The segment that the next batch goes to; zero when there is none yet.
    pub(crate) segment: u32,
    /// Offset of the next batch in it.
    pub(crate) offset: usize,
    /// Sequence of the last record.
    pub(crate) sequence: u64,
    /// Chain after the last batch.
    pub(crate) chain: Chain,
}

/// Bytes after the last whole batch that an interrupted write left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) path: PathBuf,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            end: End { segment: 0, offset: SEGMENT_HEADER, sequence: 0, chain: [0; 32] },
            torn: None,
            records: 0,
            batches: 0,
            segments: 0,
            spare: None,
        }
    }
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) end: End,
    pub(crate) torn: Option<Torn>,
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) segments: u32,
    /// The file after `end.segment`, if it was reserved ahead.
    pub(crate) spare: Option<u32>,
}

/// Path of a segment.
pub(crate) fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("journal-{number:08}.seg"))
}

/// Numbers of the segments in `folder`, ascending and without a hole. Only the oldest may be gone.
pub(crate) fn segments_in(folder: &Path) -> Result<Vec<u32>, StoreError> {
    let entries = std::fs::read_dir(folder).map_err(|error| StoreError::io("list", folder, &error))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| StoreError::io("list", folder, &error))?.file_name();
        let number: Option<u32> =
            name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".seg")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    let first = numbers.first().copied().unwrap_or(1);
    for (number, expected) in numbers.iter().zip(first..) {
        if *number != expected {
            let path = segment_path(folder, expected);
            return Err(StoreError::corrupt(&path, 0, format!("the segment is missing, but segment {number} exists")));
        }
    }
    Ok(numbers)
}

/// The first bytes of a segment; fewer where it is shorter.
fn read_header(path: &Path) -> Result<Vec<u8>, StoreError> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
    std::fs::File::open(path)
        .and_then(|file| file.take(SEGMENT_HEADER as u64).read_to_end(&mut bytes))
        .map_err(|error| StoreError::io("read", path, &error))?;
    Ok(bytes)
}

fn read_segment(path: &Path) -> Result<Vec<u8>, StoreError> {
    let length = std::fs::metadata(path).map_err(|error| StoreError::io("read", path, &error))?.len();
    if length > SEGMENT_BYTES_MAX {
        return Err(StoreError::corrupt(path, 0, format!("{length} bytes are more than a segment may have")));
    }
    std::fs::read(path).map_err(|error| StoreError::io("read", path, &error))
}

/// What a scan is to do.
pub(crate) struct Pass<'a> {
    /// What the journal surely holds.
    pub(crate) head: Option<Head>,
    /// Where snapshots stand: each place from the first segment read on must be passed.
    pub(crate) places: Vec<Place>,
    /// Begin with this segment instead of the first; one of the places must vouch for it.
    pub(crate) start: Option<u32>,
    /// Takes the records; without it they are checked and not decoded.
    pub(crate) visit: Option<Visit<'a>>,
    /// Is somebody writing to it meanwhile?
    pub(crate) is_live: bool,
    /// Batches that go beyond this record are not taken; the scan then ends with [`StoreError::Closed`].
    pub(crate) until: u64,
    /// The end of the last whole batch; also when the scan fails.
    pub(crate) reached: End,
}

impl<'a> Pass<'a> {
    /// A look at a journal that nobody writes to.
    pub(crate) fn new(head: Option<Head>, places: Vec<Place>, start: Option<u32>, visit: Option<Visit<'a>>) -> Self {
        Self { head, places, start, visit, is_live: false, until: u64::MAX, reached: Scan::default().end }
    }
}

/// Takes records, oldest first.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Entry) -> Result<(), StoreError>;

/// Reads everything, hands each record of each whole batch to the visitor, and checks the end against the head.
pub(crate) fn scan(folder: &Path, pass: &mut Pass<'_>) -> Result<Scan, StoreError> {
    let mut numbers = segments_in(folder)?;
    if let Some(start) = pass.start {
        numbers.retain(|number| *number >= start);
    }
    let mut scan = Scan::default();
    begin(folder, &numbers, &mut scan, pass)?;
    let mut head_seen = pass.head.as_ref().is_none_or(|head| head.sequence <= scan.end.sequence);
    for (at, number) in numbers.iter().enumerate() {
        let path = segment_path(folder, *number);
        // The next segment's header is looked at first: once it is written, this segment is complete.
        let next = numbers.get(at + 1).map(|number| read_header(&segment_path(folder, *number))).transpose()?;
        let is_last = next.as_ref().is_none_or(|bytes| SegmentHeader::parse(bytes) == Err(HeaderError::Unused));
        let bytes = read_segment(&path)?;
        match check_header(&bytes, &path, *number, &scan.end, is_last)? {
            HeaderState::Good => {}
            HeaderState::Spare => {
                if numbers.len() > at + 1 {
                    return Err(StoreError::corrupt(&path, 0, "an unused segment has another one after it"));
                }
                scan.spare = Some(*number);
                break;
            }
            HeaderState::Torn => {
                scan.torn = Some(Torn { path, from: 0, to: SEGMENT_HEADER });
                scan.spare = Some(*number);
                break;
            }
        }
        scan.end.segment = *number;
        scan.end.offset = SEGMENT_HEADER;
        scan.segments += 1;
        scan_segment(&bytes, &path, is_last, &mut scan, pass, &mut head_seen)?;
        if is_last && pass.is_live {
            // The writer may go on in the next segment at any moment: what it writes there is not of this look.
            break;
        }
    }
    check_head(folder, pass.head.as_ref(), &scan, head_seen)?;
    check_places(folder, &scan, pass)?;
    Ok(scan)
}

/// Where the scan begins. The first segment of all begins the chain; a later one is taken at its word only where a snapshot
/// stands behind it: the chain must then pass the snapshot's place with the snapshot's hash.
fn begin(folder: &Path, numbers: &[u32], scan: &mut Scan, pass: &mut Pass<'_>) -> Result<(), StoreError> {
    let first = numbers.first().copied().unwrap_or(1);
    if first == 1 {
        return check_place(folder, scan, pass);
    }
    let path = segment_path(folder, first);
    match SegmentHeader::parse(&read_header(&path)?) {
        Ok(header) => {
            scan.end.sequence = header.first_sequence.saturating_sub(1);
            scan.end.chain = header.chain;
            scan.end.segment = first - 1;
        }
        Err(HeaderError::Newer(found)) => return Err(StoreError::NewerFormat { path, found, known: frame::FORMAT }),
        Err(_) => return Err(StoreError::corrupt(&path, 0, "the oldest segment has no header that can be read")),
    }
    let before = scan.end.sequence;
    pass.places.retain(|place| place.sequence >= before);
    if pass.places.is_empty() {
        let cause = format!(
            "records 1 to {before} are not there and no snapshot that can be read stands for them; segment {} is missing",
            first - 1
        );
        return Err(StoreError::corrupt(&segment_path(folder, first - 1), 0, cause));
    }
    check_place(folder, scan, pass)
}

/// Is this the place of a snapshot? Then the chain must be the snapshot's.
fn check_place(folder: &Path, scan: &Scan, pass: &mut Pass<'_>) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    pass.places.retain(|place| {
        let is_here = place.sequence == scan.end.sequence;
        if is_here && place.chain != scan.end.chain {
            outcome = Err(StoreError::corrupt(
                &segment_path(folder, place.segment),
                scan.end.offset,
                format!("the records up to {} are not those that the snapshot was taken of", place.sequence),
            ));
        }
        !is_here
    });
    outcome
}

fn check_places(folder: &Path, scan: &Scan, pass: &Pass<'_>) -> Result<(), StoreError> {
    let Some(place) = pass.places.first() else { return Ok(()) };
    let cause = format!(
        "a snapshot of the records up to {} exists, but the journal ends with record {} or has no batch that ends there",
        place.sequence, scan.end.sequence
    );
    Err(StoreError::corrupt(&segment_path(folder, scan.end.segment.max(1)), scan.end.offset, cause))
}

/// Reads one segment that holds a whole journal, as [`scan`] reads the only file of a folder.
pub(crate) fn scan_image(
    bytes: &[u8],
    path: &Path,
    head: Option<&Head>,
    visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<Scan, StoreError> {
    let mut scan = Scan {
        end: End { segment: 1, offset: SEGMENT_HEADER, sequence: 0, chain: [0; 32] },
        torn: None,
        records: 0,
        batches: 0,
        segments: 1,
        spare: None,
    };
    let mut head_seen = head.is_none_or(|head| head.sequence == 0);
    let before = End { segment: 0, ..scan.end.clone() };
    check_header(bytes, path, 1, &before, true)?;
    let mut pass = Pass::new(head.cloned(), Vec::new(), None, Some(visit));
    scan_segment(bytes, path, true, &mut scan, &mut pass, &mut head_seen)?;
    check_head(Path::new("image"), head, &scan, head_seen)?;
    Ok(scan)
}

enum HeaderState {
    Good,
    Spare,
    Torn,
}

fn check_header(bytes: &[u8], path: &Path, number: u32, end: &End, is_last: bool) -> Result<HeaderState, StoreError> {
    match SegmentHeader::parse(bytes) {
        Ok(header) => {
            let expected = SegmentHeader { number, first_sequence: end.sequence + 1, chain: end.chain };
            if header != expected {
                return Err(StoreError::corrupt(path, 0, "the segment does not continue the one before it"));
            }
            Ok(HeaderState::Good)
        }
        Err(HeaderError::Unused) if frame::is_zero(bytes) => Ok(HeaderState::Spare),
        Err(HeaderError::Unused) => Err(StoreError::corrupt(path, 0, "the segment has no header but is not empty")),
        Err(HeaderError::Newer(found)) => {
            Err(StoreError::NewerFormat { path: path.to_path_buf(), found, known: frame::FORMAT })
        }
        // The header is made durable before the first batch, so a bad one with nothing after it was cut off.
        Err(HeaderError::Bad(_))
            if is_last && number > 1 && frame::is_zero(bytes.get(SEGMENT_HEADER..).unwrap_or_default()) =>
        {
            Ok(HeaderState::Torn)
        }
        Err(HeaderError::Bad(cause)) => Err(StoreError::corrupt(path, 0, cause)),
    }
}

fn scan_segment(
    bytes: &[u8],
    path: &Path,
    is_last: bool,
    scan: &mut Scan,
    pass: &mut Pass<'_>,
    head_seen: &mut bool,
) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut at = SEGMENT_HEADER;
    let mut sequence = scan.end.sequence;
    let (mut batch, mut count): (Vec<Entry>, u64) = (Vec::new(), 0);
    loop {
        match frame::parse(bytes, at, RECORD_BYTES_MAX) {
            Parsed::Record { version, sequence: found, payload, end } => {
                sequence += 1;
                if found != sequence {
                    let cause = format!("record {found} stands where record {sequence} belongs");
                    return Err(StoreError::corrupt(path, at, cause));
                }
                match pass.visit {
                    Some(_) => batch.push(Entry { sequence, record: Record::decode(version, payload, path, at)? }),
                    None => Record::check_version(version, path, at)?,
                }
                count += 1;
                at = end;
            }
            Parsed::Seal { sequence: found, chain, end } => {
                let frames = bytes.get(scan.end.offset..at).unwrap_or_default();
                let expected = frame::next_chain(&scan.end.chain, frames);
                if found != sequence || count == 0 || chain != expected {
                    return Err(StoreError::corrupt(path, at, "the hash chain is broken here"));
                }
                if sequence > pass.until {
                    return Err(StoreError::Closed);
                }
                at = end;
                scan.end.offset = at;
                scan.end.sequence = sequence;
                scan.end.chain = expected;
                scan.batches += 1;
                scan.records += std::mem::take(&mut count);
                check_against_head(path, at, &scan.end, pass.head.as_ref(), head_seen)?;
                check_place(folder, scan, pass)?;
                pass.reached = scan.end.clone();
                if let Some(visit) = &mut pass.visit {
                    batch.drain(..).try_for_each(&mut **visit)?;
                }
            }
            Parsed::Zero if count == 0 && frame::is_zero(bytes.get(at..).unwrap_or_default()) => return Ok(()),
            Parsed::Zero => {
                return tail(bytes, path, at, at, is_last, scan, "a batch has no end");
            }
            Parsed::Bad { cause, claimed_end } => {
                return tail(bytes, path, at, claimed_end, is_last, scan, cause);
            }
        }
    }
}

/// Decides about unreadable bytes at `at` in a batch that begins at `scan.end.offset`.
fn tail(
    bytes: &[u8],
    path: &Path,
    at: usize,
    claimed_end: usize,
    is_last: bool,
    scan: &mut Scan,
    cause: &str,
) -> Result<(), StoreError> {
    let corrupt = || Err(StoreError::corrupt(path, at, cause));
    let begin = scan.end.offset;
    let written_end = bytes.iter().rposition(|&byte| byte != 0).map_or(begin, |last| last + 1);
    if !is_last {
        return corrupt();
    }
    let extent = begin..written_end;
    let is_torn = match later_frames(bytes, at, scan.end.sequence) {
        Later::OtherBatch => return corrupt(),
        Later::SameBatch => has_missing_sector(bytes, extent),
        Later::Nothing => {
            let is_cut = written_end <= at || claimed_end > written_end;
            is_cut || has_missing_sector(bytes, extent)
        }
    };
    if keel_model::mutant!(51, !is_torn, true) {
        return corrupt();
    }
    scan.torn = Some(Torn { path: path.to_path_buf(), from: begin, to: written_end.max(begin) });
    Ok(())
}

enum Later {
    Nothing,
    SameBatch,
    OtherBatch,
}

/// Looks for valid frames after `at`: a second seal, or a record after a seal, belongs to a later batch.
fn later_frames(bytes: &[u8], at: usize, before: u64) -> Later {
    let mut found = Later::Nothing;
    let (mut place, mut seals) = (at + 1, 0);
    while place + frame::FRAME_OVERHEAD <= bytes.len() {
        // Cheap tests first: most bytes are not the beginning of a frame.
        let is_plausible = bytes.get(place + 6..place + 8) == Some(&[0, 0]) && bytes.get(place + 4) != Some(&0);
        match if is_plausible { frame::parse(bytes, place, RECORD_BYTES_MAX) } else { Parsed::Zero } {
            Parsed::Record { sequence, end, .. } if sequence > before => {
                if seals > 0 {
                    return Later::OtherBatch;
                }
                found = Later::SameBatch;
                place = end;
            }
            Parsed::Seal { sequence, end, .. } if sequence > before => {
                seals += 1;
                if seals > 1 {
                    return Later::OtherBatch;
                }
                found = Later::SameBatch;
                place = end;
            }
            _ => place += 1,
        }
    }
    found
}

/// Is a whole sector of the batch as it was before the write, that is, zero?
fn has_missing_sector(bytes: &[u8], extent: std::ops::Range<usize>) -> bool {
    let mut at = extent.start;
    while at < extent.end {
        let end = ((at / SECTOR + 1) * SECTOR).min(extent.end);
        let part = bytes.get(at..end).unwrap_or_default();
        // No frame begins with zeros, so at the batch's own beginning even a short piece tells.
        let is_telling = part.len() >= SECTOR_EVIDENCE_MIN || at == extent.start;
        if is_telling && part.iter().all(|&byte| byte == 0) {
            return true;
        }
        at = end;
    }
    false
}

fn check_against_head(
    path: &Path,
    at: usize,
    end: &End,
    head: Option<&Head>,
    head_seen: &mut bool,
) -> Result<(), StoreError> {
    let Some(head) = head else { return Ok(()) };
    if *head_seen || end.sequence < head.sequence {
        return Ok(());
    }
    if end.sequence != head.sequence || end.chain != head.chain {
        let cause = format!("the records up to {} are not those that the head file vouches for", head.sequence);
        return Err(StoreError::corrupt(path, at, cause));
    }
    *head_seen = true;
    Ok(())
}

fn check_head(folder: &Path, head: Option<&Head>, scan: &Scan, head_seen: bool) -> Result<(), StoreError> {
    let Some(head) = head else { return Ok(()) };
    let path = segment_path(folder, scan.end.segment.max(1));
    let at = scan.torn.as_ref().map_or(scan.end.offset, |torn| torn.from);
    if !head_seen {
        let cause = format!("records {} to {} were durable and are gone", scan.end.sequence + 1, head.sequence);
        return Err(StoreError::corrupt(&path, at, cause));
    }
    if head.is_clean && (scan.end.sequence != head.sequence || scan.torn.is_some()) {
        return Err(StoreError::corrupt(&path, at, "the journal was closed in order, but something follows its end"));
    }
    Ok(())
}
