//! REST calls: signed bytes to the venue, answers back, judged by the adapter's codec; and what goes wrong in between.
//!
//! Invariants: a placement leaves at most once; nothing is signed with a clock that was never measured; whatever may have left
//! without a readable answer is unknown; questions are asked again within their bound, placements never.

use super::duress::Pipe;
use super::{Happening, Wire, World};
use crate::bot::{Ask, Call, Stage};
use crate::coverage::CrashPoint;
use crate::kit::CALL_TIMEOUT_MS;
use keel_exchange::binance::spot::classify::VenueError;
use keel_exchange::binance::spot::codec::encode::{EncodeError, Query, encode_signed_submit_into};
use keel_exchange::binance::spot::codec::{answers, calls};
use keel_exchange::binance::spot::limits::{Lane, LimitHeaders};
use keel_model::mutant;
use keel_model::{
    CancelOutcome, ExecutionEvent, InstrumentId, NotSentReason, QueryOutcome, ReplaceOutcome, SubmitOutcome, Timestamp,
    UnknownReason,
};
use keel_sim::Fault;
use keel_venue::{FaceAnswer, FaceRequest};

/// How often a fetch is tried before it is left to the engine's next schedule.
const FETCH_ATTEMPTS_MAX: u32 = 3;
/// Pause before the second try of a fetch, doubled each time; unit: milliseconds.
const FETCH_PAUSE_MS: u64 = 200;

/// Why there is no answer that could be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoAnswer {
    NotSent(NotSentReason),
    Unknown(UnknownReason),
}

