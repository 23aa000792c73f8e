//! The database beside a real run: what it says is what the run says; what happens to it is not felt by trading.

use crate::harness::{Ended, Launcher};
use keel_database::{Database, DatabaseAddress, DatabaseOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn file_of(launcher: &Launcher) -> PathBuf {
    launcher.folder().join("keel-data/keel-paper.sqlite")
}

/// The newest session's report.
fn report(ended: &Ended) -> Value {
    let path = PathBuf::from(ended.line("folder:")).join("report.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn on_database<T>(path: &Path, work: impl AsyncFnOnce(&Database) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = DatabaseOptions::new(DatabaseAddress::file(path), "paper");
        let database = Database::open(options).await.unwrap();
        let done = work(&database).await;
        database.close(Duration::from_secs(5)).await.unwrap();
        done
    })
}

/// Texts of one column.
fn texts(path: &Path, sql: &'static str) -> Vec<String> {
    on_database(path, async |database| {
        let mut connection = database.acquire("test").await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut *connection).await.unwrap()
    })
}

fn count(path: &Path, sql: &'static str) -> u64 {
    on_database(path, async |database| {
        let mut connection = database.acquire("test").await.unwrap();
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap();
        u64::try_from(count).unwrap()
    })
}

/// A number without the zeros at its end.
fn plain(number: &Value) -> String {
    number.as_str().unwrap().parse::<keel_model::Notional>().unwrap().normalized().to_string()
}

