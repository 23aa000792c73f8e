//! `launcher sweep`: both levels agree, an interrupted sweep goes on as if it had not been, wrong input is told.

use crate::harness::{Ended, Launcher};
use rustix::process::Signal;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

const CONFIG: &str = include_str!("../../config/golden/ema_cross_bars.toml");

const RANGES: [&str; 4] = ["--param", "fast_bars_count=2..8:2", "--param", "slow_bars_count=6..24:6"];

/// A launcher with a configuration and so many bars of a walk made by integer arithmetic.
fn launcher(bars: u64) -> Launcher {
    let launcher = Launcher::new();
    launcher.file("sweep.toml", CONFIG);
    let (mut text, mut seed, mut open) = ("ts_ns,open,high,low,close,volume\n".to_owned(), 7u64, 3_000_000u64);
    for at in 1..=bars {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let close = open + (seed >> 33) % 4_001 - 2_000;
        let price = |ticks: u64| format!("{}.{:02}", ticks / 100, ticks % 100);
        let (high, low) = (open.max(close) + 50, open.min(close) - 50);
        let ts = (1_577_836_800 + 60 * at) * 1_000_000_000;
        writeln!(text, "{ts},{},{},{},{},12.345", price(open), price(high), price(low), price(close)).unwrap();
        open = close;
    }
    launcher.file("bars.csv", text);
    launcher
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["sweep", "-c", "sweep.toml", "--data", "bars.csv", "--data-dir", "data"], more].concat()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

