//! A run: configuration in, exit status out. Lifecycle holds control thread, watchdog and stop plan; this module says what is
//! started, how it is stopped, and what is told at the end.

pub mod account_lock;
pub mod arming;
pub mod ask;
pub mod banner;
pub mod confirm;
pub mod control;
pub mod database;
pub mod drafts;
pub mod emergency;
pub mod figures;
pub mod folder;
pub mod heartbeat;
pub mod market;
pub mod observe;
pub mod parts;
pub mod plan;
pub mod reach;
pub mod recent;
pub mod recover;
pub mod replay_max;
pub mod start;
pub mod status;
pub mod strategies;
pub mod summary;
pub mod venue;
pub mod web;

pub use market::simulated_balances;
pub use start::engine_config;

use crate::cli::{Common, RunArgs};
use crate::config::secrets::{self, Keys, Sources};
use crate::config::{self, Config, Mode, Speed, Venue};
use crate::error::LaunchError;
use crate::{logging, out, restart};
use keel_lifecycle::{
    Clock, ExitStatus, LeakSection, Lifecycle, LifecycleConfig, MonitorConfig, Program, RunContext, RunOutcome,
    RuntimeKind, StopReason,
};
use parts::{Last, Parts, Shared};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use summary::Summary;

/// How often the process's resources are looked at.
const RESOURCE_INTERVAL: Duration = Duration::from_secs(5);

/// Runs with what the command line says.
pub fn run(common: &Common, args: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let clock = Clock::system();
    let began_mono_ns = clock.mono_ns();
    let layers = config::load_layers(common, args)?;
    let config = config::validate(&layers)?;
    let keys = keys(&config, args)?;
    let confirmed = confirm::check(&config, &layers, keys.as_ref(), args.confirm_live.as_deref())?;
    if let Some(replay) = &config.replay {
        // Before anything starts: a file that is none gets better neither by a restart nor by a summary.
        drop(crate::recording::open(&replay.file)?);
    }
    if config.restart.is_auto && !restart::is_supervised() {
        let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
        if confirmed == confirm::Confirmed::ByHand && args.confirm_live.is_none() {
            // Confirmed on the terminal just now; the child has none to ask on.
            arguments.push("--confirm-live".into());
            arguments.push(config.account.clone().into());
        }
        return restart::supervise(config.restart, arguments);
    }
    enough_files(files_max())?;
    let folders = folder::open(&config, clock.now_ns())?;
    let account = account_lock::take(&config, keys.as_ref())?;
    let logging = logging::start(&config.log, Some(&folders.logs), out::may_colour(common.no_color))?;
    if restart::is_supervised() {
        restart::follow_parent();
    }
    let shared = Shared {
        effective: Arc::new(config::text::effective_json(&layers)),
        recent: config.observe.map(|_| Arc::default()),
        config: Arc::new(config),
        parts: Arc::default(),
        gate: Arc::default(),
        tally: Arc::default(),
        logging,
        folder: folders.session.clone(),
        instance: folders.instance,
        began_mono_ns,
    };
    let status = trade(&clock, &shared, keys, common.json)?;
    drop(account);
    drop(folders);
    Ok(status)
}

/// Keys where orders go to an account: the configured ones, or the simulated venue's throw-away account.
pub(crate) fn keys(config: &Config, args: &RunArgs) -> Result<Option<Keys>, LaunchError> {
    let is_separate_simulated = matches!(&config.venue, Venue::Remote(it) if it.is_simulated);
    if let Some(account) = &args.account {
        if config.mode == Mode::Live || !is_separate_simulated {
            return Err(LaunchError::Usage(
                "--account is the throw-away account of a separate simulated venue (--venue URL); keys of real accounts are \
                 never taken from the command line"
                    .into(),
            ));
        }
        let (key, secret) =
            account.split_once(':').filter(|(key, secret)| !key.is_empty() && !secret.is_empty()).ok_or_else(|| {
                // The text may hold a secret, so it is not repeated.
                LaunchError::Usage("--account must be KEY:SECRET, both not empty".into())
            })?;
        return Ok(Some(Keys {
            api_key: key.to_owned().into(),
            secret: secret.to_owned().into(),
            key_type: secrets::KeyType::Hmac,
            origin: "--account".into(),
        }));
    }
    if config.mode == Mode::Live || is_separate_simulated {
        let keys = secrets::load(&config.credentials, Sources::of_process());
        return keys.map(Some).map_err(|error| match error {
            LaunchError::Keys { cause, remedy } if is_separate_simulated && config.mode == Mode::Paper => {
                let remedy = format!(
                    "give the venue's demo account, which it shows at its start: --account KEY:SECRET; or {remedy}"
                );
                LaunchError::Keys { cause, remedy }
            }
            error => error,
        });
    }
    Ok(None)
}

