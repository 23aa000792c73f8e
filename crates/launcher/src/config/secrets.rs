//! Keys of an account: from systemd credentials, a private file, or the environment; never from the command line, never
//! printed. A file that somebody else could read or swap is refused, and what was checked is what is read.

use super::CredentialSettings;
use crate::error::LaunchError;
use crate::out;
use secrecy::{SecretString, zeroize::Zeroize};
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// HMAC-SHA256 with a shared secret.
    Hmac,
    /// Ed25519 with a private key (PKCS#8 PEM).
    Ed25519,
}

/// Keys of one account. `Debug` shows where they came from and nothing else.
#[derive(Clone)]
pub struct Keys {
    /// Names the account to the venue.
    pub api_key: SecretString,
    /// Signs: the shared secret, or the private key's PEM.
    pub secret: SecretString,
    /// How.
    pub key_type: KeyType,
    /// Where they came from, for people.
    pub origin: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("key_type", &self.key_type).field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Most bytes of a file with keys.
const BYTES_MAX: u64 = 64 * 1024;
const KEY_VARIABLE: &str = "KEEL_API_KEY";
const SECRET_VARIABLE: &str = "KEEL_API_SECRET";

/// Where keys may come from; the real environment, or a test's.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// systemd's folder of credentials.
    pub credentials_dir: Option<PathBuf>,
    /// `KEEL_API_KEY`.
    pub key_variable: Option<String>,
    /// `KEEL_API_SECRET`.
    pub secret_variable: Option<String>,
}

impl Sources {
    /// The process's own.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            key_variable: std::env::var(KEY_VARIABLE).ok(),
            secret_variable: std::env::var(SECRET_VARIABLE).ok(),
        }
    }
}

/// Finds the keys. Order: the file named in the configuration, systemd credentials, the environment (with a warning).
pub fn load(settings: &CredentialSettings, sources: Sources) -> Result<Keys, LaunchError> {
    let key_type = if settings.is_ed25519 { KeyType::Ed25519 } else { KeyType::Hmac };
    if let Some(path) = &settings.file {
        return from_file(path, key_type);
    }
    if let Some(keys) = from_systemd(sources.credentials_dir.as_deref(), key_type)? {
        return Ok(keys);
    }
    match (sources.key_variable, sources.secret_variable) {
        (Some(key), Some(secret)) => {
            // The log is not open yet.
            out::note(
                "warning: keys come from the environment, which other programs of this user can read; prefer credentials.file or systemd credentials",
            );
            keys(key, secret, key_type, "environment".into())
        }
        (None, None) => Err(LaunchError::Keys {
            cause: "none were found".into(),
            remedy: format!(
                "name a private file in `credentials.file`, give systemd credentials keel-api-key and keel-api-secret, or set {KEY_VARIABLE} and {SECRET_VARIABLE}"
            ),
        }),
        (key, _) => {
            let (has, lacks) =
                if key.is_some() { (KEY_VARIABLE, SECRET_VARIABLE) } else { (SECRET_VARIABLE, KEY_VARIABLE) };
            Err(LaunchError::Keys { cause: format!("{has} is set and {lacks} is not"), remedy: "set both".into() })
        }
    }
}

fn from_systemd(dir: Option<&Path>, key_type: KeyType) -> Result<Option<Keys>, LaunchError> {
    let Some(dir) = dir else { return Ok(None) };
    let (key_path, secret_path) = (dir.join("keel-api-key"), dir.join("keel-api-secret"));
    if !key_path.exists() && !secret_path.exists() {
        return Ok(None);
    }
    let read = |path: &Path| read_text(open(path)?, path);
    keys(read(&key_path)?, read(&secret_path)?, key_type, format!("systemd credentials in {}", dir.display())).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    api_key: String,
    #[serde(default)]
    api_secret: String,
    #[serde(default)]
    private_key_file: String,
}