/// The results file of the only sweep in the data folder.
fn results(launcher: &Launcher) -> String {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(launcher.folder().join("data/sweeps")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    std::fs::read_to_string(folders.remove(0).join("results.csv")).unwrap()
}

#[test]
fn the_fast_level_agrees_with_the_engine_on_its_winners() {
    let launcher = launcher(3_000);
    let more = [&RANGES[..], &["--objective", "return", "--train", "0.7", "--json"]].concat();
    let json = json(&launcher.run(&arguments(&more)).expect_code(0));
    assert_eq!((json["level"].as_str(), json["trials"].as_u64()), (Some("fast"), Some(14)));
    assert_eq!(json["impossible"], 2, "8 is not below 6, and 6 is not");
    let verified = json["verified"].as_array().unwrap();
    assert_eq!(verified.len(), 3);
    for winner in verified {
        assert_eq!(winner["orders_equal"], true, "{winner}");
        assert!(winner["return_difference"].as_f64().unwrap().abs() < 1e-10, "{winner}");
        assert!(winner["fast"]["orders"].as_u64().unwrap() > 50, "{winner}");
        // The same days, cut at the same bars: those that close at midnight end theirs.
        assert_eq!((winner["fast"]["days"].as_u64(), winner["exact"]["days"].as_u64()), (Some(2), Some(2)), "{winner}");
        let sharpe = |level: &str| winner[level]["sharpe"].as_f64().unwrap();
        assert!((sharpe("fast") - sharpe("exact")).abs() <= 1e-7 * sharpe("exact").abs(), "{winner}");
    }
    let window = &json["windows"][0];
    assert_eq!(window["train_bars"][1], window["test_bars"][0]);
    assert!(window["test_of_best"]["orders"].as_u64().unwrap() > 5, "{window}");
    let text = launcher.run(&arguments(&RANGES)).expect_code(0);
    assert!(text.stdout.contains("agrees") && !text.stdout.contains("differs"), "{}", text.stdout);
    assert!(text.stdout.contains("Deflated Sharpe ratio"), "{}", text.stdout);
}

#[test]
fn an_account_that_the_venue_closes_counts_alike_on_both_levels_and_in_the_backtest() {
    let launcher = Launcher::new();
    let config = CONFIG.replace("balance_quote = \"1000000\"", "balance_quote = \"16\"");
    let config = config.replace("leverage_max_count = 10\n", "leverage_max_count = 40\n");
    let config = config.replace("sides = \"both\"", "sides = \"long\"");
    let config = config
        .replace("fast_bars_count = 10", "fast_bars_count = 2")
        .replace("slow_bars_count = 20", "slow_bars_count = 6");
    assert!(config.contains("\"16\"") && config.contains("= 40\n"), "{config}");
    launcher.file("sweep.toml", config);
    // Down, up again, and half of it gone within one bar.
    let mut text = "ts_ns,open,high,low,close,volume\n".to_owned();
    let closes =
        (0..40u64).map(|at| 30_000 - 10 * at).chain((0..10).map(|at| 29_610 + 10 * at)).chain([14_800, 14_800]);
    let mut open = 30_000;
    for (at, close) in (1u64..).zip(closes) {
        let ts = (1_577_836_800 + 60 * at) * 1_000_000_000;
        writeln!(text, "{ts},{open}.00,{}.00,{}.00,{close}.00,12.345", open.max(close), open.min(close)).unwrap();
        open = close;
    }
    launcher.file("bars.csv", text);
    let more = ["--param", "fast_bars_count=2..3:1", "--param", "slow_bars_count=6", "--objective", "return", "--json"];
    let swept = json(&launcher.run(&arguments(&more)).expect_code(0));
    let verified = swept["verified"].as_array().unwrap();
    assert_eq!(verified.len(), 2, "{swept}");
    for winner in verified {
        for level in ["fast", "exact"] {
            let of = |key: &str| winner[level][key].as_f64().unwrap_or(f64::NAN);
            assert_eq!((of("orders"), of("trades"), of("total_return")), (2.0, 1.0, -1.0), "{level}: {winner}");
        }
    }
    let run = [
        "backtest",
        "-c",
        "sweep.toml",
        "--data",
        "bars.csv",
        "--json",
        "--lists",
        "fills,trades",
        "--out",
        "run.json",
    ];
    let result = json(&launcher.run(&run).expect_code(0));
    assert_eq!((&result["fills"], result["final_balance"].as_str()), (&2.into(), Some("0.00000000")), "{result}");
    assert!(result["liquidated_time"].is_string() && result["fills_list"][1]["order_id"].is_null(), "{result}");
    assert_eq!(result["trades_list"][0]["exit_reason"], "liquidation", "{result}");
    let profit = result["statistics"]["trades"]["profit"].as_f64().unwrap();
    assert!((profit + 16.0).abs() < 1e-6, "{profit}");
    let report = json(&launcher.run(&["report", "run.json", "--json"]).expect_code(0));
    assert_eq!(report["by_exit_reason"][0]["name"], "liquidation", "{report}");
}

#[test]
fn nothing_shown_and_nothing_verified_are_told_as_such() {
    let more = [&RANGES[..], &["--best", "0", "--verify", "0"]].concat();
    let text = launcher(500).run(&arguments(&more)).expect_code(0).stdout;
    assert!(text.contains("none is shown (--best 0)") && text.contains("not verified by the event engine"), "{text}");
}

#[test]
fn the_same_sweep_on_both_levels_has_the_same_orders_everywhere() {
    let launcher = launcher(800);
    let orders = |level: &str| -> Vec<String> {
        let more = [&RANGES[..], &["--level", level, "--walk-forward", "2", "--data-dir", level]].concat();
        let mut command = vec!["sweep", "-c", "sweep.toml", "--data", "bars.csv"];
        command.extend(more);
        launcher.run(&command).expect_code(0);
        let folder = std::fs::read_dir(launcher.folder().join(level).join("sweeps")).unwrap().next().unwrap().unwrap();
        let text = std::fs::read_to_string(folder.path().join("results.csv")).unwrap();
        let head: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let place = |name: &str| head.iter().position(|known| *known == name).unwrap();
        let (point, orders) = (place("point"), place("orders"));
        text.lines()
            .skip(1)
            .map(|line| line.split(',').collect::<Vec<_>>())
            .map(|it| format!("{} {}", it[point], it[orders]))
            .collect()
    };
    assert_eq!(orders("fast"), orders("exact"));
}

#[test]
fn ctrl_c_ends_with_130_and_resume_ends_as_if_nothing_had_been() {
    let wide = [
        "--param",
        "fast_bars_count=2..20:1",
        "--param",
        "slow_bars_count=21..40:1",
        "--level",
        "exact",
        "--threads",
        "1",
    ];
    let whole = launcher(250);
    whole.run(&arguments(&wide)).expect_code(0);
    let expected = results(&whole);
    let launcher = launcher(250);
    for signal in [Signal::INT, Signal::KILL, Signal::INT] {
        let mut running = launcher.start(&arguments(&[&wide[..], &["--resume"]].concat()));
        running.until("trial");
        running.signal(signal);
        let ended = running.wait();
        match signal {
            // It may have been done before the signal came.
            Signal::INT => assert!(matches!(ended.code, Some(130 | 0)), "{:?} {}", ended.code, ended.stderr),
            _ => assert!(matches!(ended.code, None | Some(0))),
        }
    }
    launcher.run(&arguments(&[&wide[..], &["--resume"]].concat())).expect_code(0);
    assert_eq!(results(&launcher), expected);
    let again = launcher.run(&arguments(&wide)).expect_code(0).expect_stderr("begun anew");
    assert!(again.stdout.contains("380 of 380"), "{}", again.stdout);
}

#[test]
fn what_is_wrong_is_told_before_anything_begins() {
    let launcher = launcher(50);
    for (more, wanted) in [
        (&["--param", "fast_bar_count=2..8:2"][..], "did you mean `fast_bars_count`?"),
        (&["--param", "fast_bars_count=0..8:2"], "`0` is not a whole number from 1 to 10000"),
        (&["--param", "fast_bars_count=8", "--param", "slow_bars_count=4..6:1"], "none of 3 combinations is possible"),
        (&["--param", "fast_bars_count=8..2:1"], "at least the first value"),
        (&["--objective", "sharp"], "did you mean `sharpe`?"),
        (&["--train", "1.5"], "must lie between 0 and 1"),
        (&["--walk-forward", "40"], "too few"),
        (&["--trials", "5"], "--trials is of --search random and tpe"),
        (&["--search", "random", "--trials", "0"], "tries nothing"),
        (&["--strategy", "idle"], "declares nothing to vary"),
        (&["--strategy", "market-maker", "--level", "fast"], "has no kernel"),
    ] {
        launcher.run(&arguments(more)).expect_code(1).expect_stderr(wanted);
    }
    launcher.file("bars.csv", "");
    launcher.run(&arguments(&[])).expect_code(1);
    let none = ["sweep", "-c", "sweep.toml", "--data", "none.csv"];
    launcher.run(&none).expect_code(1).expect_stderr("none.csv");
}
