//! The venue API and its adapters.
//!
//! An adapter is bytes in, bytes out: a codec (request → bytes to send, frame → typed events, answer → outcome) and a
//! session state machine, both without IO; a thin shell moves the bytes. [`ExchangeClient`], [`MarketDataFeed`] and
//! [`AccountFeed`] are what the rest of the system sees.

/// Adapters of Binance.
pub mod binance;
/// What a venue can do and what may be assumed about it, as data.
pub mod capabilities;
/// The traits that every adapter implements.
pub mod client;
/// Errors of this crate.
pub mod error;

pub use capabilities::{Capabilities, UnknownResolution};
pub use client::{
    AccountFeed, AccountSink, BurstSink, ClockOffset, ExchangeClient, FeedSink, MarketDataFeed, SentInfo, Subscription,
};
pub use error::ExchangeError;
