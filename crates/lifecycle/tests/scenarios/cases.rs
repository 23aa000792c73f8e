//! The scenarios, with the exit codes of the design's table.

use std::time::Duration;

use keel_lifecycle::Clock;
use rustix::process::Signal;

use crate::harness::{Case, PATIENCE, Played, Player};

const DONE: &str = "CLEANUP COMPLETED SUCCESSFULLY";

pub(crate) const CASES: &[Case] = &[
    ("duration_elapses_0_s3_069", duration_elapses),
    ("ctrl_c_130_s3_031_d5", || drop(signalled("plain", &[Signal::INT]).expect(130, &[DONE]))),
    ("sigterm_0_s3_032_d6", || drop(signalled("plain", &[Signal::TERM]).expect(0, &[DONE]))),
    ("sighup_0_s3_032", || drop(signalled("plain", &[Signal::HUP]).expect(0, &[DONE]))),
    ("task_panics_1", || {
        drop(alone("panic").expect(
            1,
            &[
                "stopped because: task strategies/ema panicked: boom at ",
                "CLEANUP COMPLETED WITH 1 ERRORS",
                "step flush-store runs",
            ],
        ))
    }),
    ("critical_task_returns_early_1", || {
        drop(
            alone("early")
                .expect(1, &["task strategies/ema returned although nobody had cancelled it", "step flush-store runs"]),
        )
    }),
    ("task_returns_an_error_1", || {
        drop(alone("error").expect(1, &["task strategies/ema failed: bad book", "step flush-store runs"]))
    }),
    ("restarts_used_up_1", || {
        drop(alone("restarts").expect(
            1,
            &["task strategies/ema used up its 3 restarts; last: failed: reset by peer", "step flush-store runs"],
        ))
    }),
    ("background_panic_goes_on_and_is_1", background_panic),
    ("step_hangs_1_and_later_steps_ran", step_hangs),
    ("step_panics_1_and_later_steps_ran_s3_024", step_panics),
    ("task_ignores_its_token_1_named", stubborn),
    ("unnamed_detached_task_1_counted", unnamed),
    ("task_outside_of_the_plan_1_named", forgotten),
    ("leaked_lease_1_named", || {
        drop(signalled("lease", &[Signal::TERM]).expect(1, &["websocket exchange/binance market"]))
    }),
    ("dropped_unclosed_1_named_s3_006", || {
        drop(signalled("unclosed", &[Signal::TERM]).expect(1, &["http_client exchange/binance rest"]))
    }),
    ("leaked_socket_1_named_s1_053", || {
        drop(signalled("descriptor", &[Signal::TERM]).expect(1, &["socket tcp 127.0.0.1:"]))
    }),
    ("leaked_thread_1_named", || drop(signalled("thread", &[Signal::TERM]).expect(1, &["threads", "forgotten"]))),
    ("stuck_blocking_thread_1_in_time_d9", stuck_blocking_thread),
    ("slow_drain_one_ctrl_c_130", slow_drain_once),
    ("slow_drain_two_ctrl_c_130_when_nothing_is_left", slow_drain_twice),
    ("slow_drain_two_ctrl_c_1_when_an_order_is_left", slow_drain_left),
    ("sigterm_then_ctrl_c_130", || drop(settling("slow", &[Signal::TERM, Signal::INT]).expect(130, &[DONE]))),
    ("hung_essential_step_three_ctrl_c_1_within_a_second", three_signals),
    ("runtime_blocked_single_1_by_the_watchdog", || blocked("block-single")),
    ("runtime_blocked_all_workers_1_by_the_watchdog", || blocked("block-all")),
    ("runtime_blocked_without_any_signal_1", blocked_alone),
    ("signal_while_connecting_130", || {
        drop(signalled_at("connecting", "starting", &[Signal::INT]).expect(130, &[DONE]))
    }),
    ("signal_during_start_up_is_heard", signal_during_start_up),
    ("start_fails_1", || {
        drop(alone("start-fails").expect(1, &["start failed: port 8080 is taken", "step flush-store runs"]))
    }),
    ("start_panics_1", || {
        drop(alone("start-panics").expect(1, &["task lifecycle/start panicked: in start", "step flush-store runs"]))
    }),
    ("bad_plan_1_before_anything_starts", || {
        drop(alone("bad-plan").expect(1, &["CLEANUP"]).expect_absent(&["starting"]))
    }),
    ("no_descriptor_for_the_trading_runtime_1", no_descriptors),
    ("no_descriptor_for_the_control_thread_1", || drop(alone("no-descriptors-at-all").expect(1, &["control"]))),
    ("sigquit_and_sigusr1_dump_and_keep_running", dump),
    ("closed_stderr_hurts_nobody", closed_stderr),
    ("full_stderr_cannot_hold_the_process", full_stderr),
    ("ten_runs_in_a_row_0_s3_071", ten_runs),
    ("hundred_cycles_in_one_process_back_to_baseline", hundred_cycles),
];

