//! Time, the network between bot and venue, faults, crashes, and the judge.

use crate::bot::{Bot, Journal, POSITION_LOTS_MAX, Wrong};
use crate::venue::{LAG_MS_MAX, Venue, VenueOrder, VenueTrade, lots};
use keel_engine::{Effect, Notice, Outbox, RecoveredRecord};
use keel_execution::{Alarm, OrderState};
use keel_model::{
    Asset, Balance, CancelOutcome, ClientOrderId, Command, Event, ExecType, ExecutionEvent, ExecutionReport, FeedEvent,
    FeedState, InstrumentId, Level, MarketEvent, NewOrder, Notional, OrderStatus, Price, Quantity, QueryOutcome,
    Reject, RejectReason, StreamKind, SubmitAck, SubmitOutcome, Timestamp, TopOfBook, UnknownReason, VenueOrderId,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// How long the client waits for an answer; unit: milliseconds.
const ANSWER_MS_MAX: u64 = 3_000;
/// Quiet time after the last fault in which everything must be resolved; unit: milliseconds.
const HEALING_MS: u64 = 60_000;
/// The run's clock starts here, so that times before the start are times; unit: milliseconds.
const START_MS: u64 = 100_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5851_F42D_4C95_7F2D)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
    fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }
}

/// Likelihoods in parts per million, drawn per seed; a third of them is off.
#[derive(Clone, Debug, Default)]
struct Faults {
    lose_request: u64,
    lose_answer: u64,
    unsure: u64,
    reject: u64,
    late_request: u64,
    late_ms_max: u64,
    lose_news: u64,
    repeat_news: u64,
    reorder_news: u64,
    stream_down: u64,
    lag_ms_max: u64,
    skew_ms: i64,
    power: bool,
    sync_ms: u64,
    recv_window_ms: u64,
    fill_at_once: u64,
    expire: u64,
}

impl Faults {
    fn draw(rng: &mut Rng) -> Self {
        let mut on = |max: u64| if rng.below(3) == 0 { 0 } else { rng.below(max) };
        let mut faults = Self {
            lose_request: on(300_000),
            lose_answer: on(300_000),
            unsure: on(300_000),
            reject: on(200_000),
            late_request: on(300_000),
            lose_news: on(400_000),
            repeat_news: on(400_000),
            reorder_news: on(500_000),
            stream_down: on(100_000),
            lag_ms_max: on(LAG_MS_MAX),
            fill_at_once: on(600_000),
            expire: on(300_000),
            ..Self::default()
        };
        faults.late_ms_max = rng.range(100, 9_000);
        faults.skew_ms = rng.range(0, 1_800) as i64 - 900;
        faults.power = rng.below(2) == 0;
        faults.sync_ms = rng.range(0, 8);
        faults.recv_window_ms = rng.range(1_000, 6_000);
        faults
    }
}

#[derive(Clone, Debug)]
enum Request {
    Place {
        order: NewOrder,
        signed_ms: u64,
    },
    Cancel(ClientOrderId),
    /// The venue's time was answered at `time_ms`, before the question was sent.
    Query {
        id: ClientOrderId,
        time_ms: u64,
    },
    OpenOrders,
    Fills(InstrumentId, Timestamp),
    Balances,
}

#[allow(clippy::large_enum_variant, reason = "slots are reused; most of them are placements anyway")]
#[derive(Clone, Debug)]
enum Happening {
    Timer,
    Restart,
    Send(NewOrder, u32),
    Arrive(Request, u64, u32),
    Answer(ExecutionEvent, u64, u32),
    TimeOut(u64, u32),
    News(Box<ExecutionReport>, u32),
    StreamUp(u32),
    Fill(usize),
    Expire(usize),
}

pub(crate) struct World {
    now_ms: u64,
    queue: BinaryHeap<(Reverse<u64>, Reverse<u64>, usize)>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
    rng: Rng,
    faults: Faults,
    wrong: Wrong,
    pub(crate) venue: Venue,
    bot: Option<Bot>,
    journal: Journal,
    epoch: u32,
    stream_epoch: u32,
    stream_is_up: bool,
    requests: u64,
    pending: BTreeMap<u64, Request>,
    crash_at: Vec<u64>,
    steps: u64,
    is_healed: bool,
    fault_end_ms: u64,
    pub(crate) crashes: usize,
    pub(crate) unknown_total: usize,
    pub(crate) never_accepted_total: usize,
    pub(crate) violation: Option<String>,
    lines: Vec<String>,
    trace: u64,
    out: Outbox,
}

