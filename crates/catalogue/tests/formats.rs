//! Files as users have them, whole and broken: each is read exactly or refused with its name and place.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use keel_catalogue::{
    CheckOptions, Dataset, ReadOptions, TimeMeans, check, put_in_order, read_file, read_raw, read_with, write_file,
};
use std::io::Write;
use std::path::{Path, PathBuf};

const BARS: &str = "timestamp,open,high,low,close,volume\n\
    2024-01-01 00:00:00,42283.58,42298.62,42261.02,42298.61,35.92724\n\
    2024-01-01 00:01:00,42298.62,42320,42298.61,42320,21.16779\n\
    2024-01-01 00:02:00,42319.99,42331.54,42319.99,42325.5,21.60391\n";

fn file(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A zip archive of files, packed or stored.
fn zip(files: &[(&str, &[u8])], is_packed: bool) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(bytes).unwrap();
        let body = if is_packed { deflate.finish().unwrap() } else { bytes.to_vec() };
        let mut common = Vec::new();
        common.extend_from_slice(&[20, 0, 0, 0, if is_packed { 8 } else { 0 }, 0, 0, 0, 0, 0]);
        common.extend_from_slice(&crc.sum().to_le_bytes());
        common.extend_from_slice(&(body.len() as u32).to_le_bytes());
        common.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&(archive.len() as u32).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&common);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(&body);
    }
    let (at, count) = (archive.len() as u32, files.len() as u16);
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    archive.extend_from_slice(&at.to_le_bytes());
    archive.extend_from_slice(&[0, 0]);
    archive
}

fn message(path: &Path) -> String {
    let message = read_file(path).expect_err("it must be refused").to_string();
    assert!(message.contains(&*path.file_name().unwrap().to_string_lossy()), "{message}");
    message
}

#[test]
fn one_table_is_the_same_however_it_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = read_file(file(&dir, "plain.csv", BARS)).unwrap();
    let two_members = [gzip(&BARS.as_bytes()[..60]), gzip(&BARS.as_bytes()[60..])].concat();
    for (name, bytes) in [
        ("one.csv.gz", gzip(BARS.as_bytes())),
        ("two.csv.gz", two_members),
        ("packed.zip", zip(&[("BTCUSDT-1m-2024-01.csv", BARS.as_bytes())], true)),
        ("stored.zip", zip(&[("a.csv", BARS.as_bytes())], false)),
    ] {
        assert_eq!(read_file(file(&dir, name, bytes)).unwrap(), wanted, "{name}");
    }
    for name in ["out.csv", "out.csv.gz", "out.parquet"] {
        let path = dir.path().join(name);
        assert_eq!(write_file(&path, wanted.clone()).unwrap(), 3);
        assert_eq!(read_file(&path).unwrap(), wanted, "{name}");
    }
    assert!(write_file(&dir.path().join("out.txt"), wanted).unwrap_err().to_string().contains("end it in"));
}

