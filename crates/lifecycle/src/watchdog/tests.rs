//! Tests of the watchdog with an exit that only records.

use super::*;
use std::sync::mpsc::{Receiver, SyncSender};

const LONG: Duration = Duration::from_secs(20);

fn quick() -> WatchdogConfig {
    WatchdogConfig {
        tick: Duration::from_millis(5),
        alert_after: Duration::from_millis(20),
        blocked_after: Duration::from_millis(60),
        blocked_after_stop: Duration::from_millis(30),
        stop_grace: Duration::from_millis(50),
        escape_limit: Duration::from_millis(500),
        abort_limit: Duration::from_millis(50),
        last_words_limit: Duration::from_millis(200),
    }
}

struct Rig {
    supervisor: Supervisor,
    control: ControlPlane,
    watchdog: Watchdog,
    exits: Receiver<u8>,
    alerts: AlertHub,
}

fn rig(config: WatchdogConfig, stop_total: Duration) -> Rig {
    let supervisor = Supervisor::default();
    let control = ControlPlane::start(&supervisor, false).unwrap();
    let (sender, exits): (SyncSender<u8>, _) = sync_channel(1);
    let alerts = AlertHub::default();
    let exit: ExitFn = Box::new(move |code| sender.try_send(code).unwrap_or_default());
    let watchdog = Watchdog::start_with(config, stop_total, &supervisor, &control, alerts.clone(), exit).unwrap();
    Rig { supervisor, control, watchdog, exits, alerts }
}

impl Rig {
    fn end(self) {
        self.watchdog.disarm().unwrap();
        self.control.shutdown(LONG).unwrap();
        assert_eq!(self.supervisor.ledger().total(), 0);
    }
}

#[test]
fn blocked_runtime_is_named_the_gate_closed_the_escape_run_and_the_process_ended() {
    let rig = rig(quick(), LONG);
    let mut alerts = rig.alerts.subscribe();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (closed, gate) = sync_channel(1);
    rig.supervisor.stop_signal().on_request(move |reason| drop(closed.try_send(reason.clone())));
    let (escaped, escape) = sync_channel(1);
    rig.watchdog.on_escape(move |cause| {
        let escaped = escaped.clone();
        async move {
            drop(escaped.try_send(cause));
            "2 orders cancelled".to_owned()
        }
    });
    let (flushed, flush) = sync_channel(1);
    rig.watchdog.on_last_words(move || flushed.try_send(()).unwrap_or_default());
    let (release, wait) = sync_channel::<()>(1);
    let on_runtime = rig.supervisor.on(runtime.handle().clone());
    rig.watchdog.watch_runtime(&on_runtime.group("lifecycle"));
    on_runtime.group("strategies").spawn("ema", TaskKind::Background, async move { wait.recv().unwrap_or_default() });
    let reason = gate.recv_timeout(LONG).unwrap();
    assert!(matches!(&reason, StopReason::Fault { what } if what.contains("strategies/ema")), "{reason}");
    assert!(matches!(escape.recv_timeout(LONG).unwrap(), EscapeCause::RuntimeBlocked { .. }));
    flush.recv_timeout(LONG).unwrap();
    assert_eq!(rig.exits.recv_timeout(LONG).unwrap(), 1);
    let alert = alerts.try_recv().unwrap();
    assert!(alert.kind == "runtime_blocked" && alert.message.contains("strategies/ema"), "{alert:?}");
    drop(release);
    runtime.block_on(on_runtime.stop_all(LONG));
    rig.end();
}

#[test]
fn overdue_stop_ends_the_process_and_a_hanging_escape_has_its_limit() {
    let config = WatchdogConfig { escape_limit: Duration::from_millis(30), ..quick() };
    let rig = rig(config, Duration::from_millis(20));
    rig.watchdog.on_escape(|_| std::future::pending());
    rig.supervisor.stop_signal().request(StopReason::Interrupt);
    assert_eq!(rig.exits.recv_timeout(LONG).unwrap(), 1);
    rig.end();
}

#[test]
fn abort_ends_the_process_without_the_escape_path() {
    let rig = rig(quick(), LONG);
    let (escaped, escape) = sync_channel::<()>(1);
    rig.watchdog.on_escape(move |_| {
        escaped.try_send(()).ok();
        async { String::new() }
    });
    rig.supervisor.stop_signal().request(StopReason::Interrupt);
    rig.supervisor.stop_signal().raise(Urgency::Abort);
    assert_eq!(rig.exits.recv_timeout(LONG).unwrap(), 1);
    assert!(escape.try_recv().is_err());
    rig.end();
}

#[test]
fn beating_runtime_and_a_disarmed_watchdog_end_nothing() {
    let config = WatchdogConfig { blocked_after: LONG, blocked_after_stop: LONG, ..quick() };
    let rig = rig(config, LONG);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let on_runtime = rig.supervisor.on(runtime.handle().clone());
    rig.watchdog.watch_runtime(&on_runtime.group("lifecycle"));
    std::thread::sleep(Duration::from_millis(60));
    assert!(rig.watchdog.shared.beats.load(Ordering::Relaxed) > 0);
    rig.watchdog.unwatch_runtime();
    assert!(runtime.block_on(on_runtime.stop_all(LONG)).is_clean());
    assert!(!rig.supervisor.stop_signal().is_requested());
    assert!(rig.exits.try_recv().is_err());
    rig.end();
}
