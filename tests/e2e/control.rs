//! Steering a running bot from another process: every verb, what it answers, and what it refuses.

use crate::harness::{Ended, LIMIT, Launcher, Running};
use keel_lifecycle::Clock;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEY: &str = "control-key";
const SECRET: &str = "control-secret";

/// A paper bot on the embedded venue that has begun to trade.
fn paper(launcher: &Launcher) -> Running {
    let mut running = launcher.start(&["--paper", "--infinite"]);
    running.until("trading: ready");
    running
}

fn socket(launcher: &Launcher) -> PathBuf {
    launcher.folder().join("keel-data/control.sock")
}

fn status(launcher: &Launcher) -> Value {
    serde_json::from_str(&launcher.run(&["status", "--json"]).expect_code(0).stdout).unwrap()
}

/// Waits until the status is as wanted.
#[track_caller]
fn until(launcher: &Launcher, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Clock::system().deadline(LIMIT);
    loop {
        let now = status(launcher);
        if is_so(&now) {
            return now;
        }
        assert!(!deadline.is_past(), "{what} did not come: {now:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn open_orders(status: &Value) -> usize {
    status["status"]["open_orders"].as_array().unwrap().len()
}

/// Is the order against the position that is held?
fn reduces(status: &Value, order: &Value) -> bool {
    let positions = status["status"]["positions"].as_array().unwrap();
    let held = positions.iter().find(|held| held["instrument"] == order["instrument"]);
    held.is_some_and(|held| {
        let is_short = held["quantity"].as_str().unwrap().starts_with('-');
        (order["side"] == "Buy") == is_short
    })
}

/// Says something over the socket and reads what comes back.
fn say(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // A bot that refuses early may have closed its side.
    drop(stream.write_all(bytes));
    let mut text = String::new();
    drop(stream.read_to_string(&mut text));
    text
}

fn end(running: Running) -> Ended {
    running.signal(Signal::TERM);
    running.wait().expect_code(0)
}

#[test]
fn rc_22_status_shows_state_orders_positions_streams_and_journal() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    let now = until(&launcher, "a position", |now| !now["positions"].as_array().unwrap().is_empty());
    assert_eq!(now["pid"], running.pid());
    assert_eq!((&now["is_started"], &now["mode"], &now["gate"]), (&true.into(), &"paper".into(), &"open".into()));
    assert_eq!(now["status"]["trading_state"], "active");
    assert_eq!(now["status"]["operator"]["streams"].as_array().unwrap().len(), 3);
    assert!(now["journal"]["records"].as_u64().unwrap() > 0, "{now:#}");
    let text = launcher.run(&["status"]).expect_code(0).stdout;
    for line in
        ["state", "active", "stream account", "open orders:", "positions:", "position without protection:", "held"]
    {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    end(running);
}

#[test]
fn rc_21_pause_stops_new_exposure_and_resume_ends_it() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    launcher.run(&["pause"]).expect_code(0);
    let paused = status(&launcher);
    assert_eq!(paused["status"]["trading_state"], "reducing");
    assert_eq!(paused["status"]["operator"]["is_paused"], true);
    let sent = paused["status"]["orders_total"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let later = status(&launcher);
    let before = paused["status"]["open_orders"].as_array().unwrap();
    for order in later["status"]["open_orders"].as_array().unwrap() {
        let is_old = before.iter().any(|old| old["client_order_id"] == order["client_order_id"]);
        assert!(is_old || reduces(&later, order), "placed under a pause: {order:#}\n{later:#}");
    }
    let json = launcher.run(&["resume", "--json"]).expect_code(0).stdout;
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&answer["outcome"], &answer["protocol"]), (&"confirmed".into(), &1.into()));
    until(&launcher, "more orders", |now| now["status"]["orders_total"].as_u64().unwrap() > sent);
    end(running);
}