#[test]
fn broken_files_are_refused_with_their_name_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let packed = zip(&[("a.csv", BARS.as_bytes())], true);
    let mut flipped = packed.clone();
    flipped[40] ^= 0x10;
    let mut gzip_flipped = gzip(BARS.as_bytes());
    let middle = gzip_flipped.len() - 6;
    gzip_flipped[middle] ^= 1;
    let whole = dir.path().join("whole.parquet");
    write_file(&whole, read_file(file(&dir, "plain.csv", BARS)).unwrap()).unwrap();
    let parquet = std::fs::read(&whole).unwrap();
    for (name, bytes, wanted) in [
        ("empty", Vec::new(), "it is empty"),
        ("head.csv", BARS.lines().next().unwrap().into(), "no rows"),
        ("columns.csv", b"timestamp,open,high,low,volume\n1,2,3,4,5\n".to_vec(), "close is missing"),
        ("cut.csv.gz", gzip(BARS.as_bytes())[..80].to_vec(), "is damaged"),
        ("flipped.csv.gz", gzip_flipped, "is damaged"),
        ("cut.zip", packed[..packed.len() - 30].to_vec(), "directory is missing or cut off"),
        ("flipped.zip", flipped, "is damaged"),
        ("two.zip", zip(&[("a", b"x"), ("b", b"y")], true), "of 2 files"),
        ("none.zip", zip(&[], true), "of 0 files"),
        ("cut.parquet", parquet[..parquet.len() / 2].to_vec(), "is damaged"),
        ("only_magic.parquet", b"PAR1".to_vec(), "is damaged"),
        ("binary", vec![7; 3_000], "neither text nor"),
        ("long.csv", vec![b'x'; 3_000_000], "more than 1 MiB"),
        ("session.ws", b"1723161254087891268 {\"stream\":\"x\"}\n".to_vec(), "compress it: gzip FILE"),
    ] {
        let message = message(&file(&dir, name, bytes));
        assert!(message.contains(wanted), "{name}: {message}\n  not {wanted}");
    }
    assert!(read_file(dir.path()).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn rows_that_cannot_be_traded_on_are_refused_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let row = |text: &str| format!("{BARS}{text}\n");
    for (name, text, wanted) in [
        (
            "doubled",
            row("2024-01-01 00:02:00,42319.99,42331.54,42319.99,42325.5,21.60391"),
            "line 5: its time is that of",
        ),
        ("backwards", row("2024-01-01 00:00:30,1,2,1,2,3"), "line 5: its time is before"),
        ("nan", row("2024-01-01 00:03:00,nan,2,1,2,3"), "line 5: a value is no number"),
        ("empty", row("2024-01-01 00:03:00,,2,1,2,3"), "line 5: a value is no number"),
        ("negative", row("2024-01-01 00:03:00,-1,2,1,2,3"), "line 5: a price is zero or negative"),
        ("zero", row("2024-01-01 00:03:00,0,2,0,2,3"), "line 5: a price is zero or negative"),
        ("volume", row("2024-01-01 00:03:00,1,2,1,2,-3"), "line 5: a price is zero or negative, or a quantity"),
        ("high", row("2024-01-01 00:03:00,1,1,2,1,3"), "line 5: high is below low"),
        ("close", row("2024-01-01 00:03:00,1,2,1,3,3"), "line 5: high is below low, open or close"),
    ] {
        let message = message(&file(&dir, name, &text));
        assert!(message.contains(wanted), "{name}: {message}\n  not {wanted}");
    }
    let crossed = "ts,bid,ask,bid_size,ask_size\n1704067200000,2,1,3,4\n";
    assert!(message(&file(&dir, "crossed", crossed)).contains("bid is above ask"));
}

#[test]
fn an_import_puts_rows_in_order_and_keeps_equal_ones_once_and_refuses_contradictions() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<&str> = BARS.lines().skip(1).map(str::trim).collect();
    lines.reverse();
    lines.push(lines[1]);
    let head = BARS.lines().next().unwrap();
    let mixed = format!("{head}\n{}\n", lines.join("\n"));
    let options = ReadOptions { interval: Some("1m".parse().unwrap()), ..ReadOptions::default() };
    let raw = read_raw(&file(&dir, "mixed.csv", mixed), &options).unwrap();
    assert_eq!(check(&raw, &CheckOptions::default()).disordered.count, 2);
    let (data, ordered) = put_in_order(raw).unwrap();
    assert_eq!(data, read_file(file(&dir, "plain.csv", BARS)).unwrap());
    assert_eq!((ordered.moved, ordered.doubled), (2, 1));
    let contradicting = format!("{BARS}2024-01-01 00:01:00,42298.62,42320,42298.61,42319,21.16779\n");
    let raw = read_raw(&file(&dir, "both.csv", contradicting), &options).unwrap();
    let message = put_in_order(raw).unwrap_err().to_string();
    assert!(message.contains("both.csv, line 5") && message.contains("of line 3"), "{message}");
}

#[test]
fn options_say_what_a_file_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "mine.csv", "when,o,h,l,last,vol,n\n1704067260,1.005,2,1,1.5,3,9\n");
    let refused = read_file(&path).unwrap_err().to_string();
    assert!(refused.contains("close is missing"), "{refused}");
    let mut options = ReadOptions {
        columns: vec![("time".into(), "when".into()), ("close".into(), "last".into())],
        time: Some(TimeMeans::Close),
        price_scale: Some(2),
        ..ReadOptions::default()
    };
    let refused = read_with(&path, &options).unwrap_err().to_string();
    assert!(refused.contains("--interval 1m"), "{refused}");
    options.interval = Some("1m".parse().unwrap());
    let Dataset::Bars(bars) = read_with(&path, &options).unwrap() else { panic!("not bars") };
    assert_eq!((bars.ts_open_ns[0], bars.open[0], bars.price_scale), (1_704_067_200_000_000_000, 100, 2));
}
