//! The control and observability server: health, metrics, a JSON API, live events and one web page, over HTTP on loopback.
//!
//! It runs on the control thread, so that it also answers while the trading runtime is blocked, and knows nothing of trading:
//! what there is to see is behind [`Sight`], what there is to do behind [`keel_control::Operator`].
//!
//! Invariants: every route is a row of [`ROUTES`] and says which role it needs; nothing but health and the page's own text is
//! told without a token; only loopback addresses are bound; no cookies, so there is nothing for another site to ride on;
//! connections, headers, bodies, time and wrong tokens are bounded.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![forbid(unsafe_code)]

mod access;
mod answer;
mod error;
mod exposition;
mod guard;
mod openapi;
mod routes;
mod server;
mod sight;

pub use access::{Access, FreshToken, Role};
pub use error::ObserveError;
pub use exposition::{Exposition, MetricKind};
pub use openapi::document;
pub use routes::{Endpoint, Method, Needs, ROUTES, Route};
pub use server::{ObserveServer, Observed, ServerLimits};
pub use sight::{Event, Health, Query, Sight, Topic};
