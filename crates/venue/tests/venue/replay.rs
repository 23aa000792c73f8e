//! Recorded sessions.

use crate::streams::LocalBook;
use crate::support::{ALICE, Fixture, Ws, eventually, number, synthetic};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use keel_venue::{MarketSource, ReplaySpeed, ReplayStart, VenueConfig, VenueContext, VenueError, VenueServer};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use tokio_tungstenite::tungstenite::Message;

fn recording(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/ws")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is missing", path.display());
    None
}

fn replay(path: &Path, speed: ReplaySpeed) -> VenueConfig {
    let market = MarketSource::Replay { path: path.to_owned(), speed, start: ReplayStart::OnFirstSubscriber };
    VenueConfig { market, ..synthetic() }
}

/// Reads text frames until the recording has ended and nothing comes any more.
async fn read_all(venue: &Fixture, ws: &mut Ws) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        match tokio::time::timeout(std::time::Duration::from_millis(500), ws.message()).await {
            Ok(Some(Message::Text(text))) => frames.push(text.to_string()),
            Ok(Some(_)) => {}
            Ok(None) => panic!("the connection ended: {:?}", venue.handle.stats()),
            Err(_) if venue.handle.replay_finished() => return frames,
            Err(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_btc_recording_at_full_speed_is_shown_as_it_was_and_its_book_can_be_rebuilt() {
    let Some(path) = recording("binance-spot-btcusdt-20240808.ws.gz") else { return };
    let venue = Fixture::start(replay(&path, ReplaySpeed::Max));
    assert_eq!(venue.handle.symbols(), ["BTCUSDT"]);
    // What comes before the snapshot has been shown at once: there is a book before anybody listens.
    let early = venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=5").await.ok();
    assert_eq!(early["bids"].as_array().unwrap().len(), 5);
    assert!(!venue.handle.replay_finished());
    let mut ws = venue.ws("/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade").await;
    let mut book = LocalBook::from_snapshot(&venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000").await.ok());
    let frames = read_all(&venue, &mut ws).await;
    // The frames are those of the file, byte by byte and in order, from where the lead-in ended.
    let lines: Vec<String> =
        BufReader::new(MultiGzDecoder::new(File::open(&path).unwrap())).lines().map(Result::unwrap).collect();
    let recorded: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    let at = recorded.iter().position(|frame| *frame == frames[0]).expect("the first frame is a recorded one");
    assert!(at < 20, "{at}");
    assert_eq!(frames.len(), recorded.len() - at);
    assert!(frames.iter().zip(&recorded[at..]).all(|(shown, recorded)| shown == recorded));
    // A client that follows Binance's rules ends with the venue's book.
    let mut applied = 0;
    for frame in &frames {
        let frame: Value = serde_json::from_str(frame).unwrap();
        if frame["stream"] == "btcusdt@depth@100ms" {
            assert!(book.apply(&frame["data"]), "no gap: {} after {}", frame["data"]["U"], book.update_id);
            applied += 1;
        }
    }
    assert!(applied > 3_400, "{applied}");
    let end = venue.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000").await.ok();
    assert!(book.equals(&end), "the rebuilt book is the venue's");
    let stats = venue.handle.stats();
    assert_eq!((stats.frames_replayed, stats.replay_gaps, stats.slow_dropped), (41_249, 0, 0));
    // Orders trade with the recorded market.
    let bought = venue.order(ALICE, "side=BUY&type=MARKET&quantity=0.01").await;
    let (price, ask) = (number(&bought["fills"][0]["price"]), number(&end["asks"][0][0]));
    assert_eq!((&bought["status"], price), (&json!("FILLED"), ask));
    let info = venue.get("/api/v3/exchangeInfo", "").await.ok();
    assert_eq!(
        (&info["symbols"][0]["symbol"], &info["symbols"][0]["filters"][0]["tickSize"]),
        (&json!("BTCUSDT"), &json!("0.01000000"))
    );
    venue.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_were_not_recorded_are_derived_and_resting_orders_fill() {
    let Some(path) = recording("binance-spot-ethusdt-20240808.ws.gz") else { return };
    let venue = Fixture::start(replay(&path, ReplaySpeed::Times(40.0)));
    let top = venue.get("/api/v3/ticker/bookTicker", "symbol=ETHUSDT").await.ok();
    let bid = number(&top["bidPrice"]);
    let order = format!("symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price={bid:.2}");
    let placed = venue.signed(ALICE, "POST", "/api/v3/order", &order).await.ok();
    let mut ws = venue.ws("/ws/ethusdt@aggTrade/ethusdt@depth5@100ms/ethusdt@kline_1m/ethusdt@depth").await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 4 {
        let event = ws.json().await;
        seen.insert(event["e"].as_str().unwrap_or("partial").to_owned());
    }
    let query = format!("symbol=ETHUSDT&orderId={}", placed["orderId"]);
    eventually("the resting order is filled by recorded trades", async || {
        venue.signed(ALICE, "GET", "/api/v3/order", &query).await.ok()["status"] == "FILLED"
    })
    .await;
    let trades = venue.signed(ALICE, "GET", "/api/v3/myTrades", "symbol=ETHUSDT").await.ok();
    assert!(trades.as_array().unwrap().iter().all(|trade| trade["isMaker"] == true), "{trades}");
    venue.stop().await;
}

fn write_recording(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.gz");
    let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    encoder.write_all(lines.join("\n").as_bytes()).unwrap();
    encoder.finish().unwrap();
    (folder, path)
}

#[tokio::test]
async fn a_recording_without_a_snapshot_shows_the_top_of_the_book() {
    let (_folder, path) = write_recording(&[
        r#"1000 {"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"60000.00","B":"1.00000","a":"60001.00","A":"2.00000"}}"#,
        r#"2000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":9,"p":"60001.00","q":"0.10000","T":1,"m":false,"M":true}}"#,
        r#"3000 {"stream":"btcusdt@bookTicker","data":{"u":6,"s":"BTCUSDT","b":"60002.00","B":"1.00000","a":"60003.00","A":"2.00000"}}"#,
    ]);
    let venue = Fixture::start(replay(&path, ReplaySpeed::Max));
    let mut ws = venue.ws("/ws/btcusdt@bookTicker/btcusdt@trade").await;
    let (trade, top) = (ws.json().await, ws.json().await);
    assert_eq!((&trade["t"], &top["u"]), (&json!(9), &json!(6)));
    eventually("it has ended", async || venue.handle.replay_finished()).await;
    let book = venue.get("/api/v3/depth", "symbol=BTCUSDT").await.ok();
    assert_eq!(
        (&book["bids"][0], &book["asks"]),
        (&json!(["60002.00000000", "1.00000000"]), &json!([["60003.00000000", "2.00000000"]]))
    );
    let bought = venue.order(ALICE, "side=BUY&type=MARKET&quantity=0.1").await;
    assert_eq!(bought["fills"][0]["price"], "60003.00000000");
    venue.stop().await;
}

#[tokio::test]
async fn damaged_recordings_do_not_start() {
    let good = r#"1000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":9,"p":"60001.00","q":"0.1","T":1,"m":false,"M":true}}"#;
    for (lines, cause) in [
        (vec![good, "oops"], "line 2"),
        (vec![good, "1001 {\"stream\":\"btcusdt@trade\",\"data\":{\"t\":"], "line 2"),
        (vec![], "holds no frames"),
        (vec![r#"1 {"lastUpdateId":5,"bids":[],"asks":[]}"#], "no frame of a market stream"),
    ] {
        let (_folder, path) = write_recording(&lines);
        let error = VenueServer::start(replay(&path, ReplaySpeed::Max), VenueContext::standalone()).unwrap_err();
        assert!(matches!(error, VenueError::Recording(_)));
        assert!(error.to_string().contains(cause) && error.to_string().contains("session.gz"), "{error}");
    }
}

#[tokio::test]
async fn a_recording_waits_for_its_first_subscriber_unless_told_otherwise() {
    let line = |at: u64, id: u64| {
        format!(
            r#"{at} {{"stream":"btcusdt@trade","data":{{"e":"trade","E":1,"s":"BTCUSDT","t":{id},"p":"60001.00","q":"0.1","T":1,"m":false,"M":true}}}}"#
        )
    };
    let lines: Vec<String> = (1..=50).map(|id| line(id * 1_000_000, id)).collect();
    let (_folder, path) = write_recording(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let venue = Fixture::start(replay(&path, ReplaySpeed::Real));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!((venue.handle.stats().frames_replayed, venue.handle.replay_finished()), (1, false));
    let mut ws = venue.ws("/ws/btcusdt@trade").await;
    for id in 2..=50 {
        assert_eq!(ws.json().await["t"], id, "nothing is missed");
    }
    venue.stop().await;
    let market = MarketSource::Replay { path, speed: ReplaySpeed::Max, start: ReplayStart::AtOnce };
    let venue = Fixture::start(VenueConfig { market, ..synthetic() });
    eventually("it ends by itself", async || venue.handle.replay_finished()).await;
    assert_eq!(venue.handle.stats().frames_replayed, 50);
    venue.stop().await;
}
