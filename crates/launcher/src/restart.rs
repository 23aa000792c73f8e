//! Starting again after a failure: this process becomes a small parent that runs the trading as a child of its own, so that
//! a stuck thread or the watchdog's exit ends the child and nothing else.
//!
//! Invariants: a signal is passed on once, and one that asks for a stop ends the restarting; so does the child's own word
//! that another start would not help (an operator's stop, an error of configuration), which it leaves in a pipe; at most one
//! child lives; the wait between two starts is min(delay · 2ⁿ, 1 h); more than [`FAILURES_IN_A_ROW_MAX`] failures in a row end
//! it, and so does the budget of restarts.

use crate::config::Restart;
use crate::error::LaunchError;
use crate::out;
use keel_lifecycle::{Clock, ExitStatus};
use std::ffi::OsString;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Tells the child that it is one.
pub const SUPERVISED_VARIABLE: &str = "KEEL_SUPERVISED";
/// More failures than this in a row end the restarting.
pub const FAILURES_IN_A_ROW_MAX: u32 = 10;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// A run of this length was a good one: failures are counted anew.
const GOOD_RUN: Duration = Duration::from_secs(600);

/// Is this process the child?
#[must_use]
pub fn is_supervised() -> bool {
    std::env::var_os(SUPERVISED_VARIABLE).is_some()
}

/// Longest word of a child; unit: bytes.
const WORD_BYTES_MAX: u64 = 400;

/// In the child: another start would not help, and why. Without a parent it does nothing.
pub fn tell_parent_to_end(why: &str) {
    let Some(pipe) = std::env::var(SUPERVISED_VARIABLE).ok().and_then(|text| text.parse::<u32>().ok()) else { return };
    // The pipe is inherited as a bare number; this opens the same pipe once more.
    let opened = std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{pipe}"));
    let line: String =
        why.chars().take(WORD_BYTES_MAX as usize / 4).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Err(error) = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
        tracing::warn!(%error, "the parent could not be told not to start this again");
    }
}

/// In the child: ends in order when the parent is gone.
pub fn follow_parent() {
    let signal = Some(rustix::process::Signal::TERM);
    if let Err(error) = rustix::process::set_parent_process_death_signal(signal) {
        tracing::warn!(%error, "this process will not notice when its parent goes away");
    }
}

/// How long to wait before start number `failures` + 1.
#[must_use]
pub fn wait_after(delay: Duration, failures: u32) -> Duration {
    let factor = 2u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    delay.saturating_mul(factor).min(WAIT_MAX)
}

/// Runs `launcher` with the same arguments again and again until it ends well or the budget is used up.
pub fn supervise(settings: Restart, arguments: Vec<OsString>) -> Result<ExitStatus, LaunchError> {
    let failed = |error: std::io::Error| LaunchError::start("restarting", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let mut signals = Signals::install().map_err(failed)?;
        keel_lifecycle::release_signals();
        let clock = Clock::system();
        let (mut restarts, mut failures) = (0u64, 0u32);
        loop {
            let began = clock.mono_ns();
            let (mut child, word) = spawn(&arguments).map_err(failed)?;
            let (status, is_stopping) = signals.follow(&mut child).await.map_err(failed)?;
            if is_stopping || status != ExitStatus::Failed {
                return Ok(status);
            }
            if let Some(word) = last_word(word) {
                out::note(&format!("failed; not starting again: {word}"));
                return Ok(status);
            }
            failures = if clock.since(began) >= GOOD_RUN { 1 } else { failures + 1 };
            if failures > FAILURES_IN_A_ROW_MAX {
                out::note(&format!("error: {failures} failures in a row; not starting again"));
                return Ok(ExitStatus::Failed);
            }
            if restarts >= settings.restarts_max {
                out::note(&format!("error: failed after {restarts} restarts, the most allowed; not starting again"));
                return Ok(ExitStatus::Failed);
            }
            restarts += 1;
            let wait = wait_after(settings.delay, failures);
            out::note(&format!(
                "failed; restart {restarts} of at most {} in {:.1} s",
                settings.restarts_max,
                wait.as_secs_f64()
            ));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                raw = signals.next() => {
                    return Ok(if raw == libc::SIGINT { ExitStatus::Interrupted } else { ExitStatus::Clean });
                }
            }
        }
    })
}

/// Starts a child, which inherits the end of a pipe for its last word.
fn spawn(arguments: &[OsString]) -> std::io::Result<(Child, PipeReader)> {
    let (reader, writer): (PipeReader, PipeWriter) = std::io::pipe()?;
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty())?;
    // A group of its own: Ctrl+C on the terminal reaches only the parent, which passes it on once.
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).env(SUPERVISED_VARIABLE, writer.as_raw_fd().to_string()).process_group(0);
    Ok((command.spawn()?, reader))
}

/// What a child that has ended left in its pipe. Its own children may still hold the other end, so this never waits.
fn last_word(mut pipe: PipeReader) -> Option<String> {
    rustix::io::ioctl_fionbio(&pipe, true).ok()?;
    let mut word = Vec::new();
    // Whatever ends the reading, what came counts.
    drop((&mut pipe).take(WORD_BYTES_MAX).read_to_end(&mut word));
    let word = String::from_utf8_lossy(&word);
    let first = word.lines().next().unwrap_or_default().trim();
    (!first.is_empty()).then(|| first.to_owned())
}

/// The signals that are passed on.
struct Signals {
    each: [(i32, Signal); 6],
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        let one = |raw: i32| Ok::<_, std::io::Error>((raw, signal(SignalKind::from_raw(raw))?));
        Ok(Self {
            each: [
                one(libc::SIGINT)?,
                one(libc::SIGTERM)?,
                one(libc::SIGHUP)?,
                one(libc::SIGQUIT)?,
                one(libc::SIGUSR1)?,
                one(libc::SIGUSR2)?,
            ],
        })
    }

    async fn next(&mut self) -> i32 {
        let [interrupt, terminate, hangup, quit, user, user2] = &mut self.each;
        tokio::select! {
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
            _ = hangup.1.recv() => hangup.0,
            _ = quit.1.recv() => quit.0,
            _ = user.1.recv() => user.0,
            _ = user2.1.recv() => user2.0,
        }
    }

    /// Waits for the child and passes signals on. Returns how it ended and whether a stop was asked for.
    async fn follow(&mut self, child: &mut Child) -> std::io::Result<(ExitStatus, bool)> {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                ended = child.wait() => {
                    let status = match ended?.code() {
                        Some(0) => ExitStatus::Clean,
                        Some(130) => ExitStatus::Interrupted,
                        _ => ExitStatus::Failed,
                    };
                    return Ok((status, is_stopping));
                }
                raw = self.next() => {
                    is_stopping |= [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].contains(&raw);
                    pass_on(child, raw);
                }
            }
        }
    }
}

fn pass_on(child: &Child, raw: i32) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let signal = rustix::process::Signal::from_named_raw(raw);
    if let (Some(pid), Some(signal)) = (pid, signal)
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::warn!(%error, raw, "a signal could not be passed on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stop_growing_at_an_hour() {
        let base = Duration::from_secs(30);
        let waits: Vec<u64> = [1, 2, 3, 7, 8, 40].iter().map(|n| wait_after(base, *n).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 1920, 3600, 3600]);
        assert_eq!(wait_after(Duration::ZERO, 5), Duration::ZERO);
    }
}
