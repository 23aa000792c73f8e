//! The truthful summary of a run: for people as text, for machines as JSON (stdout with `--json`, and `report.json` in the
//! session's folder). It is written from the last published state after the stop, so it says what is, not what was meant.

use keel_lifecycle::{ExitStatus, LeakReport, ResourcePeak, StopReason, StopReport};
use keel_model::{Instruments, Notional, OpenOrderView, OrderType, PositionView, Rounding, StatusSnapshot};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One stage of the way of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyLine {
    /// From where to where.
    pub stage: String,
    /// How many were measured.
    pub count: u64,
    /// Half were faster; unit: nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were faster; unit: nanoseconds.
    pub p99_ns: u64,
    /// The slowest; unit: nanoseconds.
    pub max_ns: u64,
}

impl From<keel_gateway::StageSummary> for LatencyLine {
    fn from(stage: keel_gateway::StageSummary) -> Self {
        let keel_gateway::StageSummary { name, count, p50_ns, p99_ns, max_ns } = stage;
        Self { stage: name.to_owned(), count, p50_ns, p99_ns, max_ns }
    }
}

/// An order or position that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Is it known at all? Not when the start failed before journal and venue had told.
    pub is_known: bool,
    /// Orders the venue may still hold.
    pub orders: Vec<String>,
    /// Orders nobody knows the fate of.
    pub unknown_orders: Vec<String>,
    /// Positions that are not flat.
    pub positions: Vec<String>,
    /// Positions without an order that protects them.
    pub unprotected: Vec<String>,
}

/// Everything the summary says.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `paper` or `live`.
    pub mode: String,
    /// Where orders went.
    pub venue: String,
    /// What the market was, and whether its profit means something.
    pub market: String,
    /// Strategies that decided.
    pub strategies: Vec<String>,
    /// Instruments traded.
    pub symbols: Vec<String>,
    /// From start to the end of the stop; unit: seconds.
    pub ran_s: f64,
    /// Why it stopped, first reason first.
    pub reasons: Vec<StopReason>,
    /// Digest of the trading state, 64 hex digits; absent when trading never began.
    pub state_digest: Option<String>,
    /// The last state.
    pub status: StatusSnapshot,
    /// Fees by asset.
    pub fees: Vec<(String, String)>,
    /// The way of an order, stage by stage.
    pub latency: Vec<LatencyLine>,
    /// The most that was used.
    pub peak: ResourcePeak,
    /// The stop, step by step.
    pub stop: StopReport,
    /// What stays at the venue.
    pub left: Left,
    /// What was left behind in this process.
    pub leaks: LeakReport,
    /// Lines worth knowing: conflicts with the venue, losses of data, resyncs.
    pub notices: Vec<String>,
    /// Folder of this session.
    pub folder: PathBuf,
    /// How many things went wrong.
    pub errors: usize,
    /// The exit code.
    pub exit_code: u8,
}

/// What stays at the venue, out of the last state.
#[must_use]
pub fn left_open(status: &StatusSnapshot, instruments: &Instruments) -> Left {
    let is_missing = |order: &OpenOrderView| order.state == keel_engine::MISSING;
    let is_unknown = |order: &&OpenOrderView| order.state.eq_ignore_ascii_case("unknown") || is_missing(order);
    let order = |order: &OpenOrderView| order_line(order, instruments);
    let position = |position: &PositionView| {
        let value =
            position.unrealized.map_or_else(|| "no price".to_owned(), |value| format!("unrealised {}", money(value)));
        let unit = instruments.get(position.instrument).map_or_else(String::new, |known| format!(" {}", known.quote));
        let (quantity, average) = (position.quantity.normalized(), position.average_price.normalized());
        format!("{} {quantity} at {average} ({value}{unit})", symbol(position.instrument, instruments))
    };
    Left {
        is_known: true,
        orders: status.open_orders.iter().filter(|it| !is_unknown(it)).map(order).collect(),
        unknown_orders: status.open_orders.iter().filter(is_unknown).map(order).collect(),
        positions: status.positions.iter().map(position).collect(),
        unprotected: status.positions.iter().filter(|it| !it.is_protected).map(position).collect(),
    }
}

