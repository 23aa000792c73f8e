//! `launcher doctor`: is everything around the bot as it should be? Configuration, data folder, disk, limits, permissions of
//! secrets, journal, lock, clock, database: one line each, `ok`, `warn` or `fail`, with what to do. Nothing is changed, a
//! running bot is not disturbed, and no line shows a secret. Exit code 1 when something fails.

use crate::cli::{Common, RunArgs};
use crate::config::{self, Config, Mode};
use crate::control;
use crate::error::LaunchError;
use crate::journal;
use crate::out;
use crate::run::reach;
use keel_control::{Ask, Client};
use keel_lifecycle::ExitStatus;
use keel_store::{FolderLock, StoreError};
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Less room than this is a failure, and a warning; unit: bytes.
const DISK_MIN_BYTES: [u64; 2] = [200_000_000, 2_000_000_000];
/// Fewer free inodes than this is a warning.
const INODES_MIN: u64 = 10_000;
/// A soft limit on descriptors below this is a failure, and a warning.
const DESCRIPTORS_MIN: [u64; 2] = [256, 1024];
/// A clock that is further off than this is a warning; beyond the receive window it is a failure; unit: milliseconds.
const OFFSET_MAX_MS: f64 = 250.0;
/// Files in one folder of secrets that are looked at.
const FILES_MAX: usize = 1_000;
/// Folders of the data folder whose files are secrets.
const SECRET_FOLDERS: [&str; 2] = ["api", "arming"];

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Grade {
    Ok,
    Warn,
    Fail,
}

impl Grade {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    check: &'static str,
    result: Grade,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

fn ok(check: &'static str, detail: impl Into<String>) -> Line {
    Line { check, result: Grade::Ok, detail: detail.into(), remedy: String::new() }
}

fn warn(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Line {
    Line { check, result: Grade::Warn, detail: detail.into(), remedy: remedy.into() }
}

fn fail(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Line {
    Line { check, result: Grade::Fail, detail: detail.into(), remedy: remedy.into() }
}

/// `launcher doctor`.
pub fn doctor(common: &Common, args: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let mut lines = Vec::new();
    let config = match config::load_layers(common, args).and_then(|layers| config::validate(&layers)) {
        Ok(config) => {
            let files: Vec<String> = common.config.iter().map(|path| path.display().to_string()).collect();
            let from = if files.is_empty() { "defaults, variables and flags".to_owned() } else { files.join(", ") };
            lines.push(ok("configuration", format!("{from}; mode {}", config.mode)));
            Some(config)
        }
        Err(error) => {
            lines.push(fail(
                "configuration",
                error.to_string(),
                "`launcher show-config` shows where each value comes from",
            ));
            None
        }
    };
    let folder = config.as_ref().map(|config| config.data_dir.clone()).or_else(|| common.data_dir.clone());
    if let Some(folder) = &folder {
        lines.push(data_folder(folder));
        lines.push(disk(folder));
    }
    lines.push(descriptors(keel_lifecycle::descriptors_max()));
    if let Some(folder) = &folder {
        lines.push(secrets(folder, config.as_ref()));
    }
    if let Some(config) = &config {
        lines.push(keys(config, args));
    }
    if let Some(folder) = &folder {
        lines.push(lock(folder));
        lines.push(journal(common, folder));
    }
    if let Some(config) = config {
        lines.push(match crate::database::look(&config) {
            Ok(detail) => ok("database", detail),
            Err(error) => {
                fail("database", error.to_string(), "trading goes on without it; `launcher database rebuild` mends it")
            }
        });
        lines.push(clock(common, config));
    }
    Ok(show(common, &lines))
}

fn show(common: &Common, lines: &[Line]) -> ExitStatus {
    let count = |grade| lines.iter().filter(|line| line.result == grade).count();
    let (failed, warned) = (count(Grade::Fail), count(Grade::Warn));
    if common.json {
        out::line(&serde_json::json!({ "ok": failed == 0, "warnings": warned, "checks": lines }).to_string());
    } else {
        let mut rows = vec![["check", "result", "detail"].map(str::to_owned).to_vec()];
        for line in lines {
            let remedy = if line.remedy.is_empty() { String::new() } else { format!("; {}", line.remedy) };
            let detail = format!("{}{remedy}", line.detail);
            rows.push(vec![line.check.to_owned(), line.result.word().to_owned(), detail]);
        }
        out::line(&out::table(&rows));
    }
    if failed > 0 {
        out::note(&format!("{failed} failed, {warned} warned"));
        return ExitStatus::Failed;
    }
    ExitStatus::Clean
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn data_folder(folder: &Path) -> Line {
    const CHECK: &str = "data folder";
    let shown = folder.display();
    let data = match std::fs::metadata(folder) {
        Ok(data) => data,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return ok(CHECK, format!("{shown} does not exist yet; the first run makes it"));
        }
        Err(error) => return fail(CHECK, format!("{shown}: {error}"), "choose another with --data-dir"),
    };
    if !data.is_dir() {
        return fail(CHECK, format!("{shown} is no folder"), "choose another with --data-dir");
    }
    if data.uid() != own_uid() {
        let (owner, own) = (data.uid(), own_uid());
        return fail(
            CHECK,
            format!("{shown} belongs to user {owner}, this is user {own}"),
            "run as its owner, or chown it",
        );
    }
    let probe = folder.join(format!(".doctor.{}", std::process::id()));
    if let Err(error) = std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe)) {
        return fail(CHECK, format!("{shown} cannot be written: {error}"), "check its permissions and the file system");
    }
    let mode = data.mode() & 0o777;
    if mode & 0o077 != 0 {
        return warn(CHECK, format!("{shown} has mode {mode:03o}: others can look in"), format!("chmod 700 {shown}"));
    }
    ok(CHECK, format!("{shown} can be written, mode {mode:03o}"))
}

fn disk(folder: &Path) -> Line {
    const CHECK: &str = "disk";
    // The nearest that exists, so that the folder need not be there yet.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let Some(place) = absolute.ancestors().find(|path| path.is_dir()) else {
        return warn(CHECK, format!("{} cannot be found", folder.display()), "choose another with --data-dir");
    };
    match rustix::fs::statvfs(place) {
        Ok(found) => {
            let room = disk_grade(found.f_bavail.saturating_mul(found.f_frsize));
            if room.result == Grade::Ok && found.f_files > 0 && found.f_favail < INODES_MIN {
                return warn(CHECK, format!("{} inodes are free", found.f_favail), "remove what has many small files");
            }
            room
        }
        Err(error) => warn(CHECK, format!("{}: {error}", place.display()), "look with df"),
    }
}

