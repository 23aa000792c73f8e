//! The asking side: connect, one line, one answer, every wait with a limit. Plain blocking calls: a verb does nothing else.

use crate::ControlError;
use crate::address::{Address, socket_path};
use crate::protocol::{ANSWER_BYTES_MAX, Answer, Request};
use keel_lifecycle::Clock;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the bot may take beyond what the request allows it to wait.
const MARGIN: Duration = Duration::from_secs(5);
/// How long sending a request may take.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// A connection to a bot.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    pid: i32,
    clock: Clock,
}

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// The bot's process.
    pub pid: i32,
}

impl Client {
    /// Connects to the bot on `folder`.
    ///
    /// # Errors
    /// [`ControlError::NoBot`] when nobody listens there; others when the socket is not ours or cannot be used.
    pub fn connect(folder: &Path) -> Result<Self, ControlError> {
        let no_bot = || ControlError::NoBot { folder: folder.to_path_buf() };
        let path = socket_path(folder);
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => no_bot(),
            ErrorKind::PermissionDenied => match std::fs::symlink_metadata(&path) {
                Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
                    ControlError::NotOurs { path: path.clone(), uid: found.uid() }
                }
                _ => ControlError::io("reach the bot at", &path, source),
            },
            _ => ControlError::io("reach the bot at", &path, source),
        };
        let address = match Address::of(folder) {
            Ok(address) => address,
            Err(ControlError::Io { source, .. }) => return Err(failed(source)),
            Err(error) => return Err(error),
        };
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| failed(error.into()))?;
        rustix::net::connect(&socket, &address.unix).map_err(|error| failed(error.into()))?;
        let credentials = rustix::net::sockopt::socket_peercred(&socket).map_err(|error| failed(error.into()))?;
        let own = rustix::process::geteuid();
        if credentials.uid != own && !credentials.uid.is_root() {
            return Err(ControlError::NotOurs { path, uid: credentials.uid.as_raw() });
        }
        Ok(Self {
            stream: UnixStream::from(socket),
            pid: credentials.pid.as_raw_nonzero().get(),
            clock: Clock::system(),
        })
    }

    /// The bot's process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks and waits for the answer, a little longer than the request allows the bot to wait.
    ///
    /// # Errors
    /// When the bot goes away, does not answer in time, or answers what cannot be read.
    pub fn ask(mut self, request: &Request) -> Result<Reply, ControlError> {
        let pid = self.pid;
        let unreadable = |error: serde_json::Error| ControlError::Answer { cause: error.to_string() };
        let mut line = serde_json::to_vec(request).map_err(unreadable)?;
        line.push(b'\n');
        let limit = request.timeout() + MARGIN;
        let deadline = self.clock.deadline(limit);
        let lost = |error: &std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ControlError::Timeout { pid, waited_ms: limit.as_millis() },
            _ => ControlError::Closed { pid },
        };
        self.stream.set_write_timeout(Some(SEND_LIMIT)).map_err(|error| lost(&error))?;
        // A bot that refuses at once may have closed its side already; its answer can still be read.
        let sent = self.stream.write_all(&line);
        let mut answer = Vec::new();
        let mut reader = BufReader::new((&self.stream).take(ANSWER_BYTES_MAX as u64 + 1));
        while !answer.ends_with(b"\n") {
            let left = deadline.remaining().max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(|error| lost(&error))?;
            let chunk = reader.fill_buf().map_err(|error| lost(&error))?;
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len();
            answer.extend_from_slice(chunk);
            reader.consume(taken);
            if deadline.is_past() && !answer.ends_with(b"\n") {
                return Err(ControlError::Timeout { pid, waited_ms: limit.as_millis() });
            }
        }
        if answer.is_empty() {
            return Err(sent.err().map_or(ControlError::Closed { pid }, |error| lost(&error)));
        }
        let answer = serde_json::from_slice(&answer).map_err(unreadable)?;
        Ok(Reply { answer, pid })
    }
}
