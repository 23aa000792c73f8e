//! Cards, notes and tables of a page: plain HTML that needs no script.

use super::{TRADES_LISTED_MAX, escaped, put};
use crate::calendar::year_return;
use crate::figure::{Figure, Unit, duration, money, time, whole};
use crate::groups::Group;
use crate::report::Report;
use crate::run::{Trade, seconds};
use crate::text::{MONTHS, SIGNED, name_of, of_month, percent, shown, years};
use std::fmt::Write;

/// The class of a gain, a loss or neither.
const fn class(value: Option<f64>) -> &'static str {
    match value {
        Some(value) if value > 0.0 => "up",
        Some(value) if value < 0.0 => "down",
        Some(_) => "",
        None => "none",
    }
}

/// A figure's class: gains and losses only where the sign is one.
fn class_of(figure: &Figure) -> &'static str {
    match figure.value.filter(|value| value.is_finite()) {
        None => "none",
        Some(value) if SIGNED.contains(&figure.key) => class(Some(value)),
        Some(_) => "",
    }
}

/// A card: a figure with its label, and another one below it with its own.
type Card = (&'static str, &'static str, &'static str, &'static str);

const CARDS_RUN: &[Card] = &[
    ("total_profit", "Total profit", "absolute_profit", ""),
    ("final_equity", "Final equity", "start_balance", "from"),
    ("cagr", "CAGR", "volatility", "volatility"),
    ("sharpe", "Sharpe", "probabilistic_sharpe", "probabilistic"),
    ("sortino", "Sortino", "calmar", "Calmar"),
    ("max_drawdown_account", "Deepest drawdown", "drawdown_duration_s", "for"),
    ("profit_factor", "Profit factor", "expectancy", "expectancy"),
    ("winrate", "Win rate", "trades", "trades"),
    ("best_trade", "Best trade", "worst_trade", "worst"),
    ("avg_open_s", "Average time open", "trades_per_day", "trades a day"),
    ("fees", "Fees", "turnover", "turnover"),
    ("exposure_time", "Time in the market", "market_change", "market"),
];

const CARDS_RETURNS: &[Card] = &[
    ("total_return", "Total return", "days", "days"),
    ("cagr", "CAGR", "volatility", "volatility"),
    ("sharpe", "Sharpe", "probabilistic_sharpe", "probabilistic"),
    ("sortino", "Sortino", "omega", "Omega"),
    ("calmar", "Calmar", "recovery_factor", "recovery"),
    ("max_drawdown", "Deepest drawdown", "ulcer", "ulcer"),
    ("win_rate", "Winning days", "payoff_ratio", "payoff"),
    ("best", "Best day", "worst", "worst"),
];

/// The figures that people look at first.
pub(super) fn cards(report: &Report, out: &mut String) {
    out.push_str("<ul class=\"cards\" aria-label=\"Key figures\">\n");
    for (key, label, more, more_label) in if report.is_bare() { CARDS_RETURNS } else { CARDS_RUN } {
        let Some(figure) = report.figure(key) else { continue };
        let more = report.figure(more).map_or_else(String::new, |it| match (it.unit, *more_label) {
            (Unit::Money, "") => format!("{} {}", card_value(it), report.run.currency),
            (_, label) => format!("{label} {}", card_value(it)),
        });
        put!(
            out,
            "<li title=\"{}\"><span class=\"label\">{}</span><span class=\"value {}\">{}</span><span class=\"more\">{}</span></li>\n",
            escaped(figure.convention),
            escaped(label),
            class_of(figure),
            escaped(&card_value(figure)),
            escaped(&more),
        );
    }
    out.push_str("</ul>\n");
}

/// Cards are narrow: lengths of time in one unit, ratios with two decimals.
fn card_value(figure: &Figure) -> String {
    match (figure.key, figure.value) {
        ("avg_open_s" | "drawdown_duration_s", Some(value)) => length(value),
        ("probabilistic_sharpe", Some(value)) => format!("{value:.2}"),
        (_, Some(value)) if figure.unit == Unit::Number && value.abs() >= 0.01 => format!("{value:.2}"),
        _ => shown(figure),
    }
}

