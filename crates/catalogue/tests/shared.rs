//! Reads the real files beside the repository; skips loudly where they are missing.

use keel_catalogue::{CatalogueError, CheckOptions, Dataset, ReadOptions, check, read_file, read_raw};
use std::path::{Path, PathBuf};

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not here", path.display());
    None
}

#[test]
fn one_minute_candles_of_a_perpetual_are_read_from_gzip() {
    let Some(path) = shared("candles/btc-perp-1m-202201.csv.gz") else { return };
    let Dataset::Bars(bars) = read_file(path).unwrap() else { panic!("not bars") };
    assert_eq!((bars.len(), bars.interval.to_string().as_str()), (45_031, "1m"));
    assert_eq!((bars.price_scale, bars.quantity_scale), (3, 7));
    assert_eq!((bars.open[0], bars.volume[0]), (46_319_000, 23_004_137_295_000));
    assert_eq!(bars.ts_open_ns[0], 1_640_991_660_000_000_000);
}

#[test]
fn candles_of_another_program_are_read_from_parquet_exactly() {
    for (name, price_scale) in [("ada", 4), ("link", 3), ("ltc", 2), ("bnb", 2)] {
        let Some(path) = shared(&format!("candles/bybit-{name}usdt-1m.parquet")) else { return };
        let Dataset::Bars(bars) = read_file(path).unwrap() else { panic!("not bars") };
        assert_eq!((bars.len(), bars.interval.to_string().as_str()), (105_076, "1m"));
        println!("{name} {} {}", bars.price_scale, bars.quantity_scale);
        assert_eq!(bars.price_scale, price_scale, "{name}");
    }
}

#[test]
fn a_recorded_session_is_told_apart() {
    let Some(path) = shared("ws/binance-spot-ethusdt-20240808.ws.gz") else { return };
    assert_eq!(read_file(&path).unwrap(), Dataset::Recording(path));
}

#[test]
fn what_is_not_there_is_named() {
    let error = read_file("none.csv").unwrap_err();
    assert!(matches!(error, CatalogueError::Io { .. }) && error.to_string().contains("none.csv"), "{error}");
}

#[test]
fn benchmark_files_are_read_with_their_times() {
    let Some(dir) = std::env::var_os("KEEL_GOLDEN_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: KEEL_GOLDEN_DATA names no folder with bars_100k.csv and quotes_100k.csv");
        return;
    };
    let Dataset::Bars(bars) = read_file(dir.join("bars_100k.csv")).unwrap() else { panic!("not bars") };
    assert_eq!((bars.len(), bars.price_scale, bars.quantity_scale), (100_000, 2, 3));
    assert_eq!(bars.ts_open_ns[0], 1_704_067_200_000_000_000, "the first bar begins at the start");
    let Dataset::Quotes(quotes) = read_file(dir.join("quotes_100k.csv")).unwrap() else { panic!("not quotes") };
    assert_eq!((quotes.len(), quotes.price_scale, quotes.quantity_scale), (100_000, 2, 3));
    assert_eq!(quotes.ts_ns[0], 1_704_067_200_100_000_000);
}

#[test]
fn the_gaps_of_the_candles_are_all_found() {
    for name in ["ada", "link", "ltc", "bnb"] {
        let Some(path) = shared(&format!("candles/bybit-{name}usdt-1m.parquet")) else { return };
        let raw = read_raw(&path, &ReadOptions::default()).unwrap();
        let report = check(&raw, &CheckOptions::default());
        let length = (13 * 3_600 + 22 * 60) * 1_000_000_000;
        assert_eq!((report.rows, report.gaps_count, report.bars_missing), (105_076, 524, 524 * 801), "{name}");
        assert_eq!(report.gap_distances(), [(length, 524)], "{name}");
        assert!(report.is_sound(), "{name}: {report:#?}");
    }
}
