//! What the control socket steers: each verb is handed to the engine, and its answer says what the engine and the venue have
//! confirmed, no more.
//!
//! Invariants: everything here runs on the control thread and only ever waits; a verb is handed over at once, whatever the
//! confirmation takes; "confirmed" is read from the state that the engine published after it had taken the command.

use super::emergency::{Emergency, Trigger};
use super::figures::Figures;
use super::parts::{Shared, groups};
use super::{banner, status};
use crate::config::Mode;
use crate::error::LaunchError;
use crate::out;
use keel_control::{Answer, Answering, Ask, ControlServer, Operator, Outcome, Peer, Request, ServerLimits};
use keel_gateway::CoordinatorHandle;
use keel_lifecycle::{Clock, Deadline, Lifecycle, StopReason, StopSignal, TaskKind, Urgency};
use keel_model::{
    ClientOrderId, Command, InstrumentId, Instruments, OpenOrderView, RiskScope, Side, StatusSnapshot, TradingState,
};
use std::sync::Arc;
use std::time::Duration;

mod words;

pub(crate) use words::settlement;
pub(in crate::run) use words::winding as winding_words;

/// How often a waiting verb looks at what the engine published.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Longest part of an operator's own words that is kept; unit: characters.
const REASON_CHARS_MAX: usize = 200;

/// Answers for one run.
#[derive(Clone, Debug)]
pub struct Desk {
    shared: Shared,
    stop: StopSignal,
    clock: Clock,
    emergency: Emergency,
    figures: Figures,
}

/// How far a verb has come.
struct Progress {
    is_done: bool,
    is_refused: bool,
    confirmed: Vec<String>,
    open: Vec<String>,
}

impl Progress {
    const fn done(confirmed: Vec<String>) -> Self {
        Self { is_done: true, is_refused: false, confirmed, open: Vec::new() }
    }

    const fn open(confirmed: Vec<String>, open: Vec<String>) -> Self {
        Self { is_done: false, is_refused: false, confirmed, open }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self { is_done: true, is_refused: true, confirmed: Vec::new(), open: vec![why.into()] }
    }
}

/// Binds the socket and starts to answer. The data folder's lock is held.
pub fn spawn(lifecycle: &Lifecycle, shared: &Shared, emergency: &Emergency) -> Result<Desk, LaunchError> {
    let desk = Desk {
        shared: shared.clone(),
        stop: lifecycle.stop_signal(),
        clock: lifecycle.supervisor().clock(),
        emergency: emergency.clone(),
        figures: Figures::of(lifecycle),
    };
    let root = shared.config.data_dir.canonicalize().unwrap_or_else(|_| shared.config.data_dir.clone());
    let supervisor = lifecycle.supervisor();
    let server = match ControlServer::bind(&root, &supervisor.ledger(), ServerLimits::default()) {
        Ok(server) => server,
        Err(error) if shared.config.mode == Mode::Paper => {
            out::note(&format!("warning: {error}; this run cannot be steered through its control socket"));
            return Ok(desk);
        }
        Err(error) => return Err(LaunchError::start("control socket", error)),
    };
    let answering = Arc::new(desk.clone());
    let beside = supervisor.group(groups::BESIDE).on(lifecycle.control().handle());
    let task = beside.spawn_with("control-socket", TaskKind::Background, |token| server.run(answering, token));
    drop(task);
    Ok(desk)
}

impl Operator for Desk {
    fn ask(&self, request: Request, peer: Peer) -> Answering {
        let desk = self.clone();
        Box::pin(async move { desk.answer(request, peer).await })
    }
}

impl Desk {
    async fn answer(&self, request: Request, peer: Peer) -> Answer {
        let deadline = self.clock.deadline(request.timeout());
        let asked = words::of(&request.ask);
        if !matches!(request.ask, Ask::Status {} | Ask::Resources {}) {
            tracing::warn!(%peer, asked, "an operator asks");
        }
        match request.ask {
            Ask::Status {} => self.status(asked),
            Ask::Resources {} => self.resources(asked),
            Ask::Stop { force } => self.stop(asked, force, peer),
            Ask::EmergencyStop { reason } => self.emergency_stop(asked, &reason, peer, &deadline).await,
            Ask::Rearm { reason } => self.rearm(asked, &reason, peer, &deadline).await,
            ask => match self.engine() {
                Ok(engine) => self.command(&engine, ask, asked, &deadline).await,
                Err(why) => Answer::refused(asked, why),
            },
        }
    }