fn drop(_: &Played) {}

fn alone(scenario: &str) -> Played {
    Player::start(scenario).end()
}

/// Sends the signals, one after another, once the child is ready.
fn signalled(scenario: &str, signals: &[Signal]) -> Played {
    signalled_at(scenario, "ready", signals)
}

fn signalled_at(scenario: &str, at: &str, signals: &[Signal]) -> Played {
    let mut player = Player::start(scenario);
    player.wait_for(at);
    for signal in signals {
        player.signal(*signal);
        player.wait_for("stopping in order");
    }
    player.end()
}

/// The first signal when ready, the second when the drain is under way.
fn settling(scenario: &str, signals: &[Signal]) -> Played {
    let mut player = Player::start(scenario);
    player.wait_for("ready");
    player.signal(signals[0]);
    player.wait_for("settling");
    for signal in &signals[1..] {
        player.signal(*signal);
    }
    player.end()
}

fn duration_elapses() {
    let played = alone("duration");
    played.expect(0, &[DONE, "step close-gate runs", "step flush-store runs", "kept by policy: K-7"]);
}

fn background_panic() {
    let mut player = Player::start("background-panic");
    player.wait_for("ready");
    std::thread::sleep(Duration::from_millis(100));
    assert!(player.is_running(), "a job's panic does not stop the system");
    player.signal(Signal::TERM);
    player.end().expect(1, &["CLEANUP COMPLETED WITH 1 ERRORS"]);
}

fn step_hangs() {
    let played = signalled("hang", &[Signal::INT]);
    played.expect(
        1,
        &["DEADLINE PASSED", "step stop-risk runs", "step flush-store runs", "CLEANUP COMPLETED WITH 1 ERRORS"],
    );
}

fn step_panics() {
    let played = signalled("step-panic", &[Signal::INT]);
    played.expect(1, &["PANICKED: the coordinator's step", "step stop-risk runs", "step flush-store runs"]);
}

fn stubborn() {
    signalled("stubborn", &[Signal::INT])
        .expect(1, &["ignored their token and were aborted: execution/order-manager", "step flush-store runs"]);
}

fn unnamed() {
    signalled("unnamed", &[Signal::INT]).expect(1, &["spawned outside a task group"]);
}

fn forgotten() {
    signalled("forgotten", &[Signal::INT]).expect(1, &["tools/forgotten (ignored its token, was aborted)"]);
}

fn stuck_blocking_thread() {
    let played = signalled("blocking-thread", &[Signal::TERM]);
    played.expect(1, &["threads", "trading"]);
    assert!(played.took < PATIENCE / 2, "it does not wait for the thread: {:?}", played.took);
}

fn slow_drain_once() {
    let played = settling("slow", &[Signal::INT]);
    played.expect(130, &[DONE]).expect_absent(&["cut by the urgent stop"]);
}

fn slow_drain_twice() {
    let played = settling("slow", &[Signal::INT, Signal::INT]);
    played.expect(130, &[DONE, "cut by the urgent stop", "step stop-coordinator runs", "step flush-store runs"]);
}