fn length(seconds: f64) -> String {
    let units = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    let unit = units.iter().find(|(unit, _)| seconds >= *unit);
    unit.map_or_else(|| format!("{seconds:.2} s"), |(unit, name)| format!("{:.1} {name}", seconds / unit))
}

/// What a reader must know first.
pub(super) fn notes(report: &Report, out: &mut String) {
    if report.notes.is_empty() {
        return;
    }
    out.push_str("<section class=\"panel notes\" aria-label=\"Notes\"><ul>\n");
    for note in &report.notes {
        put!(out, "<li>{}</li>\n", escaped(note));
    }
    out.push_str("</ul></section>\n");
}

/// A table with a heading; `rows` writes its body.
fn table(out: &mut String, title: &str, head: &[&str], rows: impl FnOnce(&mut String)) {
    put!(
        out,
        "<section class=\"panel\"><h2>{}</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><thead><tr>",
        escaped(title)
    );
    for name in head {
        put!(out, "<th scope=\"col\">{}</th>", escaped(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    rows(out);
    out.push_str("</tbody></table></div></section>\n");
}

fn cell(out: &mut String, text: &str, sign: Option<f64>) {
    let class = if text == "n/a" { "none" } else { sign.map_or("", |value| class(Some(value))) };
    if class.is_empty() {
        put!(out, "<td>{}</td>", escaped(text));
    } else {
        put!(out, "<td class=\"{class}\">{}</td>", escaped(text));
    }
}

/// The heat map of months.
pub(super) fn months(report: &Report, out: &mut String) {
    if report.months.is_empty() {
        return;
    }
    let largest = report.months.iter().map(|month| month.value.abs()).fold(0.0_f64, f64::max);
    out.push_str("<section class=\"panel\"><h2>Monthly returns, %</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Monthly returns\"><table class=\"heat\"><thead><tr><th scope=\"col\">Year</th>");
    for name in MONTHS {
        put!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("<th scope=\"col\">Year</th></tr></thead><tbody>\n");
    for year in years(report) {
        put!(out, "<tr><th scope=\"row\">{year}</th>");
        for month in 1_i8..=12 {
            match report.months.iter().find(|it| (it.year, it.month) == (year, month)) {
                Some(it) => {
                    let days = it.days;
                    put!(
                        out,
                        "<td class=\"{}\" title=\"{days} days\">{}</td>",
                        heat(it.value, largest),
                        of_month(it.value, report)
                    );
                }
                None => out.push_str("<td></td>"),
            }
        }
        let whole = year_return(&report.months, year);
        put!(
            out,
            "<td class=\"year {}\">{}</td></tr>\n",
            class(whole),
            whole.map_or_else(String::new, |it| of_month(it, report))
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

/// The class of a month's colour: five steps to each side.
fn heat(value: f64, largest: f64) -> String {
    let share = if largest > 0.0 { value.abs() / largest } else { 0.0 };
    // No month of half a per cent shines like one of ten.
    let share = share.min(value.abs() / 0.005);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 5")]
    let step = (share * 5.0).ceil().clamp(1.0, 5.0) as u8;
    match value {
        value if value > 0.0 => format!("p{step}"),
        value if value < 0.0 => format!("m{step}"),
        _ => "z0".to_owned(),
    }
}

/// Trades by instrument, exit reason and direction.
pub(super) fn groups(report: &Report, out: &mut String) {
    for (title, first, groups) in [
        ("By instrument", "Instrument", &report.by_instrument),
        ("By exit reason", "Exit reason", &report.by_exit_reason),
        ("By direction", "Direction", &report.by_direction),
    ] {
        if groups.is_empty() {
            continue;
        }
        let head = [
            first, "Trades", "Profit", "Of start", "Average", "Best", "Worst", "Win rate", "Won", "Even", "Lost",
            "Factor", "Avg open", "Fees",
        ];
        table(out, title, &head, |out| groups.iter().for_each(|group| group_row(group, out)));
    }
}

fn group_row(group: &Group, out: &mut String) {
    put!(out, "<tr><th scope=\"row\" class=\"text long-text\">{}</th>", escaped(name_of(group)));
    cell(out, &whole(group.trades), None);
    cell(out, &money(group.profit), Some(group.profit));
    cell(out, &percent(group.profit_share), group.profit_share);
    cell(out, &percent(group.avg_profit_ratio), group.avg_profit_ratio);
    cell(out, &percent(group.best), group.best);
    cell(out, &percent(group.worst), group.worst);
    cell(out, &percent(group.win_rate()), None);
    for count in [group.wins, group.draws, group.losses] {
        cell(out, &whole(count), None);
    }
    cell(out, &group.profit_factor.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.3}")), None);
    cell(out, &group.avg_open_s.map_or_else(|| "n/a".to_owned(), duration), None);
    cell(out, &money(group.fees), None);
    out.push_str("</tr>\n");
}

/// The deepest drawdowns.
pub(super) fn drawdowns(report: &Report, out: &mut String) {
    if report.drawdowns.is_empty() {
        return;
    }
    let at = |ns: i64| time(seconds(ns), "%Y-%m-%d %H:%M:%S");
    let head = ["Depth", "Loss", "Peak (UTC)", "Lowest (UTC)", "Recovered (UTC)", "Duration"];
    table(out, "Deepest drawdowns", &head, |out| {
        for it in &report.drawdowns {
            out.push_str("<tr>");
            cell(out, &percent(Some(it.depth())), Some(it.depth()));
            cell(out, &money(it.loss()), None);
            cell(out, &at(it.peak_ns), None);
            cell(out, &at(it.trough_ns), None);
            cell(out, &it.recovered_ns.map_or_else(|| "not by the end".to_owned(), at), None);
            cell(out, &duration(it.duration_s), None);
            out.push_str("</tr>\n");
        }
    });
}

/// What is open at the end.
pub(super) fn open(report: &Report, out: &mut String) {
    if report.run.open.is_empty() {
        return;
    }
    let head = ["Instrument", "Side", "Entry (UTC)", "Open", "Quantity", "Entry price", "Unrealised"];
    table(out, "Open at the end", &head, |out| {
        for it in &report.run.open {
            put!(out, "<tr><th scope=\"row\" class=\"text long-text\">{}</th>", escaped(&it.instrument));
            cell(out, it.direction.word(), None);
            cell(out, &time(seconds(it.entry_ns), "%Y-%m-%d %H:%M:%S"), None);
            cell(out, &duration(seconds(report.run.end_ns.saturating_sub(it.entry_ns))), None);
            cell(out, &plain(it.quantity), None);
            cell(out, &plain(it.entry_price), None);
            cell(out, &it.unrealized.map_or_else(|| "n/a".to_owned(), money), it.unrealized);
            out.push_str("</tr>\n");
        }
    });
}

/// The last trades, newest first.
pub(super) fn trades(report: &Report, out: &mut String) {
    let all = &report.run.trades;
    if all.is_empty() {
        return;
    }
    let listed = all.len().min(TRADES_LISTED_MAX);
    let title = if listed < all.len() {
        format!("Trades: the last {} of {}", whole(listed as u64), whole(all.len() as u64))
    } else {
        format!("Trades: {}", whole(all.len() as u64))
    };
    put!(
        out,
        "<section class=\"panel\"><h2>{title}</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Trades\"><table id=\"trades\"><thead><tr>"
    );
    for (name, class) in [
        ("#", ""),
        ("Instrument", " class=\"text\""),
        ("Side", " class=\"text\""),
        ("Entry (UTC)", ""),
        ("Exit (UTC)", ""),
        ("Open", ""),
        ("Quantity", ""),
        ("Entry price", ""),
        ("Exit price", ""),
        ("Profit", ""),
        ("Of stake", ""),
        ("Fees", ""),
        ("Exit reason", " class=\"text\""),
    ] {
        put!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for (at, trade) in all.iter().enumerate().rev().take(listed) {
        trade_row(at + 1, trade, out);
    }
    out.push_str(
        "</tbody></table></div><div class=\"pager\" id=\"pager\" hidden><button type=\"button\" id=\"back\">Back</button>\
         <span id=\"page\" role=\"status\"></span><button type=\"button\" id=\"next\">Next</button>\
         <input type=\"search\" id=\"search\" placeholder=\"Search\" aria-label=\"Search in the trades\"></div></section>\n",
    );
}

fn trade_row(number: usize, trade: &Trade, out: &mut String) {
    let ms = |ns: i64| ns.div_euclid(1_000_000);
    let at = |ns: i64| time(seconds(ns), "%Y-%m-%d %H:%M:%S");
    let sort = |value: f64| if value.is_finite() { value } else { 0.0 };
    put!(
        out,
        "<tr data-from=\"{from}\" data-to=\"{to}\"><td data-v=\"{number}\">{number}</td><td class=\"text\">{}</td>\
         <td class=\"text\">{}</td><td data-v=\"{from}\">{}</td><td data-v=\"{to}\">{}</td><td data-v=\"{}\">{}</td>",
        escaped(&trade.instrument),
        trade.direction.word(),
        at(trade.entry_ns),
        at(trade.exit_ns),
        sort(trade.open_s()),
        duration(trade.open_s()),
        from = ms(trade.entry_ns),
        to = ms(trade.exit_ns),
    );
    for value in [trade.quantity, trade.entry_price, trade.exit_price] {
        put!(out, "<td data-v=\"{}\">{}</td>", sort(value), plain(value));
    }
    let sign = class(Some(trade.profit));
    put!(out, "<td data-v=\"{}\" class=\"{sign}\">{}</td>", sort(trade.profit), money(trade.profit));
    put!(
        out,
        "<td data-v=\"{}\" class=\"{sign}\">{}</td>",
        sort(trade.profit_ratio()),
        percent(Some(trade.profit_ratio()))
    );
    put!(
        out,
        "<td data-v=\"{}\">{}</td><td class=\"text\">{}</td></tr>\n",
        sort(trade.fees),
        money(trade.fees),
        escaped(&trade.exit_reason)
    );
}

/// A price or quantity: at most ten digits that count, no zeros at the end.
fn plain(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    format!("{value:.9e}").parse::<f64>().map_or_else(|_| "n/a".to_owned(), |value| value.to_string())
}

/// Every figure with its definition.
pub(super) fn figures(report: &Report, out: &mut String) {
    out.push_str("<div class=\"two\">\n");
    for section in &report.sections {
        if report.is_bare() && section.title != "Daily returns" {
            continue;
        }
        put!(out, "<section class=\"panel\"><h2>{}</h2><table class=\"figures\"><tbody>\n", escaped(section.title));
        for figure in &section.figures {
            put!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"{}\">{}</td><td>{}</td></tr>\n",
                escaped(figure.label),
                class_of(figure),
                escaped(&shown(figure)),
                escaped(figure.convention)
            );
        }
        out.push_str("</tbody></table></section>\n");
    }
    out.push_str("</div>\n");
}

/// How the run was made.
pub(super) fn facts(report: &Report, out: &mut String) {
    if report.run.facts.is_empty() {
        return;
    }
    out.push_str("<section class=\"panel\"><h2>How it was made</h2><dl class=\"facts\">\n");
    for (name, value) in &report.run.facts {
        put!(out, "<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
    }
    out.push_str("</dl></section>\n");
}
