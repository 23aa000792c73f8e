//! Trading that goes past the embedded venue: a separate venue with an account that outlives the run, real public data with
//! simulated fills, exit policies, a crash and the start after it.

use crate::harness::{Launcher, Running};
use crate::run::assert_clean;
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

const KEY: &str = "live-test-key";
const SECRET: &str = "live-test-secret";

/// A venue with one account.
fn venue(launcher: &Launcher) -> (Running, String) {
    let mut venue = launcher.start(&["venue", "--port", "0", "--account", &format!("{KEY}:{SECRET}")]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    (venue, url)
}

/// The live command on that venue, confirmed, with keys.
fn live(launcher: &Launcher, url: &str, extra: &[&str]) -> Command {
    let mut arguments = vec!["--live", "--venue", url, "--confirm-live", "paper"];
    arguments.extend_from_slice(extra);
    let mut command = launcher.command(&arguments);
    command.env("KEEL_API_KEY", KEY).env("KEEL_API_SECRET", SECRET);
    command
}

/// How many orders the account has open, as the pre-flight says.
fn open_orders(launcher: &Launcher, url: &str) -> u64 {
    let ended = Running::start(live(launcher, url, &["--json", "--dry-run"])).wait().expect_code(0);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let row = rows.iter().find(|row| row["check"] == "open orders").unwrap();
    row["detail"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn end(venue: Running) {
    venue.signal(Signal::TERM);
    venue.wait().expect_code(0);
}

#[test]
fn confirmed_live_trading_with_keys_trades_and_shows_no_secret() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let ended = assert_clean(Running::start(live(&launcher, &url, &["--duration", "3"])).wait(), 0);
    assert!(ended.number("orders:") > 0);
    assert!(ended.stderr.contains("mode: live, on a simulated venue, account paper"), "{}", ended.stderr);
    assert!(ended.stderr.contains("keys come from the environment"), "{}", ended.stderr);
    assert_eq!(open_orders(&launcher, &url), 0);
    let mut written = vec![ended.stdout.into_bytes(), ended.stderr.into_bytes()];
    let mut folders = vec![launcher.folder().join("keel-data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                written.push(std::fs::read(entry.path()).unwrap());
            }
        }
    }
    for bytes in written {
        for secret in [KEY, SECRET] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} was written somewhere"
            );
        }
    }
    end(venue);
}

#[test]
fn kept_orders_are_listed_stay_at_the_venue_and_the_next_run_cancels_them() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    // Far from the market: nothing fills between the end of the run and the look at the venue.
    let mut command = live(&launcher, &url, &["--duration", "3", "--on-exit", "keep"]);
    command.env("KEEL__MARKET_MAKER__HALF_SPREAD_BPS", "200");
    let kept = Running::start(command).wait();
    let kept = kept.expect_code(0).expect_stderr("CLEANUP COMPLETED SUCCESSFULLY");
    let listed = kept.number("still open: orders:");
    assert!(listed > 0, "{}", kept.stdout);
    assert_eq!(open_orders(&launcher, &url), listed);
    let cancelled =
        assert_clean(Running::start(live(&launcher, &url, &["--duration", "1", "--on-exit", "cancel-all"])).wait(), 0);
    assert_eq!(cancelled.line("still open: orders:"), "none");
    assert_eq!(open_orders(&launcher, &url), 0);
    end(venue);
}

#[test]
fn a_start_that_fails_does_not_say_that_nothing_is_open() {
    let launcher = Launcher::new();
    let ended = Running::start(live(&launcher, "http://127.0.0.1:1", &["--duration", "1"])).wait().expect_code(1);
    for title in ["still open: orders:", "order of unknown state:", "open positions:"] {
        assert!(ended.line(title).starts_with("not known"), "{}", ended.stdout);
    }
}

#[test]
fn flatten_leaves_neither_orders_nor_positions() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let ended =
        assert_clean(Running::start(live(&launcher, &url, &["--duration", "4", "--on-exit", "flatten"])).wait(), 0);
    assert!(ended.number("fills:") > 0, "{}", ended.stdout);
    assert_eq!((ended.line("open positions:"), ended.line("still open: orders:")), ("none".into(), "none".into()));
    end(venue);
}

