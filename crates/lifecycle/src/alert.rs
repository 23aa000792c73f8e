//! Alerts: what a person or a sink should know of, fanned out without ever blocking the one who raises them.

use serde::Serialize;
use tokio::sync::broadcast;

/// Most alerts that wait for a slow listener; older ones are lost to it, and it is told how many.
const WAITING_MAX: usize = 256;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Error,
    /// It cannot go on like this.
    Critical,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, for machines, such as `descriptors` or `runtime_blocked`.
    pub kind: &'static str,
    /// What has happened and what to do, for people.
    pub message: String,
    /// When, unix nanoseconds.
    pub ts_ns: u64,
}

/// Where alerts are raised and listened to. Clones share it.
#[derive(Clone, Debug)]
pub struct AlertHub {
    sender: broadcast::Sender<Alert>,
}

impl Default for AlertHub {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(WAITING_MAX) }
    }
}

impl AlertHub {
    /// Raises an alert: it is logged and handed to every listener.
    pub fn raise(&self, alert: Alert) {
        match alert.severity {
            Severity::Info => tracing::info!(kind = alert.kind, alert = alert.message),
            Severity::Warning => tracing::warn!(kind = alert.kind, alert = alert.message),
            Severity::Error | Severity::Critical => tracing::error!(kind = alert.kind, alert = alert.message),
        }
        // Having no listener is fine: the log has it.
        drop(self.sender.send(alert));
    }

    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Alert> {
        self.sender.subscribe()
    }
}
