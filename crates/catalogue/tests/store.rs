//! The catalogue: what is written reads back to the digit, merges, and is never used when damaged.

use keel_catalogue::{Catalogue, CatalogueError, Dataset, OnConflict, SeriesKey, SeriesKind, Span, missing, read_file};
use keel_marketdata::columns::{BarColumns, FundingColumns, Interval, QuoteColumns, TradeColumns};

const MINUTE: u64 = 60_000_000_000;
/// 2024-01-31 23:00 UTC: an hour before the month ends.
const START: u64 = 1_706_742_000_000_000_000;

fn key(kind: SeriesKind) -> SeriesKey {
    SeriesKey::new("binance", "spot", "BTCUSDT", kind).unwrap()
}

fn bars(from: u64, count: u64) -> Dataset {
    let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 5);
    for at in from..from + count {
        let price = 6_183_763 + (at * 7_919 % 10_007) as i64;
        bars.ts_open_ns.push(START + at * MINUTE);
        bars.open.push(price);
        bars.high.push(price + 11);
        bars.low.push(price - 13);
        bars.close.push(price + 5);
        bars.volume.push((at * 104_729 % 99_991) as i64);
    }
    Dataset::Bars(bars)
}

fn trades() -> Dataset {
    Dataset::Trades(TradeColumns {
        price_scale: 2,
        quantity_scale: 8,
        ts_ns: vec![START + 5, START + 5, START + 123_456_789],
        trade_id: vec![7, 8, u64::MAX],
        price: vec![6_183_763, 6_183_764, 1],
        quantity: vec![1, 154_698_000, 900_000_000_000_000],
        is_sell: vec![true, false, true],
    })
}

fn quotes() -> Dataset {
    Dataset::Quotes(QuoteColumns {
        price_scale: 2,
        quantity_scale: 3,
        ts_ns: vec![START, START, START + 1],
        bid: vec![100, 101, 102],
        ask: vec![103, 104, 105],
        bid_quantity: vec![0, 1, 2],
        ask_quantity: vec![3, 4, 5],
    })
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let funding =
        Dataset::Funding(FundingColumns { rate_scale: 8, ts_ns: vec![START, START + 1], rate: vec![-10_000, 0] });
    for (kind, data) in [
        (SeriesKind::Bars(Interval::MINUTE_1), bars(0, 200)),
        (SeriesKind::Trades, trades()),
        (SeriesKind::AggTrades, trades()),
        (SeriesKind::Quotes, quotes()),
        (SeriesKind::Funding, funding),
    ] {
        let key = key(kind);
        let written = catalogue.write(&key, data.clone(), None, OnConflict::Refuse).unwrap();
        assert_eq!((written.rows_new, written.rows_known), (data.len() as u64, 0), "{key}");
        assert_eq!(catalogue.read(&key, Span::new(0, u64::MAX)).unwrap(), data, "{key}");
        for path in &written.files {
            assert_eq!(read_file(path).unwrap().name(), data.name(), "{key}");
        }
    }
    let (held, broken) = catalogue.list().unwrap();
    assert_eq!((held.len(), broken.len()), (5, 0));
    assert_eq!((held[0].rows, held[0].files), (200, 2), "an hour of January, the rest in February");
}

#[test]
fn a_part_is_read_by_time_and_other_times_are_empty() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    catalogue.write(&key, bars(0, 200), None, OnConflict::Refuse).unwrap();
    let part = catalogue.read(&key, Span::new(START + 50 * MINUTE, START + 70 * MINUTE)).unwrap();
    assert_eq!(part, bars(50, 20), "over the end of the month");
    assert!(catalogue.read(&key, Span::new(0, START)).unwrap().is_empty());
}

#[test]
fn writing_again_changes_nothing_and_overlaps_are_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    catalogue.write(&key, bars(100, 100), None, OnConflict::Refuse).unwrap();
    let again = catalogue.write(&key, bars(100, 100), None, OnConflict::Refuse).unwrap();
    assert_eq!((again.rows_new, again.rows_known, again.files.len()), (0, 100, 0));
    let before = catalogue.write(&key, bars(0, 120), None, OnConflict::Refuse).unwrap();
    assert_eq!((before.rows_new, before.rows_known), (100, 20));
    catalogue.write(&key, bars(250, 10), None, OnConflict::Refuse).unwrap();
    let Dataset::Bars(all) = catalogue.read(&key, Span::new(0, u64::MAX)).unwrap() else { panic!("not bars") };
    assert_eq!(all.len(), 210);
    let covered = catalogue.covered(&key).unwrap();
    let minute = |from: u64, to: u64| Span::new(START + from * MINUTE, START + to * MINUTE);
    assert_eq!(covered, [minute(0, 200), minute(250, 260)]);
    assert_eq!(missing(minute(190, 300), &covered), [minute(200, 250), minute(260, 300)]);
}