fn trade(clock: &Clock, shared: &Shared, keys: Option<Keys>, is_json: bool) -> Result<ExitStatus, LaunchError> {
    let config = &shared.config;
    let runtime = match config.worker_threads {
        1 => RuntimeKind::CurrentThread,
        workers => RuntimeKind::MultiThread { workers },
    };
    let settings = LifecycleConfig {
        runtime,
        duration: config.duration,
        monitor: MonitorConfig { interval: RESOURCE_INTERVAL, ..MonitorConfig::default() },
        ..LifecycleConfig::default()
    };
    let lifecycle = Lifecycle::start(settings).map_err(|error| LaunchError::start("start", error))?;
    dumps(&lifecycle, shared);
    stop_callbacks(&lifecycle, shared, clock);
    let emergency = emergency::Emergency::install(&lifecycle, shared);
    let desk = control::spawn(&lifecycle, shared, &emergency)?;
    web::spawn(&lifecycle, shared, &emergency, desk)?;
    let ended = replay_max::Ended::default();
    let outcome = {
        let (shared, ended) = (shared.clone(), ended.clone());
        lifecycle.run(move |context| match &shared.config.replay {
            Some(replay) if replay.speed == Speed::Max => replay_max::program(context, &shared, replay.clone(), ended),
            _ => program(context, &shared, keys, emergency),
        })
    };
    let last = ended.take().map_or_else(|| shared.last(), of_replay);
    Ok(conclude(outcome, clock, shared, last, is_json))
}

fn of_replay(report: keel_backtest::ReplayReport) -> Last {
    let digest = Some(report.digest.to_string());
    Last { digest, status: report.status, latency: Vec::new(), has_begun: true, is_known: true }
}

/// What SIGUSR1 and SIGQUIT print beside tasks and leases.
fn dumps(lifecycle: &Lifecycle, shared: &Shared) {
    let queues = shared.clone();
    lifecycle.control().on_dump("queues", move || {
        let Some(engine) = queues.engine() else { return "trading has not begun".to_owned() };
        let journal = queues.parts.lock().journal.as_ref().map(keel_store::Journal::status);
        format!("{:?}\n{:?}\n{journal:?}", engine.lanes(), engine.in_flight())
    });
    let orders = shared.clone();
    lifecycle.control().on_dump("open orders", move || {
        let (status, instruments) = (orders.status(), orders.instruments());
        let lines = status.open_orders.iter().map(|order| summary::order_line(order, &instruments));
        let text = lines.collect::<Vec<_>>().join("\n");
        if text.is_empty() { "none".to_owned() } else { text }
    });
}

/// What happens at once when the stop is asked for, on the asking thread: no new exposure, even with every worker blocked.
fn stop_callbacks(lifecycle: &Lifecycle, shared: &Shared, clock: &Clock) {
    let (gate, policy) = (shared.gate.clone(), shared.config.on_exit);
    let (duration, clock, began) = (shared.config.duration, clock.clone(), shared.began_mono_ns);
    lifecycle.stop_signal().on_request(move |reason| {
        gate.close(plan::gate_level(policy, &gate));
        if let (StopReason::DurationElapsed, Some(duration)) = (reason, duration) {
            let ran = clock.since(began).as_secs_f64();
            out::note(&format!("Duration reached: {ran:.1}s/{}s", duration.as_secs_f64()));
        }
    });
}

fn program(
    context: &RunContext,
    shared: &Shared,
    keys: Option<Keys>,
    emergency: emergency::Emergency,
) -> Result<Program, LaunchError> {
    let plan = plan::build(context, shared).map_err(|error| LaunchError::start("stop plan", error))?;
    let logging = shared.logging.clone();
    context.watchdog.on_last_words(move || logging.flush());
    let (for_start, for_leaks) = (shared.clone(), shared.clone());
    let program = Program::new(plan, start::start(context.clone(), for_start, keys, emergency));
    Ok(program.leak_sections(move || orders_left(&for_leaks)))
}

