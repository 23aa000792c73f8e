//! The main job: paper trading on the embedded venue, from start to a clean end.

use crate::harness::{Ended, Launcher};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// A throw-away account of a simulated venue.
const ACCOUNT: &str = "demo-key:demo-secret";

/// What every clean run must have said.
#[track_caller]
pub(crate) fn assert_clean(ended: Ended, code: i32) -> Ended {
    let ended = ended.expect_code(code).expect_stderr("CLEANUP COMPLETED SUCCESSFULLY");
    assert_eq!(ended.line("exit code:"), code.to_string());
    let digest = ended.line("state digest:");
    assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
    assert_eq!(ended.line("leaks:"), "none");
    assert_eq!(ended.line("order of unknown state:"), "none");
    for word in ["panicked", "leak:", "unclosed", "LEAK"] {
        assert!(!ended.stderr.contains(word), "{word:?} in\n{}", ended.stderr);
    }
    ended
}

#[test]
fn s_08_paper_trades_for_its_duration_and_ends_clean_s3_069() {
    let launcher = Launcher::new();
    let ended = assert_clean(launcher.run(&["--paper", "--duration", "6"]), 0);
    assert!(ended.number("orders:") > 0 && ended.number("fills:") > 0, "{}", ended.stdout);
    assert!(
        ended.stderr.contains("mean nothing") && ended.stdout.contains("mean nothing"),
        "banner and summary must say what the profit means"
    );
    for line in [
        "mode: paper",
        "instruments: BTCUSDT, ETHUSDT",
        "strategies: market-maker",
        "limits: ",
        // Not by the tenth of a second: the machine may be busy.
        "Duration reached: 6.",
        "s/6s",
    ] {
        assert!(ended.stderr.contains(line), "{line:?} is not in\n{}", ended.stderr);
    }
    for stage in ["frame → decision", "decision → durable", "durable → signed", "signed → ack", "frame → ack"]
    {
        assert!(ended.stdout.contains(stage), "{stage:?} is not in\n{}", ended.stdout);
    }
    for step in [
        "close-gate",
        "stop-strategies",
        "stop-market-streams",
        "settle-in-flight",
        "stop-coordinator",
        "stop-account-streams",
        "stop-risk",
        "close-exchanges",
        "stop-venue",
        "flush-store",
        "pending-tasks",
        "telemetry",
    ] {
        assert!(ended.stdout.contains(&format!("\n{step} ")), "step {step} is not in\n{}", ended.stdout);
    }
}

#[test]
fn the_summary_is_also_json_and_a_file() {
    let launcher = Launcher::new();
    let ended = launcher.run(&["--json", "--duration", "2"]).expect_code(0);
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((summary["mode"].as_str(), summary["exit_code"].as_u64()), (Some("paper"), Some(0)));
    let folder = std::path::PathBuf::from(summary["folder"].as_str().unwrap());
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["state_digest"], summary["state_digest"]);
    assert!(folder.starts_with(launcher.folder().canonicalize().unwrap().join("keel-data")));
    let logs: Vec<_> = std::fs::read_dir(launcher.folder().join("keel-data/logs")).unwrap().collect();
    assert_eq!(logs.len(), 1);
}

#[test]
fn two_runs_in_a_row_start_at_once_s3_071() {
    let launcher = Launcher::new();
    for _ in 0..2 {
        assert_clean(launcher.run(&["--duration", "2"]), 0);
    }
    let sessions = std::fs::read_dir(launcher.folder().join("keel-data")).unwrap();
    let sessions =
        sessions.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("session-")).count();
    assert_eq!(sessions, 2, "each run on the embedded venue has a folder of its own");
}

#[test]
fn a_second_instance_is_refused_and_told_who_runs() {
    let launcher = Launcher::new();
    let mut first = launcher.start(&["--paper"]);
    first.until("trading: ready");
    let pid = first.pid();
    launcher.run(&["--paper", "--duration", "1"]).expect_code(1).expect_stderr(&format!("pid {pid}"));
    first.signal(Signal::INT);
    assert_clean(first.wait(), 130);
}

#[test]
fn a_data_folder_that_may_not_be_written_is_refused() {
    let launcher = Launcher::new();
    let folder = launcher.folder().join("fixed");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(folder.join("probe"), "").is_ok() {
        eprintln!("SKIPPED the read-only folder: this user may write everywhere");
    } else {
        launcher.run(&["--paper", "--data-dir", "fixed", "--duration", "1"]).expect_code(1).expect_stderr("--data-dir");
    }
    launcher.file("plain", "");
    let ended = launcher.run(&["--paper", "--data-dir", "plain/data", "--duration", "1"]);
    ended.expect_code(1).expect_stderr("cannot make the folder plain/data").expect_stderr("--data-dir");
}

#[test]
fn an_unknown_instrument_is_refused_before_anything_trades() {
    let launcher = Launcher::new();
    let ended = launcher.run(&["--paper", "--symbols", "BTCUSDT,NOSUCH", "--duration", "1"]);
    ended.expect_code(1).expect_stderr("NOSUCH");
}

