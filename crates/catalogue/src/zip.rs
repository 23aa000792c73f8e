//! The one file in a zip archive, as venues publish their history; its checksum and length are verified at the end.

use crate::error::CatalogueError;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom, Take};
use std::path::Path;

/// The end record and the longest comment behind it.
const TAIL_BYTES: u64 = 22 + 65_535;

/// Where the entry lies and what it must come to.
#[derive(Debug)]
struct Entry {
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    header_at: u64,
}

/// Opens the only file of an archive.
pub(crate) fn open_single<R: Read + Seek + 'static>(
    path: &Path,
    mut file: R,
) -> Result<impl Read + 'static, CatalogueError> {
    let entry = find(&mut file).map_err(|error| CatalogueError::read(path, error))?;
    let entry = match entry {
        Ok(entry) => entry,
        Err(cause) => return Err(CatalogueError::layout(path, cause, "unpack the archive and name the file")),
    };
    let reader = enter(file, &entry).map_err(|error| CatalogueError::read(path, error))?;
    Ok(Verified { reader, crc: Crc::new(), wanted: entry.crc, size: entry.size })
}

fn broken(cause: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the zip archive is broken: {cause}"))
}

fn number(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(count)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Reads the directory; the inner error is an archive that is whole but not ours.
fn find<R: Read + Seek>(file: &mut R) -> std::io::Result<Result<Entry, String>> {
    let cut = || broken("its directory is missing or cut off");
    let length = file.seek(SeekFrom::End(0))?;
    let tail_at = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = Vec::new();
    file.by_ref().take(TAIL_BYTES).read_to_end(&mut tail)?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or_else(cut)?;
    let record = tail.get(end..).ok_or_else(cut)?;
    let mut count = number(record, 10, 2).ok_or_else(cut)?;
    let mut directory_at = number(record, 16, 4).ok_or_else(cut)?;
    if directory_at == u64::from(u32::MAX) || count == u64::from(u16::MAX) {
        // ZIP64: the locator stands before the end record.
        let locator = end.checked_sub(20).and_then(|at| tail.get(at..end)).ok_or_else(cut)?;
        file.seek(SeekFrom::Start(number(locator, 8, 8).ok_or_else(cut)?))?;
        let mut wide = [0u8; 56];
        file.read_exact(&mut wide)?;
        count = number(&wide, 32, 8).ok_or_else(cut)?;
        directory_at = number(&wide, 48, 8).ok_or_else(cut)?;
    }
    if count != 1 {
        return Ok(Err(format!("it is a zip archive of {count} files")));
    }
    if directory_at >= length {
        return Err(cut());
    }
    file.seek(SeekFrom::Start(directory_at))?;
    let mut head = [0u8; 46];
    file.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(broken("its directory is not where it says"));
    }
    let field = |at, count| number(&head, at, count).ok_or_else(cut);
    let mut extra = vec![0u8; usize::try_from(field(28, 2)? + field(30, 2)?).map_err(|_| cut())?];
    file.read_exact(&mut extra)?;
    let extra = extra.get(usize::try_from(field(28, 2)?).map_err(|_| cut())?..).unwrap_or_default();
    let mut wide = wide_fields(extra).into_iter();
    let mut widened =
        |narrow: u64| if narrow == u64::from(u32::MAX) { wide.next().ok_or_else(cut) } else { Ok(narrow) };
    let (size, packed) = (widened(field(24, 4)?)?, widened(field(20, 4)?)?);
    let header_at = widened(field(42, 4)?)?;
    let (flags, method) = (field(8, 2)?, field(10, 2)?);
    if flags & 1 != 0 {
        return Ok(Err("it is an encrypted zip archive".into()));
    }
    let crc = u32::try_from(field(16, 4)?).map_err(|_| cut())?;
    Ok(Ok(Entry { method: u16::try_from(method).map_err(|_| cut())?, crc, packed, size, header_at }))
}

/// The 64-bit numbers of the ZIP64 extra field, in their order.
fn wide_fields(mut extra: &[u8]) -> Vec<u64> {
    while let (Some(id), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let body = usize::try_from(length).ok().and_then(|length| extra.get(4..4 + length)).unwrap_or_default();
        if id == 1 {
            return body.chunks_exact(8).filter_map(|chunk| number(chunk, 0, 8)).collect();
        }
        extra = extra.get(4 + body.len()..).unwrap_or_default();
        if body.is_empty() && length != 0 {
            break;
        }
    }
    Vec::new()
}

/// The unpacked bytes.
enum Unpacked<R> {
    Stored(Take<R>),
    Deflated(DeflateDecoder<Take<R>>),
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stored(reader) => reader.read(buffer),
            Self::Deflated(reader) => reader.read(buffer),
        }
    }
}

fn enter<R: Read + Seek>(mut file: R, entry: &Entry) -> std::io::Result<Unpacked<R>> {
    file.seek(SeekFrom::Start(entry.header_at))?;
    let mut head = [0u8; 30];
    file.read_exact(&mut head)?;
    let lengths = number(&head, 26, 2).zip(number(&head, 28, 2)).filter(|_| head.starts_with(b"PK\x03\x04"));
    let (name, extra) = lengths.ok_or_else(|| broken("its file is not where the directory says"))?;
    file.seek(SeekFrom::Start(entry.header_at + 30 + name + extra))?;
    let packed = file.take(entry.packed);
    match entry.method {
        0 => Ok(Unpacked::Stored(packed)),
        8 => Ok(Unpacked::Deflated(DeflateDecoder::new(packed))),
        other => Err(broken(&format!("it is packed with method {other}; only 0 and 8 are known"))),
    }
}

/// Passes bytes on and holds them against the directory at the end.
struct Verified<R> {
    reader: Unpacked<R>,
    crc: Crc,
    wanted: u32,
    size: u64,
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.reader.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        let amount = u64::from(self.crc.amount());
        if count == 0 && (self.crc.sum() != self.wanted || amount != self.size & u64::from(u32::MAX)) {
            return Err(broken("the checksum or the length of its file does not agree"));
        }
        Ok(count)
    }
}
