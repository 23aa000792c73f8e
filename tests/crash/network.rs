//! The network between launcher and venue: refused, reset, half-open, slow, partitioned, gone while it stops. After each fault
//! the launcher is started again without it, and everything must fit.

use crate::{TestBench, bench, converges, place};
use keel_crashtest::place::{Run, Running};
use keel_crashtest::trial::RUN_LIMIT;
use keel_crashtest::{Ended, Place, phase};
use keel_faultproxy::{Break, Door, Lane, Plan, Proxy, Scope};
use rustix::process::Signal;
use std::time::Duration;

/// What market and account streams and the WebSocket API begin with.
const SOCKETS: &[&str] = &["GET /ws", "GET /stream"];

/// A venue with a proxy in front of it.
struct Net {
    place: Place,
    proxy: Proxy,
    runtime: tokio::runtime::Runtime,
    _bench: TestBench,
}

impl Net {
    fn new() -> Self {
        let bench = bench();
        let place = place(&bench);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let target = place.url.trim_start_matches("http://").parse().unwrap();
        let proxy = runtime.block_on(async { Proxy::start(target) }).unwrap();
        Self { place, proxy, runtime, _bench: bench }
    }

    fn launch(&self, run: &Run) -> Running {
        self.place.launch_at(&self.proxy.url(), "through", run, None).unwrap()
    }

    /// Starts trading through the proxy.
    #[track_caller]
    fn trading(&self) -> Running {
        let mut running = self.launch(&phase::busy());
        assert!(running.until("trading: ready", RUN_LIMIT), "{}", running.said());
        pause(400);
        running
    }

    /// Ends the proxy, starts again without it, and compares.
    fn converges(self, ended: Ended) {
        let report = self.runtime.block_on(self.proxy.stop(Duration::from_secs(5)));
        assert!(report.is_clean(), "{report}");
        let outcome = converges(self.place, Some(ended));
        assert!(outcome.facts.sessions > 0);
    }
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Asks for the stop and waits for it.
#[track_caller]
fn stopped(running: Running) -> Ended {
    running.signal(Signal::TERM);
    let said = running.stderr.clone();
    let ended = running.wait(RUN_LIMIT).unwrap();
    let said = std::fs::read_to_string(said).unwrap_or_default();
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    ended
}

#[test]
fn n_02_a_venue_that_refuses_or_ignores_connections_is_told_in_time_and_nothing_was_sent() {
    for door in [Door::Refuse, Door::Ignore, Door::Hollow] {
        let net = Net::new();
        net.proxy.set_door(door);
        pause(if door == Door::Ignore { 500 } else { 50 });
        let ended = net.launch(&phase::recovery("8")).wait(RUN_LIMIT).unwrap();
        assert_eq!(ended.code, Some(1), "{door:?}");
        assert!(!ended.is_overdue && ended.took < Duration::from_secs(30), "{door:?}: {ended:?}");
        net.proxy.set_door(Door::Open);
        net.converges(ended);
    }
}

#[test]
fn n_02_refused_in_mid_trade_it_comes_back_by_itself() {
    let net = Net::new();
    let running = net.trading();
    net.proxy.set_door(Door::Refuse);
    net.proxy.break_all(Break::Reset);
    pause(1_000);
    net.proxy.set_door(Door::Open);
    pause(3_000);
    let before = net.proxy.stats().down_bytes;
    pause(500);
    assert!(net.proxy.stats().down_bytes > before, "it did not come back");
    net.converges(stopped(running));
}

#[test]
fn n_04_connections_reset_in_the_middle_of_requests_and_answers_double_nothing() {
    for (up, down) in [(Some(700), None), (Some(1_900), None), (None, Some(5_000)), (None, Some(12_345))] {
        let net = Net::new();
        let running = net.trading();
        let lane = |after: Option<u64>| after.map_or_else(Lane::default, |it| Lane::broken(it, Break::Reset));
        net.proxy.set_plan(Plan { up: lane(up), down: lane(down), ..Plan::default() });
        net.proxy.break_all(Break::Reset);
        pause(1_500);
        net.proxy.set_plan(Plan::default());
        net.proxy.break_all(Break::Reset);
        pause(1_500);
        net.converges(stopped(running));
    }
}

#[test]
fn n_05_half_open_connections_are_found_out_and_replaced() {
    let net = Net::new();
    let running = net.trading();
    net.proxy.hold(Break::HalfOpen);
    let accepted = net.proxy.stats().accepted;
    // New connections are dead, too, while it lasts; that some are tried shows that the silence was noticed.
    let deadline = net.place.clock().deadline(Duration::from_secs(25));
    while net.proxy.stats().accepted == accepted && !deadline.is_past() {
        pause(50);
    }
    assert!(net.proxy.stats().accepted > accepted, "the silence was not noticed\n{}", running.said());
    net.proxy.break_all(Break::Reset);
    net.proxy.release();
    pause(4_000);
    net.converges(stopped(running));
}

#[test]
fn n_06_an_answer_that_drips_is_given_up_after_the_time_for_the_whole_request() {
    let net = Net::new();
    net.proxy.set_plan(Plan { down: Lane::drip(20), ..Plan::default() });
    let ended = net.launch(&phase::recovery("20")).wait(RUN_LIMIT).unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(!ended.is_overdue, "{ended:?}");
    net.proxy.set_plan(Plan::default());
    net.converges(ended);
}

#[test]
fn n_18_late_and_narrow_lines_break_no_deadline_and_double_nothing() {
    let net = Net::new();
    let mut running = net.trading();
    let lane = Lane {
        jitter: Duration::from_millis(800),
        bytes_per_s: Some(4_000),
        chunk_bytes_max: Some(400),
        ..Lane::late(Duration::from_millis(200))
    };
    net.proxy.set_plan(Plan { up: lane, down: lane, ..Plan::default() });
    net.proxy.break_all(Break::Reset);
    pause(5_000);
    assert!(running.is_running() || running.said().contains("exit code"), "{}", running.said());
    net.converges(stopped(running));
}

#[test]
fn n_19_streams_down_and_requests_up_and_the_other_way_round() {
    for scope in [Scope::Starting(SOCKETS), Scope::NotStarting(SOCKETS)] {
        let net = Net::new();
        let running = net.trading();
        net.proxy.hold_some(Break::HalfOpen, scope);
        pause(3_500);
        net.proxy.release();
        net.proxy.break_some(Break::Reset, scope);
        pause(3_000);
        net.converges(stopped(running));
    }
}

#[test]
fn s_03_it_stops_within_its_time_while_the_venue_is_gone_and_says_what_is_left() {
    let net = Net::new();
    let running = net.trading();
    net.proxy.hold(Break::HalfOpen);
    net.proxy.set_door(Door::Hollow);
    let said = running.stderr.clone();
    let ended = stopped(running);
    let text = std::fs::read_to_string(said).unwrap();
    assert_eq!(ended.code, Some(1), "{text}");
    assert!(!ended.is_overdue && ended.took < Duration::from_secs(40), "{ended:?}");
    let shown = std::fs::read_to_string(net.place.folder.join("through.out")).unwrap();
    assert!(shown.contains("still open: orders:") || shown.contains("order of unknown state:"), "{shown}");
    net.proxy.set_door(Door::Open);
    net.proxy.release();
    net.converges(ended);
}
