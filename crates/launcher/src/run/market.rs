//! Where orders go and market data comes from: the embedded venue, a separate one, the real one, or real data with simulated
//! fills. What comes out is the same for all: clients, feeds, a name.

use super::parts::Shared;
use crate::config::secrets::{KeyType, Keys};
use crate::config::{Config, Endpoints, Mode, Venue};
use crate::error::LaunchError;
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig, Credentials};
use keel_exchange::{AccountFeed, ExchangeClient, MarketDataFeed, Subscription};
use keel_gateway::SimulatedVenue;
use keel_lifecycle::RunContext;
use keel_model::{Asset, Instruments, Notional};
use keel_sim::{LatencyModel, SimConfig};
use secrecy::ExposeSecret;
use std::sync::Arc;

pub use super::venue::VenueProcess;

/// Where a ban by the venue is remembered, beside the folders of the accounts.
pub(super) const BAN_FILE: &str = "venue-ban.json";

/// The way to a venue, before its instruments are known.
#[derive(Debug)]
pub struct Access {
    /// What people call it, with its address.
    pub name: String,
    venue: Arc<BinanceSpot>,
    has_simulated_fills: bool,
}

/// Clients and feeds of one run.
#[derive(Debug)]
pub struct Connected {
    /// The gateway's client.
    pub client: Arc<dyn ExchangeClient>,
    /// What the books are compared with comes over this one: its own connections.
    pub books_client: Arc<dyn ExchangeClient>,
    /// The escape path's client: its own connections, its own signing.
    pub escape_client: Arc<dyn ExchangeClient>,
    /// Market data.
    pub market_feed: Box<dyn MarketDataFeed>,
    /// The account stream.
    pub account_feed: Box<dyn AccountFeed>,
}

/// Opens the way: starts the embedded venue where one is wanted. Nothing is asked of the venue yet.
pub async fn open(context: &RunContext, shared: &Shared, keys: Option<&Keys>) -> Result<Access, LaunchError> {
    let config = &shared.config;
    let (settings, name) = match &config.venue {
        Venue::Embedded => {
            let process = super::venue::start_embedded(context, config).await?;
            let settings = BinanceSpotConfig::loopback(process.address());
            let credentials = process.account().map(|(key, secret)| Credentials::hmac(key, secret.expose_secret()));
            let settings = BinanceSpotConfig { credentials, ..settings };
            let name = format!("embedded, at {}", process.address());
            shared.parts.lock().venue = Some(process);
            (settings, name)
        }
        Venue::Remote(endpoints) => (remote(config, endpoints, keys), endpoints.name.clone()),
    };
    // A ban is of this machine's address, whatever the account.
    let settings = BinanceSpotConfig { ban_file: Some(config.data_dir.join(BAN_FILE)), ..settings };
    let venue = BinanceSpot::new(settings, context.clock.clone(), context.ledger.clone())
        .map_err(|error| LaunchError::start("venue", error))?;
    let has_simulated_fills = has_simulated_fills(config);
    Ok(Access { name, venue, has_simulated_fills })
}

/// Are fills simulated in this process, on real public data?
#[must_use]
pub fn has_simulated_fills(config: &Config) -> bool {
    matches!(&config.venue, Venue::Remote(it) if !it.is_simulated && config.mode == Mode::Paper)
}

fn remote(config: &Config, endpoints: &Endpoints, keys: Option<&Keys>) -> BinanceSpotConfig {
    let mut settings = BinanceSpotConfig {
        rest_url: endpoints.rest_url.clone(),
        stream_url: endpoints.stream_url.clone(),
        ws_api_url: endpoints.ws_api_url.clone(),
        recv_window_ms: u64::try_from(config.recv_window.as_millis()).unwrap_or(5_000),
        call_timeout_ms: u64::try_from(config.request_timeout.as_millis()).unwrap_or(10_000),
        ..BinanceSpotConfig::live()
    };
    settings.credentials = keys.map(|keys| {
        let (key, secret) = (keys.api_key.expose_secret(), keys.secret.expose_secret());
        match keys.key_type {
            KeyType::Hmac => Credentials::hmac(key, secret),
            KeyType::Ed25519 => Credentials::ed25519(key, secret),
        }
    });
    settings
}

impl Access {
    /// A client that asks public questions and, with keys, trades.
    #[must_use]
    pub fn client(&self) -> Arc<dyn ExchangeClient> {
        Arc::new(self.venue.client())
    }

    /// Public market data alone, without an account.
    #[must_use]
    pub fn public_feed(
        &self,
        instruments: &Arc<Instruments>,
        subscriptions: Vec<Subscription>,
    ) -> Box<dyn MarketDataFeed> {
        Box::new(self.venue.market_feed(instruments.clone(), subscriptions))
    }

    /// The venue's time less ours and the round trip it was measured with; unit: nanoseconds.
    #[must_use]
    pub fn clock_offset_ns(&self) -> Option<(i64, u64)> {
        self.venue.clock_offset_ns()
    }

    /// Everything that trading these instruments needs. `client` is the one that asked for them.
    pub fn connect(
        &self,
        context: &RunContext,
        config: &Config,
        instruments: &Arc<Instruments>,
        client: Arc<dyn ExchangeClient>,
        subscriptions: Vec<Subscription>,
    ) -> Result<Connected, LaunchError> {
        let market_feed: Box<dyn MarketDataFeed> = Box::new(self.venue.market_feed(instruments.clone(), subscriptions));
        if !self.has_simulated_fills {
            let failed = |error| LaunchError::start(&self.name, error);
            let account_feed = Box::new(self.venue.account_feed(instruments.clone()).map_err(failed)?);
            let (books_client, escape_client) = (self.client(), self.client());
            return Ok(Connected { client, books_client, escape_client, market_feed, account_feed });
        }
        let latency = LatencyModel { order_in: config.simulation_latency, ..LatencyModel::default() };
        let settings = SimConfig { seed: config.seed, latency, ..SimConfig::default() };
        let balances = simulated_balances(instruments);
        let simulated = SimulatedVenue::new(instruments.clone(), &balances, settings, context.clock.clone())
            .map_err(|error| LaunchError::start("simulated fills", error))?;
        Ok(Connected {
            client: Arc::new(simulated.client()),
            books_client: Arc::new(simulated.client()),
            escape_client: Arc::new(simulated.client()),
            market_feed: simulated.market_feed(market_feed),
            account_feed: simulated.account_feed(),
        })
    }
}

/// What the simulated account holds: what accounts of the embedded venue hold, and 100,000 of each other quote asset.
#[must_use]
pub fn simulated_balances(instruments: &Instruments) -> Vec<(Asset, Notional)> {
    let mut balances = keel_sim::demo_balances();
    for instrument in instruments.iter() {
        if !balances.iter().any(|(asset, _)| *asset == instrument.quote) {
            balances.push((instrument.quote, Notional::from_int(100_000)));
        }
    }
    balances
}
