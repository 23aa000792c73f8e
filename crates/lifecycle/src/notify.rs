//! Telling systemd how we are: READY, WATCHDOG, STOPPING, over the datagram socket that it names in the environment.
//!
//! Without that socket every call is a no-op. Sending never blocks and never fails the caller.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::ledger::{Lease, LeaseKind, ResourceLedger};

/// A connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, Lease)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Looks at `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    #[must_use]
    pub fn from_env(ledger: &ResourceLedger) -> Self {
        let watchdog =
            std::env::var("WATCHDOG_USEC").ok().and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
        match std::env::var("NOTIFY_SOCKET") {
            Ok(path) if !path.is_empty() => Self::to(&path, watchdog, ledger),
            _ => Self::default(),
        }
    }

    /// Talks to the socket at `path`; a leading `@` means an abstract name.
    #[must_use]
    pub fn to(path: &str, watchdog: Option<Duration>, ledger: &ResourceLedger) -> Self {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address?)?;
            Ok::<_, std::io::Error>(socket)
        };
        match connect() {
            Ok(socket) => {
                let lease = ledger.lease(LeaseKind::Other, "lifecycle", "service manager").until_exit();
                Self { socket: Some((socket, lease)), watchdog }
            }
            Err(error) => {
                tracing::warn!(path, %error, "cannot reach the service manager; going on without it");
                Self::default()
            }
        }
    }

    /// Whether there is somebody to tell.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// How often the service manager wants to hear from us: half of what it allows.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|allowed| allowed / 2)
    }

    /// The system is up and trades.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The system is alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// The stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line of status for people.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={}", line.replace('\n', " ")));
    }

    fn send(&self, message: &str) {
        if let Some((socket, _)) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(message, %error, "the service manager did not take the message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_a_missing_manager_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let ledger = ResourceLedger::default();
        let notifier = Notifier::to(path.to_str().unwrap(), Some(Duration::from_secs(10)), &ledger);
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(5)));
        notifier.ready();
        notifier.watchdog();
        notifier.status("two\nlines");
        notifier.stopping();
        let mut buffer = [0_u8; 64];
        for want in ["READY=1", "WATCHDOG=1", "STATUS=two lines", "STOPPING=1"] {
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), want);
        }
        let nobody = Notifier::to("/nonexistent/notify", None, &ledger);
        assert!(!nobody.is_connected());
        nobody.ready();
    }
}
