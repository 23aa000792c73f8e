//! Asks the venue's rules of the run's instruments every so often and hands what changed to the engine (V-18, V-20).
//!
//! Invariants: one question at a time, never sooner than the interval; an instrument that the venue does not know any more is
//! told as of unknown status, and that is not tradable; a venue that does not answer changes nothing.

use crate::coordinator::CoordinatorHandle;
use keel_exchange::{ExchangeClient, ExchangeError};
use keel_model::{Command, Instrument, InstrumentStatus, Instruments};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the rules are asked for in a run.
pub const RULES_INTERVAL: Duration = Duration::from_secs(30);

/// Asks until the token is cancelled. `known` is what the engine began with.
pub async fn watch_rules(
    client: Arc<dyn ExchangeClient>,
    engine: CoordinatorHandle,
    known: Arc<Instruments>,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut known = Instruments::clone(&known);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let told = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            told = ask(client.as_ref(), &known) => told,
        };
        for mut rules in told {
            let Some(old) = known.by_symbol(rules.symbol.as_str()) else { continue };
            rules.id = old.id;
            if *old == rules {
                continue;
            }
            // A full lane is tried again with the next answer.
            if engine.command(Command::Instrument(Box::new(rules.clone()))).is_ok() {
                known.upsert(rules);
            }
        }
    }
}

/// The rules as the venue tells them now; nothing where it does not.
async fn ask(client: &dyn ExchangeClient, known: &Instruments) -> Vec<Instrument> {
    let symbols: Vec<String> = known.iter().map(|it| it.symbol.to_string()).collect();
    match client.instruments(&symbols).await {
        Ok(told) => told,
        Err(error) if is_about_a_symbol(&error) => one_by_one(client, known).await,
        Err(error) => {
            tracing::warn!(%error, "the rules of the instruments could not be asked for; those known are kept");
            Vec::new()
        }
    }
}

/// The venue refuses, or leaves out, all for the sake of one: which?
async fn one_by_one(client: &dyn ExchangeClient, known: &Instruments) -> Vec<Instrument> {
    let mut told = Vec::with_capacity(known.len());
    for old in known.iter() {
        match client.instruments(&[old.symbol.to_string()]).await {
            Ok(one) => told.extend(one),
            Err(error) if is_about_a_symbol(&error) => {
                tracing::error!(%error, symbol = %old.symbol, "the venue does not know the instrument any more");
                told.push(Instrument { status: InstrumentStatus::Unknown, ..old.clone() });
            }
            Err(error) => tracing::warn!(%error, symbol = %old.symbol, "the rules could not be asked for"),
        }
    }
    told
}

const fn is_about_a_symbol(error: &ExchangeError) -> bool {
    matches!(error, ExchangeError::Refused { status: 400..=499, .. } | ExchangeError::Unreadable { .. })
}
