//! How a run stands, for `launcher status`: one view, shown as a table or as JSON.

use super::emergency::{Emergency, Latch};
use super::parts::Shared;
use super::{banner, summary};
use crate::out;
use keel_gateway::GateLevel;
use keel_lifecycle::{Clock, StopSignal};
use keel_model::{ExitPolicy, FeedState, StatusSnapshot, StreamKind};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalView {
    /// Records written in this run.
    pub records: u64,
    /// Bytes written in this run.
    pub bytes: u64,
    /// Bytes that wait for the writer.
    pub pending_bytes: usize,
    /// How long the write in progress has been under way; unit: nanoseconds.
    pub stuck_ns: u64,
}

/// Everything an operator asks about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// The bot's process.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// `paper` or `live`.
    pub mode: String,
    /// Name of the account.
    pub account: String,
    /// Where orders go.
    pub venue: String,
    /// What the market is.
    pub market: String,
    /// Folder of the session.
    pub folder: PathBuf,
    /// How long it has run; unit: seconds.
    pub uptime_s: f64,
    /// Has trading begun?
    pub is_started: bool,
    /// What keeps it from beginning.
    pub blocker: Option<String>,
    /// Why it stops, when it does.
    pub stopping: Vec<String>,
    /// What the last gate lets through: `open`, `exits-only` or `shut`.
    pub gate: String,
    /// The latch of an emergency stop.
    pub latch: Option<Latch>,
    /// Symbols by instrument id.
    pub symbols: Vec<String>,
    /// State, orders, positions, holds, streams.
    pub status: StatusSnapshot,
    /// Orders in words.
    pub orders: Vec<String>,
    /// Positions in words.
    pub positions: Vec<String>,
    /// Positions without an order that protects them.
    pub unprotected: Vec<String>,
    /// The journal.
    pub journal: Option<JournalView>,
}

/// How it stands now. Waits for nothing.
pub fn view(shared: &Shared, stop: &StopSignal, clock: &Clock, emergency: &Emergency) -> View {
    let (engine, instruments, venue, journal) = {
        let parts = shared.parts.lock();
        let journal = parts.journal.as_ref().map(keel_store::Journal::status);
        (parts.engine.clone(), parts.instruments.clone(), parts.venue_name.clone(), journal)
    };
    let phase = engine.as_ref().map(keel_gateway::CoordinatorHandle::phase).unwrap_or_default();
    let status = shared.last().status;
    let left = summary::left_open(&status, &instruments);
    View {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: shared.config.mode.to_string(),
        account: shared.config.account.clone(),
        venue: if venue.is_empty() { "not reached yet".to_owned() } else { venue },
        market: banner::market(&shared.config),
        folder: shared.folder.clone(),
        uptime_s: clock.since(shared.began_mono_ns).as_secs_f64(),
        is_started: phase.is_started,
        blocker: phase.blocker.filter(|_| !phase.is_started),
        stopping: stop.reasons().iter().map(ToString::to_string).collect(),
        gate: match shared.gate.level() {
            GateLevel::Open => "open",
            GateLevel::ExitsOnly => "exits-only",
            GateLevel::Shut => "shut",
        }
        .to_owned(),
        latch: emergency.latch(),
        symbols: instruments.iter().map(|known| known.symbol.to_string()).collect(),
        orders: status.open_orders.iter().map(|order| summary::order_line(order, &instruments)).collect(),
        positions: left.positions,
        unprotected: left.unprotected,
        journal: journal.map(|it| JournalView {
            records: it.records,
            bytes: it.bytes,
            pending_bytes: it.pending_bytes,
            stuck_ns: it.stuck_ns,
        }),
        status,
    }
}

impl View {
    fn symbol(&self, id: keel_model::InstrumentId) -> String {
        self.symbols.get(id.index()).cloned().unwrap_or_else(|| format!("instrument {}", id.0))
    }

