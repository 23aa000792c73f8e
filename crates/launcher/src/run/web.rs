//! The observability server of a run: what it shows, and its wiring to the control thread.
//!
//! Nothing here waits: every answer is made of what the engine, the journal and the monitor have published.

use super::control::Desk;
use super::emergency::Emergency;
use super::figures::Figures;
use super::parts::{Shared, groups};
use super::{recent::Recent, status};
use crate::error::LaunchError;
use crate::{logs, out};
use keel_lifecycle::{Clock, LeaseKind, Lifecycle, ProcessSample, StopSignal, TaskKind};
use keel_model::{FeedState, StreamKind, TradingState};
use keel_observe::{
    Access, Event, Exposition, Health, MetricKind, ObserveError, ObserveServer, Query, ServerLimits, Sight, Topic,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// The page, with its script and style inside.
const PAGE: &str = include_str!("web/page.html");
/// How often profit and counts are taken.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How much of the log's end is read; unit: bytes.
const LOG_BYTES_MAX: u64 = 512 << 10;

/// What the server shows.
struct Window {
    shared: Shared,
    recent: Arc<Recent>,
    stop: StopSignal,
    clock: Clock,
    emergency: Emergency,
    figures: Figures,
    logs: PathBuf,
}

/// Binds the server and starts to answer, when the configuration asks for one.
pub fn spawn(lifecycle: &Lifecycle, shared: &Shared, emergency: &Emergency, desk: Desk) -> Result<(), LaunchError> {
    let (Some(address), Some(recent)) = (shared.config.observe, shared.recent.clone()) else { return Ok(()) };
    let failed = |error: ObserveError| LaunchError::start("observability server", error);
    let supervisor = lifecycle.supervisor();
    let (access, fresh) = Access::open(&shared.config.data_dir, supervisor.clock()).map_err(failed)?;
    let server = ObserveServer::bind(address, &supervisor.ledger(), ServerLimits::default()).map_err(failed)?;
    let tokens = shared.config.data_dir.join("api");
    let made = if fresh.is_empty() { "tokens" } else { "new tokens" };
    out::note(&format!("observability: http://{}/ ({made} in {}/*.token)", server.address(), tokens.display()));
    let window = Arc::new(Window {
        shared: shared.clone(),
        recent: recent.clone(),
        stop: lifecycle.stop_signal(),
        clock: supervisor.clock(),
        emergency: emergency.clone(),
        figures: Figures::of(lifecycle),
        logs: shared.config.data_dir.join("logs"),
    });
    let beside = supervisor.group(groups::BESIDE).on(lifecycle.control().handle());
    let sight = window.clone();
    let serving = beside.spawn_with("observability", TaskKind::Background, |token| {
        server.run(sight, Arc::new(desk), access, PAGE, token)
    });
    drop(serving);
    let mut alerts = lifecycle.alerts().subscribe();
    let sampling = beside.spawn_with("observability-samples", TaskKind::Background, |token| async move {
        let mut tick = tokio::time::interval(SAMPLE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                Ok(alert) = alerts.recv() => window.recent.raise(&alert),
                _ = tick.tick() => window.recent.sample(window.clock.now_ns(), &window.shared.status()),
            }
        }
    });
    drop(sampling);
    Ok(())
}

impl Window {
    fn view(&self) -> status::View {
        status::view(&self.shared, &self.stop, &self.clock, &self.emergency)
    }

    /// S1-050, in its words, with the alerts that are kept here.
    fn report(&self) -> Value {
        let mut report = self.figures.report();
        report.insert("alert_history_count".to_owned(), self.recent.alerts_total().into());
        report.insert("recent_alerts".to_owned(), self.recent.alerts(10));
        Value::Object(report)
    }

    fn risk(&self, view: &status::View) -> Value {
        let limits: Vec<&Value> = match self.shared.effective.as_ref() {
            Value::Array(keys) => keys.iter().filter(|key| is_limit(key)).collect(),
            _ => Vec::new(),
        };
        json!({
            "trading_state": view.status.trading_state,
            "guards": view.status.guards,
            "holds": view.status.holds,
            "operator": view.status.operator,
            "emergency": view.status.emergency,
            "limits": limits,
        })
    }

