//! The judge: reads the venue's own log as it grows, compares claims of the bots with it at once, and everything at the end.
//!
//! Invariant: what is right comes from the venue's log alone; the bot is only ever asked what it believes.

use super::World;
use crate::bot::Process;
use crate::coverage::Met;
use crate::kit::{POSITION_LOTS_MAX, SCALE};
use keel_engine::Outbox;
use keel_engine::RecoveredRecord;
use keel_execution::{Alarm, Order, OrderAction, OrderManager, OrderState};
use keel_gateway::recovery::RecordCollector;
use keel_model::{ClientOrderId, InstrumentId, NewOrder, OrderType, Quantity, Side};
use keel_sim::{AccountId, ExecReport};

/// An order as the venue's log tells it.
#[derive(Clone, Debug)]
pub(crate) struct VenueOrder {
    pub(crate) order_id: u64,
    pub(crate) id: ClientOrderId,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) quantity: i64,
    pub(crate) filled: i64,
    pub(crate) trades: u32,
    pub(crate) is_open: bool,
}

/// What the venue's log has told so far about orders with our prefixes.
#[derive(Debug, Default)]
pub(crate) struct Book {
    seen: usize,
    pub(crate) orders: Vec<VenueOrder>,
}

/// A quantity in lots.
fn lots(quantity: Quantity) -> i64 {
    quantity.rescale(SCALE).map_or(i64::MIN, Quantity::mantissa)
}

/// One report of the log, as far as it matters here.
struct Line {
    order_id: u64,
    id: ClientOrderId,
    instrument: InstrumentId,
    side: Side,
    kind: OrderType,
    quantity: i64,
    cum: i64,
    is_open: bool,
    is_trade: bool,
}

fn line(report: &ExecReport) -> Option<Line> {
    let order = &report.order;
    let id: ClientOrderId = order.client_order_id.as_str().parse().ok()?;
    Some(Line {
        order_id: order.order_id,
        id,
        instrument: order.instrument,
        side: order.side,
        kind: order.order_type,
        quantity: lots(order.quantity),
        cum: lots(order.cum_quantity),
        is_open: order.state.is_open(),
        is_trade: report.trade_id.is_some(),
    })
}

impl Book {
    pub(crate) fn find(&self, id: ClientOrderId) -> Option<&VenueOrder> {
        self.orders.iter().rev().find(|order| order.id == id)
    }

    /// Net position that the trades of one bot make.
    pub(crate) fn position(&self, instance: u32, instrument: InstrumentId) -> i64 {
        let own = self.orders.iter().filter(|order| order.id.instance == instance && order.instrument == instrument);
        own.map(|order| order.filled * order.side.sign()).sum()
    }

    /// The worst position that open orders of one bot could lead to.
    fn worst(&self, instance: u32, instrument: InstrumentId) -> i64 {
        let open = |side| -> i64 {
            let own = self.orders.iter().filter(|order| {
                order.is_open && order.id.instance == instance && order.instrument == instrument && order.side == side
            });
            own.map(|order| order.quantity - order.filled).sum()
        };
        let held = self.position(instance, instrument);
        (held + open(Side::Buy)).abs().max((held - open(Side::Sell)).abs())
    }
}

