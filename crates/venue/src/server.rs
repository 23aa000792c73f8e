//! Starting and stopping the venue, and what its starter may do with it meanwhile.

use crate::Faults;
use crate::auth::Keys;
use crate::config::{ACCOUNTS_MAX, DemoAccount, MarketSource, VenueConfig, demo_accounts};
use crate::core::Core;
use crate::error::VenueError;
use crate::faults::AcceptMode;
use crate::http::{self, OpenGuard};
use crate::log::EventLog;
use crate::recording::Recording;
use crate::replay::Replay;
use crate::stats::{Counters, VenueStats};
use crate::venue::{Parts, Venue};
use keel_lifecycle::{Clock, GroupReport, LeaseKind, ResourceLedger, TaskGroup, TaskKind};
use keel_model::Timestamp;
use keel_sim::rng::Rng;
use keel_sim::{MarketKind, MatchingEngine, SimConfig, SyntheticMarket, default_specs};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// How often streams that are sent at intervals are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Pause after the system refused to accept a connection, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a listener that was taken away is asked for again.
const ACCEPT_POLL: Duration = Duration::from_millis(5);

/// What the venue runs on.
#[derive(Clone, Debug)]
pub struct VenueContext {
    /// The group that its tasks run in; the venue has it for itself, and [`VenueHandle::stop`] stops it.
    pub group: TaskGroup,
    /// Where its sockets are registered.
    pub ledger: ResourceLedger,
    /// Its clock; the system's, since clients sign with theirs.
    pub clock: Clock,
}

impl VenueContext {
    /// A context of its own, for tests and tools: a supervisor that nobody else uses.
    #[must_use]
    pub fn standalone() -> Self {
        let supervisor = keel_lifecycle::Supervisor::default();
        Self { group: supervisor.group("venue"), ledger: supervisor.ledger(), clock: supervisor.clock() }
    }
}

/// Starts venues.
#[derive(Debug)]
pub struct VenueServer;

/// A venue that runs.
#[derive(Clone, Debug)]
pub struct VenueHandle {
    pub(crate) venue: Arc<Venue>,
    addr: SocketAddr,
    demo: Vec<DemoAccount>,
}

/// The market that a venue shows, ready to run.
enum Market {
    Synthetic(SyntheticMarket),
    Replay(Replay),
    Still,
}

impl VenueServer {
    /// Binds, builds the market and serves. When this returns, clients can connect.
    ///
    /// # Errors
    /// When the address cannot be had, a setting is wrong or the recording is damaged.
    pub fn start(config: VenueConfig, context: VenueContext) -> Result<VenueHandle, VenueError> {
        config.limits.check()?;
        let demo = if config.accounts.is_empty() { demo_accounts(config.seed) } else { Vec::new() };
        let accounts =
            if demo.is_empty() { config.accounts.clone() } else { demo.iter().map(DemoAccount::to_config).collect() };
        if accounts.len() > ACCOUNTS_MAX {
            return Err(VenueError::Config(format!("more than {ACCOUNTS_MAX} accounts")));
        }
        // The address first: it is the likeliest to fail, and a recording may take a while to read.
        let listener = bind(config.bind)?;
        let addr = listener.local_addr().map_err(|source| VenueError::Bind { addr: config.bind, source })?;
        let sim = SimConfig { seed: config.seed, fees: config.fees, ..SimConfig::default() };
        let mut engine = MatchingEngine::new(sim);
        let mut keys = Keys::default();
        for account in &accounts {
            let id = engine.add_account(&account.balances).map_err(|error| VenueError::Sim(error.to_string()))?;
            keys.add(account, id)?;
        }
        let now = Timestamp::from_ns(context.clock.now_ns());
        let market = build_market(&config, &mut engine, now)?;
        let mut log = config.log.as_deref().map(EventLog::create).transpose()?;
        if let Some(log) = &mut log {
            accounts.iter().enumerate().for_each(|(at, account)| log.opening(at, &account.balances));
        }
        let counters = Arc::new(Counters::default());
        let ids = Rng::fork(config.seed ^ now.as_ns(), 0x6964);
        let mut core = Core::new(engine, accounts.len(), ids, counters.clone());
        core.log = log;
        let venue = Arc::new(Venue::new(Parts {
            core,
            accounts: accounts.len(),
            keys,
            limits: config.limits.clone(),
            latency: config.latency,
            counters,
            group: context.group,
            ledger: context.ledger,
            clock: context.clock,
            seed: config.seed,
        }));
        launch(&venue, market, listener)?;
        tracing::info!(%addr, "the simulated venue listens");
        Ok(VenueHandle { venue, addr, demo })
    }
}

