//! Sweeps: written at once, replaced as a whole, best first.

use crate::server::{Fresh, number, on_both};
use keel_database::{SweepRow, SweepTrialRow};
use std::time::Duration;

on_both! {
    a_sweep_is_written_with_its_trials_and_replaced_as_a_whole;
}

fn sweep(trials: i64) -> SweepRow {
    SweepRow {
        sweep_id: "ema-cross-0123".into(),
        ts_written_ns: 1_700_000_000_000_000_000 + trials,
        strategy: "ema-cross".into(),
        level: "fast".into(),
        search: "grid".into(),
        objective: "sharpe".into(),
        trials,
        is_complete: trials > 100,
        summary: "{\"a\":\"b'c\"}".into(),
    }
}

fn trial(rank: i64) -> SweepTrialRow {
    SweepTrialRow {
        window_number: 0,
        rank,
        params: format!("{{\"fast_bars_count\":\"{rank}\"}}"),
        score: (rank % 3 != 0).then_some(1.0 / rank as f64),
        total_return: -0.25,
        max_drawdown: -0.5,
        sharpe: None,
        orders: 2 * rank,
        trades: rank,
    }
}

async fn a_sweep_is_written_with_its_trials_and_replaced_as_a_whole(fresh: Fresh) {
    let database = fresh.open().await.unwrap();
    let many: Vec<_> = (1..=137).map(trial).collect();
    database.record_sweep(&sweep(137), &many).await.unwrap();
    assert_eq!(database.sweeps(10).await.unwrap(), [sweep(137)]);
    assert_eq!(database.sweep_trials("ema-cross-0123", 1_000).await.unwrap(), many);
    database.record_sweep(&sweep(2), &many[..2]).await.unwrap();
    assert_eq!(database.sweeps(10).await.unwrap(), [sweep(2)]);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM sweep_trials").await, 2);
    let other = SweepRow { sweep_id: "other".into(), ..sweep(500) };
    database.record_sweep(&other, &[]).await.unwrap();
    assert_eq!(database.sweeps(10).await.unwrap(), [other, sweep(2)], "newest first");
    assert!(database.sweep_trials("nobody", 10).await.unwrap().is_empty());
    database.close(Duration::from_secs(5)).await.unwrap();
}