    fn engine(&self) -> Result<CoordinatorHandle, String> {
        let engine = self.shared.engine().ok_or("the bot is starting or stopping; its engine is not there")?;
        if engine.phase().has_ended { Err("the engine has ended; the bot is stopping".to_owned()) } else { Ok(engine) }
    }

    fn status(&self, asked: String) -> Answer {
        let view = status::view(&self.shared, &self.stop, &self.clock, &self.emergency);
        match serde_json::to_value(&view) {
            Ok(detail) => Answer { detail, ..Answer::new(Outcome::Confirmed, asked) },
            Err(error) => Answer::refused(asked, error.to_string()),
        }
    }

    fn resources(&self, asked: String) -> Answer {
        let detail = serde_json::json!({ "report": self.figures.report(), "resources": self.figures.resources() });
        Answer { detail, ..Answer::new(Outcome::Confirmed, asked) }
    }

    /// The orderly stop. Whoever asked waits for the end of the process, which no answer can outlive.
    fn stop(&self, asked: String, force: bool, peer: Peer) -> Answer {
        crate::restart::tell_parent_to_end("an operator asked for the stop");
        let is_first = self.stop.request(StopReason::Requested { by: format!("launcher stop ({peer})") });
        if force {
            self.stop.raise(Urgency::Urgent);
        }
        let answer = Answer::new(Outcome::Open, asked);
        let answer = answer.with_confirmed(match (is_first, force) {
            (true, false) => "the stop has begun: nothing that adds exposure leaves any more",
            (true, true) => "the stop has begun and hurries: optional steps are cut",
            (false, false) => "the stop had begun already",
            (false, true) => "the stop had begun already and now hurries",
        });
        let detail = serde_json::json!({ "pid": std::process::id(), "folder": self.shared.folder });
        Answer { detail, ..answer.with_open("the end of the process") }
    }

    async fn emergency_stop(&self, asked: String, reason: &str, peer: Peer, deadline: &Deadline) -> Answer {
        let reason = shortened(reason);
        let begun = self.emergency.trigger(Trigger::Operator { peer: peer.to_string() }, &reason).await;
        let mut confirmed = vec![begun.words()];
        let (progress, report) = self.emergency.follow(deadline).await;
        confirmed.extend(progress.confirmed);
        let outcome = if progress.open.is_empty() { Outcome::Confirmed } else { Outcome::Open };
        let detail = serde_json::to_value(report).unwrap_or_default();
        Answer { confirmed, open: progress.open, detail, ..Answer::new(outcome, asked) }
    }

    async fn rearm(&self, asked: String, reason: &str, peer: Peer, deadline: &Deadline) -> Answer {
        if let Some(file) = self.emergency.kill_file() {
            return Answer::refused(
                asked,
                format!("the file {} still asks for the emergency stop; remove it first", file.display()),
            );
        }
        let engine = match self.engine() {
            Ok(engine) => engine,
            Err(why) => return Answer::refused(asked, why),
        };
        let was_latched = self.emergency.is_latched() || engine.status().operator.is_emergency;
        let answer = self
            .hand_over(&engine, Command::Rearm(RiskScope::Account), asked, deadline, |status, _| {
                if status.operator.is_emergency {
                    Progress::open(vec![], vec!["the engine has not lifted the latch".to_owned()])
                } else {
                    Progress::done(vec!["the latch is lifted".to_owned()])
                }
            })
            .await;
        if answer.outcome != Outcome::Confirmed {
            return answer;
        }
        if let Err(error) = self.emergency.lift(&peer.to_string(), &shortened(reason)) {
            return Answer { outcome: Outcome::Open, ..answer.with_open(format!("the latch file stays: {error}")) };
        }
        if was_latched {
            return answer
                .with_confirmed("this run has stopped its strategies: `launcher stop`, then a new start trades again");
        }
        answer
    }

