//! What a process does with itself: events into journal and engine, effects out, the disk, the end.
//!
//! Invariants: what the engine hears goes into the journal first, in the same order; an intent is durable before its first
//! byte leaves; a process that dies does nothing any more.

use super::{Happening, TICK_MS, World};
use crate::bot::{Ask, Placement, Stage};
use crate::coverage::{CrashPoint, Met};
use keel_engine::{Effect, Notice};
use keel_execution::{Alarm, OrderState};
use keel_model::mutant;
use keel_model::{Command, Event, ExecType, ExecutionEvent, FeedEvent, StreamKind, SubmitOutcome};
use keel_sim::Fault;
use keel_store::image::Tear;
use keel_store::{Durability, Record};

impl World<'_> {
    /// News of an order after the faults: only a comparison that begins later knows what followed from it.
    fn note_late_news(&mut self, bot: usize, event: &ExecutionEvent) {
        let is_news = matches!(
            event,
            ExecutionEvent::Submit(..)
                | ExecutionEvent::Cancel(..)
                | ExecutionEvent::Replace { .. }
                | ExecutionEvent::Query(..)
                | ExecutionEvent::Report(_)
        );
        if let Some(process) = self.bots[bot].process.as_mut().filter(|_| is_news) {
            (process.is_compared, process.is_comparing) = (false, false);
        }
    }

    /// The venue has moved an order: whoever compared before has not seen it.
    pub(super) fn note_late_move(&mut self) {
        for process in self.bots.iter_mut().filter_map(|bot| bot.process.as_mut()) {
            (process.is_compared, process.is_comparing) = (false, false);
        }
    }

    // ── Dying ──

    /// A moment at which the process may die; says whether it is dead.
    pub(super) fn may_die(&mut self, bot: usize, point: CrashPoint) -> bool {
        if self.bots[bot].process.is_none() {
            return true;
        }
        if self.is_healed {
            return false;
        }
        let known = &mut self.bots[bot];
        known.point_counts[point as usize] += 1;
        let count = known.point_counts[point as usize];
        let Some(at) = known.crash_plan.iter().position(|(planned, nth)| *planned == point && *nth == count) else {
            return false;
        };
        let chance = self.plan.chance(Fault::Crash).max(self.plan.chance(Fault::PowerLoss));
        if chance == 0 {
            return false;
        }
        self.bots[bot].crash_plan.swap_remove(at);
        self.coverage.crash(point);
        self.die(bot);
        self.note(|| format!("bot {bot} dies at {point:?}"));
        true
    }

    fn die(&mut self, bot: usize) {
        let is_power = (self.durability == Durability::Power || self.plan.is_byzantine)
            && self.plan.chance(Fault::PowerLoss) > 0
            && { self.plan.chance(Fault::Crash) == 0 || self.rng.below(2) == 0 };
        let known = &mut self.bots[bot];
        known.process = None;
        if is_power {
            self.coverage.fault(Fault::PowerLoss);
            let mut tear = match self.rng.below(4) {
                0 => Tear::Nothing,
                1 => Tear::Everything,
                2 => Tear::Cut(self.rng.below(256) as u8),
                _ => Tear::Sectors(self.rng.next_u64()),
            };
            if self.durability != Durability::Power {
                // Many batches were written and never synced: the policy does not promise that any survives.
                self.is_beyond_promise = true;
                tear = Tear::Cut(self.rng.below(256) as u8);
            }
            self.bots[bot].journal.lose_power(tear);
        } else {
            self.coverage.fault(Fault::Crash);
            known.journal.end_process();
        }
        self.mix(&[0xdd, bot as u8]);
        let delay_ms = self.between(1, 3_000);
        self.at(delay_ms, Happening::Boot(bot));
    }

    // ── The disk ──

    pub(super) fn append(&mut self, bot: usize, record: &Record) -> u64 {
        let place = match self.bots[bot].journal.append(record) {
            Ok(place) => place,
            Err(error) => {
                self.bad("I2", format!("the journal refuses a record: {error}"));
                return u64::MAX;
            }
        };
        let epoch = self.bots[bot].epoch;
        if self.durability == Durability::Process && record.is_intent() {
            self.bots[bot].journal.write();
            return place;
        }
        let Some(process) = &mut self.bots[bot].process else { return place };
        if !process.is_disk_busy {
            process.is_disk_busy = true;
            let delay_ms = if self.durability == Durability::Process { 2 } else { 1 };
            self.at(delay_ms, Happening::DiskWrite(bot, epoch));
        }
        place
    }

    pub(super) fn disk_write(&mut self, bot: usize) {
        self.bots[bot].journal.write();
        if self.may_die(bot, CrashPoint::BatchWritten) {
            return;
        }
        let (delay_ms, epoch) = (self.plan.sync_ms, self.bots[bot].epoch);
        match self.durability {
            Durability::Power if delay_ms > 0 => self.at(delay_ms, Happening::DiskSynced(bot, epoch)),
            Durability::Power => self.disk_synced(bot),
            Durability::Process | Durability::Lease => self.disk_done(bot),
        }
    }

    pub(super) fn disk_synced(&mut self, bot: usize) {
        self.bots[bot].journal.sync();
        self.disk_done(bot);
    }

    fn disk_done(&mut self, bot: usize) {
        let epoch = self.bots[bot].epoch;
        let is_more = self.bots[bot].journal.is_waiting();
        if let Some(process) = &mut self.bots[bot].process {
            process.is_disk_busy = is_more;
        }
        if is_more {
            self.at(1, Happening::DiskWrite(bot, epoch));
        }
        self.send_durable(bot);
        self.drain(bot);
    }

    /// Sends what has become durable.
    fn send_durable(&mut self, bot: usize) {
        loop {
            let durable = self.bots[bot].journal.durable();
            let Some(process) = &mut self.bots[bot].process else { return };
            let Some((place, placement)) = process.waiting.front().copied().filter(|(place, _)| *place <= durable)
            else {
                return;
            };
            debug_assert!(place <= durable, "an intent is durable before it is sent");
            process.waiting.pop_front();
            if self.may_die(bot, CrashPoint::IntentDurable) {
                return;
            }
            let id = placement.new_order().client_order_id;
            let Some(process) = &mut self.bots[bot].process else { return };
            if !process.is_started {
                let outcome = SubmitOutcome::NotSent(keel_model::NotSentReason::GateClosed);
                process.lane.push_back(ExecutionEvent::Submit(id, outcome));
                continue;
            }
            process.lane.push_back(ExecutionEvent::Armed(id));
            match placement {
                Placement::One(order) => self.ask(bot, Ask::Submit(order), Stage::Main),
                Placement::Replace(replace) => self.ask(bot, Ask::Replace(replace), Stage::Main),
            }
        }
    }

    fn place(&mut self, bot: usize, placement: Placement) {
        if self.may_die(bot, CrashPoint::BeforeIntent) {
            return;
        }
        self.judge_placement(bot, placement.new_order());
        let record = match placement {
            Placement::One(order) => Record::Intent(order),
            Placement::Replace(replace) => Record::ReplaceIntent(replace),
        };
        if mutant!(84, false, true) {
            // Sent first, written down afterwards.
            if let Some(process) = &mut self.bots[bot].process {
                process.waiting.push_back((0, placement));
            }
            self.send_durable(bot);
            self.append(bot, &record);
            return;
        }
        let place = self.append(bot, &record);
        if self.may_die(bot, CrashPoint::IntentAppended) {
            return;
        }
        if let Some(process) = &mut self.bots[bot].process {
            process.waiting.push_back((place, placement));
        }
        self.send_durable(bot);
    }

    // ── The engine ──

    /// Gives the engine what waits in the execution lane, until nothing does.
    pub(super) fn drain(&mut self, bot: usize) {
        loop {
            let Some(process) = &mut self.bots[bot].process else { return };
            if process.records.is_some() {
                // Not recovered yet: the account stream is not up.
                return;
            }
            if let Some(event) = process.lane.pop_front() {
                self.tell(bot, event);
            } else if let Some(state) = process.states.pop_front() {
                let now = self.wall(bot);
                self.step(bot, &Event::Feed(now, FeedEvent::State(StreamKind::Account, state)));
            } else {
                return;
            }
        }
    }

    fn tell(&mut self, bot: usize, event: ExecutionEvent) {
        let is_fill = match &event {
            ExecutionEvent::Report(report) => report.exec_type == ExecType::Trade,
            ExecutionEvent::FillsOf { fills, .. } => !fills.is_empty(),
            _ => false,
        };
        let (before, after) = if is_fill {
            (CrashPoint::FillBeforeAppend, CrashPoint::FillAppended)
        } else {
            (CrashPoint::AnswerBeforeAppend, CrashPoint::AnswerAppended)
        };
        let is_answer = !matches!(event, ExecutionEvent::Armed(_) | ExecutionEvent::Sent { .. });
        if is_answer && self.may_die(bot, before) {
            return;
        }
        self.note(|| format!("bot {bot} hears {}", short(&event)));
        self.note_late_news(bot, &event);
        self.count(bot, &event);
        let now = self.wall(bot);
        let is_kept = mutant!(86, true, !matches!(event, ExecutionEvent::Report(_)));
        if is_kept && !matches!(event, ExecutionEvent::Armed(_)) {
            self.append(bot, &Record::Execution(now, event.clone()));
        }
        if let Some(process) = &mut self.bots[bot].process {
            process.note_answer(&event);
        }
        let is_start = self.bots[bot].process.as_ref().is_some_and(|process| !process.is_started);
        let is_part_of_start = is_start
            && matches!(
                event,
                ExecutionEvent::OpenOrders(..) | ExecutionEvent::FillsOf { .. } | ExecutionEvent::Balances { .. }
            );
        if is_part_of_start && self.may_die(bot, CrashPoint::BootReconciling) {
            return;
        }
        if is_answer && self.may_die(bot, after) {
            return;
        }
        self.step(bot, &Event::Execution(now, event));
    }

    fn count(&mut self, bot: usize, event: &ExecutionEvent) {
        match event {
            ExecutionEvent::Report(report) => {
                let Some(id) = report.client_order_id else { return };
                let Some(process) = &self.bots[bot].process else { return };
                let state = process.engine.orders().get(id).map(|order| order.state);
                if state == Some(OrderState::Sent) {
                    self.met(Met::ReportsFirst);
                }
            }
            ExecutionEvent::Submit(_, SubmitOutcome::Rejected(reject))
                if reject.reason == keel_model::RejectReason::Timestamp =>
            {
                self.met(Met::RefusedTime);
            }
            ExecutionEvent::Cancel(_, keel_model::CancelOutcome::Rejected(_)) => self.met(Met::CancelRaces),
            ExecutionEvent::Replace { outcome, .. } => {
                let is_canceled = matches!(outcome.cancel, keel_model::CancelOutcome::Canceled(_));
                if is_canceled && matches!(outcome.new, SubmitOutcome::Rejected(_)) {
                    self.met(Met::HalfReplaces);
                }
            }
            _ => {}
        }
    }

    /// One event for the engine, and what follows from it.
    pub(super) fn step(&mut self, bot: usize, event: &Event) {
        let Some(process) = &mut self.bots[bot].process else { return };
        process.engine.process(event, &mut process.out);
        self.work_off(bot);
        if !matches!(event, Event::Market(_)) {
            self.start_if_ready(bot);
        }
    }

    fn start_if_ready(&mut self, bot: usize) {
        let now = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        if process.is_started || process.records.is_some() || process.engine.start_blocker().is_some() {
            return;
        }
        process.is_started = true;
        let answered = process.answered;
        if answered.contains(&false) {
            self.bad("I2", format!("bot {bot} trades before the venue has answered everything: {answered:?}"));
        }
        let command = Command::Start;
        self.append(bot, &Record::Command(now, command.clone()));
        self.note(|| format!("bot {bot} starts to trade"));
        let Some(process) = &mut self.bots[bot].process else { return };
        process.engine.process(&Event::Command(now, command), &mut process.out);
        self.work_off(bot);
    }

    pub(super) fn work_off(&mut self, bot: usize) {
        let Some(process) = &mut self.bots[bot].process else { return };
        if process.out.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut process.out);
        let mut is_end = false;
        for effect in out.drain() {
            if let Effect::Notify(Notice::Order { to: OrderState::Done, .. }) = effect {
                is_end = true;
                if self.may_die(bot, CrashPoint::EndApplied) {
                    return;
                }
            }
            self.effect(bot, effect);
            if self.bots[bot].process.is_none() {
                return;
            }
        }
        if is_end && self.may_die(bot, CrashPoint::EndWorkedOff) {
            return;
        }
        if let Some(process) = &mut self.bots[bot].process {
            process.out = out;
        }
    }

    fn effect(&mut self, bot: usize, effect: Effect) {
        match effect {
            Effect::Submit(order) => self.place(bot, Placement::One(order.into_inner())),
            Effect::Replace(replace) => {
                self.met(Met::Replaces);
                self.place(bot, Placement::Replace(replace.into_inner()));
            }
            Effect::Cancel(cancel) => {
                self.met(Met::Cancels);
                let ts = self.wall(bot);
                self.append(bot, &Record::CancelIntent { ts, order: cancel, is_escape: false });
                self.ask(bot, Ask::Cancel(cancel), Stage::Main);
            }
            Effect::Query(query) => self.ask(bot, Ask::Query(query), Stage::Clock),
            Effect::FetchOpenOrders(instrument) => self.ask(bot, Ask::OpenOrders(instrument), Stage::Main),
            Effect::FetchFills(instrument, since) => {
                self.ask(bot, Ask::Fills { instrument, since }, Stage::Main);
            }
            Effect::FetchBalances => self.ask(bot, Ask::Balances, Stage::Clock),
            Effect::Notify(notice) => self.notice(bot, &notice),
        }
    }

    fn notice(&mut self, bot: usize, notice: &Notice) {
        match notice {
            Notice::Order { id, from, to, .. } => {
                self.note(|| format!("bot {bot} order {id} {from} -> {to}"));
                self.coverage.moved(*from, *to);
                self.note_late_move();
                match to {
                    OrderState::Unknown => self.met(Met::Unknown),
                    OrderState::NeverAccepted => self.met(Met::NeverAccepted),
                    _ => {}
                }
                self.judge_move(bot, *id, *to);
            }
            Notice::Alarm { alarm, held } => {
                self.note(|| format!("bot {bot} ALARM {alarm} held {held:?}"));
                match alarm {
                    Alarm::Resurrected { .. } => self.met(Met::Resurrected),
                    Alarm::Adopted { .. } => self.met(Met::Adopted),
                    Alarm::ForeignOrder { .. } | Alarm::ForeignFill { .. } => self.met(Met::ForeignSeen),
                    _ => {}
                }
                self.judge_alarm(bot, alarm);
            }
            Notice::Reconciling if self.is_healed => {
                if let Some(process) = &mut self.bots[bot].process {
                    process.is_comparing = true;
                }
            }
            Notice::Reconciled => {
                if let Some(process) = &mut self.bots[bot].process {
                    process.is_compared |= process.is_comparing;
                }
            }
            Notice::Denied(..) => self.met(Met::Denied),
            Notice::Found(finding) => {
                let now = self.bots[bot].process.as_ref().map(|process| process.engine.now()).unwrap_or_default();
                self.note(|| format!("bot {bot} finds {finding:?}"));
                self.append(bot, &Record::Finding(now, finding.clone()));
            }
            Notice::Mismatch(difference) => {
                self.note(|| format!("bot {bot} MISMATCH {difference:?}"));
            }
            Notice::StartRefused(blocker) => self.note(|| format!("bot {bot} cannot start: {blocker}")),
            _ => {}
        }
    }

    pub(super) fn timer(&mut self, bot: usize) {
        let epoch = self.bots[bot].epoch;
        self.at(TICK_MS, Happening::Timer(bot, epoch));
        if self.strikes(Fault::ClockStep) {
            let by_ms = self.rng.between(-400, 400);
            self.bots[bot].offset_ms += by_ms;
        }
        self.time_out_calls(bot);
        self.tick_session(bot);
        self.drain(bot);
        let is_recovered = self.bots[bot].process.as_ref().is_some_and(|process| process.records.is_none());
        if is_recovered {
            let now = self.wall(bot);
            self.step(bot, &Event::Timer(now));
            self.drain(bot);
        }
    }
}

