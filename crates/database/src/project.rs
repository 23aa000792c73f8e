//! One journal on its way into the database, step by step: read whole batches, fold them, write rows and cursor in one
//! transaction. Whoever drives it decides when, and what to do about an error; any step may be repeated.
//!
//! Invariant: the fold in memory stands where the cursor in the database will stand once what is pending is written.

use crate::cursor::{self, Cursor, Identity, Moved, Saved};
use crate::fold::Fold;
use crate::tables::Table;
use crate::{Database, DbError};
use keel_execution::ExecutionConfig;
use keel_store::{Entry, JournalTail};
use std::path::PathBuf;
use std::sync::Arc;

/// Who writes the projection, among the owners of connections.
pub(crate) const OWNER: &str = "projection";

/// The state of the fold is kept after so many records; going on reads no more than these again.
const SAVE_EVERY: u64 = 20_000;

/// One journal and what is needed to fold it.
#[derive(Clone, Debug)]
pub struct JournalSource {
    /// Its folder.
    pub folder: PathBuf,
    /// Which bot writes it.
    pub instance: u32,
    /// `paper` or `live`.
    pub mode: String,
    /// The order machine's configuration, the same as the engine's.
    pub execution: ExecutionConfig,
    /// Most records in one transaction; a batch of the journal is never split.
    pub records_max: usize,
    /// The state of the fold is kept after so many records.
    pub save_every: u64,
}

impl JournalSource {
    /// The journal in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, instance: u32, mode: impl Into<String>) -> Self {
        let execution = ExecutionConfig { instance, epoch: u32::MAX, ..ExecutionConfig::default() };
        Self {
            folder: folder.into(),
            instance,
            mode: mode.into(),
            execution,
            records_max: 1_000,
            save_every: SAVE_EVERY,
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rows were written; there may be more.
    Wrote,
    /// Everything that there is is in the database.
    UpToDate,
}

#[derive(Debug)]
struct Pending {
    to: Cursor,
    saved: Option<Arc<Saved>>,
    rows: Arc<Vec<(&'static Table, String)>>,
}

#[derive(Debug)]
struct Place {
    tail: JournalTail,
    fold: Fold,
    cursor: Cursor,
    pending: Option<Pending>,
    /// The record up to which the state is kept: everything behind it is read again after a loss of memory.
    saved: u64,
}

impl Place {
    /// Folds what lies between here and the cursor; `None` when the journal does not pass it.
    fn forward(mut self, cursor: &Cursor, limit: u64) -> Result<Option<Self>, DbError> {
        let mut entries = Vec::new();
        while self.tail.sequence() < cursor.sequence {
            if self.tail.next_batch(limit.max(cursor.sequence), &mut entries)?.is_none() {
                return Ok(None);
            }
            entries.drain(..).for_each(|entry| self.fold.add(entry));
            drop(self.fold.take());
        }
        let is_there = self.tail.sequence() == cursor.sequence && hex::encode(self.tail.chain()) == cursor.chain;
        Ok(is_there.then_some(self))
    }
}

/// One journal on its way.
#[derive(Debug)]
pub(crate) struct Projector {
    database: Database,
    source: JournalSource,
    place: Option<Place>,
    entries: Vec<Entry>,
    /// Records written so far.
    pub(crate) written: u64,
}

impl Projector {
    pub(crate) fn new(database: Database, source: JournalSource) -> Self {
        Self { database, source, place: None, entries: Vec::new(), written: 0 }
    }

    /// The last record that is in the database, as far as it was looked up.
    pub(crate) fn sequence(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.cursor.sequence)
    }

    /// The last record that will never be read again.
    pub(crate) fn saved(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.saved)
    }

    /// What is in memory is given up; the next step looks the place up again.
    pub(crate) fn lose_place(&mut self) {
        self.place = None;
    }

    /// One step, with records up to `limit`.
    pub(crate) async fn step(&mut self, limit: u64) -> Result<Step, DbError> {
        if self.place.is_none() {
            match self.find_place(limit).await? {
                Some(place) => self.place = Some(place),
                None => return Ok(Step::UpToDate),
            }
        }
        self.read(limit)?;
        self.flush().await
    }

    /// Finds out where the database stands and folds the journal up to there.
    async fn find_place(&mut self, limit: u64) -> Result<Option<Place>, DbError> {
        let source = &self.source;
        let Some(identity) = Identity::read(&source.folder, source.instance, &source.mode)? else { return Ok(None) };
        let (for_tx, folder) = (identity.clone(), source.folder.clone());
        let registered = self.database.with_tx("find the journal", OWNER, |c| {
            let (identity, folder) = (for_tx.clone(), folder.clone());
            Box::pin(async move {
                let known = cursor::register(c, &identity, &folder).await?;
                let saved = cursor::saved(c, known.journal_id).await?;
                Ok((known, saved))
            })
        });
        let (mut cursor, saved) = registered.await?;
        if let Some(place) = self.catch_up(&cursor, &identity, limit, saved)? {
            return Ok(Some(place));
        }
        // The journal does not pass the place where the database stands: it lost its end, or is another one.
        if identity.first_sequence > 1 {
            return Err(DbError::Truncated(format!(
                "the database stands at record {} of a journal that holds records from {} on and does not pass that place; \
                 name a fresh database, the old one keeps what it has",
                cursor.sequence, identity.first_sequence
            )));
        }
        tracing::warn!(
            sequence = cursor.sequence,
            journal = %source.folder.display(),
            "the journal does not pass the place where the database stands; its rows are made anew"
        );
        let id = cursor.journal_id;
        self.database.with_tx("forget the journal", OWNER, |c| Box::pin(cursor::forget(c, id))).await?;
        (cursor.sequence, cursor.chain) = (0, String::new());
        self.catch_up(&cursor, &identity, limit, None)
    }