impl World<'_> {
    /// Starts a call.
    pub(super) fn ask(&mut self, bot: usize, ask: Ask, stage: Stage) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let at = process.add_call(ask, stage);
        self.send(bot, at);
    }

    fn symbol(&self, instrument: InstrumentId) -> &str {
        self.kit.instruments.get(instrument).map_or("", |instrument| instrument.symbol.as_str())
    }

    /// Sends the request of a call's stage; asks for the venue's time first where it is not known.
    fn send(&mut self, bot: usize, at: usize) {
        if self.strikes(Fault::NotConnected) {
            return self.no_answer(bot, at, NoAnswer::NotSent(NotSentReason::NotConnected));
        }
        let wall = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        let venue_time = process.venue_clock.now();
        let times = process.times(wall);
        let Some(call) = process.calls.get_mut(at).and_then(Option::as_mut) else { return };
        if call.stage != Stage::Clock && venue_time.is_none() {
            call.stage = Stage::Clock;
        }
        let (lane, weight, orders) = cost(call);
        if process.limits.admit(times, lane, weight, orders).is_err() {
            return self.no_answer(bot, at, NoAnswer::NotSent(NotSentReason::RateLimited));
        }
        let Some((wire, is_placement)) = self.encode(bot, at, venue_time) else {
            return self.no_answer(bot, at, NoAnswer::NotSent(NotSentReason::NotExpressible));
        };
        if is_placement && self.strikes(Fault::LieNotSent) {
            let epoch = self.bots[bot].epoch;
            if let Some(process) = &mut self.bots[bot].process {
                // It is not even known as sent.
                process.lane.pop_back();
            }
            let delay_ms = self.between(2, 40);
            self.at(delay_ms, Happening::Arrive(bot, epoch, at, 0, wire));
            return self.no_answer(bot, at, NoAnswer::NotSent(NotSentReason::NotConnected));
        }
        let deadline_ms = self.now_ms + CALL_TIMEOUT_MS;
        let Some(process) = &mut self.bots[bot].process else { return };
        let mono_ns = process.clock.mono_ns();
        let request = process.next_request;
        process.next_request += 1;
        if let Some(call) = process.call(at) {
            (call.request, call.deadline_ms, call.sent_mono_ns, call.is_under_way) =
                (request, deadline_ms, mono_ns, true);
        }
        self.note(|| format!("bot {bot} {} {} {}", wire.method, wire.path, String::from_utf8_lossy(&wire.params)));
        self.mix(&wire.params);
        let epoch = self.bots[bot].epoch;
        if !self.strikes(Fault::LoseRequest) {
            let window_ms = self.plan.recv_window_ms;
            let is_late = is_placement && self.strikes(Fault::LateRequest);
            let delay_ms = match (is_late, self.plan.is_edge) {
                (true, true) => self.between(window_ms.saturating_sub(150), window_ms),
                (true, false) => self.between(50, self.plan.late_ms_max),
                _ => self.between(2, 40),
            };
            self.carry(bot, Pipe::Requests, delay_ms, Happening::Arrive(bot, epoch, at, request, wire));
        }
        if is_placement {
            self.may_die(bot, CrashPoint::PlacementSent);
        }
    }

    /// The bytes of a call's stage, and whether they place an order. A placement is reported as sent here.
    fn encode(&mut self, bot: usize, at: usize, venue_time: Option<Timestamp>) -> Option<(Wire, bool)> {
        let kit = self.kit;
        let window_ms = self.plan.recv_window_ms;
        let process = self.bots[bot].process.as_ref()?;
        let call = process.calls.get(at)?.as_ref()?;
        if call.stage == Stage::Clock {
            return Some((Wire { method: "GET", path: calls::TIME, params: Vec::new() }, false));
        }
        let time_ms = venue_time?.as_ms();
        let mut params = Vec::with_capacity(256);
        let mut signed = |fill: &dyn Fn(&mut Query<'_>) -> Result<(), EncodeError>| {
            calls::signed_into(&mut params, &kit.signer, window_ms, time_ms, fill).ok()
        };
        let (method, path, sent) = match &call.ask {
            Ask::Submit(order) => {
                let symbol = self.symbol(order.intent.instrument);
                encode_signed_submit_into(&mut params, &kit.signer, symbol, order, window_ms, time_ms).ok()?;
                ("POST", calls::ORDER, Some(order.client_order_id))
            }
            Ask::Replace(replace) => {
                let symbol = self.symbol(replace.new.intent.instrument);
                signed(&|query| calls::cancel_replace(query, symbol, replace))?;
                ("POST", calls::CANCEL_REPLACE, Some(replace.new.client_order_id))
            }
            Ask::Cancel(cancel) => {
                let symbol = self.symbol(cancel.instrument);
                signed(&|query| calls::one_order(query, symbol, cancel.client_order_id))?;
                ("DELETE", calls::ORDER, None)
            }
            Ask::Query(query) => {
                let symbol = self.symbol(query.instrument);
                signed(&|params| calls::one_order(params, symbol, query.client_order_id))?;
                ("GET", calls::ORDER, None)
            }
            Ask::OpenOrders(_) => {
                signed(&|_| Ok(()))?;
                ("GET", calls::OPEN_ORDERS, None)
            }
            Ask::Fills { instrument, since } => {
                let symbol = self.symbol(*instrument);
                let is_learnt = call.stage != Stage::Learn;
                let mut unknown = call.trades.iter().map(|(order, ..)| *order).collect::<Vec<_>>();
                unknown.retain(|order| !process.order_ids.is_known(*order));
                let first = if is_learnt { None } else { Some(unknown.into_iter().min()?) };
                signed(&|query| {
                    match first {
                        Some(first) => calls::orders_page(query, symbol, u64::try_from(first).unwrap_or_default()),
                        None => calls::trades_page(query, symbol, *since, None),
                    }
                    Ok(())
                })?;
                ("GET", if is_learnt { calls::MY_TRADES } else { calls::ALL_ORDERS }, None)
            }
            Ask::Balances => {
                signed(&|query| {
                    calls::balances(query);
                    Ok(())
                })?;
                ("GET", calls::ACCOUNT, None)
            }
            Ask::Clock(_) => return None,
        };
        let signed_at = mutant!(83, Timestamp::from_ms(time_ms), self.wall(bot));
        if let (Some(client_order_id), Some(process)) = (sent, &mut self.bots[bot].process) {
            let recv_window_ms = window_ms;
            process.lane.push_back(ExecutionEvent::Sent { client_order_id, signed_at, recv_window_ms });
        }
        Some((Wire { method, path, params }, sent.is_some()))
    }

    /// A request reaches the venue, whether or not anybody waits for the answer any more.
    pub(super) fn arrive(&mut self, bot: usize, epoch: u32, at: usize, request: u32, wire: &Wire) {
        let is_placement = wire.method == "POST";
        let changes = wire.method != "GET";
        let is_time = wire.path == calls::TIME;
        let answer = if self.is_out(wire) {
            refusal(503, -1008, "Server is currently overloaded with other requests. Please try again.", None)
        } else if !is_time && self.strikes(Fault::RateLimit) {
            refusal(429, -1003, "Too much request weight used; please use WebSocket Streams for live updates.", Some(2))
        } else if is_placement && self.strikes(Fault::Refuse) {
            refusal(400, -2010, "Account has insufficient balance for requested action.", None)
        } else {
            let view = if wire.method == "GET" && !is_time { self.view() } else { None };
            let params = std::str::from_utf8(&wire.params).unwrap_or_default();
            let (query, body) = if is_placement { ("", params) } else { (params, "") };
            let api_key = (!is_time).then(|| self.kit.signer.api_key());
            let request = FaceRequest { method: wire.method, path: wire.path, query, body, api_key };
            let mut answer = self.venue.handle(request, view);
            self.after_venue();
            if changes && self.strikes(Fault::Unsure) {
                answer = self.unsure();
            } else if self.strikes(Fault::Unreadable) {
                let status = if changes { [200, 400, 403, 502][self.rng.below(4) as usize] } else { 502 };
                answer = FaceAnswer { status, body: "<html>Request blocked.</html>".into(), ..answer };
            } else if is_placement && answer.status == 200 && self.strikes(Fault::Lie) {
                answer = refusal(400, -2010, "Account has insufficient balance for requested action.", None);
            } else if wire.path == calls::ORDER && !is_placement && self.strikes(Fault::LieCount) {
                belittle(&mut answer.body);
            }
            answer
        };
        self.note(|| {
            format!("venue answers bot {bot} {} {}: {} {}", wire.method, wire.path, answer.status, answer.body)
        });
        self.mix(answer.body.as_bytes());
        if self.strikes(Fault::LoseAnswer) {
            return;
        }
        let is_late = self.strikes(Fault::LateAnswer);
        let delay_ms = if is_late { self.between(50, 2 * CALL_TIMEOUT_MS) } else { self.between(2, 40) };
        self.carry(bot, Pipe::Requests, delay_ms, Happening::Answer(bot, epoch, at, request, answer));
    }

    /// The answer of a venue that is not sure of itself, although it did what it was asked.
    fn unsure(&mut self) -> FaceAnswer {
        match self.rng.below(5) {
            0 => refusal(503, -1008, "Server is currently overloaded with other requests. Please try again.", None),
            1 => refusal(500, -1000, "An unknown error occurred while processing the request.", None),
            2 => refusal(400, -1006, "An unexpected response was received from the message bus.", None),
            3 => refusal(400, -1007, "Timeout waiting for response from backend server.", None),
            _ => FaceAnswer { status: 504, body: "upstream timed out".into(), ..FaceAnswer::default() },
        }
    }

    /// An answer reaches us.
    pub(super) fn answered(&mut self, bot: usize, at: usize, request: u32, answer: &FaceAnswer) {
        let wall = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        let times = process.times(wall);
        let is_current = |call: &&mut Call| call.is_under_way && call.request == request;
        let Some(call) = process.calls.get_mut(at).and_then(Option::as_mut).filter(is_current) else { return };
        call.is_under_way = false;
        let headers = LimitHeaders {
            used_weight_1m: Some(answer.used_weight),
            order_count_10s: answer.orders.map(|(ten_seconds, _)| ten_seconds),
            order_count_1d: answer.orders.map(|(_, day)| day),
            retry_after_s: answer.retry_after_s,
        };
        let body = answer.body.as_bytes();
        let code = if answer.status >= 400 { VenueError::read(body).code } else { None };
        let is_limited = matches!(answer.status, 429 | 418);
        process.limits.observe(times, answer.status, code.filter(|_| is_limited), &headers);
        if code == Some(-1021) {
            process.venue_clock.invalidate();
        }
        if call.stage == Stage::Clock {
            return self.clock_answered(bot, at, answer);
        }
        let is_question = !matches!(call.ask, Ask::Submit(_) | Ask::Replace(_) | Ask::Cancel(_));
        if is_question && code == Some(-1021) && !call.was_asked_again {
            call.was_asked_again = true;
            return self.send(bot, at);
        }
        self.main_answered(bot, at, answer, wall);
        self.drain(bot);
    }

    fn clock_answered(&mut self, bot: usize, at: usize, answer: &FaceAnswer) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let Some(call) = process.calls.get_mut(at).and_then(Option::as_mut) else { return };
        let time = (answer.status == 200).then(|| answers::server_time(answer.body.as_bytes()).ok()).flatten();
        let Some(time) = time else {
            let reason = if answer.status == 429 { NotSentReason::RateLimited } else { NotSentReason::NotConnected };
            return self.no_answer(bot, at, NoAnswer::NotSent(reason));
        };
        call.time = Some(mutant!(82, time, Timestamp::from_ns(u64::MAX)));
        call.stage = Stage::Main;
        let sent_mono_ns = call.sent_mono_ns;
        process.venue_clock.measure(time, sent_mono_ns, process.clock.mono_ns());
        if let Ask::Clock(link) = call.ask {
            process.calls[at] = None;
            return self.subscribe(bot, link);
        }
        self.send(bot, at);
        self.drain(bot);
    }

    fn main_answered(&mut self, bot: usize, at: usize, answer: &FaceAnswer, wall: Timestamp) {
        let (symbols, status, body) = (&self.kit.symbols, answer.status, answer.body.as_bytes());
        let Some(process) = &mut self.bots[bot].process else { return };
        let Some(mut call) = process.calls[at].take() else { return };
        let event = match &call.ask {
            Ask::Submit(order) => {
                let outcome = calls::submit_outcome(status, body, symbols, wall);
                if let SubmitOutcome::Accepted(ack) = &outcome {
                    process.order_ids.learn(ack.venue_order_id.as_str(), order.client_order_id);
                }
                Some(ExecutionEvent::Submit(order.client_order_id, outcome))
            }
            Ask::Replace(replace) => {
                let outcome = calls::replace_outcome(status, body, symbols, wall);
                let (cancel_id, new_id) = (replace.cancel.client_order_id, replace.new.client_order_id);
                if let SubmitOutcome::Accepted(ack) = &outcome.new {
                    process.order_ids.learn(ack.venue_order_id.as_str(), new_id);
                }
                Some(ExecutionEvent::Replace { cancel_id, new_id, outcome })
            }
            Ask::Cancel(cancel) => {
                Some(ExecutionEvent::Cancel(cancel.client_order_id, calls::cancel_outcome(status, body, symbols)))
            }
            Ask::Query(query) => {
                let id = query.client_order_id;
                let outcome = calls::query_outcome(status, body, symbols, id, call.time)
                    .unwrap_or(QueryOutcome::Unknown(UnknownReason::Unreadable));
                if let QueryOutcome::Found(order) = &outcome {
                    process.order_ids.learn(order.venue_order_id.as_str(), id);
                }
                Some(ExecutionEvent::Query(id, outcome))
            }
            Ask::OpenOrders(instrument) if status == 200 => answers::orders(body, symbols).ok().map(|orders| {
                for order in &orders {
                    if let Some(id) = order.client_order_id {
                        process.order_ids.learn(order.venue_order_id.as_str(), id);
                    }
                }
                ExecutionEvent::OpenOrders(*instrument, orders)
            }),
            Ask::Fills { instrument, since } if status == 200 => {
                if call.stage == Stage::Learn {
                    for (order, id) in answers::order_ids(body).unwrap_or_default() {
                        process.order_ids.learn_number(order, id);
                    }
                } else if let Ok(trades) = answers::my_trades(body, symbols) {
                    call.trades = trades;
                    let is_known = |(order, ..): &(i64, i64, _)| process.order_ids.is_known(*order);
                    if !call.trades.iter().all(is_known) {
                        call.stage = Stage::Learn;
                        process.calls[at] = Some(call);
                        return self.send(bot, at);
                    }
                }
                let fills = call.trades.iter().map(|(order, _, fill)| (process.order_ids.get(*order), *fill)).collect();
                Some(ExecutionEvent::FillsOf { instrument: *instrument, since: *since, fills })
            }
            Ask::Balances if status == 200 => answers::account(body).ok().map(|(balances, _)| {
                ExecutionEvent::Balances { complete: true, balances, ts_event: call.time.unwrap_or_default() }
            }),
            Ask::OpenOrders(_) | Ask::Fills { .. } | Ask::Balances | Ask::Clock(_) => None,
        };
        match event {
            Some(event) => process.lane.push_back(event),
            None => {
                process.calls[at] = Some(call);
                self.fetch_failed(bot, at);
            }
        }
    }

    /// A call ended without an answer that could be judged.
    fn no_answer(&mut self, bot: usize, at: usize, why: NoAnswer) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let Some(call) = process.calls.get_mut(at).and_then(Option::as_mut) else { return };
        call.is_under_way = false;
        // A clock that could not be measured: what was to follow did not leave.
        let is_sent = call.stage != Stage::Clock;
        let why = match why {
            NoAnswer::Unknown(_) if !is_sent => NoAnswer::NotSent(NotSentReason::NotConnected),
            other => other,
        };
        let (submit, cancel) = match why {
            NoAnswer::NotSent(reason) => (SubmitOutcome::NotSent(reason), CancelOutcome::NotSent(reason)),
            NoAnswer::Unknown(reason) => (SubmitOutcome::Unknown(reason), CancelOutcome::Unknown(reason)),
        };
        let event = match &call.ask {
            Ask::Submit(order) => ExecutionEvent::Submit(order.client_order_id, submit),
            Ask::Replace(replace) => {
                let (cancel_id, new_id) = (replace.cancel.client_order_id, replace.new.client_order_id);
                ExecutionEvent::Replace { cancel_id, new_id, outcome: ReplaceOutcome { cancel, new: submit } }
            }
            Ask::Cancel(order) => ExecutionEvent::Cancel(order.client_order_id, cancel),
            Ask::Query(query) => {
                if call.stage == Stage::Clock && process.venue_clock.now().is_some() {
                    // Asked all the same; "not found" proves nothing then.
                    call.stage = Stage::Main;
                    return self.send(bot, at);
                }
                let reason = match why {
                    NoAnswer::NotSent(NotSentReason::RateLimited) => UnknownReason::Unclassified,
                    NoAnswer::NotSent(_) => UnknownReason::ConnectionLost,
                    NoAnswer::Unknown(reason) => reason,
                };
                ExecutionEvent::Query(query.client_order_id, QueryOutcome::Unknown(reason))
            }
            Ask::Clock(link) => {
                let link = *link;
                process.calls[at] = None;
                return self.link_down(bot, link, "the venue's clock could not be measured");
            }
            Ask::OpenOrders(_) | Ask::Fills { .. } | Ask::Balances => return self.fetch_failed(bot, at),
        };
        process.calls[at] = None;
        process.lane.push_back(event);
        // The lane is drained by whoever is at work; a timer comes in any case.
    }

    fn fetch_failed(&mut self, bot: usize, at: usize) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let Some(call) = process.calls.get_mut(at).and_then(Option::as_mut) else { return };
        call.attempts += 1;
        call.stage = if matches!(call.ask, Ask::Balances) { Stage::Clock } else { Stage::Main };
        call.trades.clear();
        if call.attempts >= FETCH_ATTEMPTS_MAX {
            process.calls[at] = None;
            return;
        }
        let (pause_ms, request) = (FETCH_PAUSE_MS << (call.attempts - 1), call.request);
        let epoch = self.bots[bot].epoch;
        self.at(pause_ms, Happening::Retry(bot, epoch, at, request));
    }

    pub(super) fn retry(&mut self, bot: usize, at: usize, request: u32) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let is_it = process.call(at).is_some_and(|call| !call.is_under_way && call.request == request);
        if is_it {
            self.send(bot, at);
            self.drain(bot);
        }
    }

    /// Does a call place an order?
    #[cfg(feature = "mutants")]
    fn is_placement(&mut self, bot: usize, at: usize) -> bool {
        let process = self.bots[bot].process.as_mut();
        process.and_then(|process| process.call(at)).is_some_and(|call| matches!(call.ask, Ask::Submit(_)))
    }

    pub(super) fn time_out_calls(&mut self, bot: usize) {
        let now_ms = self.now_ms;
        let count = self.bots[bot].process.as_ref().map_or(0, |process| process.calls.len());
        for at in 0..count {
            let Some(process) = &mut self.bots[bot].process else { return };
            let is_late = process.call(at).is_some_and(|call| call.is_under_way && call.deadline_ms <= now_ms);
            if is_late {
                let unsure = NoAnswer::Unknown(UnknownReason::Timeout);
                let why = mutant!(80, unsure, NoAnswer::NotSent(NotSentReason::NotConnected));
                let is_again = mutant!(81, false, self.is_placement(bot, at));
                if is_again {
                    self.send(bot, at);
                } else {
                    self.no_answer(bot, at, why);
                }
            }
        }
    }
}

