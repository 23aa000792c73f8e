//! Starting the launcher, reading along, sending signals, waiting with a limit.

use keel_lifecycle::Clock;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Lines held between the reader and the test.
const LINES_MAX: usize = 100_000;

/// How a launcher ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; `None` when a signal killed it.
    pub(crate) code: Option<i32>,
    /// Everything on stdout.
    pub(crate) stdout: String,
    /// Everything on stderr.
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks the exit code, and shows everything when it is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks that a line of stderr says this.
    #[track_caller]
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "stderr does not say {text:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The number behind `label` in the summary.
    #[track_caller]
    pub(crate) fn number(&self, label: &str) -> u64 {
        let line = self.line(label);
        let digits: String = line.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number behind {label:?}: {line:?}"))
    }

    /// What stands behind `label` in the summary.
    #[track_caller]
    pub(crate) fn line(&self, label: &str) -> String {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        let found =
            all.lines().find_map(|line| line.trim_start().strip_prefix(label).map(|rest| rest.trim().to_owned()));
        found.unwrap_or_else(|| panic!("no line {label:?}\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr))
    }
}

/// A launcher in a folder of its own.
pub(crate) struct Launcher {
    folder: tempfile::TempDir,
}

impl Launcher {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The folder it runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The command, without anything of our own environment that would change its meaning.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launcher"));
        command.args(arguments).current_dir(self.folder()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("KEEL_")
                || ["NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"].contains(&text.as_ref())
            {
                command.env_remove(&name);
            }
        }
        command.env("NO_COLOR", "1");
        command
    }

    /// Runs to the end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        self.start(arguments).wait()
    }

    /// Starts and reads along.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        Running::start(self.command(arguments))
    }
}

/// A launcher that runs.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    stdout: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (line_sender, lines) = sync_channel(LINES_MAX);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        in_background(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                if line_sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let (stdout_sender, stdout) = sync_channel(1);
        let mut pipe = child.stdout.take().unwrap();
        in_background(move || {
            let mut bytes = Vec::new();
            drop(pipe.read_to_end(&mut bytes));
            drop(stdout_sender.send(String::from_utf8_lossy(&bytes).into_owned()));
        });
        Self { child, lines, stdout, seen: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of stderr holds `text`, and returns it.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let deadline = Clock::system().deadline(LIMIT);
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(deadline.remaining()) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    drop(self.child.kill());
                    panic!("no line with {text:?} within {LIMIT:?}\n{}", self.seen.join("\n"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without a line with {text:?}\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until the process holds its signals, the first thing that its `main` does; a process that has ended is not
    /// waited for.
    pub(crate) fn until_signals_are_held(&self) {
        let deadline = Clock::system().deadline(LIMIT);
        let path = format!("/proc/{}/status", self.pid());
        let interrupt = 1u64 << (rustix::process::Signal::INT.as_raw() - 1);
        let is_held = |text: &str| {
            let hex = |line: &str| u64::from_str_radix(line.trim(), 16).unwrap_or(0);
            let masks = text.lines().filter_map(|line| line.strip_prefix("SigBlk:").or(line.strip_prefix("SigCgt:")));
            masks.map(hex).any(|mask| mask & interrupt != 0)
        };
        while !deadline.remaining().is_zero() {
            match std::fs::read_to_string(&path) {
                Ok(text) if !is_held(&text) => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
        panic!("the process {} holds no signals within {LIMIT:?}", self.pid());
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let deadline = Clock::system().deadline(LIMIT);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if deadline.is_past() {
                drop(self.child.kill());
                self.seen.extend(self.lines.try_iter());
                panic!("it did not end within {LIMIT:?}\n{}", self.seen.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.seen.push(line);
        }
        let stdout = self.stdout.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        Ended { code: status.code(), stdout, stderr: self.seen.join("\n") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave its launcher behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs something that ends with its pipe, or with the tests.
#[allow(clippy::disallowed_methods, reason = "a test's helper ends with the tests")]
pub(crate) fn in_background(body: impl FnOnce() + Send + 'static) {
    std::thread::spawn(body);
}
