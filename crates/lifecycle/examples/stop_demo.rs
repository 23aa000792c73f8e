//! A small system that starts, works, and stops in order: press Ctrl+C once, twice, three times.
//!
//! `cargo run -p keel-lifecycle --example stop_demo` (S3-053)

use std::process::ExitCode;
use std::time::Duration;

use keel_lifecycle::{
    ExitStatus, LeaseKind, Lifecycle, LifecycleConfig, PlanError, Program, RestartPolicy, RunContext, StopPlan,
    StopStep, TaskKind, console_line,
};

fn main() -> ExitCode {
    let config = LifecycleConfig { duration: Some(Duration::from_secs(60)), ..LifecycleConfig::default() };
    let lifecycle = match Lifecycle::start(config) {
        Ok(lifecycle) => lifecycle,
        Err(error) => {
            console_line(&error.to_string());
            return ExitStatus::Failed.into();
        }
    };
    // What must happen at once runs on the control thread, whatever the trading runtime is doing.
    lifecycle.stop_signal().on_request(|reason| console_line(&format!("gate closed: {reason}")));
    let outcome = lifecycle.run(set_up);
    outcome.stop.table().lines().for_each(console_line);
    outcome.finish().into()
}

fn set_up(context: &RunContext) -> Result<Program, PlanError> {
    let (strategies, streams) = (context.supervisor.group("strategies"), context.supervisor.group("market-streams"));
    let plan = StopPlan::builder(Duration::from_secs(30))
        .step(StopStep::stop_group("stop-strategies", Duration::from_secs(1), strategies.clone()))
        .step(
            StopStep::new("cancel-orders", Duration::from_secs(10), |stop| async move {
                tokio::time::sleep(Duration::from_secs(3)).await; // the venue takes its time
                stop.note("2 orders cancelled, confirmed by the venue");
                Ok(())
            })
            .after(&["stop-strategies"])
            .essential(),
        )
        .step(StopStep::stop_group("stop-streams", Duration::from_secs(10), streams.clone()).after(&["cancel-orders"]))
        .build()?;
    let ledger = context.ledger.clone();
    Ok(Program::new(plan, async move {
        let socket = ledger.lease(LeaseKind::Websocket, "exchange", "market stream");
        strategies.spawn_with("ema-cross", TaskKind::Critical, |token| async move { token.cancelled().await });
        streams.spawn("reader", TaskKind::Background, {
            let token = streams.token();
            async move {
                token.cancelled().await;
                drop(socket);
            }
        });
        streams.spawn_restartable("prices", RestartPolicy::default(), |token| async move {
            token.cancelled().await;
            Ok::<(), String>(())
        });
        console_line("running for 60 s; Ctrl+C stops, Ctrl+\\ shows what runs");
        Ok::<(), String>(())
    }))
}
