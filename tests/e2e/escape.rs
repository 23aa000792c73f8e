//! The escape path: a strategy blocks the engine, and the control thread still cancels our open orders and ends the process.
//! The strategy that blocks is known to debug builds only.

use crate::harness::Launcher;
use rustix::process::Signal;

#[test]
fn a_stuck_strategy_does_not_keep_orders_open() {
    let launcher = Launcher::new();
    let mut venue = launcher.start(&["venue", "--port", "0", "--account", "demo-key:demo-secret"]);
    let line = venue.until("listening on ");
    let url = line.split("listening on ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let arguments = [
        "--paper",
        "--venue",
        &url,
        "--account",
        "demo-key:demo-secret",
        "--strategy",
        "stuck-for-tests",
        "--symbols",
        "BTCUSDT",
    ];
    let mut running = launcher.start(&arguments);
    // It places orders far from the market, waits until the venue has them, and then blocks for ever.
    running.until("stuck-for-tests: blocking now");
    running.signal(Signal::INT);
    let ended = running.wait().expect_code(1).expect_stderr("CLEANUP COMPLETED WITH ");
    // Either the stop plan saw that the engine is stuck, or the watchdog that the runtime is; both take the escape path.
    let told = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(told.contains("escape path: 2 open orders, 0 not confirmed"), "{told}");
    assert_eq!(told.matches(": confirmed Canceled").count(), 2, "{told}");
    assert!(told.contains("engine/coordinator"), "the task that blocks is not named\n{told}");
    venue.signal(Signal::TERM);
    venue.wait().expect_code(0);
}