impl World {
    pub(crate) fn run(seed: u64, wrong: Wrong) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw(&mut rng);
        let mut crash_at: Vec<u64> = (0..rng.below(5)).map(|_| rng.range(1, 400)).collect();
        crash_at.sort_unstable_by_key(|step| Reverse(*step));
        crash_at.dedup();
        let fault_end_ms = START_MS + rng.range(10_000, 40_000);
        let mut world = Self {
            now_ms: START_MS,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            order: 0,
            rng,
            faults,
            wrong,
            venue: Venue::default(),
            bot: None,
            journal: Journal::default(),
            epoch: 0,
            stream_epoch: 0,
            stream_is_up: false,
            requests: 0,
            pending: BTreeMap::new(),
            crash_at,
            steps: 0,
            is_healed: false,
            fault_end_ms,
            crashes: 0,
            unknown_total: 0,
            never_accepted_total: 0,
            violation: None,
            lines: Vec::new(),
            trace: 0,
            out: Outbox::new(),
        };
        world.at(0, Happening::Restart);
        world.live();
        world.judge();
        world
    }

    pub(crate) fn transcript(&self) -> String {
        let from = self.lines.len().saturating_sub(150);
        self.lines[from..].join("\n")
    }

    pub(crate) const fn trace(&self) -> u64 {
        self.trace
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now_ms - START_MS, line());
        for byte in line.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.lines.push(line);
    }

    fn bad(&mut self, what: String) {
        if self.violation.is_none() {
            self.note(|| format!("VIOLATION {what}"));
            self.violation = Some(what);
        }
    }

    fn at(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.happenings[slot] = Some(happening);
                slot
            }
            None => {
                self.happenings.push(Some(happening));
                self.happenings.len() - 1
            }
        };
        self.queue.push((Reverse(self.now_ms + delay_ms), Reverse(self.order), slot));
    }

    fn chance(&mut self, ppm: u64) -> bool {
        !self.is_healed && self.rng.below(1_000_000) < ppm
    }

    fn live(&mut self) {
        let end_ms = self.fault_end_ms + HEALING_MS;
        while let Some((Reverse(at_ms), _, slot)) = self.queue.pop() {
            self.now_ms = at_ms;
            let happening = self.happenings[slot].take().unwrap();
            self.free.push(slot);
            if self.violation.is_some() || at_ms > end_ms {
                return;
            }
            if at_ms >= self.fault_end_ms && !self.is_healed {
                self.is_healed = true;
                self.quiet();
            }
            self.happen(happening);
        }
    }

    fn quiet(&mut self) {
        if let Some(bot) = &self.bot {
            bot.mood.lock().unwrap().is_active = false;
        }
    }

    fn happen(&mut self, happening: Happening) {
        let epoch = self.epoch;
        match happening {
            Happening::Restart => self.boot(),
            Happening::Timer => self.timer(),
            Happening::Send(order, of) if of == epoch => self.send_placement(order),
            Happening::Arrive(request, number, of) => self.arrive(request, number, of),
            Happening::Answer(event, number, of) if of == epoch => {
                if self.pending.remove(&number).is_some() {
                    self.tell(event);
                }
            }
            Happening::TimeOut(number, of) if of == epoch => {
                if let Some(request) = self.pending.remove(&number) {
                    self.time_out(request);
                }
            }
            Happening::News(report, of) if of == self.stream_epoch && self.bot.is_some() => {
                self.tell(ExecutionEvent::Report(*report));
            }
            Happening::StreamUp(of) if of == self.stream_epoch && self.bot.is_some() => {
                self.stream_is_up = true;
                self.feed(FeedState::Live);
            }
            Happening::Fill(order) => self.fill(order),
            Happening::Expire(order) => {
                if !self.venue.orders[order].status.is_terminal() {
                    self.venue.orders[order].status = OrderStatus::Expired;
                    self.news(order, ExecType::Expired, None);
                }
            }
            // Of a process, a request or a stream that is gone.
            Happening::Send(..)
            | Happening::Answer(..)
            | Happening::TimeOut(..)
            | Happening::News(..)
            | Happening::StreamUp(_) => {}
        }
    }

    // ── The bot's side ──

    /// The bot's clock runs off by the skew.
    fn bot_now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.saturating_add_signed(self.faults.skew_ms))
    }

    /// A moment at which the bot may die.
    fn may_crash(&mut self) -> bool {
        if self.is_healed || self.bot.is_none() {
            return self.bot.is_none();
        }
        self.steps += 1;
        if self.crash_at.last() != Some(&self.steps) {
            return false;
        }
        self.crash_at.pop();
        self.crashes += 1;
        self.note(|| "crash".into());
        self.bot = None;
        self.pending.clear();
        self.stream_epoch += 1;
        self.stream_is_up = false;
        if self.faults.power {
            self.journal.lose_power(&mut self.rng);
        }
        let delay_ms = self.rng.range(1, 4_000);
        self.at(delay_ms, Happening::Restart);
        true
    }

    fn boot(&mut self) {
        self.epoch += 1;
        self.stream_epoch += 1;
        self.stream_is_up = true;
        let seed = self.rng.next();
        let mut bot = Bot::new(self.epoch, self.faults.recv_window_ms, seed, self.wrong);
        bot.mood.lock().unwrap().is_active = !self.is_healed;
        let records = if self.wrong == Wrong::ForgetJournal { Vec::new() } else { self.journal.records.clone() };
        self.note(|| format!("boot with {} records", records.len()));
        let (now, mut out) = (self.bot_now(), std::mem::take(&mut self.out));
        bot.engine.recover(records, now, &mut out);
        self.bot = Some(bot);
        self.work_off(out);
        for instrument in 0..2 {
            self.quote(InstrumentId(instrument));
        }
        self.at(50, Happening::Timer);
    }

    fn process(&mut self, event: &Event) {
        let mut out = std::mem::take(&mut self.out);
        if let Some(bot) = &mut self.bot {
            bot.engine.process(event, &mut out);
        }
        self.work_off(out);
    }

    fn quote(&mut self, instrument: InstrumentId) {
        let level = |at| Level { price: Price::new(at, 2).unwrap(), quantity: Quantity::from_int(1) };
        let (bid, ask) = (level(9_999), level(10_001));
        let top = TopOfBook { instrument, ts_event: Timestamp::ZERO, ts_recv: self.bot_now(), update_id: 0, bid, ask };
        self.process(&Event::Market(MarketEvent::TopOfBook(top)));
    }

    fn feed(&mut self, state: FeedState) {
        self.process(&Event::Feed(self.bot_now(), FeedEvent::State(StreamKind::Account, state)));
    }

    fn timer(&mut self) {
        if self.bot.is_none() {
            return;
        }
        self.at(50, Happening::Timer);
        if self.stream_is_up && self.chance(self.faults.stream_down / 10) {
            self.stream_is_up = false;
            self.stream_epoch += 1;
            let (of, delay_ms) = (self.stream_epoch, self.rng.range(50, 3_000));
            self.at(delay_ms, Happening::StreamUp(of));
            self.feed(FeedState::Down);
        }
        let now = self.bot_now();
        self.process(&Event::Timer(now));
        let is_ready = self.bot.as_ref().is_some_and(|bot| !bot.is_started && bot.engine.start_blocker().is_none());
        if is_ready {
            self.process(&Event::Command(now, Command::Start));
            if let Some(bot) = &mut self.bot {
                bot.is_started = true;
            }
        }
    }

    /// News reach the journal, then the engine.
    fn tell(&mut self, event: ExecutionEvent) {
        if self.bot.is_none() || self.may_crash() {
            return;
        }
        self.note(|| format!("event {}", short(&event)));
        let now = self.bot_now();
        self.journal.append(RecoveredRecord::Event(now, event.clone()));
        if self.may_crash() {
            return;
        }
        self.process(&Event::Execution(now, event));
    }

    fn work_off(&mut self, mut out: Outbox) {
        let effects: Vec<Effect> = out.drain().collect();
        self.out = out;
        for effect in effects {
            if self.bot.is_none() {
                return;
            }
            match effect {
                Effect::Submit(order) => self.submit(*order.get()),
                Effect::Replace(_) => self.bad("a replacement in one request for a venue that has none".into()),
                Effect::Cancel(cancel) => self.send(Request::Cancel(cancel.client_order_id)),
                Effect::Query(query) => {
                    // The venue's time first, then the question.
                    let time_ms = match self.wrong {
                        Wrong::NotFoundProves => self.now_ms + 1_000_000,
                        Wrong::FenceByLocalClock => self.bot_now().as_ms(),
                        _ => self.now_ms,
                    };
                    self.send(Request::Query { id: query.client_order_id, time_ms });
                }
                Effect::FetchOpenOrders(_) => self.send(Request::OpenOrders),
                Effect::FetchFills(instrument, since) => self.send(Request::Fills(instrument, since)),
                Effect::FetchBalances => self.send(Request::Balances),
                Effect::Notify(notice) => self.notice(&notice),
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Order { id, from, to, .. } => {
                self.note(|| format!("order {id} {from} -> {to}"));
                self.unknown_total += usize::from(*to == OrderState::Unknown);
                self.never_accepted_total += usize::from(*to == OrderState::NeverAccepted);
                let is_dead = matches!(to, OrderState::NeverAccepted | OrderState::Rejected | OrderState::Abandoned);
                if let Some(bot) = self.bot.as_mut().filter(|_| is_dead) {
                    bot.dead.insert(*id);
                }
            }
            Notice::Fill { id, fill, .. } => self.note(|| format!("fill {id} {} {}", fill.trade_id, fill.quantity)),
            Notice::Alarm { alarm, .. } => {
                self.note(|| format!("alarm {alarm}"));
                if matches!(alarm, Alarm::Resurrected { .. } | Alarm::Conflict { .. } | Alarm::IdClash { .. }) {
                    self.bad(format!("I5 {alarm}"));
                }
            }
            Notice::Denied(..) | Notice::DeniedMore { .. } => {}
            other => self.note(|| format!("{other:?}")),
        }
    }

    /// The intent is durable before the first byte leaves.
    fn submit(&mut self, order: NewOrder) {
        if self.may_crash() {
            return;
        }
        if self.wrong == Wrong::PersistAfterSend {
            self.send_placement(order);
            self.journal.append(RecoveredRecord::Intent(self.bot_now(), order));
            return;
        }
        self.journal.append(RecoveredRecord::Intent(self.bot_now(), order));
        if self.may_crash() {
            return;
        }
        let (delay_ms, epoch) = (self.faults.sync_ms, self.epoch);
        self.at(delay_ms, Happening::Send(order, epoch));
    }

    fn send_placement(&mut self, order: NewOrder) {
        if self.wrong != Wrong::PersistAfterSend {
            self.journal.sync();
        }
        if self.may_crash() {
            return;
        }
        // Signed with what the bot takes for the venue's clock.
        let signed_ms = self.bot_now().as_ms();
        let (client_order_id, signed_at) = (order.client_order_id, Timestamp::from_ms(signed_ms));
        self.tell(ExecutionEvent::Sent { client_order_id, signed_at, recv_window_ms: self.faults.recv_window_ms });
        if self.bot.is_some() {
            self.note(|| format!("send {client_order_id} {:?} {}", order.intent.side, order.intent.quantity));
            self.send(Request::Place { order, signed_ms });
            self.may_crash();
        }
    }

    fn send(&mut self, request: Request) {
        self.requests += 1;
        let (number, epoch) = (self.requests, self.epoch);
        let is_placement = matches!(request, Request::Place { .. });
        self.pending.insert(number, request.clone());
        if !self.chance(self.faults.lose_request) {
            let is_late = is_placement && self.chance(self.faults.late_request);
            let delay_ms = if is_late { self.rng.range(50, self.faults.late_ms_max) } else { self.rng.range(2, 60) };
            self.at(delay_ms, Happening::Arrive(request, number, epoch));
        }
        self.at(ANSWER_MS_MAX, Happening::TimeOut(number, epoch));
    }

    /// The client's deadline has passed: what it tells the engine then.
    fn time_out(&mut self, request: Request) {
        let event = match request {
            Request::Place { order, .. } => {
                let outcome = match self.wrong {
                    Wrong::TimeoutIsRefusal => SubmitOutcome::Rejected(refusal(RejectReason::Other)),
                    _ => SubmitOutcome::Unknown(UnknownReason::Timeout),
                };
                if self.wrong == Wrong::ResendOnTimeout {
                    let signed_ms = self.bot_now().as_ms();
                    self.send(Request::Place { order, signed_ms });
                }
                ExecutionEvent::Submit(order.client_order_id, outcome)
            }
            Request::Cancel(id) => ExecutionEvent::Cancel(id, CancelOutcome::Unknown(UnknownReason::Timeout)),
            Request::Query { id, .. } => ExecutionEvent::Query(id, QueryOutcome::Unknown(UnknownReason::Timeout)),
            // Nobody answers; the engine asks again in its own time.
            Request::OpenOrders | Request::Fills(..) | Request::Balances => return,
        };
        self.tell(event);
    }

    // ── The venue's side ──

    fn arrive(&mut self, request: Request, number: u64, epoch: u32) {
        let answer = match &request {
            Request::Place { order, signed_ms } => self.accept(order, *signed_ms),
            Request::Cancel(id) => self.cancel(*id),
            Request::Query { id, time_ms } => {
                let outcome = match self.venue.visible(*id, self.now_ms) {
                    Some(order) => QueryOutcome::Found(self.venue.snapshot(order, self.now_ms)),
                    None => QueryOutcome::NotFound { venue_time_before: Some(Timestamp::from_ms(*time_ms)) },
                };
                ExecutionEvent::Query(*id, outcome)
            }
            Request::OpenOrders => ExecutionEvent::OpenOrders(None, self.venue.visible_open(self.now_ms)),
            Request::Fills(instrument, since) => {
                ExecutionEvent::Fills(self.venue.visible_fills(*instrument, *since, self.now_ms))
            }
            Request::Balances => {
                let free = Notional::from_int(1_000_000);
                let of = |name: &str| Balance { asset: Asset::new(name).unwrap(), free, locked: Notional::ZERO };
                let balances = vec![of("USDT"), of("A"), of("B")];
                ExecutionEvent::Balances { complete: true, balances, ts_event: Timestamp::from_ms(self.now_ms) }
            }
        };
        if self.chance(self.faults.lose_answer) {
            return;
        }
        let answer = if self.chance(self.faults.unsure) { unsure(&request).unwrap_or(answer) } else { answer };
        let delay_ms = self.rng.range(2, 60);
        self.at(delay_ms, Happening::Answer(answer, number, epoch));
    }

    fn accept(&mut self, order: &NewOrder, signed_ms: u64) -> ExecutionEvent {
        let id = order.client_order_id;
        let rejected = |reason| ExecutionEvent::Submit(id, SubmitOutcome::Rejected(refusal(reason)));
        let is_in_window =
            signed_ms <= self.now_ms + 1_000 && self.now_ms.saturating_sub(signed_ms) <= self.faults.recv_window_ms;
        if !is_in_window {
            return rejected(RejectReason::Timestamp);
        }
        if self.venue.orders.iter().any(|known| known.id == id && !known.status.is_terminal()) {
            return rejected(RejectReason::DuplicateId);
        }
        if self.chance(self.faults.reject) {
            return rejected(RejectReason::InsufficientFunds);
        }
        if self.venue.orders.iter().any(|known| known.id == id) {
            self.bad(format!("I1 {id} was accepted twice"));
        }
        if self.bot.as_ref().is_some_and(|bot| bot.dead.contains(&id)) {
            self.bad(format!("I5 {id} was accepted after it was taken for dead"));
        }
        self.note(|| format!("venue accepts {id}"));
        let visible_ms = self.now_ms + self.rng.below(self.lag_ms() + 1);
        self.venue.orders.push(VenueOrder {
            id,
            instrument: order.intent.instrument,
            side: order.intent.side,
            price: order.intent.price.unwrap(),
            quantity: order.intent.quantity.rescale(2).unwrap().mantissa(),
            filled: 0,
            status: OrderStatus::New,
            visible_ms,
        });
        let (at, instrument) = (self.venue.orders.len() - 1, order.intent.instrument);
        if self.venue.worst(instrument) > POSITION_LOTS_MAX {
            self.bad(format!("I1 exposure above what was approved, by {id}"));
        }
        self.news(at, ExecType::New, None);
        if self.chance(self.faults.fill_at_once) {
            self.fill(at);
        }
        let delay_ms = self.rng.range(20, 6_000);
        self.at(delay_ms, Happening::Fill(at));
        if self.chance(self.faults.expire) {
            let delay_ms = self.rng.range(10, 3_000);
            self.at(delay_ms, Happening::Expire(at));
        }
        let ack = SubmitAck {
            venue_order_id: VenueOrderId::new(&(at + 1).to_string()).unwrap(),
            ts_event: Timestamp::from_ms(self.now_ms),
            status: OrderStatus::New,
            reports: vec![],
        };
        ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack))
    }

    fn cancel(&mut self, id: ClientOrderId) -> ExecutionEvent {
        let open = self.venue.orders.iter().position(|order| order.id == id && !order.status.is_terminal());
        let outcome = match open {
            Some(order) => {
                self.venue.orders[order].status = OrderStatus::Canceled;
                self.note(|| format!("venue cancels {id}"));
                self.news(order, ExecType::Canceled, None);
                CancelOutcome::Canceled(self.venue.snapshot(order, self.now_ms))
            }
            None if self.wrong == Wrong::CancelRejectIsCanceled => {
                let known = self.venue.orders.iter().position(|order| order.id == id);
                match known {
                    Some(order) => {
                        let mut snapshot = self.venue.snapshot(order, self.now_ms);
                        (snapshot.status, snapshot.cum_quantity) = (OrderStatus::Canceled, Quantity::ZERO);
                        CancelOutcome::Canceled(snapshot)
                    }
                    None => CancelOutcome::Rejected(refusal(RejectReason::UnknownOrder)),
                }
            }
            None => CancelOutcome::Rejected(refusal(RejectReason::UnknownOrder)),
        };
        ExecutionEvent::Cancel(id, outcome)
    }

    fn lag_ms(&self) -> u64 {
        if self.is_healed { 0 } else { self.faults.lag_ms_max }
    }

    fn fill(&mut self, order: usize) {
        let known = &self.venue.orders[order];
        let left = known.quantity - known.filled;
        if known.status.is_terminal() || left == 0 || self.is_healed {
            return;
        }
        let quantity = self.rng.range(1, left as u64) as i64;
        let visible_ms = self.now_ms + self.rng.below(self.lag_ms() + 1);
        self.venue.trades.push(VenueTrade { order, quantity, ts_ms: self.now_ms, visible_ms });
        let known = &mut self.venue.orders[order];
        known.filled += quantity;
        known.status = if known.filled == known.quantity { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        self.venue.position[known.instrument.index()] += quantity * known.side.sign();
        let (id, trade) = (known.id, self.venue.trades.len() - 1);
        self.note(|| format!("venue fills {id} by {quantity}"));
        self.news(order, ExecType::Trade, Some(trade));
        let delay_ms = self.rng.range(5, 2_500);
        self.at(delay_ms, Happening::Fill(order));
    }

    fn news(&mut self, order: usize, exec_type: ExecType, trade: Option<usize>) {
        if !self.stream_is_up || self.chance(self.faults.lose_news) {
            return;
        }
        let report = Box::new(self.venue.report(order, exec_type, trade, self.now_ms));
        let of = self.stream_epoch;
        let delay_ms =
            if self.chance(self.faults.reorder_news) { self.rng.range(1, 1_500) } else { self.rng.range(1, 20) };
        self.at(delay_ms, Happening::News(report.clone(), of));
        if self.chance(self.faults.repeat_news) {
            let delay_ms = self.rng.range(1, 1_500);
            self.at(delay_ms, Happening::News(report, of));
        }
    }

    // ── The judge ──

    fn judge(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let Some(bot) = self.bot.take() else { return self.bad("I7 not up after healing".into()) };
        if !bot.is_started {
            return self.bad(format!("I7 not started after healing: {:?}", bot.engine.start_blocker()));
        }
        let orders = bot.engine.orders();
        if let Some(order) = orders.open().find(|order| order.state != OrderState::Live) {
            return self.bad(format!("I7 {} is still {}", order.id(), order.state));
        }
        for instrument in 0..2 {
            let held = bot.engine.portfolio().position(InstrumentId(instrument)).quantity;
            if held != lots(self.venue.position[instrument as usize]) {
                return self.bad(format!("I3 position {held} differs from the venue's"));
            }
        }
        let mut known = BTreeSet::new();
        for theirs in self.venue.orders.clone() {
            known.insert(theirs.id);
            match orders.get(theirs.id) {
                None => return self.bad(format!("I2 {} is not in our books", theirs.id)),
                Some(ours) if ours.filled != lots(theirs.filled) => {
                    return self.bad(format!("I4 {} filled {} of {}", theirs.id, ours.filled, lots(theirs.filled)));
                }
                Some(ours) if (ours.state == OrderState::Live) == theirs.status.is_terminal() => {
                    return self.bad(format!("I5 {} is {} here and {:?} there", theirs.id, ours.state, theirs.status));
                }
                Some(_) => {}
            }
        }
        let ghost =
            orders.all().into_iter().find(|order| order.state == OrderState::Live && !known.contains(&order.id()));
        if let Some(order) = ghost {
            return self.bad(format!("I5 {} lives here and never was there", order.id()));
        }
        if orders.trades().len() != self.venue.trades.len() {
            return self.bad("I4 trades differ".into());
        }
        // I6: what the journal holds gives the same positions again.
        if matches!(self.wrong, Wrong::Nothing) {
            let mut again = Bot::new(self.epoch + 1, self.faults.recv_window_ms, 0, self.wrong);
            again.engine.recover(self.journal.records.clone(), self.bot_now(), &mut Outbox::new());
            for instrument in [InstrumentId(0), InstrumentId(1)] {
                if again.engine.portfolio().position(instrument) != bot.engine.portfolio().position(instrument) {
                    return self.bad("I6 the journal does not give the position back".into());
                }
            }
        }
        self.bot = Some(bot);
    }
}

