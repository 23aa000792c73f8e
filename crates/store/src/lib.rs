//! The append-only journal, the authority on what was intended and what happened.
