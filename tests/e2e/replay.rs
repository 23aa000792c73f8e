//! Recorded sessions: good ones trade and give the same digest each time, bad ones are named.

use crate::harness::Launcher;
use crate::run::assert_clean;
use std::io::Write;
use std::path::{Path, PathBuf};

const RECORDINGS: [(&str, &str); 2] =
    [("binance-spot-btcusdt-20240808.ws.gz", "BTCUSDT"), ("binance-spot-ethusdt-20240808.ws.gz", "ETHUSDT")];

fn recording(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws").join(name);
    if path.exists() {
        return path.canonicalize().ok();
    }
    eprintln!("SKIPPED: no recording {}", path.display());
    None
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gunzip_head(path: &Path, lines: usize) -> String {
    use std::io::{BufRead, BufReader};
    let reader = BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()));
    reader.lines().take(lines).map(|line| line.unwrap() + "\n").collect()
}

#[test]
fn a_recording_at_full_speed_trades_and_gives_the_same_digest_twice() {
    for (name, symbol) in RECORDINGS {
        let Some(path) = recording(name) else { return };
        let launcher = Launcher::new();
        let arguments = ["--replay", path.to_str().unwrap(), "--speed", "max"];
        let first = assert_clean(launcher.run(&arguments), 0);
        assert!(first.number("orders:") > 0 && first.number("fills:") > 0, "{}", first.stdout);
        assert!(first.stderr.contains(&format!("instruments: {symbol}")), "{}", first.stderr);
        let second = assert_clean(launcher.run(&arguments), 0);
        assert_eq!(first.line("state digest:"), second.line("state digest:"));
        assert_eq!(first.number("fills:"), second.number("fills:"));
    }
}

#[test]
fn a_recording_is_also_traded_over_the_wire_and_the_run_ends_with_it() {
    for (name, symbol) in RECORDINGS {
        let Some(path) = recording(name) else { return };
        let launcher = Launcher::new();
        let ended = assert_clean(launcher.run(&["--replay", path.to_str().unwrap(), "--speed", "200"]), 0);
        assert!(ended.number("orders:") > 0 && ended.number("market events:") > 1_000, "{}", ended.stdout);
        assert!(ended.stderr.contains(&format!("instruments: {symbol}")), "{}", ended.stderr);
        assert!(ended.stdout.contains("recording"), "the reason is that the recording has ended\n{}", ended.stdout);
    }
}

#[test]
fn bad_recordings_are_named_with_place_and_remedy() {
    let launcher = Launcher::new();
    launcher.file("empty.gz", b"");
    launcher.file("plain.gz", b"1 {}\n");
    launcher.file("nothing.gz", gzip(b""));
    launcher.file("nonsense.gz", gzip(b"hello\nworld\n"));
    for (name, wanted) in [
        ("none.gz", "No such file"),
        ("empty.gz", "it is empty"),
        ("plain.gz", "it is not gzip"),
        ("nothing.gz", "nothing.gz"),
        ("nonsense.gz", "no space"),
    ] {
        for speed in ["max", "100"] {
            let ended = launcher.run(&["--replay", name, "--speed", speed]).expect_code(1);
            assert!(
                ended.stderr.contains(name) && ended.stderr.contains(wanted),
                "{name} at {speed}\n{}",
                ended.stderr
            );
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_truncated_or_broken_recording_is_told_and_ends_with_1() {
    let Some(path) = recording(RECORDINGS[0].0) else { return };
    let launcher = Launcher::new();
    let whole = std::fs::read(&path).unwrap();
    launcher.file("truncated.gz", &whole[..whole.len() / 3]);
    let mut text = gunzip_head(&path, 2_000);
    text.push_str("1723161255030314000 {\"stream\":\"btcusdt@bookTicker\",\"data\":{\"u\":\n");
    text.push_str("not a frame at all\n");
    launcher.file("broken.gz", gzip(text.as_bytes()));
    for (name, wanted) in [("truncated.gz", "truncated"), ("broken.gz", "line 2001")] {
        for speed in ["max", "1000"] {
            let ended = launcher.run(&["--replay", name, "--speed", speed]).expect_code(1);
            assert!(
                ended.stderr.contains(name) && ended.stderr.contains(wanted),
                "{name} at {speed}\n{}",
                ended.stderr
            );
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_signal_ends_a_replay_in_order() {
    let Some(path) = recording(RECORDINGS[0].0) else { return };
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--replay", path.to_str().unwrap(), "--speed", "1"]);
    running.until("trading: ready");
    running.signal(rustix::process::Signal::INT);
    assert_clean(running.wait(), 130);
}

#[test]
fn a_separate_venue_plays_a_recording_too() {
    let Some(path) = recording(RECORDINGS[1].0) else { return };
    let launcher = Launcher::new();
    let account = "demo-key:demo-secret";
    let arguments = ["venue", "--port", "0", "--account", account, "--replay", path.to_str().unwrap(), "--speed", "50"];
    let mut venue = launcher.start(&arguments);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let ended = assert_clean(launcher.run(&["--paper", "--venue", &url, "--account", account, "--duration", "4"]), 0);
    assert!(ended.number("orders:") > 0 && ended.number("market events:") > 1_000, "{}", ended.stdout);
    assert!(ended.stderr.contains("instruments: ETHUSDT"), "{}", ended.stderr);
    venue.signal(rustix::process::Signal::TERM);
    venue.wait().expect_code(0);
}
