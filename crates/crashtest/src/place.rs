//! Folders and processes of one test: a venue with a log, launchers on it, and their output kept as files.
//!
//! Invariants: every process started here is ended at the latest when its handle is dropped; nothing of this process's
//! environment reaches a launcher but the path; every wait has a limit.

use crate::error::CrashError;
use crate::strike::Strike;
use keel_lifecycle::Clock;
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEY: &str = "crash-key";
const SECRET: &str = "crash-secret";
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for a process to begin.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);

/// What all tests share.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The binary under test.
    pub launcher: PathBuf,
    /// Where the folders go.
    pub root: PathBuf,
    /// Time.
    pub clock: Clock,
}

impl Bench {
    /// A bench; the folder is made.
    pub fn new(launcher: &Path, root: &Path) -> Result<Self, CrashError> {
        let launcher =
            launcher.canonicalize().map_err(|source| CrashError::io("find the launcher", launcher, source))?;
        std::fs::create_dir_all(root).map_err(|source| CrashError::io("make the folder", root, source))?;
        let root = root.canonicalize().map_err(|source| CrashError::io("find", root, source))?;
        Ok(Self { launcher, root, clock: Clock::system() })
    }
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Did it have to be ended because its time was over?
    pub is_overdue: bool,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Was it killed by a signal?
    #[must_use]
    pub const fn was_killed(&self) -> bool {
        self.signal.is_some() && !self.is_overdue
    }
}

/// A process with its output in files.
#[derive(Debug)]
pub struct Running {
    child: Child,
    clock: Clock,
    began_ns: u64,
    /// Its stderr.
    pub stderr: PathBuf,
}

impl Running {
    fn start(mut command: Command, clock: &Clock, folder: &Path, name: &str) -> Result<Self, CrashError> {
        let file = |suffix: &str| {
            let path = folder.join(format!("{name}.{suffix}"));
            File::create(&path).map(|file| (file, path.clone())).map_err(|source| CrashError::io("make", &path, source))
        };
        let ((stdout, _), (stderr, stderr_path)) = (file("out")?, file("err")?);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(|source| CrashError::io("start", &program, source))?;
        Ok(Self { child, clock: clock.clone(), began_ns: clock.mono_ns(), stderr: stderr_path })
    }

    /// Its process id; of a struck run, that of `strace`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already; then there is nobody to tell.
            rustix::process::kill_process(pid, signal).unwrap_or_default();
        }
    }

    /// What stderr says so far.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Waits until stderr holds `text`; false when it ended before or `limit` is over.
    pub fn until(&mut self, text: &str, limit: Duration) -> bool {
        let deadline = self.clock.deadline(limit);
        loop {
            if self.said().contains(text) {
                return true;
            }
            if deadline.is_past() || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return self.said().contains(text);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Is it still there?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, at most `limit`; then it is killed.
    pub fn wait(mut self, limit: Duration) -> Result<Ended, CrashError> {
        let deadline = self.clock.deadline(limit);
        let mut is_overdue = false;
        loop {
            let status = self.child.try_wait().map_err(|source| CrashError::io("wait for", &self.stderr, source))?;
            if let Some(status) = status {
                let took = self.clock.since(self.began_ns);
                return Ok(Ended { code: status.code(), signal: status.signal(), is_overdue, took });
            }
            if deadline.is_past() {
                is_overdue = true;
                self.kill_group();
            }
            std::thread::sleep(LOOK);
        }
    }

    fn kill_group(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process_group(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill_group();
            drop(self.child.wait());
        }
    }
}

/// What one launcher is started with.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Flags.
    pub arguments: Vec<String>,
    /// Configuration on top of the test's own.
    pub config: String,
    /// Another data folder than the place's.
    pub data: Option<PathBuf>,
}

/// The configuration of every launcher of these tests: one worker, so that calls are counted alike, and short bounds, so that
/// an order that never left is known for one within a second.
const CONFIG: &str = "[run]\nworker_threads_count = 1\n[venue]\nrecv_window_ms = 500\nstaleness_bound_ms = 200\n\
    request_timeout_ms = 3000\n[risk]\norders_per_s_max_count = 1000\nopen_orders_max_count = 200\n";

/// One venue, and the data folder of the launchers on it.
#[derive(Debug)]
pub struct Place {
    /// Holds everything.
    pub folder: PathBuf,
    /// Of the venue.
    pub venue_log: PathBuf,
    /// Where the venue listens.
    pub url: String,
    bench: Bench,
    venue: Option<Running>,
}

