//! A journal with a trading day in it, and what its rows have to say.

use keel_model::ids::Symbol;
use keel_model::{
    Asset, Balance, CancelOrder, CancelOutcome, ClientOrderId, Command, ExecType, ExecutionEvent, ExecutionReport,
    Fill, InstrumentId, Liquidity, NewOrder, Notional, OrderIntent, OrderPurpose, OrderSnapshot, OrderStatus,
    OrderType, Price, Quantity, Reject, RejectReason, Side, StrategyId, SubmitAck, SubmitOutcome, TimeInForce,
    Timestamp, TradeId, VenueOrderId,
};
use keel_store::{Decision, Durability, Journal, JournalOptions, LatchRecord, Record, SessionStart};
use std::path::Path;
use std::time::Duration;

pub(crate) const INSTANCE: u32 = 7;
pub(crate) const SOON: Duration = Duration::from_secs(20);
const BORN_MS: u64 = 1_700_000_000_000;

/// Opens the journal; `process` so that a test does not wait for the disk.
pub(crate) fn open(folder: &Path) -> Journal {
    let options = JournalOptions {
        segment_bytes: 1 << 16,
        durability: Durability::Process,
        ..JournalOptions::new(folder, "paper", INSTANCE)
    };
    Journal::open(options).unwrap().0
}

