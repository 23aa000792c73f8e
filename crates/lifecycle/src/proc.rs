//! The process's own figures, read from `/proc/self`: descriptors by kind, threads, memory, limits.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::clock::Clock;
use crate::error::LifecycleError;

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DescriptorKind {
    /// A socket of any family.
    Socket,
    /// A pipe or fifo.
    Pipe,
    /// A regular file or a folder.
    File,
    /// An event loop's own: epoll, eventfd, timerfd, inotify.
    Anon,
    /// A device node: terminal, null, GPU.
    Device,
}

impl DescriptorKind {
    /// Every kind.
    pub const ALL: [DescriptorKind; 5] = [Self::Socket, Self::Pipe, Self::File, Self::Anon, Self::Device];

    /// The name that reports use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::File => "file",
            Self::Anon => "anon",
            Self::Device => "device",
        }
    }

    pub(crate) fn of(target: &str) -> Self {
        if target.starts_with("socket:") {
            Self::Socket
        } else if target.starts_with("pipe:") {
            Self::Pipe
        } else if target.starts_with("anon_inode:") {
            Self::Anon
        } else if target.starts_with("/dev/") && !target.starts_with("/dev/shm/") {
            Self::Device
        } else {
            Self::File
        }
    }
}

/// One open descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: u32,
    /// What it refers to.
    pub kind: DescriptorKind,
    /// The link of `/proc/self/fd`, such as `socket:[4711]`.
    pub target: String,
}

/// How many descriptors of each kind are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DescriptorCounts {
    /// Sockets.
    pub socket: usize,
    /// Pipes.
    pub pipe: usize,
    /// Files.
    pub file: usize,
    /// Event loops' own.
    pub anon: usize,
    /// Device nodes.
    pub device: usize,
}

impl DescriptorCounts {
    /// Counts a list.
    #[must_use]
    pub fn of(descriptors: &[Descriptor]) -> Self {
        let count = |kind| descriptors.iter().filter(|descriptor| descriptor.kind == kind).count();
        Self {
            socket: count(DescriptorKind::Socket),
            pipe: count(DescriptorKind::Pipe),
            file: count(DescriptorKind::File),
            anon: count(DescriptorKind::Anon),
            device: count(DescriptorKind::Device),
        }
    }

    /// The count of one kind.
    #[must_use]
    pub fn get(&self, kind: DescriptorKind) -> usize {
        match kind {
            DescriptorKind::Socket => self.socket,
            DescriptorKind::Pipe => self.pipe,
            DescriptorKind::File => self.file,
            DescriptorKind::Anon => self.anon,
            DescriptorKind::Device => self.device,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> usize {
        DescriptorKind::ALL.into_iter().map(|kind| self.get(kind)).sum()
    }
}

/// The process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessSample {
    /// When, unix nanoseconds.
    pub ts_ns: u64,
    /// Open descriptors.
    pub descriptors: DescriptorCounts,
    /// The limit at which opening another one fails: the soft one (D20).
    pub descriptors_max: u64,
    /// Threads.
    pub threads: usize,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// The most that was ever resident, bytes.
    pub rss_bytes_max: u64,
}

impl ProcessSample {
    /// Reads the figures now.
    ///
    /// # Errors
    /// When `/proc/self` cannot be read.
    pub fn take(clock: &Clock) -> Result<Self, LifecycleError> {
        let status = read("/proc/self/status")?;
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()).and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let rss_bytes = field("VmRSS:") * 1024;
        Ok(Self {
            ts_ns: clock.now_ns(),
            descriptors: DescriptorCounts::of(&open_descriptors()?),
            descriptors_max: descriptors_max(),
            threads: usize::try_from(field("Threads:")).unwrap_or(usize::MAX),
            rss_bytes,
            rss_bytes_max: (field("VmHWM:") * 1024).max(rss_bytes),
        })
    }

    /// Open descriptors as a share of the soft limit.
    #[must_use]
    pub fn descriptors_ratio(&self) -> f64 {
        self.descriptors.total() as f64 / self.descriptors_max.max(1) as f64
    }
}

