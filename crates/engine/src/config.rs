//! Configuration and why an engine cannot be made.

use keel_execution::{ConfigError, ExecutionConfig, Timeouts};
use keel_marketdata::BarError;
use keel_model::Instruments;
use keel_risk::{RiskError, RiskLimits};

/// Everything an engine needs to know before its first event.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Instruments of the run.
    pub instruments: Instruments,
    /// Limits.
    pub limits: RiskLimits,
    /// Order manager; carries instance and epoch.
    pub execution: ExecutionConfig,
    /// Has the venue a cancel-replace in one request? Else a replacement is a cancel and a placement.
    pub has_replace: bool,
    /// Open orders and balances are compared with the venue this often; zero means only when a stream comes back; unit: milliseconds.
    pub reconcile_interval_ms: u64,
    /// A question of a reconciliation without an answer is asked again after this time; unit: milliseconds.
    pub reconcile_timeout_ms: u64,
    /// Does an order or a fill of somebody else on this account hold the instrument? It is told in any case, and left alone.
    pub holds_on_foreign: bool,
    /// How long orders may work without filling, by strategy; a strategy without an entry takes the limits of `execution`.
    pub timeouts: Vec<Timeouts>,
    /// After so many exits in a row that did not fill in time, what is left is closed at the market; zero means never.
    pub exit_timeouts_max: u32,
    /// Where neither quotes nor depth are known, is the last trade the price to go by? For data that is trades alone.
    pub has_trade_prices: bool,
    /// How often closing a position at the end is tried per instrument.
    pub flatten_attempts_max: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            instruments: Instruments::new(),
            limits: RiskLimits::default(),
            execution: ExecutionConfig::default(),
            has_replace: false,
            reconcile_interval_ms: 30_000,
            reconcile_timeout_ms: 10_000,
            holds_on_foreign: false,
            timeouts: Vec::new(),
            exit_timeouts_max: 0,
            has_trade_prices: false,
            flatten_attempts_max: 5,
        }
    }
}

/// Why an engine cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Limits or instruments.
    #[error("risk: {0}")]
    Risk(#[from] RiskError),
    /// Order manager.
    #[error("execution: {0}")]
    Execution(#[from] ConfigError),
    /// More strategies than can be numbered.
    #[error("more than {max} strategies in one engine")]
    TooManyStrategies {
        /// The most.
        max: usize,
    },
    /// A strategy subscribes to an instrument that the run does not know.
    #[error("strategy {strategy} subscribes to an instrument that this run does not know")]
    UnknownInstrument {
        /// Its name.
        strategy: String,
    },
    /// A strategy asks for bars that cannot be built.
    #[error("strategy {strategy}: {error}")]
    Bars {
        /// Its name.
        strategy: String,
        /// Why not.
        error: BarError,
    },
}
