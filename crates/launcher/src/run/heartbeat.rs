//! A line of life each so often, from the control thread, so that it also comes while trading is blocked.

use super::banner;
use super::parts::{Shared, control_group};
use crate::out;
use keel_gateway::CoordinatorHandle;
use keel_lifecycle::{RunContext, TaskKind};
use std::time::Duration;

/// On a terminal the first line comes sooner.
const FIRST_ON_TERMINAL: Duration = Duration::from_secs(10);

/// Starts the line.
pub fn spawn(context: &RunContext, shared: &Shared, engine: CoordinatorHandle) {
    let (clock, monitor) = (context.clock.clone(), context.monitor.clone());
    let (interval, began) = (shared.config.heartbeat, shared.began_mono_ns);
    let first = if out::is_terminal() { FIRST_ON_TERMINAL.min(interval) } else { interval };
    control_group(context).spawn_with("heartbeat", TaskKind::Background, |token| async move {
        let mut wait = first;
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = interval;
            drop(monitor.sample());
            out::note(&banner::heartbeat(clock.since(began), &engine.status(), &monitor.peak()));
        }
    });
}
