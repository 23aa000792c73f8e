//! A run, worked out: every figure, table and series that the terminal, JSON and HTML forms show. Computed once, shown thrice.

use crate::calendar::{self, Daily, MonthReturn};
use crate::drawdowns::{self, Drawdown};
use crate::exposure::{Exposure, exposure};
use crate::figure::{Figure, time, to_json};
use crate::groups::{self, Group};
use crate::rolling::{Rolling, rolling_sharpe};
use crate::run::{DAY_NS, Direction, EquityPoint, Run, seconds};
use crate::series::DailyReturns;
use crate::summary::{Parts, Section, sections};
use serde_json::{Map, Value, json};

/// Drawdowns that are listed.
const DRAWDOWNS_LISTED_MAX: usize = 5;
/// Below this many days a figure of a year says little.
const DAYS_FEW: usize = 30;
/// Below this many trades a ratio of trades says little.
const TRADES_FEW: usize = 30;

/// A run, worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The run itself.
    pub run: Run,
    /// Days a year.
    pub periods_per_year: u32,
    /// Every figure, in sections.
    pub sections: Vec<Section>,
    /// Trades by instrument.
    pub by_instrument: Vec<Group>,
    /// Trades by exit reason.
    pub by_exit_reason: Vec<Group>,
    /// Trades by direction.
    pub by_direction: Vec<Group>,
    /// The return of each month.
    pub months: Vec<MonthReturn>,
    /// The deepest drawdowns, deepest first.
    pub drawdowns: Vec<Drawdown>,
    /// Daily returns.
    pub daily: Daily,
    /// Rolling Sharpe ratio; `None` of a series too short for it.
    pub rolling: Option<Rolling>,
    /// The position over time.
    pub exposure: Exposure,
    /// What a reader must know before believing a figure; those of the run first.
    pub notes: Vec<String>,
}

impl Report {
    /// Works out a run; `periods_per_year` is 365 for markets that never close, 252 for stocks.
    #[must_use]
    pub fn of_run(run: Run, periods_per_year: u32) -> Self {
        let daily = calendar::daily(run.start_ns, run.start_equity, &run.equity);
        Self::new(run, daily, periods_per_year)
    }

    /// Works out a bare series of daily returns: an account that begins with 1.
    #[must_use]
    pub fn of_returns(title: String, returns: DailyReturns, periods_per_year: u32) -> Self {
        let mut value = 1.0;
        let mut ruined = None;
        let days = returns.dates().iter().zip(returns.values());
        let equity = days.map(|(date, daily)| {
            value *= 1.0 + daily;
            if value <= 0.0 && ruined.is_none() {
                ruined = Some(*date);
            }
            // The last instant of the day, not the first of the next.
            EquityPoint { ts_ns: crate::rolling::end_of(*date) - 1, equity: value }
        });
        let equity: Vec<EquityPoint> = equity.collect();
        let start_ns = equity.first().map_or(0, |point| point.ts_ns.saturating_sub(DAY_NS - 1));
        let end_ns = equity.last().map_or(0, |point| point.ts_ns);
        let kind = "returns".to_owned();
        let run = Run { title, kind, start_ns, end_ns, start_equity: 1.0, equity, ..Run::default() };
        Self::new(run, Daily { returns, ruined }, periods_per_year)
    }

    fn new(run: Run, daily: Daily, periods_per_year: u32) -> Self {
        // Without a start there is nothing that a drawdown could be a share of.
        let all = if run.start_equity > 0.0 {
            drawdowns::drawdowns(run.start_ns, run.start_equity, &run.equity)
        } else {
            Vec::new()
        };
        let exposure = exposure(&run);
        let parts = Parts { run: &run, daily: &daily, drawdowns: &all, exposure: &exposure, periods: periods_per_year };
        let sections = sections(&parts);
        let start = run.start_equity;
        let notes = notes(&run, &daily);
        let reason = |trade: &'_ crate::run::Trade| trade.exit_reason.clone();
        Self {
            periods_per_year,
            sections,
            by_instrument: groups::by(&run.trades, start, |trade| &trade.instrument),
            by_exit_reason: if run.trades.iter().all(|trade| reason(trade).is_empty()) {
                Vec::new()
            } else {
                groups::by(&run.trades, start, |trade| &trade.exit_reason)
            },
            by_direction: groups::by(&run.trades, start, |trade| trade.direction.word()),
            months: calendar::months(&daily.returns),
            drawdowns: drawdowns::deepest(all, DRAWDOWNS_LISTED_MAX),
            rolling: rolling_sharpe(&daily.returns, periods_per_year),
            exposure,
            notes,
            daily,
            run,
        }
    }

