//! From the journal into rows: exact, once, whatever is interrupted when.

use crate::books::{self, INSTANCE, SOON, Writer};
use crate::server::{Fresh, number, on_both, texts};
use keel_database::{Database, DatabaseOptions, Dialect, JournalSource, Projection, ProjectionParts, Rebuilt, rebuild};
use keel_lifecycle::{AlertHub, CancellationToken, Clock};
use keel_model::Side;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

on_both! {
    a_day_of_trading_becomes_rows_that_say_what_the_engine_said;
    each_record_counts_once_wherever_the_projection_is_cut_off;
    a_second_run_goes_on_under_its_own_symbols_and_epoch;
    d_06_rows_built_again_are_the_rows_that_were_there;
    a_database_that_is_ahead_of_its_journal_is_made_anew;
    nothing_that_is_not_durable_yet_is_shown;
    a_journal_that_was_cut_short_at_its_beginning_is_gone_on_with_and_older_rows_stay;
}

/// A projection of the journal at `fresh.journal()`, up to `durable`.
pub(crate) fn projection(
    fresh: &Fresh,
    database: &Database,
    durable: &Arc<AtomicU64>,
    records_max: usize,
) -> Projection {
    let source = JournalSource { records_max, save_every: 7, ..JournalSource::new(fresh.journal(), INSTANCE, "paper") };
    let durable = durable.clone();
    Projection::new(ProjectionParts {
        database: database.clone(),
        source,
        durable: Arc::new(move || durable.load(Ordering::SeqCst)),
        samples: Arc::new(Vec::new),
        lag_alarm: Duration::from_millis(400),
        alerts: AlertHub::default(),
        clock: Clock::system(),
    })
}

/// Follows until everything up to `durable` is there.
pub(crate) async fn follow(fresh: &Fresh, database: &Database, records: u64) {
    let projection = projection(fresh, database, &Arc::new(AtomicU64::new(records)), 100);
    let stop = CancellationToken::new();
    let task = tokio::spawn(projection.clone().run(stop.clone()));
    assert_eq!(projection.drained(SOON).await, 0, "{:?}", projection.status());
    stop.cancel();
    task.await.unwrap().unwrap();
}

/// A journal with one day in it; how many records it has.
fn day(fresh: &Fresh) -> u64 {
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    writer.day();
    writer.end();
    journal.close(SOON).unwrap();
    writer.records
}

/// Everything that is in the tables of the journal, as text.
async fn everything(database: &Database) -> Vec<String> {
    let mut all = Vec::new();
    let dump = match database.dialect() {
        Dialect::Sqlite => [
            "SELECT json_array(client_order_id, status, filled, price, reason, ts_changed_ns) FROM orders ORDER BY client_order_id",
            "SELECT json_array(trade_id, symbol, client_order_id, price, quantity, fee, sequence) FROM fills ORDER BY symbol, trade_id",
            "SELECT json_array(symbol, quantity, cost, realized, bought, sold) FROM positions ORDER BY symbol",
            "SELECT json_array(asset, free, locked) FROM balances ORDER BY asset",
            "SELECT json_array(sequence, kind, client_order_id, control) FROM decisions ORDER BY sequence",
            "SELECT json_array(sequence, part, client_order_id, from_state, to_state) FROM order_changes ORDER BY sequence, part",
            "SELECT json_array(epoch, symbols, ts_end_ns, is_clean) FROM sessions ORDER BY epoch",
            "SELECT json_array(sequence, kind, message) FROM alarms ORDER BY sequence, part",
        ],
        Dialect::Postgres => [
            "SELECT CAST(jsonb_build_array(client_order_id, status, filled, price, reason, ts_changed_ns) AS TEXT) FROM orders ORDER BY client_order_id",
            "SELECT CAST(jsonb_build_array(trade_id, symbol, client_order_id, price, quantity, fee, sequence) AS TEXT) FROM fills ORDER BY symbol, trade_id",
            "SELECT CAST(jsonb_build_array(symbol, quantity, cost, realized, bought, sold) AS TEXT) FROM positions ORDER BY symbol",
            "SELECT CAST(jsonb_build_array(asset, free, locked) AS TEXT) FROM balances ORDER BY asset",
            "SELECT CAST(jsonb_build_array(sequence, kind, client_order_id, control) AS TEXT) FROM decisions ORDER BY sequence",
            "SELECT CAST(jsonb_build_array(sequence, part, client_order_id, from_state, to_state) AS TEXT) FROM order_changes ORDER BY sequence, part",
            "SELECT CAST(jsonb_build_array(epoch, symbols, ts_end_ns, is_clean) AS TEXT) FROM sessions ORDER BY epoch",
            "SELECT CAST(jsonb_build_array(sequence, kind, message) AS TEXT) FROM alarms ORDER BY sequence, part",
        ],
    };
    for sql in dump {
        all.extend(texts(database, sql).await);
    }
    all
}

