//! P-21: journals of earlier versions stay readable, record by record. `golden/v1` was written by the first version.
//!
//! A failure here means that a type in a record changed its shape: raise the record version and keep reading the old one,
//! or make the change additive (new enum variants at the end). Never write the folder anew to make this pass.

use crate::common::{SOON, accepted, cancel, intent, options, order};
use keel_model::{
    Balance, CancelOutcome, ClientOrderId, Command, ExecType, ExecutionEvent, ExecutionReport, ExitPolicy, Fill,
    InstrumentId, Liquidity, Notional, OrderSnapshot, OrderStatus, OrderType, Price, Quantity, QueryOutcome, Reject,
    RejectReason, ReplaceOrder, ReplaceOutcome, Side, SubmitOutcome, TimeInForce, Timestamp, TradeId, UnknownReason,
    VenueOrderId,
};
use keel_store::{Journal, Record, SessionStart, read_all, verify};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn id(sequence: u64) -> ClientOrderId {
    ClientOrderId { instance: 7, epoch: 1, sequence }
}

fn fill() -> Fill {
    Fill {
        trade_id: TradeId::new("4711").unwrap(),
        instrument: InstrumentId(0),
        side: Side::Sell,
        price: Price::new(6_000_012, 2).unwrap(),
        quantity: Quantity::new(150, 5).unwrap(),
        fee: Notional::new(90_000_180, 9).unwrap(),
        fee_asset: "USDT".parse().unwrap(),
        liquidity: Liquidity::Taker,
        ts_event: Timestamp::from_ms(1_700_000_000_123),
    }
}

fn snapshot() -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: Some(id(2)),
        venue_order_id: VenueOrderId::new("99").unwrap(),
        instrument: InstrumentId(1),
        side: Side::Buy,
        order_type: Some(OrderType::StopLossLimit),
        time_in_force: Some(TimeInForce::Gtc),
        status: OrderStatus::Canceled,
        quantity: Quantity::new(5, 0).unwrap(),
        price: Some(Price::new(3_000, 0).unwrap()),
        stop_price: Some(Price::new(3_001, 0).unwrap()),
        cum_quantity: Quantity::ZERO,
        cum_quote: Some(Notional::ZERO),
        ts_event: Timestamp::from_ms(5),
    }
}

fn report() -> ExecutionReport {
    ExecutionReport {
        exec_type: ExecType::Trade,
        client_order_id: Some(id(1)),
        venue_order_id: VenueOrderId::new("98").unwrap(),
        instrument: InstrumentId(0),
        side: Side::Sell,
        status: OrderStatus::PartiallyFilled,
        quantity: Quantity::new(300, 5).unwrap(),
        price: None,
        cum_quantity: Quantity::new(150, 5).unwrap(),
        fill: Some(fill()),
        ts_event: Timestamp::from_ms(6),
        ts_recv: Timestamp::from_ms(7),
        text: "words of the venue".parse().unwrap(),
    }
}

/// One record of each kind and each kind of event.
fn records() -> Vec<Record> {
    let ts = Timestamp::from_ms(1_700_000_000_000);
    let reject =
        Reject { reason: RejectReason::UnknownOrder, code: -2011, text: "Unknown order sent.".parse().unwrap() };
    let event = |event| Record::Execution(ts, event);
    let balance = Balance { asset: "BTC".parse().unwrap(), free: Notional::from_int(2), locked: Notional::ZERO };
    let Record::CancelIntent { order: cancelled, .. } = cancel(1) else { unreachable!() };
    vec![
        Record::SessionStart(SessionStart {
            ts,
            instance: 7,
            epoch: 1,
            mode: "paper".into(),
            program: "keel 0.1.0".into(),
            config_hash: "abc".into(),
            symbols: vec!["BTCUSDT".parse().unwrap(), "ETHUSDT".parse().unwrap()],
        }),
        Record::IdLease { epoch: 1, up_to: 1_025 },
        intent(1),
        event(ExecutionEvent::Sent { client_order_id: id(1), signed_at: ts, recv_window_ms: 5_000 }),
        accepted(1),
        event(ExecutionEvent::Submit(id(2), SubmitOutcome::Rejected(reject))),
        event(ExecutionEvent::Submit(id(3), SubmitOutcome::Unknown(UnknownReason::VenueUnsure))),
        event(ExecutionEvent::Report(report())),
        event(ExecutionEvent::Fills(vec![(Some(id(1)), fill()), (None, fill())])),
        event(ExecutionEvent::Query(id(3), QueryOutcome::NotFound { venue_time_before: Some(ts) })),
        event(ExecutionEvent::Query(id(2), QueryOutcome::Found(snapshot()))),
        event(ExecutionEvent::OpenOrders(None, vec![snapshot()])),
        event(ExecutionEvent::Balances { complete: true, balances: vec![balance], ts_event: ts }),
        cancel(1),
        event(ExecutionEvent::Cancel(id(1), CancelOutcome::Canceled(snapshot()))),
        Record::ReplaceIntent(ReplaceOrder { cancel: cancelled, new: order(4) }),
        event(ExecutionEvent::Replace {
            cancel_id: id(1),
            new_id: id(4),
            outcome: ReplaceOutcome {
                cancel: CancelOutcome::Rejected(reject),
                new: SubmitOutcome::Unknown(UnknownReason::Timeout),
            },
        }),
        Record::Command(ts, Command::Wind(ExitPolicy::Flatten)),
        Record::Command(ts, Command::EmergencyStop("because".into())),
        Record::RiskSnapshot(vec![1, 2, 3]),
        Record::SessionEnd { ts, digest: "0".repeat(64), is_clean: true },
    ]
}

#[test]
fn p21_the_first_version_of_the_journal_stays_readable() {
    let found: Vec<Record> = read_all(&folder()).unwrap().into_iter().map(|entry| entry.record).collect();
    assert_eq!(found, records());
    assert!(verify(&folder()).unwrap().is_clean);
}

#[test]
fn p21_what_is_written_today_is_what_the_first_version_wrote() {
    let new = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(new.path())).unwrap();
    for record in records() {
        journal.append(&record).unwrap().wait_blocking(SOON).unwrap();
    }
    journal.close(SOON).unwrap();
    if std::env::var_os("KEEL_WRITE_GOLDEN").is_some() && !folder().exists() {
        std::fs::create_dir_all(folder()).unwrap();
        for name in ["HEAD", "journal-00000001.seg"] {
            std::fs::copy(new.path().join(name), folder().join(name)).unwrap();
        }
    }
    for name in ["HEAD", "journal-00000001.seg"] {
        assert!(std::fs::read(new.path().join(name)).unwrap() == std::fs::read(folder().join(name)).unwrap(), "{name}");
    }
}
