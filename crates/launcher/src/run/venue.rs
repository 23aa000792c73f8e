//! The simulated venue: embedded in a run, or by itself as `launcher venue`.

use super::parts::groups;
use crate::cli::{Common, VenueArgs};
use crate::config::layers::Layers;
use crate::config::{self, Config, Replay, Speed};
use crate::error::LaunchError;
use crate::{logging, out, recording};
use keel_lifecycle::{
    ExitStatus, LeaseKind, Lifecycle, LifecycleConfig, Program, RunContext, RuntimeKind, StopPlan, StopStep,
    spawn_thread,
};
use keel_venue::{
    AccountConfig, LatencyConfig, MarketSource, ReplaySpeed, ReplayStart, VenueConfig, VenueContext, VenueHandle,
    VenueServer,
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The thread that starts the server; the stop waits for it.
pub const START_VENUE: &str = "start-venue";
/// How often the end of a recording is looked for.
const LOOK_FOR_END: Duration = Duration::from_millis(20);

/// A running embedded venue.
#[derive(Debug)]
pub struct VenueProcess {
    handle: VenueHandle,
}

impl VenueProcess {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.handle.addr()
    }

    /// A funded account of it.
    #[must_use]
    pub fn account(&self) -> Option<(String, &SecretString)> {
        self.handle.demo_accounts().first().map(|account| (account.api_key.clone(), &account.secret))
    }

    /// The handle, to watch it by.
    #[must_use]
    pub fn handle(&self) -> VenueHandle {
        self.handle.clone()
    }

    /// Stops it.
    pub async fn stop(self, limit: Duration) -> Result<(), String> {
        let report = self.handle.stop(limit).await;
        if report.is_clean() { Ok(()) } else { Err(report.to_string()) }
    }
}

/// Starts the venue of a run: on any free port, with the run's seed or recording.
pub async fn start_embedded(context: &RunContext, config: &Config) -> Result<VenueProcess, LaunchError> {
    let mut settings = VenueConfig::synthetic(0, config.seed);
    settings.latency = LatencyConfig { request: config.simulation_latency, ..LatencyConfig::default() };
    if let Some(replay) = &config.replay {
        settings.market = recorded(replay, ReplayStart::OnFirstSubscriber)?;
    }
    let handle = start_server(context, settings).await?;
    Ok(VenueProcess { handle })
}

fn recorded(replay: &Replay, start: ReplayStart) -> Result<MarketSource, LaunchError> {
    // Tells what is no recording at all before anything starts; the venue itself checks each line.
    drop(recording::open(&replay.file)?);
    let speed = match replay.speed {
        Speed::Max => ReplaySpeed::Max,
        Speed::Times(1.0) => ReplaySpeed::Real,
        Speed::Times(times) => ReplaySpeed::Times(times),
    };
    Ok(MarketSource::Replay { path: replay.file.clone(), speed, start })
}

/// Starts the server on a thread of its own, because a recording is read there.
async fn start_server(context: &RunContext, settings: VenueConfig) -> Result<VenueHandle, LaunchError> {
    let venue = VenueContext {
        group: context.supervisor.group(groups::VENUE),
        ledger: context.ledger.clone(),
        clock: context.clock.clone(),
    };
    let runtime = tokio::runtime::Handle::current();
    off_runtime(context, START_VENUE, move || {
        let _inside = runtime.enter();
        VenueServer::start(settings, venue)
    })
    .await?
    .map_err(|error| match error {
        keel_venue::VenueError::AddressInUse { addr } => LaunchError::start(
            "venue",
            format!(
                "port {} of {} is in use by another process; choose another with --port, or --port 0 for any free one",
                addr.port(),
                addr.ip()
            ),
        ),
        error => LaunchError::start("venue", error),
    })
}

/// Runs what blocks on a named thread and waits for it without blocking.
pub async fn off_runtime<T: Send + 'static>(
    context: &RunContext,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LaunchError> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let lease = context.ledger.lease(LeaseKind::Thread, "launcher", name);
    let thread = spawn_thread(name, lease, move || drop(tell.send(work())));
    let thread = thread.map_err(|error| LaunchError::start(name, error))?;
    let result = told.await;
    // It has answered, so it ends now.
    let joined = thread.join();
    result.map_err(|_| {
        let cause = joined.err().map_or_else(|| "it ended without a result".to_owned(), |error| error.to_string());
        LaunchError::start(name, cause)
    })
}