impl World<'_> {
    /// Reads what the venue's log has grown by.
    pub(super) fn observe(&mut self) {
        let seen = self.book.seen;
        let (lines, length): (Vec<Line>, usize) = self.venue.with_log(|log| {
            let ours = log.iter().skip(seen).filter(|report| report.order.account == AccountId(0));
            (ours.filter_map(line).collect(), log.len())
        });
        self.book.seen = length;
        for line in lines {
            self.observe_line(&line);
        }
    }

    fn observe_line(&mut self, line: &Line) {
        let known = self.book.orders.iter().rposition(|order| order.order_id == line.order_id);
        let Some(at) = known else { return self.observe_new(line) };
        let order = &mut self.book.orders[at];
        order.filled = line.cum;
        order.is_open = line.is_open;
        if line.is_trade {
            order.trades += 1;
            self.met(Met::Trades);
            if line.kind == OrderType::StopLossLimit {
                self.met(Met::StopsTraded);
            }
        }
        self.note(|| format!("venue log: {} cum {} open {}", line.id, line.cum, line.is_open));
        self.note_late_move();
    }

    fn observe_new(&mut self, line: &Line) {
        let (id, instrument) = (line.id, line.instrument);
        self.note(|| {
            format!("venue log: {id} accepted, {:?} {} lots, open {}", line.side, line.quantity, line.is_open)
        });
        self.met(Met::OrdersAccepted);
        match line.kind {
            OrderType::StopLossLimit => self.met(Met::Stops),
            OrderType::Market => self.met(Met::Markets),
            _ => {}
        }
        if id.instance == 2 {
            self.met(Met::SecondBot);
        }
        if self.book.find(id).is_some() {
            self.bad("I1", format!("{id} was accepted twice"));
        }
        let bot = (id.instance as usize).wrapping_sub(1);
        let is_dead = self.bots.get(bot).is_some_and(|bot| bot.dead.contains(&id));
        if is_dead && self.is_judged() {
            self.bad("I5", format!("{id} was accepted after it was taken for dead"));
        }
        self.book.orders.push(VenueOrder {
            order_id: line.order_id,
            id,
            instrument,
            side: line.side,
            quantity: line.quantity,
            filled: line.cum,
            trades: u32::from(line.is_trade),
            is_open: line.is_open,
        });
        if self.is_judged() && self.book.worst(id.instance, instrument) > POSITION_LOTS_MAX {
            self.bad("I1", format!("exposure above what was approved, by {id}"));
        }
    }

    /// A bot says that an order is over: is it?
    pub(super) fn judge_move(&mut self, bot: usize, id: ClientOrderId, to: OrderState) {
        let theirs = self.book.find(id).cloned();
        match to {
            OrderState::Rejected | OrderState::NeverAccepted | OrderState::Abandoned => {
                self.bots[bot].dead.insert(id);
                if theirs.is_some() && self.is_judged() {
                    self.bad("I5", format!("{id} is {to} here, but the venue accepted it"));
                }
            }
            OrderState::Done => match theirs {
                None => self.bad("I5", format!("{id} is done here, and the venue never had it")),
                Some(theirs) => {
                    let filled = self.bots[bot].process.as_ref().and_then(|process| process.engine.orders().get(id));
                    let filled = filled.map_or(0, |order| lots(order.filled));
                    if self.is_judged() && (theirs.is_open || filled != theirs.filled) {
                        let (open, cum) = (theirs.is_open, theirs.filled);
                        self.bad("I5", format!("{id} is done here with {filled} lots; there open {open} with {cum}"));
                    }
                }
            },
            _ => {
                self.bots[bot].dead.remove(&id);
            }
        }
    }

    /// While an order is unknown, nothing may be added on its instrument.
    pub(super) fn judge_placement(&mut self, bot: usize, new: &NewOrder) {
        let Some(process) = &self.bots[bot].process else { return };
        let (intent, id) = (&new.intent, new.client_order_id);
        let unknown = {
            let mut own = process.engine.orders().open_of(intent.instrument);
            own.find(|order| order.state == OrderState::Unknown && order.id() != id).map(Order::id)
        };
        let held = lots(process.engine.portfolio().position(intent.instrument).quantity);
        if let Some(unknown) = unknown.filter(|_| held * intent.side.sign() >= 0) {
            self.bad("I1", format!("{id} adds exposure while {unknown} is unknown"));
        }
    }

    /// Nothing that the venue's promises cover may raise an alarm that holds an instrument.
    pub(super) fn judge_alarm(&mut self, bot: usize, alarm: &Alarm) {
        if matches!(alarm, Alarm::Adopted { .. }) && self.is_judged() {
            self.bad("I2", format!("bot {bot} sent an order that its journal does not hold: {alarm}"));
        }
        if alarm.holds() && self.is_judged() {
            self.bad("I5", format!("bot {bot} holds an instrument for what the venue's promises cover: {alarm}"));
        }
    }

    /// The end: everything is compared.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        if self.violation().is_some() {
            return Ok(());
        }
        self.observe();
        for bot in 0..self.bots.len() {
            if let Some((invariant, what)) = self.judge_bot(bot) {
                self.bad(invariant, format!("bot {bot}: {what}"));
                return Ok(());
            }
            self.judge_replay(bot)?;
        }
        Ok(())
    }

    fn judge_bot(&self, bot: usize) -> Option<(&'static str, String)> {
        let instance = bot as u32 + 1;
        let Some(process) = &self.bots[bot].process else { return Some(("I7", "not up after healing".into())) };
        if !process.is_started {
            return Some(("I7", format!("not started after healing: {:?}", process.engine.start_blocker())));
        }
        let orders = process.engine.orders();
        if let Some(order) = orders.open().find(|order| order.state != OrderState::Live) {
            return Some(("I7", format!("{} is still {}", order.id(), order.state)));
        }
        if let Some(order) = orders.open().find(|order| order.is_cancel_wanted) {
            return Some(("I7", format!("{} was to be cancelled and is open", order.id())));
        }
        if self.is_beyond_promise {
            return None;
        }
        for instrument in Self::instrument_ids() {
            let held = lots(process.engine.portfolio().position(instrument).quantity);
            let theirs = self.book.position(instance, instrument);
            if held != theirs {
                return Some((
                    "I3",
                    format!("position {held} lots in {}; the venue's trades make {theirs}", instrument.0),
                ));
            }
        }
        let mut trades = 0;
        for theirs in self.book.orders.iter().filter(|order| order.id.instance == instance) {
            trades += theirs.trades as usize;
            let Some(ours) = orders.get(theirs.id) else {
                return Some(("I2", format!("{} is not in our books", theirs.id)));
            };
            let filled = lots(ours.filled);
            if filled != theirs.filled {
                return Some(("I4", format!("{} filled {filled} of {} lots", theirs.id, theirs.filled)));
            }
            if (ours.state == OrderState::Live) != theirs.is_open {
                return Some(("I5", format!("{} is {} here, there open {}", theirs.id, ours.state, theirs.is_open)));
            }
        }
        let ghost = orders.open().find(|order| self.book.find(order.id()).is_none());
        if let Some(order) = ghost {
            return Some(("I5", format!("{} lives here and never was there", order.id())));
        }
        if orders.trades().len() != trades {
            return Some(("I4", format!("{} trades here, {trades} there", orders.trades().len())));
        }
        None
    }

    /// A replay moves orders, too.
    fn count_moves(&mut self, bot: usize, records: &[RecoveredRecord]) {
        let config = self.kit.engine(bot as u32 + 1, self.bots[bot].epoch + 1, self.plan.recv_window_ms);
        let mut manager = OrderManager::new(config.execution);
        let mut actions = Vec::new();
        for record in records {
            match record {
                RecoveredRecord::Intent(ts, new) => drop(manager.restore_intent(*new, *ts)),
                RecoveredRecord::Event(ts, event) => manager.on_event(event, *ts, &mut actions),
                _ => {}
            }
            for action in actions.drain(..) {
                if let OrderAction::Changed { from, to, .. } = action {
                    self.coverage.moved(from, to);
                }
            }
        }
    }

    /// I6: what the journal holds gives the same books again.
    fn judge_replay(&mut self, bot: usize) -> Result<(), String> {
        self.bots[bot].journal.write();
        let mut collector = RecordCollector::new(&self.kit.instruments);
        let mut failed = None;
        let read = self.bots[bot].journal.read(&mut |entry| {
            if let Err(error) = collector.add(entry) {
                failed = Some(error.to_string());
            }
            Ok(())
        });
        if let Some(error) = read.err().map(|error| error.to_string()).or(failed) {
            self.bad("I6", format!("bot {bot}: the journal cannot be read: {error}"));
            return Ok(());
        }
        let (epoch, window_ms) = (self.bots[bot].epoch + 1, self.plan.recv_window_ms);
        let mut again = Process::new(self.kit, bot as u32 + 1, epoch, window_ms, 0, 1, false)?;
        let records = collector.finish();
        if self.rng.below(8) == 0 {
            self.count_moves(bot, &records);
        }
        again.engine.recover(records, self.wall(bot), &mut Outbox::new());
        let Some(process) = &self.bots[bot].process else { return Ok(()) };
        let (live, again) = (&process.engine, &again.engine);
        let mut wrong = None;
        for instrument in Self::instrument_ids() {
            if again.portfolio().position(instrument) != live.portfolio().position(instrument) {
                wrong = Some(format!("position in {} differs after a replay", instrument.0));
            }
        }
        for order in live.orders().all() {
            match again.orders().get(order.id()) {
                None => wrong = Some(format!("{} is not in the journal", order.id())),
                Some(other) => {
                    let is_same = other.filled == order.filled
                        && (other.state.is_closed() == order.state.is_closed())
                        && (!order.state.is_closed() || other.state == order.state);
                    if !is_same {
                        wrong =
                            Some(format!("{} is {} after a replay and was {}", order.id(), other.state, order.state));
                    }
                }
            }
        }
        if again.orders().trades().len() != live.orders().trades().len() {
            wrong = Some("the trades differ after a replay".to_owned());
        }
        if let Some(what) = wrong {
            self.bad("I6", format!("bot {bot}: {what}"));
        }
        Ok(())
    }
}
