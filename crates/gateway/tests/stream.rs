//! Streams of journal records as a busy and unlucky bot would write them, from a seed. Shared by tests and the boot bench.
#![allow(dead_code, reason = "each user takes its part")]

use keel_model::*;
use keel_store::{Record, SessionStart};

/// Splitmix64: small, good enough, the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below.max(1)
    }
}

pub(crate) const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

pub(crate) fn instruments(symbols: &[&str]) -> Instruments {
    let mut instruments = Instruments::new();
    for symbol in symbols {
        let step = Quantity::new(1, 5).unwrap();
        let lot = instrument::LotRule { min: step, max: Quantity::from_int(9_000), step };
        instruments.upsert(Instrument {
            id: InstrumentId(0),
            symbol: symbol.parse().unwrap(),
            base: symbol[..3].parse().unwrap(),
            quote: "USDT".parse().unwrap(),
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            tick_size: Price::new(1, 2).unwrap(),
            min_price: Price::new(1, 2).unwrap(),
            max_price: Price::from_int(1_000_000),
            lot,
            market_lot: instrument::LotRule::default(),
            min_notional: Notional::from_int(5),
            min_notional_applies_to_market: true,
            max_notional: None,
            percent_price: None,
            max_open_orders: 200,
            max_open_algo_orders: 5,
        });
    }
    instruments
}

#[derive(Clone, Copy, Debug)]
struct Open {
    order: NewOrder,
    filled: i64,
}

