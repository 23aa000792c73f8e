//! One journal on its way into the database, step by step: read whole batches, fold them, write rows and cursor in one
//! transaction. Whoever drives it decides when, and what to do about an error; any step may be repeated.
//!
//! Invariant: the fold in memory stands where the cursor in the database will stand once what is pending is written.

use crate::cursor::{self, Cursor, Identity, Moved};
use crate::fold::Fold;
use crate::tables::Table;
use crate::{Database, DbError};
use keel_execution::ExecutionConfig;
use keel_store::{Entry, JournalTail};
use std::path::PathBuf;
use std::sync::Arc;

/// Who writes the projection, among the owners of connections.
pub(crate) const OWNER: &str = "projection";

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
}

impl JournalSource {
    /// The journal in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, instance: u32, mode: impl Into<String>) -> Self {
        let execution = ExecutionConfig { instance, epoch: u32::MAX, ..ExecutionConfig::default() };
        Self { folder: folder.into(), instance, mode: mode.into(), execution, records_max: 1_000 }
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
    rows: Arc<Vec<(&'static Table, String)>>,
}

#[derive(Debug)]
struct Place {
    tail: JournalTail,
    fold: Fold,
    cursor: Cursor,
    pending: Option<Pending>,
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
            Box::pin(async move { cursor::register(c, &identity, &folder).await })
        });
        let mut cursor = registered.await?;
        if let Some(place) = self.catch_up(&cursor, &identity, limit)? {
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
        self.catch_up(&cursor, &identity, limit)
    }

    /// Folds everything up to the cursor without writing it; `None` when the journal does not pass that place.
    fn catch_up(&self, cursor: &Cursor, identity: &Identity, limit: u64) -> Result<Option<Place>, DbError> {
        let Some(mut tail) = JournalTail::open(&self.source.folder)? else { return Ok(None) };
        let mut fold = Fold::new(cursor.journal_id, self.source.execution);
        let mut entries = Vec::new();
        while tail.sequence() < cursor.sequence {
            if tail.next_batch(limit.max(cursor.sequence), &mut entries)?.is_none() {
                return Ok(None);
            }
            entries.drain(..).for_each(|entry| fold.add(entry));
            drop(fold.take());
        }
        let is_at_start = cursor.sequence == 0 && tail.sequence() + 1 == identity.first_sequence;
        let is_there = tail.sequence() == cursor.sequence && hex::encode(tail.chain()) == cursor.chain;
        if is_at_start && identity.first_sequence > 1 {
            tracing::warn!(
                first = identity.first_sequence,
                "the journal no longer holds its first records; the database has what follows them"
            );
        }
        Ok((is_at_start || is_there).then(|| Place { tail, fold, cursor: cursor.clone(), pending: None }))
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
        place.pending = Some(Pending { to, rows: Arc::new(rows) });
        Ok(())
    }

    async fn flush(&mut self) -> Result<Step, DbError> {
        let Some(place) = &mut self.place else { return Ok(Step::UpToDate) };
        let Some(pending) = &place.pending else { return Ok(Step::UpToDate) };
        let (from, to, rows) = (place.cursor.clone(), pending.to.clone(), pending.rows.clone());
        let dialect = self.database.dialect();
        let moved = self.database.with_tx("project", OWNER, |c| {
            let (from, to, rows) = (from.clone(), to.clone(), rows.clone());
            Box::pin(async move {
                let moved = cursor::advance(c, &from, &to).await?;
                if moved == Moved::Now {
                    cursor::write(c, dialect, &rows).await?;
                }
                Ok(moved)
            })
        });
        match moved.await? {
            Moved::Now | Moved::Before => {
                self.written += pending.to.sequence.saturating_sub(place.cursor.sequence);
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
