//! Building the rows of a journal again, by command.

use crate::cursor::{self, Identity};
use crate::project::{JournalSource, OWNER, Projector, Step};
use crate::{Database, DbError};
use keel_store::JournalTail;
use std::path::Path;

/// What was built again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Records read.
    pub records: u64,
    /// The first record that the journal still holds.
    pub first_sequence: u64,
    /// The last record that is in the database.
    pub last_sequence: u64,
    /// Were rows of records kept that the journal no longer holds?
    pub has_kept_older: bool,
}

/// The last record that a journal holds; `None` when there is no journal.
pub fn last_sequence(folder: &Path) -> Result<Option<u64>, DbError> {
    let Some(mut tail) = JournalTail::open(folder)? else { return Ok(None) };
    let mut entries = Vec::new();
    while tail.next_batch(u64::MAX, &mut entries)?.is_some() {
        entries.clear();
    }
    Ok(Some(tail.sequence()))
}

/// Makes the rows of one journal anew, from everything that the journal holds. Nobody else may write meanwhile. Where the
/// journal no longer holds its beginning, rows cannot be made anew: they are kept, and what follows them is added.
pub async fn rebuild(database: &Database, source: &JournalSource) -> Result<Rebuilt, DbError> {
    let Some(identity) = Identity::read(&source.folder, source.instance, &source.mode)? else {
        return Ok(Rebuilt { records: 0, first_sequence: 0, last_sequence: 0, has_kept_older: false });
    };
    let is_whole = identity.first_sequence == 1;
    if is_whole {
        let (for_tx, folder) = (identity.clone(), source.folder.clone());
        let forgotten = database.with_tx("forget the journal", OWNER, |c| {
            let (identity, folder) = (for_tx.clone(), folder.clone());
            Box::pin(async move {
                let known = cursor::register(c, &identity, &folder).await?;
                cursor::forget(c, known.journal_id).await
            })
        });
        forgotten.await?;
    }
    let mut projector = Projector::new(database.clone(), source.clone());
    while projector.step(u64::MAX).await? == Step::Wrote {}
    Ok(Rebuilt {
        records: projector.written,
        first_sequence: identity.first_sequence,
        last_sequence: projector.sequence().unwrap_or_default(),
        has_kept_older: !is_whole,
    })
}
