//! `data` and `record` as a user runs them: files in, checks, files out, a live feed kept and played again.

use crate::harness::{Ended, Launcher};
use crate::run::assert_clean;
use serde_json::Value;
use std::path::{Path, PathBuf};

const BARS: &str = "timestamp,open,high,low,close,volume\n\
    2024-01-31 23:58:00,42283.58,42298.62,42261.02,42298.61,35.92724\n\
    2024-01-31 23:59:00,42298.62,42320,42298.61,42320,21.16779\n\
    2024-02-01 00:01:00,42319.99,42331.54,42319.99,42325.5,21.60391\n";

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return path.canonicalize().ok();
    }
    eprintln!("SKIPPED: no {}", path.display());
    None
}

fn object(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

#[test]
fn bars_go_in_once_and_come_out_filled() {
    let launcher = Launcher::new();
    let file = launcher.file("mine.csv", BARS);
    let import = ["data", "import", file.to_str().unwrap(), "--as", "mine/spot/BTCUSDT"];
    let first = launcher.run(&import).expect_code(0);
    assert!(first.stdout.contains("3 rows into mine/spot/BTCUSDT/1m: 3 new, 0 known"), "{}", first.stdout);
    let again = launcher.run(&import).expect_code(0);
    assert!(again.stdout.contains("0 new, 3 known"), "{}", again.stdout);
    let list = object(&launcher.run(&["data", "list", "--json"]).expect_code(0));
    let series = &list["series"][0];
    assert_eq!((series["series"].as_str(), series["rows"].as_u64()), (Some("mine/spot/BTCUSDT/1m"), Some(3)));
    assert_eq!(series["spans"].as_array().map(Vec::len), Some(2), "a gap of one bar lies between");
    let check = object(&launcher.run(&["data", "check", "--json"]).expect_code(0));
    let one = &check["checked"][0];
    assert_eq!((one["gaps_count"].as_u64(), one["bars_missing"].as_u64()), (Some(1), Some(1)));
    let out = launcher.folder().join("out.csv");
    let export = ["data", "export", "mine/spot/BTCUSDT/1m", "--fill", "forward", "--out", out.to_str().unwrap()];
    launcher.run(&export).expect_code(0);
    let text = std::fs::read_to_string(&out).unwrap();
    let filled = "2024-02-01T00:00:00Z,42320.00,42320.00,42320.00,42320.00,0.00000,2024-02-01T00:00:59.999999Z";
    assert!(text.lines().count() == 5 && text.contains(filled), "{text}");
    launcher.run(&export).expect_code(1).expect_stderr("is there already");
    let other = launcher.file("other.csv", BARS.replace("42320,21.16779", "42319,21.16779"));
    let import = ["data", "import", other.to_str().unwrap(), "--as", "mine/spot/BTCUSDT"];
    launcher.run(&import).expect_code(1).expect_stderr("the row of 2024-01-31T23:59:00Z is kept as");
}

#[test]
fn what_cannot_be_is_named_and_ends_with_1() {
    let launcher = Launcher::new();
    let bad = launcher.file("bad.csv", BARS.replace("42331.54", "1"));
    let nan = launcher.file("nan.csv", BARS.replace("42331.54", "NaN"));
    let mut lines: Vec<&str> = BARS.lines().collect();
    lines[1..].reverse();
    let back = launcher.file("back.csv", lines.join("\n"));
    let (bad, nan, back) = (bad.to_str().unwrap(), nan.to_str().unwrap(), back.to_str().unwrap());
    for (arguments, wanted) in [
        (vec!["data", "check", "none.csv"], "none.csv"),
        (vec!["data", "check"], "holds nothing"),
        (vec!["data", "check", "a/b/c/1m"], "is not in the catalogue"),
        (vec!["data", "import", bad, "--as", "a/b/c"], "bad.csv, line 4: high is below low"),
        (vec!["data", "import", nan, "--as", "a/b/c"], "nan.csv, line 4: a value is no number"),
        (vec!["data", "import", nan, "--as", "abc"], "nan.csv, line 4"),
        (vec!["data", "import", bad], "--as"),
        (vec!["data", "export", "a/b/c/1m", "--out", "x.csv"], "a/b/c/1m has no rows; see"),
        (vec!["backtest", "--data", back], "back.csv: its rows are out of order"),
        (vec!["backtest", "--data", back], "launcher data import"),
        (
            vec!["data", "export", "a/b/c/1m", "--out", "x.csv", "--from", "2024-02-01", "--to", "2024-01-01"],
            "exchange them",
        ),
        (vec!["record", "--symbols", "BTCUSDT"], "--out"),
    ] {
        launcher.run(&arguments).expect_code(1).expect_stderr(wanted);
    }
    let check = launcher.run(&["data", "check", bad, "--json"]).expect_code(1);
    assert_eq!(object(&check)["checked"][0]["impossible"]["count"], 1);
}

#[test]
fn the_gaps_of_real_candles_are_told() {
    let Some(path) = shared("candles/bybit-adausdt-1m.parquet") else { return };
    let launcher = Launcher::new();
    let ended = launcher.run(&["data", "check", path.to_str().unwrap()]).expect_code(0);
    assert!(
        ended.stdout.contains("524 gaps, 419724 bars missing; from row to row: 524 × 13 h 22 min"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_recording_becomes_quotes_and_trades() {
    let Some(path) = shared("ws/binance-spot-ethusdt-20240808.ws.gz") else { return };
    let launcher = Launcher::new();
    let arguments = ["data", "import", path.to_str().unwrap(), "--as", "binance/spot/ETHUSDT", "--json"];
    let imported = object(&launcher.run(&arguments).expect_code(0));
    let rows: Vec<_> =
        imported["imported"].as_array().unwrap().iter().map(|it| it["series"].as_str().unwrap()).collect();
    assert_eq!(rows, ["binance/spot/ETHUSDT/quotes", "binance/spot/ETHUSDT/trades"]);
    assert!(imported["imported"][0]["rows_new"].as_u64() > Some(10_000), "{imported}");
    launcher.run(&["data", "check"]).expect_code(0);
}

#[test]
fn a_live_feed_is_kept_and_played_again() {
    let launcher = Launcher::new();
    let mut venue = launcher.start(&["venue", "--port", "0", "--seed", "7"]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let out = launcher.folder().join("kept.ws.gz");
    let out = out.to_str().unwrap();
    let arguments = ["record", "--symbols", "BTCUSDT", "--venue", &url, "--duration", "4", "--out", out, "--json"];
    let kept = object(&launcher.run(&arguments).expect_code(0));
    assert!(kept["recordings"][0]["frames"].as_u64() > Some(20), "{kept}");
    launcher.run(&arguments).expect_code(1).expect_stderr("never overwritten");
    let played = assert_clean(launcher.run(&["--replay", out, "--speed", "max"]), 0);
    assert!(played.number("orders:") > 0, "{}", played.stdout);
    let again = assert_clean(launcher.run(&["--replay", out, "--speed", "max"]), 0);
    assert_eq!(played.line("state digest:"), again.line("state digest:"));
    launcher.run(&["data", "import", out, "--as", "venue/spot/BTCUSDT"]).expect_code(0);
    venue.signal(rustix::process::Signal::TERM);
    drop(venue.wait());
}
