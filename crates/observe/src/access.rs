//! Who may look and who may act: bearer tokens of 256 bit, kept as hashes, compared in constant time.
//!
//! The hashes are in `api/tokens.json` of the data folder, mode 0600. At the first start one token of each role is made and
//! written once into `api/<role>.token`, mode 0600, for its user to take; those files may be removed, the hashes stay. Wrong
//! tokens are counted: more than [`WRONG_PER_MINUTE_MAX`] a minute are answered without a look at them, and right ones pass
//! all the same, so that nobody can lock the owner out.

use crate::ObserveError;
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Wrong tokens a minute before they are called too many.
pub(crate) const WRONG_PER_MINUTE_MAX: usize = 10;
/// Folder of the tokens in the data folder.
const FOLDER: &str = "api";
/// The hashes.
const HASHES: &str = "tokens.json";
/// The longest token that is looked at; unit: bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// The longest file of hashes; unit: bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Most tokens.
const TOKENS_MAX: usize = 64;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To look.
    Read,
    /// To look, and to pause, cancel, flatten, stop.
    Operate,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Read, Self::Operate];

    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    role: Role,
    sha256: String,
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshToken {
    /// What it allows.
    pub role: Role,
    /// The file that holds it.
    pub path: PathBuf,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is one of this role.
    Known(Role),
    /// None was given.
    Missing,
    /// It is none of ours.
    Wrong,
    /// It is none of ours, and there were too many such.
    TooMany,
}

/// The tokens that are known.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<(Role, [u8; 32])>,
    wrong: Mutex<VecDeque<u64>>,
    clock: Clock,
}

impl Access {
    /// Reads the tokens of a data folder; makes one of each role when there are none yet.
    ///
    /// # Errors
    /// When a file is not private, not readable, or cannot be written.
    pub fn open(data_dir: &Path, clock: Clock) -> Result<(Self, Vec<FreshToken>), ObserveError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(HASHES);
        let kept = match private(&path)? {
            Some(text) => serde_json::from_str::<Vec<Kept>>(&text).map_err(|error| ObserveError::TokenFile {
                path: path.clone(),
                cause: format!("it is not a list of token hashes ({error})"),
            })?,
            None => return Self::make(&folder, &path, clock),
        };
        let tokens = kept.iter().take(TOKENS_MAX).map(|it| {
            let mut hash = [0; 32];
            let decoded = hex::decode_to_slice(&it.sha256, &mut hash);
            decoded.map(|()| (it.role, hash)).map_err(|error| ObserveError::TokenFile {
                path: path.clone(),
                cause: format!("a hash in it is none ({error})"),
            })
        });
        Ok((Self::of(tokens.collect::<Result<_, _>>()?, clock), Vec::new()))
    }

    fn of(tokens: Vec<(Role, [u8; 32])>, clock: Clock) -> Self {
        Self { tokens, wrong: Mutex::default(), clock }
    }

    fn make(folder: &Path, path: &Path, clock: Clock) -> Result<(Self, Vec<FreshToken>), ObserveError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| ObserveError::io("make the folder", folder, error))?;
        let (mut tokens, mut kept, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for role in Role::ALL {
            let token = random_token().map_err(|error| ObserveError::io("get random numbers for", folder, error))?;
            let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            let file = folder.join(format!("{}.token", role.name()));
            write_private(&file, token.as_bytes())?;
            kept.push(Kept { role, sha256: hex::encode(hash) });
            tokens.push((role, hash));
            fresh.push(FreshToken { role, path: file });
        }
        let text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        // Last of all: while it is not there, the next start makes all tokens anew.
        write_private(path, text.as_bytes())?;
        Ok((Self::of(tokens, clock), fresh))
    }

    /// Looks at the `Authorization` header.
    pub(crate) fn look(&self, header: Option<&str>) -> Verdict {
        let Some(header) = header else { return Verdict::Missing };
        let token = header.strip_prefix("Bearer ").map(str::trim).filter(|token| !token.is_empty());
        let Some(token) = token.filter(|token| token.len() <= TOKEN_BYTES_MAX) else { return self.wrong() };
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        // Every one is looked at, whichever fits.
        for (role, known) in &self.tokens {
            if bool::from(known.ct_eq(&hash)) {
                found = found.max(Some(*role));
            }
        }
        found.map_or_else(|| self.wrong(), Verdict::Known)
    }

    fn wrong(&self) -> Verdict {
        let now = self.clock.mono_ns();
        let mut times = self.wrong.lock();
        while times.front().is_some_and(|at| now.saturating_sub(*at) > 60_000_000_000) {
            times.pop_front();
        }
        if times.len() >= WRONG_PER_MINUTE_MAX {
            return Verdict::TooMany;
        }
        times.push_back(now);
        if times.len() == WRONG_PER_MINUTE_MAX {
            tracing::warn!("{WRONG_PER_MINUTE_MAX} wrong tokens within a minute; further ones are not told singly");
        }
        Verdict::Wrong
    }
}

