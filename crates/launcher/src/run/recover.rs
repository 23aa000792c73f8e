//! From the journal to an engine that knows what earlier runs left, and the snapshots that keep that short.

use super::parts::Shared;
use super::start::engine_config;
use super::strategies;
use super::venue::off_runtime;
use crate::error::LaunchError;
use keel_engine::{Engine, EngineConfig};
use keel_exchange::Capabilities;
use keel_gateway::{ReplayOptions, Snapshots, SnapshotsParts, replay_journal};
use keel_lifecycle::RunContext;
use keel_model::Instruments;
use keel_store::{Journal, Recovered};
use std::sync::Arc;

/// The thread that replays the journal; the stop waits for it.
pub const REPLAY_JOURNAL: &str = "replay-journal";

/// What makes engines of this run: one that trades, and books for snapshots.
#[derive(Clone, Debug)]
pub struct EngineMaker {
    shared: Shared,
    instruments: Arc<Instruments>,
    config: EngineConfig,
}

impl EngineMaker {
    /// For this run.
    #[must_use]
    pub fn new(
        shared: &Shared,
        instruments: &Arc<Instruments>,
        capabilities: &Capabilities,
        recovered: &Recovered,
    ) -> Self {
        let config = engine_config(&shared.config, instruments, capabilities, recovered.instance, recovered.epoch);
        Self { shared: shared.clone(), instruments: instruments.clone(), config }
    }

    /// Configuration of the order machine.
    #[must_use]
    pub const fn execution(&self) -> keel_execution::ExecutionConfig {
        self.config.execution
    }

    fn make(&self) -> Result<Engine, String> {
        let strategies =
            strategies::build(&self.shared.config, &self.instruments).map_err(|error| error.to_string())?;
        Engine::new(self.config.clone(), strategies).map_err(|error| error.to_string())
    }
}

/// Replays the journal into a fresh engine, on a thread of its own.
pub async fn replay(
    context: &RunContext,
    journal: &Journal,
    recovered: &Recovered,
    maker: &EngineMaker,
) -> Result<Engine, LaunchError> {
    if recovered.records_total == 0 {
        return maker.make().map_err(|error| LaunchError::start("engine", error));
    }
    let (folder, until, maker) = (journal.folder().to_path_buf(), recovered.records_total, maker.clone());
    let (stop, clock) = (context.stop.clone(), context.clock.clone());
    off_runtime(context, REPLAY_JOURNAL, move || {
        let started = clock.mono_ns();
        let is_cut = move || stop.is_requested();
        let options = ReplayOptions { until, is_cut: Some(&is_cut), ..ReplayOptions::default() };
        let outcome = replay_journal(&folder, &maker.instruments, &mut || maker.make(), &options);
        let (engine, replayed) = outcome.map_err(|error| LaunchError::start("journal", error))?;
        tracing::info!(
            records = replayed.records,
            snapshot = replayed.snapshot_sequence,
            took_ms = clock.since(started).as_millis(),
            "journal replayed"
        );
        Ok(engine)
    })
    .await?
}

/// Starts the thread that takes snapshots, where they are wanted.
pub fn start_snapshots(
    context: &RunContext,
    journal: &Journal,
    recovered: &Recovered,
    maker: &EngineMaker,
) -> Result<(), LaunchError> {
    let config = &maker.shared.config;
    if config.snapshot_records == 0 {
        return Ok(());
    }
    let snapshots = Snapshots::start(SnapshotsParts {
        journal: journal.clone(),
        records_before: recovered.records_total,
        covered: recovered.snapshot.as_ref().map_or(0, |it| it.header.sequence),
        records_interval: config.snapshot_records,
        segments_kept: config.keep_segments,
        needed: super::database::needed(&maker.shared),
        instruments: maker.instruments.clone(),
        make: Box::new({
            let maker = maker.clone();
            move || maker.make()
        }),
        instance: recovered.instance,
        mode: config.mode.to_string(),
        program: format!("keel launcher {}", env!("CARGO_PKG_VERSION")),
        clock: context.clock.clone(),
        ledger: context.ledger.clone(),
    });
    maker.shared.parts.lock().snapshots = Some(snapshots.map_err(|error| LaunchError::start("journal", error))?);
    Ok(())
}