fn slow_drain_left() {
    settling("slow-left", &[Signal::INT, Signal::INT]).expect(1, &["K-1 of unknown state", "step flush-store runs"]);
}

fn three_signals() {
    // An essential step that hangs, with a long deadline: `slow` in the coordinator's place.
    let mut player = Player::start("hang-long");
    player.wait_for("ready");
    player.signal(Signal::INT);
    player.wait_for("step stop-coordinator runs");
    player.signal(Signal::INT);
    player.wait_for("again");
    player.signal(Signal::INT);
    let left = player.wait_for("leaving now");
    assert!(left.contains("execution/order-manager"), "what is left is printed: {left}");
    let played = player.end();
    played.expect(1, &["CLEANUP COMPLETED WITH"]);
    println!("  third signal to exit: {} ms", played.took.as_millis());
    assert!(played.took < Duration::from_secs(10), "{:?}", played.took);
}

fn blocked(scenario: &str) {
    let mut player = Player::start(scenario);
    player.wait_for("ready");
    std::thread::sleep(Duration::from_millis(200));
    let sent_ns = Clock::system().now_ns();
    player.signal(Signal::INT);
    let line = player.wait_for("gate closed at ");
    let closed_ns: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    println!("  gate closed {} us after the signal", closed_ns.saturating_sub(sent_ns) / 1000);
    assert!(closed_ns.saturating_sub(sent_ns) < 1_000_000_000, "the design says 10 ms; a busy machine gets a second");
    let played = player.end();
    played.expect(
        1,
        &["watchdog: the trading runtime has not answered", "blocked in: strategies/stuck-", "market-streams/binance"],
    );
    played.expect(
        1,
        &["escape path: 3 orders cancelled because the trading runtime", "log flushed", "CLEANUP COMPLETED WITH"],
    );
}

fn blocked_alone() {
    let played = alone("block-alone");
    played.expect(
        1,
        &["gate closed at", "blocked in: strategies/stuck-", "escape path: 3 orders cancelled", "log flushed"],
    );
}

fn signal_during_start_up() {
    let played = signalled_at("plain", "handlers installed", &[Signal::INT]);
    played.expect(130, &[DONE, "step flush-store runs"]);
}

fn no_descriptors() {
    let played = alone("no-descriptors");
    played.expect(
        1,
        &["stopped because: start failed: cannot build the trading runtime", "ulimit -n", "CLEANUP COMPLETED WITH"],
    );
    played.expect_absent(&["starting"]);
}

fn dump() {
    let mut player = Player::start("plain");
    player.wait_for("ready");
    for signal in [Signal::QUIT, Signal::USR1] {
        player.signal(signal);
        player.wait_for("market-streams/binance");
        player.wait_for("K-1 BTCUSDT");
        player.wait_for("end of dump");
        assert!(player.is_running());
    }
    player.signal(Signal::TERM);
    player.end().expect(0, &[DONE]);
}

fn closed_stderr() {
    let mut player = Player::start_unread("plain");
    player.close_stderr();
    std::thread::sleep(Duration::from_millis(500));
    player.signal(Signal::TERM);
    player.end().expect(0, &[]);
}

fn full_stderr() {
    let mut player = Player::start_unread("flood");
    std::thread::sleep(Duration::from_millis(500));
    player.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(500));
    assert!(player.is_running(), "it is stuck in a write that nobody reads");
    player.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    player.signal(Signal::INT);
    let played = player.end();
    played.expect(1, &[]);
    assert!(played.took < Duration::from_secs(10), "{:?}", played.took);
}

fn ten_runs() {
    for _ in 0..10 {
        alone("duration").expect(0, &[DONE]);
    }
}

fn hundred_cycles() {
    let played = alone("cycles");
    played.expect(0, &["100 cycles: "]);
    println!("  {}", played.output.lines().find(|line| line.contains("100 cycles")).unwrap_or_default());
}
