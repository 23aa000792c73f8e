//! The simulated venue as a server that speaks Binance spot's REST and WebSocket protocol on loopback.
//!
//! [`VenueServer::start`] puts the matching engine of `keel-sim` behind the real protocol: public and signed REST
//! endpoints, market streams, the WebSocket API with its account stream, listenKeys for older clients, rate limits, error
//! codes. The market is a seeded synthetic one, a recorded session, or empty. [`VenueHandle::faults`] makes it misbehave.
//!
//! One lock around the engine, frames encoded once and shared, every queue bounded. No wire struct is shared with the exchange
//! adapters, so that a common mistake cannot pass.
#![forbid(unsafe_code)]

mod api_error;
mod auth;
mod config;
mod core;
mod encode;
mod error;
mod face;
mod fault_control;
mod faults;
mod http;
mod hub;
mod json;
mod limits;
mod listen_keys;
mod log;
mod ops;
mod params;
mod recording;
mod replay;
mod replay_book;
mod replica;
mod routes;
mod server;
mod stats;
mod stream_name;
mod venue;
mod words;
mod ws;
mod ws_api;
mod ws_market;

pub use config::{
    ACCOUNTS_MAX, AccountConfig, Credential, DemoAccount, LatencyConfig, MarketSource, ReplaySpeed, ReplayStart,
    VenueConfig, VenueLimits, default_balances,
};
pub use error::{RecordingError, VenueError};
pub use face::{FaceAnswer, FaceConfig, FacePeer, FaceRequest, VenueFace};
pub use fault_control::{Faults, RawFrame, StreamTarget};
pub use faults::{AcceptMode, FaultEffect, FaultMoment, FaultTarget, RequestFault};
pub use replica::ReadView;
pub use server::{VenueContext, VenueHandle, VenueServer};
pub use stats::VenueStats;
