//! The page: one file that needs nothing else, whose text cannot come alive and whose size is bounded; and the stable keys of
//! the JSON form.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss, reason = "a test binary")]

use keel_report::html::{STRETCHES_MAX, TRADES_LISTED_MAX};
use keel_report::{
    Bar, Direction, EquityPoint, Line, OpenPosition, Prices, Report, Run, Trade, plot_html, to_html, to_text,
};
use serde_json::Value;

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>\"&\u{2028}\u{202e}\x1b[31m<!--";
const MINUTE_NS: i64 = 60_000_000_000;

fn run(name: &str, minutes: i64, trades: i64) -> Run {
    let price = |at: i64| 100.0 + (at as f64 / 700.0).sin() * 10.0;
    let bars = (0..minutes).map(|at| Bar {
        ts_ns: (at + 1) * MINUTE_NS,
        open: price(at),
        high: price(at) + 1.0,
        low: price(at) - 1.0,
        close: price(at + 1),
    });
    let bars: Vec<Bar> = bars.collect();
    let points = bars.iter().map(|bar| (bar.ts_ns, bar.close)).collect();
    let trade = |at: i64| Trade {
        instrument: name.to_owned(),
        direction: if at % 2 == 0 { Direction::Long } else { Direction::Short },
        entry_ns: at * minutes / trades * MINUTE_NS,
        exit_ns: (at * minutes / trades + 1) * MINUTE_NS,
        entry_price: 100.0,
        exit_price: 101.0,
        quantity: 1.0,
        profit: if at % 3 == 0 { -1.0 } else { 1.0 },
        fees: 0.01,
        exit_reason: name.to_owned(),
    };
    Run {
        title: name.to_owned(),
        kind: "backtest".into(),
        currency: name.to_owned(),
        facts: vec![(name.to_owned(), name.to_owned())],
        notes: vec![name.to_owned()],
        end_ns: minutes * MINUTE_NS,
        start_equity: 1000.0,
        equity: bars.iter().map(|bar| EquityPoint { ts_ns: bar.ts_ns, equity: 900.0 + bar.close }).collect(),
        trades: (0..trades).map(trade).collect(),
        prices: vec![Prices {
            instrument: name.to_owned(),
            bars,
            lines: vec![Line { name: name.to_owned(), is_overlay: false, points }],
        }],
        ..Run::default()
    }
}

