//! The journal into an engine, record by record: from the newest snapshot that can be used, or from the first record.
//!
//! Memory is bounded by the state itself and two segments. A snapshot that this program cannot take over costs a longer
//! replay, from an older snapshot or from the beginning; where the records for that are gone, the start ends with an error
//! that says so. What is taken over is compared with the digest that the snapshot was taken with.

use crate::GatewayError;
use crate::recovery::RecordTranslator;
use keel_engine::Engine;
use keel_model::Instruments;
use keel_model::ids::Symbol;
use keel_store::snapshot::{list_snapshots, read_snapshot};
use keel_store::{Entry, Record, Snapshot, SnapshotHeader, StoreError, VerifyReport, for_each, for_each_after};
use std::fmt;
use std::path::Path;

/// The end of an earlier run, as its journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEnd {
    /// Place of the record.
    pub sequence: u64,
    /// State digest that was written.
    pub recorded: String,
    /// State digest that the replay has there.
    pub replayed: String,
}

/// What a replay did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The last record that the snapshot stands for; zero without one.
    pub snapshot_sequence: u64,
    /// Records replayed after it.
    pub records: u64,
    /// The last record that was taken.
    pub sequence: u64,
    /// Ends of runs that were passed on the way; empty unless they were asked for.
    pub ends: Vec<RecordedEnd>,
    /// What instrument ids mean where the replay ended.
    pub symbols: Vec<Symbol>,
    /// What reading found.
    pub report: VerifyReport,
}

/// How far and how closely to look.
#[derive(Clone, Copy)]
pub struct ReplayOptions<'a> {
    /// The last record to take.
    pub until: u64,
    /// Begin with the first record even where a snapshot could be used.
    pub ignores_snapshots: bool,
    /// Compare the digest at each recorded end of a run.
    pub compares_ends: bool,
    /// Asked now and then: give up?
    pub is_cut: Option<&'a dyn Fn() -> bool>,
}

impl fmt::Debug for ReplayOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayOptions").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Default for ReplayOptions<'_> {
    fn default() -> Self {
        Self { until: u64::MAX, ignores_snapshots: false, compares_ends: false, is_cut: None }
    }
}

