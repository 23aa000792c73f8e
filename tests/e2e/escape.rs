//! The escape path: a strategy blocks or kills the engine, and our open orders are cancelled all the same. The strategies
//! that do so are known to debug builds only.

use crate::harness::{Ended, Launcher, Running};
use rustix::process::Signal;

const ACCOUNT: &str = "demo-key:demo-secret";

/// Runs a bad strategy on a venue that outlives it, with as many worker threads; `act` is what happens after it went bad.
fn run_bad(strategy: &str, workers: &str, act: impl FnOnce(&Running)) -> Ended {
    let launcher = Launcher::new();
    let mut venue = launcher.start(&["venue", "--port", "0", "--account", ACCOUNT]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let arguments = ["--paper", "--venue", &url, "--account", ACCOUNT, "--strategy", strategy, "--symbols", "BTCUSDT"];
    let mut command = launcher.command(&arguments);
    command.env("KEEL__RUN__WORKER_THREADS_COUNT", workers);
    let mut running = Running::start(command);
    // It places orders far from the market, waits until the venue has them, and then goes bad.
    running.until(&format!("{strategy}: now"));
    act(&running);
    let ended = running.wait().expect_code(1).expect_stderr("CLEANUP COMPLETED WITH ");
    let check = ["check", "--json", "--venue", &url, "--account", ACCOUNT, "--data-dir", "other"];
    let check = launcher.run(&check).expect_code(0).stdout;
    assert!(check.contains("\"0 on this account\""), "orders are still open at the venue\n{check}");
    venue.signal(Signal::TERM);
    venue.wait().expect_code(0);
    ended
}

fn told(ended: &Ended) -> String {
    format!("{}\n{}", ended.stdout, ended.stderr)
}

#[test]
fn a_stuck_strategy_does_not_keep_orders_open() {
    // Either the stop plan sees that the engine is stuck, or the watchdog that the runtime is; both take the escape path.
    let ended = run_bad("stuck-for-tests", "2", |running| running.signal(Signal::INT));
    let told = told(&ended);
    assert!(told.contains("escape path: 2 open orders, 0 not confirmed"), "{told}");
    assert_eq!(told.matches(": confirmed Canceled").count(), 2, "{told}");
    assert!(told.contains("engine/coordinator"), "the task that blocks is not named\n{told}");
}

#[test]
fn a_runtime_blocked_by_a_strategy_is_ended_by_the_watchdog_with_the_names() {
    let ended = run_bad("stuck-for-tests", "1", |running| running.signal(Signal::INT));
    for line in [
        "watchdog: the trading runtime has not answered",
        "engine/coordinator",
        "escape path: 2 open orders, 0 not confirmed",
    ] {
        assert!(ended.stderr.contains(line), "{line:?} is not in\n{}", ended.stderr);
    }
}

#[test]
fn a_strategy_that_panics_stops_the_system_and_its_orders_are_cancelled() {
    let ended = run_bad("panic-for-tests", "2", |_| {});
    let told = told(&ended);
    assert!(told.contains("task engine/coordinator panicked: a strategy panics"), "{told}");
    assert!(told.contains("escape path: 2 open orders, 0 not confirmed"), "{told}");
}
