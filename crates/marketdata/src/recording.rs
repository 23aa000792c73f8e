//! Recorded sessions: one line per frame, the local receive time in nanoseconds, a space, the frame as it came.
//!
//! The caller opens and decompresses; this reads. Invariants: nothing is skipped silently: every line is a frame or an error
//! that names the line; a compressed stream that ends early is told apart from one that ends; no line is held that is
//! longer than [`LINE_BYTES_MAX`]; one buffer is reused for all frames.

use std::io::{BufRead, ErrorKind, Read};

/// The longest line; a longer one is not a recording. A snapshot of 5,000 levels a side is about 300 KB.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Why a recording could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// No frame at all.
    #[error("the recording is empty; expected lines of `<receive time in ns> <frame>`")]
    Empty,
    /// The first line is not a frame: some other file.
    #[error("this is not a recording: {cause}; expected gzip with lines of `<receive time in ns> <JSON frame>`")]
    NotARecording {
        /// What is wrong with it.
        cause: String,
    },
    /// The compressed stream ends in the middle.
    #[error("the recording is truncated: the file ends early, after line {lines_read}; get the whole file again")]
    Truncated {
        /// Lines that could be read before.
        lines_read: u64,
    },
    /// A line that is not a frame. Reading on continues behind it.
    #[error("line {line} of the recording is broken: {cause}")]
    BrokenLine {
        /// Its number, counted from 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// The compressed data is damaged, or the file could not be read.
    #[error("the recording could not be read after line {lines_read}: {source}")]
    Read {
        /// Lines that could be read before.
        lines_read: u64,
        /// What the reader said.
        source: std::io::Error,
    },
}

/// One recorded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedFrame<'a> {
    /// When it was received; unit: nanoseconds since the Unix epoch.
    pub recv_ns: u64,
    /// The frame as it came.
    pub frame: &'a [u8],
}

/// Reads a recording frame by frame.
#[derive(Debug)]
pub struct RecordingReader<R> {
    reader: R,
    line: Vec<u8>,
    lines_read: u64,
    is_ended: bool,
}

impl<R: BufRead> RecordingReader<R> {
    /// Reads from decompressed input.
    pub const fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), lines_read: 0, is_ended: false }
    }

    /// Lines read so far, broken ones included.
    #[must_use]
    pub const fn lines_read(&self) -> u64 {
        self.lines_read
    }

    /// The next frame; `None` at the end. After [`RecordingError::BrokenLine`] the next call reads the next line; every
    /// other error is the end.
    pub fn next_frame(&mut self) -> Option<Result<RecordedFrame<'_>, RecordingError>> {
        if self.is_ended {
            return None;
        }
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        match read {
            Err(source) => {
                self.is_ended = true;
                return Some(Err(self.read_error(source)));
            }
            Ok(0) => {
                self.is_ended = true;
                return (self.lines_read == 0).then_some(Err(RecordingError::Empty));
            }
            Ok(_) => self.lines_read += 1,
        }
        let line = self.lines_read;
        if self.line.len() > LINE_BYTES_MAX {
            self.is_ended = true;
            let cause = format!("longer than {LINE_BYTES_MAX} bytes");
            return Some(Err(line_error(line, cause)));
        }
        let parsed = parse_line(&self.line);
        if parsed.is_err() && line == 1 {
            self.is_ended = true;
        }
        Some(parsed.map_err(|cause| line_error(line, cause)))
    }

    fn read_error(&self, source: std::io::Error) -> RecordingError {
        let lines_read = self.lines_read;
        match source.kind() {
            ErrorKind::UnexpectedEof if lines_read == 0 && self.line.is_empty() => RecordingError::NotARecording {
                cause: "it ends before the first line, as an empty or cut-off gzip file does".to_owned(),
            },
            ErrorKind::UnexpectedEof => RecordingError::Truncated { lines_read },
            ErrorKind::InvalidInput | ErrorKind::InvalidData if lines_read == 0 => {
                RecordingError::NotARecording { cause: source.to_string() }
            }
            _ => RecordingError::Read { lines_read, source },
        }
    }
}

fn line_error(line: u64, cause: String) -> RecordingError {
    if line == 1 { RecordingError::NotARecording { cause } } else { RecordingError::BrokenLine { line, cause } }
}

fn parse_line(line: &[u8]) -> Result<RecordedFrame<'_>, String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b' ').ok_or_else(|| format!("no space in `{}`", excerpt(line)))?;
    let (time, frame) = line.split_at(at);
    let frame = frame.get(1..).unwrap_or_default();
    let recv_ns = parse_time(time)
        .ok_or_else(|| format!("it begins with `{}` instead of a time in nanoseconds", excerpt(time)))?;
    // A cut-off or merged line shows at its ends; what is between them is the decoder's business.
    let is_whole = matches!((frame.first(), frame.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')));
    if !is_whole {
        return Err(format!("`{}` is not a whole JSON frame", excerpt(frame)));
    }
    Ok(RecordedFrame { recv_ns, frame })
}

fn parse_time(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// The first bytes, control characters escaped.
fn excerpt(bytes: &[u8]) -> String {
    let cut = bytes.get(..bytes.len().min(40)).unwrap_or_default();
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

#[cfg(test)]
mod tests;