fn map<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> BTreeMap<String, String> {
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn pairs(path: &Path, sql: &'static str) -> BTreeMap<String, String> {
    let pair = |text: String| text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    texts(path, sql).into_iter().map(pair).collect()
}

/// Everything that the run's own last status says is what the rows say.
fn compare(path: &Path, report: &Value) {
    let status = &report["status"];
    let number = |key: &str| status[key].as_u64().unwrap();
    assert_eq!(count(path, "SELECT COUNT(*) FROM orders"), number("orders_total"));
    assert_eq!(count(path, "SELECT COUNT(*) FROM fills"), number("fills_total"));
    assert_eq!(count(path, "SELECT COUNT(*) FROM orders WHERE status = 'Rejected'"), number("orders_rejected"));
    assert_eq!(count(path, "SELECT COUNT(*) FROM decisions WHERE kind = 'order'"), number("orders_total"));
    let list = |key: &str| status[key].as_array().unwrap().clone();
    let symbols: Vec<&str> = report["symbols"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let id = |order: &Value| {
        let id = &order["client_order_id"];
        let part = |key: &str| id[key].as_u64().unwrap();
        keel_model::ClientOrderId {
            instance: u32::try_from(part("instance")).unwrap(),
            epoch: u32::try_from(part("epoch")).unwrap(),
            sequence: part("sequence"),
        }
        .to_string()
    };
    let open: BTreeMap<String, String> = list("open_orders")
        .iter()
        .map(|it| (id(it), format!("{} {}", it["state"].as_str().unwrap(), plain(&it["cum_quantity"]))))
        .collect();
    assert_eq!(
        pairs(path, "SELECT client_order_id || ' ' || state || ' ' || filled FROM orders WHERE is_closed = 0"),
        open
    );
    let positions = list("positions");
    let symbol = |it: &Value| symbols[usize::try_from(it["instrument"].as_u64().unwrap()).unwrap()];
    let positions = map(positions.iter().map(|it| (symbol(it), plain(&it["quantity"]))));
    assert_eq!(pairs(path, "SELECT symbol || ' ' || quantity FROM positions WHERE quantity <> '0'"), positions);
    let balances = list("balances");
    let balances = map(balances
        .iter()
        .map(|it| (it["asset"].as_str().unwrap(), format!("{} {}", plain(&it["free"]), plain(&it["locked"])))));
    assert_eq!(pairs(path, "SELECT asset || ' ' || free || ' ' || locked FROM balances"), balances);
    let fees = list("fees_by_asset");
    let fees = map(fees.iter().map(|it| (it[0].as_str().unwrap(), plain(&it[1]))));
    assert_eq!(pairs(path, "SELECT asset || ' ' || amount FROM fees"), fees);
    let digest = report["state_digest"].as_str().unwrap();
    assert_eq!(texts(path, "SELECT digest FROM sessions"), [digest]);
}

#[test]
fn the_database_says_what_the_run_says_order_by_order_and_a_rebuild_says_the_same() {
    let launcher = Launcher::new();
    let ended = launcher.run(&["--paper", "--duration", "4", "--on-exit", "keep"]).expect_code(0);
    let (path, report) = (file_of(&launcher), report(&ended));
    assert!(ended.number("orders:") > 0 && ended.number("fills:") > 0);
    assert!(!report["status"]["open_orders"].as_array().unwrap().is_empty(), "the policy keeps open orders");
    compare(&path, &report);
    assert!(count(&path, "SELECT COUNT(*) FROM resource_samples") > 0);

    let shown = launcher.run(&["show-trades", "--json", "--limit", "1000"]).expect_code(0);
    let trades: Vec<Value> = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(trades.len() as u64, ended.number("fills:"));
    let shown = launcher.run(&["show-trades", "--symbol", "BTCUSDT"]).expect_code(0);
    assert!(shown.stdout.contains("BTCUSDT") && !shown.stdout.contains("ETHUSDT"), "{}", shown.stdout);

    std::fs::remove_file(&path).unwrap();
    launcher.run(&["show-trades"]).expect_code(1).expect_stderr("does not exist yet");
    let built = launcher.run(&["database", "rebuild"]).expect_code(0);
    assert!(built.stdout.contains("built anew"), "{}", built.stdout);
    compare(&path, &report);
    let status = launcher.run(&["database", "status", "--json"]).expect_code(0);
    let rows: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(rows[0]["behind"], "0", "{rows}");
}

#[test]
fn d_06_a_database_deleted_while_running_is_built_again_while_running() {
    let launcher = Launcher::new();
    let mut run = launcher.start(&["--paper", "--duration", "6", "--log-format", "json"]);
    run.until("ready after");
    std::thread::sleep(Duration::from_secs(1));
    std::fs::remove_file(file_of(&launcher)).unwrap();
    run.until("the file is gone");
    let ended = run.wait().expect_code(0);
    compare(&file_of(&launcher), &report(&ended));
}

/// Another process that holds the database's lock until its input ends.
fn lock(path: &Path) -> Child {
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\nc.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\n";
    let mut python = Command::new("python3");
    let mut child = python.args(["-c", script]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child
}

#[test]
fn d_05_a_database_locked_by_another_process_lags_and_alarms_and_trading_goes_on() {
    let launcher = Launcher::new();
    let mut run = launcher.start(&["--paper", "--duration", "9"]);
    run.until("ready after");
    let path = file_of(&launcher);
    let mut holder = lock(&path);
    run.until("Trading is not affected");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    run.until("has caught up");
    let ended = run.wait().expect_code(0);
    compare(&path, &report(&ended));
}

#[test]
fn d_05_a_database_locked_at_the_end_costs_the_stop_no_more_than_its_share_and_no_exit_code() {
    let launcher = Launcher::new();
    let mut run = launcher.start(&["--paper", "--duration", "5"]);
    run.until("ready after");
    let path = file_of(&launcher);
    let mut holder = lock(&path);
    let ended = run.wait().expect_code(0);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(all.contains("lags") && all.contains("launcher database rebuild"), "{all}");
    assert!(count(&path, "SELECT COUNT(*) FROM fills") < ended.number("fills:"));
    launcher.run(&["database", "rebuild"]).expect_code(0);
    compare(&path, &report(&ended));
}

#[test]
fn a_database_that_is_not_ours_to_write_is_refused_before_anything_is_traded() {
    let launcher = Launcher::new();
    launcher.run(&["--paper", "--duration", "4"]).expect_code(0);
    let path = file_of(&launcher);
    on_database(&path, async |database| {
        let mut connection = database.acquire("test").await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET version = 99 WHERE version = 1")
            .execute(&mut *connection)
            .await
            .unwrap();
    });
    launcher.run(&["--paper", "--duration", "5"]).expect_code(1).expect_stderr("made by a newer program");
    std::fs::remove_file(&path).unwrap();
    launcher.run(&["--paper", "--duration", "4"]).expect_code(0);
    on_database(&path, async |database| {
        let mut connection = database.acquire("test").await.unwrap();
        sqlx::query("UPDATE keel_meta SET value = 'live'").execute(&mut *connection).await.unwrap();
    });
    launcher
        .run(&["--paper", "--duration", "5"])
        .expect_code(1)
        .expect_stderr("belongs to live runs, this one is paper");
}

#[test]
fn x_02_the_address_of_a_server_that_is_not_there_is_told_without_its_password_and_trading_goes_on() {
    let launcher = Launcher::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://me:hunter2@127.0.0.1:{closed}/keel");
    let config = launcher.file("pg.toml", format!("[database]\nurl = \"{url}\"\n"));
    let config = config.to_str().unwrap();
    let ended = launcher.run(&["--paper", "--duration", "3", "--config", config, "--debug"]).expect_code(0);
    let shown = launcher.run(&["show-config", "--config", config]).expect_code(0);
    let all = format!("{}{}{}", ended.stdout, ended.stderr, shown.stdout);
    assert!(all.contains("Trading begins without it") && ended.number("fills:") > 0, "{all}");
    assert!(all.contains(&format!("postgres://***@127.0.0.1:{closed}/keel")) && !all.contains("hunter2"), "{all}");
    let wrong = launcher.file("wrong.toml", "[database]\nurl = \"mysql://me:hunter2@h/x\"\n");
    let refused = launcher.run(&["--paper", "--config", wrong.to_str().unwrap()]).expect_code(1);
    let refused = refused.expect_stderr("neither sqlite nor postgres");
    assert!(!refused.stderr.contains("hunter2"));
    let off = launcher.file("off.toml", "[database]\nurl = \"\"\n");
    launcher.run(&["--paper", "--duration", "4", "--config", off.to_str().unwrap()]).expect_code(0);
    assert!(!file_of(&launcher).exists());
}
