//! The pool: limits, owners, health, errors, transactions, the end.

use crate::server::{Fresh, number, on_both};
use keel_database::{Database, DatabaseOptions, DbError, Dialect, SCHEMA_VERSION};
use std::time::Duration;

on_both! {
    s0_042_the_connection_beyond_the_limit_waits_and_is_told_who_holds_them;
    s2_023_an_owner_that_is_released_gives_everything_back_and_gets_nothing_more;
    s0_002_a_row_that_breaks_a_rule_is_an_integrity_error_and_is_not_tried_again;
    s0_005_a_transaction_that_fails_or_is_dropped_leaves_nothing;
    s0_012_closing_twice_and_from_many_sides_is_closing_once;
    bringing_the_schema_up_to_date_twice_is_once_and_a_newer_one_is_refused;
    paper_and_live_never_share_a_database;
    s0_006_a_dead_connection_is_replaced_before_it_is_handed_out;
    what_comes_from_outside_is_never_read_as_sql;
}

async fn s0_042_the_connection_beyond_the_limit_waits_and_is_told_who_holds_them(fresh: Fresh) {
    let options =
        DatabaseOptions { connections_max: 2, acquire_timeout: Duration::from_millis(300), ..fresh.options() };
    let database = Database::open(options).await.unwrap();
    let (first, second) = (database.acquire("one").await.unwrap(), database.acquire("two").await.unwrap());
    let error = database.acquire("three").await.unwrap_err();
    assert!(matches!(&error, DbError::Timeout { waited_ms: 300, .. }), "{error}");
    assert!(error.to_string().contains("held by: one 1, two 1") && error.is_retryable(), "{error}");
    let waiting = tokio::spawn({
        let database = database.clone();
        async move { database.acquire("three").await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(first);
    waiting.await.unwrap().unwrap();
    let status = database.status();
    assert!(status.open <= 2, "{status:?}");
    let two = status.owners.iter().find(|it| it.owner == "two").unwrap();
    assert_eq!((two.held, two.held_max, two.taken_total), (1, 1, 1));
    drop(second);
    database.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(database.status().open, 0, "S0-046: nothing stays open");
}

async fn s2_023_an_owner_that_is_released_gives_everything_back_and_gets_nothing_more(fresh: Fresh) {
    let database = fresh.open().await.unwrap();
    let held = database.acquire("module").await.unwrap();
    assert_eq!(database.release_owner("module", Duration::from_millis(20)).await, 1, "one is still out");
    assert!(held.is_released());
    drop(held);
    assert_eq!(database.release_owner("module", Duration::from_secs(1)).await, 0);
    assert!(matches!(database.acquire("module").await, Err(DbError::Closed { .. })));
    drop(database.acquire("other").await.unwrap());
    database.close(Duration::from_secs(5)).await.unwrap();
}

async fn s0_002_a_row_that_breaks_a_rule_is_an_integrity_error_and_is_not_tried_again(fresh: Fresh) {
    let database = fresh.open().await.unwrap();
    let mut attempts = 0;
    let insert = "INSERT INTO keel_meta (name, value) VALUES ('mode', 'twice')";
    let done: Result<(), DbError> = database
        .with_tx("break a rule", "test", |c| {
            attempts += 1;
            Box::pin(async move {
                sqlx::query(insert).execute(c).await.map(drop).map_err(|error| {
                    let kind = error.as_database_error().map(|it| it.is_unique_violation());
                    assert_eq!(kind, Some(true));
                    DbError::Integrity { what: "insert".into(), cause: error.to_string() }
                })
            })
        })
        .await;
    assert!(matches!(done, Err(DbError::Integrity { .. })));
    assert_eq!(attempts, 1);
    let timings = database.status().timings;
    let timing = timings.iter().find(|it| it.name == "break a rule").unwrap();
    assert_eq!((timing.count, timing.failures), (1, 1), "S2-008: transactions are measured by name");
    database.close(Duration::from_secs(5)).await.unwrap();
}

async fn s0_005_a_transaction_that_fails_or_is_dropped_leaves_nothing(fresh: Fresh) {
    let database = fresh.open().await.unwrap();
    let insert = "INSERT INTO keel_meta (name, value) VALUES ('left', 'behind')";
    let failed: Result<(), DbError> = database
        .with_tx("fail", "test", |c| {
            Box::pin(async move {
                sqlx::query(insert).execute(c).await.unwrap();
                Err(DbError::Other { what: "fail".into(), cause: "on purpose".into() })
            })
        })
        .await;
    assert!(failed.unwrap_err().to_string().contains("on purpose"), "the error is handed on unchanged");
    let hung = database.with_tx("hang", "test", |c| {
        Box::pin(async move {
            sqlx::query(insert).execute(c).await.unwrap();
            std::future::pending::<Result<(), DbError>>().await
        })
    });
    assert!(tokio::time::timeout(Duration::from_millis(300), hung).await.is_err());
    assert_eq!(number(&database, "SELECT COUNT(*) FROM keel_meta WHERE name = 'left'").await, 0);
    database.close(Duration::from_secs(5)).await.unwrap();
}

async fn s0_012_closing_twice_and_from_many_sides_is_closing_once(fresh: Fresh) {
    let options = fresh.options();
    let ledger = options.ledger.clone();
    let database = Database::open(options).await.unwrap();
    assert_eq!(ledger.total(), 1, "an open pool is listed");
    let (a, b) = (database.clone(), database.clone());
    let (a, b) = tokio::join!(a.close(Duration::from_secs(5)), b.close(Duration::from_secs(5)));
    a.unwrap();
    b.unwrap();
    database.close(Duration::from_secs(5)).await.unwrap();
    assert!(
        matches!(database.acquire("late").await, Err(DbError::Closed { .. })),
        "S0-010: closed is an error, no panic"
    );
    assert_eq!((ledger.total(), database.status().open), (0, 0));
}

async fn bringing_the_schema_up_to_date_twice_is_once_and_a_newer_one_is_refused(fresh: Fresh) {
    let database = fresh.open().await.unwrap();
    database.prepare().await.unwrap();
    database.prepare().await.unwrap();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM _sqlx_migrations").await, SCHEMA_VERSION);
    let newer = "UPDATE _sqlx_migrations SET version = 99 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query(newer).execute(&mut *connection).await.unwrap();
    drop(connection);
    database.close(Duration::from_secs(5)).await.unwrap();
    let error = fresh.open().await.unwrap_err();
    assert!(
        matches!(error, DbError::NewerSchema { found: 99, known: SCHEMA_VERSION, .. }) && error.is_final(),
        "{error}"
    );
    assert!(error.to_string().contains("newer program"), "{error}");
}

async fn paper_and_live_never_share_a_database(fresh: Fresh) {
    fresh.open().await.unwrap().close(Duration::from_secs(5)).await.unwrap();
    let live = DatabaseOptions { mode: "live".into(), ..fresh.options() };
    let error = Database::open(live).await.unwrap_err();
    assert!(error.to_string().contains("belongs to paper runs, this one is live") && error.is_final(), "{error}");
    fresh.open().await.unwrap().close(Duration::from_secs(5)).await.unwrap();
}

async fn s0_006_a_dead_connection_is_replaced_before_it_is_handed_out(fresh: Fresh) {
    let database = Database::open(DatabaseOptions { connections_max: 1, ..fresh.options() }).await.unwrap();
    if database.dialect() == Dialect::Postgres {
        // The server ends our session while the connection rests in the pool.
        let other = fresh.open().await.unwrap();
        let mut connection = other.acquire("test").await.unwrap();
        let end = "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()) AS ended";
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&mut *connection).await.unwrap();
        assert!(ended >= 1, "{ended}");
        drop(connection);
        other.close(Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(number(&database, "SELECT COUNT(*) FROM journals").await, 0);
    database.close(Duration::from_secs(5)).await.unwrap();
}

async fn what_comes_from_outside_is_never_read_as_sql(fresh: Fresh) {
    let nasty = "'); DROP TABLE keel_meta; --";
    let mode = format!("paper{nasty}");
    let database = Database::open(DatabaseOptions { mode: mode.clone(), ..fresh.options() }).await.unwrap();
    assert_eq!(crate::server::texts(&database, "SELECT value FROM keel_meta").await, [mode]);
    database.close(Duration::from_secs(5)).await.unwrap();
}
