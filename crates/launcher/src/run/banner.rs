//! What people see while it runs: the banner at the start and a heartbeat line.

use crate::config::{Config, Mode, Venue};
use keel_lifecycle::ResourcePeak;
use keel_model::StatusSnapshot;
use std::path::Path;
use std::time::Duration;

/// What the market is, said plainly.
#[must_use]
pub fn market(config: &Config) -> String {
    match (&config.replay, &config.venue, config.mode) {
        (Some(replay), ..) => format!("recording {} at {}", replay.file.display(), replay.speed),
        (None, Venue::Embedded, _) => format!("synthetic, seed {}: its profit and loss mean nothing", config.seed),
        (None, Venue::Remote(it), _) if it.is_simulated => {
            "of a simulated venue: its profit and loss mean nothing".to_owned()
        }
        (None, Venue::Remote(_), Mode::Paper) => "real public data, simulated fills".to_owned(),
        (None, Venue::Remote(_), Mode::Live) => "real".to_owned(),
    }
}

/// The lines at the start.
#[must_use]
pub fn banner(config: &Config, venue: &str, symbols: &[String], folder: &Path) -> String {
    let money = match (config.mode, &config.venue) {
        (Mode::Paper, _) => "paper (play money)".to_owned(),
        (Mode::Live, Venue::Remote(it)) if it.is_simulated => {
            format!("live, on a simulated venue, account {}", config.account)
        }
        (Mode::Live, _) => format!("LIVE, REAL MONEY, account {}", config.account),
    };
    let risk = &config.risk;
    let duration = config.duration.map_or_else(|| "until stopped".to_owned(), |it| format!("{} s", it.as_secs_f64()));
    [
        format!("keel launcher {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id()),
        format!("mode: {money}"),
        format!("venue: {venue}; market: {}", market(config)),
        format!("instruments: {}", symbols.join(", ")),
        format!("strategies: {}", config.strategies.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")),
        format!(
            "limits: order {}, position {}, {} open orders, {} orders a second, {} bps from the market, daily loss {}",
            risk.order_notional_max,
            risk.position_notional_max,
            risk.open_orders_max,
            risk.orders_per_s_max,
            risk.price_collar_bps,
            risk.daily_loss_max
        ),
        format!("duration: {duration}; at exit: {}", exit_name(config.on_exit)),
        format!("data: {}", folder.display()),
    ]
    .join("\n")
}

/// The policy in the words of the command line.
#[must_use]
pub const fn exit_name(policy: keel_model::ExitPolicy) -> &'static str {
    match policy {
        keel_model::ExitPolicy::CancelEntries => "cancel-entries",
        keel_model::ExitPolicy::CancelAll => "cancel-all",
        keel_model::ExitPolicy::Keep => "keep",
        keel_model::ExitPolicy::Flatten => "flatten",
    }
}

/// What risk allows, in a word.
#[must_use]
pub const fn state(state: keel_model::TradingState) -> &'static str {
    match state {
        keel_model::TradingState::Active => "active",
        keel_model::TradingState::Reducing => "reducing",
        keel_model::TradingState::Halted => "halted",
    }
}

/// One line of life.
#[must_use]
pub fn heartbeat(after: Duration, status: &StatusSnapshot, peak: &ResourcePeak) -> String {
    let unit = status.quote_asset.map(|asset| format!(" {asset}")).unwrap_or_default();
    format!(
        "heartbeat: {:.0} s, {:?}, orders {} (open {}, denied {}, rejected {}), fills {}, realised {}{unit}, market events {}, {:.1} MiB at most",
        after.as_secs_f64(),
        status.trading_state,
        status.orders_total,
        status.open_orders.len(),
        status.orders_denied,
        status.orders_rejected,
        status.fills_total,
        status.realized,
        status.market_events,
        peak.rss_bytes_max as f64 / f64::from(1 << 20),
    )
}
