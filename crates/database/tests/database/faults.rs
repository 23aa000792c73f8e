//! Databases that are locked, gone, damaged, full, away or not ours: trading's journal grows on, the projection lags, says so
//! within seconds, and catches up.

use crate::books::{self, INSTANCE, SOON, Writer};
use crate::server::{Fresh, On, Server, number};
use keel_database::{Database, DatabaseAddress, DatabaseOptions, DbError, JournalSource, Projection, ProjectionParts};
use keel_lifecycle::{Alert, AlertHub, CancellationToken, Clock, Severity};
use keel_model::Side;
use keel_store::Journal;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;

/// A running projection of a journal that grows.
struct Live {
    projection: Projection,
    journal: Journal,
    alerts: Receiver<Alert>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), DbError>>,
}

impl Live {
    fn start(folder: &Path, database: &Database) -> Self {
        let journal = books::open(folder);
        let (hub, durable) = (AlertHub::default(), journal.clone());
        let alerts = hub.subscribe();
        let projection = Projection::new(ProjectionParts {
            database: database.clone(),
            source: JournalSource::new(folder, INSTANCE, "paper"),
            durable: Arc::new(move || durable.status().records),
            samples: Arc::new(Vec::new),
            lag_alarm: Duration::from_millis(500),
            alerts: hub,
            clock: Clock::system(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(projection.clone().run(stop.clone()));
        Self { projection, journal, alerts, stop, task }
    }

    /// The next alert of this severity, and how long it took.
    async fn alert(&mut self, severity: Severity) -> (String, Duration) {
        let began = Instant::now();
        loop {
            let alert = tokio::time::timeout(SOON, self.alerts.recv()).await.expect("an alert in time").unwrap();
            if alert.severity == severity {
                return (alert.message, began.elapsed());
            }
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.journal.close(SOON).unwrap();
        self.projection.database().close(SOON).await.unwrap();
    }
}

/// Another process that holds the database's lock until it is told to let go.
fn lock_from_outside(path: &Path) -> Child {
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\n";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"locked");
    child
}

fn unlock(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_05_a_lock_held_by_another_process_makes_it_lag_and_alarm_and_then_it_catches_up() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let database = fresh.open().await.unwrap();
    let mut live = Live::start(&fresh.journal(), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    assert_eq!(live.projection.drained(SOON).await, 0);
    let holder = lock_from_outside(fresh.address.path().unwrap());
    let before = Instant::now();
    for sequence in 1..=200 {
        writer.place(sequence, Side::Buy, 0);
    }
    assert!(before.elapsed() < Duration::from_secs(2), "the journal does not wait for the database");
    let (message, took) = live.alert(Severity::Warning).await;
    assert!(took < Duration::from_secs(5), "told after {took:?}");
    assert!(message.contains("locked") && message.contains("Trading is not affected"), "{message}");
    let status = live.projection.status();
    assert!(status.behind_ms > 0 && status.projected_sequence == 1 && status.durable_sequence == 601, "{status:?}");
    assert_eq!(live.projection.min_sequence_needed(), 1, "the journal keeps what is not in the database");
    unlock(holder);
    assert_eq!(live.projection.drained(SOON).await, 0, "{:?}", live.projection.status());
    let (message, _) = live.alert(Severity::Info).await;
    assert!(message.contains("caught up"), "{message}");
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, 200);
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s0_003_a_short_lock_is_waited_for_and_a_long_one_is_a_busy_error() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let options = DatabaseOptions { busy_timeout: Duration::from_millis(50), attempts_max: 3, ..fresh.options() };
    let database = Database::open(options).await.unwrap();
    let insert = "INSERT INTO keel_meta (name, value) VALUES ('a', 'b')";
    let write = || {
        database.with_tx("write", "test", |c| {
            Box::pin(async move { sqlx::query(insert).execute(c).await.map(drop).map_err(|error| panic!("{error}")) })
        })
    };
    let holder = lock_from_outside(fresh.address.path().unwrap());
    let error: DbError = write().await.unwrap_err();
    assert!(matches!(error, DbError::Busy { .. }) && error.is_retryable() && error.is_outcome_known(), "{error}");
    let (later, ()) = tokio::join!(write(), async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        tokio::task::block_in_place(|| unlock(holder));
    });
    later.unwrap();
    database.close(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_06_a_file_deleted_or_overwritten_while_running_is_noticed_moved_aside_and_built_again() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let database = fresh.open().await.unwrap();
    let mut live = Live::start(&fresh.journal(), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    for sequence in 1..=50 {
        writer.place(sequence, Side::Buy, 0);
    }
    assert_eq!(live.projection.drained(SOON).await, 0);
    let path = fresh.address.path().unwrap().to_owned();
    let mut sequence = 50;
    for harm in ["deleted", "overwritten", "cut", "exchanged"] {
        match harm {
            "deleted" => std::fs::remove_file(&path).unwrap(),
            "overwritten" => {
                use std::os::unix::fs::FileExt;
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&[0xAA; 4096], 0).unwrap();
            }
            "cut" => std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(7).unwrap(),
            _ => {
                std::fs::copy(&path, path.with_extension("copy")).unwrap();
                std::fs::rename(path.with_extension("copy"), &path).unwrap();
            }
        }
        let (message, took) = live.alert(Severity::Error).await;
        assert!(took < Duration::from_secs(5), "{harm}: told after {took:?}");
        assert_eq!(message.contains("is kept as"), harm != "deleted", "{harm}: {message}");
        sequence += 1;
        writer.place(sequence, Side::Sell, 0);
        assert_eq!(live.projection.drained(SOON).await, 0, "{harm}: {:?}", live.projection.status());
        let orders = number(&database, "SELECT COUNT(*) FROM orders").await;
        assert_eq!(orders, i64::try_from(sequence).unwrap(), "{harm}: everything is back");
    }
    assert_eq!(live.projection.status().rebuilt, 4);
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_06_a_file_that_is_no_database_at_the_start_is_moved_aside() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let path = fresh.address.path().unwrap();
    std::fs::write(path, b"this is a text and no database, and it is longer than a header of one").unwrap();
    let error = fresh.open().await.unwrap_err();
    assert!(matches!(error, DbError::Corrupt { .. }), "{error}");
    let database = Database::open_lazy(fresh.options()).unwrap();
    let mut live = Live::start(&fresh.journal(), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    writer.place(1, Side::Buy, 0);
    let (message, _) = live.alert(Severity::Error).await;
    assert!(message.contains("is kept as"), "{message}");
    assert_eq!(live.projection.drained(SOON).await, 0);
    assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, 1);
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_01_a_full_disk_under_the_database_is_told_and_costs_the_journal_nothing() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let database = fresh.open().await.unwrap();
    // As large as it may be from now on: what SQLite says then is what it says on a full disk.
    let mut connection = database.acquire("test").await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
    drop(connection);
    database.close(SOON).await.unwrap();
    let small = DatabaseOptions { connections_max: 1, ..fresh.options() };
    let database = Database::open(small).await.unwrap();
    let mut connection = database.acquire("test").await.unwrap();
    let limit = format!("PRAGMA max_page_count = {pages}");
    sqlx::query(sqlx::AssertSqlSafe(limit)).fetch_all(&mut *connection).await.unwrap();
    drop(connection);
    let mut live = Live::start(&fresh.journal(), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    for sequence in 1..=300 {
        writer.place(sequence, Side::Buy, 0);
    }
    let (message, took) = live.alert(Severity::Warning).await;
    assert!(took < Duration::from_secs(5) && message.contains("no space for the database"), "{took:?} {message}");
    journal.health().unwrap();
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1000000").fetch_all(&mut *connection).await.unwrap();
    drop(connection);
    assert_eq!(live.projection.drained(SOON).await, 0, "{:?}", live.projection.status());
    live.end().await;
}

/// How large the file may get, for the one connection of the pool; never less than it is.
async fn allow_pages(database: &Database, pages: &str) {
    let mut connection = database.acquire("test").await.unwrap();
    let limit = format!("PRAGMA max_page_count = {pages}");
    sqlx::query(sqlx::AssertSqlSafe(limit)).fetch_all(&mut *connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_01_a_connection_whose_transaction_a_full_disk_ended_is_never_used_again() {
    let fresh = Fresh::new(On::Sqlite).await.unwrap();
    let database = Database::open(DatabaseOptions { connections_max: 1, ..fresh.options() }).await.unwrap();
    let live = Live::start(&fresh.journal(), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    assert_eq!(live.projection.drained(SOON).await, 0);
    for round in 1..=2_u64 {
        allow_pages(&database, "1").await;
        // A single large row: SQLite answers with the end of the whole transaction, behind the pool's back.
        let error = database
            .with_tx("fill up", "test", |c| {
                Box::pin(async move {
                    let large = "INSERT INTO keel_meta (name, value) VALUES ('large', hex(zeroblob(1000000)))";
                    let done = sqlx::query(large).execute(c).await;
                    Err::<(), _>(match done.unwrap_err() {
                        sqlx::Error::Database(error) if error.code().as_deref() == Some("13") => {
                            DbError::NoSpace { what: "fill up".into(), cause: error.message().to_owned() }
                        }
                        error => panic!("{error}"),
                    })
                })
            })
            .await
            .unwrap_err();
        assert!(matches!(error, DbError::NoSpace { .. }), "{error}");
        allow_pages(&database, "1000000").await;
        // Room again: what is handed out next is fit for work, and the projection goes on with it.
        let written = database.with_tx("go on", "test", |c| {
            Box::pin(async move {
                let done = sqlx::query("UPDATE keel_meta SET value = value").execute(c).await;
                done.map(drop).map_err(|error| panic!("{error}"))
            })
        });
        let written: Result<(), DbError> = written.await;
        written.unwrap();
        for sequence in 50 * (round - 1) + 1..=50 * round {
            writer.place(sequence, Side::Buy, 0);
        }
        assert_eq!(live.projection.drained(SOON).await, 0, "round {round}: {:?}", live.projection.status());
        assert_eq!(number(&database, "SELECT COUNT(*) FROM orders").await, i64::try_from(50 * round).unwrap());
    }
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_says_what_is_wrong_and_never_the_password() {
    let parse = |text: &str| DatabaseAddress::parse(text, Path::new("/"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = |text: &str| DatabaseOptions {
        acquire_timeout: Duration::from_millis(500),
        ..DatabaseOptions::new(parse(text).unwrap(), "paper")
    };
    let nobody = Database::open(options(&format!("postgres://me:hunter2@127.0.0.1:{closed}/x"))).await.unwrap_err();
    assert!(
        matches!(nobody, DbError::Unreachable { .. } | DbError::Timeout { .. }) && nobody.is_retryable(),
        "{nobody}"
    );
    let folder = Database::open(options("sqlite:///proc/none/keel.sqlite")).await.unwrap_err();
    assert!(matches!(folder, DbError::Unreachable { .. }), "{folder:?}");
    for error in [nobody, folder] {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    if let Some(fresh) = Fresh::new(On::Postgres).await {
        let text = fresh.address.to_string().replace("***@", "postgres:hunter2@") + "_none";
        let error = Database::open(options(&text)).await.unwrap_err();
        assert!(matches!(error, DbError::Refused { .. }) && error.to_string().contains("does not exist"), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_and_comes_back_is_lagged_behind_told_of_and_caught_up_with() {
    let Some(server) = tokio::task::block_in_place(|| Server::start(None)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let port = server.port;
    let options = DatabaseOptions {
        acquire_timeout: Duration::from_millis(500),
        ..DatabaseOptions::new(server.address("postgres"), "paper")
    };
    let database = Database::open(options).await.unwrap();
    let mut live = Live::start(&folder.path().join("journal"), &database);
    let journal = live.journal.clone();
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT"]);
    for sequence in 1..=20 {
        writer.place(sequence, Side::Buy, 0);
    }
    assert_eq!(live.projection.drained(SOON).await, 0);
    tokio::task::block_in_place(|| drop(server));
    for sequence in 21..=40 {
        writer.place(sequence, Side::Buy, 0);
    }
    let (message, took) = live.alert(Severity::Warning).await;
    assert!(took < Duration::from_secs(5) && message.contains("lags 60 records"), "{took:?} {message}");
    // Another server at the same address: empty, as after a loss of its disk.
    let server = tokio::task::block_in_place(|| Server::start(Some(port))).unwrap();
    assert_eq!(live.projection.drained(SOON).await, 0, "{:?}", live.projection.status());
    assert_eq!(
        number(&database, "SELECT COUNT(*) FROM orders").await,
        40,
        "rows that the new server never had are made again"
    );
    live.end().await;
    tokio::task::block_in_place(|| drop(server));
}
