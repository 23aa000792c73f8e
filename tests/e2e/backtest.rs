//! `backtest` and `lookahead-check` as a user runs them.

use crate::harness::{Ended, Launcher};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/golden").join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return path.canonicalize().ok();
    }
    eprintln!("SKIPPED: no {}", path.display());
    None
}

/// A triangle of closes: up for 40 bars, down for 40, in the form of the golden job.
fn triangle(bars: usize) -> String {
    let mut text = String::from("ts_ns,open,high,low,close,volume\n");
    let price = |at: usize| 5_000_000 + 1_000 * (if at % 80 < 40 { at % 80 } else { 80 - at % 80 });
    for at in 0..bars {
        let (open, close) = (price(at.saturating_sub(1)), price(at));
        let (high, low) = (open.max(close) + 100, open.min(close) - 100);
        let cents = |value: usize| format!("{}.{:02}", value / 100, value % 100);
        let ts = 1_704_067_200_000_000_000u64 + (at as u64 + 1) * 60_000_000_000;
        let row = [open, high, low, close].map(cents).join(",");
        writeln!(text, "{ts},{row},12.500").unwrap();
    }
    text
}

fn object(ended: &Ended) -> Value {
    serde_json::from_str(ended.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

#[test]
fn a_backtest_answers_with_one_object_and_gives_lists_on_request_only() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", triangle(2_000));
    let config = golden("ema_cross_bars.toml");
    let plain = ["backtest", "-c", &config, "--data", "bars.csv", "--json"];
    let result = object(&launcher.run(&plain).expect_code(0));
    assert_eq!((result["rows"].as_u64(), result["orders"].as_u64()), (Some(2_000), result["fills"].as_u64()));
    assert!(result["orders"].as_u64().unwrap() > 50, "{result}");
    assert_eq!(result["final_position"].as_str().map(|it| it.trim_start_matches('-')), Some("0.010"));
    let balance = result["final_balance"].as_str().unwrap();
    assert_eq!(balance.split_once('.').map(|(_, places)| places.len()), Some(8), "{balance}");
    assert!(result["run_cpu_seconds"].as_f64().unwrap() > 0.0);
    assert!(result["statistics"]["daily"]["max_drawdown"].is_number() && result.get("trades_list").is_none());
    let all = launcher.run(&[&plain[..], &["--lists", "orders,fills,trades,equity"]].concat()).expect_code(0);
    let again = object(&all);
    assert_eq!(again["digest"], result["digest"], "twice the same");
    for (list, count) in [("orders_list", "orders"), ("fills_list", "fills")] {
        assert_eq!(again[list].as_array().map(|rows| rows.len() as u64), result[count].as_u64(), "{list}");
    }
    assert_eq!(again["equity_marks"].as_array().map(Vec::len), Some(2_000));
    assert_eq!(again["trades_list"][0]["exit_reason"], "signal");
    let table = launcher.run(&["backtesting", "-c", &config, "--data", "bars.csv"]).expect_code(0);
    assert!(table.stdout.contains(balance) && table.stdout.contains("Sharpe"), "{}", table.stdout);
}

#[test]
fn wrong_data_and_settings_are_named_and_end_with_1() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", triangle(100));
    launcher.file("empty.csv", "ts_ns,open,high,low,close,volume\n");
    launcher.file("backwards.csv", triangle(3) + &triangle(1).replace("ts_ns,open,high,low,close,volume\n", ""));
    launcher.file("typo.toml", "[backtest]\nfil = 'close'\n");
    launcher.file("range.toml", "[backtest]\nslippage_bps = -1\n");
    launcher.file("fast.toml", "[strategy]\nnames = ['ema-cross-flip']\n[ema_cross_flip]\nfast_bars_count = 50\n");
    for (arguments, wanted) in [
        (&["--data", "none.csv"][..], "none.csv"),
        (&["--data", "empty.csv"], "no rows"),
        (&["--data", "backwards.csv"], "backwards.csv"),
        (&["--data", "BTCEUR=bars.csv"], "quote_asset"),
        (&["-c", "typo.toml", "--data", "bars.csv"], "fill"),
        (&["-c", "range.toml", "--data", "bars.csv"], "slippage_bps"),
        (&["-c", "fast.toml", "--data", "bars.csv"], "fast_bars_count"),
        (&["--strategy", "ema-crosss", "--data", "bars.csv"], "ema-cross"),
        (&[], "--data"),
    ] {
        let ended = launcher.run(&[&["backtest"], arguments].concat()).expect_code(1).expect_stderr(wanted);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn no_trades_are_figures_that_say_so() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", triangle(100));
    let ended = launcher.run(&["backtest", "--strategy", "idle", "--data", "bars.csv", "--json"]).expect_code(0);
    let result = object(&ended);
    assert_eq!((result["orders"].as_u64(), result["final_balance"].as_str()), (Some(0), Some("100000.00000000")));
    assert!(result["statistics"]["daily"]["sharpe"].is_null() && result["statistics"]["trades"]["winrate"].is_null());
    let table = launcher.run(&["backtest", "--strategy", "idle", "--data", "bars.csv"]).expect_code(0);
    assert!(table.stdout.contains("n/a"), "{}", table.stdout);
}

#[test]
fn the_check_for_look_ahead_passes_an_honest_strategy() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", triangle(800));
    let config = golden("ema_cross_bars.toml");
    let arguments = ["lookahead-check", "-c", &config, "--data", "bars.csv", "--cuts", "3", "--json"];
    let result = object(&launcher.run(&arguments).expect_code(0));
    assert_eq!((result["is_same"].as_bool(), result["cuts"].as_array().map(Vec::len)), (Some(true), Some(5)));
}

#[test]
fn paper_on_a_replayed_recording_and_a_backtest_of_it_give_the_same_orders_fills_and_balances() {
    for name in ["ws/binance-spot-btcusdt-20240808.ws.gz", "ws/binance-spot-ethusdt-20240808.ws.gz"] {
        let Some(path) = shared(name) else { return };
        let path = path.to_str().unwrap();
        for strategy in ["market-maker", "ema-cross"] {
            let launcher = Launcher::new();
            let paper = launcher.run(&["--replay", path, "--speed", "max", "--strategy", strategy]).expect_code(0);
            let arguments = ["backtest", "--data", path, "--strategy", strategy, "--json"];
            let result = object(&launcher.run(&arguments).expect_code(0));
            assert_eq!(result["orders"].as_u64(), Some(paper.number("orders:")), "{}", paper.stdout);
            assert_eq!(result["fills"].as_u64(), Some(paper.number("fills:")));
            assert!(result["fills"].as_u64() > Some(0));
            // The digest is of every order, fill, position and balance.
            assert_eq!(result["digest"].as_str(), Some(paper.line("state digest:").as_str()), "{strategy} on {name}");
        }
    }
}

#[test]
fn candles_with_gaps_are_told_and_traded() {
    let Some(path) = shared("candles/bybit-linkusdt-1m.parquet") else { return };
    let launcher = Launcher::new();
    let data = format!("LINKUSDT={}", path.to_str().unwrap());
    let ended = launcher.run(&["backtest", "--strategy", "ema-cross-flip", "--data", &data, "--json"]).expect_code(0);
    let result = object(&ended.expect_stderr("524 gaps"));
    assert_eq!(result["series"][0]["gaps"].as_u64(), Some(524), "{result}");
    assert!(result["rows"].as_u64() > Some(100_000));
}
