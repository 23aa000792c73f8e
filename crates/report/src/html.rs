//! The report as one HTML file that needs nothing else: no network, no other file, no library. Works from `file://`.
//!
//! - Text of others (names of strategies, instruments, reasons, files) is escaped everywhere; the content security policy
//!   allows this file's own script and style by their hashes and nothing else, so that what slipped through would not run.
//! - Its size is bounded: at most [`STRETCHES_MAX`] stretches of time in a chart, each with its lowest and highest value;
//!   [`CANDLES_MAX`] candles, [`TRADES_DRAWN_MAX`] trades drawn, [`TRADES_LISTED_MAX`] listed, [`MARKETS_MAX`] markets.
//!   What is left out is counted on the page.

mod charts;
mod tables;

use crate::figure::{duration, time, whole};
use crate::report::Report;
use crate::run::seconds;
use base64::Engine;
use charts::Chart;
use sha2::Digest;
use std::fmt::Write;

/// Stretches of time in a chart; each keeps its lowest and its highest value.
pub const STRETCHES_MAX: usize = 1_500;
/// Candles of a market.
pub const CANDLES_MAX: usize = 2_000;
/// Trades that are drawn on a market.
pub const TRADES_DRAWN_MAX: usize = 1_500;
/// Trades that are listed: the last ones.
pub const TRADES_LISTED_MAX: usize = 1_000;
/// Markets that are drawn.
pub const MARKETS_MAX: usize = 8;

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
    d='M1 11l4-5 3 3 6-7' fill='none' stroke='%230f6cbd' stroke-width='2'/%3E%3Cpath d='M1 14h14' stroke='%2308795f' \
    stroke-width='2'/%3E%3C/svg%3E";

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Report,
    Plot,
}

/// The whole report.
#[must_use]
pub fn to_html(report: &Report) -> String {
    page(report, Page::Report)
}

/// Only the markets with entries, exits and indicators, above the equity.
#[must_use]
pub fn plot_html(report: &Report) -> String {
    page(report, Page::Plot)
}

/// Text that is safe between tags and in quoted attributes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Text without control characters, separators of lines, and marks that turn the direction of writing, which could make one
/// text look like another; each becomes a blank.
fn plain(text: &str) -> String {
    let blank = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if blank(character) { ' ' } else { character }).collect()
}

/// Appends formatted text; writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($part:tt)*) => { write!($out, $($part)*).unwrap_or_default() };
}
pub(crate) use put;

fn page(report: &Report, what: Page) -> String {
    let mut out = String::with_capacity(600_000);
    let charts = charts::all(report, what == Page::Plot);
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()));
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"generator\" content=\"Keel\">\n\
         <link rel=\"icon\" href=\"{ICON}\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the figures</a>\n",
        hash(SCRIPT),
        hash(STYLE),
        escaped(&report.run.title),
    );
    header(report, &mut out);
    out.push_str("<main id=\"main\" class=\"wrap\">\n");
    tables::cards(report, &mut out);
    tables::notes(report, &mut out);
    match what {
        Page::Report => report_body(report, &charts, &mut out),
        Page::Plot => plot_body(&charts, &mut out),
    }
    out.push_str("</main>\n");
    footer(report, &mut out);
    out.push_str(
        "<p class=\"aside\" id=\"live\" aria-live=\"polite\"></p>\n<script type=\"application/json\" id=\"data\">",
    );
    out.push_str(&charts::to_json(&charts));
    put!(out, "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn report_body(report: &Report, charts: &[Chart], out: &mut String) {
    panel(out, "Account", &of(charts, &["equity", "held", "drawdown", "exposure"]), TOOLS);
    tables::months(report, out);
    panel(out, &rolling_title(report), &of(charts, &["rolling"]), "");
    markets(charts, out);
    let spread = of(charts, &["spread-days", "spread-trades"]);
    if !spread.is_empty() {
        out.push_str("<div class=\"two\">");
        for chart in spread {
            panel(out, chart.title.as_str(), &[chart], "");
        }
        out.push_str("</div>\n");
    }
    tables::groups(report, out);
    tables::drawdowns(report, out);
    tables::open(report, out);
    tables::trades(report, out);
    tables::figures(report, out);
    tables::facts(report, out);
}

fn plot_body(charts: &[Chart], out: &mut String) {
    markets(charts, out);
    panel(out, "Account", &of(charts, &["equity", "held", "drawdown", "exposure"]), "");
}

fn of<'a>(charts: &'a [Chart], ids: &[&str]) -> Vec<&'a Chart> {
    ids.iter().filter_map(|id| charts.iter().find(|chart| chart.id == *id)).collect()
}

fn rolling_title(report: &Report) -> String {
    report.rolling.as_ref().map_or_else(String::new, |it| format!("Rolling Sharpe, {} days", it.window_days))
}

const TOOLS: &str = "<span class=\"tools\"><button type=\"button\" class=\"nearer\" aria-label=\"Zoom in\">+</button>\
    <button type=\"button\" class=\"farther\" aria-label=\"Zoom out\">&minus;</button>\
    <button type=\"button\" class=\"reset\" hidden>Whole run</button></span>";

