//! Where the database is: an address as people write it, checked once, and shown without its password.

use crate::DbError;
use std::path::{Path, PathBuf};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// A checked address. `Debug` and `Display` never show user, password or parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    dialect: Dialect,
    url: String,
    file: Option<PathBuf>,
}

impl std::fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatabaseAddress({self})")
    }
}

impl std::fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "sqlite file {}", file.display()),
            None => f.write_str(&redacted(&self.url)),
        }
    }
}

impl DatabaseAddress {
    /// A SQLite file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let url = format!("sqlite://{}?mode=rwc", percent(&path));
        Self { dialect: Dialect::Sqlite, url, file: Some(path) }
    }

    /// Reads an address: `sqlite://PATH`, or `postgres://user:password@host:port/name?…`. A relative path is one from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, DbError> {
        let refuse = |cause: &str| Err(DbError::Address { cause: cause.to_owned() });
        let Some((scheme, rest)) = text.split_once(':') else { return refuse("it has no scheme") };
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.contains('?') {
                    return refuse("a SQLite address takes no parameters");
                }
                if path.is_empty() || path.contains(":memory:") || path.ends_with('/') {
                    return refuse("a SQLite address names a file");
                }
                Ok(Self::file(base.join(path)))
            }
            "postgres" | "postgresql" => {
                if !rest.starts_with("//") || rest.len() < 4 {
                    return refuse("a PostgreSQL address names host and database");
                }
                text.parse::<sqlx::postgres::PgConnectOptions>()
                    .map_err(|error| DbError::Address { cause: without(text, &error.to_string()) })?;
                Ok(Self { dialect: Dialect::Postgres, url: text.to_owned(), file: None })
            }
            _ => refuse("its scheme is neither sqlite nor postgres"),
        }
    }

    /// Which database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The file, for SQLite.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// An address without user, password and parameters.
#[must_use]
pub fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.split('?').next().unwrap_or_default().to_owned();
    };
    let rest = rest.split('?').next().unwrap_or_default();
    // A password may hold a slash; whatever stands before the last @ is not shown.
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
    format!("{scheme}://{rest}")
}

/// An error text in which no part of the address is repeated.
fn without(address: &str, text: &str) -> String {
    if text.contains(address) { "it cannot be read".to_owned() } else { text.to_owned() }
}

/// A path as part of an address.
fn percent(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, &byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_02_an_address_never_shows_its_password() {
        let secret = "postgres://me:hunter2@db.example:5432/keel?sslmode=require&password=hunter3";
        let address = DatabaseAddress::parse(secret, Path::new("/")).unwrap();
        for text in [format!("{address}"), format!("{address:?}"), redacted("postgres://me:hun/ter2@h/x")] {
            assert!(!text.contains("hunter") && !text.contains("ter2") && !text.contains("me:"), "{text}");
        }
        assert_eq!(address.to_string(), "postgres://***@db.example:5432/keel");
        for bad in ["postgres://me:hunter2@h:notaport/x", "mysql://me:hunter2@h/x", "hunter2", "postgres:hunter2"] {
            let error = DatabaseAddress::parse(bad, Path::new("/")).unwrap_err();
            assert!(!error.to_string().contains("hunter2") && error.is_final(), "{error}");
        }
    }

    #[test]
    fn a_sqlite_address_names_a_file() {
        let base = Path::new("/data");
        for (text, path) in [("sqlite://x.db", "/data/x.db"), ("sqlite:///a b/x", "/a b/x"), ("sqlite:y", "/data/y")] {
            assert_eq!(DatabaseAddress::parse(text, base).unwrap().path().unwrap(), Path::new(path));
        }
        assert!(DatabaseAddress::file("/a b/x?").url().starts_with("sqlite:///a%20b/x%3F?mode=rwc"));
        for bad in ["sqlite::memory:", "sqlite://", "sqlite://x?mode=ro", "sqlite:///tmp/"] {
            assert!(DatabaseAddress::parse(bad, base).is_err(), "{bad}");
        }
    }
}