impl Place {
    /// Makes the folder and starts the venue.
    pub fn open(bench: &Bench, name: &str, seed: u64) -> Result<Self, CrashError> {
        let folder = bench.root.join(name);
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(CrashError::io("empty", &folder, source));
            }
            _ => {}
        }
        std::fs::create_dir_all(&folder).map_err(|source| CrashError::io("make", &folder, source))?;
        let venue_log = folder.join("venue.jsonl");
        let mut command = Command::new(&bench.launcher);
        command.env_clear().current_dir(&folder).args(["venue", "--port", "0", "--seed", &seed.to_string()]);
        command.args(["--account", &format!("{KEY}:{SECRET}"), "--log"]).arg(&venue_log);
        let mut venue = Running::start(command, &bench.clock, &folder, "venue")?;
        if !venue.until("listening on ", BEGIN_LIMIT) {
            return Err(CrashError::Setup { what: "the venue does not listen".into(), path: venue.stderr.clone() });
        }
        let said = venue.said();
        let url = said.split("listening on ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let url = url.unwrap_or_default().to_owned();
        Ok(Self { folder, venue_log, url, bench: bench.clone(), venue: Some(venue) })
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.data().join("live-paper/journal")
    }

    /// The final status of the last run that ended by itself.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.data().join("live-paper/report.json")
    }

    /// Time, as everywhere on this bench.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.bench.clock
    }

    /// The binary under test.
    #[must_use]
    pub fn launcher(&self) -> &Path {
        &self.bench.launcher
    }

    /// Starts a launcher, struck or not. `name` names its output.
    pub fn launch(&self, name: &str, run: &Run, strike: Option<&Strike>) -> Result<Running, CrashError> {
        self.launch_at(&self.url, name, run, strike)
    }

    /// Starts a launcher on another address, such as a proxy's.
    pub fn launch_at(&self, url: &str, name: &str, run: &Run, strike: Option<&Strike>) -> Result<Running, CrashError> {
        let mut command = match strike {
            Some(strike) => {
                strike.command(&self.bench.launcher, &self.data(), &self.folder.join(format!("{name}.strace")))
            }
            None => Command::new(&self.bench.launcher),
        };
        self.prepare(&mut command, url, name, run)?;
        Running::start(command, &self.bench.clock, &self.folder, name)
    }

    /// Starts a launcher through another program: `prefix` and its arguments come first, such as `prlimit --nofile=32`.
    pub fn launch_through(&self, prefix: &[&str], name: &str, run: &Run) -> Result<Running, CrashError> {
        let Some((program, arguments)) = prefix.split_first() else { return self.launch(name, run, None) };
        let mut command = Command::new(program);
        command.args(arguments).arg(&self.bench.launcher);
        self.prepare(&mut command, &self.url, name, run)?;
        Running::start(command, &self.bench.clock, &self.folder, name)
    }

    /// Runs a verb that trades nothing.
    pub fn ask(&self, name: &str, arguments: &[&str]) -> Result<Running, CrashError> {
        let mut command = Command::new(&self.bench.launcher);
        command.env_clear().current_dir(&self.folder).env("NO_COLOR", "1").args(arguments);
        Running::start(command, &self.bench.clock, &self.folder, name)
    }

    fn prepare(&self, command: &mut Command, url: &str, name: &str, run: &Run) -> Result<(), CrashError> {
        let (base, extra) = (self.folder.join("base.toml"), self.folder.join(format!("{name}.toml")));
        for (path, text) in [(&base, CONFIG), (&extra, run.config.as_str())] {
            std::fs::write(path, text).map_err(|source| CrashError::io("write", path, source))?;
        }
        command.args(["--live", "--venue", url, "--confirm-live", "paper"]);
        let data = run.data.clone().unwrap_or_else(|| self.data());
        command.arg("--data-dir").arg(data).arg("-c").arg(&base).arg("-c").arg(&extra).args(&run.arguments);
        command.env_clear().current_dir(&self.folder);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("NO_COLOR", "1");
        command.env("KEEL_API_KEY", KEY).env("KEEL_API_SECRET", SECRET);
        Ok(())
    }

    /// Ends the venue and removes the folder.
    pub fn discard(mut self) {
        drop(self.venue.take());
        // What cannot be removed is in the way of nobody.
        drop(std::fs::remove_dir_all(&self.folder));
    }

    /// Ends the venue and keeps the folder as evidence.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        drop(self.venue.take());
        self.folder.clone()
    }
}
