//! `launcher download-data` against a fake venue: what comes, what is refused, and that nothing is left behind however it ends.

use crate::harness::{Ended, Launcher, Running};
use keel_lifecycle::Clock;
use rustix::process::Signal;
use serde_json::Value;
use server::{DAY_NS, FakeVenue, Fault, HOUR_NS};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[path = "../../crates/history/tests/download/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate, which need all of it")]
mod server;

/// A launcher and the venue that it asks.
struct Scene {
    venue: FakeVenue,
    launcher: Launcher,
    now_ns: u64,
}

impl Scene {
    fn new() -> Self {
        let now_ns = Clock::system().now_ns();
        Self { venue: FakeVenue::start(now_ns, now_ns - 500 * DAY_NS), launcher: Launcher::new(), now_ns }
    }

    /// The start of the day so many days ago.
    fn day(&self, ago: u64) -> u64 {
        (self.now_ns / DAY_NS - ago) * DAY_NS
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.launcher.command(&[&["download-data"], arguments].concat());
        self.point(&mut command);
        command
    }

    fn point(&self, command: &mut Command) {
        for name in ["VISION_URL", "SPOT_REST_URL", "USDM_REST_URL", "COINM_REST_URL"] {
            command.env(format!("KEEL__HISTORY__{name}"), self.venue.url());
        }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Running::start(self.command(arguments)).wait()
    }

    /// Hours of the year before last month, which the tests of kills fetch.
    fn year(&self) -> (Vec<String>, u64) {
        let (from_ns, to_ns) = (self.day(400), self.day(35));
        let words = ["--symbols", "BTCUSDT", "--interval", "1h", "--json", "--source", "vision", "--from"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.extend([date(from_ns), "--to".to_owned(), date(to_ns)]);
        (words, (to_ns - from_ns) / HOUR_NS)
    }

    /// Every file in the data folder that is neither a table nor the lock of the catalogue.
    fn strays(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.launcher.folder().join("keel-data"), &mut found);
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_none_or(|ending| ending != "parquet") && entry.file_name() != ".lock" {
            found.push(path.display().to_string());
        }
    }
}

fn date(ns: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ended.stdout, ended.stderr))
}

#[test]
fn s4_043_an_hour_of_ninety_days_ago_from_the_archives_then_from_the_cache() {
    let scene = Scene::new();
    let end = (scene.now_ns - 90 * DAY_NS) / HOUR_NS * HOUR_NS;
    let (from, to) = (date(end - HOUR_NS), date(end));
    let words =
        ["--symbols", "btcusdt", "--interval", "1m", "--from", &from, "--to", &to, "--source", "vision", "--json"];
    let first = json(&scene.run(&words).expect_code(0));
    assert_eq!(
        (&first["downloads"][0]["rows"], &first["downloads"][0]["vision_pieces"]),
        (&60.into(), &1.into()),
        "{first}"
    );
    assert_eq!((&first["cache"]["misses"], &first["is_complete"]), (&1.into(), &true.into()), "{first}");
    let asked = scene.venue.log().len();
    let second = json(&scene.run(&words).expect_code(0));
    assert_eq!((&second["cache"]["hits"], &second["downloads"][0]["is_hit"]), (&1.into(), &true.into()), "{second}");
    assert_eq!((scene.venue.log().len(), scene.strays()), (asked, Vec::new()));
    let listed = scene.launcher.run(&["data", "list", "--json"]).expect_code(0);
    assert!(listed.stdout.contains("binance/spot/BTCUSDT/1m"), "{}", listed.stdout);
    std::thread::sleep(Duration::from_millis(100));
    std::fs::remove_dir_all(scene.launcher.folder().join("keel-data")).unwrap();
}

