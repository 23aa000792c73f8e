//! Bytes of a file, whatever it is packed in, in blocks of whole lines.

use crate::error::CatalogueError;
use crate::zip;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of a block; no line may be longer.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Parquet,
    Gzip,
    Zip,
    Text,
}

/// Opens a regular file and says what it is.
pub(crate) fn open(path: &Path) -> Result<(File, Packing), CatalogueError> {
    let failed = |error: std::io::Error| CatalogueError::read(path, error);
    // Looked at before it is opened: to open a pipe waits for a writer, for ever.
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(CatalogueError::layout(
            path,
            "it is not a regular file",
            "name a file; save a pipe to a file first",
        ));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let packing = match magic.as_slice() {
        [] => return Err(CatalogueError::layout(path, "it is empty", "fetch, record or export it again")),
        b"PAR1" => Packing::Parquet,
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [b'P', b'K', ..] => Packing::Zip,
        _ => Packing::Text,
    };
    Ok((file, packing))
}

/// The text in a file that is not Parquet.
pub(crate) fn text(path: &Path, file: File, packing: Packing) -> Result<Box<dyn Read>, CatalogueError> {
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    Ok(match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        Packing::Zip => Box::new(zip::open_single(path, file)?),
        Packing::Text | Packing::Parquet => Box::new(file),
    })
}

/// Does the text begin like a recorded session: a number, a blank, a JSON object?
pub(crate) fn is_recording(path: &Path, packing: Packing) -> Result<bool, CatalogueError> {
    if !matches!(packing, Packing::Gzip | Packing::Text) {
        return Ok(false);
    }
    let (file, packing) = open(path)?;
    let mut start = Vec::new();
    match text(path, file, packing)?.take(64).read_to_end(&mut start) {
        Ok(_) => {}
        // What follows tells of it with its place.
        Err(_) if packing == Packing::Gzip && start.is_empty() => return Ok(false),
        Err(error) => return Err(CatalogueError::read(path, error)),
    }
    let digits = start.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Ok(digits > 0 && start.get(digits..).is_some_and(|rest| rest.starts_with(b" {")))
}

/// Blocks of whole lines.
pub(crate) struct Blocks {
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    /// Bytes of the block that was handed out last.
    used: usize,
    filled: usize,
    is_at_end: bool,
}

impl Blocks {
    pub(crate) fn new(reader: Box<dyn Read>) -> Self {
        Self { reader, buffer: vec![0; BLOCK_BYTES], used: 0, filled: 0, is_at_end: false }
    }

    /// The next whole lines, the last one perhaps without its end; `None` at the end of the file.
    pub(crate) fn next_block(&mut self, path: &Path) -> Result<Option<&[u8]>, CatalogueError> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        while !self.is_at_end && self.filled < self.buffer.len() {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.reader.read(room) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CatalogueError::read(path, error)),
            }
        }
        let filled = self.buffer.get(..self.filled).unwrap_or_default();
        self.used = match filled.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => 0,
        };
        if self.is_at_end {
            self.used = self.filled;
        }
        if self.used == 0 {
            if self.filled == 0 {
                return Ok(None);
            }
            return Err(CatalogueError::layout(
                path,
                "it has a line of more than 1 MiB",
                "this is no table; name another file",
            ));
        }
        Ok(self.buffer.get(..self.used))
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("filled", &self.filled).finish_non_exhaustive()
    }
}
