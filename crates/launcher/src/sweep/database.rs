//! A sweep as rows of the configured database.

use super::output::{params_json, search_name, to_object};
use super::work::Ended;
use crate::config::Config;
use keel_database::sweeps::TRIALS_MAX;
use keel_database::{Database, DbError, SweepRow, SweepTrialRow};
use keel_sweep::figures::Figures;
use std::time::Duration;

const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Writes it where a database is configured; what was there of the same sweep is replaced.
pub(super) fn record(config: &Config, ended: &Ended, now_ns: u64) -> Result<(), String> {
    let Some(settings) = &config.database else { return Ok(()) };
    let plan = ended.sweep.plan();
    let name = ended.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sweep = SweepRow {
        sweep_id: name,
        ts_written_ns: i64::try_from(now_ns).unwrap_or(i64::MAX),
        strategy: plan.space.strategy().name.to_owned(),
        level: plan.level.name().to_owned(),
        search: search_name(plan.method).to_owned(),
        objective: plan.objective.text().to_owned(),
        trials: ended.sweep.progress().0 as i64,
        is_complete: ended.is_complete,
        summary: to_object(ended).to_string(),
    };
    let trials = trials(ended);
    let options = crate::run::database::options(settings, &config.mode.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|it| it.to_string())?;
    let written: Result<(), DbError> = runtime.block_on(async {
        let database = Database::open(options).await?;
        let written = database.record_sweep(&sweep, &trials).await;
        let closed = database.close(CLOSE_LIMIT).await;
        written.and(closed)
    });
    written.map_err(|error| error.to_string())
}

fn trials(ended: &Ended) -> Vec<SweepTrialRow> {
    let sweep = &ended.sweep;
    let mut rows = Vec::new();
    for window in 0..sweep.plan().windows.len() {
        let count = sweep.trials(window).len().min(TRIALS_MAX);
        for (trial, rank) in sweep.best(window, count).into_iter().zip(1..) {
            let figures = Figures::of(&trial.outcome);
            rows.push(SweepTrialRow {
                window_number: window as i64,
                rank,
                params: params_json(ended, trial.point).to_string(),
                score: sweep.score(&figures),
                total_return: figures.total_return,
                max_drawdown: figures.max_drawdown,
                sharpe: figures.sharpe,
                orders: figures.orders.into(),
                trades: figures.trades.into(),
            });
        }
    }
    rows
}
