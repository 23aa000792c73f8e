//! The SQL projection of the journal, SQLite or PostgreSQL: for people and queries, never for trading.