/// A panel with charts; nothing without any.
fn panel(out: &mut String, title: &str, charts: &[&Chart], tools: &str) {
    if charts.is_empty() {
        return;
    }
    put!(out, "<section class=\"panel\"><div class=\"head\"><h2>{}</h2>{tools}</div>\n", escaped(title));
    for chart in charts {
        figure(chart, charts.len() > 1 || chart.title != title, out);
    }
    if !tools.is_empty() {
        out.push_str(
            "<p class=\"hint\">Drag over a stretch to look closer, double-click for the whole run; with the keyboard: arrows, \
             + and &minus;, Escape. Times are UTC.</p>",
        );
    }
    out.push_str("</section>\n");
}

fn figure(chart: &Chart, has_title: bool, out: &mut String) {
    let still = if chart.is_still() { " still" } else { "" };
    let focus = if chart.is_still() { "" } else { " tabindex=\"0\"" };
    let title = if has_title { escaped(&chart.title) } else { String::new() };
    let tall = if chart.has_candles() { " tall" } else { "" };
    put!(
        out,
        "<figure class=\"chart{tall}\"><figcaption>{title}<span class=\"legend\" aria-hidden=\"true\"></span></figcaption>\
         <div class=\"plot{still}\" id=\"{}\" role=\"img\"{focus} aria-label=\"{}\"></div></figure>\n",
        chart.id,
        escaped(&chart.words),
    );
}

/// The markets: one after the other in tabs.
fn markets(charts: &[Chart], out: &mut String) {
    let mut names: Vec<&str> = charts.iter().filter_map(|chart| chart.market.as_deref()).collect();
    names.dedup();
    if names.is_empty() {
        return;
    }
    out.push_str("<section class=\"panel\"><div class=\"head\"><h2>Entries and exits</h2>");
    if names.len() > 1 {
        out.push_str("<div class=\"tabs\" role=\"tablist\" aria-label=\"Markets\">");
        for (at, name) in names.iter().enumerate() {
            let (selected, index) = if at == 0 { ("true", "0") } else { ("false", "-1") };
            put!(
                out,
                "<button type=\"button\" role=\"tab\" id=\"tab-{at}\" aria-controls=\"market-{at}\" \
                 aria-selected=\"{selected}\" tabindex=\"{index}\">{}</button>",
                escaped(name)
            );
        }
        out.push_str("</div>");
    }
    put!(out, "{TOOLS}</div>\n");
    for (at, name) in names.iter().enumerate() {
        let tab =
            if names.len() > 1 { format!(" role=\"tabpanel\" aria-labelledby=\"tab-{at}\"") } else { String::new() };
        let hidden = if at == 0 { "" } else { " hidden" };
        put!(out, "<div class=\"market\" id=\"market-{at}\"{tab}{hidden}>\n");
        let of_market: Vec<&Chart> = charts.iter().filter(|chart| chart.market.as_deref() == Some(*name)).collect();
        for chart in &of_market {
            figure(chart, true, out);
        }
        if let Some(note) = of_market.iter().find_map(|chart| chart.note.as_deref()) {
            put!(out, "<p class=\"hint\">{}</p>", escaped(note));
        }
        out.push_str("</div>\n");
    }
    out.push_str(
        "<p class=\"hint\"><span class=\"up\">&#9650;</span> entry long, &#9660; entry short, &#9670; exit \
         (<span class=\"up\">gain</span>, <span class=\"down\">loss</span>). A click on a trade in the list shows it here.</p>",
    );
    out.push_str("</section>\n");
}

fn header(report: &Report, out: &mut String) {
    let run = &report.run;
    let day = |ns: i64| time(seconds(ns), "%Y-%m-%d %H:%M");
    let span = if run.end_ns > run.start_ns {
        let length = duration(seconds(run.end_ns - run.start_ns));
        format!("{} to {} UTC, {length}", day(run.start_ns), day(run.end_ns))
    } else {
        String::new()
    };
    put!(
        out,
        "<header><div class=\"wrap\"><div><p class=\"brand\">Keel report</p><h1>{}</h1>\
         <p class=\"sub\"><span class=\"badge\">{}</span>{span}</p></div>\
         <button type=\"button\" id=\"theme\" hidden>Dark</button></div></header>\n",
        escaped(&run.title),
        escaped(&run.kind),
    );
}

fn footer(report: &Report, out: &mut String) {
    put!(
        out,
        "<footer class=\"wrap\"><p>Figures follow quantstats (daily returns, {} days a year, UTC days) and freqtrade (trades); \
         each has its definition beside it; n/a means not defined.</p><p>Charts keep the lowest and the highest value of at most \
         {} stretches of time, markets at most {} candles; what is shown of {} points of equity and {} trades is said where it is \
         not all. This file needs no network.</p><noscript><p>Charts, sorting and paging need JavaScript; figures and tables do \
         not.</p></noscript></footer>\n",
        report.periods_per_year,
        whole(STRETCHES_MAX as u64),
        whole(CANDLES_MAX as u64),
        whole(report.run.equity.len() as u64),
        whole(report.run.trades.len() as u64),
    );
}
