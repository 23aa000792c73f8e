//! The embedded venue: Binance's protocol on loopback, inside this process.

use crate::config::Config;
use crate::error::LaunchError;
use keel_lifecycle::RunContext;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::time::Duration;

/// A running embedded venue.
#[derive(Debug)]
pub struct VenueProcess {
    address: SocketAddr,
    key: String,
    secret: SecretString,
}

impl VenueProcess {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A funded account of it.
    #[must_use]
    pub fn account(&self) -> (String, &SecretString) {
        (self.key.clone(), &self.secret)
    }

    /// Stops it.
    pub async fn stop(self, _limit: Duration) -> Result<(), String> {
        Ok(())
    }
}

/// Starts it.
pub async fn start_embedded(_context: &RunContext, _config: &Config) -> Result<VenueProcess, LaunchError> {
    Err(LaunchError::start("venue", "not there yet"))
}
