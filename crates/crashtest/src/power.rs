//! Loss of power: what was written after the last answered `fdatasync` is gone, torn or zero.

use crate::error::CrashError;
use crate::place::{Place, Run};
use crate::random::Dice;
use crate::trial::RUN_LIMIT;
use rustix::process::{Pid, Signal};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file and the part of it that is not on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    path: PathBuf,
    /// Everything before this was synced.
    synced: u64,
    /// The end of what was written.
    written: u64,
}

impl Loss {
    /// Loses a part of what was not synced: from a random place on it is zero, or garbage that a sector held before, or cut
    /// off.
    pub fn apply(&self, dice: &mut Dice) -> Result<(), CrashError> {
        let from = self.synced + dice.below(self.written.saturating_sub(self.synced).saturating_add(1));
        let failed = |source| CrashError::io("damage", &self.path, source);
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        let length = usize::try_from(self.written.saturating_sub(from)).unwrap_or(0);
        match dice.below(3) {
            0 => file.write_all_at(&vec![0; length], from).map_err(failed),
            1 => {
                // The middle is gone, the end is there: sectors are written in any order.
                let hole = length / 2;
                file.write_all_at(&vec![0; hole], from).map_err(failed)
            }
            _ => file.set_len(from).map_err(failed),
        }
    }
}

/// Runs a launcher with its journal's writes and syncs traced, kills it after `after`, and says what was not synced.
pub fn watched(place: &Place, name: &str, run: &Run, after: Duration) -> Result<Option<Loss>, CrashError> {
    let trace = place.folder.join(format!("{name}.strace"));
    let trace_text = trace.display().to_string();
    let prefix = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qqq",
        "-y",
        "-s",
        "0",
        "-e",
        "trace=pwrite64,fdatasync",
        "-o",
        &trace_text,
        "--",
    ];
    let mut running = place.launch_through(&prefix, name, run)?;
    running.until("trading: ready", RUN_LIMIT);
    std::thread::sleep(after);
    kill_traced(running.pid(), place.launcher());
    running.wait(RUN_LIMIT)?;
    let text = std::fs::read_to_string(&trace).map_err(|source| CrashError::io("read", &trace, source))?;
    Ok(losses(&text))
}

/// Kills the launcher under `strace`, not `strace`: that would only let it go.
fn kill_traced(strace: u32, launcher: &Path) {
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
    for pid in children.split_whitespace().filter_map(|it| it.parse().ok()).filter_map(Pid::from_raw) {
        let exe = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).unwrap_or_default();
        if exe == launcher {
            rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Reads the trace: where the last segment's synced part ends, and its written part.
fn losses(trace: &str) -> Option<Loss> {
    let mut found: Option<Loss> = None;
    for line in trace.lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        let Some(path) = path.filter(|path| path.ends_with(".seg")).map(PathBuf::from) else { continue };
        let of_other = found.as_ref().is_none_or(|loss| loss.path != path);
        if call.starts_with("pwrite64(") {
            // pwrite64(7</…seg>, ""..., 312, 4096) = 312; a write that was cut short counts in full.
            let numbers = call.rsplit_once(')').map_or(call, |(inside, _)| inside);
            let mut from_end = numbers.rsplit(", ").map(|it| it.trim_end_matches(" <unfinished ...>"));
            let offset = from_end.next().and_then(|it| it.parse::<u64>().ok());
            let length = from_end.next().and_then(|it| it.parse::<u64>().ok());
            let (Some(offset), Some(length)) = (offset, length) else { continue };
            let end = offset + length;
            match &mut found {
                Some(loss) if !of_other => loss.written = loss.written.max(end),
                _ => found = Some(Loss { path, synced: offset, written: end }),
            }
        } else if call.starts_with("fdatasync(")
            && call.ends_with("= 0")
            && let Some(loss) = found.as_mut().filter(|_| !of_other)
        {
            loss.synced = loss.written;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_16_what_was_written_after_the_last_answered_sync_can_be_lost() {
        let trace = "11 pwrite64(7</x/journal-00000001.seg>, \"\"..., 100, 64) = 100\n11 fdatasync(7</x/journal-00000001.seg>) = 0\n\
            11 pwrite64(7</x/journal-00000001.seg>, \"\"..., 50, 164) = 50\n11 fdatasync(7</x/journal-00000001.seg> <unfinished ...>\n";
        let path = PathBuf::from("/x/journal-00000001.seg");
        assert_eq!(losses(trace), Some(Loss { path, synced: 164, written: 214 }));
        assert_eq!(losses(""), None);
    }
}