#[test]
fn live_without_keys_or_confirmation_is_refused_and_sends_nothing() {
    let launcher = Launcher::new();
    // A venue that counts: nothing may be sent to it.
    let mut venue = launcher.start(&["venue", "--port", "0"]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let live = |extra: &[&str], keys: bool| {
        let mut arguments = vec!["--live", "--venue", &url, "--duration", "2"];
        arguments.extend_from_slice(extra);
        let mut command = launcher.command(&arguments);
        if keys {
            command.env("KEEL_API_KEY", "no-such-key").env("KEEL_API_SECRET", "no-such-secret");
        }
        crate::harness::Running::start(command).wait()
    };
    live(&["--confirm-live", "paper"], false).expect_code(1).expect_stderr("keys: none were found");
    live(&[], true).expect_code(1).expect_stderr("was not confirmed; nothing was sent");
    live(&["--confirm-live", "other"], true).expect_code(1).expect_stderr("nothing was sent");
    // Wrong keys: the venue says so, and nothing is traded.
    let refused = live(&["--confirm-live", "paper"], true).expect_code(1);
    assert!(refused.stderr.contains("key"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("no-such-secret") && !refused.stdout.contains("no-such-secret"));
    venue.signal(Signal::TERM);
    venue.wait().expect_code(0);
}

#[test]
fn a_separate_venue_is_traded_and_outlives_the_run() {
    let launcher = Launcher::new();
    let mut venue = launcher.start(&["venue", "--port", "0", "--seed", "7", "--account", ACCOUNT]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    for _ in 0..2 {
        let ended =
            assert_clean(launcher.run(&["--paper", "--venue", &url, "--account", ACCOUNT, "--duration", "3"]), 0);
        assert!(ended.number("orders:") > 0);
    }
    venue.signal(Signal::INT);
    venue.wait().expect_code(130);
}

#[test]
fn an_occupied_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ended = Launcher::new().run(&["venue", "--port", &port]);
    ended.expect_code(1).expect_stderr(&port).expect_stderr("--port");
}

#[test]
fn a_venue_that_is_not_there_is_named() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let ended = Launcher::new().run(&["--paper", "--venue", &format!("http://127.0.0.1:{port}"), "--account", ACCOUNT]);
    ended.expect_code(1).expect_stderr(&format!("127.0.0.1:{port}"));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let launcher = Launcher::new();
    let path = launcher.file("keys.toml", "api_key = 'k'\napi_secret = 'very-hidden'\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    launcher.file(
        "live.toml",
        "[run]\nmode = 'live'\naccount = 'main'\n[venue]\nname = 'binance'\n[credentials]\nfile = 'keys.toml'\n",
    );
    let ended = launcher.run(&["-c", "live.toml", "--confirm-live", "main"]).expect_code(1).expect_stderr("chmod 600");
    assert!(!ended.stderr.contains("very-hidden"));
}

#[test]
fn failures_are_restarted_within_the_budget_only() {
    let launcher = Launcher::new();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let ended = launcher.run(&[
        "--venue",
        &url,
        "--account",
        ACCOUNT,
        "--auto-restart",
        "--max-restarts",
        "2",
        "--restart-delay",
        "0.05",
    ]);
    let ended = ended.expect_code(1).expect_stderr("failed; restart 2 of at most 2 in 0.1 s");
    assert!(ended.stderr.contains("failed after 2 restarts"), "{}", ended.stderr);
    let mut running = launcher.start(&["--paper", "--auto-restart"]);
    running.until("trading: ready");
    std::thread::sleep(Duration::from_millis(50));
    running.signal(Signal::INT);
    assert_clean(running.wait(), 130);
}

#[test]
fn a_heartbeat_says_how_it_goes() {
    let launcher = Launcher::new();
    let mut command = launcher.command(&["--paper", "--duration", "4"]);
    command.env("KEEL__RUN__HEARTBEAT_S", "1");
    let mut running = crate::harness::Running::start(command);
    let line = running.until("heartbeat: ");
    for what in [" s, Active, orders ", "fills ", "market events "] {
        assert!(line.contains(what), "{line}");
    }
    assert_clean(running.wait(), 0);
}

#[test]
fn what_protects_a_position_stays_when_the_rest_is_cancelled() {
    let launcher = Launcher::new();
    let mut command = launcher.command(&["--paper", "--strategy", "ema-cross"]);
    for (key, value) in [("FAST_BARS_COUNT", "1"), ("SLOW_BARS_COUNT", "2"), ("STOP_LOSS_BPS", "50")] {
        command.env(format!("KEEL__EMA_CROSS__{key}"), value);
    }
    let mut running = crate::harness::Running::start(command);
    running.until("side=Buy");
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::TERM);
    let ended = assert_clean(running.wait(), 0);
    assert_eq!(ended.line("position without protection:"), "none", "{}", ended.stdout);
    if ended.line("open positions:") != "none" {
        assert!(ended.number("still open: orders:") > 0 && ended.stdout.contains("Protective"), "{}", ended.stdout);
    }
}
