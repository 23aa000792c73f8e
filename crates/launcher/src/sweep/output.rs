//! The end of a sweep for people and as JSON. The keys are documented in `docs/sweep.md`.

use super::files::optional;
use super::work::Ended;
use crate::cli::Common;
use crate::out;
use keel_sweep::figures::Figures;
use keel_sweep::kernel::rule::Outcome;
use keel_sweep::search::Method;
use keel_sweep::sweep::Trial;
use serde_json::{Map, Value, json};

pub(super) fn print(common: &Common, ended: &Ended) {
    if common.json {
        out::line(&to_object(ended).to_string());
    } else {
        out::line(text(ended).trim_end());
    }
}

fn figures_json(outcome: &Outcome) -> Value {
    let figures = Figures::of(outcome);
    let mut object = Map::new();
    object.insert("total_return".into(), json!(figures.total_return));
    object.insert("max_drawdown".into(), json!(figures.max_drawdown));
    object.insert("orders".into(), json!(figures.orders));
    object.insert("trades".into(), json!(figures.trades));
    object.insert("days".into(), json!(outcome.daily.days));
    for (name, value) in optional(&figures) {
        object.insert(name.to_owned(), json!(value));
    }
    Value::Object(object)
}

pub(super) fn params_json(ended: &Ended, point: u64) -> Value {
    let space = &ended.sweep.plan().space;
    let named = space.dimensions().iter().zip(space.values(point));
    Value::Object(named.map(|(dimension, value)| (dimension.name.clone(), json!(value))).collect())
}

pub(super) fn search_name(method: Method) -> &'static str {
    match method {
        Method::Grid => "grid",
        Method::Random { .. } => "random",
        Method::Tpe { .. } => "tpe",
    }
}

fn windows_json(ended: &Ended) -> Vec<Value> {
    let sweep = &ended.sweep;
    let window = |at: usize| {
        let parts = sweep.plan().windows.get(at);
        let best: Vec<Value> = sweep
            .best(at, ended.best_count)
            .iter()
            .map(|trial| {
                let score = sweep.score(&Figures::of(&trial.outcome));
                json!({ "params": params_json(ended, trial.point), "score": score, "train": figures_json(&trial.outcome) })
            })
            .collect();
        json!({
            "train_bars": parts.map(|parts| [parts.train.trade_from, parts.train.to]),
            "test_bars": parts.and_then(|parts| parts.test).map(|test| [test.trade_from, test.to]),
            "trials": sweep.trials(at).len(),
            "best": best,
            "test_of_best": sweep.test(at).map(figures_json),
            "deflated_sharpe": sweep.deflated(at),
        })
    };
    (0..sweep.plan().windows.len()).map(window).collect()
}

pub(super) fn to_object(ended: &Ended) -> Value {
    let (sweep, plan) = (&ended.sweep, ended.sweep.plan());
    let (done, target) = sweep.progress();
    let verified: Vec<Value> = ended
        .verified
        .iter()
        .map(|it| {
            json!({
                "window": it.window,
                "params": params_json(ended, it.point),
                "fast": figures_json(&it.fast),
                "exact": figures_json(&it.exact),
                "orders_equal": it.fast.orders == it.exact.orders,
                "return_difference": it.fast.total_return - it.exact.total_return,
            })
        })
        .collect();
    json!({
        "strategy": plan.space.strategy().name,
        "level": plan.level,
        "search": search_name(plan.method),
        "objective": plan.objective.text(),
        "device": ended.device,
        "trials": done,
        "trials_planned": target,
        "trials_resumed": ended.resumed,
        "impossible": sweep.impossible(),
        "is_complete": ended.is_complete,
        "windows": windows_json(ended),
        "unseen": sweep.unseen().as_ref().map(figures_json),
        "verified": verified,
        "cpu_seconds": ended.cpu_s,
        "combination_bars": ended.combination_bars,
        "folder": ended.folder.display().to_string(),
    })
}

fn percent(value: f64) -> String {
    let percent = value * 100.0;
    if percent.abs() < 1.0 { format!("{percent:.4} %") } else { format!("{percent:.2} %") }
}

fn number(value: Option<f64>) -> String {
    // A small return has its first digits far behind the point.
    let places =
        |value: f64| if value == 0.0 { 3 } else { (2 - value.abs().log10().floor() as i32).clamp(3, 9) as usize };
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.places$}", places = places(value)))
}

fn text(ended: &Ended) -> String {
    let (sweep, plan) = (&ended.sweep, ended.sweep.plan());
    let (done, target) = sweep.progress();
    let level = match plan.level {
        keel_sweep::sweep::Level::Fast if ended.verified.is_empty() => {
            "fast: kernel in double precision, not verified by the event engine"
        }
        keel_sweep::sweep::Level::Fast => "fast: kernel in double precision, the best verified by the event engine",
        keel_sweep::sweep::Level::Exact => "exact: the event engine",
    };
    let speed = if ended.cpu_s > 0.0 { ended.combination_bars as f64 / ended.cpu_s } else { 0.0 };
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("Strategy", plan.space.strategy().name.to_owned());
    row("Level", level.to_owned());
    row("Device", ended.device.clone());
    row("Search", format!("{} for {}", search_name(plan.method), plan.objective.text()));
    let rest = if sweep.impossible() > 0 {
        format!(", {} left out as contradictory", sweep.impossible())
    } else {
        String::new()
    };
    row("Trials", format!("{done} of {target}{rest}"));
    let speed = keel_report::figure::whole(speed as u64);
    row("Work", format!("{:.2} CPU s, {speed} combination·bars a CPU second", ended.cpu_s));
    row("Folder", ended.folder.display().to_string());
    let mut text = out::table(&rows);
    for at in 0..plan.windows.len() {
        text.push_str(&window_text(ended, at));
    }
    if plan.windows.len() > 1
        && let Some(unseen) = sweep.unseen()
    {
        text.push_str("\nAll test parts, one after the other (none of these bars was searched)\n");
        text.push_str(&out::table(&[head(ended, false), cells(ended, None, &unseen, false)]));
    }
    text.push_str(&verified_text(ended));
    text
}

