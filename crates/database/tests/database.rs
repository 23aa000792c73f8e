//! Tests against the real databases.
