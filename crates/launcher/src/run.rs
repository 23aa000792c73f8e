//! A run: configuration in, exit status out.

pub mod banner;
pub mod confirm;
pub mod folder;
pub mod summary;