#[test]
fn text_of_others_never_comes_alive() {
    let report = Report::of_run(run(HOSTILE, 3_000, 30), 365);
    for page in [to_html(&report), plot_html(&report)] {
        assert_eq!(page.matches("<script").count(), 2, "the data and the page's own");
        assert_eq!(page.matches("</script>").count(), 2);
        for alive in ["<img", "<!--", "\u{2028}", "\u{202e}", "\x1b"] {
            assert!(!page.contains(alive), "{alive:?}");
        }
        assert!(page.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"));
    }
    assert!(!to_text(&report, false).contains('\x1b'), "nobody's text moves the cursor");
}

#[test]
fn a_page_needs_nothing_else() {
    let page = to_html(&Report::of_run(run("BTCUSDT", 3_000, 30), 365));
    for outside in
        ["http://", "https://", "//cdn", "@import", "url(h", "fetch(", "XMLHttpRequest", "localStorage", "eval("]
    {
        let allowed = page.matches("http://www.w3.org/2000/svg").count();
        let found = page.matches(outside).count() - if outside == "http://" { allowed } else { 0 };
        assert_eq!(found, 0, "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains(" style=\""), "the policy lets no style attribute through");
    assert!(!page.contains(" onclick="), "nor a handler");
}

#[test]
fn the_size_is_bounded_and_what_is_left_out_is_counted() {
    let page = to_html(&Report::of_run(run("BTCUSDT", 400_000, 40_000), 365));
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert_eq!(page.matches("<tr data-from=").count(), TRADES_LISTED_MAX);
    assert!(page.contains("Trades: the last 1,000 of 40,000"));
    assert!(page.contains("400,000 bars, joined to 2,000 candles; one trade in 27 of 40,000 is drawn."));
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let data: Value = serde_json::from_str(&page[start..start + page[start..].find("</script>").unwrap()]).unwrap();
    let longest = data["charts"].as_array().unwrap().iter().flat_map(|chart| chart["series"].as_array().unwrap());
    let longest = longest.map(|series| series["t"].as_array().unwrap().len()).max().unwrap();
    assert!(longest <= STRETCHES_MAX * 2 + 2, "{longest}");
}

#[test]
fn the_keys_of_the_json_stay() {
    let json = Value::Object(Report::of_run(run("BTCUSDT", 90 * 1440 - 1, 60), 365).to_json());
    for key in [
        "sharpe",
        "sortino",
        "calmar",
        "cagr",
        "volatility",
        "max_drawdown",
        "omega",
        "tail_ratio",
        "ulcer",
        "kelly",
        "profit_factor",
        "profit_factor_days",
        "expectancy",
        "expectancy_ratio",
        "sqn",
        "winrate",
        "trades",
        "wins",
        "losses",
        "from",
        "to",
        "duration_s",
        "start_balance",
        "final_equity",
        "absolute_profit",
        "total_profit",
        "market_change",
        "exposure_time",
        "turnover",
        "fees",
        "best_day_profit",
        "worst_day_profit",
        "best_trade",
        "worst_trade",
        "max_drawdown_account",
        "drawdown_start",
        "drawdown_end",
        "drawdown_duration_s",
        "by_instrument",
        "by_exit_reason",
        "by_direction",
        "months",
        "drawdowns",
        "first_day",
        "last_day",
        "var95",
        "cvar95",
        "recovery_factor",
        "open_at_end",
    ] {
        assert!(json.get(key).is_some(), "{key} is missing");
    }
    assert_eq!((&json["trades"], &json["wins"], &json["losses"]), (&60.into(), &40.into(), &20.into()));
    assert_eq!(json["by_instrument"][0]["name"], "BTCUSDT");
    assert_eq!(json["from"], "1970-01-01T00:00:00.000Z");
    assert_eq!(json["months"].as_array().unwrap().len(), 3);
    assert!(json["profit_factor"].as_f64().is_some_and(|value| (value - 2.0).abs() < 1e-12));
}

#[test]
fn keys_are_unique() {
    let report = Report::of_run(run("BTCUSDT", 3_000, 30), 365);
    let mut keys: Vec<&str> =
        report.sections.iter().flat_map(|section| section.figures.iter().map(|figure| figure.key)).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn nothing_and_a_total_loss_are_reported_without_inventing_figures() {
    let empty = Report::of_run(Run::default(), 365);
    assert!(empty.to_json()["sharpe"].is_null() && to_text(&empty, false).contains("No trade was closed"));
    assert!(to_html(&empty).contains("n/a"));
    let mut lost = run("BTCUSDT", 3_000, 30);
    lost.equity = vec![EquityPoint { ts_ns: MINUTE_NS, equity: -5.0 }];
    let lost = Report::of_run(lost, 365);
    assert_eq!(lost.to_json()["total_return"], -1.0);
    assert!(to_text(&lost, false).contains("Total loss: nothing was left of the account on 1970-01-01"));
}

#[test]
fn what_is_open_at_the_end_counts_and_has_a_line_of_its_own() {
    let mut held = run("BTCUSDT", 100, 1);
    held.trades.clear();
    held.open = vec![OpenPosition {
        instrument: "BTCUSDT".into(),
        direction: Direction::Long,
        entry_ns: 25 * MINUTE_NS,
        entry_price: 100.0,
        quantity: 2.5,
        unrealized: Some(-17.25),
    }];
    let report = Report::of_run(held.clone(), 365);
    let figure = |key: &str| report.figure(key).and_then(|figure| figure.value).unwrap();
    assert_eq!((figure("volume"), figure("open_positions"), figure("exposure_time")), (250.0, 1.0, 0.75));
    assert!(figure("turnover") > 0.2 && figure("exposure_max") > 0.2 && figure("exposure_avg") > 0.15);
    let (text, page) = (to_text(&report, false), to_html(&report));
    let line = text.lines().skip_while(|line| *line != "Open at the end").nth(2).unwrap();
    for part in ["BTCUSDT", "long", "1970-01-01 00:25:00", "2.5", "100", "-17.25"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(page.contains("<h2>Open at the end</h2>") && page.contains("<td class=\"down\">-17.25</td>"));
    let json = Value::Object(report.to_json());
    let open = &json["open_at_end"][0];
    assert_eq!((&open["entry_time"], &open["unrealized"]), (&"1970-01-01T00:25:00.000Z".into(), &(-17.25).into()));
    let counted = Report::of_run(Run { volume: Some(300.0), ..held }, 365);
    assert_eq!(
        counted.figure("volume").and_then(|figure| figure.value),
        Some(300.0),
        "all fills, where they were counted"
    );
}

#[test]
fn colours_come_only_when_asked_for() {
    let report = Report::of_run(run("BTCUSDT", 3_000, 30), 365);
    assert!(to_text(&report, true).contains("\x1b[32m"));
    assert!(!to_text(&report, false).contains('\x1b'));
}
