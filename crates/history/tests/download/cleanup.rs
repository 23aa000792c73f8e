//! Closing: everything that was opened is closed under the deadline, in whatever state it is, and nothing is left.

use super::{Scene, bars, date_ns, expected_bars, klines, runtime};
use crate::server::{DAY_NS, Fault};
use async_trait::async_trait;
use keel_history::{Answer, Fetch, HistoryError, Resume, SourcePolicy};
use keel_marketdata::Interval;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A session that counts its closes.
#[derive(Debug, Default)]
struct Counting {
    closes: AtomicU32,
    fails: bool,
    hangs: bool,
}

#[async_trait]
impl Fetch for Counting {
    async fn get(&self, _url: &str, _resume: Option<&Resume>) -> Result<Answer, String> {
        std::future::pending().await
    }

    async fn close(&self) -> Result<(), String> {
        self.closes.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.fails { Err("close failed".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn s4_038_the_session_is_closed_once_and_nothing_is_held_or_left() {
    let scene = Scene::new();
    runtime().block_on(async {
        let session = Arc::new(Counting::default());
        let manager = scene.builder().session(session.clone()).build().unwrap();
        let part = scene.folder.path().join(".downloads/BTCUSDT-1m-2024-01.zip.99.abc.part");
        std::fs::write(&part, b"half of it").unwrap();
        assert!(!manager.is_closed());
        assert!(manager.close().await.is_clean());
        assert!(manager.is_closed() && !part.exists());
        assert_eq!(session.closes.load(Ordering::SeqCst), 1);
        assert_eq!(manager.close().await.completed, 0, "S4-015, S4-032: nothing to close, and no harm");
        assert_eq!((session.closes.load(Ordering::SeqCst), scene.ledger.total()), (1, 0));
        let error = manager.get(&klines("1m", 0, DAY_NS, SourcePolicy::Auto)).await.unwrap_err();
        assert!(matches!(error, HistoryError::Closed));
    });
    assert_eq!(scene.strays(), [""; 0]);
}

#[test]
fn s4_039_a_close_that_fails_is_told_and_stops_nothing() {
    let scene = Scene::new();
    runtime().block_on(async {
        let session = Arc::new(Counting { fails: true, ..Counting::default() });
        let manager = scene.builder().session(session.clone()).build().unwrap();
        let report = manager.close().await;
        assert_eq!(report.errors, [("session".to_owned(), "close failed".to_owned())]);
        assert_eq!((report.completed, manager.is_closed(), scene.ledger.total()), (1, true, 0));
    });
}

#[test]
fn s4_018_a_close_that_hangs_is_cut_at_the_deadline_and_a_request_under_way_is_ended() {
    let scene = Scene::new();
    runtime().block_on(async {
        let session = Arc::new(Counting { hangs: true, ..Counting::default() });
        let timeout = Duration::from_millis(100);
        let manager = Arc::new(scene.builder().session(session).close_timeout(timeout).build().unwrap());
        let request = klines("1m", date_ns(2024, 1, 1), date_ns(2024, 1, 2), SourcePolicy::Vision);
        let (asked, report) = tokio::join!(manager.get(&request), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            manager.close().await
        });
        assert!(matches!(asked, Err(HistoryError::Closed)));
        assert_eq!((report.cut, report.completed), (vec!["session".to_owned()], 1));
    });
}

#[test]
fn s4_029_s4_031_dropping_it_closes_it_too() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        manager.get(&klines("1h", date_ns(2024, 1, 1), date_ns(2024, 1, 2), SourcePolicy::Auto)).await.unwrap();
        drop(manager);
    });
    assert_eq!((scene.ledger.total(), scene.strays()), (0, Vec::new()));
    assert_eq!(scene.ledger.dropped_unclosed().1, 0);
}

#[test]
fn a_large_download_that_was_killed_goes_on_where_it_was_and_one_of_another_file_begins_anew() {
    let scene = Scene::new();
    let request = klines("1m", date_ns(2024, 1, 5), date_ns(2024, 1, 6), SourcePolicy::Vision);
    let want = expected_bars(Interval::MINUTE_1, date_ns(2024, 1, 5), date_ns(2024, 1, 6));
    runtime().block_on(async {
        let builder = || scene.builder().keep_bytes_min(0);
        scene.venue.fail_archive(Fault::Stall(2_000), 1);
        let manager = builder().build().unwrap();
        // A kill: what the process had made on the disk stays as it is.
        let folder = scene.folder.path().join(".downloads");
        let aside = scene.folder.path().join("aside");
        let under_way = tokio::time::timeout(Duration::from_millis(200), manager.get(&request)).await;
        assert!(under_way.is_err());
        std::fs::rename(&folder, &aside).unwrap();
        drop(manager);
        std::fs::rename(&aside, &folder).unwrap();
        std::fs::write(folder.join("something.tmp"), b"of a killed run").unwrap();
        assert_eq!(scene.strays().len(), 2, "{:?}", scene.strays());

        let manager = builder().build().unwrap();
        assert_eq!(scene.strays().len(), 1, "swept at the start (S4-019): {:?}", scene.strays());
        assert_eq!(bars(manager.get(&request).await.unwrap()), want);
        assert_eq!(scene.venue.asked("bytes=2000-"), 1, "{:?}", scene.venue.log());
        manager.close().await;
        assert_eq!(scene.strays(), [""; 0]);
    });
}

#[test]
fn two_downloads_in_one_folder_are_refused_by_name() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let error = scene.builder().build().unwrap_err();
        assert!(matches!(error, HistoryError::Busy { .. }) && error.is_retryable(), "{error}");
        manager.close().await;
        drop(scene.builder().build().unwrap());
        let error = scene.builder().vision_base("http://example.com").build().unwrap_err();
        assert!(error.to_string().contains("loopback only"), "{error}");
    });
}