/// Fees of this run by asset, exact.
#[must_use]
pub fn fees(status: &StatusSnapshot) -> Vec<(String, String)> {
    status.fees_by_asset.iter().map(|(asset, fee)| (asset.to_string(), fee.normalized().to_string())).collect()
}

/// One order in one line.
#[must_use]
pub fn order_line(order: &OpenOrderView, instruments: &Instruments) -> String {
    let trigger = order.stop_price.map(|price| format!(", trigger {}", price.normalized())).unwrap_or_default();
    let price = order.price.map(|price| format!("at {}", price.normalized()));
    let price = match (order.order_type, price) {
        (Some(kind), price) if kind.has_stop_price() => {
            let price = price.map(|price| format!(" {price}")).unwrap_or_default();
            format!("{}{price}{trigger}", type_name(kind))
        }
        (_, price) => price.unwrap_or_else(|| "market".to_owned()),
    };
    let state = match order.state.as_str() {
        keel_engine::MISSING => {
            "gone at the venue, not accounted for: look it up in the venue's order and trade history"
        }
        state => state,
    };
    let id = order.venue_order_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!(
        "{} {:?} {} {price}, filled {}, {:?}, {}, ours {}, theirs {id}",
        symbol(order.instrument, instruments),
        order.side,
        order.quantity.normalized(),
        order.cum_quantity.normalized(),
        order.purpose,
        state,
        order.client_order_id,
    )
}

/// The kind of an order in the venue's words.
const fn type_name(kind: OrderType) -> &'static str {
    match kind {
        OrderType::Market => "MARKET",
        OrderType::Limit => "LIMIT",
        OrderType::LimitMaker => "LIMIT_MAKER",
        OrderType::StopLoss => "STOP_LOSS",
        OrderType::StopLossLimit => "STOP_LOSS_LIMIT",
        OrderType::TakeProfit => "TAKE_PROFIT",
        OrderType::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
    }
}

/// An instrument's symbol.
#[must_use]
pub fn symbol(id: keel_model::InstrumentId, instruments: &Instruments) -> String {
    instruments.get(id).map_or_else(|| format!("#{}", id.0), |instrument| instrument.symbol.to_string())
}

/// An amount as people read it: at most eight decimal places, no zeros at the end.
#[must_use]
pub fn money(value: Notional) -> String {
    value.round(8, Rounding::HalfUp).unwrap_or(value).normalized().to_string()
}

