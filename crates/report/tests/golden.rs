//! Equal to what quantstats and freqtrade compute for the same returns, to 1e-9; and honest where nothing is defined.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test binary")]

use keel_report::{ClosedTrade, DailyStatistics, TradeStatistics};
use serde_json::Value;
use std::path::Path;

fn golden() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/golden_metrics.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is missing", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn returns(golden: &Value) -> Vec<f64> {
    golden["returns"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_near(key: &str, ours: Option<f64>, theirs: f64) {
    let ours = ours.unwrap_or_else(|| panic!("{key} is missing"));
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-30), "{key}: ours {ours}, theirs {theirs}");
}

#[test]
fn daily_figures_are_those_of_quantstats() {
    let Some(golden) = golden() else { return };
    let theirs = golden["quantstats_0.0.86"].as_object().unwrap();
    let by_periods = [365, 252].map(|periods| DailyStatistics::new(&returns(&golden), periods));
    let mut compared = 0;
    for (name, value) in theirs {
        let value = value.as_f64().unwrap();
        let (key, statistics) = match name.rsplit_once('_') {
            Some((key, "365")) => (key, &by_periods[0]),
            Some((key, "252")) => (key, &by_periods[1]),
            _ => (name.as_str(), &by_periods[1]),
        };
        let key = match key {
            "comp" => "total_return",
            "ulcer_index" => "ulcer",
            // quantstats' plain value at risk is the normal one; ours has that name.
            "var95" => "var95_parametric",
            "cvar95_historical" => "cvar95",
            other => other,
        };
        assert_near(key, statistics.get(key), value);
        compared += 1;
    }
    assert!(compared >= 38, "only {compared} figures compared");
}

#[test]
fn trade_figures_are_those_of_freqtrade() {
    let Some(golden) = golden() else { return };
    let theirs = &golden["freqtrade_2026.9"];
    let mut equity = golden["equity0"].as_f64().unwrap();
    let start = equity;
    let mut trades = Vec::new();
    for profit_ratio in returns(&golden) {
        let profit = equity * profit_ratio;
        equity += profit;
        trades.push(ClosedTrade { profit, profit_ratio, open_s: 86_400.0 });
    }
    assert_near("final_equity", Some(equity), golden["final_equity"].as_f64().unwrap());
    let ours = TradeStatistics::new(&trades, start, 90.0, theirs["max_dd_rel"].as_f64());
    for key in [
        "winrate",
        "profit_factor",
        "expectancy",
        "expectancy_ratio",
        "p_value",
        "sharpe_trades",
        "sortino_trades",
        "calmar_trades",
    ] {
        assert_near(key, ours.get(key), theirs[key].as_f64().unwrap());
    }
    // freqtrade rounds this one to four digits.
    assert!((ours.get("sqn").unwrap() - theirs["sqn"].as_f64().unwrap()).abs() < 5e-5);
}

#[test]
fn undefined_figures_are_absent_never_zero_or_infinite() {
    for (what, returns) in [
        ("nothing", vec![]),
        ("one day", vec![0.01]),
        ("no variance", vec![0.01; 30]),
        ("standing still", vec![0.0; 30]),
        ("only gains", vec![0.01, 0.02, 0.03, 0.01]),
        ("total loss", vec![0.01, -1.0]),
    ] {
        let statistics = DailyStatistics::new(&returns, 365);
        for figure in statistics.figures() {
            assert!(figure.value.is_none_or(f64::is_finite), "{what}: {} is {:?}", figure.key, figure.value);
        }
        let absent = |key: &str| assert_eq!(statistics.get(key), None, "{what}: {key}");
        match what {
            "nothing" => {
                ["cagr", "max_drawdown", "sharpe", "total_return", "win_rate"].iter().for_each(|key| absent(key))
            }
            "one day" | "no variance" | "standing still" => {
                ["sharpe", "sortino", "volatility_x", "kelly", "calmar"].iter().for_each(|key| absent(key))
            }
            "only gains" => ["sortino", "profit_factor", "omega", "kelly", "calmar", "payoff_ratio"]
                .iter()
                .for_each(|key| absent(key)),
            _ => assert_eq!(statistics.get("max_drawdown"), Some(-1.0)),
        }
    }
    let none = TradeStatistics::new(&[], 1000.0, 0.0, None);
    for key in ["winrate", "profit_factor", "sqn", "expectancy", "p_value", "sharpe_trades", "avg_profit_ratio"] {
        assert_eq!(none.get(key), None, "{key} of no trades");
    }
}