fn bind(addr: SocketAddr) -> Result<StdListener, VenueError> {
    // There is no TLS here, and keys and orders would travel in the open.
    if !addr.ip().is_loopback() {
        return Err(VenueError::NotLoopback { addr });
    }
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => VenueError::AddressInUse { addr },
        _ => VenueError::Bind { addr, source },
    };
    let listener = StdListener::bind(addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn build_market(config: &VenueConfig, engine: &mut MatchingEngine, now: Timestamp) -> Result<Market, VenueError> {
    let failed = |error: keel_sim::SimError| VenueError::Sim(error.to_string());
    let mut specs = default_specs();
    for spec in specs.iter_mut().filter(|_| config.limits.open_orders_per_instrument > 0) {
        spec.instrument.max_open_orders = config.limits.open_orders_per_instrument;
    }
    match &config.market {
        MarketSource::Synthetic => SyntheticMarket::start(engine, &specs, now).map(Market::Synthetic).map_err(failed),
        MarketSource::Empty => {
            for spec in specs {
                engine.add_instrument(spec.instrument).map_err(failed)?;
            }
            Ok(Market::Still)
        }
        MarketSource::Replay { path, speed, start } => {
            if let crate::ReplaySpeed::Times(factor) = speed
                && !(0.001..=1_000_000.0).contains(factor)
            {
                return Err(VenueError::Config(format!("speed {factor} is not between 0.001 and 1000000")));
            }
            let recording = Recording::load(path)?;
            for instrument in &recording.instruments {
                engine.add_market(instrument.clone(), MarketKind::External).map_err(failed)?;
            }
            Ok(Market::Replay(Replay::new(recording, *speed, *start)))
        }
    }
}

fn launch(venue: &Arc<Venue>, market: Market, listener: StdListener) -> Result<(), VenueError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(VenueError::NoRuntime);
    }
    let group = venue.group.clone();
    let shared = venue.clone();
    group.spawn_with("accept", TaskKind::Critical, move |token| accept(shared, listener, token));
    let shared = venue.clone();
    group.spawn_with("clock", TaskKind::Critical, move |token| tick(shared, token));
    let shared = venue.clone();
    match market {
        Market::Synthetic(market) => {
            // What setting up the market has reported is history.
            shared.core.lock().pump(&shared.limiter);
            group.spawn_with("market", TaskKind::Critical, move |token| run_synthetic(shared, market, token));
        }
        Market::Replay(mut replay) => {
            replay.lead_in(&shared);
            group.spawn_with("replay", TaskKind::Critical, move |token| replay.run(shared, token));
        }
        Market::Still => {}
    }
    Ok(())
}

/// Lets the synthetic market live on the wall clock.
async fn run_synthetic(venue: Arc<Venue>, mut market: SyntheticMarket, token: CancellationToken) {
    loop {
        let now = venue.now();
        let wait = market.next_at().map_or(TICK, |next| next.since(now));
        tokio::select! {
            () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            () = token.cancelled() => return,
        }
        let mut core = venue.core.lock();
        market.step(&mut core.engine, venue.now());
        core.pump(&venue.limiter);
    }
}

