//! Binance spot: codec and sessions without IO, and the shell that moves their bytes.
//!
//! [`BinanceSpot`] holds what one venue's client and feeds share (limits, venue clock, connect budget, keys); it makes
//! [`BinanceSpotClient`], [`BinanceSpotMarketFeed`] and [`BinanceSpotAccountFeed`]. Against the real venue, its testnet and
//! the embedded venue on loopback the same code runs; only [`BinanceSpotConfig`] differs.
//!
//! ```
//! use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig, Credentials};
//! use keel_lifecycle::{Clock, ResourceLedger};
//!
//! let keys = Credentials::hmac("api-key", "secret");
//! let config = BinanceSpotConfig::testnet().with_credentials(keys);
//! let ledger = ResourceLedger::default();
//! // Nothing is connected before the first call.
//! let venue = BinanceSpot::new(config, Clock::system(), ledger.clone())?;
//! assert_eq!(ledger.total(), 0);
//! # let _ = venue;
//! # Ok::<(), keel_exchange::ExchangeError>(())
//! ```

mod account_feed;
mod ban;
mod burst;
mod capabilities;
/// What an answer that is not a success proves.
pub mod classify;
mod client;
/// Bytes in, bytes out.
pub mod codec;
mod config;
mod http;
/// The venue's limits, kept from its own headers.
pub mod limits;
mod market_feed;
mod names;
/// Which order of ours has which venue id.
pub mod order_ids;
/// Stream sessions without IO.
pub mod session;
/// Signing and keys.
pub mod sign;
/// Symbol → dense index.
pub mod symbols;
#[cfg(test)]
pub(crate) mod testing;
mod transport;
mod venue;
mod venue_clock;
mod ws;

pub use account_feed::BinanceSpotAccountFeed;
pub use capabilities::{CONNECTION_LIFETIME, STALENESS_BOUND, STALENESS_BOUND_DEGRADED, capabilities};
pub use client::BinanceSpotClient;
pub use config::{BinanceSpotConfig, StreamConfig};
pub use market_feed::BinanceSpotMarketFeed;
pub use names::{Resolver, SystemResolver};
pub use sign::{Credentials, SecretKey};
pub use venue::BinanceSpot;
pub use venue_clock::VenueClock;

/// The venue's name in messages.
pub const VENUE: &str = "binance spot";