fn from_file(path: &Path, key_type: KeyType) -> Result<Keys, LaunchError> {
    let mut text = read_private(path)?;
    let parsed: Result<KeyFile, _> = toml::from_str(&text);
    text.zeroize();
    // The parser's own message would quote the line, and with it the secret.
    let file = parsed.map_err(|error| {
        let place = error.span().map_or(String::new(), |span| format!(" (near byte {})", span.start));
        refuse(
            path,
            &format!("it is not what a file of keys looks like{place}"),
            "write api_key = \"…\" and api_secret = \"…\", nothing else",
        )
    })?;
    let secret = match (key_type, file.api_secret.is_empty(), file.private_key_file.is_empty()) {
        (_, false, true) => file.api_secret,
        (KeyType::Ed25519, true, false) => {
            read_private(&path.parent().unwrap_or(Path::new(".")).join(&file.private_key_file))?
        }
        (KeyType::Hmac, true, false) => {
            return Err(refuse(
                path,
                "it names a private key, but `credentials.key_type` is hmac",
                "set key_type = \"ed25519\", or write api_secret",
            ));
        }
        (_, true, true) => {
            return Err(refuse(path, "it has no secret", "write api_secret, or private_key_file for Ed25519"));
        }
        (_, false, false) => return Err(refuse(path, "it has api_secret and private_key_file", "keep one")),
    };
    keys(file.api_key, secret, key_type, path.display().to_string())
}

fn keys(mut key: String, mut secret: String, key_type: KeyType, origin: String) -> Result<Keys, LaunchError> {
    let found = Keys {
        api_key: SecretString::from(key.trim().to_owned()),
        secret: SecretString::from(secret.trim().to_owned()),
        key_type,
        origin,
    };
    let is_printable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_usable = is_printable(key.trim()) && !secret.trim().is_empty() && secret.is_ascii();
    let is_pem = secret.trim_start().starts_with("-----BEGIN PRIVATE KEY-----");
    key.zeroize();
    secret.zeroize();
    if !is_usable {
        return Err(LaunchError::Keys {
            cause: format!("those from {} are empty or not plain text", found.origin),
            remedy: "copy them again from the venue".into(),
        });
    }
    if (key_type == KeyType::Ed25519) != is_pem {
        let cause = format!("those from {} do not fit `credentials.key_type`", found.origin);
        return Err(LaunchError::Keys {
            cause,
            remedy: "ed25519 takes a PKCS#8 PEM (-----BEGIN PRIVATE KEY-----), hmac takes the venue's secret".into(),
        });
    }
    Ok(found)
}

fn refuse(path: &Path, cause: &str, remedy: &str) -> LaunchError {
    LaunchError::Keys { cause: format!("file {}: {cause}", path.display()), remedy: remedy.to_owned() }
}

fn open(path: &Path) -> Result<File, LaunchError> {
    // Not following links and never waiting for a pipe's other end.
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => refuse(path, "it is a symbolic link", "name the file itself"),
        _ => refuse(path, &error.to_string(), "check path and permissions"),
    })?;
    let meta = file.metadata().map_err(|error| refuse(path, &error.to_string(), "check the file system"))?;
    if !meta.is_file() {
        return Err(refuse(path, "it is not a regular file", "name a regular file"));
    }
    Ok(file)
}

fn read_private(path: &Path) -> Result<String, LaunchError> {
    let file = open(path)?;
    let meta = file.metadata().map_err(|error| refuse(path, &error.to_string(), "check the file system"))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(
            path,
            &format!("it belongs to user {}", meta.uid()),
            "the user who runs the launcher must own it (chown)",
        ));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(
            path,
            &format!("its mode is {mode:03o}, so others can get at it"),
            &format!("run: chmod 600 {}", path.display()),
        ));
    }
    read_text(file, path)
}

