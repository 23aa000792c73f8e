//! Verbs that steer a running bot from another process: one request over the control socket, one truthful answer.
//!
//! Exit code 0 only when what was asked for is confirmed; else 1, with what is still open.

pub mod args;
pub mod arm;

use crate::cli::{Common, RunArgs};
use crate::config;
use crate::error::LaunchError;
use crate::out;
use crate::run::emergency::latch_file;
use crate::run::status::View;
use args::{CancelArgs, EmergencyArgs, FlattenArgs, RearmArgs, ReleaseArgs, SettleArgs, StopArgs, WaitArgs};
use keel_control::{Answer, Ask, Client, ControlError, Outcome, Reply, Request};
use keel_lifecycle::{Clock, ExitStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a report may take to be seen after the process is gone.
pub(crate) const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// The data folder that the bot runs on. A configuration that has become wrong since must not keep anybody from stopping a
/// bot: with `--data-dir` nothing else is read.
pub(crate) fn data_dir(common: &Common) -> Result<PathBuf, LaunchError> {
    if let Some(dir) = &common.data_dir {
        return Ok(dir.clone());
    }
    let layers = config::load_layers(common, &RunArgs::default())?;
    Ok(PathBuf::from(layers.to_raw()?.run.data_dir))
}

fn failed(error: ControlError) -> LaunchError {
    match error {
        ControlError::NoBot { folder } => match keel_store::FolderLock::holder(&folder) {
            // Its socket was removed: it runs on, and there are other ways to reach it.
            Some(holder) => LaunchError::Locked(format!(
                "a bot runs on {0} ({holder}), but its control socket is gone; `touch {0}/{1}` or SIGUSR2 stops it as an \
                 emergency, SIGINT in order, SIGUSR1 has it print its status",
                folder.display(),
                crate::run::emergency::KILL_FILE
            )),
            None => LaunchError::Usage(format!(
                "{}; start one, or name the folder of the one you mean with --data-dir or -c",
                ControlError::NoBot { folder }
            )),
        },
        error => LaunchError::start("control socket", error),
    }
}

/// `launcher status`.
pub fn status(common: &Common) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?;
    let reply = ask(&folder, Ask::Status {}, STATUS_LIMIT)?;
    if common.json {
        out::line(&serde_json::to_string_pretty(&reply.answer.detail).unwrap_or_default());
        return Ok(exit(reply.answer.outcome));
    }
    if reply.answer.outcome != Outcome::Confirmed {
        return Ok(show(common, &reply));
    }
    let view: View = serde_json::from_value(reply.answer.detail)
        .map_err(|error| LaunchError::start("status", format!("{error}; are both programs of the same version?")))?;
    out::line(&view.text());
    Ok(ExitStatus::Clean)
}

/// `launcher pause`, `resume`, `reduce-only`.
pub fn simple(common: &Common, what: Ask, wait: &WaitArgs) -> Result<ExitStatus, LaunchError> {
    let reply = ask(&data_dir(common)?, what, wait.limit(args::ENGINE_S))?;
    Ok(show(common, &reply))
}

/// `launcher cancel ORDER` and `launcher cancel --all`.
pub fn cancel(common: &Common, given: &CancelArgs) -> Result<ExitStatus, LaunchError> {
    let what = match &given.order {
        Some(order) => Ask::Cancel { order: order.clone() },
        None => Ask::CancelAll {},
    };
    let reply = ask(&data_dir(common)?, what, given.wait.limit(args::VENUE_S))?;
    Ok(show(common, &reply))
}

/// `launcher flatten`.
pub fn flatten(common: &Common, given: &FlattenArgs) -> Result<ExitStatus, LaunchError> {
    let what = Ask::Flatten { instrument: given.instrument.clone() };
    let reply = ask(&data_dir(common)?, what, given.wait.limit(args::FLATTEN_S))?;
    Ok(show(common, &reply))
}

/// `launcher emergency-stop`.
pub fn emergency_stop(common: &Common, given: &EmergencyArgs) -> Result<ExitStatus, LaunchError> {
    let reason = given.reason.clone().unwrap_or_else(|| "an operator asked for it".to_owned());
    let reply = ask(&data_dir(common)?, Ask::EmergencyStop { reason }, given.wait.limit(args::FLATTEN_S))?;
    Ok(show(common, &reply))
}

