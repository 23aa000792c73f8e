//! Every way in which a download breaks: it ends well or says why, and the cache never holds anything of it.

use super::{QUICK, Scene, bars, date_ns, expected_bars, klines, runtime};
use crate::server::{Fault, HOUR_NS};
use keel_history::{HistoryError, SourcePolicy};
use keel_marketdata::Interval;

/// One day of minutes from its archive.
fn day() -> keel_history::Request {
    klines("1m", date_ns(2024, 1, 5), date_ns(2024, 1, 6), SourcePolicy::Vision)
}

fn want() -> keel_marketdata::BarColumns {
    expected_bars(Interval::MINUTE_1, date_ns(2024, 1, 5), date_ns(2024, 1, 6))
}

#[test]
fn a_fault_that_passes_is_got_over() {
    for (fault, asked) in [
        (Fault::Status(500, None), 2),
        (Fault::Status(429, Some(1)), 2),
        (Fault::Status(503, Some(0)), 2),
        (Fault::Cut(1_000), 2),
        (Fault::Stall(1_000), 2),
        (Fault::Stall(0), 2),
        (Fault::Truncated, 2),
        (Fault::Slow(1), 1),
    ] {
        let scene = Scene::new();
        scene.venue.fail_archive(fault, 1);
        runtime().block_on(async {
            let manager = scene.manager();
            assert_eq!(bars(manager.get(&day()).await.unwrap()), want(), "{fault:?}");
            assert_eq!(scene.venue.asked_archive(), asked, "{fault:?}: {:?}", scene.venue.log());
            let is_resumed = scene.venue.asked("bytes=1000-") == 1;
            assert_eq!(is_resumed, matches!(fault, Fault::Cut(1_000) | Fault::Stall(1_000)), "{:?}", scene.venue.log());
            assert!(manager.close().await.is_clean());
        });
        assert_eq!(scene.strays(), [""; 0], "{fault:?}");
    }
}

#[test]
fn a_wrong_checksum_is_never_used_and_names_file_and_both_sums() {
    for fault in [Fault::WrongSum, Fault::Truncated] {
        let scene = Scene::new();
        runtime().block_on(async {
            let manager = scene.manager();
            match fault {
                Fault::WrongSum => scene.venue.fail(".CHECKSUM", fault, u32::MAX),
                _ => scene.venue.fail_archive(fault, u32::MAX),
            }
            let error = manager.get(&day()).await.unwrap_err();
            let HistoryError::Checksum { file, expected, actual, attempts } = &error else { panic!("{error}") };
            assert_eq!((file.as_str(), *attempts), ("BTCUSDT-1m-2024-01-05.zip", 3));
            assert!(expected != actual && error.to_string().contains(expected) && error.to_string().contains(actual));
            let cached = keel_history::Request { source: SourcePolicy::Cache, ..day() };
            assert!(matches!(manager.get(&cached).await, Err(HistoryError::NoData { .. })), "the cache is untouched");
            scene.venue.heal();
            assert_eq!(bars(manager.get(&day()).await.unwrap()), want(), "and it works when the venue does");
            manager.close().await;
        });
        assert_eq!(scene.strays(), [""; 0]);
    }
}

#[test]
fn what_was_complete_before_a_failure_is_kept() {
    let scene = Scene::new();
    let request = klines("1h", date_ns(2024, 1, 1), date_ns(2024, 5, 1), SourcePolicy::Vision);
    runtime().block_on(async {
        let manager = scene.builder().parallel(1).build().unwrap();
        scene.venue.fail("2024-03.zip.CHECKSUM", Fault::WrongSum, u32::MAX);
        assert!(matches!(manager.download(&request).await, Err(HistoryError::Checksum { .. })));
        scene.venue.heal();
        let before = scene.venue.asked("2024-01") + scene.venue.asked("2024-02");
        let downloaded = manager.download(&request).await.unwrap();
        assert_eq!((downloaded.vision_pieces, downloaded.rows), (2, (31 + 29 + 31 + 30) * 24));
        assert_eq!(scene.venue.asked("2024-01") + scene.venue.asked("2024-02"), before, "they are not fetched again");
    });
}

#[test]
fn a_venue_that_never_answers_well_is_an_error_with_the_number_of_attempts() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        scene.venue.fail("/data/", Fault::Status(502, None), u32::MAX);
        let error = manager.get(&day()).await.unwrap_err();
        assert!(matches!(error, HistoryError::Unreachable { attempts: 4, .. }) && error.is_retryable(), "{error}");
        scene.venue.heal();
        scene.venue.fail("/data/", Fault::Status(403, None), u32::MAX);
        let error = manager.get(&day()).await.unwrap_err();
        assert!(matches!(error, HistoryError::Refused { status: 403, .. }) && !error.is_retryable(), "{error}");
    });
}

#[test]
fn limits_of_rest_are_kept_and_a_ban_is_told() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let rest = klines("1m", date_ns(2024, 1, 5), date_ns(2024, 1, 5) + HOUR_NS, SourcePolicy::Rest);
        scene.venue.fail("/api/", Fault::Status(418, Some(3_600)), 1);
        let error = manager.get(&rest).await.unwrap_err();
        let HistoryError::Limited { status: 418, wait_s: 3_600, .. } = error else { panic!("{error}") };
        let asked = scene.venue.log().len();
        let error = manager.get(&rest).await.unwrap_err();
        assert!(matches!(error, HistoryError::Limited { .. }), "{error}");
        assert_eq!(scene.venue.log().len(), asked, "while a ban lasts nothing is asked");
    });
}

#[test]
fn an_archive_that_is_whole_and_no_archive_is_told_and_not_kept() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.builder().patience(QUICK).build().unwrap();
        let path = "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-05.zip";
        let line = "1704412800000,1,2,0.5,1.5,10,1704412859999,15,3,5,7,0\n";
        for (bytes, reason) in [
            (b"no zip at all".to_vec(), "BTCUSDT-1m-2024-01-05.zip"),
            (crate::server::zip("x.csv", b""), "it is empty"),
            (
                crate::server::zip("x.csv", format!("{line}1704412860000,x,2,0.5,1.5,10,1,15,3,5,7,0\n").as_bytes()),
                "line 2",
            ),
            (crate::server::zip("x.csv", format!("{line}{line}").as_bytes()), "line 2"),
            (crate::server::zip("x.csv", line.replace("17044", "17045").as_bytes()), "outside of"),
        ] {
            scene.venue.put(path, bytes);
            let error = manager.get(&day()).await.unwrap_err();
            assert!(matches!(error, HistoryError::Archive { .. }), "{error}");
            assert!(error.to_string().contains(reason) && error.to_string().contains("01-05.zip"), "{error}");
        }
        let cached = keel_history::Request { source: SourcePolicy::Cache, ..day() };
        assert!(matches!(manager.get(&cached).await, Err(HistoryError::NoData { .. })));
    });
}