/// Nanoseconds as people read them.
#[must_use]
pub fn shown_ns(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

impl Summary {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec!["--- summary ---".to_owned()];
        lines.push(format!("mode: {}, venue: {}, market: {}", self.mode, self.venue, self.market));
        lines.push(format!("strategies: {}; instruments: {}", self.strategies.join(", "), self.symbols.join(", ")));
        let reasons = self.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; then ");
        lines.push(format!("ran: {:.1} s; stopped because: {reasons}", self.ran_s));
        self.push_trading(&mut lines);
        self.push_latency(&mut lines);
        let peak = &self.peak;
        let mib = peak.rss_bytes_max as f64 / f64::from(1 << 20);
        lines.push(format!(
            "peak: {mib:.1} MiB resident, {} descriptors, {} threads",
            peak.descriptors_max, peak.threads_max
        ));
        lines.push(String::new());
        lines.push(self.stop.table());
        lines.push(String::new());
        self.push_left(&mut lines);
        if self.leaks.is_clean() {
            lines.push("leaks: none".to_owned());
        } else {
            lines.push(format!("leaks: {}\n{}", self.leaks.count(), self.leaks.table()));
        }
        lines.push(format!("folder: {}", self.folder.display()));
        lines.join("\n")
    }

    fn push_trading(&self, lines: &mut Vec<String>) {
        let status = &self.status;
        let digest = self.state_digest.as_deref().unwrap_or("none, trading never began");
        lines.push(format!("state digest: {digest}"));
        lines.push(
            "counts, fees and realised P&L are of this run; positions and unrealised P&L are what is held now".into(),
        );
        lines.push(format!("orders: {}", status.orders_total));
        lines.push(format!("denied by risk: {}", status.orders_denied));
        lines.push(format!("rejected by the venue: {}", status.orders_rejected));
        lines.push(format!("fills: {}", status.fills_total));
        lines.push(format!("market events: {}", status.market_events));
        let fees = self.fees.iter().map(|(asset, amount)| format!("{amount} {asset}")).collect::<Vec<_>>().join(", ");
        lines.push(format!("fees: {}", if fees.is_empty() { "none" } else { &fees }));
        self.push_profit(lines);
        lines.extend(self.notices.iter().map(|notice| format!("note: {notice}")));
    }

    fn push_profit(&self, lines: &mut Vec<String>) {
        let status = &self.status;
        let unit = status.quote_asset.map(|asset| format!(" {asset}")).unwrap_or_default();
        let shown = |value: Option<Notional>| value.map_or_else(|| "n/a".to_owned(), money);
        let with_unit = |value: Option<Notional>| value.map_or_else(|| "n/a".to_owned(), |it| money(it) + &unit);
        lines.push(format!("realised P&L before fees: {}", with_unit(Some(status.realized))));
        lines.push(format!("unrealised P&L: {}", with_unit(status.unrealized)));
        let parts = (money(status.realized), shown(status.unrealized), shown(status.fees_valued));
        lines.push(format!(
            "P&L after fees: {} (realised {}, unrealised {}, fees {}; fees in other assets at the last price)",
            with_unit(status.profit_after_fees),
            parts.0,
            parts.1,
            parts.2
        ));
    }

    fn push_latency(&self, lines: &mut Vec<String>) {
        let measured: Vec<_> = self.latency.iter().filter(|line| line.count > 0).collect();
        if measured.is_empty() {
            let why = match self.status.orders_total {
                0 => "n/a, no order was sent",
                _ if self.latency.is_empty() => "not measured on a virtual clock",
                _ => "n/a, no order was answered",
            };
            lines.push(format!("latency: {why}"));
            return;
        }
        let mut rows = vec![["latency", "p50", "p99", "max", "count"].map(str::to_owned).to_vec()];
        rows.extend(measured.iter().map(|line| {
            vec![
                line.stage.clone(),
                shown_ns(line.p50_ns),
                shown_ns(line.p99_ns),
                shown_ns(line.max_ns),
                line.count.to_string(),
            ]
        }));
        lines.push(crate::out::table(&rows).trim_end().to_owned());
    }

    /// Instruments that wait for a person, and positions that nobody manages.
    fn push_held(&self, lines: &mut Vec<String>) {
        let name = |id: keel_model::InstrumentId| {
            self.symbols.get(id.index()).cloned().unwrap_or_else(|| format!("#{}", id.0))
        };
        if !self.status.holds.is_empty() {
            lines.push(format!("held instruments: {}", self.status.holds.len()));
        }
        for hold in &self.status.holds {
            lines.push(format!("  {}: {}; what to do: {}", name(hold.instrument), hold.reason, hold.remedy));
        }
        for position in self.status.positions.iter().filter(|it| !it.unattributed.is_zero()) {
            let quantity = position.unattributed.normalized();
            lines.push(format!(
                "unattributed: {} {quantity}: no strategy of this run manages it",
                name(position.instrument)
            ));
        }
    }

    fn push_left(&self, lines: &mut Vec<String>) {
        let left = &self.left;
        self.push_held(lines);
        for (title, what) in [
            ("still open: orders", &left.orders),
            ("order of unknown state", &left.unknown_orders),
            ("open positions", &left.positions),
            ("position without protection", &left.unprotected),
        ] {
            if !left.is_known {
                lines.push(format!("{title}: not known: the start failed before the account could be looked at"));
                continue;
            }
            if what.is_empty() {
                lines.push(format!("{title}: none"));
                continue;
            }
            lines.push(format!("{title}: {}", what.len()));
            lines.extend(what.iter().map(|line| format!("  {line}")));
        }
    }

    /// Shows it and writes `report.json`, and the same under `reports/`, named after the run's epoch. Returns what went wrong
    /// with the files.
    pub fn publish(&self, is_json: bool, epoch: Option<u32>, now_ns: u64) -> Result<(), String> {
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string());
        if is_json {
            crate::out::note(&self.text());
            crate::out::line(json.as_deref().unwrap_or("null"));
        } else {
            crate::out::line(&self.text());
        }
        let json = json?;
        write_report(&self.folder, &json)?;
        keep_report(&self.folder, &json, epoch, now_ns)
    }

    /// Sets what the exit code is in the end.
    pub fn set_exit(&mut self, status: ExitStatus, errors: usize) {
        self.exit_code = status.code();
        self.errors = errors;
    }
}