    fn streams(&self, view: &status::View) -> Value {
        let engine = self.shared.engine();
        let lanes = engine.as_ref().map(keel_gateway::CoordinatorHandle::lanes);
        let latency = engine.as_ref().map(|engine| engine.latency().stages.map(|stage| json!({
            "stage": stage.name, "count": stage.count, "p50_ns": stage.p50_ns, "p99_ns": stage.p99_ns, "max_ns": stage.max_ns,
        })));
        json!({
            "streams": view.status.operator.streams.iter().map(|it| json!({
                "stream": name(it.stream, &view.symbols), "state": it.state,
            })).collect::<Vec<_>>(),
            "lanes": lanes.map(|it| json!({
                "execution": it.execution, "command": it.command, "market": it.market, "trades_lost": it.trades_lost,
                "conflated": it.conflated, "execution_lost": it.execution_lost,
            })),
            "latency": latency,
            "market_events": view.status.market_events,
        })
    }

    fn trading_metrics(&self, view: &status::View, out: &mut Exposition) {
        let status = &view.status;
        let symbol = |id: keel_model::InstrumentId| view.symbols.get(id.index()).map_or("?", String::as_str);
        out.family("keel_started", MetricKind::Gauge, "1 once trading has begun.").sample(&[], flag(view.is_started));
        out.family("keel_stopping", MetricKind::Gauge, "1 while it stops.")
            .sample(&[], flag(!view.stopping.is_empty()));
        out.family("keel_trading_state", MetricKind::Gauge, "1 for the state that risk allows.");
        for state in [TradingState::Active, TradingState::Reducing, TradingState::Halted] {
            let label = serde_json::to_value(state).unwrap_or_default();
            out.sample(&[("state", label.as_str().unwrap_or_default())], flag(state == status.trading_state));
        }
        for (name, help, value) in [
            ("keel_orders_total", "Orders sent in this run.", status.orders_total),
            ("keel_orders_denied_total", "Orders refused by risk.", status.orders_denied),
            ("keel_orders_rejected_total", "Orders refused by the venue.", status.orders_rejected),
            ("keel_fills_total", "Fills applied.", status.fills_total),
            ("keel_market_events_total", "Market events processed.", status.market_events),
            ("keel_alerts_total", "Alerts raised.", self.recent.alerts_total()),
        ] {
            out.family(name, MetricKind::Counter, help).sample(&[], value as f64);
        }
        out.family("keel_open_orders", MetricKind::Gauge, "Orders that are not terminal.")
            .sample(&[], status.open_orders.len() as f64);
        out.family("keel_position", MetricKind::Gauge, "Signed position, base asset.");
        for held in &status.positions {
            out.sample(&[("symbol", symbol(held.instrument))], held.quantity.to_f64());
        }
        out.family("keel_balance", MetricKind::Gauge, "Balance, free and locked.");
        for balance in &status.balances {
            if let Ok(total) = balance.total() {
                out.sample(&[("asset", balance.asset.as_str())], total.to_f64());
            }
        }
        let quote = status.quote_asset.map(|asset| asset.to_string()).unwrap_or_default();
        out.family("keel_profit_after_fees", MetricKind::Gauge, "Profit less fees, quote asset.");
        if let Some(profit) = status.profit_after_fees {
            out.sample(&[("asset", &quote)], profit.to_f64());
        }
        out.family("keel_holds", MetricKind::Gauge, "Instruments held until a person looks.")
            .sample(&[], status.holds.len() as f64);
        out.family("keel_stream_live", MetricKind::Gauge, "1 while the stream's data is current.");
        for stream in &status.operator.streams {
            let name = name(stream.stream, &view.symbols);
            out.sample(&[("stream", &name)], flag(stream.state == FeedState::Live));
        }
    }