/// The soft limit on open descriptors.
#[must_use]
pub fn descriptors_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The open descriptors, without the one that reading them needs.
///
/// # Errors
/// When `/proc/self/fd` cannot be read.
pub fn open_descriptors() -> Result<Vec<Descriptor>, LifecycleError> {
    const PATH: &str = "/proc/self/fd";
    let own = format!("/proc/{}/fd", std::process::id());
    let entries = fs::read_dir(PATH).map_err(|source| LifecycleError::Proc { path: PATH, source })?;
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Another thread may have closed it meanwhile; then it is not open.
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        let target = link.to_string_lossy().into_owned();
        if target != own {
            out.push(Descriptor { fd, kind: DescriptorKind::of(&target), target });
        }
    }
    out.sort_by_key(|descriptor| descriptor.fd);
    Ok(out)
}

/// The threads of this process: number and name.
///
/// # Errors
/// When `/proc/self/task` cannot be read.
pub fn threads() -> Result<Vec<(u32, String)>, LifecycleError> {
    const PATH: &str = "/proc/self/task";
    let entries = fs::read_dir(PATH).map_err(|source| LifecycleError::Proc { path: PATH, source })?;
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(name) = fs::read_to_string(Path::new(PATH).join(entry.file_name()).join("comm")) else { continue };
        out.push((tid, name.trim_end().to_owned()));
    }
    out.sort_by_key(|(tid, _)| *tid);
    Ok(out)
}

/// What a socket is connected to, for naming it in a leak report; `None` for what is not TCP over IPv4.
#[must_use]
pub(crate) fn describe_socket(target: &str) -> Option<String> {
    let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    let table = fs::read_to_string("/proc/self/net/tcp").ok()?;
    let line = table.lines().skip(1).find(|line| line.split_whitespace().nth(9) == Some(inode))?;
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    Some(format!("tcp {} -> {}", ipv4(local)?, ipv4(remote)?))
}

/// `0100007F:1F90` is 127.0.0.1:8080.
fn ipv4(hex: &str) -> Option<String> {
    let (address, port) = hex.split_once(':')?;
    let address = std::net::Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.swap_bytes());
    Some(format!("{address}:{}", u16::from_str_radix(port, 16).ok()?))
}

fn read(path: &'static str) -> Result<String, LifecycleError> {
    fs::read_to_string(path).map_err(|source| LifecycleError::Proc { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_plausible_and_uses_the_soft_limit_d20() {
        let sample = ProcessSample::take(&Clock::system()).unwrap();
        assert!(sample.descriptors.total() >= 3, "{sample:?}");
        assert!(sample.threads >= 1 && sample.rss_bytes > 100_000 && sample.rss_bytes_max >= sample.rss_bytes);
        assert_eq!(Some(sample.descriptors_max), rustix::process::getrlimit(rustix::process::Resource::Nofile).current);
        assert!(sample.descriptors_ratio() > 0.0);
    }

    #[test]
    fn descriptors_are_told_apart_by_kind() {
        for (target, kind) in [
            ("socket:[12]", DescriptorKind::Socket),
            ("pipe:[3]", DescriptorKind::Pipe),
            ("anon_inode:[eventpoll]", DescriptorKind::Anon),
            ("/dev/null", DescriptorKind::Device),
            ("/dev/shm/x", DescriptorKind::File),
            ("/tmp/a (deleted)", DescriptorKind::File),
        ] {
            assert_eq!(DescriptorKind::of(target), kind, "{target}");
        }
    }

    #[test]
    fn a_listening_socket_is_described() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let described: Vec<String> =
            open_descriptors().unwrap().iter().filter_map(|descriptor| describe_socket(&descriptor.target)).collect();
        assert!(described.contains(&format!("tcp 127.0.0.1:{port} -> 0.0.0.0:0")), "{described:?}");
    }

    #[test]
    fn threads_are_listed_by_name() {
        let (release, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let thread = std::thread::Builder::new().name("proc-probe".into()).spawn(move || wait.recv().is_ok()).unwrap();
        // The thread names itself when it starts.
        let seen = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            threads().unwrap().iter().any(|(_, name)| name == "proc-probe")
        });
        assert!(seen);
        release.send(()).unwrap();
        thread.join().unwrap();
    }
}