/// 256 bit as hexadecimal digits.
fn random_token() -> std::io::Result<String> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(hex::encode(bytes))
}

/// The text of a file that only we can read; `None` when there is none.
fn private(path: &Path) -> Result<Option<String>, ObserveError> {
    let data = match std::fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ObserveError::io("look at", path, error)),
    };
    let refused = |cause: &str| Err(ObserveError::TokenFile { path: path.to_path_buf(), cause: cause.to_owned() });
    if !data.is_file() {
        return refused("it is no regular file");
    }
    if data.uid() != rustix::process::geteuid().as_raw() {
        return refused("it belongs to somebody else");
    }
    if data.mode() & 0o077 != 0 {
        return refused("others may read or write it");
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| ObserveError::io("read", path, error))?;
    Ok(Some(text))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ObserveError> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        drop(std::fs::remove_file(&temporary));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| ObserveError::io("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn header(fresh: &[FreshToken], role: Role) -> String {
        let path = &fresh.iter().find(|it| it.role == role).unwrap().path;
        format!("Bearer {}", std::fs::read_to_string(path).unwrap().trim())
    }

    #[test]
    fn x_05_tokens_are_made_once_private_kept_as_hashes_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let (access, fresh) = Access::open(folder.path(), Clock::manual()).unwrap();
        let (read, operate) = (header(&fresh, Role::Read), header(&fresh, Role::Operate));
        assert_eq!(read.len(), "Bearer ".len() + 64, "256 bit");
        assert_ne!(read, operate);
        let (again, none) = Access::open(folder.path(), Clock::manual()).unwrap();
        assert!(none.is_empty());
        for access in [access, again] {
            assert_eq!(access.look(Some(&read)), Verdict::Known(Role::Read));
            assert_eq!(access.look(Some(&operate)), Verdict::Known(Role::Operate));
            assert_eq!(access.look(None), Verdict::Missing);
            for wrong in ["Bearer ", "Basic abc", &read[..70], &format!("{read}0"), &"x".repeat(1_000)] {
                assert_eq!(access.look(Some(wrong)), Verdict::Wrong, "{wrong}");
            }
        }
        let hashes = folder.path().join(FOLDER).join(HASHES);
        let text = std::fs::read_to_string(&hashes).unwrap();
        assert!(!text.contains(read.trim_start_matches("Bearer ")), "only its hash is kept");
        for file in fresh.iter().map(|it| it.path.clone()).chain([hashes]) {
            assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn x_05_wrong_tokens_are_bounded_per_minute_and_never_lock_the_owner_out() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual();
        let (access, fresh) = Access::open(folder.path(), clock.clone()).unwrap();
        let read = header(&fresh, Role::Read);
        let wrong = |access: &Access| access.look(Some("Bearer guess"));
        let met: Vec<Verdict> = (0..12).map(|_| wrong(&access)).collect();
        assert!(met[..10].iter().all(|it| *it == Verdict::Wrong) && met[10..].iter().all(|it| *it == Verdict::TooMany));
        assert_eq!(access.look(Some(&read)), Verdict::Known(Role::Read));
        clock.advance(Duration::from_secs(61));
        assert_eq!(wrong(&access), Verdict::Wrong);
    }

    #[test]
    fn x_03_a_file_of_hashes_that_others_could_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(Access::open(folder.path(), Clock::manual()).unwrap());
        let hashes = folder.path().join(FOLDER).join(HASHES);
        std::fs::set_permissions(&hashes, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Access::open(folder.path(), Clock::manual()).unwrap_err().to_string();
        assert!(error.contains("mode 600"), "{error}");
        std::fs::set_permissions(&hashes, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&hashes, "[{\"role\":\"read\",\"sha256\":\"xy\"}]").unwrap();
        assert!(Access::open(folder.path(), Clock::manual()).unwrap_err().to_string().contains("hash"));
    }
}