/// What a call's stage weighs.
const fn cost(call: &Call) -> (Lane, u64, u64) {
    match (&call.stage, &call.ask) {
        (Stage::Clock, Ask::Query(_) | Ask::Balances | Ask::Cancel(_)) => (Lane::Urgent, 1, 0),
        (Stage::Clock, Ask::Submit(_) | Ask::Replace(_)) => (Lane::Order, 1, 0),
        (Stage::Clock, _) => (Lane::Background, 1, 0),
        (_, Ask::Submit(_) | Ask::Replace(_)) => (Lane::Order, 1, 1),
        (_, Ask::Cancel(_)) => (Lane::Urgent, 1, 0),
        (_, Ask::Query(_)) => (Lane::Urgent, 4, 0),
        (_, Ask::OpenOrders(_)) => (Lane::Urgent, 80, 0),
        (_, Ask::Fills { .. } | Ask::Balances | Ask::Clock(_)) => (Lane::Background, 20, 0),
    }
}

/// Makes an answer about an order that is over tell that nothing of it was filled.
fn belittle(body: &mut String) {
    const FIELD: &str = "\"executedQty\":\"";
    let Some(from) = body.find(FIELD).map(|at| at + FIELD.len()).filter(|_| body.contains("CANCELED")) else { return };
    let Some(length) = body.get(from..).and_then(|rest| rest.find('"')) else { return };
    body.replace_range(from..from + length, "0.00000000");
}

fn refusal(status: u16, code: i64, text: &str, retry_after_s: Option<u64>) -> FaceAnswer {
    FaceAnswer {
        status,
        body: format!("{{\"code\":{code},\"msg\":\"{text}\"}}"),
        retry_after_s,
        ..FaceAnswer::default()
    }
}