    /// What it does now, in one word and a reason.
    fn state(&self) -> String {
        if !self.stopping.is_empty() {
            return format!("stopping: {}", self.stopping.join("; then "));
        }
        if let Some(latch) = &self.latch {
            return format!("HALTED by {}", latch.words());
        }
        if self.status.operator.is_emergency {
            return "HALTED: an emergency stop is latched; `launcher rearm` lifts it".to_owned();
        }
        if !self.is_started {
            let why = self.blocker.as_deref().unwrap_or("the venue is not reached yet");
            return format!("starting: {why}");
        }
        let state = banner::state(self.status.trading_state);
        match (self.status.operator.is_reduce_only, self.status.operator.is_paused) {
            (true, _) => format!("{state}, reduce-only: `launcher resume` ends it"),
            (false, true) => format!("{state}, paused: `launcher resume` ends it"),
            (false, false) => state.to_owned(),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut rows = vec![vec!["what".to_owned(), "value".to_owned()]];
        let mut add = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
        add("state", self.state());
        add("process", format!("pid {}, version {}, up {:.0} s", self.pid, self.version, self.uptime_s));
        add("mode", format!("{}, account {}, venue {}, market {}", self.mode, self.account, self.venue, self.market));
        add("gate", self.gate.clone());
        let status = &self.status;
        add(
            "orders",
            format!(
                "{} sent, {} denied by risk, {} rejected by the venue, {} fills",
                status.orders_total, status.orders_denied, status.orders_rejected, status.fills_total
            ),
        );
        let unit = status.quote_asset.map(|asset| format!(" {asset}")).unwrap_or_default();
        let profit = status.profit_after_fees.map_or_else(|| "n/a".to_owned(), |it| summary::money(it) + &unit);
        add("P&L after fees", profit);
        if let Some(journal) = &self.journal {
            let stuck = if journal.stuck_ns > 1_000_000_000 { ", its disk does not answer" } else { "" };
            let (records, bytes, pending) = (journal.records, journal.bytes, journal.pending_bytes);
            add("journal", format!("{records} records, {bytes} bytes in this run, {pending} bytes wait{stuck}"));
        }
        for stream in &status.operator.streams {
            let name = match stream.stream {
                StreamKind::Account => "account".to_owned(),
                StreamKind::Market(id) => self.symbol(id),
            };
            let state = match stream.state {
                FeedState::Live => "live",
                FeedState::Stale => "STALE",
                FeedState::Resyncing => "resyncing",
                FeedState::Down => "DOWN",
            };
            add(&format!("stream {name}"), state.to_owned());
        }
        if let Some(wind) = &status.operator.winding {
            let left = super::control::winding_words(wind);
            let what = if wind.policy == ExitPolicy::Flatten { "flatten" } else { banner::exit_name(wind.policy) };
            add(
                "winding",
                if left.is_empty() { format!("{what}: done") } else { format!("{what}: {}", left.join("; ")) },
            );
        }
        out::table(&rows) + &self.lists()
    }

    /// What there may be several of, each under a title.
    fn lists(&self) -> String {
        let status = &self.status;
        let mut text = String::new();
        let holds: Vec<String> = status
            .holds
            .iter()
            .map(|hold| format!("{}: {}; {}", self.symbol(hold.instrument), hold.reason, hold.remedy))
            .collect();
        let guards: Vec<String> = status
            .guards
            .iter()
            .map(|guard| {
                let scope = match guard.scope {
                    keel_model::RiskScope::Instrument(id) => self.symbol(id),
                    scope => scope.to_string(),
                };
                let until = if guard.until.is_none() { "; `launcher rearm` ends it" } else { "" };
                format!("{} on {scope}: {}{until}", guard.name, guard.state)
            })
            .collect();
        for (title, lines) in [
            ("open orders", &self.orders),
            ("positions", &self.positions),
            ("position without protection", &self.unprotected),
            ("held instruments", &holds),
            ("breakers, kill switches and locks", &guards),
        ] {
            match lines.as_slice() {
                [] => text.push_str(&format!("{title}: none\n")),
                lines => text.push_str(&format!("{title}: {}\n  {}\n", lines.len(), lines.join("\n  "))),
            }
        }
        text
    }
}
