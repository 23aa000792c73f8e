//! The schema: its versions, and what makes a database ours.
//!
//! Invariants: bringing a database up to date twice is the same as once; one that a newer program made is left untouched;
//! a database belongs to paper or to live trading, never to both.

use crate::{DbError, Dialect};
use sqlx::AnyConnection;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Row, SqlSafeStr};
use std::borrow::Cow;

/// Newest version of the schema that this program knows.
pub const SCHEMA_VERSION: i64 = 2;

fn migrations(dialect: Dialect) -> Migrator {
    let (first, sweeps) = match dialect {
        Dialect::Sqlite => {
            (include_str!("../migrations/sqlite/0001_first.sql"), include_str!("../migrations/sqlite/0002_sweeps.sql"))
        }
        Dialect::Postgres => (
            include_str!("../migrations/postgres/0001_first.sql"),
            include_str!("../migrations/postgres/0002_sweeps.sql"),
        ),
    };
    let simple = |version, name, sql: &'static str| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![simple(1, "first", first), simple(2, "sweeps", sweeps)])
}

/// Brings the schema up to date and claims the database for `mode`.
pub(crate) async fn prepare(
    connection: &mut AnyConnection,
    dialect: Dialect,
    place: &str,
    mode: &str,
) -> Result<(), DbError> {
    let what = "bring the schema up to date";
    if let Some(found) = version(connection, dialect).await?.filter(|found| *found > SCHEMA_VERSION) {
        return Err(DbError::NewerSchema { place: place.to_owned(), found, known: SCHEMA_VERSION });
    }
    let fail = |error: sqlx::migrate::MigrateError| DbError::of(what, &sqlx::Error::Migrate(Box::new(error)));
    migrations(dialect).run_direct(None, connection, false).await.map_err(fail)?;
    claim(connection, place, mode).await
}

/// The newest version that was applied; `None` for a database without a schema of ours.
pub(crate) async fn version(connection: &mut AnyConnection, dialect: Dialect) -> Result<Option<i64>, DbError> {
    let fail = |error: sqlx::Error| DbError::of("look at the schema", &error);
    let there_is = match dialect {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
        Dialect::Postgres => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'"
        }
    };
    let count: i64 = sqlx::query_scalar(there_is).fetch_one(&mut *connection).await.map_err(fail)?;
    if count == 0 {
        return Ok(None);
    }
    let row =
        sqlx::query("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut *connection).await.map_err(fail)?;
    row.try_get::<Option<i64>, _>(0).map_err(fail)
}

async fn claim(connection: &mut AnyConnection, place: &str, mode: &str) -> Result<(), DbError> {
    let fail = |error: sqlx::Error| DbError::of("look whose database it is", &error);
    sqlx::query("INSERT INTO keel_meta (name, value) VALUES ('mode', $1) ON CONFLICT (name) DO NOTHING")
        .bind(mode)
        .execute(&mut *connection)
        .await
        .map_err(fail)?;
    let found: String = sqlx::query_scalar("SELECT value FROM keel_meta WHERE name = 'mode'")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if found == mode {
        return Ok(());
    }
    Err(DbError::WrongMode { place: place.to_owned(), found, wanted: mode.to_owned() })
}