    /// Is it a bare series of returns, without an account?
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.run.kind == "returns"
    }

    /// A figure by its key.
    #[must_use]
    pub fn figure(&self, key: &str) -> Option<&Figure> {
        self.sections.iter().flat_map(|section| &section.figures).find(|figure| figure.key == key)
    }

    /// Only the figures, keys as in `docs/report.md`; `null` where one is not defined.
    #[must_use]
    pub fn figures_json(&self) -> Map<String, Value> {
        self.sections.iter().flat_map(|section| to_json(&section.figures)).collect()
    }

    /// One object: the figures flat, and the tables as lists. `docs/report.md` documents the keys.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = self.figures_json();
        let list = |groups: &[Group]| Value::Array(groups.iter().map(Group::to_json).collect());
        let facts = self.run.facts.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let months = self
            .months
            .iter()
            .map(|it| json!({"year": it.year, "month": it.month, "days": it.days, "return": it.value}));
        let at = |ns: i64| time(seconds(ns), "%Y-%m-%dT%H:%M:%S%.3fZ");
        let drawdowns = self.drawdowns.iter().map(|it| {
            json!({
                "depth": it.depth(),
                "loss": it.loss(),
                "start": at(it.peak_ns),
                "end": at(it.trough_ns),
                "recovered": it.recovered_ns.map(at),
                "duration_s": it.duration_s,
            })
        });
        let open = self.run.open.iter().map(|it| {
            json!({
                "instrument": it.instrument,
                "side": it.direction.word(),
                "entry_time": at(it.entry_ns),
                "quantity": it.quantity,
                "entry_price": it.entry_price,
                "unrealized": it.unrealized,
            })
        });
        let name = |group: Option<&Group>| group.map(|group| group.name.clone());
        let more = [
            ("title", Value::from(self.run.title.as_str())),
            ("kind", Value::from(self.run.kind.as_str())),
            ("currency", Value::from(self.run.currency.as_str())),
            ("facts", Value::Object(facts.collect())),
            ("notes", Value::from(self.notes.clone())),
            ("best_instrument", Value::from(name(self.by_instrument.first()))),
            ("worst_instrument", Value::from(name(self.by_instrument.last()))),
            ("by_instrument", list(&self.by_instrument)),
            ("by_exit_reason", list(&self.by_exit_reason)),
            ("by_direction", list(&self.by_direction)),
            ("open_at_end", Value::Array(open.collect())),
            ("months", Value::Array(months.collect())),
            ("drawdowns", Value::Array(drawdowns.collect())),
            ("first_day", Value::from(self.daily.returns.dates().first().map(ToString::to_string))),
            ("last_day", Value::from(self.daily.returns.dates().last().map(ToString::to_string))),
        ];
        object.extend(more.map(|(key, value)| (key.to_owned(), value)));
        object
    }
}

fn notes(run: &Run, daily: &Daily) -> Vec<String> {
    let mut notes = run.notes.clone();
    let days = daily.returns.values().len();
    if let Some(date) = daily.ruined {
        notes.push(format!("Total loss: nothing was left of the account on {date}; later days count as 0."));
    }
    if days < DAYS_FEW {
        notes.push(format!(
            "{days} day{} only: figures of a year (CAGR, Sharpe, Sortino, Calmar, volatility) say little below {DAYS_FEW}.",
            if days == 1 { "" } else { "s" }
        ));
    }
    if run.kind == "returns" {
        return notes;
    }
    match run.trades.len() {
        0 => notes.push("No trade was closed: figures of trades are not defined.".to_owned()),
        few if few < TRADES_FEW => {
            notes.push(format!(
                "{few} closed trades only: win rate, profit factor and SQN say little below {TRADES_FEW}."
            ));
        }
        _ => {}
    }
    if !run.open.is_empty() {
        let of = |wanted| run.open.iter().filter(|open| open.direction == wanted).count();
        let (long, short) = (of(Direction::Long), of(Direction::Short));
        notes.push(format!(
            "Still open at the end: {long} long, {short} short; their unrealised result is in the equity, not in the trades."
        ));
    }
    notes
}
