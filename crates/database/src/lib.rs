//! The SQL projection of the journal, SQLite or PostgreSQL: for people and queries, never for trading.
//!
//! - The journal is the authority. Whatever is here can be built again from it, and nothing here is on the way of an order: the
//!   projection reads the journal's files, on a thread of its own.
//! - Rows and the place in the journal up to which they were made change in one transaction: each record counts once, whatever
//!   is killed when.
//! - Money is exact: decimal text in SQLite, NUMERIC in PostgreSQL.
//! - One pool, shared, with an owner for each connection on loan.

/// Where the database is.
pub mod address;
mod cursor;
/// Errors of this crate.
pub mod error;
mod fold;
mod owners;
mod place;
/// The pool.
pub mod pool;
mod project;
/// The projection as a task.
pub mod projection;
/// Questions that people ask.
pub mod query;
mod rebuild;
mod retry;
mod schema;
/// Sweeps of parameters.
pub mod sweeps;
mod tables;
mod timings;

pub use address::{DatabaseAddress, Dialect, redacted};
pub use error::DbError;
pub use owners::OwnerUse;
pub use pool::{Database, DatabaseOptions, OwnedConnection, PoolStatus};
pub use project::JournalSource;
pub use projection::{Projection, ProjectionParts, ProjectionStatus, ResourceSample};
pub use query::{JournalRow, TradeRow};
pub use rebuild::{Rebuilt, last_sequence, rebuild};
pub use schema::SCHEMA_VERSION;
pub use sweeps::{SweepRow, SweepTrialRow};
pub use timings::TimingSummary;