fn read_text(file: File, path: &Path) -> Result<String, LaunchError> {
    let mut text = String::new();
    let length = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    match length {
        Ok(length) if length as u64 <= BYTES_MAX => Ok(text),
        Ok(_) => Err(refuse(path, "it is larger than 64 KiB", "this is not a file of keys")),
        Err(_) => Err(refuse(path, "it is not UTF-8", "save it as plain text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn settings(file: Option<&Path>) -> CredentialSettings {
        CredentialSettings { file: file.map(Path::to_path_buf), is_ed25519: false }
    }

    fn write(dir: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    const GOOD: &str = "api_key = \"the-key\"\napi_secret = \"the-hidden-one\"\n";

    #[test]
    fn a_private_file_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&dir, "keys.toml", GOOD, 0o600);
        let keys = load(&settings(Some(&path)), Sources::default()).unwrap();
        assert_eq!((keys.api_key.expose_secret(), keys.secret.expose_secret()), ("the-key", "the-hidden-one"));
        let shown = format!("{keys:?}");
        assert!(!shown.contains("the-key") && !shown.contains("hidden") && shown.contains("keys.toml"), "{shown}");
    }

    #[test]
    fn files_that_others_can_get_at_are_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o640, 0o620, 0o601] {
            let path = write(&dir, "open.toml", GOOD, mode);
            let message = load(&settings(Some(&path)), Sources::default()).unwrap_err().to_string();
            assert!(message.contains(&format!("its mode is {mode:03o}")) && message.contains("chmod 600"), "{message}");
            std::fs::remove_file(path).unwrap();
        }
        let real = write(&dir, "real.toml", GOOD, 0o600);
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for (path, wanted) in [
            (link.as_path(), "symbolic link"),
            (dir.path(), "not a regular file"),
            (Path::new("/none/x"), "No such file"),
        ] {
            let message = load(&settings(Some(path)), Sources::default()).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn a_malformed_file_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().unwrap();
        for (text, wanted) in [
            ("api_key = 'k'\napi_secret = hidden\n", "not what a file of keys looks like"),
            ("api_key = 'k'\napi_secret = 'hidden'\nextra = 'hidden'\n", "not what a file of keys looks like"),
            ("api_key = 'k'\n", "it has no secret"),
            ("api_key = ''\napi_secret = 'hidden'\n", "empty or not plain text"),
            ("api_key = 'k'\nprivate_key_file = 'hidden'\n", "key_type` is hmac"),
        ] {
            let path = write(&dir, "keys.toml", text, 0o600);
            let message = load(&settings(Some(&path)), Sources::default()).unwrap_err().to_string();
            assert!(message.contains(wanted) && !message.contains("hidden"), "{message}");
        }
    }

    #[test]
    fn systemd_credentials_come_before_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, "keel-api-key", "from-systemd\n", 0o400);
        write(&dir, "keel-api-secret", "s\n", 0o400);
        let sources = Sources {
            credentials_dir: Some(dir.path().to_owned()),
            key_variable: Some("from-env".into()),
            secret_variable: Some("s".into()),
        };
        assert_eq!(load(&settings(None), sources.clone()).unwrap().api_key.expose_secret(), "from-systemd");
        let sources = Sources { credentials_dir: None, ..sources };
        assert_eq!(load(&settings(None), sources.clone()).unwrap().api_key.expose_secret(), "from-env");
        let half = Sources { secret_variable: None, ..sources };
        assert!(
            load(&settings(None), half)
                .unwrap_err()
                .to_string()
                .contains("KEEL_API_KEY is set and KEEL_API_SECRET is not")
        );
        assert!(load(&settings(None), Sources::default()).unwrap_err().to_string().contains("none were found"));
    }

    #[test]
    fn the_type_of_the_key_must_fit_the_key() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, "key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600);
        let path = write(&dir, "keys.toml", "api_key = 'k'\nprivate_key_file = 'key.pem'\n", 0o600);
        let ed = CredentialSettings { file: Some(path), is_ed25519: true };
        assert_eq!(load(&ed, Sources::default()).unwrap().key_type, KeyType::Ed25519);
        let hmac = write(&dir, "hmac.toml", GOOD, 0o600);
        let wrong = CredentialSettings { file: Some(hmac), is_ed25519: true };
        assert!(load(&wrong, Sources::default()).unwrap_err().to_string().contains("do not fit"));
    }
}
