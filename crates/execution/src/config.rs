//! Time limits, schedules and bounds of the order manager. Each has its unit in its name.

use serde::{Deserialize, Serialize};

/// What resolves an order of unknown outcome that the venue says it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownRule {
    /// "Not found" proves non-acceptance once the venue's own clock has passed signed timestamp + receive window + bound.
    Fence {
        /// How far queries may lag behind acceptance; unit: milliseconds.
        staleness_bound_ms: u64,
        /// The same while the venue answers 5xx; unit: milliseconds.
        staleness_bound_degraded_ms: u64,
    },
    /// Nothing proves it: the order stays unknown until the venue's books or a person say.
    Hold,
}

/// Configuration of the order manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionConfig {
    /// Which bot; orders with another number are foreign.
    pub instance: u32,
    /// Which start of it.
    pub epoch: u32,
    /// What resolves unknown outcomes.
    pub unknown_rule: UnknownRule,
    /// Receive window assumed where the signed one is not known (after a restart); unit: milliseconds.
    pub recv_window_ms: u64,
    /// No answer to a placement for this long makes it unknown; unit: milliseconds.
    pub answer_timeout_ms: u64,
    /// First question after an outcome became unknown; unit: milliseconds.
    pub query_first_ms: u64,
    /// Longest pause between two questions; unit: milliseconds.
    pub query_pause_ms_max: u64,
    /// A question without an answer for this long is asked again; unit: milliseconds.
    pub query_timeout_ms: u64,
    /// Pause before a cancel of unknown outcome is sent again, doubled each time up to `query_pause_ms_max`; unit: milliseconds.
    pub cancel_retry_ms: u64,
    /// An entry order that is still open after this time is cancelled; `None` means never; unit: milliseconds.
    pub unfilled_timeout_ms: Option<u64>,
    /// An exit order that is not a market order and is still open after this time is cancelled; `None` means never; unit:
    /// milliseconds.
    #[serde(default)]
    pub exit_timeout_ms: Option<u64>,
    /// How far before an order's birth its trades are asked for, against clocks that differ; unit: milliseconds.
    pub fills_overlap_ms: u64,
    /// Unresolved for longer than this raises an alarm, once per order; unit: milliseconds.
    pub stuck_alarm_ms: u64,
    /// Closed orders stay in memory for this long; unit: milliseconds.
    pub retention_ms: u64,
    /// Most closed orders in memory; the oldest leave first.
    pub closed_orders_max: usize,
    /// Most trade ids in memory; the oldest leave first.
    pub trade_ids_max: usize,
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self {
            instance: 0,
            epoch: 1,
            unknown_rule: UnknownRule::Fence { staleness_bound_ms: 10_000, staleness_bound_degraded_ms: 60_000 },
            recv_window_ms: 5_000,
            answer_timeout_ms: 10_000,
            query_first_ms: 50,
            query_pause_ms_max: 2_000,
            query_timeout_ms: 5_000,
            cancel_retry_ms: 200,
            unfilled_timeout_ms: None,
            exit_timeout_ms: None,
            fills_overlap_ms: 10_000,
            stuck_alarm_ms: 30_000,
            retention_ms: 24 * 3_600_000,
            closed_orders_max: 10_000,
            trade_ids_max: 100_000,
        }
    }
}

/// Why a configuration is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Outside its range.
    #[error("{name} must be within {min}..={max}, it is {value}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Least value.
        min: u64,
        /// Largest value.
        max: u64,
    },
}

impl ExecutionConfig {
    /// Checks each setting against its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const HOUR_MS: u64 = 3_600_000;
        let range = |name, value, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError::OutOfRange { name, value, min, max }) }
        };
        if let UnknownRule::Fence { staleness_bound_ms, staleness_bound_degraded_ms } = self.unknown_rule {
            range("staleness_bound_ms", staleness_bound_ms, 1, HOUR_MS)?;
            range("staleness_bound_degraded_ms", staleness_bound_degraded_ms, staleness_bound_ms, HOUR_MS)?;
        }
        range("recv_window_ms", self.recv_window_ms, 1, 60_000)?;
        range("answer_timeout_ms", self.answer_timeout_ms, 100, HOUR_MS)?;
        range("query_first_ms", self.query_first_ms, 1, 60_000)?;
        range("query_pause_ms_max", self.query_pause_ms_max, self.query_first_ms, HOUR_MS)?;
        range("query_timeout_ms", self.query_timeout_ms, 10, HOUR_MS)?;
        range("cancel_retry_ms", self.cancel_retry_ms, 1, HOUR_MS)?;
        range("unfilled_timeout_ms", self.unfilled_timeout_ms.unwrap_or(1), 1, 365 * 24 * HOUR_MS)?;
        range("exit_timeout_ms", self.exit_timeout_ms.unwrap_or(1), 1, 365 * 24 * HOUR_MS)?;
        range("fills_overlap_ms", self.fills_overlap_ms, 0, HOUR_MS)?;
        range("stuck_alarm_ms", self.stuck_alarm_ms, 1, 24 * HOUR_MS)?;
        range("retention_ms", self.retention_ms, 60_000, 365 * 24 * HOUR_MS)?;
        range("closed_orders_max", self.closed_orders_max as u64, 16, 10_000_000)?;
        range("trade_ids_max", self.trade_ids_max as u64, 1_024, 100_000_000)
    }
}
