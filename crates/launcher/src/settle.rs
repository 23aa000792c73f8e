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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::args::WaitArgs;
    use keel_execution::OrderState;
    use keel_model::{
        ExecutionEvent, InstrumentId, NewOrder, OrderIntent, OrderPurpose, OrderStatus, Side, StrategyId, SubmitAck,
        SubmitOutcome, VenueOrderId,
    };
    use keel_store::SessionStart;

    const ID: ClientOrderId = ClientOrderId { instance: 7, epoch: 1, sequence: 1 };

    /// A journal with one order that the venue accepted, in the folder of a session.
    fn journal(root: &Path) {
        let options = JournalOptions::new(root.join("live-main").join("journal"), "live", 7);
        let (journal, recovered) = Journal::open_unread(options).unwrap();
        let ts = Timestamp::from_ms(1_700_000_000_000);
        let symbols = vec!["BTCUSDT".parse().unwrap()];
        let start = SessionStart {
            ts,
            instance: recovered.instance,
            epoch: recovered.epoch,
            mode: "live".into(),
            symbols,
            ..SessionStart::default()
        };
        let (size, price) = ("0.1".parse().unwrap(), "60000".parse().unwrap());
        let intent = OrderIntent::limit(InstrumentId(0), Side::Buy, size, price, OrderPurpose::Entry);
        let new = NewOrder { client_order_id: ID, strategy: StrategyId(0), ts_decided: ts, intent };
        let venue_order_id = VenueOrderId::new("1").unwrap();
        let ack = SubmitAck { venue_order_id, ts_event: ts, status: OrderStatus::New, reports: vec![] };
        let accepted = ExecutionEvent::Submit(ID, SubmitOutcome::Accepted(ack));
        for record in [Record::SessionStart(start), Record::Intent(new), Record::Execution(ts, accepted)] {
            journal.append(&record).unwrap().wait_blocking(WRITE_LIMIT).unwrap();
        }
        journal.close(WRITE_LIMIT).unwrap();
    }

    fn settle(root: &Path, filled: &str, price: Option<&str>, confirm: bool) -> Result<Answer, LaunchError> {
        let given = SettleArgs {
            order: ID.to_string(),
            filled: filled.into(),
            price: price.map(str::to_owned),
            confirm,
            wait: WaitArgs::default(),
        };
        without_a_bot(&Common::default(), root, &given)
    }

    #[test]
    fn v_06_an_order_is_settled_without_a_bot_only_when_it_fits_and_is_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        journal(dir.path());
        let why = |answer: Answer| {
            assert_eq!(answer.outcome, Outcome::Refused);
            answer.open.join(" ")
        };
        let refused = why(settle(dir.path(), "never-accepted", None, true).unwrap());
        assert!(refused.contains("was at the venue"), "{refused}");
        let refused = why(settle(dir.path(), "0.04", None, true).unwrap());
        assert!(refused.contains("say at which average price"), "{refused}");
        let refused = why(settle(dir.path(), "0.04", Some("59990"), false).unwrap());
        assert!(refused.contains("add --confirm"), "{refused}");
        let folder = dir.path().join("live-main").join("journal");
        let state = || journal::rebuild(&folder).unwrap().0.orders().get(ID).map(|it| it.state);
        assert_ne!(state(), Some(OrderState::Done), "nothing was written");
        let answer = settle(dir.path(), "0.04", Some("59990"), true).unwrap();
        assert_eq!(answer.outcome, Outcome::Confirmed, "{answer:?}");
        assert_eq!(state(), Some(OrderState::Done));
        let refused = why(settle(dir.path(), "0.04", Some("59990"), true).unwrap());
        assert!(refused.contains("nothing to settle"), "{refused}");
    }

    #[test]
    fn p_20_nothing_is_settled_while_a_bot_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        journal(dir.path());
        let _lock = FolderLock::acquire(dir.path(), "live run").unwrap();
        assert!(matches!(settle(dir.path(), "0.04", Some("1"), true), Err(LaunchError::Locked(_))));
    }
}
