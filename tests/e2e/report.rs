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

/// A saw of closes, one a minute over five days, in the form of the golden job.
fn saw() -> String {
    let mut text = String::from("ts_ns,open,high,low,close,volume\n");
    let price = |at: u64| 5_000_000 + 2_000 * (if at % 300 < 150 { at % 300 } else { 300 - at % 300 });
    let cents = |value: u64| format!("{}.{:02}", value / 100, value % 100);
    for at in 0..7_200_u64 {
        let (open, close) = (price(at.saturating_sub(1)), price(at));
        let row = [open, open.max(close) + 100, open.min(close) - 100, close].map(cents).join(",");
        let ts = 1_704_067_200_000_000_000_u64 + (at + 1) * 60_000_000_000;
        text.push_str(&format!("{ts},{row},12.500\n"));
    }
    text
}

fn golden_config() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/golden/ema_cross_bars.toml");
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_backtest_is_saved_reported_and_plotted() {
    let launcher = Launcher::new();
    launcher.file("bars.csv", saw());
    let config = golden_config();
    let run = ["backtest", "-c", &config, "--data", "bars.csv", "--out", "run.json", "--html", "run.html", "--json"];
    let result: Value = serde_json::from_str(launcher.run(&run).expect_code(0).stdout.trim()).unwrap();
    let read = |name: &str| std::fs::read_to_string(launcher.folder().join(name)).unwrap();
    assert!(read("run.html").contains("Entries and exits"), "the price is drawn");

    let ended = launcher.run(&["report", "run.json", "--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let exact: f64 = result["final_equity"].as_str().unwrap().parse().unwrap();
    assert!((report["final_equity"].as_f64().unwrap() - exact).abs() < 1e-6, "{report}");
    assert_eq!((&report["orders"], &report["fills"]), (&result["orders"], &result["fills"]));
    assert_eq!(report["by_instrument"][0]["name"], "BTCUSDT");
    // The same days give the same figures, here and there.
    for key in ["sharpe", "sortino", "max_drawdown", "days"] {
        let (ours, theirs) = (&report[key], &result["statistics"]["daily"][key]);
        let is_same = match (ours.as_f64(), theirs.as_f64()) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * ours.abs().max(1e-12),
            _ => ours == theirs,
        };
        assert!(is_same, "{key}: {ours}, {theirs}");
    }
    for (key, theirs) in result["statistics"]["trades"].as_object().unwrap() {
        let ours = &report[key];
        let is_same = match (ours.as_f64(), theirs.as_f64()) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * ours.abs().max(1e-9),
            _ => ours == theirs,
        };
        assert!(is_same, "{key}: {ours}, {theirs}");
    }
    assert!(report["final_balance"].is_null(), "the quote balance is backtest's word");
    assert!((report["volume"].as_f64().unwrap() / result["volume"].as_f64().unwrap() - 1.0).abs() < 1e-12);
    let table = launcher.run(&["report", "run.json", "--html", "again.html"]).expect_code(0);
    assert!(table.stdout.contains("By exit reason") && table.stdout.contains("Monthly returns"), "{}", table.stdout);
    assert!(!table.stdout.contains('\x1b'), "no colours off a terminal");
    assert!(read("again.html").contains("Buy and hold"));

    let plotted =
        launcher.run(&["plot", "run.json", "--indicators", "ema:10,rsi:14", "--from", "2024-01-02"]).expect_code(0);
    assert_eq!(plotted.stdout.trim(), "run.plot.html");
    let page = read("run.plot.html");
    assert!(page.contains("EMA 10") && page.contains("RSI 14"));
    assert!(
        !launcher.folder().read_dir().unwrap().any(|it| it.unwrap().file_name().to_string_lossy().contains(".part"))
    );
}

#[test]
fn one_buy_that_is_held_to_the_end_counts_in_report_and_page() {
    let launcher = Launcher::new();
    let rows: Vec<String> = saw().lines().map(str::to_owned).collect();
    // The saw falls from row 150 to row 300 and rises again: one cross upwards.
    let held: Vec<&str> = rows.iter().take(1).chain(rows.iter().skip(200).take(200)).map(String::as_str).collect();
    launcher.file("bars.csv", held.join("\n") + "\n");
    let config = golden_config();
    let config = config.replace("ema_cross_bars", "ema_cross_next_open");
    let run = ["backtest", "-c", &config, "--data", "bars.csv", "--out", "run.json", "--html", "run.html", "--json"];
    let result: Value = serde_json::from_str(launcher.run(&run).expect_code(0).stdout.trim()).unwrap();
    assert_eq!(
        (&result["fills"], &result["statistics"]["trades"]["trades"].as_f64()),
        (&1.into(), &Some(0.0)),
        "{result}"
    );
    let open = &result["open_positions"]["BTCUSDT"];
    assert!(open["entry_time"].is_string() && open["entry_price"].is_string(), "{result}");
    let ended = launcher.run(&["report", "run.json", "--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let price: f64 = open["entry_price"].as_str().unwrap().parse().unwrap();
    let quantity: f64 = open["quantity"].as_str().unwrap().parse().unwrap();
    assert!((number("volume") - price * quantity).abs() < 1e-6 * number("volume"), "{report}");
    assert!(number("exposure_time") > 0.1 && number("exposure_max") > 0.0 && number("turnover") > 0.0, "{report}");
    let unrealized: f64 = open["unrealized"].as_str().unwrap().parse().unwrap();
    assert!((report["open_at_end"][0]["unrealized"].as_f64().unwrap() - unrealized).abs() < 1e-9, "{report}");
    let table = launcher.run(&["report", "run.json"]).expect_code(0);
    assert!(table.stdout.contains("Open at the end"), "{}", table.stdout);
    let page = std::fs::read_to_string(launcher.folder().join("run.html")).unwrap();
    assert!(page.contains("<h2>Open at the end</h2>"));
}

#[test]
fn a_run_that_cannot_be_read_or_drawn_is_refused_with_a_remedy() {
    let launcher = Launcher::new();
    launcher.file("other.json", "{\"a\": 1}");
    launcher.run(&["report", "none.json"]).expect_code(1).expect_stderr("launcher backtest --out FILE");
    launcher.run(&["report", "other.json"]).expect_code(1).expect_stderr("not `keel-run`");
    launcher.run(&["plot", "other.json"]).expect_code(1).expect_stderr("not `keel-run`");
    launcher.file("bars.csv", saw());
    let config = golden_config();
    launcher.run(&["backtest", "-c", &config, "--data", "bars.csv", "--out", "run.json"]).expect_code(0);
    for (arguments, wanted) in [
        (vec!["plot", "run.json", "--indicators", "magic:3"], "there are ema:20"),
        (vec!["plot", "run.json", "--from", "yesterday"], "is no time"),
        (vec!["plot", "run.json", "--from", "2024-02-01", "--to", "2024-01-01"], "--from is not before --to"),
        (vec!["plot", "run.json", "--from", "2030-01-01"], "none of it is from 2030-01-01"),
        (vec!["plot", "run.json", "--out", "no/such/folder.html"], "cannot write"),
        (vec!["report", "run.json", "--data", "none.csv"], "none.csv"),
        (vec!["report", "run.json", "--start-balance", "5"], "cannot be used with"),
        (vec!["report", "--start-balance", "-5"], "start-balance"),
    ] {
        launcher.run(&arguments).expect_code(1).expect_stderr(wanted);
    }
    std::fs::remove_file(launcher.folder().join("bars.csv")).unwrap();
    launcher.run(&["report", "run.json", "--html", "x.html"]).expect_code(0).expect_stderr("is not there: no chart");
}
