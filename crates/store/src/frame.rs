//! The bytes of the journal. Pure: slices in, values out.
//!
//! A segment is a header and batches; a batch is record frames and one seal. Zeros after the last seal are the space that
//! was reserved ahead. All integers are little-endian.
//!
//! ```text
//! segment header  magic 8 | format u32 | segment u32 | first sequence u64 | chain before it 32 | zero u32 | CRC32C u32
//! frame           length u32 | kind u8 | version u8 | zero u16 | sequence u64 | payload | CRC32C u32 of all before
//! seal            a frame whose payload is SHA-256(chain before ‖ all record frames of the batch)
//! ```
//!
//! Invariant: a byte changed anywhere in a frame changes its CRC; a frame exchanged for another valid one changes the chain.

use sha2::{Digest, Sha256};

/// Newest format of segments that this program knows.
pub(crate) const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"KEELJRN\x01";
/// Size of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// Size of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 16;
/// Size of a frame without payload.
pub(crate) const FRAME_OVERHEAD: usize = FRAME_HEADER + 4;
/// Size of a seal.
pub(crate) const SEAL_BYTES: usize = FRAME_OVERHEAD + 32;
/// Version of seals.
const SEAL_VERSION: u8 = 1;

/// Hash over everything up to a batch.
pub(crate) type Chain = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record = 1,
    Seal = 2,
}

/// A segment's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    pub(crate) first_sequence: u64,
    pub(crate) chain: Chain,
}

/// What is wrong with a segment's header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// All zero: reserved and not yet used.
    Unused,
    /// Written by a newer program.
    Newer(u32),
    /// Not a header.
    Bad(&'static str),
}

impl SegmentHeader {
    pub(crate) fn to_bytes(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.chain);
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let head = bytes.get(..SEGMENT_HEADER.min(bytes.len())).unwrap_or_default();
        if head.iter().all(|&byte| byte == 0) {
            return Err(HeaderError::Unused);
        }
        let Ok(head) = <&[u8; SEGMENT_HEADER]>::try_from(head) else {
            return Err(HeaderError::Bad("the segment is shorter than its header"));
        };
        if &head[..8] != MAGIC {
            return Err(HeaderError::Bad("it does not begin like a journal segment"));
        }
        if crc32c::crc32c(&head[..60]) != u32_at(head, 60) {
            return Err(HeaderError::Bad("the checksum of the segment header is wrong"));
        }
        let format = u32_at(head, 8);
        if format != FORMAT {
            return Err(HeaderError::Newer(format));
        }
        let mut chain = [0; 32];
        chain.copy_from_slice(&head[24..56]);
        Ok(Self { number: u32_at(head, 12), first_sequence: u64_at(head, 16), chain })
    }
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    Record {
        version: u8,
        sequence: u64,
        payload: &'a [u8],
        end: usize,
    },
    Seal {
        sequence: u64,
        chain: &'a [u8],
        end: usize,
    },
    /// Zeros up to the end of the segment's next frame header.
    Zero,
    /// Not a frame; with the end that it claims to have.
    Bad {
        cause: &'static str,
        claimed_end: usize,
    },
}

/// Is every byte zero? Compared block by block: segments are mostly reserved space.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    bytes.chunks(ZEROS.len()).all(|block| ZEROS.get(..block.len()) == Some(block))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Reads what stands at `at`. What lies past the end of `bytes` counts as zero.
pub(crate) fn parse(bytes: &[u8], at: usize, payload_max: usize) -> Parsed<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(head) = rest.get(..FRAME_HEADER) else {
        if rest.iter().all(|&byte| byte == 0) {
            return Parsed::Zero;
        }
        return Parsed::Bad { cause: "the segment ends inside a frame", claimed_end: at + FRAME_OVERHEAD };
    };
    if head.iter().all(|&byte| byte == 0) {
        return Parsed::Zero;
    }
    let length = u32_at(head, 0) as usize;
    let claimed_end = at.saturating_add(FRAME_OVERHEAD).saturating_add(length);
    let bad = |cause| Parsed::Bad { cause, claimed_end };
    if length > payload_max || head[6] != 0 || head[7] != 0 {
        return bad("this is not the beginning of a record");
    }
    let Some(frame) = rest.get(..FRAME_OVERHEAD + length) else {
        return bad("the segment ends inside a record");
    };
    let (body, crc) = frame.split_at(FRAME_HEADER + length);
    if keel_model::mutant!(50, crc32c::crc32c(body) != u32_at(crc, 0), false) {
        return bad("the checksum of a record is wrong");
    }
    let (version, sequence, payload) = (head[5], u64_at(head, 8), &body[FRAME_HEADER..]);
    match head[4] {
        kind if kind == Kind::Record as u8 => Parsed::Record { version, sequence, payload, end: claimed_end },
        kind if kind == Kind::Seal as u8 && version == SEAL_VERSION && length == 32 => {
            Parsed::Seal { sequence, chain: payload, end: claimed_end }
        }
        _ => bad("a frame of a kind that this program does not know"),
    }
}

/// Begins a frame in `out`; the payload follows. Returns where it begins.
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    at
}

/// Ends the frame that begins at `at`: length, kind and version are set, room for the checksum is made. Sequence and
/// checksum are set by [`finish_frames`], once the order of all records is known.
pub(crate) fn end(out: &mut Vec<u8>, at: usize, kind: Kind, version: u8) {
    let length = (out.len() - at - FRAME_HEADER) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    out[at + 4] = kind as u8;
    out[at + 5] = version;
    out.extend_from_slice(&[0; 4]);
}

/// Numbers the frames in `bytes` from `first` on and sets their checksums. Returns how many there are.
pub(crate) fn finish_frames(bytes: &mut [u8], first: u64) -> u64 {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let body = at + FRAME_HEADER + u32_at(bytes, at) as usize;
        bytes[at + 8..at + 16].copy_from_slice(&(first + count).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[at..body]);
        bytes[body..body + 4].copy_from_slice(&crc.to_le_bytes());
        at = body + 4;
        count += 1;
    }
    count
}

/// The chain after a batch whose record frames are `frames`.
pub(crate) fn next_chain(before: &Chain, frames: &[u8]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(frames);
    hash.finalize().into()
}

/// Appends the seal of a batch.
pub(crate) fn seal(out: &mut Vec<u8>, sequence: u64, chain: &Chain) {
    let at = begin(out);
    out.extend_from_slice(chain);
    end(out, at, Kind::Seal, SEAL_VERSION);
    finish_frames(&mut out[at..], sequence);
}