async fn a_day_of_trading_becomes_rows_that_say_what_the_engine_said(fresh: Fresh) {
    let records = day(&fresh);
    let database = fresh.open().await.unwrap();
    follow(&fresh, &database, records).await;
    assert_eq!(
        number(&database, "SELECT COUNT(*) FROM orders").await,
        11,
        "the denied one never existed for the venue"
    );
    assert_eq!(number(&database, "SELECT COUNT(*) FROM fills").await, 8);
    let by_status =
        texts(&database, "SELECT status || ' ' || CAST(COUNT(*) AS TEXT) FROM orders GROUP BY status ORDER BY status");
    assert_eq!(by_status.await, ["Canceled 4", "Filled 4", "New 1", "Rejected 1", "Unknown 1"]);
    let exact = "SELECT CAST(price AS TEXT) || ' ' || CAST(quantity AS TEXT) || ' ' || CAST(value AS TEXT) || ' ' || CAST(fee AS TEXT)
                 FROM fills WHERE trade_id = '2'";
    assert_eq!(
        texts(&database, exact).await,
        ["60000.12 0.0015 90.00018 0.00000123456789"],
        "money is exact to the last digit"
    );
    let positions =
        "SELECT symbol || ' ' || CAST(quantity AS TEXT) || ' ' || CAST(bought AS TEXT) FROM positions ORDER BY symbol";
    assert_eq!(texts(&database, positions).await, ["BTCUSDT 0.0056 0.006", "ETHUSDT -0.002 0"]);
    let balances = "SELECT asset || ' ' || CAST(free AS TEXT) FROM balances ORDER BY asset";
    assert_eq!(
        texts(&database, balances).await,
        ["BTC 1.5", "DUST 0", "USDT 9000"],
        "what a complete report leaves out is nothing"
    );
    assert_eq!(texts(&database, "SELECT CAST(amount AS TEXT) FROM fees").await, ["0.00000987654312"]);
    let denied = "SELECT control || ': ' || reason FROM decisions WHERE kind = 'denied'";
    assert_eq!(texts(&database, denied).await, ["RC-04: outside the collar"]);
    assert_eq!(
        texts(&database, "SELECT reason FROM orders WHERE status = 'Rejected'").await,
        ["refused: InsufficientFunds -2010 no money"]
    );
    assert_eq!(texts(&database, "SELECT name FROM latches").await, ["breaker/daily-loss"]);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM sessions WHERE ts_end_ns > ts_start_ns").await, 1);
    let path = "SELECT from_state || '>' || to_state FROM order_changes WHERE client_order_id = (SELECT client_order_id FROM orders WHERE order_sequence = 1) ORDER BY sequence, part";
    assert_eq!(
        texts(&database, path).await,
        ["Draft>Intent", "Intent>Sent", "Sent>Live", "Live>Settling", "Settling>Done"]
    );
    database.close(SOON).await.unwrap();
}

async fn each_record_counts_once_wherever_the_projection_is_cut_off(fresh: Fresh) {
    let records = day(&fresh);
    let database = fresh.open().await.unwrap();
    let whole = {
        follow(&fresh, &database, records).await;
        everything(&database).await
    };
    let source = JournalSource::new(fresh.journal(), INSTANCE, "paper");
    rebuild(&database, &source).await.unwrap();
    // Cut off after each few milliseconds, and begun again by a process that knows nothing of the one before.
    let mut connection = database.acquire("test").await.unwrap();
    for table in
        ["DELETE FROM fills", "DELETE FROM orders", "UPDATE journals SET projected_sequence = 0, projected_chain = ''"]
    {
        sqlx::query(table).execute(&mut *connection).await.unwrap();
    }
    drop(connection);
    let durable = Arc::new(AtomicU64::new(0));
    for round in 0..200 {
        durable.store(records.min(round / 2), Ordering::SeqCst);
        let projection = projection(&fresh, &database, &durable, 1);
        let stop = CancellationToken::new();
        let task = tokio::spawn(projection.run(stop.clone()));
        tokio::time::sleep(Duration::from_micros(300 * (round % 12))).await;
        stop.cancel();
        task.await.unwrap().unwrap();
    }
    follow(&fresh, &database, records).await;
    assert_eq!(everything(&database).await, whole);
    database.close(SOON).await.unwrap();
}

