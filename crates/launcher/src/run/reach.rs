//! One question to the configured venue, without an account: does it answer, and how far is its clock from ours?

use super::market;
use crate::cli::Common;
use crate::config::{Config, Mode, Venue};
use crate::error::LaunchError;
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use std::sync::Arc;

/// What the venue answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// What people call it.
    pub name: String,
    /// Its time less ours; unit: milliseconds.
    pub offset_ms: f64,
    /// How long the answer took; unit: milliseconds.
    pub trip_ms: f64,
}

/// Asks. `None` when the venue is inside the process, so that there is nothing to reach; the inner error is the venue's.
pub fn ask(common: &Common, mut config: Config) -> Result<Option<Result<Reached, String>>, LaunchError> {
    if matches!(config.venue, Venue::Embedded) {
        return Ok(None);
    }
    // Public questions only: no keys, whatever the mode.
    config.mode = Mode::Paper;
    let found: Arc<Mutex<Option<Result<Reached, String>>>> = Arc::default();
    let told = found.clone();
    let _status = super::ask::under_lifecycle(
        common,
        config,
        Clock::system(),
        "the question",
        move |context, shared| async move {
            let access = market::open(&context, &shared, None).await?;
            let client = access.client();
            shared.parts.lock().clients.push(client.clone());
            let began = context.clock.mono_ns();
            let answer = client.server_time().await;
            let trip_ms = context.clock.since(began).as_secs_f64() * 1e3;
            let (offset_ns, _) = access.clock_offset_ns().unwrap_or_default();
            let reached = Reached { name: access.name.clone(), offset_ms: offset_ns as f64 / 1e6, trip_ms };
            *told.lock() = Some(answer.map(|_| reached).map_err(|error| error.to_string()));
            Ok(())
        },
    )?;
    let found = found.lock().take();
    Ok(Some(found.unwrap_or_else(|| Err("the question was cut short".to_owned()))))
}