    fn machine_metrics(&self, view: &status::View, out: &mut Exposition) {
        if let Some(engine) = self.shared.engine() {
            let lanes = engine.lanes();
            out.family("keel_lane_waiting", MetricKind::Gauge, "Events that wait for the engine.");
            for (lane, count) in [("execution", lanes.execution), ("command", lanes.command), ("market", lanes.market)]
            {
                out.sample(&[("lane", lane)], count as f64);
            }
            out.family("keel_trades_lost_total", MetricKind::Counter, "Public trades shed at a full lane.")
                .sample(&[], lanes.trades_lost as f64);
            out.family("keel_order_stage_seconds", MetricKind::Histogram, "The way of an order, stage by stage.");
            for stage in engine.latency_buckets() {
                out.histogram(&[("stage", stage.name)], &stage.buckets, stage.sum_s, stage.count);
            }
        }
        if let Some(journal) = &view.journal {
            out.family("keel_journal_records_total", MetricKind::Counter, "Records written in this run.")
                .sample(&[], journal.records as f64);
            out.family("keel_journal_pending_bytes", MetricKind::Gauge, "Bytes that wait for the writer.")
                .sample(&[], journal.pending_bytes as f64);
        }
        out.family("keel_leases", MetricKind::Gauge, "Resources held, by kind.");
        for kind in LeaseKind::ALL {
            let label = serde_json::to_value(kind).unwrap_or_default();
            out.sample(&[("kind", label.as_str().unwrap_or_default())], self.figures.leases(kind) as f64);
        }
        out.family("keel_tasks", MetricKind::Gauge, "Tasks that run.").sample(&[], self.figures.tasks() as f64);
        let Ok(sample) = ProcessSample::take(&self.clock) else { return };
        out.family("process_resident_memory_bytes", MetricKind::Gauge, "Resident memory.")
            .sample(&[], sample.rss_bytes as f64);
        out.family("process_open_fds", MetricKind::Gauge, "Open descriptors.")
            .sample(&[], sample.descriptors.total() as f64);
        out.family("process_max_fds", MetricKind::Gauge, "Soft limit of descriptors.")
            .sample(&[], sample.descriptors_max as f64);
        out.family("process_threads", MetricKind::Gauge, "Threads.").sample(&[], sample.threads as f64);
    }
}

const fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn is_limit(key: &Value) -> bool {
    key.get("key")
        .and_then(Value::as_str)
        .is_some_and(|key| key.starts_with("risk.") || key.starts_with("protections."))
}

fn name(stream: StreamKind, symbols: &[String]) -> String {
    match stream {
        StreamKind::Account => "account".to_owned(),
        StreamKind::Market(id) => symbols.get(id.index()).cloned().unwrap_or_else(|| format!("instrument {}", id.0)),
    }
}

impl Sight for Window {
    fn health(&self) -> Health {
        let view = self.view();
        let is_stopping = !view.stopping.is_empty();
        let engine = self.shared.engine();
        let has_ended = engine.as_ref().is_some_and(|engine| engine.phase().has_ended);
        let mut why: Vec<String> = view.stopping.iter().map(|reason| format!("it stops: {reason}")).collect();
        if let Some(blocker) = &view.blocker {
            why.push(blocker.clone());
        }
        if let Some(latch) = &view.latch {
            why.push(format!("halted by {}", latch.words()));
        }
        Health {
            is_live: !has_ended || is_stopping,
            is_ready: view.is_started && !is_stopping && view.latch.is_none(),
            is_started: view.is_started,
            why,
        }
    }

    fn see(&self, topic: Topic, query: Query) -> Option<Value> {
        let limit = query.limit.unwrap_or(usize::MAX);
        let first = |value: &[Value]| Value::Array(value.iter().take(limit).cloned().collect());
        let list = |value: Value| first(value.as_array().map_or(&[], Vec::as_slice));
        let view = self.view();
        Some(match topic {
            Topic::Report => self.report(),
            Topic::Status => serde_json::to_value(&view).ok()?,
            Topic::Orders => list(serde_json::to_value(&view.status.open_orders).ok()?),
            Topic::Fills => self.recent.fills(limit),
            Topic::Positions => list(serde_json::to_value(&view.status.positions).ok()?),
            Topic::Balances => list(serde_json::to_value(&view.status.balances).ok()?),
            Topic::Risk => self.risk(&view),
            Topic::Streams => self.streams(&view),
            Topic::Resources => self.figures.resources(),
            Topic::Journal => serde_json::to_value(view.journal?).ok()?,
            Topic::Config => self.shared.effective.as_ref().clone(),
            Topic::Logs => Value::Array(logs::tail(&self.logs, limit, LOG_BYTES_MAX).ok()?.lines),
            Topic::Equity => self.recent.equity(),
            Topic::Alerts => self.recent.alerts(limit),
        })
    }

    fn measure(&self, out: &mut Exposition) {
        let view = self.view();
        let version = [("version", env!("CARGO_PKG_VERSION")), ("mode", view.mode.as_str())];
        out.family("keel_info", MetricKind::Gauge, "1, with what runs.").sample(&version, 1.0);
        out.family("keel_uptime_seconds", MetricKind::Gauge, "Since the start.").sample(&[], view.uptime_s);
        self.trading_metrics(&view, out);
        self.machine_metrics(&view, out);
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.recent.subscribe()
    }
}
