//! Which journals the database knows, and how far each of them is in it.

use crate::tables::{OF_JOURNAL, Row, Table};
use crate::{DbError, Dialect};
use keel_store::{Entry, JournalTail, Record};
use sqlx::{AnyConnection, Row as _};
use std::path::Path;

/// A journal, told apart from one that was started anew in the same folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) instance: u32,
    /// When its first run began; unit: nanoseconds. `None` when its beginning is no longer kept.
    pub(crate) born_ns: Option<u64>,
    /// Sequence of the oldest record that is still kept.
    pub(crate) first_sequence: u64,
    pub(crate) mode: String,
}

impl Identity {
    /// Looks at the oldest records of a journal; `None` while it holds none.
    pub(crate) fn read(folder: &Path, instance: u32, mode: &str) -> Result<Option<Self>, DbError> {
        let Some(mut tail) = JournalTail::open(folder)? else { return Ok(None) };
        let first_sequence = tail.sequence() + 1;
        let mut entries = Vec::new();
        if tail.next_batch(u64::MAX, &mut entries)?.is_none() {
            return Ok(None);
        }
        let born_ns = match entries.first() {
            Some(Entry { sequence: 1, record: Record::SessionStart(start) }) => Some(start.ts.as_ns()),
            Some(Entry { sequence: 1, .. }) => Some(0),
            _ => None,
        };
        Ok(Some(Self { instance, born_ns, first_sequence, mode: mode.to_owned() }))
    }

    /// The same number for the same journal, whoever asks: FNV-1a over instance and birth.
    fn journal_id(&self, born_ns: u64) -> i64 {
        let bytes = self.instance.to_le_bytes().into_iter().chain(born_ns.to_le_bytes());
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        i64::try_from(hash >> 1).unwrap_or(i64::MAX).max(1)
    }
}

/// How far a journal is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) journal_id: i64,
    pub(crate) sequence: u64,
    pub(crate) chain: String,
}

fn fail(what: &str) -> impl Fn(sqlx::Error) -> DbError {
    move |error| DbError::of(what, &error)
}

fn whole(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Finds the journal, or makes it known.
pub(crate) async fn register(c: &mut AnyConnection, identity: &Identity, folder: &Path) -> Result<Cursor, DbError> {
    let what = "find the journal";
    if let Some(born_ns) = identity.born_ns {
        sqlx::query(
            "INSERT INTO journals (journal_id, instance, born_ns, mode, folder, projected_sequence, projected_chain, first_sequence)
             VALUES ($1, $2, $3, $4, $5, 0, '', 1) ON CONFLICT (instance, born_ns) DO UPDATE SET folder = excluded.folder",
        )
        .bind(identity.journal_id(born_ns))
        .bind(i64::from(identity.instance))
        .bind(signed(born_ns))
        .bind(&identity.mode)
        .bind(folder.display().to_string())
        .execute(&mut *c)
        .await
        .map_err(fail(what))?;
    }
    let found = sqlx::query(
        "SELECT journal_id, projected_sequence, projected_chain FROM journals
         WHERE instance = $1 AND (born_ns = $2 OR $2 = -1) ORDER BY born_ns DESC LIMIT 1",
    )
    .bind(i64::from(identity.instance))
    .bind(identity.born_ns.map_or(-1, signed))
    .fetch_optional(&mut *c)
    .await
    .map_err(fail(what))?;
    let row = match found {
        Some(row) => row,
        None => {
            // Its beginning is gone and the database never knew it: what is left is taken under a birth of zero.
            let from_now_on = Identity { born_ns: Some(0), ..identity.clone() };
            return Box::pin(register(c, &from_now_on, folder)).await;
        }
    };
    Ok(Cursor {
        journal_id: row.try_get(0).map_err(fail(what))?,
        sequence: whole(row.try_get(1).map_err(fail(what))?),
        chain: row.try_get(2).map_err(fail(what))?,
    })
}

/// What became of an attempt to move the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// From the old place to the new one.
    Now,
    /// It was there already: an earlier attempt whose end was not seen.
    Before,
    /// It is somewhere else: somebody else wrote, or the database was put back.
    Elsewhere,
}