#[test]
fn rc_21_reduce_only_takes_open_entries_away() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    until(&launcher, "open orders", |now| open_orders(now) > 0);
    let told = launcher.run(&["reduce-only"]).expect_code(0).stdout;
    assert!(told.contains("no order that would add exposure is open"), "{told}");
    let now = status(&launcher);
    let orders = now["status"]["open_orders"].as_array().unwrap();
    assert!(orders.iter().all(|order| reduces(&now, order)), "{now:#}");
    assert_eq!(now["status"]["operator"]["is_reduce_only"], true);
    end(running);
}

#[test]
fn flatten_closes_everything_and_stays_flat_until_resume() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    until(&launcher, "a position", |now| !now["positions"].as_array().unwrap().is_empty());
    let told = launcher.run(&["flatten"]).expect_code(0).stdout;
    assert!(told.contains("confirmed by the venue"), "{told}");
    std::thread::sleep(Duration::from_millis(500));
    let now = status(&launcher);
    assert_eq!((open_orders(&now), now["positions"].as_array().unwrap().len()), (0, 0), "{now:#}");
    assert_eq!(now["status"]["operator"]["is_paused"], true);
    launcher.run(&["resume"]).expect_code(0);
    until(&launcher, "orders again", |now| open_orders(now) > 0);
    end(running);
}

#[test]
fn flatten_of_one_instrument_holds_it_and_leaves_the_others_trading() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    until(&launcher, "a position", |now| !now["positions"].as_array().unwrap().is_empty());
    launcher.run(&["flatten", "btcusdt"]).expect_code(0);
    let now = status(&launcher);
    assert_eq!(now["status"]["holds"][0]["cause"], "operator", "{now:#}");
    assert_eq!(now["status"]["operator"]["is_paused"], false);
    let sent = now["status"]["orders_total"].as_u64().unwrap();
    let later =
        until(&launcher, "orders of the other", |now| now["status"]["orders_total"].as_u64().unwrap() > sent + 4);
    let orders = later["orders"].as_array().unwrap();
    assert!(orders.iter().all(|order| !order.as_str().unwrap().contains("BTCUSDT")), "{later:#}");
    launcher.run(&["release", "ETHUSDT"]).expect_code(1);
    launcher.run(&["release", "BTCUSDT"]).expect_code(0);
    until(&launcher, "orders of both", |now| {
        now["orders"].as_array().unwrap().iter().any(|order| order.as_str().unwrap().contains("BTCUSDT"))
    });
    let refused = launcher.run(&["flatten", "NOSUCH"]).expect_code(1).stdout;
    assert!(refused.contains("REFUSED") && refused.contains("BTCUSDT, ETHUSDT"), "{refused}");
    end(running);
}

#[test]
fn cancel_takes_one_order_or_all_and_refuses_what_is_not_ours() {
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--paper", "--infinite"]);
    running.until("trading: ready");
    launcher.run(&["pause"]).expect_code(0);
    let now = status(&launcher);
    if let Some(order) = now["status"]["open_orders"].as_array().unwrap().first() {
        let line = now["orders"][0].as_str().unwrap();
        let id = line.split("ours ").nth(1).unwrap().split(',').next().unwrap();
        assert!(order.is_object());
        // Filled meanwhile is refused; both are the truth.
        let told = launcher.run(&["cancel", id]);
        assert!(told.stdout.contains("is over") || told.stdout.contains("no order"), "{}", told.stdout);
    }
    for (order, why) in [("k1-1-1", "no order k1-1-1 of ours is open"), ("web_abc", "web_abc"), ("", "REFUSED")] {
        let told = launcher.run(&["cancel", order]).expect_code(1).stdout;
        assert!(told.contains("REFUSED") && told.contains(why), "{order}: {told}");
    }
    launcher.run(&["cancel", "--all"]).expect_code(0);
    assert_eq!(open_orders(&until(&launcher, "no order", |now| open_orders(now) == 0)), 0);
    launcher.run(&["cancel"]).expect_code(1);
    launcher.run(&["cancel", "--all", "k1-1-1"]).expect_code(1);
    end(running);
}