/// First beside, then in one step over: a half-written report is never seen.
fn write_report(folder: &Path, json: &str) -> Result<(), String> {
    let (draft, path) = (folder.join("report.json.new"), folder.join("report.json"));
    let written = std::fs::write(&draft, json).and_then(|()| std::fs::rename(&draft, &path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Reports of earlier runs that are kept; the oldest beyond are removed.
const REPORTS_KEPT_MAX: usize = 100;

/// What a run that was killed while it wrote has left; the folder's lock is ours, so nobody else is writing.
fn drop_drafts(reports: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(reports)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "new") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Keeps the report of each run: an account's folder sees many. A run whose journal was never opened has no epoch and is
/// named after its time.
fn keep_report(folder: &Path, json: &str, epoch: Option<u32>, now_ns: u64) -> Result<(), String> {
    let reports = folder.join("reports");
    let failed = |error: std::io::Error| format!("cannot write into {}: {error}", reports.display());
    std::fs::create_dir_all(&reports).map_err(failed)?;
    let name = match epoch {
        Some(epoch) => format!("{epoch:010}.json"),
        None => format!("start-{}.json", super::folder::compact_utc(now_ns)),
    };
    let (draft, path) = (reports.join(format!("{name}.new")), reports.join(name));
    std::fs::write(&draft, json).and_then(|()| std::fs::rename(&draft, &path)).map_err(failed)?;
    drop_drafts(&reports).map_err(failed)?;
    let mut kept: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(&reports)
        .map_err(failed)?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "json"))
        .filter_map(|entry| Some((entry.metadata().and_then(|it| it.modified()).ok()?, entry.path())))
        .collect();
    kept.sort();
    let surplus = kept.len().saturating_sub(REPORTS_KEPT_MAX);
    for (_, path) in kept.iter().take(surplus) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "an old report could not be removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_earlier_runs_are_kept_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for epoch in 1..=u32::try_from(REPORTS_KEPT_MAX).unwrap() + 3 {
            keep_report(dir.path(), &epoch.to_string(), Some(epoch), 0).unwrap();
        }
        let reports = dir.path().join("reports");
        std::fs::write(reports.join("0000000009.json.new"), "half").unwrap();
        keep_report(dir.path(), "failed", None, 1_000_000_000).unwrap();
        assert!(!reports.join("0000000009.json.new").exists(), "the draft of a run that was killed stays");
        assert_eq!(std::fs::read_dir(&reports).unwrap().count(), REPORTS_KEPT_MAX);
        assert_eq!(std::fs::read_to_string(reports.join("0000000103.json")).unwrap(), "103");
        assert_eq!(std::fs::read_to_string(reports.join("start-19700101T000001.000Z.json")).unwrap(), "failed");
        assert!(!reports.join("0000000001.json").exists());
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        let shown: Vec<_> = [0, 999, 1_500, 2_340_000, 1_500_000_000].map(shown_ns).to_vec();
        assert_eq!(shown, ["0 ns", "999 ns", "1.5 us", "2.34 ms", "1.50 s"]);
    }

    #[test]
    fn a_report_is_written_whole_or_the_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        write_report(dir.path(), "{}").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("report.json")).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_report(&dir.path().join("none"), "{}").unwrap_err().contains("report.json"));
    }
}