/// `launcher release`.
pub fn release(common: &Common, given: &ReleaseArgs) -> Result<ExitStatus, LaunchError> {
    let what = Ask::Release { instrument: given.instrument.clone() };
    let reply = ask(&data_dir(common)?, what, given.wait.limit(args::ENGINE_S))?;
    Ok(show(common, &reply))
}

/// `launcher settle`: of a running bot through its socket; without one, in the journal, for the next start.
pub fn settle(common: &Common, given: &SettleArgs) -> Result<ExitStatus, LaunchError> {
    let (order, filled, price) = (given.order.clone(), given.filled.clone(), given.price.clone());
    let folder = data_dir(common)?;
    match ask(&folder, Ask::Settle { order, filled, price }, given.wait.limit(args::ENGINE_S)) {
        Err(LaunchError::Usage(_)) => {
            Ok(show_answer(common, &crate::settle::without_a_bot(common, &folder, given)?, None))
        }
        reply => Ok(show(common, &reply?)),
    }
}

/// `launcher rearm`: of a running bot through its socket; without one, in the latch file, for the next start.
pub fn rearm(common: &Common, given: &RearmArgs) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?;
    let what = Ask::Rearm { reason: given.reason.clone() };
    match ask(&folder, what, given.wait.limit(args::ENGINE_S)) {
        Err(LaunchError::Usage(_)) => rearm_without_a_bot(common, &folder, given),
        other => Ok(show(common, &other?)),
    }
}

/// Nobody runs: the folder's lock keeps it so while the latch is lifted.
fn rearm_without_a_bot(common: &Common, folder: &Path, given: &RearmArgs) -> Result<ExitStatus, LaunchError> {
    let asked = format!("rearm: {}", given.reason);
    let refused = |why: String| Ok(show_answer(common, &Answer::refused(asked.clone(), why), None));
    if !folder.is_dir() {
        return refused(format!("no bot runs on this data folder ({}), and it does not exist", folder.display()));
    }
    let _lock =
        keel_store::FolderLock::acquire(folder, "rearm").map_err(|error| LaunchError::Locked(error.to_string()))?;
    let kill_file = folder.join(crate::run::emergency::KILL_FILE);
    if kill_file.symlink_metadata().is_ok() {
        return refused(format!("the file {} still asks for the emergency stop; remove it first", kill_file.display()));
    }
    let entries = std::fs::read_dir(folder).map_err(|source| LaunchError::Io {
        what: "read the data folder",
        path: folder.to_path_buf(),
        source,
        remedy: "check its permissions".into(),
    })?;
    let mut lifted = Vec::new();
    for session in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let latch = match latch_file::read(&session) {
            Ok(None) => continue,
            Ok(Some(latch)) if latch.rearmed.is_some() => continue,
            Ok(Some(latch)) => latch,
            Err(why) => latch_file::Latch::unreadable(Clock::system().now_ns(), &why),
        };
        let by = format!("uid {} without a bot", rustix::process::geteuid().as_raw());
        let rearmed = Some(latch_file::Rearmed::new(Clock::system().now_ns(), &by, &given.reason));
        let words = latch.words();
        latch_file::write(&session, &latch_file::Latch { rearmed, ..latch }).map_err(|source| LaunchError::Io {
            what: "write the latch in",
            path: session.clone(),
            source,
            remedy: "check its permissions".into(),
        })?;
        lifted.push(format!("lifted in {}: {words}; the next start trades again", session.display()));
    }
    if lifted.is_empty() {
        return refused(format!(
            "no bot runs on this data folder ({}), and nothing is latched there",
            folder.display()
        ));
    }
    let answer = Answer { confirmed: lifted, ..Answer::new(Outcome::Confirmed, asked) };
    Ok(show_answer(common, &answer, None))
}