/// An event in a few words.
pub(super) fn short(event: &ExecutionEvent) -> String {
    match event {
        ExecutionEvent::Report(report) => format!(
            "report {:?} {:?} cum {} {}",
            report.exec_type,
            report.status,
            report.cum_quantity,
            report.client_order_id.map_or_else(|| report.venue_order_id.to_string(), |id| id.to_string())
        ),
        ExecutionEvent::FillsOf { instrument, since, fills } => {
            let names: Vec<String> = fills
                .iter()
                .map(|(id, fill)| format!("{}:{}", id.map_or_else(|| "?".into(), |id| id.to_string()), fill.trade_id))
                .collect();
            format!("fills of {} since {}: {}", instrument.0, since.as_ms(), names.join(" "))
        }
        ExecutionEvent::OpenOrders(_, orders) => {
            let names: Vec<String> = orders
                .iter()
                .map(|order| order.client_order_id.map_or_else(|| "foreign".into(), |id| id.to_string()))
                .collect();
            format!("open orders {}", names.join(" "))
        }
        ExecutionEvent::Balances { balances, .. } => format!("balances of {}", balances.len()),
        ExecutionEvent::Query(id, keel_model::QueryOutcome::Found(order)) => {
            format!("found {id} {:?} cum {}", order.status, order.cum_quantity)
        }
        ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)) => {
            format!("accepted {id} {:?} with {} fills", ack.status, ack.reports.len())
        }
        other => format!("{other:?}"),
    }
}
