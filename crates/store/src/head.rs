//! The head file: what the journal surely holds, replaced as a whole.
//!
//! It is made durable at each start (with the raised epoch, so that no client order id comes twice) and at an orderly end.
//! Invariant: a journal that ends before what its head says is damaged, never merely torn.

use crate::StoreError;
use crate::frame::Chain;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the head file.
pub(crate) const HEAD_FILE: &str = "HEAD";
const FORMAT: u32 = 1;

/// What the head file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) instance: u32,
    pub(crate) epoch: u32,
    pub(crate) mode: String,
    pub(crate) sequence: u64,
    pub(crate) chain: Chain,
    pub(crate) is_clean: bool,
}

impl Head {
    fn to_text(&self) -> String {
        let body = format!(
            "keel-journal {FORMAT}\ninstance {}\nepoch {}\nmode {}\nsequence {}\nchain {}\nclean {}\n",
            self.instance,
            self.epoch,
            self.mode,
            self.sequence,
            hex::encode(self.chain),
            self.is_clean,
        );
        format!("{body}crc {:08x}\n", crc32c::crc32c(body.as_bytes()))
    }

    fn parse(text: &str, path: &Path) -> Result<Self, StoreError> {
        let bad = |cause: &str| StoreError::corrupt(path, 0, cause);
        let body_end = text.find("crc ").ok_or_else(|| bad("the head file has no checksum"))?;
        let (body, crc) = text.split_at(body_end);
        if crc != format!("crc {:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(bad("the checksum of the head file is wrong"));
        }
        let mut lines = body.lines();
        let mut next = |key: &'static str| {
            lines.next().and_then(|line| line.strip_prefix(key)).and_then(|line| line.strip_prefix(' '))
        };
        let format: u32 =
            next("keel-journal").and_then(|v| v.parse().ok()).ok_or_else(|| bad("this is not a head file"))?;
        if format > FORMAT {
            return Err(StoreError::NewerFormat { path: path.to_path_buf(), found: format, known: FORMAT });
        }
        let parsed = (|| {
            Some(Self {
                instance: next("instance")?.parse().ok()?,
                epoch: next("epoch")?.parse().ok()?,
                mode: next("mode")?.to_owned(),
                sequence: next("sequence")?.parse().ok()?,
                chain: hex::decode(next("chain")?).ok()?.try_into().ok()?,
                is_clean: next("clean")?.parse().ok()?,
            })
        })();
        parsed.ok_or_else(|| bad("a line of the head file is missing or wrong"))
    }

    /// Reads the head of `folder`; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(HEAD_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path, &error)),
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| StoreError::corrupt(&path, error.valid_up_to(), "the head file is not text"))?;
        Self::parse(text, &path).map(Some)
    }

    /// Replaces the head of `folder` as a whole and makes it durable.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let (path, draft) = (folder.join(HEAD_FILE), folder.join("HEAD.new"));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| StoreError::io("write", &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_and_any_changed_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let head = Head { instance: 7, epoch: 3, mode: "paper".into(), sequence: 12, chain: [9; 32], is_clean: true };
        head.write(folder.path()).unwrap();
        assert_eq!(Head::read(folder.path()).unwrap(), Some(head));
        let path = folder.path().join(HEAD_FILE);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Head::read(folder.path()).is_err(), "byte {at}");
        }
    }
}