#[test]
fn stop_waits_for_the_end_and_tells_how_it_went() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    let told = launcher.run(&["stop", "--json"]).expect_code(0).stdout;
    let answer: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&answer["outcome"], &answer["detail"]["exit_code"]), (&"confirmed".into(), &0.into()), "{told}");
    let ended = running.wait().expect_code(0);
    assert!(ended.stdout.contains("asked to stop by launcher stop"), "{}", ended.stdout);
    assert!(!socket(&launcher).exists(), "the socket's file is left");
    launcher.run(&["stop"]).expect_code(1).expect_stderr("no bot runs on this data folder");
}

#[test]
fn stop_force_hurries_and_a_wait_that_is_too_short_is_exit_1() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    let told = launcher.run(&["stop", "--no-wait"]).expect_code(1).stdout;
    assert!(told.contains("NOT CONFIRMED") && told.contains("the end of the process"), "{told}");
    running.wait().expect_code(0);
    let running = paper(&launcher);
    let told = launcher.run(&["stop", "--force", "--timeout", "30"]).expect_code(0).stdout;
    assert!(told.contains("hurries"), "{told}");
    let ended = running.wait().expect_code(0);
    assert!(ended.stdout.contains("(urgent)"), "{}", ended.stdout);
}

#[test]
fn without_a_bot_every_verb_says_so() {
    let launcher = Launcher::new();
    for verb in [
        &["status"][..],
        &["stop"],
        &["pause"],
        &["resume"],
        &["reduce-only"],
        &["cancel", "--all"],
        &["flatten"],
        &["emergency-stop"],
        &["release", "BTCUSDT"],
        &["rearm", "--reason", "x"],
    ] {
        let ended = launcher.run(verb).expect_code(1);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("no bot runs on this data folder"), "{verb:?}: {told}");
    }
    assert!(!launcher.folder().join("keel-data").exists(), "asking made a folder");
}

#[test]
fn usage_errors_are_exit_1_and_touch_nothing() {
    let launcher = Launcher::new();
    for (arguments, says) in [
        (&["pause", "--timeout", "0"][..], "0"),
        (&["pause", "--timeout", "soon"], "soon"),
        (&["pause", "--timeout", "5", "--no-wait"], "--no-wait"),
        (&["rearm"], "--reason"),
        (&["settle", "k1-1-1"], "--filled"),
        (&["flatten", "A", "B"], "B"),
    ] {
        launcher.run(arguments).expect_code(1).expect_stderr(says);
    }
}

#[test]
fn the_socket_is_private_and_what_is_not_understood_is_refused() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    let path = socket(&launcher);
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    for (bytes, says) in [
        (&b"nonsense\n"[..], "not one JSON object"),
        (b"{\"protocol\":99,\"ask\":{\"verb\":\"stop\",\"force\":true},\"timeout_ms\":0}\n", "this bot speaks 1"),
        (b"{\"protocol\":1,\"ask\":{\"verb\":\"explode\"},\"timeout_ms\":0}\n", "explode"),
        (&[b'x'; 100_000], "longer than"),
    ] {
        let answer = say(&path, bytes);
        assert!(answer.contains("refused") && answer.contains(says), "{answer}");
    }
    assert_eq!(status(&launcher)["stopping"], Value::Array(Vec::new()), "a bad request stopped the bot");
    end(running);
}

#[test]
fn silent_and_many_peers_keep_nobody_from_steering() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    let path = socket(&launcher);
    // More than are served at once; they say nothing, and their time runs out.
    let silent: Vec<UnixStream> = (0..24).filter_map(|_| UnixStream::connect(&path).ok()).collect();
    assert!(silent.len() >= 16);
    let deadline = Clock::system().deadline(LIMIT);
    while launcher.run(&["pause"]).code != Some(0) {
        assert!(!deadline.is_past(), "the silent peers have shut everybody out");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(silent);
    end(running);
}

