//! The report for a terminal: figures with their conventions and the tables, with colours where they are wanted.

use crate::calendar::year_return;
use crate::figure::{Figure, Unit, duration, money, share, time, whole};
use crate::groups::Group;
use crate::report::Report;
use crate::run::seconds;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Names of the months.
pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Figures whose sign is a gain or a loss.
pub(crate) const SIGNED: &[&str] = &[
    "absolute_profit",
    "total_profit",
    "avg_daily_profit",
    "profit",
    "long_profit",
    "short_profit",
    "total_return",
    "cagr",
    "sharpe",
    "sortino",
    "calmar",
    "expectancy",
    "avg_profit_ratio",
    "best_trade",
    "worst_trade",
    "best",
    "worst",
    "best_day_profit",
    "worst_day_profit",
    "mean_day_profit",
    "max_drawdown",
    "max_drawdown_account",
    "market_change",
    "profit_at_drawdown_start",
    "profit_at_drawdown_end",
    "expected_daily",
    "sqn",
];

/// Writes text with or without colours.
#[derive(Clone, Copy, Debug)]
struct Pen {
    is_coloured: bool,
}

/// A cell: what is shown, and its sign if it is a gain or a loss.
type Cell = (String, Option<f64>);

impl Pen {
    fn paint(self, text: &str, colour: &str) -> String {
        if self.is_coloured { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }

    fn signed(self, text: &str, value: Option<f64>) -> String {
        match value {
            Some(value) if value > 0.0 => self.paint(text, GREEN),
            Some(value) if value < 0.0 => self.paint(text, RED),
            _ => text.to_owned(),
        }
    }

    fn heading(self, out: &mut String, text: &str) {
        out.push('\n');
        out.push_str(&self.paint(text, BOLD));
        out.push('\n');
    }

    /// A table: the first column to the left, all others to the right.
    fn table(self, out: &mut String, head: &[&str], rows: &[Vec<Cell>]) {
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.0.chars().count());
            cells.chain(head.get(at).map(|text| text.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let aligned = |at: usize, text: &str, width: usize| {
            if at == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        let line = head.iter().zip(&widths).enumerate().map(|(at, (text, width))| aligned(at, text, *width));
        let line = line.collect::<Vec<_>>().join("  ");
        out.push_str(&self.paint(line.trim_end(), DIM));
        out.push('\n');
        for row in rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (cell, width))| self.signed(&aligned(at, &cell.0, *width), cell.1));
            out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
    }
}

/// The whole report as text.
#[must_use]
pub fn to_text(report: &Report, is_coloured: bool) -> String {
    let pen = Pen { is_coloured };
    let mut out = String::new();
    if !report.is_bare() {
        head(pen, report, &mut out);
        groups(pen, &mut out, "By instrument", &report.by_instrument);
        groups(pen, &mut out, "By exit reason", &report.by_exit_reason);
        groups(pen, &mut out, "By direction", &report.by_direction);
        open(pen, report, &mut out);
    }
    months(pen, report, &mut out);
    drawdowns(pen, report, &mut out);
    for section in &report.sections {
        // A bare series has neither trades nor an account.
        if !report.is_bare() || section.title == "Daily returns" {
            pen.heading(&mut out, section.title);
            figures(pen, &section.figures, &mut out);
        }
    }
    if !report.notes.is_empty() {
        pen.heading(&mut out, "Notes");
        for note in &report.notes {
            out.push_str(&pen.paint(&format!("- {}\n", plain(note)), YELLOW));
        }
    }
    out.trim_start_matches('\n').to_owned()
}

fn head(pen: Pen, report: &Report, out: &mut String) {
    out.push_str(&pen.paint(&plain(&report.run.title), BOLD));
    out.push('\n');
    for (name, value) in &report.run.facts {
        out.push_str(&pen.paint(&format!("{}: {}\n", plain(name), plain(value)), DIM));
    }
}

/// Text of others on a terminal: control characters could move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn figures(pen: Pen, figures: &[Figure], out: &mut String) {
    let label = figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
    let width = figures.iter().map(|figure| shown(figure).chars().count()).max().unwrap_or(0);
    for figure in figures {
        let text = format!("{:>width$}", shown(figure));
        let sign = figure.value.filter(|_| SIGNED.contains(&figure.key));
        let convention = pen.paint(figure.convention, DIM);
        out.push_str(&format!("{:<label$}  {}  {convention}\n", figure.label, pen.signed(&text, sign)));
    }
}

pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), share)
}

