//! What the charts of a page draw, as the JSON that the page's script reads. Times are milliseconds from the first one, each as
//! the distance from the one before; values have nine digits that count.

use super::{CANDLES_MAX, MARKETS_MAX, STRETCHES_MAX, TRADES_DRAWN_MAX};
use crate::drawdowns::underwater;
use crate::figure::{money, whole};
use crate::report::Report;
use crate::run::{Bar, Prices, Trade};
use crate::sampling::{every_nth, extremes, joined};
use crate::text::percent;
use serde_json::{Map, Value, json};

/// Nanoseconds in a millisecond.
const MS_NS: i64 = 1_000_000;
/// Bars of a histogram.
const BINS: usize = 48;
/// Colours of indicators, in turn.
const COLOURS: [&str; 4] = ["c1", "c2", "c3", "c4"];

/// One chart of a page.
#[derive(Debug)]
pub(super) struct Chart {
    /// The id of its place on the page; ours, never text of others.
    pub(super) id: String,
    /// What stands above it.
    pub(super) title: String,
    /// What it shows, in words.
    pub(super) words: String,
    /// The market it belongs to.
    pub(super) market: Option<String>,
    /// What was left out.
    pub(super) note: Option<String>,
    spec: Map<String, Value>,
}

impl Chart {
    fn new(id: &str, title: &str, words: String, height: u32, format: &str, series: Vec<Value>) -> Self {
        let mut spec = Map::new();
        spec.insert("id".into(), id.into());
        spec.insert("height".into(), height.into());
        spec.insert("format".into(), format.into());
        spec.insert("series".into(), Value::Array(series));
        Self { id: id.into(), title: title.into(), words, market: None, note: None, spec }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.spec.insert(key.into(), value);
        self
    }

    /// Does it show prices, with much to read above them?
    pub(super) fn has_candles(&self) -> bool {
        self.spec.contains_key("candles")
    }

    /// Does it stay as it is when the others zoom?
    pub(super) fn is_still(&self) -> bool {
        self.spec.contains_key("kind")
    }
}

/// The charts as the JSON block of the page; safe inside a script element.
pub(super) fn to_json(charts: &[Chart]) -> String {
    let specs: Vec<Value> = charts.iter().map(|chart| Value::Object(chart.spec.clone())).collect();
    // `</script>` and `<!--` would end the block; the two separators are no text in old scripts.
    let text = json!({ "t0": 0, "charts": specs }).to_string();
    text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A value with nine digits that count; `null` when it is not finite.
fn rounded(value: f64) -> Value {
    if value.is_finite() { format!("{value:.8e}").parse::<f64>().map_or(Value::Null, Value::from) } else { Value::Null }
}

/// Milliseconds, each as the distance from the one before; the first from the epoch.
fn distances(times_ns: impl Iterator<Item = i64>) -> Value {
    let mut before = 0;
    let distance = |ns: i64| {
        let ms = ns.div_euclid(MS_NS);
        let distance = ms - before;
        before = ms;
        distance
    };
    Value::from(times_ns.map(distance).collect::<Vec<i64>>())
}

fn series(name: &str, class: &str, kind: &str, is_filled: bool, points: &[(i64, f64)]) -> Value {
    let values: Vec<Value> = points.iter().map(|point| rounded(point.1)).collect();
    json!({
        "name": super::plain(name), "class": class, "type": kind, "fill": is_filled,
        "t": distances(points.iter().map(|point| point.0)), "v": values,
    })
}

/// All charts of a page that have something to draw.
pub(super) fn all(report: &Report, is_plot: bool) -> Vec<Chart> {
    let mut charts = vec![equity(report), drawdown(report)];
    charts.extend(held_apart(report));
    if !report.exposure.steps.is_empty() {
        charts.push(exposure(report));
    }
    charts.extend(rolling(report).filter(|_| !is_plot));
    for (at, prices) in report.run.prices.iter().take(MARKETS_MAX).enumerate() {
        market(report, at, prices, if is_plot { 520 } else { 400 }, &mut charts);
    }
    if !is_plot {
        let days = report.daily.returns.values();
        charts.extend(spread("spread-days", "Daily returns", "days", days));
        let ratios: Vec<f64> = report.run.trades.iter().map(Trade::profit_ratio).collect();
        charts.extend(spread("spread-trades", "Profit of trades", "trades", &ratios));
    }
    charts
}

fn equity(report: &Report) -> Chart {
    let run = &report.run;
    let mut points = vec![(run.start_ns, run.start_equity)];
    points.extend(run.equity.iter().map(|point| (point.ts_ns, point.equity)));
    let ends = points.iter().map(|point| point.1).filter(|value| value.is_finite());
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let last = points.last().map_or(run.start_equity, |point| point.1);
    let mut drawn = vec![series("Equity", "c1", "line", true, &extremes(&points, STRETCHES_MAX))];
    if let Some(held) = held(report).filter(|held| !dwarfs(held, high - low)) {
        drawn.push(series(HELD, "c2", "line", false, &extremes(&held, STRETCHES_MAX / 2)));
    }
    let shown = |value: f64| if report.is_bare() { format!("{value:.4}") } else { money(value) };
    let words = format!(
        "Equity over time: from {} to {}, lowest {}, highest {}.",
        shown(run.start_equity),
        shown(last),
        shown(low),
        shown(high)
    );
    let title = if run.currency.is_empty() { "Equity".to_owned() } else { format!("Equity, {}", run.currency) };
    let format = if report.is_bare() { "price" } else { "money" };
    Chart::new("equity", &title, words, 300, format, drawn).with("base", rounded(run.start_equity))
}

const HELD: &str = "Buy and hold";

/// What the start equity would have become in the run's only market.
fn held(report: &Report) -> Option<Vec<(i64, f64)>> {
    let [prices] = report.run.prices.as_slice() else { return None };
    let first = prices.bars.first().filter(|first| first.open > 0.0 && report.run.start_equity > 0.0)?;
    let value = |bar: &Bar| (bar.ts_ns, bar.close / first.open * report.run.start_equity);
    Some(prices.bars.iter().map(value).collect())
}

/// Would this line press one of such a height flat?
fn dwarfs(points: &[(i64, f64)], height: f64) -> bool {
    let ends = points.iter().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.1), high.max(point.1)));
    ends.1 - ends.0 > height * 6.0
}