#[test]
fn a_socket_left_by_a_crash_is_replaced_and_what_is_no_socket_is_not() {
    let launcher = Launcher::new();
    let crashed = paper(&launcher);
    crashed.signal(Signal::KILL);
    assert_eq!(crashed.wait().code, None);
    assert!(socket(&launcher).exists());
    launcher.run(&["status"]).expect_code(1).expect_stderr("no bot runs on this data folder");
    let running = paper(&launcher);
    status(&launcher);
    end(running);
    std::fs::write(socket(&launcher), "mine").unwrap();
    let ended = launcher.run(&["--paper", "--duration", "5"]).expect_code(0);
    assert!(ended.stderr.contains("is in the way and is no socket"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(socket(&launcher)).unwrap(), "mine");
}

#[test]
fn a_path_too_long_for_a_socket_address_works_all_the_same() {
    let launcher = Launcher::new();
    let long = format!("{}/{}", "d".repeat(100), "e".repeat(100));
    std::fs::create_dir_all(launcher.folder().join(&long)).unwrap();
    let mut running = launcher.start(&["--paper", "--infinite", "--data-dir", &long]);
    running.until("trading: ready");
    launcher.run(&["pause", "--data-dir", &long]).expect_code(0);
    launcher.run(&["stop", "--data-dir", &long]).expect_code(0);
    running.wait().expect_code(0);
}

#[test]
fn a_bot_that_never_answers_is_told_as_such() {
    let launcher = Launcher::new();
    std::fs::create_dir(launcher.folder().join("keel-data")).unwrap();
    let listener = UnixListener::bind(socket(&launcher)).unwrap();
    let ended = launcher.run(&["pause", "--timeout", "0.1"]).expect_code(1);
    assert!(ended.stderr.contains("did not answer within"), "{}", ended.stderr);
    drop(listener);
}

#[test]
fn stop_ends_the_restarting_too_and_an_unknown_symbol_is_told_once_and_not_retried() {
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--paper", "--auto-restart", "--restart-delay", "0.2"]);
    running.until("trading: ready");
    launcher.run(&["stop"]).expect_code(0);
    let ended = running.wait().expect_code(0);
    assert!(!ended.stderr.contains("restart 1"), "{}", ended.stderr);
    let ended = launcher
        .run(&["--paper", "--auto-restart", "--restart-delay", "0.2", "--symbols", "NOSUCH"])
        .expect_code(1)
        .expect_stderr("not starting again");
    assert!(!ended.stderr.contains("restart 1"), "{}", ended.stderr);
    let ended = launcher.run(&["--paper", "--symbols", "NOSUCH"]).expect_code(1);
    let told = ended.stderr.lines().filter(|line| line.contains("does not know the instrument")).count();
    // Once in the log, once as the last word.
    assert_eq!(told, 2, "{}", ended.stderr);
}

// ── With an account that outlives the run ──

/// A venue with one account.
fn venue(launcher: &Launcher) -> (Running, String) {
    let mut venue = launcher.start(&["venue", "--port", "0", "--account", &format!("{KEY}:{SECRET}")]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    (venue, url)
}

fn live(launcher: &Launcher, url: &str, extra: &[&str]) -> Running {
    let mut arguments = vec!["--live", "--venue", url, "--confirm-live", "paper", "--infinite"];
    arguments.extend_from_slice(extra);
    let mut command = launcher.command(&arguments);
    command.env("KEEL_API_KEY", KEY).env("KEEL_API_SECRET", SECRET);
    Running::start(command)
}

/// Orders that the venue holds of this account, as another process asks it.
fn at_venue(launcher: &Launcher, url: &str) -> u64 {
    let account = format!("{KEY}:{SECRET}");
    let check = ["check", "--json", "--venue", url, "--account", &account, "--data-dir", "other"];
    let rows: Vec<Value> = serde_json::from_str(&launcher.run(&check).expect_code(0).stdout).unwrap();
    let row = rows.iter().find(|row| row["check"] == "open orders").unwrap();
    row["detail"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn rc_21_a_pause_outlives_a_crash_and_an_orderly_stop() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let mut running = live(&launcher, &url, &[]);
    running.until("trading: ready");
    launcher.run(&["pause"]).expect_code(0);
    running.signal(Signal::KILL);
    running.wait();
    for _ in 0..2 {
        let mut again = live(&launcher, &url, &[]);
        again.until("trading: ready");
        let now = until(&launcher, "a state", |now| now["status"]["trading_state"] != "halted");
        assert_eq!(now["status"]["trading_state"], "reducing");
        assert_eq!(now["status"]["operator"]["is_paused"], true, "{now:#}");
        launcher.run(&["stop"]).expect_code(0);
        again.wait().expect_code(0);
    }
    let mut again = live(&launcher, &url, &[]);
    again.until("trading: ready");
    launcher.run(&["resume"]).expect_code(0);
    launcher.run(&["stop"]).expect_code(0);
    again.wait().expect_code(0);
    let mut again = live(&launcher, &url, &[]);
    again.until("trading: ready");
    until(&launcher, "trading", |now| now["status"]["trading_state"] == "active");
    end(again);
    end(venue);
}

/// Triggers the emergency stop, and checks what must be so after each trigger and after a restart.
fn o_05(trigger: impl FnOnce(&Launcher, &Running), says: &str) {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let mut running = live(&launcher, &url, &[]);
    running.until("trading: ready");
    until(&launcher, "orders and a position", |now| {
        open_orders(now) > 0 && !now["positions"].as_array().unwrap().is_empty()
    });
    trigger(&launcher, &running);
    let now = until(&launcher, "a flat account", |now| now["status"]["operator"]["winding"]["is_done"] == true);
    assert_eq!((open_orders(&now), now["positions"].as_array().unwrap().len()), (0, 0), "{now:#}");
    assert!(now["latch"]["trigger"].as_str().unwrap().contains(says), "{now:#}");
    assert_eq!(at_venue(&launcher, &url), 0);
    launcher.run(&["resume"]).expect_code(1);
    launcher.run(&["stop"]).expect_code(0);
    running.wait().expect_code(0);
    drop(std::fs::remove_file(launcher.folder().join("keel-data/EMERGENCY_STOP")));
    // The latch holds over a restart.
    let mut again = live(&launcher, &url, &[]);
    again.until("HALTED by an emergency stop, triggered by");
    again.until("trading: HALTED");
    let now = until(&launcher, "a halted engine", |now| now["status"]["operator"]["is_emergency"] == true);
    assert_eq!(
        (now["gate"].as_str(), now["status"]["trading_state"].as_str()),
        (Some("shut"), Some("halted")),
        "{now:#}"
    );
    assert_eq!(now["status"]["orders_total"], 0);
    let text = launcher.run(&["status"]).expect_code(0).stdout;
    assert!(text.contains("HALTED by an emergency stop"), "{text}");
    launcher.run(&["stop"]).expect_code(0);
    again.wait().expect_code(0);
    // A person lifts it while no bot runs; the next start trades.
    let told = launcher.run(&["rearm", "--reason", "looked at everything"]).expect_code(0).stdout;
    assert!(told.contains("the next start trades again"), "{told}");
    let mut last = live(&launcher, &url, &[]);
    last.until("trading: ready");
    until(&launcher, "orders", |now| open_orders(now) > 0 && now["latch"].is_null());
    end(last);
    let kept: Vec<String> = std::fs::read_dir(launcher.folder().join("keel-data/live-paper"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        kept.iter().any(|name| name.starts_with("emergency-")) && !kept.iter().any(|name| name == "EMERGENCY.json")
    );
    end(venue);
}

#[test]
fn o_05_rc_18_emergency_stop_by_verb_is_confirmed_latched_and_outlives_a_restart() {
    o_05(
        |launcher, _| {
            let told = launcher.run(&["emergency-stop", "--reason", "the test wants it"]).expect_code(0).stdout;
            for line in ["the latch is on disk", "people were told", "no order of ours is open and no position is held"]
            {
                assert!(told.contains(line), "{told}");
            }
            // Again: single flight, and it says since when.
            let again = launcher.run(&["emergency-stop", "--json"]).expect_code(0).stdout;
            let again: Value = serde_json::from_str(&again).unwrap();
            assert!(again["confirmed"][0].as_str().unwrap().contains("the test wants it"), "{again:#}");
            assert_eq!((&again["detail"]["persisted"], &again["detail"]["notified"]), (&true.into(), &true.into()));
        },
        "an operator",
    );
}

#[test]
fn o_05_emergency_stop_by_file() {
    o_05(
        |launcher, _| {
            launcher.file("keel-data/EMERGENCY_STOP", "fire in the server room\n");
        },
        "the file EMERGENCY_STOP",
    );
}

#[test]
fn o_05_emergency_stop_by_signal() {
    o_05(|_, running| running.signal(Signal::USR2), "SIGUSR2");
}

#[test]
fn o_05_a_latch_that_was_not_finished_is_finished_by_the_next_start_and_a_running_bot_can_be_rearmed() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let mut running = live(&launcher, &url, &[]);
    running.until("trading: ready");
    until(&launcher, "orders", |now| open_orders(now) > 0);
    running.signal(Signal::KILL);
    running.wait();
    assert!(at_venue(&launcher, &url) > 0);
    // The file is there before the start: nothing is traded, and what is open is cancelled.
    launcher.file("keel-data/EMERGENCY_STOP", "");
    let mut again = live(&launcher, &url, &[]);
    again.until("trading: HALTED");
    until(&launcher, "no order", |now| now["status"]["operator"]["winding"]["is_done"] == true);
    assert_eq!(at_venue(&launcher, &url), 0);
    let told = launcher.run(&["rearm", "--reason", "x"]).expect_code(1).stdout;
    assert!(told.contains("remove it first"), "{told}");
    std::fs::remove_file(launcher.folder().join("keel-data/EMERGENCY_STOP")).unwrap();
    let told = launcher.run(&["rearm", "--reason", "x"]).expect_code(0).stdout;
    assert!(told.contains("the latch is lifted") && told.contains("a new start trades again"), "{told}");
    assert!(status(&launcher)["latch"].is_null());
    launcher.run(&["stop"]).expect_code(0);
    again.wait().expect_code(0);
    let mut last = live(&launcher, &url, &[]);
    last.until("trading: ready");
    end(last);
    end(venue);
}

#[test]
fn p_20_a_second_bot_on_the_same_live_account_is_refused_whatever_its_folder() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let mut running = live(&launcher, &url, &[]);
    running.until("trading: ready");
    let second = live(&launcher, &url, &["--data-dir", "elsewhere"]).wait().expect_code(1);
    assert!(second.stderr.contains(&format!("pid {}", running.pid())), "{}", second.stderr);
    assert!(second.stderr.contains("is already traded by") && !second.stderr.contains(KEY), "{}", second.stderr);
    end(running);
    let mut second = live(&launcher, &url, &["--data-dir", "elsewhere"]);
    second.until("trading: ready");
    end(second);
    end(venue);
}

#[test]
fn the_report_of_each_run_on_an_account_is_kept() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    for _ in 0..2 {
        let mut running = live(&launcher, &url, &[]);
        running.until("trading: ready");
        end(running);
    }
    let reports = launcher.folder().join("keel-data/live-paper/reports");
    let mut names: Vec<String> = std::fs::read_dir(&reports)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let last = std::fs::read_to_string(reports.join(&names[1])).unwrap();
    assert_eq!(last, std::fs::read_to_string(reports.with_file_name("report.json")).unwrap());
    end(venue);
}

// ── Live arming ──

/// The live command with keys, not confirmed by name.
fn live_unnamed(launcher: &Launcher, url: &str, verb: &[&str], extra: &[&str]) -> Ended {
    let mut arguments = verb.to_vec();
    arguments.extend(["--live", "--venue", url, "--duration", "1"]);
    arguments.extend_from_slice(extra);
    let mut command = launcher.command(&arguments);
    command.env("KEEL_API_KEY", KEY).env("KEEL_API_SECRET", SECRET);
    Running::start(command).wait()
}

fn code_of(ended: &Ended) -> String {
    ended.line("code:")
}

#[test]
fn rc_22_x_19_live_trading_is_armed_in_two_steps_and_stays_so_over_restarts() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    live_unnamed(&launcher, &url, &[], &[]).expect_code(1).expect_stderr("was not confirmed; nothing was sent");
    let shown = live_unnamed(&launcher, &url, &["arm"], &[]).expect_code(0);
    for what in ["account", "venue", "key fingerprint", "limits hash", "configuration hash", "binary hash"] {
        assert!(shown.stdout.contains(what), "{what}\n{}", shown.stdout);
    }
    assert!(!shown.stdout.contains(KEY) && !shown.stderr.contains(SECRET), "a key is shown");
    // One step alone arms nothing.
    live_unnamed(&launcher, &url, &[], &[]).expect_code(1);
    launcher.run(&["confirm", "WRONGONE"]).expect_code(1).expect_stderr("the code is wrong; 2 tries are left");
    launcher.run(&["confirm", &code_of(&shown)]).expect_code(0);
    launcher.run(&["confirm", &code_of(&shown)]).expect_code(1).expect_stderr("nothing waits for a code");
    for _ in 0..2 {
        let ended = live_unnamed(&launcher, &url, &[], &[]).expect_code(0);
        assert!(ended.stderr.contains("is armed since") && ended.number("orders:") > 0, "{}", ended.stderr);
    }
    // The wrong account's name is refused, armed or not.
    live_unnamed(&launcher, &url, &[], &["--confirm-live", "other"]).expect_code(1);
    live_unnamed(&launcher, &url, &["disarm"], &[]).expect_code(0);
    live_unnamed(&launcher, &url, &[], &[]).expect_code(1).expect_stderr("was not confirmed");
    end(venue);
}

