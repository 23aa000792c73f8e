//! Signals: one, two, three, at any moment.

use crate::harness::Launcher;
use crate::run::assert_clean;
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn each_signal_stops_in_order_with_its_exit_code() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 0), (Signal::HUP, 0)] {
        let launcher = Launcher::new();
        let mut running = launcher.start(&["--paper"]);
        running.until("trading: ready");
        std::thread::sleep(Duration::from_millis(300));
        running.signal(signal);
        assert_clean(running.wait(), code);
    }
}

#[test]
fn a_dump_does_not_stop() {
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--paper"]);
    running.until("trading: ready");
    for signal in [Signal::USR1, Signal::QUIT] {
        running.signal(signal);
        running.until("--- end of dump ---");
    }
    running.signal(Signal::TERM);
    let ended = assert_clean(running.wait(), 0);
    for section in ["dump: tasks", "dump: queues", "dump: open orders"] {
        assert!(ended.stderr.contains(section), "{section} is not in\n{}", ended.stderr);
    }
}

#[test]
fn s_02_two_signals_hurry_and_still_cancel_and_flush() {
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--paper"]);
    running.until("trading: ready");
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    running.signal(Signal::INT);
    let ended = running.wait();
    // Nothing failed: what a second signal cuts is no leak and no error.
    let ended = assert_clean(ended, 130);
    for step in ["close-gate", "stop-coordinator", "flush-store"] {
        let line = ended.stdout.lines().find(|line| line.starts_with(step)).unwrap_or_default();
        assert!(line.ends_with("done"), "{step}: {line:?}\n{}", ended.stdout);
    }
    assert_eq!(ended.line("order of unknown state:"), "none");
}

#[test]
fn a_second_signal_during_a_healthy_stop_is_no_failure() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        for between_ms in [1u64, 5, 20] {
            let launcher = Launcher::new();
            let mut running = launcher.start(&["--paper"]);
            running.until("trading: ready");
            running.signal(signal);
            std::thread::sleep(Duration::from_millis(between_ms));
            running.signal(signal);
            assert_clean(running.wait(), code);
        }
    }
}

#[test]
fn a_signal_is_heard_from_the_first_moment_of_the_process() {
    for round in 0..20u64 {
        let (signal, code) = if round % 2 == 0 { (Signal::INT, 130) } else { (Signal::TERM, 0) };
        let launcher = Launcher::new();
        let running = launcher.start(&["--paper"]);
        // Before main nobody can hear; its first act is to hold the signals.
        running.until_signals_are_held();
        std::thread::sleep(Duration::from_millis(round * 3));
        running.signal(signal);
        running.wait().expect_code(code).expect_stderr("CLEANUP COMPLETED SUCCESSFULLY");
    }
}

#[test]
fn s_02_three_signals_leave_at_once() {
    let launcher = Launcher::new();
    let mut running = launcher.start(&["--paper"]);
    running.until("trading: ready");
    for _ in 0..3 {
        running.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(1));
    }
    let ended = running.wait();
    assert!(matches!(ended.code, Some(130 | 1)), "{:?}\n{}", ended.code, ended.stderr);
    // Whether it ends by itself or by force, it says what is left and with which code it goes.
    for needle in ["still open: orders", "open positions", "exit code: "] {
        let is_told = ended.stdout.contains(needle) || ended.stderr.contains(needle);
        assert!(is_told, "{needle} is not in\n{}\n{}", ended.stdout, ended.stderr);
    }
}

#[test]
fn a_signal_during_the_start_is_heard_at_any_moment() {
    for after_ms in [0u64, 2, 5, 10, 20, 40, 80, 120] {
        let launcher = Launcher::new();
        let mut running = launcher.start(&["--paper"]);
        running.until("mode: paper");
        std::thread::sleep(Duration::from_millis(after_ms));
        running.signal(Signal::INT);
        running.wait().expect_code(130).expect_stderr("CLEANUP COMPLETED SUCCESSFULLY");
    }
}