fn disk_grade(free_bytes: u64) -> Line {
    const REMEDY: &str = "make room: journal and log grow with each day, and no order leaves without a durable journal";
    let [fails, warns] = DISK_MIN_BYTES;
    let detail = format!("{:.1} GB are free", free_bytes as f64 / 1e9);
    if free_bytes < fails {
        fail("disk", detail, REMEDY)
    } else if free_bytes < warns {
        warn("disk", detail, REMEDY)
    } else {
        ok("disk", detail)
    }
}

fn descriptors(most: u64) -> Line {
    const REMEDY: &str = "raise it: ulimit -n 65536, or LimitNOFILE= of the service";
    let [fails, warns] = DESCRIPTORS_MIN;
    let detail = format!("{most} may be open (soft limit); a run needs about 60");
    if most < fails {
        fail("descriptors", detail, REMEDY)
    } else if most < warns {
        warn("descriptors", detail, REMEDY)
    } else {
        ok("descriptors", format!("{most} may be open (soft limit)"))
    }
}

/// Files that hold secrets: of ours, regular, nobody else's business.
fn secrets(folder: &Path, config: Option<&Config>) -> Line {
    const CHECK: &str = "secrets";
    let mut files: Vec<PathBuf> = Vec::new();
    for name in SECRET_FOLDERS {
        let entries = std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).take(FILES_MAX));
    }
    files.extend(config.and_then(|config| config.credentials.file.clone()));
    let socket = keel_control::socket_path(folder);
    let open: Vec<String> = files
        .iter()
        .chain([&socket].into_iter().filter(|path| path.exists()))
        .filter_map(|path| too_open(path, *path == socket).map(|why| format!("{}: {why}", path.display())))
        .collect();
    match open.as_slice() {
        [] => ok(CHECK, format!("{} files, each private", files.len())),
        open => fail(CHECK, open.join("; "), "chown them to the bot's user and chmod 600; then make the secrets anew"),
    }
}

fn too_open(path: &Path, is_socket: bool) -> Option<String> {
    let data = match std::fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) => return Some(error.to_string()),
    };
    let mode = data.mode() & 0o777;
    if !is_socket && !data.is_file() {
        Some("it is no regular file".to_owned())
    } else if data.uid() != own_uid() {
        Some(format!("it belongs to user {}", data.uid()))
    } else {
        (mode & 0o077 != 0).then(|| format!("its mode is {mode:03o}, so others can get at it"))
    }
}

fn keys(config: &Config, args: &RunArgs) -> Line {
    match crate::run::keys(config, args) {
        Ok(Some(keys)) => ok("keys", format!("from {}", keys.origin)),
        Ok(None) => ok("keys", "none needed"),
        Err(error) if config.mode == Mode::Live => fail("keys", error.to_string(), "live trading needs them"),
        Err(error) => warn("keys", error.to_string(), "a run on this venue needs them"),
    }
}

fn lock(folder: &Path) -> Line {
    const CHECK: &str = "running bot";
    let Some(holder) = FolderLock::holder(folder) else { return ok(CHECK, "none on this data folder") };
    match Client::connect(folder) {
        Ok(_) => match control::ask(folder, Ask::Status {}, control::STATUS_LIMIT) {
            Ok(reply) => ok(CHECK, format!("{holder}; it answers (pid {})", reply.pid)),
            Err(error) => {
                fail(CHECK, format!("{holder}, and it does not answer: {error}"), "SIGUSR1 has it print what it does")
            }
        },
        Err(error) => {
            let remedy = "SIGTERM stops it in order, SIGUSR1 has it print its status";
            fail(CHECK, format!("{holder}, and its control socket cannot be used: {error}"), remedy)
        }
    }
}