    /// Verbs that are one command to the engine.
    async fn command(&self, engine: &CoordinatorHandle, ask: Ask, asked: String, deadline: &Deadline) -> Answer {
        let instruments = self.shared.instruments();
        match ask {
            Ask::Pause {} => self.hand_over(engine, Command::Pause, asked, deadline, paused).await,
            Ask::Resume {} => self.resume(engine, asked, deadline).await,
            Ask::ReduceOnly {} => self.hand_over(engine, Command::ReduceOnly, asked, deadline, reducing).await,
            Ask::CancelAll {} => {
                let before: Vec<_> = engine.board().read().iter().map(keel_gateway::PublishedOrder::id).collect();
                let gone = |_: &StatusSnapshot, engine: &CoordinatorHandle| are_gone(&before, engine);
                self.hand_over(engine, Command::CancelAll, asked, deadline, gone).await
            }
            Ask::Cancel { order } => self.cancel(engine, &order, asked, deadline).await,
            Ask::Flatten { instrument } => {
                let instrument = match instrument.map(|symbol| find(&symbol, &instruments)).transpose() {
                    Ok(instrument) => instrument,
                    Err(why) => return Answer::refused(asked, why),
                };
                let flat = move |status: &StatusSnapshot, _: &CoordinatorHandle| flat(status, instrument);
                self.hand_over(engine, Command::Flatten(instrument), asked, deadline, flat).await
            }
            Ask::Release { instrument } => {
                let id = match find(&instrument, &instruments) {
                    Ok(id) => id,
                    Err(why) => return Answer::refused(asked, why),
                };
                if !engine.status().holds.iter().any(|hold| hold.instrument == id) {
                    return Answer::refused(asked, format!("{instrument} is not held"));
                }
                let released = move |status: &StatusSnapshot, _: &CoordinatorHandle| match status
                    .holds
                    .iter()
                    .find(|hold| hold.instrument == id)
                {
                    Some(hold) => Progress::open(vec![], vec![format!("still held: {}", hold.reason)]),
                    None => Progress::done(vec!["no longer held".to_owned()]),
                };
                self.hand_over(engine, Command::Release(id), asked, deadline, released).await
            }
            Ask::Settle { order, filled, price } => match words::settlement(&order, &filled, price.as_deref()) {
                Ok((id, settlement)) => {
                    let command = Command::Settle { client_order_id: id, settlement };
                    let settled = move |_: &StatusSnapshot, engine: &CoordinatorHandle| are_gone(&[id], engine);
                    if !is_open(id, engine) {
                        return Answer::refused(asked, format!("no order {id} is open or of unknown state"));
                    }
                    self.hand_over(engine, command, asked, deadline, settled).await
                }
                Err(why) => Answer::refused(asked, why),
            },
            // Answered before.
            Ask::Status {} | Ask::Resources {} | Ask::Stop { .. } | Ask::EmergencyStop { .. } | Ask::Rearm { .. } => {
                Answer::refused(asked, "this verb is no command to the engine")
            }
        }
    }

    async fn resume(&self, engine: &CoordinatorHandle, asked: String, deadline: &Deadline) -> Answer {
        if engine.status().operator.is_emergency || self.emergency.is_latched() {
            return Answer::refused(asked, "an emergency stop is latched; `launcher rearm` lifts it");
        }
        let resumed = |status: &StatusSnapshot, engine: &CoordinatorHandle| {
            let (phase, view) = (engine.phase(), &status.operator);
            if !view.is_paused && status.trading_state == TradingState::Active {
                return Progress::done(vec!["trading is active".to_owned()]);
            }
            let state = banner::state(status.trading_state);
            let why = match phase.blocker {
                Some(blocker) if view.is_paused || !phase.is_started => blocker,
                _ => format!("what risk allows is {state}; see `launcher status` for streams, breakers and holds"),
            };
            Progress::open(vec![], vec![why])
        };
        self.hand_over(engine, Command::Resume, asked, deadline, resumed).await
    }

    async fn cancel(&self, engine: &CoordinatorHandle, order: &str, asked: String, deadline: &Deadline) -> Answer {
        let id: ClientOrderId = match order.parse() {
            Ok(id) => id,
            Err(error) => return Answer::refused(asked, format!("{error}; `launcher status` lists the open orders")),
        };
        if !is_open(id, engine) {
            return Answer::refused(asked, format!("no order {id} of ours is open; `launcher status` lists them"));
        }
        let gone = move |_: &StatusSnapshot, engine: &CoordinatorHandle| are_gone(&[id], engine);
        self.hand_over(engine, Command::Cancel(id), asked, deadline, gone).await
    }