/// Moves the cursor from `from` to `to`, if it is there.
pub(crate) async fn advance(c: &mut AnyConnection, from: &Cursor, to: &Cursor) -> Result<Moved, DbError> {
    let what = "move the cursor";
    let done = sqlx::query(
        "UPDATE journals SET projected_sequence = $1, projected_chain = $2
         WHERE journal_id = $3 AND projected_sequence = $4 AND projected_chain = $5",
    )
    .bind(signed(to.sequence))
    .bind(&to.chain)
    .bind(from.journal_id)
    .bind(signed(from.sequence))
    .bind(&from.chain)
    .execute(&mut *c)
    .await
    .map_err(fail(what))?;
    if done.rows_affected() == 1 {
        return Ok(Moved::Now);
    }
    let found = sqlx::query("SELECT projected_sequence, projected_chain FROM journals WHERE journal_id = $1")
        .bind(from.journal_id)
        .fetch_optional(&mut *c)
        .await
        .map_err(fail(what))?;
    let Some(row) = found else { return Ok(Moved::Elsewhere) };
    let (sequence, chain): (i64, String) = (row.try_get(0).map_err(fail(what))?, row.try_get(1).map_err(fail(what))?);
    Ok(if whole(sequence) == to.sequence && chain == to.chain { Moved::Before } else { Moved::Elsewhere })
}

/// Writes rows, new ones and known ones, with one statement per table.
pub(crate) async fn write(
    c: &mut AnyConnection,
    dialect: Dialect,
    rows: &[(&'static Table, String)],
) -> Result<(), DbError> {
    for (table, json) in rows {
        sqlx::query(table.upsert(dialect)).bind(json.as_str()).execute(&mut *c).await.map_err(fail(table.name))?;
    }
    Ok(())
}

/// A state of the fold, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) at: Cursor,
    pub(crate) state: Vec<u8>,
}

/// States are read by the program that wrote them, by no other.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Keeps the state of the fold, in place of the one before.
pub(crate) async fn save(c: &mut AnyConnection, saved: &Saved) -> Result<(), DbError> {
    let done = sqlx::query(
        "INSERT INTO fold_states (journal_id, sequence, chain, program, state) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (journal_id) DO UPDATE SET sequence = excluded.sequence, chain = excluded.chain,
             program = excluded.program, state = excluded.state",
    )
    .bind(saved.at.journal_id)
    .bind(signed(saved.at.sequence))
    .bind(&saved.at.chain)
    .bind(PROGRAM)
    .bind(saved.state.as_slice())
    .execute(&mut *c)
    .await;
    done.map(drop).map_err(fail("keep the state of the fold"))
}

/// The state that was kept, if this program wrote it.
pub(crate) async fn saved(c: &mut AnyConnection, journal_id: i64) -> Result<Option<Saved>, DbError> {
    let what = "find the state of the fold";
    let found = sqlx::query("SELECT sequence, chain, state FROM fold_states WHERE journal_id = $1 AND program = $2")
        .bind(journal_id)
        .bind(PROGRAM)
        .fetch_optional(&mut *c)
        .await
        .map_err(fail(what))?;
    let Some(row) = found else { return Ok(None) };
    let sequence = whole(row.try_get(0).map_err(fail(what))?);
    let at = Cursor { journal_id, sequence, chain: row.try_get(1).map_err(fail(what))? };
    Ok(Some(Saved { at, state: row.try_get(2).map_err(fail(what))? }))
}

/// Rows as the JSON text that [`write`] binds.
pub(crate) fn to_json(rows: &[Row]) -> String {
    serde_json::to_string(rows).unwrap_or_else(|_| "[]".to_owned())
}

/// Takes every row of a journal out; its cursor stands at the beginning again.
pub(crate) async fn forget(c: &mut AnyConnection, journal_id: i64) -> Result<(), DbError> {
    for table in OF_JOURNAL {
        let statement = format!("DELETE FROM {} WHERE journal_id = $1", table.name);
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(journal_id)
            .execute(&mut *c)
            .await
            .map_err(fail("take out the rows of a journal"))?;
    }
    sqlx::query("DELETE FROM fold_states WHERE journal_id = $1")
        .bind(journal_id)
        .execute(&mut *c)
        .await
        .map_err(fail("take out the rows of a journal"))?;
    sqlx::query("UPDATE journals SET projected_sequence = 0, projected_chain = '' WHERE journal_id = $1")
        .bind(journal_id)
        .execute(&mut *c)
        .await
        .map_err(fail("take out the rows of a journal"))?;
    Ok(())
}