/// Writes a run into a journal.
pub(crate) struct Writer<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) ts: Timestamp,
    trades: u64,
    pub(crate) records: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(journal: &'a Journal) -> Self {
        Self { journal, ts: Timestamp::from_ms(BORN_MS), trades: 0, records: 0 }
    }

    pub(crate) fn put(&mut self, record: &Record) {
        self.records += 1;
        // Full lane: the writer is asked to write first.
        while let Err(error) = self.journal.append(record).map(drop) {
            assert!(error.is_retryable(), "{error}");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ts = self.ts.plus(Duration::from_millis(1));
    }

    pub(crate) fn begin(&mut self, symbols: &[&str]) {
        let start = SessionStart {
            ts: self.ts,
            instance: INSTANCE,
            epoch: self.journal.epoch(),
            mode: "paper".into(),
            program: "test".into(),
            config_hash: "00".into(),
            symbols: symbols.iter().map(|it| Symbol::new(it).unwrap()).collect(),
        };
        self.put(&Record::SessionStart(start));
    }

    pub(crate) fn id(&self, sequence: u64) -> ClientOrderId {
        ClientOrderId { instance: INSTANCE, epoch: self.journal.epoch(), sequence }
    }

    pub(crate) fn order(&self, sequence: u64, side: Side, instrument: u32) -> NewOrder {
        NewOrder {
            client_order_id: self.id(sequence),
            strategy: StrategyId(3),
            ts_decided: self.ts,
            intent: OrderIntent::limit(
                InstrumentId(instrument),
                side,
                Quantity::new(200, 5).unwrap(),
                Price::new(6_000_012, 2).unwrap(),
                OrderPurpose::Entry,
            ),
        }
    }

    fn event(&mut self, event: ExecutionEvent) {
        self.put(&Record::Execution(self.ts, event));
    }

    /// Placed, sent and accepted.
    pub(crate) fn place(&mut self, sequence: u64, side: Side, instrument: u32) -> NewOrder {
        let order = self.order(sequence, side, instrument);
        let id = order.client_order_id;
        self.put(&Record::Intent(order));
        let signed_at = self.ts;
        self.event(ExecutionEvent::Sent { client_order_id: id, signed_at, recv_window_ms: 5_000 });
        let ack = SubmitAck {
            venue_order_id: VenueOrderId::new(&format!("v{sequence}")).unwrap(),
            ts_event: self.ts,
            status: OrderStatus::New,
            reports: vec![],
        };
        self.event(ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)));
        order
    }

    /// One trade of an order, `cum` after it; unit: hundred-thousandths.
    pub(crate) fn fill(&mut self, order: &NewOrder, quantity: i64, cum: i64) {
        self.trades += 1;
        let quantity = Quantity::new(quantity, 5).unwrap();
        let cum_quantity = Quantity::new(cum, 5).unwrap();
        let is_full = cum_quantity == order.intent.quantity;
        let fill = Fill {
            trade_id: TradeId::new(&self.trades.to_string()).unwrap(),
            instrument: order.intent.instrument,
            side: order.intent.side,
            price: order.intent.price.unwrap(),
            quantity,
            fee: "0.00000123456789".parse().unwrap(),
            fee_asset: Asset::new("BNB").unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: self.ts,
        };
        let status = if is_full { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        self.report(order, ExecType::Trade, status, cum_quantity, Some(fill));
    }

    pub(crate) fn report(
        &mut self,
        order: &NewOrder,
        exec_type: ExecType,
        status: OrderStatus,
        cum_quantity: Quantity,
        fill: Option<Fill>,
    ) {
        self.event(ExecutionEvent::Report(ExecutionReport {
            exec_type,
            client_order_id: Some(order.client_order_id),
            venue_order_id: VenueOrderId::new(&format!("v{}", order.client_order_id.sequence)).unwrap(),
            instrument: order.intent.instrument,
            side: order.intent.side,
            status,
            quantity: order.intent.quantity,
            price: order.intent.price,
            cum_quantity,
            fill,
            ts_event: self.ts,
            ts_recv: self.ts,
            text: Default::default(),
        }));
    }

    pub(crate) fn cancel(&mut self, order: &NewOrder, filled: i64) {
        let id = order.client_order_id;
        let cancel = CancelOrder { client_order_id: id, venue_order_id: None, instrument: order.intent.instrument };
        self.put(&Record::CancelIntent { ts: self.ts, order: cancel, is_escape: false });
        let snapshot = OrderSnapshot {
            client_order_id: Some(id),
            venue_order_id: VenueOrderId::new(&format!("v{}", id.sequence)).unwrap(),
            instrument: order.intent.instrument,
            side: order.intent.side,
            order_type: Some(OrderType::Limit),
            time_in_force: Some(TimeInForce::Gtc),
            status: OrderStatus::Canceled,
            quantity: order.intent.quantity,
            price: order.intent.price,
            stop_price: None,
            cum_quantity: Quantity::new(filled, 5).unwrap(),
            cum_quote: None,
            ts_event: self.ts,
        };
        self.event(ExecutionEvent::Cancel(id, CancelOutcome::Canceled(snapshot)));
    }

    pub(crate) fn reject(&mut self, sequence: u64) {
        let order = self.order(sequence, Side::Buy, 0);
        self.put(&Record::Intent(order));
        let text = "no money".parse().unwrap();
        let reject = Reject { reason: RejectReason::InsufficientFunds, code: -2010, text };
        self.event(ExecutionEvent::Submit(order.client_order_id, SubmitOutcome::Rejected(reject)));
    }

    pub(crate) fn balances(&mut self, complete: bool, all: &[(&str, &str)]) {
        let balance = |(asset, free): &(&str, &str)| Balance {
            asset: Asset::new(asset).unwrap(),
            free: free.parse().unwrap(),
            locked: Notional::ZERO,
        };
        let (balances, ts_event) = (all.iter().map(balance).collect(), self.ts);
        self.event(ExecutionEvent::Balances { complete, balances, ts_event });
    }

    pub(crate) fn end(&mut self) {
        self.put(&Record::SessionEnd { ts: self.ts, digest: "ab".repeat(32), is_clean: true });
    }

    /// A run with one order of every fate: 12 orders, 8 fills.
    pub(crate) fn day(&mut self) {
        self.begin(&["BTCUSDT", "ETHUSDT"]);
        self.balances(true, &[("USDT", "10000.50"), ("BTC", "1"), ("DUST", "0.1")]);
        self.put(&Record::Command(self.ts, Command::Start));
        for sequence in 1..=3 {
            let order = self.place(sequence, Side::Buy, 0);
            self.fill(&order, 50, 50);
            self.fill(&order, 150, 200);
        }
        let sold = self.place(4, Side::Sell, 1);
        self.fill(&sold, 200, 200);
        let partly = self.place(5, Side::Sell, 0);
        self.fill(&partly, 40, 40);
        self.cancel(&partly, 40);
        for sequence in 6..=8 {
            let order = self.place(sequence, Side::Buy, 0);
            self.cancel(&order, 0);
        }
        self.reject(9);
        self.place(10, Side::Buy, 1);
        let unknown = self.order(11, Side::Buy, 0);
        self.put(&Record::Intent(unknown));
        self.event(ExecutionEvent::Submit(
            unknown.client_order_id,
            SubmitOutcome::Unknown(keel_model::UnknownReason::Timeout),
        ));
        let denied = self.order(12, Side::Buy, 0);
        let (control, reason) = ("RC-04".into(), "outside the collar".into());
        self.put(&Record::Decision(self.ts, Decision::Denied { order: denied, control, reason }));
        self.balances(true, &[("USDT", "9000"), ("BTC", "1.5")]);
        let latch =
            LatchRecord { name: "breaker/daily-loss".into(), is_latched: true, reason: "-5 %".into(), state: vec![] };
        self.put(&Record::Latch(self.ts, latch));
    }
}
