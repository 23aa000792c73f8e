//! A private PostgreSQL server in a temporary folder, and databases to test on.

use keel_database::{Database, DatabaseAddress, DatabaseOptions, DbError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lives as long as its standard input: however the test ends, the server ends and its folder goes.
const SCRIPT: &str = r#"
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
dir=$(mktemp -d /tmp/keel-pg.XXXXXX)
trap 'rm -rf "$dir"' EXIT
as=""
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$dir"
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -U postgres --auth=trust --no-sync -E UTF8 --locale=C >/dev/null
$as "$bin/postgres" -D "$dir/data" -h 127.0.0.1 -p "$1" -k "$dir" -c fsync=off -c shared_buffers=32MB \
    -c max_connections=200 </dev/null >"$dir/log" 2>&1 &
pid=$!
until "$bin/pg_isready" -q -h 127.0.0.1 -p "$1"; do sleep 0.05; kill -0 $pid; done
echo ready
read -r _ || true
kill -INT $pid
wait $pid || true
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one, on `port` when it is given; `None`, loudly, where PostgreSQL is not installed.
    pub(crate) fn start(port: Option<u16>) -> Option<Self> {
        let is_installed = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| versions.next().is_some());
        if !is_installed {
            assert!(std::env::var_os("CI").is_none(), "CI must have PostgreSQL: .ci/run installs it");
            eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql); tested on SQLite only");
            return None;
        }
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.unwrap_or_else(free);
        let mut child = Command::new("bash")
            .args(["-c", SCRIPT, "server", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        Some(Self { port, child })
    }

    /// The address of a database in it.
    pub(crate) fn address(&self, name: &str) -> DatabaseAddress {
        DatabaseAddress::parse(&format!("postgres://postgres@127.0.0.1:{}/{name}", self.port), Path::new("/")).unwrap()
    }
}

fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(None)).as_ref()
}

/// Which kinds of database there are to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// A fresh database of one kind.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: DatabaseAddress,
}

impl Fresh {
    /// `None` where its server is not installed.
    pub(crate) async fn new(on: On) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().unwrap();
        let address = match on {
            On::Sqlite => DatabaseAddress::file(folder.path().join("keel.sqlite")),
            On::Postgres => {
                // Started on a thread that may block.
                let server = tokio::task::block_in_place(shared)?;
                let name = format!("keel_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
                let admin = Database::open_lazy(DatabaseOptions::new(server.address("postgres"), "none")).unwrap();
                let mut connection = admin.acquire("test").await.unwrap();
                let create = format!("CREATE DATABASE {name}");
                sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut *connection).await.unwrap();
                drop(connection);
                admin.close(std::time::Duration::from_secs(5)).await.unwrap();
                server.address(&name)
            }
        };
        Some(Self { folder, address })
    }

    pub(crate) fn options(&self) -> DatabaseOptions {
        DatabaseOptions::new(self.address.clone(), "paper")
    }

    pub(crate) async fn open(&self) -> Result<Database, DbError> {
        Database::open(self.options()).await
    }

    /// Where the test's journal lies.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }
}

/// One figure.
pub(crate) async fn number(database: &Database, sql: &'static str) -> i64 {
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap()
}

/// One column of texts.
pub(crate) async fn texts(database: &Database, sql: &'static str) -> Vec<String> {
    let mut connection = database.acquire("test").await.unwrap();
    sqlx::query_scalar(sql).fetch_all(&mut *connection).await.unwrap()
}

/// The same test on both kinds of database.
macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        mod sqlite {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fresh = crate::server::Fresh::new(crate::server::On::Sqlite).await.unwrap();
                super::$name(fresh).await;
            } )*
        }
        mod postgres {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(fresh) = crate::server::Fresh::new(crate::server::On::Postgres).await else { return };
                super::$name(fresh).await;
            } )*
        }
    };
}
pub(crate) use on_both;