/// Asks for the stop when the recording has ended.
pub async fn watch_end(
    handle: VenueHandle,
    stop: keel_lifecycle::StopSignal,
    token: keel_lifecycle::CancellationToken,
) {
    while !handle.replay_finished() {
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = tokio::time::sleep(LOOK_FOR_END) => {}
        }
    }
    stop.request(keel_lifecycle::StopReason::Finished { what: "the recording".to_owned() });
}

/// `launcher venue`: the simulated venue by itself.
pub fn serve(common: &Common, args: &VenueArgs) -> Result<ExitStatus, LaunchError> {
    let mut layers = Layers::defaults()?;
    common.apply(&mut layers)?;
    if let Some(seed) = args.seed {
        layers.add_flag("--seed", "run", "seed", &seed.to_string())?;
    }
    let log = config::validate(&layers)?;
    let logging = logging::start(&log.log, None, out::may_colour(common.no_color))?;
    let mut settings = VenueConfig::synthetic(args.port, log.seed);
    settings.log.clone_from(&args.log);
    for account in &args.account {
        settings
            .accounts
            .push(AccountConfig::parse(account).map_err(|error| LaunchError::Usage(format!("--account: {error}")))?);
    }
    if let Some(file) = &args.replay {
        let speed = args.speed.as_deref().map_or(Ok(Speed::Times(1.0)), config::parse_speed);
        let speed = speed
            .map_err(|cause| LaunchError::Usage(format!("--speed: {cause}; write 1, a number such as 20, or max")))?;
        settings.market = recorded(&Replay { file: file.clone(), speed }, ReplayStart::OnFirstSubscriber)?;
    }
    let lifecycle = Lifecycle::start(LifecycleConfig {
        runtime: RuntimeKind::MultiThread { workers: log.worker_threads },
        duration: args.duration,
        ..LifecycleConfig::default()
    });
    let lifecycle = lifecycle.map_err(|error| LaunchError::start("start", error))?;
    let outcome = lifecycle.run(move |context| serve_program(context, settings, log.stop_total));
    for reason in outcome.reasons.iter().filter(|reason| reason.is_failure()) {
        out::note(&format!("error: {reason}"));
    }
    logging.flush();
    out::note(&outcome.stop.table());
    Ok(outcome.finish())
}

fn serve_program(context: &RunContext, settings: VenueConfig, total: Duration) -> Result<Program, LaunchError> {
    let slot: Arc<Mutex<Option<VenueHandle>>> = Arc::default();
    let for_stop = slot.clone();
    let plan = StopPlan::builder(total)
        .step(
            StopStep::new("stop-venue", Duration::from_secs(2), move |stop| async move {
                let handle = for_stop.lock().take();
                match handle {
                    Some(handle) => handle.stop(stop.inner_limit()).await.into_result(),
                    None => Ok(()),
                }
            })
            .essential(),
        )
        .build()
        .map_err(|error| LaunchError::start("stop plan", error))?;
    let context = context.clone();
    Ok(Program::new(plan, async move {
        let (seed, is_synthetic) = (settings.seed, settings.market == MarketSource::Synthetic);
        let handle = start_server(&context, settings).await?;
        *slot.lock() = Some(handle.clone());
        announce(&handle, seed, is_synthetic);
        Ok::<(), LaunchError>(())
    }))
}

fn announce(handle: &VenueHandle, seed: u64, is_synthetic: bool) {
    let market = if is_synthetic { format!("synthetic, seed {seed}") } else { "recorded".to_owned() };
    out::note(&format!("keel venue {}, pid {}: simulated, play money", env!("CARGO_PKG_VERSION"), std::process::id()));
    out::note(&format!("market: {market}; instruments: {}", handle.symbols().join(", ")));
    for account in handle.demo_accounts() {
        // Made up by this venue and worth nothing; whoever started it needs it to trade.
        out::note(&format!("demo account: {}:{}", account.api_key, account.secret.expose_secret()));
    }
    out::note(&format!("streams: {0}/ws, {0}/stream; WebSocket API: {0}/ws-api/v3", handle.ws_url()));
    out::note(&format!("listening on {}", handle.rest_url()));
}