#[test]
fn rows_that_differ_are_named_and_nothing_changes_unless_they_are_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    catalogue.write(&key, bars(0, 30), None, OnConflict::Refuse).unwrap();
    let Dataset::Bars(mut other) = bars(0, 31) else { panic!("not bars") };
    other.close[7] += 1;
    let other = Dataset::Bars(other);
    let error = catalogue.write(&key, other.clone(), None, OnConflict::Refuse).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, CatalogueError::Conflict { .. }) && message.contains("2024-01-31T23:07:00Z"), "{message}");
    assert_eq!(catalogue.read(&key, Span::new(0, u64::MAX)).unwrap(), bars(0, 30));
    let replaced = catalogue.write(&key, other.clone(), None, OnConflict::Replace).unwrap();
    assert_eq!((replaced.rows_new, replaced.rows_replaced, replaced.rows_known), (1, 1, 29));
    assert_eq!(catalogue.read(&key, Span::new(0, u64::MAX)).unwrap(), other);
}

#[test]
fn a_time_in_which_nothing_happened_is_kept_as_covered() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Trades);
    let asked = Span::new(START, START + 60 * MINUTE);
    let none = Dataset::Trades(TradeColumns::default());
    let written = catalogue.write(&key, none, Some(&[asked]), OnConflict::Refuse).unwrap();
    assert_eq!(written.files.len(), 1);
    assert_eq!(catalogue.covered(&key).unwrap(), [asked]);
    assert!(catalogue.read(&key, asked).unwrap().is_empty());
    catalogue.write(&key, trades(), None, OnConflict::Refuse).unwrap();
    assert_eq!(catalogue.read(&key, Span::new(0, u64::MAX)).unwrap(), trades());
}

#[test]
fn every_flipped_byte_and_every_cut_is_an_error_or_harmless_and_never_another_answer() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    let written = catalogue.write(&key, bars(100, 20), None, OnConflict::Refuse).unwrap();
    let path = written.files[0].clone();
    let whole = std::fs::read(&path).unwrap();
    let good = read_file(&path).unwrap();
    let (mut refused, mut tried) = (0, 0);
    // KEEL_FLIPS=1 tries every byte.
    let step = std::env::var("KEEL_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(17);
    for at in (0..whole.len()).step_by(step) {
        tried += 1;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        match read_file(&path) {
            Ok(read) => assert_eq!(read, good, "byte {at}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("2024-02.parquet"), "byte {at}: {error}");
            }
        }
    }
    assert!(refused * 2 > tried, "{refused} of {tried} were noticed");
    for length in (0..whole.len()).step_by(131) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read_file(&path).is_err(), "cut to {length}");
    }
    let error = catalogue.write(&key, bars(100, 5), None, OnConflict::Refuse).unwrap_err();
    assert!(error.to_string().contains("2024-02.parquet"), "{error}");
    assert_eq!(catalogue.list().unwrap().1.len(), 1);
}

#[test]
fn what_a_killed_writer_left_is_swept_and_a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    let folder = dir.path().join(key.folder());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".2024-02.parquet.1.tmp"), b"half").unwrap();
    let Dataset::Bars(mut wide) = bars(100, 2) else { panic!("not bars") };
    wide.close[0] = 9_007_199_254_740_993;
    wide.high[0] = 9_007_199_254_740_993;
    let error = catalogue.write(&key, Dataset::Bars(wide), None, OnConflict::Refuse).unwrap_err();
    assert!(error.to_string().contains("more digits than a double holds"), "{error}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn rows_that_cannot_be_are_never_kept_and_disorder_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::new(dir.path());
    let key = key(SeriesKind::Bars(Interval::MINUTE_1));
    let Dataset::Bars(mut bad) = bars(0, 3) else { panic!("not bars") };
    bad.high[1] = 1;
    let error = catalogue.write(&key, Dataset::Bars(bad), None, OnConflict::Refuse).unwrap_err();
    assert!(error.to_string().contains("row 2: high is below low"), "{error}");
    assert!(catalogue.list().unwrap().0.is_empty());
    let Dataset::Bars(mut swapped) = bars(0, 3) else { panic!("not bars") };
    let BarColumns { ts_open_ns, open, high, low, close, volume, .. } = &mut swapped;
    ts_open_ns.swap(0, 2);
    [open, high, low, close, volume].into_iter().for_each(|column| column.swap(0, 2));
    catalogue.write(&key, Dataset::Bars(swapped), None, OnConflict::Refuse).unwrap();
    assert_eq!(catalogue.read(&key, Span::new(0, u64::MAX)).unwrap(), bars(0, 3));
}
