//! How a run is struck: at the n-th system call of a kind, by `strace`'s fault injection.
//!
//! Calls are counted without `--seccomp-bpf`, under which injections are lost. `strace` counts per thread; the first thread
//! that gets to its n-th is struck. So that no thread hides another, a kind can be narrowed to the files it is about, and the
//! launcher is run with one worker.

use crate::error::CrashError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What happens at the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The process is killed as the call begins.
    Kill,
    /// The call fails with this error, this once.
    FailOnce(&'static str),
    /// The call fails with this error, and every later one too.
    FailFromThen(&'static str),
    /// From then on the call answers late by so many microseconds.
    Slow(u64),
}

/// Which files a kind of call is narrowed to; `DATA` stands for the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// Name in tables and in the state file.
    pub name: &'static str,
    /// The system call, by `strace`'s name.
    pub call: &'static str,
    /// The files; empty: any.
    pub files: &'static [&'static str],
}

const JOURNAL: &[&str] = &[
    "DATA/live-paper/journal",
    "DATA/live-paper/journal/HEAD",
    "DATA/live-paper/journal/HEAD.new",
    "DATA/live-paper/journal/LOCK",
    "DATA/live-paper/journal/journal-00000001.seg",
    "DATA/live-paper/journal/journal-00000002.seg",
];
const REPORT: &[&str] = &["DATA/live-paper/report.json.new"];
const EVENTS: &[&str] = &["anon_inode:[eventfd]"];

/// Every kind of call that changes something outside, and the reads between which answers arrive.
pub const SURFACES: &[Surface] = &[
    Surface { name: "pwrite64", call: "pwrite64", files: &[] },
    Surface { name: "fdatasync", call: "fdatasync", files: &[] },
    Surface { name: "fsync", call: "fsync", files: &[] },
    Surface { name: "rename", call: "rename", files: &[] },
    Surface { name: "rename:report", call: "rename", files: REPORT },
    Surface { name: "unlink", call: "unlink", files: &[] },
    Surface { name: "ftruncate", call: "ftruncate", files: &[] },
    Surface { name: "fallocate", call: "fallocate", files: &[] },
    Surface { name: "mkdir", call: "mkdir", files: &[] },
    Surface { name: "flock", call: "flock", files: &[] },
    Surface { name: "openat", call: "openat", files: &[] },
    Surface { name: "openat:journal", call: "openat", files: JOURNAL },
    Surface { name: "close:journal", call: "close", files: JOURNAL },
    Surface { name: "write", call: "write", files: &[] },
    Surface { name: "write:journal", call: "write", files: JOURNAL },
    Surface { name: "write:report", call: "write", files: REPORT },
    Surface { name: "write:wake-up", call: "write", files: EVENTS },
    Surface { name: "writev", call: "writev", files: &[] },
    Surface { name: "sendto", call: "sendto", files: &[] },
    Surface { name: "sendmsg", call: "sendmsg", files: &[] },
    Surface { name: "connect", call: "connect", files: &[] },
    Surface { name: "recvfrom", call: "recvfrom", files: &[] },
    Surface { name: "clone3", call: "clone3", files: &[] },
];

impl Surface {
    /// Finds one by its name.
    pub fn find(name: &str) -> Result<&'static Self, CrashError> {
        SURFACES.iter().find(|it| it.name == name).ok_or_else(|| {
            let names: Vec<_> = SURFACES.iter().map(|it| it.name).collect();
            CrashError::Usage(format!("there is no system call '{name}' here; choose one of {}", names.join(", ")))
        })
    }
}

/// One strike.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Where.
    pub surface: Surface,
    /// At which call, counted from 1.
    pub n: u32,
    /// What happens.
    pub effect: Effect,
}

impl Strike {
    /// The command that runs `program` and strikes it.
    #[must_use]
    pub fn command(&self, program: &Path, data: &Path, trace: &Path) -> Command {
        let call = self.surface.call;
        let n = self.n;
        let inject = match &self.effect {
            Effect::Kill => format!("inject={call}:signal=KILL:when={n}"),
            Effect::FailOnce(error) => format!("inject={call}:error={error}:when={n}"),
            Effect::FailFromThen(error) => format!("inject={call}:error={error}:when={n}+"),
            Effect::Slow(us) => format!("inject={call}:delay_exit={us}:when={n}+"),
        };
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-e", "signal=none", "-s", "0", "-o"]).arg(trace);
        command.args(["-e", &format!("trace={call}"), "-e", &inject]);
        for file in self.surface.files {
            let path = match file.strip_prefix("DATA") {
                Some(rest) => PathBuf::from(format!("{}{rest}", data.display())),
                None => PathBuf::from(file),
            };
            command.arg("-P").arg(path);
        }
        command.arg("--").arg(program);
        command
    }
}

impl std::fmt::Display for Strike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match &self.effect {
            Effect::Kill => "SIGKILL".to_owned(),
            Effect::FailOnce(error) => format!("{error} once"),
            Effect::FailFromThen(error) => format!("{error} from then on"),
            Effect::Slow(us) => format!("{us} us late from then on"),
        };
        write!(f, "{what} at call {} of {}", self.n, self.surface.name)
    }
}

/// Can `strace` trace here? Where it cannot, tests say so and are skipped.
pub fn probe() -> Result<(), CrashError> {
    let tried = Command::new("strace").args(["-f", "-qqq", "-o", "/dev/null", "-e", "trace=none", "true"]).output();
    let lack = |cause: String| {
        CrashError::Missing(format!(
            "strace cannot be used: {cause}; install it and allow ptrace, or leave this test out"
        ))
    };
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(lack(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(lack(error.to_string())),
    }
}
