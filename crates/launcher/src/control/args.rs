//! Flags of the verbs that steer a running bot.

use crate::cli::parse_duration;
use clap::Args;
use std::time::Duration;

/// Waits without `--timeout`, by what has to confirm; unit: seconds.
pub const ENGINE_S: u64 = 10;
/// The venue, about orders.
pub const VENUE_S: u64 = 15;
/// The venue, about orders and positions.
pub const FLATTEN_S: u64 = 60;
/// The end of the process.
pub const STOP_S: u64 = 60;

/// How long to wait for confirmation.
#[derive(Clone, Debug, Default, Args)]
pub struct WaitArgs {
    /// How long to wait for confirmation: seconds, or 90s, 15m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
    /// Hand it over and do not wait; the exit code is 0 only if it is confirmed by then
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
}

impl WaitArgs {
    /// The wait, or the default of the verb.
    #[must_use]
    pub fn limit(&self, default_s: u64) -> Duration {
        if self.no_wait { Duration::ZERO } else { self.timeout.unwrap_or(Duration::from_secs(default_s)) }
    }
}

/// Flags of `stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Hurry: optional steps are cut; orders are still cancelled, the journal is still flushed
    #[arg(long)]
    pub force: bool,
}

/// Flags of `cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    /// Client order id, as `status` shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub order: Option<String>,
    /// Every order of ours
    #[arg(long)]
    pub all: bool,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `flatten`.
#[derive(Clone, Debug, Args)]
pub struct FlattenArgs {
    /// Only this instrument [default: all]
    pub instrument: Option<String>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `emergency-stop`.
#[derive(Clone, Debug, Args)]
pub struct EmergencyArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// A reason is words, not nothing.
fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason must say something; it is kept for the record".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Flags of `rearm`.
#[derive(Clone, Debug, Args)]
pub struct RearmArgs {
    /// Why it may go on, for the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `release`.
#[derive(Clone, Debug, Args)]
pub struct ReleaseArgs {
    /// Which instrument
    pub instrument: String,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `settle`.
#[derive(Clone, Debug, Args)]
pub struct SettleArgs {
    /// Client order id, as `status` shows it
    pub order: String,
    /// What it filled in all, as the venue's order history says, or `never-accepted`
    #[arg(long, value_name = "QUANTITY")]
    pub filled: String,
    /// Average price of what we have not booked
    #[arg(long, value_name = "PRICE")]
    pub price: Option<String>,
    /// Where no bot runs: write it into the journal; without this it is only said what would be written
    #[arg(long)]
    pub confirm: bool,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}
