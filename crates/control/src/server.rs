//! The answering side. It runs on the control thread's runtime, so that it also answers while the trading runtime is blocked.
//!
//! | bound | beyond it |
//! |---|---|
//! | connections at once | told that the bot is busy, and closed |
//! | length of a request | refused |
//! | time until the request is there, until the answer is taken | closed |
//! | wait for confirmation | at most what was asked for, and [`WAIT_MAX`](crate::WAIT_MAX) |
//!
//! A peer that goes away ends the waiting for it, not what it had asked for.

use crate::ControlError;
use crate::address::{Address, socket_path};
use crate::protocol::{Answer, LINE_BYTES_MAX, Request};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use keel_lifecycle::{Lease, LeaseKind, ResourceLedger};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 32;
/// Pause after a failed accept, such as with no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, over the socket.
    Local {
        /// User.
        uid: u32,
        /// Process, where the kernel tells.
        pid: Option<i32>,
    },
    /// Somebody with a token, over HTTP.
    Web {
        /// From where.
        from: SocketAddr,
    },
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Local { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Web { from } => write!(f, "a token over HTTP from {from}"),
        }
    }
}

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What the socket steers. Its futures run on the control thread: they wait, they never block.
pub trait Operator: Send + Sync {
    /// Does what is asked and answers, at the latest after the request's time-out.
    fn ask(&self, request: Request, peer: Peer) -> Answering;
}

/// Bounds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// How long a peer may take to send its request.
    pub request_timeout: Duration,
    /// How long a peer may take to read its answer.
    pub answer_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { connections_max: 16, request_timeout: Duration::from_secs(5), answer_timeout: Duration::from_secs(5) }
    }
}

/// A bound socket. Dropping it removes its file, if it is still its own.
#[derive(Debug)]
pub struct ControlServer {
    listener: Option<StdListener>,
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: (u64, u64),
    limits: ServerLimits,
    _lease: Lease,
}

impl ControlServer {
    /// Binds the socket of `folder`, and removes the file of a bot that is gone.
    ///
    /// The caller holds the lock of `folder` for as long as the server lives: that is what makes a socket found here a
    /// leftover.
    ///
    /// # Errors
    /// When something that is no socket is in the way, or the system refuses.
    pub fn bind(folder: &Path, ledger: &ResourceLedger, limits: ServerLimits) -> Result<Self, ControlError> {
        let path = socket_path(folder);
        let failed = |what: &'static str| {
            let path = path.clone();
            move |error: rustix::io::Errno| ControlError::io(what, &path, error.into())
        };
        match rustix::fs::lstat(&path) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Socket => {
                rustix::fs::unlink(&path).map_err(failed("remove the old socket"))?;
            }
            Ok(_) => return Err(ControlError::InTheWay { path }),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(failed("look at")(error)),
        }
        let address = Address::of(folder)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(failed("make the socket"))?;
        rustix::net::bind(&socket, &address.unix).map_err(failed("bind the socket"))?;
        // Nobody can connect before `listen`, so nobody ever sees another mode.
        rustix::fs::chmodat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR, AtFlags::empty())
            .map_err(failed("protect the socket"))?;
        let stat = rustix::fs::lstat(&path).map_err(failed("look at"))?;
        rustix::net::listen(&socket, BACKLOG).map_err(failed("listen on"))?;
        let lease = ledger.lease(LeaseKind::Listener, "control", "control socket");
        Ok(Self {
            listener: Some(StdListener::from(socket)),
            path,
            identity: (stat.st_dev, stat.st_ino),
            limits,
            _lease: lease,
        })
    }

    /// The socket's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until `stop` is cancelled. Run it as a task of the control thread's runtime.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub async fn run(mut self, operator: Arc<dyn Operator>, stop: CancellationToken) -> Result<(), ControlError> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let listener =
            UnixListener::from_std(listener).map_err(|error| ControlError::io("listen on", &self.path, error))?;
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(()) = open.next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let operator = (open.len() < self.limits.connections_max).then(|| operator.clone());
                        if open.len() < self.limits.connections_max * 2 {
                            open.push(serve(stream, operator, self.limits));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let is_own = rustix::fs::lstat(&self.path).is_ok_and(|found| (found.st_dev, found.st_ino) == self.identity);
        if is_own && let Err(error) = rustix::fs::unlink(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the control socket's file stays; the next run removes it");
        }
    }
}

/// May this user steer a bot of `own`?
const fn is_allowed(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// One connection: one request, one answer. Without an operator the bot is busy.
async fn serve(mut stream: UnixStream, operator: Option<Arc<dyn Operator>>, limits: ServerLimits) {
    let Some(answer) = answer_to(&mut stream, operator, limits).await else { return };
    let line = answer.line();
    let write = async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(limits.answer_timeout, write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "nobody took the answer of the control socket"),
        Err(_) => tracing::warn!("a peer of the control socket did not take its answer; it was closed"),
    }
}

async fn answer_to(
    stream: &mut UnixStream,
    operator: Option<Arc<dyn Operator>>,
    limits: ServerLimits,
) -> Option<Answer> {
    let (uid, peer) = match stream.peer_cred() {
        Ok(found) => (found.uid(), Peer::Local { uid: found.uid(), pid: found.pid() }),
        Err(error) => return Some(Answer::refused("", format!("the kernel does not say who asks: {error}"))),
    };
    if !is_allowed(uid, rustix::process::geteuid().as_raw()) {
        tracing::warn!(%peer, "somebody else knocked at the control socket");
        return Some(Answer::refused("", "only the user that runs the bot may steer it"));
    }
    let Some(operator) = operator else {
        return Some(Answer::refused("", "the bot is busy with other requests; try again"));
    };
    let (read, _write) = stream.split();
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX as u64 + 1));
    let mut line = Vec::new();
    match tokio::time::timeout(limits.request_timeout, read.read_until(b'\n', &mut line)).await {
        Err(_) => return Some(Answer::refused("", "no request came in time")),
        Ok(Err(_)) => return None,
        Ok(Ok(_)) if line.is_empty() => return None,
        Ok(Ok(_)) if line.len() > LINE_BYTES_MAX => {
            return Some(Answer::refused("", format!("the request is longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(Ok(_)) if !line.ends_with(b"\n") => return Some(Answer::refused("", "the request was cut off")),
        Ok(Ok(_)) => {}
    }
    let request = match Request::parse(&line) {
        Ok(request) => request,
        Err(why) => return Some(Answer::refused("", why)),
    };
    let answering = operator.ask(request, peer);
    let mut rest = [0_u8; 1];
    tokio::select! {
        biased;
        answer = answering => Some(answer),
        // Anything after the request, its end included, ends the waiting.
        _ = read.read(&mut rest) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bots_user_and_root_are_heard() {
        assert!(is_allowed(1000, 1000) && is_allowed(0, 1000) && is_allowed(0, 0));
        assert!(!is_allowed(1001, 1000) && !is_allowed(1000, 0) && !is_allowed(65_534, 1000));
    }
}
