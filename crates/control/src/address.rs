//! Where the socket is, and how it is reached when the path is too long for the kernel.
//!
//! An address of a Unix socket has room for 107 bytes. A longer path is reached through an open descriptor of its folder,
//! `/proc/self/fd/N/control.sock`, which is always short.

use crate::ControlError;
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketAddrUnix;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Name of the socket in the data folder.
pub const SOCKET_FILE: &str = "control.sock";
/// Longest path that fits into an address; unit: bytes.
const PATH_BYTES_MAX: usize = 107;

/// The socket of a data folder.
#[must_use]
pub fn socket_path(folder: &Path) -> PathBuf {
    folder.join(SOCKET_FILE)
}

/// An address that the kernel takes, and what must stay open while it is used.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) unix: SocketAddrUnix,
    _folder: Option<OwnedFd>,
}

impl Address {
    pub(crate) fn of(folder: &Path) -> Result<Self, ControlError> {
        let path = socket_path(folder);
        let failed = |error: rustix::io::Errno| ControlError::io("reach", &path, error.into());
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            let unix = SocketAddrUnix::new(&path).map_err(failed)?;
            return Ok(Self { unix, _folder: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(failed)?;
        let short = format!("/proc/self/fd/{}/{SOCKET_FILE}", folder.as_raw_fd());
        let unix = SocketAddrUnix::new(short.as_str()).map_err(failed)?;
        Ok(Self { unix, _folder: Some(folder) })
    }
}