/// What a snapshot holds: the symbols that instrument ids mean in the records that follow, and the engine's state.
pub(crate) fn encode(symbols: &[Symbol], state: &[u8]) -> Result<Vec<u8>, GatewayError> {
    let names = postcard::to_allocvec(symbols).map_err(|error| StoreError::Encode { cause: error.to_string() })?;
    let mut out = Vec::with_capacity(4 + names.len() + state.len());
    out.extend_from_slice(&u32::try_from(names.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&names);
    out.extend_from_slice(state);
    Ok(out)
}

fn decode(payload: &[u8]) -> Option<(Vec<Symbol>, &[u8])> {
    let (length, rest) = payload.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (names, state) = rest.split_at_checked(length)?;
    Some((postcard::from_bytes(names).ok()?, state))
}

/// The symbols that a snapshot knows; none where it cannot be read.
#[must_use]
pub fn symbols_of(snapshot: &Snapshot) -> Vec<Symbol> {
    decode(&snapshot.payload).map(|(symbols, _)| symbols).unwrap_or_default()
}

/// Rebuilds an engine from the journal in `folder`. `make` makes a fresh one: each try needs its own.
pub fn replay_journal(
    folder: &Path,
    instruments: &Instruments,
    make: &mut dyn FnMut() -> Result<Engine, String>,
    options: &ReplayOptions<'_>,
) -> Result<(Engine, Replayed), GatewayError> {
    let mut refused = None;
    let snapshots = if options.ignores_snapshots { Vec::new() } else { list_snapshots(folder)? };
    for (_, path) in snapshots.into_iter().filter(|(sequence, _)| *sequence <= options.until) {
        match read_snapshot(&path).map_err(GatewayError::from).and_then(|it| resume(&it, make)) {
            Ok(base) => return Run::new(base, instruments, options).go(folder),
            Err(error @ GatewayError::Engine { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a snapshot is not used; an older one and a longer replay are");
                refused.get_or_insert(error);
            }
        }
    }
    let base = Base { engine: make().map_err(engine_error)?, symbols: Vec::new(), header: None };
    let run = Run::new(base, instruments, options).go(folder);
    match (run, refused) {
        // The records before the oldest segment are gone: why the snapshots cannot be used is what a person must know.
        (Err(GatewayError::Store(StoreError::Corrupt { .. })), Some(cause)) => Err(cause),
        (Ok((_, replayed)), Some(cause)) if replayed.report.records < replayed.report.records_total => Err(cause),
        (run, _) => run,
    }
}

fn engine_error(cause: String) -> GatewayError {
    GatewayError::Engine { cause }
}

/// Where a replay begins.
struct Base {
    engine: Engine,
    symbols: Vec<Symbol>,
    header: Option<SnapshotHeader>,
}

fn resume(snapshot: &Snapshot, make: &mut dyn FnMut() -> Result<Engine, String>) -> Result<Base, GatewayError> {
    let (symbols, state) = decode(&snapshot.payload)
        .ok_or_else(|| GatewayError::Snapshot { cause: "its parts cannot be told apart".to_owned() })?;
    let mut engine = make().map_err(engine_error)?;
    let is_same = engine.restore(state).map_err(|error| GatewayError::Snapshot { cause: error.to_string() })?;
    if is_same && engine.digest().to_string() != snapshot.header.digest {
        return Err(GatewayError::Snapshot {
            cause: "its state has another digest than the one it was taken with".into(),
        });
    }
    Ok(Base { engine, symbols, header: Some(snapshot.header.clone()) })
}

struct Run<'a> {
    engine: Engine,
    translator: RecordTranslator<'a>,
    options: &'a ReplayOptions<'a>,
    header: Option<SnapshotHeader>,
    records: u64,
    sequence: u64,
    ends: Vec<RecordedEnd>,
}

/// How often the replay asks whether it is to give up; unit: records.
const ASK_EVERY: u64 = 1_024;

impl<'a> Run<'a> {
    fn new(base: Base, instruments: &'a Instruments, options: &'a ReplayOptions<'a>) -> Self {
        let mut translator = RecordTranslator::new(instruments);
        translator.begin_session(&base.symbols);
        let sequence = base.header.as_ref().map_or(0, |it| it.sequence);
        Self { engine: base.engine, translator, options, header: base.header, records: 0, sequence, ends: Vec::new() }
    }

    fn go(mut self, folder: &Path) -> Result<(Engine, Replayed), GatewayError> {
        let mut failed = None;
        let header = self.header.clone();
        let mut visit = |entry: Entry| {
            self.take(entry).map_err(|error| {
                failed = Some(error);
                StoreError::Closed
            })
        };
        let read = match &header {
            Some(header) => for_each_after(folder, header, &mut visit),
            None => for_each(folder, &mut visit),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let replayed = Replayed {
            snapshot_sequence: header.map_or(0, |it| it.sequence),
            records: self.records,
            sequence: self.sequence,
            ends: self.ends,
            symbols: self.translator.symbols().to_vec(),
            report: read?,
        };
        Ok((self.engine, replayed))
    }

    fn take(&mut self, entry: Entry) -> Result<(), GatewayError> {
        let sequence = entry.sequence;
        if sequence > self.options.until {
            return Ok(());
        }
        self.records += 1;
        self.sequence = sequence;
        if self.records.is_multiple_of(ASK_EVERY) && self.options.is_cut.is_some_and(|is_cut| is_cut()) {
            return Err(GatewayError::Ended);
        }
        match &entry.record {
            Record::SessionEnd { digest, .. } if self.options.compares_ends => {
                let replayed = self.engine.digest_of_replay().to_string();
                self.ends.push(RecordedEnd { sequence, recorded: digest.clone(), replayed });
            }
            _ => {}
        }
        if let Some(record) = self.translator.translate(entry)? {
            self.engine.replay(record);
        }
        Ok(())
    }
}