/// A month or year in percent without the sign of it: one decimal, two where no month reaches one per cent.
pub(crate) fn of_month(value: f64, report: &Report) -> String {
    let largest = report.months.iter().map(|month| month.value.abs()).fold(0.0_f64, f64::max);
    let digits = if largest < 0.01 { 2 } else { 1 };
    format!("{:.digits$}", value * 100.0 + 0.0)
}

fn groups(pen: Pen, out: &mut String, title: &str, groups: &[Group]) {
    if groups.is_empty() {
        return;
    }
    pen.heading(out, title);
    let unsigned = |text: String| (text, None);
    let row = |group: &Group| {
        vec![
            unsigned(plain(name_of(group))),
            unsigned(whole(group.trades)),
            (money(group.profit), Some(group.profit)),
            (percent(group.profit_share), group.profit_share),
            (percent(group.avg_profit_ratio), group.avg_profit_ratio),
            unsigned(percent(group.win_rate())),
            unsigned(format!("{}/{}/{}", group.wins, group.draws, group.losses)),
            unsigned(group.profit_factor.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.3}"))),
            unsigned(group.avg_open_s.map_or_else(|| "n/a".to_owned(), duration)),
            unsigned(money(group.fees)),
        ]
    };
    let head =
        ["", "trades", "profit", "of start", "average", "win rate", "win/draw/loss", "factor", "avg open", "fees"];
    pen.table(out, &head, &groups.iter().map(row).collect::<Vec<_>>());
}

/// What is open at the end.
fn open(pen: Pen, report: &Report, out: &mut String) {
    if report.run.open.is_empty() {
        return;
    }
    pen.heading(out, "Open at the end");
    let rows = report.run.open.iter().map(|it| {
        vec![
            (plain(&it.instrument), None),
            (it.direction.word().to_owned(), None),
            (time(seconds(it.entry_ns), "%Y-%m-%d %H:%M:%S"), None),
            (it.quantity.to_string(), None),
            (it.entry_price.to_string(), None),
            (it.unrealized.map_or_else(|| "n/a".to_owned(), money), it.unrealized),
        ]
    });
    let head = ["", "side", "entry", "quantity", "entry price", "unrealised"];
    pen.table(out, &head, &rows.collect::<Vec<_>>());
}

/// A group's name; a word for the one without.
pub(crate) fn name_of(group: &Group) -> &str {
    if group.name.is_empty() { "(none)" } else { &group.name }
}

/// Years that have a month, in order.
pub(crate) fn years(report: &Report) -> Vec<i16> {
    let mut years: Vec<i16> = report.months.iter().map(|month| month.year).collect();
    years.dedup();
    years
}

fn months(pen: Pen, report: &Report, out: &mut String) {
    if report.months.is_empty() {
        return;
    }
    pen.heading(out, "Monthly returns, %");
    let shown = |value: Option<f64>| (value.map_or_else(String::new, |value| of_month(value, report)), value);
    let row = |year: i16| {
        let mut row = vec![(year.to_string(), None)];
        for month in 1_i8..=12 {
            let found = report.months.iter().find(|it| (it.year, it.month) == (year, month));
            row.push(shown(found.map(|it| it.value)));
        }
        row.push(shown(year_return(&report.months, year)));
        row
    };
    let mut head = vec![""];
    head.extend(MONTHS);
    head.push("year");
    pen.table(out, &head, &years(report).into_iter().map(row).collect::<Vec<_>>());
}

fn drawdowns(pen: Pen, report: &Report, out: &mut String) {
    if report.drawdowns.is_empty() {
        return;
    }
    pen.heading(out, "Deepest drawdowns");
    let at = |ns: i64| (time(seconds(ns), "%Y-%m-%d %H:%M:%S"), None);
    let rows = (1..).zip(&report.drawdowns).map(|(place, it)| {
        vec![
            (place.to_string(), None),
            (percent(Some(it.depth())), Some(it.depth())),
            (money(it.loss()), None),
            at(it.peak_ns),
            at(it.trough_ns),
            it.recovered_ns.map_or_else(|| ("not by the end".to_owned(), None), at),
            (duration(it.duration_s), None),
        ]
    });
    let head = ["", "depth", "loss", "peak", "lowest", "recovered", "duration"];
    pen.table(out, &head, &rows.collect::<Vec<_>>());
}

/// How a figure is shown: with thousands separators where it is a count.
#[must_use]
pub fn shown(figure: &Figure) -> String {
    match (figure.unit, figure.value) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        (Unit::Count, Some(value)) if value.is_finite() && value >= 0.0 => whole(value as u64),
        _ => figure.shown(),
    }
}
