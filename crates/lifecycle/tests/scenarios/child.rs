//! The process under test: the design's groups and stop plan with short deadlines, and one thing that goes wrong.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keel_lifecycle::{
    Clock, EscapeCause, LeakSection, LeaseKind, Lifecycle, LifecycleConfig, PlanError, Program, RestartPolicy,
    RunContext, RunOutcome, RuntimeKind, StopContext, StopError, StopPlan, StopStep, TaskKind, WatchdogConfig,
    console_line, open_descriptors, threads,
};

use rustix::process::{Resource, getrlimit, setrlimit};

const FOREVER: Duration = Duration::from_secs(3600);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config(scenario: &str) -> LifecycleConfig {
    let blocks = scenario.starts_with("block");
    LifecycleConfig {
        runtime: if scenario == "block-single" {
            RuntimeKind::CurrentThread
        } else {
            RuntimeKind::MultiThread { workers: 2 }
        },
        duration: scenario.starts_with("duration").then_some(ms(100)),
        watchdog: WatchdogConfig {
            tick: ms(20),
            alert_after: ms(100),
            blocked_after: if scenario == "block-alone" { ms(400) } else { Duration::from_secs(20) },
            blocked_after_stop: if blocks { ms(300) } else { Duration::from_secs(20) },
            ..WatchdogConfig::default()
        },
        ..LifecycleConfig::default()
    }
}

/// Plays the scenario and returns the exit code.
pub(crate) fn run(scenario: &str) -> ExitCode {
    match scenario {
        "cycles" => cycles(),
        _ => {
            let Some(outcome) = play(scenario, config(scenario)) else { return ExitCode::FAILURE };
            outcome.stop.table().lines().for_each(console_line);
            if scenario == "flood" {
                // Nobody reads: this blocks in the kernel, for good.
                use std::io::Write;
                drop(std::io::stderr().write_all(&vec![b'x'; 1 << 20]));
            }
            outcome.finish().into()
        }
    }
}

fn play(scenario: &str, config: LifecycleConfig) -> Option<RunOutcome> {
    if scenario == "no-descriptors-at-all" {
        close_the_door();
    }
    let lifecycle = match Lifecycle::start(config) {
        Ok(lifecycle) => lifecycle,
        Err(error) => {
            console_line(&error.to_string());
            return None;
        }
    };
    console_line("handlers installed");
    lifecycle.stop_signal().on_request(|_| console_line(&format!("gate closed at {}", Clock::system().now_ns())));
    lifecycle.control().on_dump("open orders", || "K-1 BTCUSDT buy 0.1".to_owned());
    lifecycle.watchdog().on_escape(|cause: EscapeCause| async move { format!("3 orders cancelled because {cause}") });
    lifecycle.watchdog().on_last_words(|| console_line("log flushed"));
    if scenario == "no-descriptors" {
        close_the_door();
    }
    let scenario = scenario.to_owned();
    Some(lifecycle.run(move |context| set_up(&scenario, context)))
}

/// No further descriptor can be opened.
fn close_the_door() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(open_descriptors().unwrap().len() as u64);
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn set_up(scenario: &str, context: &RunContext) -> Result<Program, PlanError> {
    let was_cut = Arc::new(AtomicBool::new(false));
    let plan = plan(scenario, context, &was_cut)?;
    let (name, context) = (scenario.to_owned(), context.clone());
    let program = Program::new(plan, start(name, context));
    let left = scenario == "slow-left";
    Ok(program.leak_sections(move || {
        let unsettled =
            if left && was_cut.load(Ordering::SeqCst) { vec!["K-1 of unknown state".to_owned()] } else { vec![] };
        vec![
            LeakSection::leak("orders not terminal", unsettled),
            LeakSection::listed("orders kept by policy", vec!["K-7 stop-loss".to_owned()]),
        ]
    }))
}

fn plan(scenario: &str, context: &RunContext, was_cut: &Arc<AtomicBool>) -> Result<StopPlan, PlanError> {
    let group = |name: &str| context.supervisor.group(name);
    let say = |name: &'static str| {
        move |_: StopContext| async move {
            console_line(&format!("step {name} runs"));
            Ok::<(), StopError>(())
        }
    };
    let (slow, hang, panics, cut) =
        (scenario.starts_with("slow"), scenario.starts_with("hang"), scenario == "step-panic", was_cut.clone());
    let coordinator = if scenario == "hang" { ms(400) } else { Duration::from_secs(15) };
    let refers = if scenario == "bad-plan" { "no-such-step" } else { "stop-risk" };
    StopPlan::builder(Duration::from_secs(20))
        .step(StopStep::new("close-gate", ms(100), say("close-gate")).essential())
        .step(StopStep::stop_group("stop-strategies", ms(500), group("strategies")).after(&["close-gate"]))
        .step(StopStep::stop_group("stop-market-streams", ms(500), group("market-streams")).after(&["stop-strategies"]))
        .step(
            StopStep::new("settle-in-flight", Duration::from_secs(15), move |_| async move {
                if slow {
                    cut.store(true, Ordering::SeqCst);
                    console_line("settling");
                    tokio::time::sleep(ms(1500)).await;
                    cut.store(false, Ordering::SeqCst);
                }
                Ok(())
            })
            .after(&["stop-strategies"]),
        )
        .step(
            StopStep::new("stop-coordinator", coordinator, move |context| async move {
                console_line("step stop-coordinator runs");
                if hang {
                    std::future::pending::<()>().await;
                }
                if panics {
                    panic!("the coordinator's step");
                }
                context.note("kept by policy: K-7 stop-loss");
                Ok(())
            })
            .after(&["settle-in-flight"])
            .essential(),
        )
        .step(StopStep::stop_group("stop-execution", ms(500), group("execution")).after(&["stop-coordinator"]))
        .step(StopStep::new("stop-risk", ms(500), say("stop-risk")).after(&["stop-execution"]).essential())
        .step(
            StopStep::stop_group("close-exchanges", ms(500), group("exchange/venue"))
                .after(&[refers, "stop-market-streams"]),
        )
        .step(StopStep::new("flush-store", ms(500), say("flush-store")).after(&["close-exchanges"]).essential())
        .build()
}