fn head(ended: &Ended, has_params: bool) -> Vec<String> {
    let mut head = Vec::new();
    if has_params {
        head.extend(ended.sweep.plan().space.dimensions().iter().map(|dimension| dimension.name.clone()));
    }
    let objective = ended.sweep.plan().objective.text().to_owned();
    let rest = ["return", "drawdown", "sharpe", "profit factor", "trades", "orders"].map(str::to_owned);
    head.push(format!("[{objective}]"));
    head.extend(rest);
    head
}

fn cells(ended: &Ended, point: Option<u64>, outcome: &Outcome, has_params: bool) -> Vec<String> {
    let figures = Figures::of(outcome);
    let mut cells: Vec<String> = Vec::new();
    if let (Some(point), true) = (point, has_params) {
        cells.extend(ended.sweep.plan().space.values(point).into_iter().map(str::to_owned));
    }
    cells.extend([
        number(ended.sweep.score(&figures)),
        percent(figures.total_return),
        percent(figures.max_drawdown),
        number(figures.sharpe),
        number(figures.profit_factor),
        figures.trades.to_string(),
        figures.orders.to_string(),
    ]);
    cells
}

fn window_text(ended: &Ended, at: usize) -> String {
    let sweep = &ended.sweep;
    let Some(parts) = sweep.plan().windows.get(at) else { return String::new() };
    let mut text = match parts.test {
        None => "\nBest on all bars (nothing was kept back to judge them: --train 0.7 does)\n".to_owned(),
        Some(test) => format!(
            "\nWindow {}: best on bars {} to {}; the first judged on {} to {}\n",
            at + 1,
            parts.train.trade_from,
            parts.train.to,
            test.trade_from,
            test.to
        ),
    };
    let best = sweep.best(at, ended.best_count);
    if ended.best_count == 0 {
        text.push_str("none is shown (--best 0)\n");
    } else if best.is_empty() {
        text.push_str(&format!("no trial has a value of [{}]: n/a\n", sweep.plan().objective.text()));
        return text;
    } else {
        let mut rows = vec![head(ended, true)];
        rows.extend(best.iter().map(|trial: &Trial| cells(ended, Some(trial.point), &trial.outcome, true)));
        text.push_str(&out::table(&rows));
    }
    if let Some(test) = sweep.test(at) {
        text.push_str("the first of them on its test part\n");
        text.push_str(&out::table(&[head(ended, false), cells(ended, None, test, false)]));
    }
    let year = 365f64.sqrt();
    match sweep.deflated(at) {
        Some(verdict) => text.push_str(&format!(
            "Deflated Sharpe ratio of the first: {:.3} (probability that its Sharpe ratio of {:.2} a year is skill: the best of {} trials without any is expected to show {:.2})\n",
            verdict.probability,
            verdict.best_daily * year,
            verdict.trials,
            verdict.expected_best_daily * year,
        )),
        None => text.push_str("Deflated Sharpe ratio of the first: n/a (too few days or trials)\n"),
    }
    text
}

fn verified_text(ended: &Ended) -> String {
    if ended.verified.is_empty() {
        return String::new();
    }
    let mut rows = vec![
        ["window", "parameters", "orders fast", "orders exact", "return fast", "return exact", "difference", "verdict"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for it in &ended.verified {
        let values = ended.sweep.plan().space.values(it.point).join(" ");
        let difference = it.fast.total_return - it.exact.total_return;
        let agrees = it.fast.orders == it.exact.orders && difference.abs() <= AGREES;
        rows.push(vec![
            (it.window + 1).to_string(),
            values,
            it.fast.orders.to_string(),
            it.exact.orders.to_string(),
            percent(it.fast.total_return),
            percent(it.exact.total_return),
            format!("{difference:.1e}"),
            if agrees { "agrees" } else { "differs" }.to_owned(),
        ]);
    }
    let mut text = "\nThe best on both levels, on the bars that were searched\n".to_owned();
    text.push_str(&out::table(&rows));
    if rows.iter().any(|row| row.last().is_some_and(|verdict| verdict == "differs")) {
        text.push_str(
            "Where the levels differ the exact one counts; --level exact searches on it. The engine has risk limits, too:\n\
             `launcher backtest` with these parameters tells what they denied.\n",
        );
    }
    text
}

/// Difference of returns up to which the levels agree: steps of balances and prices, and rounding.
const AGREES: f64 = 1e-6;