/// Buying and holding in a chart of its own, where it would press the equity flat.
fn held_apart(report: &Report) -> Option<Chart> {
    let equity = report.run.equity.iter().map(|point| point.equity).filter(|value| value.is_finite());
    let start = report.run.start_equity;
    let (low, high) = equity.fold((start, start), |(low, high), value| (low.min(value), high.max(value)));
    let held = held(report).filter(|held| dwarfs(held, high - low))?;
    let words = format!("What the account would be by buying and holding: {}.", money(held.last()?.1));
    let line = series(HELD, "c2", "line", false, &extremes(&held, STRETCHES_MAX / 2));
    let title = "Buy and hold, on a scale of its own";
    Some(Chart::new("held", title, words, 130, "money", vec![line]).with("base", rounded(start)))
}

fn drawdown(report: &Report) -> Chart {
    let has_start = report.run.start_equity > 0.0;
    let points = if has_start { underwater(report.run.start_equity, &report.run.equity) } else { Vec::new() };
    let deepest = report.drawdowns.first().map(crate::drawdowns::Drawdown::depth);
    let words = format!("Drawdown over time; the deepest is {}.", percent(deepest));
    let line = series("Below the highest", "lossline", "line", true, &extremes(&points, STRETCHES_MAX));
    Chart::new("drawdown", "Drawdown", words, 150, "percent", vec![line]).with("base", 0.into())
}

fn exposure(report: &Report) -> Chart {
    let words = format!(
        "Net position as a share of the account over time: in the market {} of the time, {} on average, at most {}.",
        percent(report.exposure.time_share),
        percent(report.exposure.average),
        percent(report.exposure.largest)
    );
    let mut points = vec![(report.run.start_ns, 0.0)];
    points.extend(&report.exposure.steps);
    let line = series("Net position of equity", "c3", "step", true, &extremes(&points, STRETCHES_MAX));
    Chart::new("exposure", "Exposure", words, 130, "percent", vec![line]).with("base", 0.into())
}

fn rolling(report: &Report) -> Option<Chart> {
    let rolling = report.rolling.as_ref().filter(|rolling| !rolling.points.is_empty())?;
    let title = format!("Rolling Sharpe, {} days", rolling.window_days);
    let last = rolling.points.last().map_or(0.0, |point| point.1);
    let words = format!("Sharpe ratio of the {} days before each day; the last is {last:.2}.", rolling.window_days);
    let line = series("Sharpe", "c1", "line", true, &extremes(&rolling.points, STRETCHES_MAX));
    Some(Chart::new("rolling", &title, words, 190, "ratio", vec![line]).with("base", 0.into()))
}