/// The bot.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    dice: Dice,
    now_ns: u64,
    epoch: u32,
    sequence: u64,
    trade: u64,
    open: Vec<Open>,
    /// How many orders stay open.
    pub(crate) open_wanted: usize,
    /// Does it restart, repeat itself and contradict itself?
    pub(crate) is_unlucky: bool,
    queue: std::collections::VecDeque<Record>,
}

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        let mut stream = Self {
            dice: Dice(seed),
            now_ns: 1_700_000_000_000_000_000,
            epoch: 0,
            sequence: 0,
            trade: 0,
            open: Vec::new(),
            open_wanted: 12,
            is_unlucky: true,
            queue: std::collections::VecDeque::new(),
        };
        stream.begin();
        stream
    }

    fn now(&mut self) -> Timestamp {
        self.now_ns += 1_000_000 + self.dice.roll(20_000_000);
        Timestamp::from_ns(self.now_ns)
    }

    fn begin(&mut self) {
        (self.epoch, self.sequence) = (self.epoch + 1, 0);
        let ts = self.now();
        self.queue.push_back(Record::SessionStart(SessionStart {
            ts,
            instance: 7,
            epoch: self.epoch,
            mode: "paper".into(),
            program: "test".into(),
            config_hash: "0".into(),
            symbols: SYMBOLS.iter().map(|it| it.parse().unwrap()).collect(),
        }));
        let balance = |asset: &str, free: i64| Balance {
            asset: asset.parse().unwrap(),
            free: Notional::from_int(free),
            locked: Notional::ZERO,
        };
        let balances = vec![balance("USDT", 1_000_000), balance("BTC", 100), balance("ETH", 1_000)];
        self.event(ExecutionEvent::Balances { complete: true, balances, ts_event: ts });
        self.event(ExecutionEvent::OpenOrders(None, vec![]));
    }

    fn event(&mut self, event: ExecutionEvent) {
        let ts = self.now();
        self.queue.push_back(Record::Execution(ts, event));
    }

    fn intend(&mut self) {
        self.sequence += 1;
        let side = if self.dice.roll(2) == 0 { Side::Buy } else { Side::Sell };
        let (quantity, price) = (100 + self.dice.roll(900) as i64, 6_000_000 + self.dice.roll(1_000) as i64);
        let order = NewOrder {
            client_order_id: ClientOrderId { instance: 7, epoch: self.epoch, sequence: self.sequence },
            strategy: StrategyId(0),
            ts_decided: self.now(),
            intent: OrderIntent::limit(
                InstrumentId(self.dice.roll(SYMBOLS.len() as u64) as u32),
                side,
                Quantity::new(quantity, 5).unwrap(),
                Price::new(price, 2).unwrap(),
                OrderPurpose::Entry,
            ),
        };
        self.queue.push_back(Record::Intent(order));
        self.open.push(Open { order, filled: 0 });
        let id = order.client_order_id;
        let signed_at = self.now();
        if self.is_unlucky && self.dice.roll(20) == 0 {
            return self.event(ExecutionEvent::Submit(id, SubmitOutcome::Unknown(UnknownReason::Timeout)));
        }
        self.event(ExecutionEvent::Sent { client_order_id: id, signed_at, recv_window_ms: 5_000 });
        if self.is_unlucky && self.dice.roll(12) == 0 {
            let reject = Reject { reason: RejectReason::Filter, code: -1013, text: "no".parse().unwrap() };
            self.open.pop();
            return self.event(ExecutionEvent::Submit(id, SubmitOutcome::Rejected(reject)));
        }
        let ack = SubmitAck {
            venue_order_id: self.venue_id(&order),
            ts_event: signed_at,
            status: OrderStatus::New,
            reports: vec![],
        };
        self.event(ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)));
    }

    fn venue_id(&self, order: &NewOrder) -> VenueOrderId {
        let id = order.client_order_id;
        VenueOrderId::new(&format!("{}", u64::from(id.epoch) * 1_000_000_000 + id.sequence)).unwrap()
    }

    fn report(&mut self, at: usize, exec_type: ExecType, quantity: i64) {
        self.trade += 1;
        let open = &mut self.open[at];
        open.filled += quantity;
        let (order, filled) = (open.order, open.filled);
        let intent = order.intent;
        let is_full = Quantity::new(filled, 5).unwrap() >= intent.quantity;
        let ts = self.now();
        let fill = (exec_type == ExecType::Trade).then(|| Fill {
            trade_id: TradeId::new(&self.trade.to_string()).unwrap(),
            instrument: intent.instrument,
            side: intent.side,
            price: intent.price.unwrap(),
            quantity: Quantity::new(quantity, 5).unwrap(),
            fee: Notional::new(quantity.into(), 6).unwrap(),
            fee_asset: "USDT".parse().unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: ts,
        });
        let status = match exec_type {
            ExecType::Canceled => OrderStatus::Canceled,
            _ if is_full => OrderStatus::Filled,
            _ => OrderStatus::PartiallyFilled,
        };
        let report = ExecutionReport {
            exec_type,
            client_order_id: Some(order.client_order_id),
            venue_order_id: self.venue_id(&order),
            instrument: intent.instrument,
            side: intent.side,
            status,
            quantity: intent.quantity,
            price: intent.price,
            cum_quantity: Quantity::new(filled, 5).unwrap(),
            fill,
            ts_event: ts,
            ts_recv: ts,
            text: "".parse().unwrap(),
        };
        self.event(ExecutionEvent::Report(report));
        if self.is_unlucky && self.dice.roll(10) == 0 {
            // Said twice.
            self.event(ExecutionEvent::Report(report));
        }
        if status.is_terminal() {
            self.open.remove(at);
        }
    }

    fn act(&mut self) {
        if self.open.len() < self.open_wanted {
            return self.intend();
        }
        let at = self.dice.roll(self.open.len() as u64) as usize;
        let left = {
            let open = self.open[at];
            open.order.intent.quantity.mantissa() - open.filled
        };
        match self.dice.roll(100) {
            0..50 if left > 1 => {
                let quantity = if self.dice.roll(2) == 0 { left } else { 1 + self.dice.roll(left as u64 - 1) as i64 };
                self.report(at, ExecType::Trade, quantity);
            }
            0..90 => {
                let (order, ts) = (self.open[at].order, self.now());
                let cancel = CancelOrder {
                    client_order_id: order.client_order_id,
                    venue_order_id: None,
                    instrument: order.intent.instrument,
                };
                self.queue.push_back(Record::CancelIntent { ts, order: cancel, is_escape: false });
                self.report(at, ExecType::Canceled, 0);
            }
            90 if self.is_unlucky => {
                let id = self.open[at].order.client_order_id;
                self.event(ExecutionEvent::Query(id, QueryOutcome::NotFound { venue_time_before: None }));
            }
            91 if self.is_unlucky => {
                let command = [Command::Pause, Command::Resume, Command::Start][self.dice.roll(3) as usize].clone();
                let ts = self.now();
                self.queue.push_back(Record::Command(ts, command));
            }
            92 if self.is_unlucky && self.dice.roll(4) == 0 => self.begin(),
            93 if self.is_unlucky => {
                let mut event = self.open[at].order;
                event.client_order_id.instance = 99;
                let id = event.client_order_id;
                self.event(ExecutionEvent::Query(id, QueryOutcome::NotFound { venue_time_before: None }));
            }
            _ => {
                let ts_event = self.now();
                let balance = Balance {
                    asset: "USDT".parse().unwrap(),
                    free: Notional::from_int(900_000 + self.dice.roll(1_000) as i64),
                    locked: Notional::ZERO,
                };
                self.event(ExecutionEvent::Balances { complete: false, balances: vec![balance], ts_event });
            }
        }
    }
}

impl Iterator for Stream {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.queue.is_empty() {
            self.act();
        }
        self.queue.pop_front()
    }
}
