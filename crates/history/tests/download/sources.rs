//! Which source gives what, and that it is right to the last digit.

use super::{Scene, bars, date_ns, expected_bars, klines, now_ns, runtime};
use crate::server::{DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, trade};
use keel_catalogue::Dataset;
use keel_history::{CacheStats, HistoryError, Kind, Market, Request, SourcePolicy, Span};
use keel_marketdata::Interval;
use std::time::Duration;

#[test]
fn s4_041_history_comes_from_the_archives_and_is_a_miss_s4_040_the_second_time_it_is_a_hit() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let (from, to) = (date_ns(2024, 1, 1), date_ns(2024, 3, 1));
        let got = manager.get_data("BTCUSDT", from, to, "1h".parse().unwrap(), None).await.unwrap();
        assert_eq!(got, expected_bars("1h".parse().unwrap(), from, to));
        assert_eq!(manager.get_cache_stats(), CacheStats { hits: 0, misses: 1, errors: 0 });
        assert_eq!((scene.venue.asked(".zip.CHECKSUM"), scene.venue.log().len()), (2, 4), "{:?}", scene.venue.log());
        assert!(manager.close().await.is_clean(), "the client's clean-up is attempted and works");

        let manager = scene.manager();
        let again = manager.get_data("BTCUSDT", from, to, "1h".parse().unwrap(), None).await.unwrap();
        assert_eq!(again, got);
        assert_eq!(manager.get_cache_stats(), CacheStats { hits: 1, misses: 0, errors: 0 });
        assert_eq!(scene.venue.log().len(), 4, "the cache asks nobody");
    });
}

#[test]
fn s4_024_s4_026_seconds_and_minutes_before_and_after_spot_went_to_microseconds() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        for (interval, from, to) in [
            (Interval::MINUTE_1, date_ns(2024, 12, 30), date_ns(2025, 1, 3)),
            (Interval::SECOND_1, date_ns(2024, 12, 31) + 23 * HOUR_NS, date_ns(2025, 1, 1) + HOUR_NS),
        ] {
            let got = manager.get_data("BTCUSDT", from, to, interval, Some(SourcePolicy::Vision)).await.unwrap();
            assert_eq!(got, expected_bars(interval, from, to));
        }
        assert_eq!(scene.venue.asked("/api/"), 0);
    });
}

#[test]
fn s4_025_the_newest_days_come_from_rest_and_only_whole_bars() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let (from, to) = (date_ns(2025, 3, 6), now_ns());
        let got = bars(manager.get(&klines("1m", from, to, SourcePolicy::Auto)).await.unwrap());
        // Noon's own bar is still open, and the one before it not yet settled.
        assert_eq!(got, expected_bars(Interval::MINUTE_1, from, to - MINUTE_NS));
        assert_eq!((scene.venue.asked("2025-03-08"), scene.venue.asked("2025-03-09")), (2, 0));
        assert!(scene.venue.asked("/api/v3/klines") > 0);

        let today = klines("1m", date_ns(2025, 3, 10), to, SourcePolicy::Vision);
        assert_eq!(bars(manager.get(&today).await.unwrap()).len(), 719, "what is in the cache is not fetched again");
        let today = klines("5m", date_ns(2025, 3, 10), to, SourcePolicy::Vision);
        let error = manager.get(&today).await.unwrap_err();
        assert!(matches!(error, HistoryError::NotPublished { .. }) && error.is_retryable(), "{error}");
        assert!(error.to_string().contains("BTCUSDT-5m-2025-03-10.zip"), "{error}");
    });
}

#[test]
fn s4_043_an_hour_of_ninety_days_ago_enforced_from_the_archives() {
    let scene = Scene::new();
    let end = (now_ns() - 90 * DAY_NS) / HOUR_NS * HOUR_NS;
    runtime().block_on(async {
        let manager = scene.manager();
        let (start, source) = (end - HOUR_NS, Some(SourcePolicy::Vision));
        let got = manager.get_data("BTCUSDT", start, end, Interval::MINUTE_1, source).await.unwrap();
        assert_eq!(got, expected_bars(Interval::MINUTE_1, start, end));
        assert_eq!(got.len(), 60);
        manager.close().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    std::fs::remove_dir_all(scene.folder.path()).unwrap();
}

#[test]
fn an_archive_that_is_not_there_is_looked_for_elsewhere_and_enforced_is_told() {
    let scene = Scene::listed(date_ns(2024, 2, 10));
    runtime().block_on(async {
        let manager = scene.manager();
        scene.venue.fail("BTCUSDT-1h-2024-02-12", crate::server::Fault::Status(404, None), u32::MAX);
        scene.venue.fail("BTCUSDT-1h-2024-02.zip", crate::server::Fault::Status(404, None), u32::MAX);
        let (from, to) = (date_ns(2024, 1, 1), date_ns(2024, 3, 1));
        let request = klines("1h", from, to, SourcePolicy::Vision);
        let enforced = manager.download(&request).await.unwrap();
        assert_eq!(enforced.rows, 19 * 24, "29 days, listed on the 10th, without the 12th");
        assert_eq!(enforced.missing.len(), 31 + 9 + 1, "{:?}", enforced.missing);
        assert!(enforced.missing.contains(&"BTCUSDT-1h-2024-02-12.zip".to_owned()));
        let got = manager.get(&Request { source: SourcePolicy::Auto, ..request }).await.unwrap();
        assert_eq!(bars(got), expected_bars("1h".parse().unwrap(), date_ns(2024, 2, 10), to));
        let asked = scene.venue.log().len();
        manager.get(&klines("1h", from, to, SourcePolicy::Cache)).await.unwrap();
        assert_eq!(scene.venue.log().len(), asked, "that there was nothing is remembered, too");
    });
}

#[test]
fn rest_alone_gives_the_same_bars_page_by_page() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let (from, to) = (date_ns(2024, 1, 1) + HOUR_NS, date_ns(2024, 1, 3));
        let got = bars(manager.get(&klines("1m", from, to, SourcePolicy::Rest)).await.unwrap());
        assert_eq!(got, expected_bars(Interval::MINUTE_1, from, to));
        assert_eq!((scene.venue.asked("/api/v3/klines"), scene.venue.asked("/data/")), (4, 0));
    });
}