fn refusal(reason: RejectReason) -> Reject {
    Reject { reason, code: 0, text: keel_model::order::ReasonText::EMPTY }
}

/// The answer of a venue that is not sure of itself, although it did what it was asked.
fn unsure(request: &Request) -> Option<ExecutionEvent> {
    let why = UnknownReason::VenueUnsure;
    match request {
        Request::Place { order, .. } => {
            Some(ExecutionEvent::Submit(order.client_order_id, SubmitOutcome::Unknown(why)))
        }
        Request::Cancel(id) => Some(ExecutionEvent::Cancel(*id, CancelOutcome::Unknown(why))),
        Request::Query { id, .. } => Some(ExecutionEvent::Query(*id, QueryOutcome::Unknown(why))),
        Request::OpenOrders | Request::Fills(..) | Request::Balances => None,
    }
}

fn short(event: &ExecutionEvent) -> String {
    match event {
        ExecutionEvent::Report(report) => format!(
            "report {:?} {:?} cum {} {}",
            report.exec_type,
            report.status,
            report.cum_quantity,
            report.client_order_id.unwrap_or_default()
        ),
        ExecutionEvent::Fills(fills) => format!("{} fills", fills.len()),
        ExecutionEvent::OpenOrders(_, orders) => format!("{} open orders", orders.len()),
        ExecutionEvent::Balances { .. } => "balances".into(),
        ExecutionEvent::Query(id, QueryOutcome::Found(order)) => {
            format!("found {id} {:?} cum {}", order.status, order.cum_quantity)
        }
        other => format!("{other:?}"),
    }
}