    /// Commands the engine and waits until `check` finds it done in what was published after that.
    async fn hand_over(
        &self,
        engine: &CoordinatorHandle,
        command: Command,
        asked: String,
        deadline: &Deadline,
        check: impl Fn(&StatusSnapshot, &CoordinatorHandle) -> Progress,
    ) -> Answer {
        let since_ns = self.clock.run_ns();
        if let Err(error) = engine.command(command) {
            return Answer::refused(asked, error.to_string());
        }
        loop {
            let status = engine.status();
            let is_taken = status.ts.as_ns() >= since_ns && engine.lanes().command == 0;
            let progress = if is_taken {
                check(&status, engine)
            } else {
                Progress::open(vec![], vec!["the engine has not taken the command yet".to_owned()])
            };
            let has_ended = engine.phase().has_ended;
            if progress.is_done || has_ended || deadline.is_past() {
                let outcome = match (progress.is_done, progress.is_refused) {
                    (_, true) => Outcome::Refused,
                    (true, false) => Outcome::Confirmed,
                    (false, false) => Outcome::Open,
                };
                let mut answer =
                    Answer { confirmed: progress.confirmed, open: progress.open, ..Answer::new(outcome, asked) };
                if has_ended && outcome == Outcome::Open {
                    answer.open.push("the engine has ended meanwhile".to_owned());
                }
                return answer;
            }
            tokio::time::sleep(LOOK_AGAIN.min(deadline.remaining())).await;
        }
    }
}

fn paused(status: &StatusSnapshot, _: &CoordinatorHandle) -> Progress {
    if status.operator.is_paused && status.trading_state != TradingState::Active {
        let stay = match status.open_orders.len() {
            0 => "no order is open".to_owned(),
            count => format!("{count} open orders stay"),
        };
        return Progress::done(vec!["nothing that adds exposure passes".to_owned(), stay]);
    }
    Progress::open(vec![], vec![format!("what risk allows is {}", banner::state(status.trading_state))])
}

fn reducing(status: &StatusSnapshot, engine: &CoordinatorHandle) -> Progress {
    let paused = paused(status, engine);
    if !paused.is_done || !status.operator.is_reduce_only {
        return Progress::open(vec![], vec!["the engine has not taken the command yet".to_owned()]);
    }
    let passes = "nothing that adds exposure passes".to_owned();
    let reduces = |order: &OpenOrderView| {
        let held = status.positions.iter().find(|held| held.instrument == order.instrument);
        held.is_some_and(|held| (order.side == Side::Sell) == held.quantity.is_positive())
    };
    let adding: Vec<String> = status
        .open_orders
        .iter()
        .filter(|order| !reduces(order))
        .map(|order| format!("order {} is not confirmed to be gone", order.client_order_id))
        .collect();
    if adding.is_empty() {
        return Progress::done(vec![passes, "no order that would add exposure is open".to_owned()]);
    }
    Progress::open(vec![passes], adding)
}

/// What the engine says about a flatten of one instrument or of all.
fn flat(status: &StatusSnapshot, instrument: Option<InstrumentId>) -> Progress {
    let covers = |instruments: &[InstrumentId]| match instrument {
        None => instruments.is_empty(),
        Some(id) => instruments.is_empty() || instruments.contains(&id),
    };
    match status.operator.winding.as_ref().filter(|wind| covers(&wind.instruments)) {
        Some(wind) if wind.is_done => {
            Progress::done(vec!["no order is open and no position is held there, confirmed by the venue".to_owned()])
        }
        Some(wind) => Progress::open(vec![], words::winding(wind)),
        None => Progress::refused("the engine did not begin to flatten: the stop has begun"),
    }
}

fn is_open(id: ClientOrderId, engine: &CoordinatorHandle) -> bool {
    engine.board().read().iter().any(|order| order.id() == id)
}

fn are_gone(ids: &[ClientOrderId], engine: &CoordinatorHandle) -> Progress {
    let open = engine.board().read();
    let (left, gone): (Vec<&ClientOrderId>, Vec<&ClientOrderId>) =
        ids.iter().partition(|id| open.iter().any(|order| order.id() == **id));
    let gone: Vec<String> = gone.iter().map(|id| format!("order {id} is over (cancelled or filled)")).collect();
    if left.is_empty() {
        return Progress::done(if gone.is_empty() { vec!["no order was open".to_owned()] } else { gone });
    }
    Progress::open(gone, left.iter().map(|id| format!("order {id} is not confirmed to be over")).collect())
}

fn find(symbol: &str, instruments: &Instruments) -> Result<InstrumentId, String> {
    let found = instruments.by_symbol(&symbol.to_uppercase()).map(|known| known.id);
    found.ok_or_else(|| {
        let known: Vec<String> = instruments.iter().map(|known| known.symbol.to_string()).collect();
        format!("this run does not trade {symbol}; it trades {}", known.join(", "))
    })
}

/// An operator's words, bounded and on one line.
fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
