//! Historical market data of the venue: from the cache, its archives or its REST, whichever has it; verified, then kept.
//!
//! [`DataManager`] is the whole of it: make one with [`DataManager::builder`], ask with [`DataManager::get_data`] or
//! [`DataManager::download`], end with [`DataManager::close`]. Its own invariants stand there.

mod cache;
mod calendar;
mod error;
mod fetch;
mod join;
mod limits;
mod manager;
mod part;
mod progress;
mod request;
mod rest;
mod transfer;
mod vision;
mod worker;

pub use error::HistoryError;
pub use fetch::{Answer, Fetch, Head, HttpFetch, Resume};
pub use keel_catalogue::{Dataset, Span};
pub use manager::{CLOSE_TIMEOUT, CacheStats, DataManager, DataManagerBuilder, VISION_BASE};
pub use progress::{Downloaded, PieceDone, Progress, Source};
pub use request::{Kind, Market, Request, SourcePolicy};
pub use rest::RestBases;
pub use transfer::Patience;