/// Orders that are not terminal: those of unknown fate are leaks, those kept by policy are listed.
fn orders_left(shared: &Shared) -> Vec<LeakSection> {
    let left = summary::left_open(&shared.last().status, &shared.instruments());
    vec![
        LeakSection::leak("orders of unknown state", left.unknown_orders),
        LeakSection::listed("orders kept", left.orders),
        database::left(shared),
    ]
}

fn conclude(mut outcome: RunOutcome, clock: &Clock, shared: &Shared, last: Last, is_json: bool) -> ExitStatus {
    let never_began = (!last.has_begun && outcome.reasons.contains(&StopReason::DurationElapsed)).then(|| {
        let venue = shared.parts.lock().venue_name.clone();
        never_began(&venue)
    });
    let mut summary = summarise(&outcome, clock, shared, last);
    if let Some(error) = &never_began {
        outcome.add_failure(error);
        out::note(&format!("error: {error}"));
    }
    summary.set_exit(outcome.status(), outcome.errors);
    let epoch = shared.parts.lock().epoch;
    if let Err(error) = summary.publish(is_json, epoch, clock.now_ns()) {
        outcome.add_failure(&error);
        out::note(&format!("error: {error}"));
    }
    if let Some(error) = out::stdout_error() {
        outcome.add_failure(error);
        out::note(&format!("error: {error}"));
    }
    // What failed is told once more, as the last lines, by the outcome itself.
    let status = outcome.finish();
    out::note(&format!("exit code: {status}"));
    status
}

/// Fewer files than this are too few for the sockets and journals of a run.
const FILES_NEEDED: u64 = 64;

/// How many files this process may hold open, when there is a limit.
fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// A run that could not open its sockets and journal would fail at a random place later: it is refused at the start.
fn enough_files(files_max: Option<u64>) -> Result<(), LaunchError> {
    match files_max {
        Some(files) if files < FILES_NEEDED => Err(LaunchError::Usage(format!(
            "only {files} files may be open, and a run needs up to {FILES_NEEDED}; allow more, such as `ulimit -n 1024`"
        ))),
        _ => Ok(()),
    }
}

/// Why nothing was traded although the whole duration has passed.
fn never_began(venue: &str) -> String {
    let what = "the duration ended before trading began";
    match venue {
        "" => format!("{what}: the venue was not reached; see the warnings above, or try `launcher check`"),
        venue => format!(
            "{what}: the streams of {venue} did not come up or its account was not compared yet; see the warnings above, \
             give it a longer --duration, or try `launcher check`"
        ),
    }
}

fn summarise(outcome: &RunOutcome, clock: &Clock, shared: &Shared, last: Last) -> Summary {
    let config = &shared.config;
    let instruments = shared.instruments();
    let tally = shared.tally.lock();
    let Parts { venue_name, .. } = &*shared.parts.lock();
    Summary {
        mode: config.mode.to_string(),
        venue: if venue_name.is_empty() { "not reached".to_owned() } else { venue_name.clone() },
        market: banner::market(config),
        strategies: config.strategies.iter().map(|it| it.name.clone()).collect(),
        symbols: instruments.iter().map(|it| it.symbol.to_string()).collect(),
        ran_s: clock.since(shared.began_mono_ns).as_secs_f64(),
        reasons: outcome.reasons.clone(),
        state_digest: last.digest,
        left: summary::Left {
            // What the embedded venue held would have ended with the process.
            is_known: last.is_known || matches!(config.venue, Venue::Embedded),
            ..summary::left_open(&last.status, &instruments)
        },
        fees: summary::fees(&last.status),
        status: last.status,
        latency: last.latency,
        peak: outcome.peak,
        stop: outcome.stop.as_ref().clone(),
        leaks: outcome.leaks.clone(),
        notices: tally.notices(),
        folder: shared.folder.clone(),
        errors: 0,
        exit_code: 0,
    }
}

/// A fingerprint of the effective configuration, for the journal.
#[must_use]
pub fn config_hash(config: &Config) -> String {
    hex::encode(Sha256::digest(format!("{config:?}").as_bytes()))
}