fn journal(common: &Common, folder: &Path) -> Line {
    const CHECK: &str = "journal";
    let found = match journal::newest(folder) {
        Ok(Some(found)) => found,
        Ok(None) => return ok(CHECK, "there is none yet"),
        Err(error) => return fail(CHECK, error.to_string(), "check the permissions of the data folder"),
    };
    let shown = found.display();
    match keel_store::verify(&found) {
        Ok(report) if !report.damaged_snapshots.is_empty() => warn(
            CHECK,
            format!("{shown}: the records are good, {} snapshots are not", report.damaged_snapshots.len()),
            "`launcher journal verify` names them; a start does without them",
        ),
        Ok(report) => {
            let end = match (&report.holder, report.is_clean, report.torn_tail_bytes) {
                (Some(_), _, _) => "a bot writes to it".to_owned(),
                (None, true, _) => "closed in order".to_owned(),
                (None, false, 0) => "not closed in order; the next start recovers".to_owned(),
                (None, false, torn) => format!("a write was cut off ({torn} bytes); the next start recovers"),
            };
            let line = format!("{shown}: {} records, every checksum and the chain are right, {end}", report.records);
            if report.holder.is_none() && !report.is_clean {
                let folder = common.data_dir.as_deref().unwrap_or(folder).display();
                return warn(CHECK, line, format!("start again: `launcher --data-dir {folder}`"));
            }
            ok(CHECK, line)
        }
        Err(error @ StoreError::Corrupt { .. }) => fail(
            CHECK,
            format!("{shown}: {error}"),
            "keep a copy, then `launcher journal repair`; do not trade from it",
        ),
        Err(error) => fail(CHECK, format!("{shown}: {error}"), "`launcher journal verify` tells more"),
    }
}

fn clock(common: &Common, config: Config) -> Line {
    let window_ms = config.recv_window.as_secs_f64() * 1e3;
    match reach::ask(common, config) {
        Ok(None) => ok("venue and clock", "the venue is inside the process and has its clock"),
        Ok(Some(Ok(reached))) => {
            let answered = format!("{} answered in {:.1} ms", reached.name, reached.trip_ms);
            offset(&answered, reached.offset_ms, window_ms)
        }
        Ok(Some(Err(error))) => warn(
            "venue and clock",
            format!("the venue does not answer: {error}"),
            "look at network, name service and firewall",
        ),
        Err(error) => warn("venue and clock", error.to_string(), "`launcher check` tells more"),
    }
}

fn offset(answered: &str, offset_ms: f64, window_ms: f64) -> Line {
    const CHECK: &str = "venue and clock";
    const REMEDY: &str = "set this machine's clock (NTP)";
    let detail = format!("{answered}, its clock is {offset_ms:+.1} ms from ours");
    if offset_ms.abs() >= window_ms {
        fail(CHECK, detail, REMEDY)
    } else if offset_ms.abs() > OFFSET_MAX_MS {
        warn(CHECK, detail, REMEDY)
    } else {
        ok(CHECK, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn limits_are_graded() {
        let of = |line: Line| line.result;
        assert_eq!(
            [1_000, 1_000_000_000, 9_000_000_000].map(|it| of(disk_grade(it))),
            [Grade::Fail, Grade::Warn, Grade::Ok]
        );
        assert_eq!(
            [100, 256, 1023, 1024].map(|it| of(descriptors(it))),
            [Grade::Fail, Grade::Warn, Grade::Warn, Grade::Ok]
        );
        let found = [1.0, -251.0, 5_000.0, -6_000.0].map(|ms| of(offset("x", ms, 5_000.0)));
        assert_eq!(found, [Grade::Ok, Grade::Warn, Grade::Fail, Grade::Fail]);
    }

    #[test]
    fn x_03_a_secret_that_others_can_read_or_that_is_a_link_fails() {
        let folder = tempfile::tempdir().unwrap();
        let api = folder.path().join("api");
        std::fs::create_dir(&api).unwrap();
        let token = api.join("read.token");
        std::fs::write(&token, "secret").unwrap();
        let set = |mode| std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o600);
        assert_eq!(secrets(folder.path(), None).result, Grade::Ok);
        set(0o640);
        let line = secrets(folder.path(), None);
        assert!(
            line.result == Grade::Fail && line.detail.contains("640") && !line.detail.contains("secret "),
            "{line:?}"
        );
        set(0o600);
        std::os::unix::fs::symlink(&token, api.join("operate.token")).unwrap();
        assert!(secrets(folder.path(), None).detail.contains("no regular file"));
    }

    #[test]
    fn a_data_folder_is_looked_at_and_nothing_is_left_in_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data");
        assert_eq!(data_folder(&folder).result, Grade::Ok);
        assert!(!folder.exists(), "a look makes nothing");
        std::fs::write(root.path().join("file"), "").unwrap();
        assert_eq!(data_folder(&root.path().join("file")).result, Grade::Fail);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(data_folder(&folder).result, Grade::Warn);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(data_folder(&folder).result, Grade::Ok);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
