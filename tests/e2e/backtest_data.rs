//! What data `backtest`, `sweep` and `lookahead-check` take: files that overlap, series of the catalogue, prices that collapse, and
//! strategies that the data cannot feed.

use crate::harness::{Ended, Launcher};
use serde_json::Value;
use std::fmt::Write as _;

const HEADER: &str = "open_time,open,high,low,close,volume\n";
const START_MS: u64 = 1_704_067_200_000;

/// Minute bars `from..to` of a price in whole units.
fn bars(from: usize, to: usize, price: impl Fn(usize) -> usize) -> String {
    let mut text = HEADER.to_owned();
    for at in from..to {
        let close = price(at);
        let ts = START_MS + at as u64 * 60_000;
        writeln!(text, "{ts},{close}.00,{}.00,{}.00,{close}.00,12.5", close + 1, close - 1).unwrap();
    }
    text
}

/// Up for 40 bars, down for 40.
fn triangle(at: usize) -> usize {
    50_000 + 10 * (if at % 80 < 40 { at % 80 } else { 80 - at % 80 })
}

fn object(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

const FLIP: [&str; 3] = ["backtest", "--strategy", "ema-cross-flip"];

fn run(launcher: &Launcher, arguments: &[&str]) -> Ended {
    launcher.run(&[&FLIP[..], arguments, &["--json"]].concat())
}

#[test]
fn overlapping_files_are_taken_once_and_contradicting_ones_are_refused() {
    let launcher = Launcher::new();
    launcher.file("all.csv", bars(0, 600, triangle));
    launcher.file("one.csv", bars(0, 400, triangle));
    launcher.file("two.csv", bars(300, 600, triangle));
    launcher.file("other.csv", bars(300, 600, |at| triangle(at) + 7));
    let plain = object(&run(&launcher, &["--data", "all.csv"]).expect_code(0));
    assert_eq!((plain["rows"].as_u64(), plain["rows_doubled"].as_u64()), (Some(600), Some(0)));
    assert!(plain["fills"].as_u64() > Some(0), "{plain}");
    for (files, doubled) in
        [(["all.csv", "all.csv"], 600), (["one.csv", "two.csv"], 100), (["two.csv", "one.csv"], 100)]
    {
        let ended = run(&launcher, &["--data", files[0], "--data", files[1]]).expect_code(0);
        let joined = object(&ended.expect_stderr(&format!("{doubled} rows are in several of the files")));
        assert_eq!(joined["rows_doubled"].as_u64(), Some(doubled), "{files:?}");
        assert_eq!((&joined["rows"], &joined["digest"]), (&plain["rows"], &plain["digest"]), "{files:?}");
    }
    for verb in ["backtest", "sweep", "lookahead-check"] {
        let arguments = [verb, "--strategy", "ema-cross-flip", "--data", "one.csv", "--data", "other.csv"];
        let ended =
            launcher.run(&arguments).expect_code(1).expect_stderr("one.csv and other.csv contradict each other");
        assert!(ended.stderr.contains("2024-01-01T05:00:00"), "{}", ended.stderr);
    }
}

#[test]
fn a_series_of_the_catalogue_is_data_and_can_be_cut() {
    let launcher = Launcher::new();
    launcher.file("all.csv", bars(0, 600, triangle));
    let plain = object(&run(&launcher, &["--data", "all.csv"]).expect_code(0));
    launcher.run(&["data", "import", "all.csv", "--as", "binance/spot/BTCUSDT"]).expect_code(0);
    let series = "binance/spot/BTCUSDT/1m";
    let kept = object(&run(&launcher, &["--data", series]).expect_code(0));
    assert_eq!((&kept["rows"], &kept["digest"]), (&plain["rows"], &plain["digest"]));
    let part = ["--data", series, "--from", "2024-01-01T01:00:00Z", "--to", "2024-01-01T03:00:00Z"];
    assert_eq!(object(&run(&launcher, &part).expect_code(0))["rows"].as_u64(), Some(120));
    let part = ["--data", "all.csv", "--from", "2024-01-01T01:00:00Z", "--to", "2024-01-01T03:00:00Z"];
    assert_eq!(object(&run(&launcher, &part).expect_code(0))["rows"].as_u64(), Some(120), "of a file, too");
    run(&launcher, &["--data", series, "--html", "report.html"]).expect_code(0);
    let check = ["lookahead-check", "--strategy", "ema-cross-flip", "--data", series, "--cuts", "2"];
    launcher.run(&check).expect_code(0);
    run(&launcher, &["--data", "binance/spot/ETHUSDT/1m"]).expect_code(1).expect_stderr("data list");
    run(&launcher, &["--data", series, "--from", "2025-01-01"]).expect_code(1).expect_stderr("--from");
    run(&launcher, &["--data", series, "--from", "soon"]).expect_code(1).expect_stderr("2024-01-31");
}

#[test]
fn files_of_several_months_are_one_series_of_the_fast_sweep() {
    let launcher = Launcher::new();
    for (name, from) in [("jan.csv", 0), ("feb.csv", 400), ("mar.csv", 800)] {
        launcher.file(name, bars(from, from + 400, triangle));
    }
    let files = ["--data", "jan.csv", "--data", "feb.csv", "--data", "mar.csv"];
    launcher.file("long.toml", "[strategy]\nnames = [\"ema-cross-flip\"]\n[ema_cross_flip]\nsides = \"long\"\n");
    let head = ["sweep", "-c", "long.toml", "--level", "fast", "--param", "fast_bars_count=3..5:1", "--json"];
    let result = object(&launcher.run(&[&head[..], &files].concat()).expect_code(0));
    assert_eq!(result["windows"][0]["train_bars"][1].as_u64(), Some(1_200), "{result}");
    launcher.file("all.csv", bars(0, 1_200, triangle));
    launcher.run(&["data", "import", "all.csv", "--as", "binance/spot/BTCUSDT"]).expect_code(0);
    let again = object(&launcher.run(&[&head[..], &["--data", "binance/spot/BTCUSDT/1m"]].concat()).expect_code(0));
    assert_eq!(again["windows"][0]["best"], result["windows"][0]["best"]);
}

#[test]
fn a_price_that_collapses_can_be_sold_at() {
    let launcher = Launcher::new();
    // Up, so that the position is long; then a fiftieth, and there it stays.
    for (name, after) in [("flat.csv", 200), ("last.csv", 1)] {
        launcher.file(name, bars(0, 100 + after, |at| if at < 100 { 50_000 + at * 10 } else { 1_000 }));
        launcher.file("flat.toml", "[run]\non_exit = \"flatten\"\n[backtest]\nfill = \"close\"\n");
        let ended = run(&launcher, &["-c", "flat.toml", "--data", name, "--lists", "fills"]).expect_code(0);
        assert!(!ended.stderr.contains("crossed, empty or not positive"), "{}", ended.stderr);
        let result = object(&ended);
        let fills = result["fills_list"].as_array().unwrap();
        assert_eq!(fills[0]["side"], "Buy", "{result}");
        let sold = fills.iter().find(|fill| fill["side"] == "Sell").unwrap_or_else(|| panic!("{result}"));
        assert_eq!(sold["price"].as_str().map(|it| it.parse::<f64>().unwrap()), Some(1_000.0), "{result}");
    }
}

#[test]
fn strategies_that_the_data_cannot_feed_are_refused_and_bars_of_the_data_are_taken() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", bars(0, 600, triangle));
    launcher.file("quotes.toml", "[ema_cross_flip]\ninput = \"quotes\"\n");
    launcher.file("symbols.toml", "[venue]\nsymbols = [\"BTCUSDT\"]\n");
    for verb in ["backtest", "lookahead-check", "sweep"] {
        let level: &[&str] = if verb == "sweep" { &["--level", "exact"] } else { &[] };
        let of = |arguments: &[&str]| launcher.run(&[&[verb], level, arguments].concat());
        of(&["--strategy", "market-maker", "--data", "bars.csv"]).expect_code(1).expect_stderr("--strategy ema-cross");
        let quotes = ["-c", "quotes.toml", "--strategy", "ema-cross-flip", "--data", "bars.csv"];
        of(&quotes).expect_code(1).expect_stderr("decides on quotes");
    }
    launcher.run(&["backtest", "--data", "bars.csv"]).expect_code(1).expect_stderr("--strategy ema-cross");
    let ended = launcher.run(&["backtest", "--strategy", "ema-cross", "--data", "bars.csv", "--json"]).expect_code(0);
    let result = object(&ended.expect_stderr("takes the bars of the data, 1m"));
    assert!(result["fills"].as_u64() > Some(0), "{result}");
    run(&launcher, &["-c", "symbols.toml", "--data", "ETHUSDT=bars.csv"]).expect_code(0).expect_stderr("venue.symbols");
    run(&launcher, &["--data", "btcusdt=bars.csv"]).expect_code(1).expect_stderr("BTCUSDT=bars.csv");
}

#[test]
fn a_run_whose_orders_were_mostly_denied_says_so_with_the_reason() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", bars(0, 600, triangle));
    launcher.file("tight.toml", "[risk]\norder_notional_max_quote = \"10\"\n");
    let ended = run(&launcher, &["-c", "tight.toml", "--data", "bars.csv"]).expect_code(0);
    let ended = ended.expect_stderr("THIS RUN SAYS LITTLE");
    assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("RC-")), "{}", ended.stderr);
}
