//! All tests against the real databases, in one binary: each test of the suite runs on SQLite and on a private PostgreSQL
//! server, which is started where one is installed and skipped loudly elsewhere.
#![allow(clippy::disallowed_methods, reason = "a test measures and waits with the machine's clock")]

#[path = "database/books.rs"]
mod books;
#[path = "database/faults.rs"]
mod faults;
#[path = "database/follow.rs"]
mod follow;
#[path = "database/pool.rs"]
mod pool;
#[path = "database/server.rs"]
mod server;
#[path = "database/sweeps.rs"]
mod sweeps;
