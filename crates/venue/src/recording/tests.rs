//! Recordings, whole and damaged.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

const TRADE: &str = r#"100 {"stream":"btcusdt@trade","data":{"e":"trade","E":9,"s":"BTCUSDT","t":7,"p":"60000.10000000","q":"0.50000000","T":8,"m":true,"M":true}}"#;
const SNAPSHOT: &str = r#"101 {"lastUpdateId":5,"bids":[["60000.00","1.0"]],"asks":[]}"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn load(bytes: &[u8]) -> Result<Recording, RecordingError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.gz");
    std::fs::write(&path, bytes).unwrap();
    Recording::load(&path)
}

#[test]
fn frames_symbols_and_numbers_are_read() {
    let recording = load(&gzip(&format!("{TRADE}\n{SNAPSHOT}\n\n"))).unwrap();
    assert_eq!((recording.frames.len(), recording.has_snapshot), (2, true));
    assert_eq!(recording.streams, ["btcusdt@trade"]);
    let instrument = &recording.instruments[0];
    assert_eq!(
        (instrument.symbol.as_str(), instrument.base.as_str(), instrument.quote.as_str()),
        ("BTCUSDT", "BTC", "USDT")
    );
    assert_eq!(
        (instrument.tick_size.to_string(), instrument.lot.step.to_string()),
        ("0.1".to_owned(), "0.1".to_owned())
    );
    let first = recording.read(recording.frames[0], InstrumentId(0), |_| Some(InstrumentId(0))).unwrap();
    let frame = recording.bytes(recording.frames[0]);
    assert!(frame[first.data.clone()].starts_with(b"{\"e\":\"trade\"") && frame[first.data].ends_with(b"\"M\":true}"));
    assert!(matches!(first.event, Some(MarketEvent::Trade(trade)) if trade.aggressor == Side::Sell));
}

#[test]
fn damaged_recordings_are_refused_with_place_and_cause() {
    let whole = gzip(&[TRADE; 2_000].join("\n"));
    let cut = load(&whole[..whole.len() - 200]).unwrap_err();
    assert!(matches!(cut, RecordingError::Truncated { .. }), "{cut}");
    assert!(matches!(load(b"").unwrap_err(), RecordingError::Empty { .. }));
    assert!(matches!(load(&gzip("")).unwrap_err(), RecordingError::Empty { .. }));
    assert!(matches!(load(TRADE.as_bytes()).unwrap_err(), RecordingError::NotGzip { .. }));
    for (line, cause) in [
        ("nonsense", "no space"),
        ("x {}", "is not a number"),
        ("200 {\"stream\":\"btcusdt@trade\",\"data\":{\"t\":1", "EOF"),
        ("200 {\"stream\":\"btcusdt@trade\",\"data\":{}}", "missing field"),
        ("200 {\"foo\":1}", "neither"),
        ("200 {\"lastUpdateId\":5,\"bids\":[[\"x\",\"1\"]],\"asks\":[]}", "price"),
    ] {
        let error = load(&gzip(&format!("{TRADE}\n{line}\n{TRADE}"))).unwrap_err();
        assert!(matches!(error, RecordingError::BadLine { line: 2, .. }), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }
    let backwards = |ns: u64| load(&gzip(&format!("{}{}\n{TRADE}", 100 + ns, TRADE.strip_prefix("100").unwrap())));
    let error = backwards(6_000_000_000).unwrap_err();
    assert!(matches!(error, RecordingError::BadLine { line: 2, .. }) && error.to_string().contains("6.0 s before"));
    assert!(backwards(4_000_000_000).is_ok(), "a little disorder is let pass");
    let missing = Recording::load(Path::new("/no/such/file.gz")).unwrap_err();
    assert!(missing.to_string().contains("/no/such/file.gz"));
}
