//! `launcher settle` where no bot runs: an accepted order that the venue no longer knows keeps the start refused until a person
//! says what became of it.
//!
//! Invariants: the folder's lock keeps every bot out meanwhile; the word is tried on the state that the journal replays to
//! before it is written, and only `--confirm` writes it; what is written is one record, and nothing in the journal changes.

use crate::cli::Common;
use crate::control::args::SettleArgs;
use crate::error::LaunchError;
use crate::journal;
use crate::run::control::settlement;
use keel_control::{Answer, Outcome};
use keel_lifecycle::Clock;
use keel_model::{ClientOrderId, Command, Settlement, Timestamp};
use keel_store::{FolderLock, Journal, JournalOptions, Record, VerifyReport};
use std::path::Path;
use std::time::Duration;

/// Longest wait for the record to be on the disk.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Settles an order in the journal of the session that was written to last.
pub fn without_a_bot(common: &Common, root: &Path, given: &SettleArgs) -> Result<Answer, LaunchError> {
    let asked = format!("settle {} with {} filled, without a bot", given.order, given.filled);
    let (id, word) = match settlement(&given.order, &given.filled, given.price.as_deref()) {
        Ok(word) => word,
        Err(why) => return Ok(Answer::refused(asked, why)),
    };
    if !root.is_dir() {
        return Ok(Answer::refused(asked, format!("there is no data folder {}", root.display())));
    }
    let _lock = FolderLock::acquire(root, "settle").map_err(|error| LaunchError::Locked(error.to_string()))?;
    let folder = journal::find(common, &journal::Where { path: Some(root.to_path_buf()) })?;
    let (mut engine, report) = journal::rebuild(&folder)?;
    let before = engine.orders().get(id).map(|order| {
        let (quantity, filled) = (order.new.intent.quantity.normalized(), order.filled.normalized());
        format!("{} {:?} {quantity}, {filled} booked", order.state, order.new.intent.side)
    });
    if let Err(error) = engine.try_settlement(id, word) {
        return Ok(Answer::refused(asked, error.to_string()));
    }
    let what = format!("order {id} ({}) in {}", before.unwrap_or_default(), folder.display());
    if !given.confirm {
        return Ok(Answer::refused(asked, format!("{what} can be settled so; nothing was written: add --confirm")));
    }
    write(&folder, report, id, word)?;
    let answer = Answer::new(Outcome::Confirmed, asked);
    Ok(answer.with_confirmed(format!("{what} is settled; the next start goes on with it")))
}

fn write(folder: &Path, report: VerifyReport, id: ClientOrderId, settlement: Settlement) -> Result<(), LaunchError> {
    let failed = |error: keel_store::StoreError| LaunchError::start("journal", error);
    let options = JournalOptions::new(folder, report.mode, report.instance);
    let (journal, _) = Journal::open_unread(options).map_err(failed)?;
    let ts = Timestamp::from_ns(Clock::system().now_ns());
    let record = Record::Command(ts, Command::Settle { client_order_id: id, settlement });
    let ticket = journal.append(&record).map_err(failed)?;
    ticket.wait_blocking(WRITE_LIMIT).map_err(failed)?;
    journal.close(WRITE_LIMIT).map_err(failed)
}