#[test]
fn every_kind_of_every_market_comes_from_both_sources_alike() {
    let scene = Scene::new();
    let (from, to) = (date_ns(2024, 1, 31) + 22 * HOUR_NS, date_ns(2024, 2, 1) + 2 * HOUR_NS);
    runtime().block_on(async {
        for market in Market::ALL {
            let symbol = crate::server::symbol_of(market.as_str()).to_owned();
            for kind in
                [Kind::Klines(Interval::MINUTE_1), Kind::Trades, Kind::AggTrades, Kind::BookTicker, Kind::Funding]
            {
                let ask = |source| Request { market, symbol: symbol.clone(), kind, span: Span::new(from, to), source };
                let mut answers = Vec::new();
                for source in [SourcePolicy::Vision, SourcePolicy::Rest] {
                    let manager = scene.builder().use_cache(false).build().unwrap();
                    match manager.get(&ask(source)).await {
                        Ok(data) => answers.push(data),
                        Err(HistoryError::Request(_)) => {}
                        Err(error) => panic!("{market} {kind} {source:?}: {error}"),
                    }
                    manager.close().await;
                }
                let want = match (kind, market) {
                    (Kind::Funding | Kind::BookTicker, Market::Spot) => 0,
                    (Kind::BookTicker, _) | (Kind::Trades, Market::Usdm | Market::Coinm) => 1,
                    _ => 2,
                };
                assert_eq!(answers.len(), want, "{market} {kind}");
                assert!(answers.iter().all(|it| *it == answers[0]), "{market} {kind}: {answers:?}");
                answers.first().into_iter().for_each(|data| check(data, from, to));
            }
        }
    });
    assert_eq!(scene.strays(), [""; 0], "without a cache nothing stays");
}

fn check(data: &Dataset, from: u64, to: u64) {
    let times: Vec<u64> = (from..to).step_by(10 * SECOND_NS as usize).collect();
    match data {
        Dataset::Bars(bars) => assert_eq!(*bars, expected_bars(Interval::MINUTE_1, from, to)),
        Dataset::Trades(trades) => {
            assert_eq!(trades.ts_ns, times);
            for (at, ts) in times.iter().enumerate() {
                let (id, price, _, is_sell) = trade(*ts);
                assert_eq!((trades.trade_id[at], trades.is_sell[at]), (id, is_sell));
                assert_eq!(trades.price[at], price.replace('.', "").parse::<i64>().unwrap());
            }
        }
        Dataset::Quotes(quotes) => {
            assert_eq!((quotes.ts_ns.as_slice(), quotes.ask[7]), (times.as_slice(), 9_999_990));
        }
        Dataset::Funding(funding) => {
            assert_eq!((funding.ts_ns.as_slice(), funding.rate_scale), ([date_ns(2024, 2, 1)].as_slice(), 8));
        }
        Dataset::Recording(_) => panic!("a recording"),
    }
}

#[test]
fn what_cannot_be_is_told_with_its_reason() {
    let scene = Scene::new();
    runtime().block_on(async {
        let manager = scene.manager();
        let (from, to) = (date_ns(2024, 1, 1), date_ns(2024, 1, 2));
        let unknown = Request { symbol: "NOSUCH".into(), ..klines("1m", from, to, SourcePolicy::Auto) };
        let error = manager.get(&unknown).await.unwrap_err();
        assert!(matches!(error, HistoryError::UnknownSymbol { .. }), "{error}");
        let error = manager.get(&Request { source: SourcePolicy::Vision, ..unknown }).await.unwrap_err();
        assert!(matches!(error, HistoryError::NoData { .. }), "{error}");
        let old = klines("1m", date_ns(2018, 1, 1), date_ns(2018, 1, 2), SourcePolicy::Auto);
        let error = manager.get(&old).await.unwrap_err();
        assert!(matches!(error, HistoryError::NoData { .. }) && error.to_string().contains("2018-01-01"), "{error}");
        let error = manager.get(&klines("1m", from, to, SourcePolicy::Cache)).await.unwrap_err();
        assert!(error.to_string().contains("--source auto"), "{error}");
        let error = manager.get(&klines("1m", to, from, SourcePolicy::Auto)).await.unwrap_err();
        assert!(error.to_string().contains("reversed"), "{error}");
        let error = manager.get(&klines("1m", to, now_ns() + DAY_NS, SourcePolicy::Auto)).await.unwrap_err();
        assert!(error.to_string().contains("future"), "{error}");
        let unfinished = klines("1d", now_ns() - HOUR_NS, now_ns(), SourcePolicy::Auto);
        let error = manager.get(&unfinished).await.unwrap_err();
        assert!(error.to_string().contains("complete yet"), "{error}");
        assert_eq!(manager.get_cache_stats().errors, 7);
    });
}
