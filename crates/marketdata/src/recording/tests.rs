//! Tests of the recording reader: good files, and each way a file can be bad.

use super::*;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::io::{BufReader, Write};

const GOOD: &str = "10 {\"a\":1}\n12 {\"b\":2}\r\n12 [1]\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// All frames up to the first error that ends the reading.
fn read(input: impl std::io::Read) -> (Vec<(u64, String)>, Vec<RecordingError>) {
    let mut reader = RecordingReader::new(BufReader::new(input));
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    while let Some(next) = reader.next_frame() {
        match next {
            Ok(RecordedFrame { recv_ns, frame }) => frames.push((recv_ns, String::from_utf8(frame.to_vec()).unwrap())),
            Err(error) => errors.push(error),
        }
    }
    (frames, errors)
}

#[test]
fn frames_come_as_they_were_recorded() {
    let (frames, errors) = read(GOOD.as_bytes());
    assert!(errors.is_empty());
    let expected = [(10, "{\"a\":1}"), (12, "{\"b\":2}"), (12, "[1]")];
    assert_eq!(frames, expected.map(|(ts, text)| (ts, text.to_owned())));
    assert_eq!(read(MultiGzDecoder::new(&gzip(GOOD.as_bytes())[..])).0, frames);
    assert_eq!(read(GOOD.trim_end().as_bytes()).0, frames, "the last line needs no newline");
}

#[test]
fn a_broken_line_in_the_middle_is_named_by_number_and_reading_can_go_on() {
    for bad in ["12 {\"b\":", "12{}", "x {}", "", "12 ", "-1 {}", "99999999999999999999 {}", "\u{fffd}\u{1}"] {
        let (frames, errors) = read(format!("10 {{}}\n{bad}\n12 {{}}\n").as_bytes());
        assert_eq!(frames.len(), 2, "{bad:?}");
        assert!(matches!(errors[..], [RecordingError::BrokenLine { line: 2, .. }]), "{bad:?}: {errors:?}");
    }
}

#[test]
fn an_empty_file_says_that_it_is_empty() {
    assert!(matches!(read(&b""[..]).1[..], [RecordingError::Empty]));
    assert!(matches!(read(MultiGzDecoder::new(&gzip(b"")[..])).1[..], [RecordingError::Empty]));
}

#[test]
fn what_is_not_a_recording_says_so_and_nothing_more_is_read() {
    for other in ["timestamp,open,high\n1,2,3\n", "{\"a\":1}\n", "\u{0}\u{1}\u{2}\n"] {
        let (frames, errors) = read(other.as_bytes());
        assert!(frames.is_empty());
        assert!(matches!(errors[..], [RecordingError::NotARecording { .. }]), "{errors:?}");
    }
    let (_, errors) = read(MultiGzDecoder::new(&b"plain text, not gzip at all"[..]));
    assert!(matches!(errors[..], [RecordingError::NotARecording { .. }]), "{errors:?}");
    let (_, errors) = read(MultiGzDecoder::new(&b""[..]));
    assert!(matches!(errors[..], [RecordingError::NotARecording { .. } | RecordingError::Empty]), "{errors:?}");
}

#[test]
fn a_truncated_gzip_stream_is_told_apart_from_its_end() {
    let text: String = (0..5_000).map(|at| format!("{at} {{\"n\":{}}}\n", at * 7919 % 1000)).collect();
    let whole = gzip(text.as_bytes());
    for cut in [whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let (frames, errors) = read(MultiGzDecoder::new(&whole[..cut]));
        assert!(matches!(errors[..], [RecordingError::Truncated { .. }]), "cut at {cut}: {errors:?}");
        assert!(frames.len() <= 5_000);
    }
    let (frames, errors) = read(MultiGzDecoder::new(&whole[..]));
    assert_eq!((frames.len(), errors.len()), (5_000, 0));
}

#[test]
fn damaged_data_in_the_middle_ends_with_an_error_and_never_with_a_panic() {
    let text: String = (0..3_000).map(|at| format!("{at} {{\"n\":{}}}\n", at * 7919 % 1000)).collect();
    let whole = gzip(text.as_bytes());
    for at in (12..whole.len()).step_by(whole.len() / 37) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x5a;
        let (_, errors) = read(MultiGzDecoder::new(&damaged[..]));
        assert!(!errors.is_empty(), "byte {at} was changed and nobody noticed");
    }
}

#[test]
fn a_line_without_end_is_refused_before_memory_is_spent_on_it() {
    let endless = std::io::repeat(b'7').take(LINE_BYTES_MAX as u64 * 4);
    let mut reader = RecordingReader::new(BufReader::new(endless));
    assert!(matches!(reader.next_frame(), Some(Err(RecordingError::NotARecording { .. }))));
    assert!(reader.line.capacity() <= LINE_BYTES_MAX * 4);
    assert!(reader.next_frame().is_none());
}
