//! The scenarios, with the exit codes of the design's table.

use std::time::Duration;

use keel_lifecycle::Clock;
use rustix::process::Signal;

use crate::harness::{Case, PATIENCE, Play, Played, Player, signalled, signalled_at};

const DONE: &str = "CLEANUP COMPLETED SUCCESSFULLY";
/// The plan went on to its last essential step.
const FLUSHED: &str = "step flush-store runs";

/// Start the scenario, send the signals one after another when it has said `at`, and look at the end.
pub(crate) const CASES: &[Case] = &[
    case("duration_elapses_0_s3_069", duration_elapses),
    row("ctrl_c_130_s3_031_d5", "plain", &[Signal::INT], 130, &[DONE]),
    row("sigterm_0_s3_032_d6", "plain", &[Signal::TERM], 0, &[DONE]),
    row("sighup_0_s3_032", "plain", &[Signal::HUP], 0, &[DONE]),
    row(
        "task_panics_1",
        "panic",
        &[],
        1,
        &["because: task strategies/ema panicked: boom at ", "WITH 1 ERRORS", FLUSHED],
    ),
    row("critical_task_returns_early_1", "early", &[], 1, &["task strategies/ema returned although", FLUSHED]),
    row("task_returns_an_error_1", "error", &[], 1, &["task strategies/ema failed: bad book", FLUSHED]),
    row("restarts_used_up_1", "restarts", &[], 1, &["used up its 3 restarts; last: failed: reset by peer", FLUSHED]),
    case("background_panic_goes_on_and_is_1", background_panic),
    row(
        "step_hangs_1_and_later_steps_ran",
        "hang",
        &[Signal::INT],
        1,
        &["DEADLINE PASSED", "step stop-risk runs", FLUSHED],
    ),
    row(
        "step_panics_1_and_later_steps_ran_s3_024",
        "step-panic",
        &[Signal::INT],
        1,
        &["PANICKED: the coordinator's", FLUSHED],
    ),
    row(
        "task_ignores_its_token_1_named",
        "stubborn",
        &[Signal::INT],
        1,
        &["were aborted: execution/order-manager", FLUSHED],
    ),
    row("unnamed_detached_task_1_counted", "unnamed", &[Signal::INT], 1, &["spawned outside a task group"]),
    row("task_outside_of_the_plan_1_named", "forgotten", &[Signal::INT], 1, &["tools/forgotten (ignored its token"]),
    row("leaked_lease_1_named", "lease", &[Signal::TERM], 1, &["websocket exchange/binance market"]),
    row("dropped_unclosed_1_named_s3_006", "unclosed", &[Signal::TERM], 1, &["http_client exchange/binance rest"]),
    row("leaked_socket_1_named_s1_053", "descriptor", &[Signal::TERM], 1, &["socket tcp 127.0.0.1:"]),
    row("leaked_thread_1_named", "thread", &[Signal::TERM], 1, &["threads", "forgotten"]),
    case("stuck_blocking_thread_1_in_time_d9", stuck_blocking_thread),
    case("slow_drain_one_ctrl_c_130", slow_drain_once),
    case("slow_drain_two_ctrl_c_130_when_nothing_is_left", slow_drain_twice),
    case("slow_drain_two_ctrl_c_1_when_an_order_is_left", slow_drain_left),
    case("two_ctrl_c_and_a_task_whose_step_was_cut_130", cut_straggler),
    case("sigterm_then_ctrl_c_130", sigterm_then_ctrl_c),
    case("hung_essential_step_three_ctrl_c_1_within_a_second", three_signals),
    case("runtime_blocked_single_1_by_the_watchdog", || blocked("block-single")),
    case("runtime_blocked_all_workers_1_by_the_watchdog", || blocked("block-all")),
    case("runtime_blocked_without_any_signal_1", blocked_alone),
    case("signal_while_connecting_130", || played_at("connecting", "starting", 130)),
    case("signal_during_start_up_is_heard", || played_at("plain", "handlers installed", 130)),
    row("start_fails_1", "start-fails", &[], 1, &["start failed: port 8080 is taken", FLUSHED]),
    row("start_panics_1", "start-panics", &[], 1, &["task lifecycle/start panicked: in start", FLUSHED]),
    case("bad_plan_1_before_anything_starts", bad_plan),
    case("no_descriptor_for_the_trading_runtime_1", no_descriptors),
    row("no_descriptor_for_the_control_thread_1", "no-descriptors-at-all", &[], 1, &["control"]),
    case("sigquit_and_sigusr1_dump_and_keep_running", dump),
    case("closed_stderr_hurts_nobody", closed_stderr),
    case("full_stderr_cannot_hold_the_process", full_stderr),
    case("ten_runs_in_a_row_0_s3_071", ten_runs),
    case("hundred_cycles_in_one_process_back_to_baseline", hundred_cycles),
];

const fn case(name: &'static str, play: fn()) -> Case {
    Case { name, play: Play::Test(play) }
}

const fn row(
    name: &'static str,
    scenario: &'static str,
    signals: &'static [Signal],
    code: i32,
    needles: &'static [&'static str],
) -> Case {
    Case { name, play: Play::Row { scenario, signals, code, needles } }
}

fn alone(scenario: &str) -> Played {
    Player::start(scenario).end()
}

fn played_at(scenario: &str, at: &str, code: i32) {
    signalled_at(scenario, at, &[Signal::INT]).expect(code, &[DONE, FLUSHED]);
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

fn cut_straggler() {
    // Its step was cut on demand, it was aborted afterwards, nothing is left: no failure.
    settling("slow-stubborn", &[Signal::INT, Signal::INT]).expect(130, &[DONE, "cut by the urgent stop", FLUSHED]);
}

fn sigterm_then_ctrl_c() {
    settling("slow", &[Signal::TERM, Signal::INT]).expect(130, &[DONE]);
}

fn bad_plan() {
    alone("bad-plan").expect(1, &["no-such-step", "CLEANUP COMPLETED WITH"]).expect_absent(&["starting"]);
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