/// Sends what is sent at intervals.
async fn tick(venue: Arc<Venue>, token: CancellationToken) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut count = 0u64;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = token.cancelled() => return,
        }
        count += 1;
        let now = venue.now();
        venue.core.lock().on_tick(count, now);
        if count.is_multiple_of(10) {
            venue.expire_listen_keys(false);
        }
    }
}

/// Accepts connections until told to stop.
async fn accept(venue: Arc<Venue>, listener: StdListener, token: CancellationToken) -> Result<(), std::io::Error> {
    let addr = listener.local_addr()?;
    let mut listener = Some(TcpListener::from_std(listener)?);
    let mut lease = Some(venue.ledger.lease(LeaseKind::Listener, "venue", addr.to_string()));
    let mut held: Vec<TcpStream> = Vec::new();
    loop {
        let mode = *venue.faults.accept.lock();
        if mode == AcceptMode::Refuse {
            (listener, lease) = (None, None);
            tokio::select! {
                () = tokio::time::sleep(ACCEPT_POLL) => continue,
                () = token.cancelled() => return Ok(()),
            }
        }
        if mode != AcceptMode::BlackHole {
            held.clear();
        }
        if listener.is_none() {
            listener = Some(rebind(addr)?);
            lease = Some(venue.ledger.lease(LeaseKind::Listener, "venue", addr.to_string()));
        }
        let Some(open) = &listener else { continue };
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            // A change of mode is seen without a connection, too.
            () = venue.faults.accept_changed.notified() => continue,
            () = token.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => take(&venue, stream, peer, &mut held),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(lease);
    Ok(())
}

fn rebind(addr: SocketAddr) -> Result<TcpListener, std::io::Error> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn take(venue: &Arc<Venue>, stream: TcpStream, peer: SocketAddr, held: &mut Vec<TcpStream>) {
    let counters = &venue.counters;
    let open = counters.http_open.load(Ordering::Relaxed) + counters.ws_open.load(Ordering::Relaxed);
    match *venue.faults.accept.lock() {
        AcceptMode::Serve => {}
        AcceptMode::BlackHole if held.len() < venue.limits.connections_max => return held.push(stream),
        AcceptMode::Refuse | AcceptMode::Close | AcceptMode::BlackHole => return,
    }
    if open >= venue.limits.connections_max as u64 {
        tracing::warn!(%peer, open, "a connection was refused: too many are open");
        return;
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let guard = OpenGuard::new(venue.clone(), false);
    let shared = venue.clone();
    venue.group.spawn_with("http", TaskKind::Background, move |token| async move {
        let _guard = guard;
        let _lease = shared.ledger.lease(LeaseKind::TcpSocket, "venue", "client connection");
        http::serve(shared.clone(), stream, peer.ip(), token).await;
    });
}

impl VenueHandle {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR`, for REST clients.
    #[must_use]
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `ws://ADDR`: market streams at `/ws` and `/stream`, the WebSocket API at `/ws-api/v3`.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// The accounts that were made up because none was named.
    #[must_use]
    pub fn demo_accounts(&self) -> &[DemoAccount] {
        &self.demo
    }

    /// The symbols traded.
    #[must_use]
    pub fn symbols(&self) -> Vec<String> {
        self.venue.core.lock().symbols.iter().map(|symbol| symbol.name.clone()).collect()
    }

    /// The instruments traded, with their filters.
    #[must_use]
    pub fn instruments(&self) -> Vec<keel_model::Instrument> {
        self.venue.core.lock().engine.instruments().cloned().collect()
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> VenueStats {
        self.venue.stats()
    }

    /// Has the recording ended? Always false on other markets.
    #[must_use]
    pub fn replay_finished(&self) -> bool {
        self.venue.counters.is_replay_finished.load(Ordering::Acquire)
    }

    /// Faults for tests.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(self.venue.clone())
    }

    /// Says `serverShutdown` on every WebSocket connection, answers requests under way, closes everything, and waits for
    /// it, at most `limit`. The report names tasks that did not end in time.
    pub async fn stop(&self, limit: Duration) -> GroupReport {
        self.venue.group.stop(limit).await
    }
}
