//! Market data in files.
