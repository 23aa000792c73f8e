//! The few operations on a disk that the journal needs, behind a trait so that tests can make them fail or hang.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What the journal asks of a disk. Implementations handle EINTR and short writes (D-09).
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Reserves `bytes` for a file and makes it that long; what was not written reads as zero.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything written is on stable storage.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // Without fallocate (some network and FUSE file systems), space is reserved by writing zeros.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let from = file.metadata()?.len();
                let zeros = vec![0; 1 << 16];
                let mut at = from;
                while at < bytes {
                    let length = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
                    file.write_all_at(&zeros[..length], at)?;
                    at += length as u64;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