fn market(report: &Report, at: usize, prices: &Prices, height: u32, charts: &mut Vec<Chart>) {
    let bars = joined(&prices.bars, CANDLES_MAX);
    let column = |pick: fn(&Bar) -> f64| Value::Array(bars.iter().map(|bar| rounded(pick(bar))).collect());
    let candles = json!({
        "t": distances(bars.iter().map(|bar| bar.ts_ns)),
        "o": column(|bar| bar.open), "h": column(|bar| bar.high), "l": column(|bar| bar.low), "c": column(|bar| bar.close),
    });
    let of_market: Vec<&Trade> =
        report.run.trades.iter().filter(|trade| trade.instrument == prices.instrument).collect();
    let (drawn, step) = every_nth(&of_market, TRADES_DRAWN_MAX);
    let overlays = prices.lines.iter().filter(|line| line.is_overlay).zip(COLOURS.iter().cycle());
    let line = |line: &crate::run::Line, class: &str| {
        series(&line.name, class, "line", false, &extremes(&line.points, STRETCHES_MAX / 2))
    };
    let overlays = overlays.map(|(overlay, class)| line(overlay, class)).collect();
    let name = &prices.instrument;
    let words = format!(
        "{name} from {} to {} with {} trades.",
        prices.bars.first().map_or_else(|| "n/a".to_owned(), |bar| bar.open.to_string()),
        prices.bars.last().map_or_else(|| "n/a".to_owned(), |bar| bar.close.to_string()),
        whole(of_market.len() as u64)
    );
    let mut chart = Chart::new(&format!("price-{at}"), name, words, height, "price", overlays)
        .with("candles", candles)
        .with("trades", trades(&drawn));
    chart.market = Some(name.clone());
    chart.note = note(prices, bars.len(), of_market.len(), step, report.run.prices.len());
    charts.push(chart);
    let panes = prices.lines.iter().filter(|line| !line.is_overlay).zip(COLOURS.iter().cycle());
    for (index, (pane, class)) in panes.enumerate() {
        let words = format!("{} of {name} over time.", pane.name);
        let drawn = vec![line(pane, class)];
        let mut chart = Chart::new(&format!("price-{at}-{index}"), &pane.name, words, 130, "price", drawn);
        chart.market = Some(name.clone());
        charts.push(chart);
    }
}

fn note(prices: &Prices, bars: usize, trades: usize, step: usize, markets: usize) -> Option<String> {
    let mut parts = Vec::new();
    if bars < prices.bars.len() {
        parts.push(format!("{} bars, joined to {} candles", whole(prices.bars.len() as u64), whole(bars as u64)));
    }
    if step > 1 {
        parts.push(format!("one trade in {step} of {} is drawn", whole(trades as u64)));
    }
    if markets > MARKETS_MAX {
        parts.push(format!("{MARKETS_MAX} of {markets} markets are drawn"));
    }
    (!parts.is_empty()).then(|| parts.join("; ") + ".")
}

fn trades(drawn: &[&Trade]) -> Value {
    let column = |pick: fn(&Trade) -> f64| Value::Array(drawn.iter().map(|trade| rounded(pick(trade))).collect());
    let exits: Vec<i64> = drawn.iter().map(|trade| trade.exit_ns.div_euclid(MS_NS)).collect();
    json!({
        "et": distances(drawn.iter().map(|trade| trade.entry_ns)), "xt": exits,
        "ep": column(|trade| trade.entry_price), "xp": column(|trade| trade.exit_price),
        "p": column(|trade| trade.profit), "d": column(|trade| trade.direction.sign()),
    })
}

/// How often which result came: bins with edges that zero is one of. What is beyond the 0.5 % and 99.5 % quantiles is in the
/// outer bins.
fn spread(id: &str, title: &str, of_what: &str, values: &[f64]) -> Option<Chart> {
    let quantile = |share| crate::moments::quantile(values, share);
    let (low, high) = (quantile(0.005)?, quantile(0.995)?);
    if values.len() < 5 || high <= low {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let width = (high - low) / BINS as f64;
    let (first, last) = ((low / width).floor(), (high / width).floor());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place between 0 and BINS + 1")]
    let place = |value: f64| (((value / width).floor().clamp(first, last) - first) as usize).min(BINS + 1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most BINS + 1")]
    let mut counts = vec![0_u64; ((last - first) as usize + 1).min(BINS + 2)];
    for value in values.iter().filter(|value| value.is_finite()) {
        if let Some(count) = counts.get_mut(place(*value)) {
            *count += 1;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let bins = counts.iter().enumerate().map(|(at, count)| {
        let from = (first + at as f64) * width;
        json!([rounded(from), rounded(from + width), count])
    });
    let words = format!(
        "How many {of_what} had which result; the middle half lies between {} and {}.",
        percent(quantile(0.25)),
        percent(quantile(0.75))
    );
    let bins = Value::Array(bins.collect());
    Some(Chart::new(id, title, words, 200, "count", Vec::new()).with("kind", "histogram".into()).with("bins", bins))
}