async fn start(scenario: String, context: RunContext) -> Result<(), String> {
    console_line("starting");
    match scenario.as_str() {
        "connecting" => tokio::time::sleep(FOREVER).await,
        "start-fails" => return Err("port 8080 is taken".to_owned()),
        "start-panics" => panic!("in start"),
        _ => {}
    }
    for (group, task) in [("market-streams", "binance"), ("execution", "order-manager"), ("exchange/venue", "rest")] {
        let stubborn = scenario.ends_with("stubborn") && task == "order-manager";
        context.supervisor.group(group).spawn_with(task, TaskKind::Critical, move |token| async move {
            if stubborn {
                std::future::pending::<()>().await;
            }
            token.cancelled().await;
        });
    }
    go_wrong(&scenario, &context);
    console_line("ready");
    Ok(())
}

fn boom(message: &str) {
    panic!("{message}");
}

fn go_wrong(scenario: &str, context: &RunContext) {
    let strategies = context.supervisor.group("strategies");
    match scenario {
        "panic" => drop(strategies.spawn("ema", TaskKind::Critical, async {
            tokio::time::sleep(ms(30)).await;
            boom("boom");
        })),
        "early" => drop(strategies.spawn("ema", TaskKind::Critical, async {})),
        "error" => drop(strategies.spawn("ema", TaskKind::Critical, async { Err::<(), _>("bad book") })),
        "background-panic" => drop(strategies.spawn("job", TaskKind::Background, async { boom("in a job") })),
        "restarts" => {
            let policy = RestartPolicy { backoff_initial: ms(1), restarts_max: 3, ..RestartPolicy::default() };
            drop(strategies.spawn_restartable("ema", policy, |_| async { Err::<(), _>("reset by peer") }));
        }
        "unnamed" => drop(tokio::runtime::Handle::current().spawn(std::future::pending::<()>())),
        "forgotten" => {
            let tools = context.supervisor.group("tools");
            drop(tools.spawn("forgotten", TaskKind::Background, std::future::pending::<()>()));
        }
        "lease" => std::mem::forget(context.ledger.lease(LeaseKind::Websocket, "exchange", "binance market")),
        "unclosed" => drop(context.ledger.lease_with_close(LeaseKind::HttpClient, "exchange", "binance rest")),
        "descriptor" => std::mem::forget(std::net::TcpListener::bind("127.0.0.1:0").unwrap()),
        "thread" => drop(std::thread::Builder::new().name("forgotten".into()).spawn(|| std::thread::sleep(FOREVER))),
        "blocking-thread" => {
            tokio::runtime::Handle::current().spawn_blocking(|| std::thread::sleep(FOREVER));
        }
        "block-single" | "block-all" | "block-alone" => {
            for at in 0..2 {
                drop(strategies.spawn(&format!("stuck-{at}"), TaskKind::Critical, async {
                    tokio::time::sleep(ms(30)).await;
                    std::thread::sleep(FOREVER);
                }));
            }
        }
        _ => {}
    }
}

/// Many lives in one process; descriptors and threads must come back to where they were.
fn cycles() -> ExitCode {
    let quiet = |scenario: &str| {
        let outcome = play(scenario, LifecycleConfig { duration: Some(ms(1)), ..config(scenario) }).unwrap();
        assert!(outcome.leaks.is_clean(), "{}", outcome.leaks.table());
        assert_eq!(outcome.finish().code(), 0);
    };
    // The first life opens what the process keeps for good: tokio's own signal pipe.
    quiet("plain");
    let count = || (open_descriptors().unwrap().len(), threads().unwrap().len());
    let before = count();
    for _ in 0..100 {
        quiet("plain");
    }
    let mut after = count();
    for _ in 0..500 {
        if after == before {
            break;
        }
        std::thread::sleep(ms(2));
        after = count();
    }
    console_line(&format!("100 cycles: {before:?} -> {after:?}"));
    ExitCode::from(u8::from(after != before))
}
