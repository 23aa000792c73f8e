//! Starts children, sends signals, reads lines, checks exit codes; and lists and filters like libtest does.

use std::io::{BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use keel_lifecycle::Clock;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const SCENARIO: &str = "KEEL_STOP_SCENARIO";
/// Generous: the machine may be busy. What must be quick is compared with this machine's own pace, or only printed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A named test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) play: Play,
}

/// What a test does.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// Starts the scenario, sends the signals when it is ready, checks the exit code and what was printed.
    Row { scenario: &'static str, signals: &'static [Signal], code: i32, needles: &'static [&'static str] },
    /// Something of its own.
    Test(fn()),
}

impl Play {
    fn run(self) {
        match self {
            Self::Row { scenario, signals, code, needles } => {
                signalled(scenario, signals).expect(code, needles);
            }
            Self::Test(test) => test(),
        }
    }
}

/// Starts the scenario and sends the signals, one after another, once it is ready.
pub(crate) fn signalled(scenario: &str, signals: &[Signal]) -> Played {
    signalled_at(scenario, "ready", signals)
}

/// The same, once it has said `at`.
pub(crate) fn signalled_at(scenario: &str, at: &str, signals: &[Signal]) -> Played {
    let mut player = Player::start(scenario);
    for signal in signals {
        player.wait_for(at);
        player.signal(*signal);
        player.wait_for("stopping in order");
    }
    player.end()
}

/// Runs the cases whose names match the arguments; understands what cargo and nextest pass.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let mut filters = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if ["--test-threads", "--format", "--color", "--skip", "-Z"].contains(&arg.as_str()) {
            rest.next();
        } else if !arg.starts_with('-') {
            filters.push(arg.as_str());
        }
    }
    let matches = |name: &str| {
        let fits = |filter: &&str| if has("--exact") { name == *filter } else { name.contains(*filter) };
        filters.is_empty() || filters.iter().any(fits)
    };
    let chosen: Vec<&Case> = cases.iter().filter(|case| matches(case.name) && !has("--ignored")).collect();
    if has("--list") {
        chosen.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} scenarios", chosen.len());
    let mut failed = Vec::new();
    let clock = Clock::system();
    for Case { name, play } in chosen.iter().copied() {
        let began = clock.mono_ns();
        let passed = catch_unwind(AssertUnwindSafe(|| play.run())).is_ok();
        println!(
            "scenario {name} ... {} ({} ms)",
            if passed { "ok" } else { "FAILED" },
            clock.since(began).as_millis()
        );
        if !passed {
            failed.push(*name);
        }
    }
    println!("\nscenarios: {} passed, {} failed {failed:?}", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A child process that plays one scenario.
pub(crate) struct Player {
    scenario: String,
    child: Child,
    lines: Option<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
    seen: Vec<String>,
}

/// How a child ended.
pub(crate) struct Played {
    pub(crate) scenario: String,
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    /// From the last signal (or the start) to the end.
    pub(crate) took: Duration,
}

impl Player {
    pub(crate) fn start(scenario: &str) -> Self {
        let mut player = Self::start_unread(scenario);
        let stderr = player.child.stderr.take().unwrap();
        let (sender, lines) = sync_channel(100_000);
        let name = "reader".to_owned();
        let reader = std::thread::Builder::new().name(name).spawn(move || read_lines(stderr, &sender)).unwrap();
        (player.lines, player.reader) = (Some(lines), Some(reader));
        player
    }

    /// The same, without anybody reading its stderr.
    pub(crate) fn start_unread(scenario: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .env(SCENARIO, scenario)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { scenario: scenario.to_owned(), child, lines: None, reader: None, seen: Vec::new() }
    }

    /// Closes our end of its stderr.
    pub(crate) fn close_stderr(&mut self) {
        drop(self.child.stderr.take());
    }

    /// Waits for a line that contains `needle` and returns it.
    pub(crate) fn wait_for(&mut self, needle: &str) -> String {
        let clock = Clock::system();
        let deadline = clock.deadline(PATIENCE);
        let lines = self.lines.as_ref().expect("somebody reads");
        loop {
            match lines.recv_timeout(deadline.remaining()) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(needle) {
                        return line;
                    }
                }
                Err(error) => {
                    let why = if error == RecvTimeoutError::Timeout { "in time" } else { "before its end" };
                    self.child.kill().ok();
                    panic!("{}: no line with {needle:?} {why}; it said:\n{}", self.scenario, self.seen.join("\n"));
                }
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Played {
        let clock = Clock::system();
        let began = clock.mono_ns();
        let deadline = clock.deadline(PATIENCE);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if deadline.is_past() {
                self.child.kill().ok();
                let rest = self.drain();
                panic!("{}: hangs; it said:\n{rest}", self.scenario);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = clock.since(began);
        let output = self.drain();
        Played { scenario: std::mem::take(&mut self.scenario), code: status.code(), output, took }
    }

    fn drain(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        if let Some(lines) = self.lines.take() {
            self.seen.extend(lines.try_iter());
        }
        if let Some(mut stderr) = self.child.stderr.take() {
            let mut text = String::new();
            stderr.read_to_string(&mut text).ok();
            self.seen.push(text);
        }
        self.seen.join("\n")
    }
}

fn read_lines(stderr: ChildStderr, sender: &std::sync::mpsc::SyncSender<String>) {
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { return };
        if sender.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Played {
    /// Checks the exit code and that each of these texts was printed.
    pub(crate) fn expect(&self, code: i32, needles: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}: exit code; it said:\n{}", self.scenario, self.output);
        for needle in needles {
            assert!(self.output.contains(needle), "{}: {needle:?} is missing in:\n{}", self.scenario, self.output);
        }
        self
    }

    pub(crate) fn expect_absent(&self, needles: &[&str]) -> &Self {
        for needle in needles {
            assert!(!self.output.contains(needle), "{}: {needle:?} is in:\n{}", self.scenario, self.output);
        }
        self
    }
}