#[test]
fn a_crash_loses_nothing_the_next_start_finds_the_orders_and_cancels_them() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let mut crashed = Running::start(live(&launcher, &url, &["--infinite"]));
    crashed.until("trading: ready");
    std::thread::sleep(Duration::from_millis(1_500));
    crashed.signal(Signal::KILL);
    assert_eq!(crashed.wait().code, None);
    assert!(open_orders(&launcher, &url) > 0, "the crash left no order to be found");
    let next =
        assert_clean(Running::start(live(&launcher, &url, &["--duration", "2", "--on-exit", "cancel-all"])).wait(), 0);
    assert!(next.stderr.contains("the last run did not end in order"), "{}", next.stderr);
    assert_eq!(open_orders(&launcher, &url), 0);
    end(venue);
}

#[test]
fn the_database_of_a_live_account_is_built_again_from_its_journal() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let ended = assert_clean(Running::start(live(&launcher, &url, &["--duration", "3"])).wait(), 0);
    assert!(ended.number("fills:") > 0, "{}", ended.stdout);
    end(venue);
    launcher.file("live.toml", format!("[run]\nmode = 'live'\n[venue]\nurl = '{url}'\n"));
    let with = |verb: &[&str]| launcher.run(&[verb, &["-c", "live.toml"]].concat());
    let trades = || -> Vec<serde_json::Value> {
        let shown = with(&["show-trades", "--json", "--limit", "10000"]).expect_code(0);
        serde_json::from_str(&shown.stdout).unwrap()
    };
    let before = trades();
    assert_eq!(before.len() as u64, ended.number("fills:"));
    launcher.run(&["show-trades"]).expect_code(1).expect_stderr("keel-live-paper.sqlite");

    std::fs::remove_file(launcher.folder().join("keel-data/keel-live-paper.sqlite")).unwrap();
    let built = with(&["database", "rebuild", "--json"]).expect_code(0);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&built.stdout).unwrap();
    assert!(rows.len() == 1 && rows[0]["journal"].as_str().unwrap().ends_with("live-paper/journal"), "{rows:?}");
    assert_eq!(trades(), before);

    launcher.run(&["database", "rebuild"]).expect_code(1).expect_stderr("no journal of paper found in");
    assert!(!launcher.folder().join("keel-data/keel-paper.sqlite").exists(), "nothing is made of nothing");
}

#[test]
fn public_data_of_a_venue_with_simulated_fills_sends_no_order_there() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let sockets = url.replacen("http", "ws", 1);
    let text = format!(
        "[venue]\nname = 'binance'\nrest_url = '{url}'\nstream_url = '{sockets}'\nws_api_url = '{sockets}/ws-api/v3'\n"
    );
    launcher.file("public.toml", text);
    let ended = assert_clean(launcher.run(&["--paper", "-c", "public.toml", "--duration", "5"]), 0);
    assert!(ended.number("orders:") > 0 && ended.number("fills:") > 0, "{}", ended.stdout);
    assert!(ended.stdout.contains("real public data, simulated fills"), "{}", ended.stdout);
    assert_eq!(open_orders(&launcher, &url), 0);
    end(venue);
}

#[test]
fn a_full_disk_is_told_with_the_remedy_and_nothing_is_traded() {
    let launcher = Launcher::new();
    // A limit on file sizes stands for the full disk; the shell ignores the signal, so the write fails as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f 64; exec {} --paper --duration 5", env!("CARGO_BIN_EXE_launcher"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(launcher.folder()).env("NO_COLOR", "1");
    let ended = Running::start(command).wait().expect_code(1).expect_stderr("--data-dir");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("trading: ready"), "{}", ended.stderr);
}

#[test]
fn the_preflight_says_what_is_wrong_and_trades_nothing() {
    let launcher = Launcher::new();
    let good = launcher.run(&["check"]).expect_code(0);
    for what in [
        "configuration",
        "keys",
        "data folder",
        "connectivity",
        "clock offset",
        "filters",
        "account",
        "market streams",
        "account stream",
    ] {
        assert!(
            good.stdout.lines().any(|line| line.starts_with(what) && line.contains(" ok ")),
            "{what}\n{}",
            good.stdout
        );
    }
    let bad = launcher.run(&["--dry-run", "--symbols", "NOSUCH"]).expect_code(1).expect_stderr("nothing was traded");
    assert!(bad.stdout.contains("NOSUCH"), "{}", bad.stdout);
    launcher.run(&["trade", "--dry-run", "--live", "--venue", "binance"]).expect_code(1).expect_stderr("never live");
    let markets = launcher.run(&["list-markets", "--json"]).expect_code(0);
    let markets: Vec<serde_json::Value> = serde_json::from_str(&markets.stdout).unwrap();
    assert_eq!(markets.len(), 2);
}
