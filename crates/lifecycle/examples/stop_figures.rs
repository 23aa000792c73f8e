//! Measures what supervision costs and how fast the stop is.
//!
//! `cargo run --release -p keel-lifecycle --example stop_figures`

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use keel_lifecycle::{
    Clock, LeaseKind, Lifecycle, LifecycleConfig, PlanError, Program, ResourceLedger, RunContext, RuntimeKind,
    StopPlan, StopReason, Supervisor, TaskKind, WatchdogConfig, console_line,
};
use rustix::process::{Signal, getpid, kill_process};

const ROUNDS: usize = 200;

fn main() {
    let clock = Clock::system();
    lease_cost(&clock);
    task_cost(&clock);
    clock_cost(&clock);
    gate_latency(&clock);
    empty_stop(&clock);
}

fn lease_cost(clock: &Clock) {
    const COUNT: u64 = 2_000_000;
    let ledger = ResourceLedger::new(clock.clone());
    let _others: Vec<_> = (0..1000).map(|_| ledger.lease(LeaseKind::File, "bench", "held")).collect();
    let began = clock.mono_ns();
    for _ in 0..COUNT {
        drop(std::hint::black_box(ledger.lease(LeaseKind::Websocket, "bench", "static name")));
    }
    console_line(&format!(
        "lease, register and release, static name: {} ns",
        clock.since(began).as_nanos() as u64 / COUNT
    ));
    let began = clock.mono_ns();
    for at in 0..COUNT {
        drop(std::hint::black_box(ledger.lease(LeaseKind::Websocket, "bench", format!("order {at}"))));
    }
    console_line(&format!(
        "lease, register and release, made-up name: {} ns",
        clock.since(began).as_nanos() as u64 / COUNT
    ));
}

fn task_cost(clock: &Clock) {
    const COUNT: u64 = 200_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let group = Supervisor::default().group("bench");
    let took = runtime.block_on(async {
        let began = clock.mono_ns();
        for _ in 0..COUNT {
            group.spawn("job", TaskKind::Background, async {}).ended().await;
        }
        clock.since(began)
    });
    console_line(&format!("supervised task, spawn to end: {} ns", took.as_nanos() as u64 / COUNT));
}

fn clock_cost(clock: &Clock) {
    const COUNT: u64 = 5_000_000;
    let began = clock.mono_ns();
    for _ in 0..COUNT {
        std::hint::black_box(clock.mono_ns());
    }
    console_line(&format!("clock read, monotonic: {} ns", clock.since(began).as_nanos() as u64 / COUNT));
}

fn quantiles(name: &str, mut us: Vec<f64>) {
    us.sort_by(f64::total_cmp);
    let at = |share: f64| us.get(((us.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    console_line(&format!("{name}: p50 {:.0} us, p99 {:.0} us, max {:.0} us", at(0.5), at(0.99), at(1.0)));
}

/// From kill(SIGINT) to the callback that closes the gate, every worker blocked.
fn gate_latency(clock: &Clock) {
    let mut us = Vec::new();
    for _ in 0..ROUNDS {
        let watchdog = WatchdogConfig { alert_after: Duration::from_secs(5), ..WatchdogConfig::default() };
        let config = LifecycleConfig {
            runtime: RuntimeKind::MultiThread { workers: 2 },
            watchdog,
            ..LifecycleConfig::default()
        };
        let lifecycle = Lifecycle::start(config).expect("the control thread");
        let (closed, gate) = sync_channel(1);
        let in_callback = clock.clone();
        lifecycle.stop_signal().on_request(move |_| closed.try_send(in_callback.mono_ns()).unwrap_or_default());
        let (sent, is_sent) = sync_channel(1);
        let (bystander_clock, (all_blocked, wait_blocked)) = (clock.clone(), sync_channel::<()>(2));
        let killer = std::thread::Builder::new().spawn(move || {
            for _ in 0..2 {
                wait_blocked.recv().expect("a worker");
            }
            std::thread::sleep(Duration::from_millis(2));
            let now = bystander_clock.mono_ns();
            kill_process(getpid(), Signal::INT).expect("kill");
            sent.send(now).expect("a receiver");
        });
        let outcome = lifecycle.run(|context: &RunContext| {
            let group = context.supervisor.group("strategies");
            Ok::<_, PlanError>(Program::new(StopPlan::empty(), async move {
                for at in 0..2 {
                    let all_blocked = all_blocked.clone();
                    group.spawn(&format!("stuck-{at}"), TaskKind::Background, async move {
                        all_blocked.send(()).expect("a receiver");
                        std::thread::sleep(Duration::from_millis(15));
                    });
                }
                Ok::<(), String>(())
            }))
        });
        outcome.finish();
        killer.expect("a thread").join().expect("no panic");
        let (sent_ns, closed_ns): (u64, u64) = (is_sent.recv().expect("sent"), gate.recv().expect("closed"));
        us.push(closed_ns.saturating_sub(sent_ns) as f64 / 1e3);
    }
    quantiles("SIGINT to gate closed, all workers blocked", us);
}

/// A life with nothing in it: start, and from the request to everything being gone.
fn empty_stop(clock: &Clock) {
    let (mut starts, mut stops, mut plans) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = clock.mono_ns();
        let lifecycle = Lifecycle::start(LifecycleConfig::default()).expect("the control thread");
        let in_start = clock.clone();
        let (stamp, stamped) = sync_channel(2);
        let outcome = lifecycle.run(|context: &RunContext| {
            let stop = context.stop.clone();
            Ok::<_, PlanError>(Program::new(StopPlan::empty(), async move {
                stamp.send(in_start.mono_ns()).expect("a receiver");
                stop.request(StopReason::Finished { what: "the bench".to_owned() });
                Ok::<(), String>(())
            }))
        });
        plans.push(outcome.stop.took.as_secs_f64() * 1e6);
        assert_eq!(outcome.finish().code(), 0);
        let requested = stamped.recv().expect("stamped");
        starts.push(requested.saturating_sub(began) as f64 / 1e3);
        stops.push(clock.since(requested).as_secs_f64() * 1e6);
    }
    quantiles("start: control thread, handlers, watchdog, trading runtime", starts);
    quantiles("empty plan alone", plans);
    quantiles("stop of an empty system: request to last line, threads joined", stops);
}
