//! Figures of the whole program, measured from the outside with the real binary: process start to trading ready, signal to
//! exit, signal to closed gate, and what an idle run costs. Prints a table; nothing is asserted.
//!
//! `cargo bench -p keel-launcher --bench process`

use keel_lifecycle::Clock;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

const BIN: &str = env!("CARGO_BIN_EXE_launcher");
const SAMPLES: usize = 30;
const SAMPLES_WITH_ORDERS: usize = 12;
const ACCOUNT: (&str, &str) = ("bench-key", "bench-secret");

/// A launcher that runs.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(BIN);
        command.args(arguments).current_dir(folder).env("KEEL_API_KEY", ACCOUNT.0).env("KEEL_API_SECRET", ACCOUNT.1);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the launcher starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        Self { child, lines }
    }

    fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.expect("stderr is text");
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line {text:?} in\n{}", seen.join("\n"));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it is alive");
    }

    /// Reads to the end and reaps; returns the exit code.
    fn wait(mut self) -> Option<i32> {
        self.lines.by_ref().for_each(drop);
        self.child.wait().expect("it is ours").code()
    }

    fn stat(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    /// User and system time; unit: clock ticks of 10 ms.
    fn cpu_ticks(&self) -> u64 {
        let stat = self.stat("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
    }
}

/// p50, p99 and the slowest, in milliseconds.
fn report(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |share: f64| {
        samples[((samples.len() as f64 * share).ceil() as usize).clamp(1, samples.len()) - 1].as_secs_f64() * 1e3
    };
    say(&format!("{what:<64} p50 {:>7.1} ms  p99 {:>7.1} ms  n={}", at(0.50), at(0.99), samples.len()));
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn start_to_ready(clock: &Clock) {
    let (mut ready, mut gate, mut exit) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let folder = tempfile::tempdir().expect("a folder");
        let began = clock.mono_ns();
        let mut running = Running::start(folder.path(), &["--paper", "--strategy", "idle"]);
        running.until("trading: ready");
        ready.push(clock.since(began));
        std::thread::sleep(Duration::from_millis(200));
        let signalled = clock.mono_ns();
        running.signal(Signal::INT);
        // Told right after the gate was closed.
        running.until("SIGINT: stopping in order");
        gate.push(clock.since(signalled));
        assert_eq!(running.wait(), Some(130));
        exit.push(clock.since(signalled));
    }
    report("process start to trading ready, embedded venue", ready);
    report("SIGINT to closed gate (upper bound: its line was read)", gate);
    report("SIGINT to exit, nothing open, embedded venue", exit);
}

fn start_venue(folder: &Path) -> (Running, String) {
    let account = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    let mut venue = Running::start(folder, &["venue", "--port", "0", "--account", &account]);
    let url = venue.until("listening on ").split("listening on ").nth(1).expect("an address").trim().to_owned();
    (venue, url)
}

/// Runs that keep their orders leave more and more of them; the measured run finds and cancels them all.
fn exit_with_orders(clock: &Clock) {
    let mut exit = Vec::new();
    for _ in 0..SAMPLES_WITH_ORDERS {
        let folder = tempfile::tempdir().expect("a folder");
        let (venue, url) = start_venue(folder.path());
        let live = ["--live", "--venue", &url, "--confirm-live", "paper"];
        for _ in 0..3 {
            let keep = [&live[..], &["--duration", "0.7", "--on-exit", "keep"]].concat();
            assert_eq!(Running::start(folder.path(), &keep).wait(), Some(0));
        }
        let mut running = Running::start(folder.path(), &live);
        running.until("trading: ready");
        std::thread::sleep(Duration::from_millis(700));
        let signalled = clock.mono_ns();
        running.signal(Signal::INT);
        assert_eq!(running.wait(), Some(130));
        exit.push(clock.since(signalled));
        venue.signal(Signal::TERM);
        venue.wait();
    }
    report("SIGINT to exit, more than 10 open orders, separate venue", exit);
}

fn idle_cost(clock: &Clock) {
    let folder = tempfile::tempdir().expect("a folder");
    let (venue, url) = start_venue(folder.path());
    let account = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    let arguments = ["--paper", "--strategy", "idle", "--venue", &url, "--account", &account];
    let mut running = Running::start(folder.path(), &arguments);
    running.until("trading: ready");
    let (began, ticks) = (clock.mono_ns(), running.cpu_ticks());
    std::thread::sleep(Duration::from_secs(20));
    let used_ms = (running.cpu_ticks() - ticks) as f64 * 10.0;
    let share = used_ms / clock.since(began).as_secs_f64() / 10.0;
    let status = running.stat("status");
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", running.child.id())).map_or(0, Iterator::count);
    say(&format!(
        "idle on a separate venue: {share:.2} % of one core, resident {} (most {}), {descriptors} descriptors, {} threads",
        field("VmRSS:"),
        field("VmHWM:"),
        field("Threads:")
    ));
    running.signal(Signal::INT);
    assert_eq!(running.wait(), Some(130));
    venue.signal(Signal::TERM);
    venue.wait();
}

fn main() {
    let clock = Clock::system();
    start_to_ready(&clock);
    exit_with_orders(&clock);
    idle_cost(&clock);
}
