//! Sweeps of parameters: one row for each, and its trials, best first.
//!
//! Invariants: a sweep and its trials are written in one transaction; the same sweep written again replaces what was there; at
//! most [`TRIALS_MAX`] trials of a window are kept, the best ones (the sweep's own files have all of them).

use crate::{Database, DbError, Dialect};
use sqlx::{AnyConnection, Row};

/// The most trials of a window.
pub const TRIALS_MAX: usize = 100_000;
/// Rows of one statement; ten values each.
const ROWS: usize = 50;
const OWNER: &str = "sweep";

/// A sweep.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SweepRow {
    /// The same for the same sweep.
    pub sweep_id: String,
    /// When it was written, unix nanoseconds.
    pub ts_written_ns: i64,
    /// Strategy.
    pub strategy: String,
    /// `fast` or `exact`.
    pub level: String,
    /// How parameters were chosen.
    pub search: String,
    /// What was looked for.
    pub objective: String,
    /// Trials made.
    pub trials: i64,
    /// Was everything tried?
    pub is_complete: bool,
    /// Everything that is told of it, as a JSON object.
    pub summary: String,
}

/// One set of parameters.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SweepTrialRow {
    /// Window of a walk forward, from 0.
    pub window_number: i64,
    /// Place within the window, from 1.
    pub rank: i64,
    /// Parameters as a JSON object.
    pub params: String,
    /// Value of the objective.
    pub score: Option<f64>,
    /// Equity at the end by the beginning, less 1.
    pub total_return: f64,
    /// Deepest fall of the equity, zero or negative.
    pub max_drawdown: f64,
    /// Sharpe ratio.
    pub sharpe: Option<f64>,
    /// Orders.
    pub orders: i64,
    /// Closed trades.
    pub trades: i64,
}

impl Database {
    /// Writes a sweep and its trials; what the same sweep wrote before is replaced.
    pub async fn record_sweep(&self, sweep: &SweepRow, trials: &[SweepTrialRow]) -> Result<(), DbError> {
        let dialect = self.dialect();
        let (sweep, trials) = (sweep.clone(), trials.to_vec());
        self.with_tx("write a sweep", OWNER, move |connection| {
            let (sweep, trials) = (sweep.clone(), trials.clone());
            Box::pin(async move { write(connection, dialect, &sweep, &trials).await })
        })
        .await
    }

    /// Sweeps, newest first.
    pub async fn sweeps(&self, count_max: u32) -> Result<Vec<SweepRow>, DbError> {
        let fail = |error: sqlx::Error| DbError::of("list the sweeps", &error);
        let mut connection = self.acquire(OWNER).await?;
        let rows = sqlx::query(
            "SELECT sweep_id, ts_written_ns, strategy, level, search, objective, trials,
                    CASE WHEN is_complete THEN 1 ELSE 0 END, summary
             FROM sweeps ORDER BY ts_written_ns DESC, sweep_id LIMIT $1",
        )
        .bind(i64::from(count_max))
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
        let sweep = |row: sqlx::any::AnyRow| {
            Ok(SweepRow {
                sweep_id: row.try_get(0)?,
                ts_written_ns: row.try_get(1)?,
                strategy: row.try_get(2)?,
                level: row.try_get(3)?,
                search: row.try_get(4)?,
                objective: row.try_get(5)?,
                trials: row.try_get(6)?,
                is_complete: integer(&row, 7)? != 0,
                summary: row.try_get(8)?,
            })
        };
        rows.into_iter().map(sweep).collect::<Result<_, _>>().map_err(fail)
    }

    /// Trials of a sweep, by window and place.
    pub async fn sweep_trials(&self, sweep_id: &str, count_max: u32) -> Result<Vec<SweepTrialRow>, DbError> {
        let fail = |error: sqlx::Error| DbError::of("list the trials of a sweep", &error);
        let mut connection = self.acquire(OWNER).await?;
        let rows = sqlx::query(
            "SELECT window_number, rank, params, score, total_return, max_drawdown, sharpe, orders, trades
             FROM sweep_trials WHERE sweep_id = $1 ORDER BY window_number, rank LIMIT $2",
        )
        .bind(sweep_id)
        .bind(i64::from(count_max))
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
        let trial = |row: sqlx::any::AnyRow| {
            Ok(SweepTrialRow {
                window_number: row.try_get(0)?,
                rank: row.try_get(1)?,
                params: row.try_get(2)?,
                score: row.try_get(3)?,
                total_return: row.try_get(4)?,
                max_drawdown: row.try_get(5)?,
                sharpe: row.try_get(6)?,
                orders: row.try_get(7)?,
                trades: row.try_get(8)?,
            })
        };
        rows.into_iter().map(trial).collect::<Result<_, _>>().map_err(fail)
    }
}

/// PostgreSQL's literals are of 32 bits, SQLite's of 64.
fn integer(row: &sqlx::any::AnyRow, at: usize) -> Result<i64, sqlx::Error> {
    row.try_get::<i64, _>(at).or_else(|_| row.try_get::<i32, _>(at).map(i64::from))
}

async fn write(
    connection: &mut AnyConnection,
    dialect: Dialect,
    sweep: &SweepRow,
    trials: &[SweepTrialRow],
) -> Result<(), DbError> {
    let fail = |error: sqlx::Error| DbError::of("write a sweep", &error);
    for forget in ["DELETE FROM sweep_trials WHERE sweep_id = $1", "DELETE FROM sweeps WHERE sweep_id = $1"] {
        sqlx::query(forget).bind(&sweep.sweep_id).execute(&mut *connection).await.map_err(fail)?;
    }
    // SQLite has no truth values of its own.
    let insert = match dialect {
        Dialect::Sqlite => "INSERT INTO sweeps VALUES ($1, $2, $3, $4, $5, $6, $7, CAST($8 AS INTEGER), $9)",
        Dialect::Postgres => "INSERT INTO sweeps VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    };
    sqlx::query(insert)
        .bind(&sweep.sweep_id)
        .bind(sweep.ts_written_ns)
        .bind(&sweep.strategy)
        .bind(&sweep.level)
        .bind(&sweep.search)
        .bind(&sweep.objective)
        .bind(sweep.trials)
        .bind(sweep.is_complete)
        .bind(&sweep.summary)
        .execute(&mut *connection)
        .await
        .map_err(fail)?;
    for rows in trials.chunks(ROWS) {
        let places: Vec<String> = (0..rows.len())
            .map(|row| {
                let of_row: Vec<String> = (1..=10).map(|column| format!("${}", row * 10 + column)).collect();
                format!("({})", of_row.join(", "))
            })
            .collect();
        let insert = format!("INSERT INTO sweep_trials VALUES {}", places.join(", "));
        // Only places were put together; values are bound. PostgreSQL takes the types of a prepared statement from its first
        // values, and a missing figure has another type than one that is there: each statement is prepared for itself.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(insert)).persistent(false);
        for row in rows {
            query = query
                .bind(&sweep.sweep_id)
                .bind(row.window_number)
                .bind(row.rank)
                .bind(&row.params)
                .bind(row.score)
                .bind(row.total_return)
                .bind(row.max_drawdown)
                .bind(row.sharpe)
                .bind(row.orders)
                .bind(row.trades);
        }
        query.execute(&mut *connection).await.map_err(fail)?;
    }
    Ok(())
}