async fn a_second_run_goes_on_under_its_own_symbols_and_epoch(fresh: Fresh) {
    let first = day(&fresh);
    let database = fresh.open().await.unwrap();
    follow(&fresh, &database, first).await;
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    writer.ts = writer.ts.plus(Duration::from_secs(3_600));
    // The ids mean other symbols now.
    writer.begin(&["ETHUSDT", "BTCUSDT"]);
    let order = writer.place(1, Side::Buy, 0);
    writer.fill(&order, 200, 200);
    journal.close(SOON).unwrap();
    follow(&fresh, &database, first + writer.records).await;
    let positions = "SELECT symbol || ' ' || CAST(quantity AS TEXT) FROM positions ORDER BY symbol";
    // Trade 1 of ETHUSDT is not trade 1 of BTCUSDT.
    assert_eq!(texts(&database, positions).await, ["BTCUSDT 0.0056", "ETHUSDT 0"]);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM sessions").await, 2);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM fills").await, 9);
    let left = "SELECT status FROM orders WHERE is_closed = false AND epoch = 1 ORDER BY order_sequence";
    let left = if database.dialect() == Dialect::Sqlite {
        "SELECT status FROM orders WHERE is_closed = 0 AND epoch = 1 ORDER BY order_sequence"
    } else {
        left
    };
    assert_eq!(
        texts(&database, left).await,
        ["Unknown", "Unknown"],
        "what was open when a run ended is unknown to the next"
    );
    database.close(SOON).await.unwrap();
}

async fn d_06_rows_built_again_are_the_rows_that_were_there(fresh: Fresh) {
    let records = day(&fresh);
    let database = fresh.open().await.unwrap();
    follow(&fresh, &database, records).await;
    let before = everything(&database).await;
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query("UPDATE orders SET status = 'nonsense', filled = NULL WHERE 1 = 0")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query("DELETE FROM fills").execute(&mut *connection).await.unwrap();
    drop(connection);
    let source = JournalSource::new(fresh.journal(), INSTANCE, "paper");
    let Rebuilt { records: again, .. } = rebuild(&database, &source).await.unwrap();
    assert_eq!(again, records);
    assert_eq!(everything(&database).await, before);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM journals").await, 1);
    database.close(SOON).await.unwrap();
}

async fn a_database_that_is_ahead_of_its_journal_is_made_anew(fresh: Fresh) {
    let records = day(&fresh);
    let database = fresh.open().await.unwrap();
    follow(&fresh, &database, records).await;
    let before = everything(&database).await;
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query("UPDATE journals SET projected_sequence = projected_sequence + 5")
        .execute(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    // Longer, but not by what the database believes.
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    (0..9).for_each(|_| writer.balances(false, &[("USDT", "9000")]));
    journal.close(SOON).unwrap();
    follow(&fresh, &database, records + 9).await;
    assert_eq!(everything(&database).await, before);
    database.close(SOON).await.unwrap();
}

async fn nothing_that_is_not_durable_yet_is_shown(fresh: Fresh) {
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    journal.close(SOON).unwrap();
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    writer.place(1, Side::Buy, 0);
    journal.close(SOON).unwrap();
    let database = Database::open(DatabaseOptions { connections_max: 1, ..fresh.options() }).await.unwrap();
    follow(&fresh, &database, 1).await;
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, 0);
    follow(&fresh, &database, 4).await;
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, 1);
    database.close(SOON).await.unwrap();
}

/// Removes all segments but the last `kept`, as snapshots of the engine do.
fn cut(folder: &std::path::Path, kept: usize) {
    let mut segments: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "seg"))
        .collect();
    segments.sort();
    assert!(segments.len() > kept + 1, "{segments:?}");
    segments.iter().take(segments.len() - kept).for_each(|path| std::fs::remove_file(path).unwrap());
}

async fn a_journal_that_was_cut_short_at_its_beginning_is_gone_on_with_and_older_rows_stay(fresh: Fresh) {
    let journal = books::open(&fresh.journal());
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    for sequence in 1..=2_000 {
        let order = writer.place(sequence, Side::Buy, 0);
        writer.fill(&order, 100, 100);
        if sequence % 100 == 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    let first = writer.records;
    let database = fresh.open().await.unwrap();
    while journal.status().records < first {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    follow(&fresh, &database, first).await;
    let order = writer.place(2_001, Side::Buy, 0);
    writer.fill(&order, 200, 200);
    let records = writer.records;
    journal.close(SOON).unwrap();
    // The second fill of an order whose beginning is no longer in the journal.
    cut(&fresh.journal(), 2);
    follow(&fresh, &database, records).await;
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, 2_001);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders WHERE status = 'PartiallyFilled'").await, 2_000);
    assert_eq!(texts(&database, "SELECT CAST(quantity AS TEXT) FROM positions").await, ["2.002"]);
    // Built again by command, nothing is lost: rows cannot be made anew, so they stay.
    let source = JournalSource { save_every: 7, ..JournalSource::new(fresh.journal(), INSTANCE, "paper") };
    let built = rebuild(&database, &source).await.unwrap();
    assert!(built.has_kept_older && built.first_sequence > 1 && built.last_sequence == records, "{built:?}");
    assert_eq!(number(&database, "SELECT COUNT(*) FROM fills").await, 2_001);
    database.close(SOON).await.unwrap();
}