#[test]
fn rc_24_o_02_o_04_any_change_disarms_and_the_message_names_it() {
    let launcher = Launcher::new();
    let (venue, url) = venue(&launcher);
    let arm = || {
        let shown = live_unnamed(&launcher, &url, &["arm"], &[]).expect_code(0);
        launcher.run(&["confirm", &code_of(&shown)]).expect_code(0);
    };
    arm();
    let told = live_unnamed(&launcher, &url, &[], &["--on-exit", "keep"]).expect_code(1);
    assert!(told.stderr.contains("run.on_exit: armed for \"cancel-entries\", now \"keep\""), "{}", told.stderr);
    assert!(told.stderr.contains("Nothing was sent"), "{}", told.stderr);
    // Changing it back does not arm again.
    live_unnamed(&launcher, &url, &[], &[]).expect_code(1).expect_stderr("was not confirmed");
    arm();
    // Another key on the same account name, as when the testnet's keys are gone and the real ones are there (O-04).
    let mut command = launcher.command(&["--live", "--venue", &url, "--duration", "1"]);
    command.env("KEEL_API_KEY", "another-key").env("KEEL_API_SECRET", SECRET);
    Running::start(command).wait().expect_code(1).expect_stderr("key: armed for");
    arm();
    let named = live_unnamed(&launcher, &url, &[], &["--strategy", "idle", "--confirm-live", "paper"]).expect_code(0);
    assert!(named.stderr.contains("is no longer armed: strategy.names"), "{}", named.stderr);
    launcher.run(&["arm"]).expect_code(1).expect_stderr("paper needs no arming");
    end(venue);
}

#[test]
fn a_bot_whose_socket_was_removed_is_told_of_with_what_still_reaches_it() {
    let launcher = Launcher::new();
    let running = paper(&launcher);
    std::fs::remove_file(socket(&launcher)).unwrap();
    let ended = launcher.run(&["pause"]).expect_code(1);
    assert!(
        ended.stderr.contains("its control socket is gone") && ended.stderr.contains("EMERGENCY_STOP"),
        "{ended:?}"
    );
    let ended = launcher.run(&["rearm", "--reason", "because"]).expect_code(1);
    assert!(ended.stderr.contains("a bot runs on"), "{ended:?}");
    launcher.run(&["rearm", "--reason", " "]).expect_code(1).expect_stderr("a reason must say something");
    end(running);
}