    /// Folds everything up to the cursor without writing it; `None` when the journal does not pass that place.
    fn catch_up(
        &self,
        cursor: &Cursor,
        identity: &Identity,
        limit: u64,
        saved: Option<Saved>,
    ) -> Result<Option<Place>, DbError> {
        let (id, config) = (cursor.journal_id, self.source.execution);
        if let Some(saved) = saved.filter(|saved| saved.at.sequence <= cursor.sequence)
            && let Some(tail) = self.tail_at(&saved.at)?
            && let Some(fold) = Fold::restore(id, config, &saved.state)
        {
            let place = Place { tail, fold, cursor: cursor.clone(), pending: None, saved: saved.at.sequence };
            if let Some(place) = place.forward(cursor, limit)? {
                return Ok(Some(place));
            }
        }
        let Some(tail) = JournalTail::open(&self.source.folder)? else { return Ok(None) };
        let saved = identity.first_sequence.saturating_sub(1);
        let place = Place { tail, fold: Fold::new(id, config), cursor: cursor.clone(), pending: None, saved };
        if cursor.sequence > 0 {
            // Without the first records the fold would not know what was open when they were written.
            return if identity.first_sequence == 1 { place.forward(cursor, limit) } else { Ok(None) };
        }
        if identity.first_sequence > 1 {
            tracing::warn!(
                first = identity.first_sequence,
                "the journal no longer holds its first records; the database has what follows them"
            );
        }
        Ok(Some(place))
    }

    /// The journal from a place on, if it passes it.
    fn tail_at(&self, at: &Cursor) -> Result<Option<JournalTail>, DbError> {
        let Some(mut tail) = JournalTail::open_before(&self.source.folder, at.sequence)? else { return Ok(None) };
        let mut entries = Vec::new();
        while tail.sequence() < at.sequence {
            entries.clear();
            if tail.next_batch(at.sequence, &mut entries)?.is_none() {
                return Ok(None);
            }
        }
        Ok((tail.sequence() == at.sequence && hex::encode(tail.chain()) == at.chain).then_some(tail))
    }

    /// Reads and folds the next records, unless some wait to be written.
    fn read(&mut self, limit: u64) -> Result<(), DbError> {
        let Some(place) = self.place.as_mut().filter(|place| place.pending.is_none()) else { return Ok(()) };
        let mut end = None;
        self.entries.clear();
        while self.entries.len() < self.source.records_max {
            let Some(batch) = place.tail.next_batch(limit, &mut self.entries)? else { break };
            end = Some(batch);
        }
        let Some(end) = end else { return Ok(()) };
        self.entries.drain(..).for_each(|entry| place.fold.add(entry));
        let rows = place.fold.take().into_iter().map(|(table, rows)| (table, cursor::to_json(&rows))).collect();
        let to = Cursor { sequence: end.sequence, chain: hex::encode(end.chain), ..place.cursor.clone() };
        let is_due = end.sequence.saturating_sub(place.saved) >= self.source.save_every;
        let state = if is_due { place.fold.save() } else { None };
        let saved = state.map(|state| Arc::new(Saved { at: to.clone(), state }));
        place.pending = Some(Pending { to, saved, rows: Arc::new(rows) });
        Ok(())
    }

    async fn flush(&mut self) -> Result<Step, DbError> {
        let Some(place) = &mut self.place else { return Ok(Step::UpToDate) };
        let Some(pending) = &place.pending else { return Ok(Step::UpToDate) };
        let (from, to, rows) = (place.cursor.clone(), pending.to.clone(), pending.rows.clone());
        let saved = pending.saved.clone();
        let dialect = self.database.dialect();
        let moved = self.database.with_tx("project", OWNER, |c| {
            let (from, to, rows, saved) = (from.clone(), to.clone(), rows.clone(), saved.clone());
            Box::pin(async move {
                let moved = cursor::advance(c, &from, &to).await?;
                if moved == Moved::Now {
                    cursor::write(c, dialect, &rows).await?;
                    if let Some(saved) = saved {
                        cursor::save(c, &saved).await?;
                    }
                }
                Ok(moved)
            })
        });
        match moved.await? {
            Moved::Now | Moved::Before => {
                self.written += pending.to.sequence.saturating_sub(place.cursor.sequence);
                place.saved = pending.saved.as_ref().map_or(place.saved, |saved| saved.at.sequence);
                place.cursor = pending.to.clone();
                place.pending = None;
                Ok(Step::Wrote)
            }
            Moved::Elsewhere => {
                tracing::warn!("somebody else changed the database's place in the journal; it is looked up again");
                self.lose_place();
                Ok(Step::Wrote)
            }
        }
    }
}
