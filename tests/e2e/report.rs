//! `launcher report`: the figures of a series, and what is refused.

use crate::harness::Launcher;
use serde_json::Value;

#[test]
fn a_series_gives_its_figures_as_json_and_as_a_table_with_conventions() {
    let launcher = Launcher::new();
    launcher.file("returns.csv", "date,return\n2025-01-01,0.10\n2025-01-02,-0.05\n2025-01-03,0.02\n");
    let ended = launcher.run(&["report", "--returns", "returns.csv", "--json"]).expect_code(0);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["days"], 3);
    assert_eq!(json["first_day"], "2025-01-01");
    let near = |key: &str, wanted: f64| {
        let value = json[key].as_f64().unwrap_or(f64::NAN);
        assert!((value - wanted).abs() < 1e-12, "{key}: {value}, wanted {wanted}");
    };
    near("total_return", 1.10 * 0.95 * 1.02 - 1.0);
    near("max_drawdown", -0.05);
    near("omega", 0.12 / 0.05);
    let yearly = launcher.run(&["report", "--returns", "returns.csv", "--periods", "252"]).expect_code(0);
    assert!(yearly.line("Sharpe").contains("mean(r)/std(r, ddof 1)·√P"));
    assert!(yearly.line("Max drawdown").starts_with("-5.00 %"));
}

#[test]
fn what_is_not_defined_is_null_and_n_a() {
    let launcher = Launcher::new();
    launcher.file("flat.csv", "date,return\n2025-01-01,0\n2025-01-02,0\n");
    let ended = launcher.run(&["report", "--returns", "flat.csv", "--json"]).expect_code(0);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["sharpe"], &json["calmar"]), (&Value::Null, &Value::Null));
    let ended = launcher.run(&["report", "--returns", "flat.csv"]).expect_code(0);
    assert!(ended.line("Sharpe").starts_with("n/a"));
}

#[test]
fn a_series_that_is_none_is_refused_with_its_line() {
    let launcher = Launcher::new();
    for (text, wanted) in [
        ("", "has no day"),
        ("date,return\n2025-01-01,NaN\n", "line 2: `NaN` is no daily return"),
        ("date,return\n2025-01-02,0.1\n2025-01-01,0.1\n", "line 3: 2025-01-01 is not after 2025-01-02"),
    ] {
        launcher.file("returns.csv", text);
        launcher.run(&["report", "--returns", "returns.csv"]).expect_code(1).expect_stderr(wanted);
    }
    launcher
        .run(&["report", "--returns", "none.csv"])
        .expect_code(1)
        .expect_stderr("cannot read the returns in none.csv");
    launcher.run(&["report", "--returns", "returns.csv", "--periods", "0"]).expect_code(1);
}