/// `launcher stop`: asks, waits for the end of the process, and tells how it ended.
pub fn stop(common: &Common, given: &StopArgs) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?;
    let clock = Clock::system();
    let limit = given.wait.limit(args::STOP_S);
    let deadline = clock.deadline(limit);
    let client = Client::connect(&folder).map_err(failed)?;
    // Held from before the request on, so that a process number used again is never mistaken.
    let process = watch(client.pid()).map_err(|source| LaunchError::start("stop", source))?;
    let Reply { mut answer, pid } =
        client.ask(&Request::new(Ask::Stop { force: given.force }, STATUS_LIMIT)).map_err(failed)?;
    if answer.outcome == Outcome::Refused || given.wait.no_wait {
        return Ok(show_answer(common, &answer, Some(pid)));
    }
    let session = answer.detail.get("folder").and_then(|it| it.as_str()).map(PathBuf::from);
    let report = session.map(|folder| folder.join("report.json"));
    if !has_ended(&process, deadline.remaining()) {
        answer.open = vec![format!("the process (pid {pid}) has not ended after {} s", limit.as_secs_f64())];
        return Ok(show_answer(common, &answer, Some(pid)));
    }
    answer.open.clear();
    answer.confirmed.push(format!("the process (pid {pid}) has ended"));
    let read = report.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let told: Option<serde_json::Value> = read.and_then(|text| serde_json::from_str(&text).ok());
    let code = told.as_ref().and_then(|report| report.get("exit_code")).and_then(serde_json::Value::as_u64);
    match code {
        Some(code @ (0 | 130)) => {
            answer.outcome = Outcome::Confirmed;
            answer.confirmed.push(format!("its exit code: {code}"));
        }
        Some(code) => {
            answer.open.push(format!("its exit code was {code}, something failed; see {}", shown(report.as_deref())));
        }
        None => answer.open.push(format!("it left no report; see the log, and {}", shown(report.as_deref()))),
    }
    let left = told.as_ref().and_then(|report| report.get("left")).cloned().unwrap_or_default();
    for (key, what) in
        [("orders", "stays open"), ("unknown_orders", "of unknown state"), ("positions", "position stays")]
    {
        let lines = left.get(key).and_then(|lines| lines.as_array()).cloned().unwrap_or_default();
        answer.confirmed.extend(lines.iter().filter_map(|line| Some(format!("{what}: {}", line.as_str()?))));
    }
    answer.detail = serde_json::json!({ "pid": pid, "exit_code": code, "report": report, "left": left });
    Ok(show_answer(common, &answer, Some(pid)))
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "the data folder".to_owned(), |path| path.display().to_string())
}

fn watch(pid: i32) -> Result<OwnedFd, std::io::Error> {
    let pid = Pid::from_raw(pid).ok_or_else(|| std::io::Error::other("the bot's process is not known"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits until the process is gone.
fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let clock = Clock::system();
    let deadline = clock.deadline(limit);
    loop {
        let left = deadline.remaining();
        let wait =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&wait)) {
            Ok(0) if deadline.is_past() => return false,
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

pub(crate) fn ask(folder: &Path, what: Ask, limit: Duration) -> Result<Reply, LaunchError> {
    Client::connect(folder).and_then(|client| client.ask(&Request::new(what, limit))).map_err(failed)
}

fn exit(outcome: Outcome) -> ExitStatus {
    match outcome {
        Outcome::Confirmed => ExitStatus::Clean,
        Outcome::Open | Outcome::Refused => ExitStatus::Failed,
    }
}

fn show(common: &Common, reply: &Reply) -> ExitStatus {
    show_answer(common, &reply.answer, Some(reply.pid))
}

fn show_answer(common: &Common, answer: &Answer, pid: Option<i32>) -> ExitStatus {
    if common.json {
        let mut value = serde_json::to_value(answer).unwrap_or_default();
        if let (Some(fields), Some(pid)) = (value.as_object_mut(), pid) {
            fields.insert("pid".into(), pid.into());
        }
        out::line(&value.to_string());
        return exit(answer.outcome);
    }
    let head = match answer.outcome {
        Outcome::Confirmed => "confirmed",
        Outcome::Open => "NOT CONFIRMED",
        Outcome::Refused => "REFUSED",
    };
    out::line(&format!("{head}: {}", answer.asked));
    answer.confirmed.iter().for_each(|line| out::line(&format!("  {line}")));
    answer.open.iter().for_each(|line| out::line(&format!("  open: {line}")));
    exit(answer.outcome)
}