#[test]
fn everything_until_now_comes_from_archives_and_rest_for_several_symbols_and_kinds() {
    let scene = Scene::new();
    let from = date(scene.day(40));
    let ended =
        scene.run(&["--symbols", "BTCUSDT,NOSUCH", "--interval", "1h", "--from", &from, "--json"]).expect_code(1);
    let result = json(&ended);
    let hours = (scene.now_ns - scene.day(40)) / HOUR_NS;
    let rows = result["downloads"][0]["rows"].as_u64().unwrap();
    assert!((hours - 1..=hours + 1).contains(&rows), "{rows} of {hours}: {result}");
    assert!(result["downloads"][0]["rest_pieces"].as_u64() > Some(0), "{result}");
    assert!(result["downloads"][1]["error"].as_str().unwrap().contains("no symbol NOSUCH"), "{result}");
    assert!(ended.stderr.contains("BTCUSDT 1h klines:"), "plain lines off a terminal: {}", ended.stderr);
    for words in [["--kind", "funding", "--market", "usdm"], ["--kind", "agg-trades", "--market", "spot"]] {
        let (from, to) = (date(scene.day(70)), date(scene.day(69)));
        let ended = scene.run(&[&["--symbols", "BTCUSDT", "--from", &from, "--to", &to][..], &words].concat());
        let ended = ended.expect_code(0);
        assert!(ended.stdout.contains("BTCUSDT"), "{}", ended.stdout);
    }
    assert_eq!(scene.strays(), [""; 0]);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is() {
    let scene = Scene::new();
    let base = ["--symbols", "BTCUSDT", "--from", "2024-01-02"];
    for (more, reason) in [
        (vec!["--interval", "7m"], "is no interval; one of 1s 1m"),
        (vec!["--to", "2024-01-01"], "reversed"),
        (vec!["--to", "2099-01-01"], "future"),
        (vec!["--to", "yesterday"], "is no date; write 2024-01-31"),
        (vec!["--kind", "funding"], "spot has no funding"),
        (vec!["--kind", "trades", "--interval", "1m"], "of klines only"),
        (vec!["--interval", "1s", "--market", "usdm"], "spot only"),
        (vec!["--kind", "book-ticker"], "futures only"),
        (vec!["--symbols", "BTC/USDT"], "is no symbol"),
        (vec!["--source", "moon"], "moon"),
    ] {
        let ended = scene.run(&[&base[..], &more].concat()).expect_code(1);
        assert!(ended.stderr.contains(reason), "{more:?}: {}", ended.stderr);
    }
    assert_eq!(scene.venue.log(), [""; 0]);
    let none = scene.run(&["--symbols", "BTCUSDT", "--from", "2018-01-01", "--to", "2018-01-02"]).expect_code(1);
    assert!(none.stderr.contains("was not traded then"), "{}", none.stderr);
    let mut plain = scene.command(&base);
    plain.env("KEEL__HISTORY__VISION_URL", "http://example.com");
    Running::start(plain).wait().expect_code(1).expect_stderr("loopback only");
}

#[test]
fn a_kill_at_any_instant_leaves_whole_tables_only_and_the_next_run_goes_on() {
    let scene = Scene::new();
    let (words, hours) = scene.year();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    scene.venue.fail_archive(Fault::Slow(2), u32::MAX);
    for wait_ms in [10, 60, 120, 200, 300, 450] {
        let running = Running::start(scene.command(&words));
        running.until_signals_are_held();
        std::thread::sleep(Duration::from_millis(wait_ms));
        running.signal(Signal::KILL);
        let killed = running.wait();
        assert!(matches!(killed.code, None | Some(0)), "{}", killed.stderr);
        let tables: Vec<String> = scene.strays().into_iter().filter(|it| !it.ends_with(".tmp")).collect();
        assert_eq!(tables, [""; 0], "nothing but what the next writer sweeps");
        let listed = json(&scene.launcher.run(&["data", "list", "--json"]).expect_code(0));
        assert_eq!(listed["damaged"], Value::Array(Vec::new()), "{listed}");
    }
    scene.venue.heal();
    let whole = json(&scene.run(&words).expect_code(0));
    assert_eq!(whole["downloads"][0]["rows"], hours, "{whole}");
    assert_eq!(scene.strays(), [""; 0]);
}

#[test]
fn ctrl_c_ends_with_130_keeps_what_is_whole_and_leaves_nothing() {
    let scene = Scene::new();
    let (words, hours) = scene.year();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The second half never comes.
    scene.venue.fail_archive(Fault::Slow(1), 5);
    scene.venue.fail_archive(Fault::Stall(500), u32::MAX);
    let mut running = Running::start(scene.command(&words));
    running.until("BTCUSDT 1h klines:");
    running.signal(Signal::INT);
    let ended = running.wait().expect_code(130).expect_stderr("what was complete is kept");
    assert!(!ended.stderr.contains("leak"), "{}", ended.stderr);
    assert_eq!(scene.strays(), [""; 0]);
    scene.venue.heal();
    let before = scene.venue.asked_archive();
    let whole = json(&scene.run(&words).expect_code(0));
    assert_eq!(whole["downloads"][0]["rows"], hours, "{whole}");
    assert!(scene.venue.asked_archive() - before < 40, "what was there is not fetched again");
}

#[test]
fn a_full_disk_is_told_as_one_and_nothing_of_the_piece_is_kept() {
    if Command::new("strace").arg("-V").output().is_err() {
        keel_lifecycle::console_line("skipped: strace is not here");
        return;
    }
    let scene = Scene::new();
    let (from, to) = (date(scene.day(60)), date(scene.day(58)));
    let words = ["--symbols", "BTCUSDT", "--interval", "1h", "--from", &from, "--to", &to];
    let inner = scene.command(&words);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC"]);
    traced.arg(inner.get_program()).args(inner.get_args()).current_dir(scene.launcher.folder());
    scene.point(&mut traced);
    let ended = Running::start(traced).wait().expect_code(1).expect_stderr("is full");
    assert!(ended.stderr.contains("free some space"), "{}", ended.stderr);
    assert_eq!(scene.strays(), [""; 0]);
    assert!(scene.launcher.run(&["data", "list", "--json"]).expect_code(0).stdout.contains("\"series\":[]"));
    scene.run(&words).expect_code(0);
}

/// Imports two days of hours that lack ten, and exports them with `--fill fetch`.
fn fetched(scene: &Scene) -> Ended {
    let from_ns = scene.day(60);
    let mut csv = "timestamp,open,high,low,close,volume\n".to_owned();
    for hour in (0..48).filter(|hour| !(10..20).contains(hour)) {
        let [open, high, low, close, volume] = server::bar_mantissas(from_ns + hour * HOUR_NS);
        let decimal = |mantissa: i64, places: usize| {
            let unit = 10i64.pow(places as u32);
            format!("{}.{:0places$}", mantissa / unit, mantissa % unit)
        };
        let prices = [open, high, low, close].map(|it| decimal(it, 2)).join(",");
        csv += &format!("{},{prices},{}\n", date(from_ns + hour * HOUR_NS), decimal(volume, 5));
    }
    scene.launcher.file("hours.csv", csv);
    let import = ["data", "import", "hours.csv", "--as", "binance/spot/BTCUSDT"];
    let ended = scene.launcher.run(&import);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let mut export = scene.launcher.command(&[
        "data",
        "export",
        "binance/spot/BTCUSDT/1h",
        "--out",
        "whole.csv",
        "--fill",
        "fetch",
        "--json",
    ]);
    scene.point(&mut export);
    Running::start(export).wait().expect_code(0)
}

#[test]
fn gaps_of_what_was_imported_are_fetched_when_it_is_exported() {
    let result = json(&fetched(&Scene::new()));
    assert_eq!((result["rows"].as_u64(), result["bars_missing"].as_u64()), (Some(48), Some(0)), "{result}");
}

#[test]
fn bars_that_the_source_does_not_have_either_are_counted() {
    let mut scene = Scene::new();
    // Listed in the middle of the gap.
    scene.venue = FakeVenue::start(scene.now_ns, scene.day(60) + 15 * HOUR_NS);
    let ended = fetched(&scene).expect_stderr("still misses 5 bars");
    let result = json(&ended);
    assert_eq!((result["rows"].as_u64(), result["bars_missing"].as_u64()), (Some(43), Some(5)), "{result}");
}
