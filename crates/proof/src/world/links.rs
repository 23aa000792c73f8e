//! The account stream: the adapter's session machine on one end, the venue's WebSocket API on the other, and what goes wrong
//! between them.
//!
//! Invariant: frames of one connection arrive in order unless a fault says otherwise.

use super::duress::Pipe;
use super::{Happening, World};
use crate::bot::{Ask, Peer, Stage, Told};
use crate::coverage::Met;
use keel_exchange::binance::spot::session::{Action, LinkId};
use keel_model::{ExecutionEvent, FeedState};
use keel_sim::Fault;

impl World<'_> {
    /// Ten times a second.
    pub(super) fn tick_session(&mut self, bot: usize) {
        let wall = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        let now = process.now(wall);
        let budget = &mut process.budget;
        process.session.tick(now, &mut |at| budget.take(at), &mut process.actions, &process.heard);
        self.act(bot);
        let Some(process) = &self.bots[bot].process else { return };
        let Some(link) = process.peers.last().map(|peer| peer.id) else { return };
        let epoch = self.bots[bot].epoch;
        if self.strikes(Fault::CutStream) {
            self.at(0, Happening::LinkDown(bot, epoch, link));
        }
        if self.strikes(Fault::SilentStream) {
            let until_ms = self.now_ms + self.between(500, 12_000);
            if let Some(peer) = self.peer(bot, link) {
                peer.silent_until_ms = until_ms;
            }
        }
        if self.strikes(Fault::EndStream) {
            if let Some(peer) = self.peer(bot, link) {
                peer.face.end_user_streams();
            }
            self.after_venue();
        }
    }

    fn peer(&mut self, bot: usize, link: LinkId) -> Option<&mut Peer> {
        self.bots[bot].process.as_mut()?.peers.iter_mut().find(|peer| peer.id == link)
    }

    /// Does what the session wants and takes what it told.
    pub(super) fn act(&mut self, bot: usize) {
        loop {
            let Some(process) = &mut self.bots[bot].process else { return };
            if process.actions.is_empty() {
                break;
            }
            let epoch = self.bots[bot].epoch;
            let Some(process) = &mut self.bots[bot].process else { return };
            for action in std::mem::take(&mut process.actions) {
                match action {
                    Action::Connect(link) => {
                        let is_refused = self.strikes(Fault::RefuseStream) || self.refuses_streams();
                        let delay_ms = self.between(2, 60);
                        let up = Happening::LinkUp(bot, epoch, link);
                        let then = if is_refused { Happening::LinkDown(bot, epoch, link) } else { up };
                        self.carry(bot, Pipe::Account, delay_ms, then);
                    }
                    Action::Send(link, text) => {
                        let delay_ms = self.between(2, 30);
                        self.carry(bot, Pipe::Account, delay_ms, Happening::LinkText(bot, epoch, link, text));
                    }
                    Action::Ping(link) => {
                        let delay_ms = self.between(2, 60);
                        self.carry(bot, Pipe::Account, delay_ms, Happening::LinkPong(bot, epoch, link));
                    }
                    Action::Close(link) => {
                        if let Some(process) = &mut self.bots[bot].process {
                            process.peers.retain(|peer| peer.id != link);
                        }
                    }
                    Action::MeasureClock => {
                        if let Some(process) = &mut self.bots[bot].process {
                            process.venue_clock.invalidate();
                        }
                    }
                    Action::FetchSnapshot(_) => {}
                    Action::GiveUp(error) => self.bad("I7", format!("the account stream gives up: {error}")),
                }
            }
        }
        self.take_heard(bot);
    }

    fn take_heard(&mut self, bot: usize) {
        let Some(process) = &mut self.bots[bot].process else { return };
        let told = std::mem::take(&mut *process.heard.0.lock());
        let mut is_up = false;
        for item in told {
            match item {
                Told::Report(report) => process.lane.push_back(ExecutionEvent::Report(report)),
                Told::Balances(balances, ts_event) => {
                    process.lane.push_back(ExecutionEvent::Balances { complete: false, balances, ts_event });
                }
                Told::State(state) => {
                    process.states.push_back(state);
                    process.is_account_live = state == FeedState::Live;
                    is_up |= process.is_account_live;
                }
            }
        }
        if is_up && process.records.is_some() {
            self.recover(bot);
        }
    }

    pub(super) fn link_up(&mut self, bot: usize, link: LinkId) {
        let face = self.venue.connect_api();
        let Some(process) = &mut self.bots[bot].process else { return };
        process.peers.push(Peer { id: link, face, last_delivery_ms: 0, silent_until_ms: 0 });
        if process.venue_clock.now().is_none() {
            return self.ask(bot, Ask::Clock(link), Stage::Clock);
        }
        self.subscribe(bot, link);
    }

    /// The connection is open and the venue's clock is known.
    pub(super) fn subscribe(&mut self, bot: usize, link: LinkId) {
        self.met(Met::Reconnects);
        let (wall, kit) = (self.wall(bot), self.kit);
        let Some(process) = &mut self.bots[bot].process else { return };
        let now = process.now(wall);
        if let Some(time) = process.venue_clock.now() {
            process.session.connected(link, &kit.signer, time, now, &mut process.actions);
        }
        self.act(bot);
        self.drain(bot);
    }

    pub(super) fn link_down(&mut self, bot: usize, link: LinkId, cause: &str) {
        self.note(|| format!("bot {bot} account stream {} ends: {cause}", link.0));
        let wall = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        process.peers.retain(|peer| peer.id != link);
        let now = process.now(wall);
        process.session.closed(link, cause, now, &process.heard);
        self.act(bot);
        self.drain(bot);
    }

    pub(super) fn link_text(&mut self, bot: usize, link: LinkId, text: &str) {
        self.mix(text.as_bytes());
        if let Some(peer) = self.peer(bot, link) {
            peer.face.on_text(text);
        }
        self.after_venue();
    }

    pub(super) fn link_pong(&mut self, bot: usize, link: LinkId) {
        let wall = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        if process.peers.iter().any(|peer| peer.id == link) {
            let now = process.now(wall);
            process.session.heard(link, now);
        }
    }

    pub(super) fn frame(&mut self, bot: usize, link: LinkId, text: &str) {
        self.mix(text.as_bytes());
        self.note(|| format!("bot {bot} frame {text}"));
        let (wall, kit) = (self.wall(bot), self.kit);
        let Some(process) = &mut self.bots[bot].process else { return };
        if !process.peers.iter().any(|peer| peer.id == link) {
            return;
        }
        let (now, venue_time) = (process.now(wall), process.venue_clock.now());
        let (out, heard) = (&mut process.actions, &process.heard);
        process.session.frame(link, text.as_bytes(), &kit.signer, venue_time, now, out, heard);
        self.act(bot);
        self.drain(bot);
    }

    /// The venue has acted: its frames set out, and the judge looks at its log.
    pub(super) fn after_venue(&mut self) {
        self.observe();
        for bot in 0..self.bots.len() {
            let epoch = self.bots[bot].epoch;
            let count = self.bots[bot].process.as_ref().map_or(0, |process| process.peers.len());
            for at in 0..count {
                while let Some(process) = &mut self.bots[bot].process {
                    let Some(peer) = process.peers.get_mut(at) else { break };
                    let Some(text) = peer.face.next_frame() else { break };
                    let (link, is_silent) = (peer.id, self.now_ms < peer.silent_until_ms);
                    if !is_silent || self.is_healed {
                        self.deliver(bot, epoch, at, link, text);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, bot: usize, epoch: u32, at: usize, link: LinkId, text: String) {
        if self.strikes(Fault::LoseReport) {
            return;
        }
        if self.strikes(Fault::RepeatReport) {
            let delay_ms = self.between(1, 1_500);
            self.at(delay_ms, Happening::Frame(bot, epoch, link, text.clone()));
        }
        if self.strikes(Fault::ReorderReport) {
            let delay_ms = self.between(1, 1_500);
            return self.at(delay_ms, Happening::Frame(bot, epoch, link, text));
        }
        let due_ms = self.now_ms + self.between(1, 20);
        let peer = self.bots[bot].process.as_mut().and_then(|process| process.peers.get_mut(at));
        let due_ms = peer.map_or(due_ms, |peer| {
            peer.last_delivery_ms = peer.last_delivery_ms.max(due_ms);
            peer.last_delivery_ms
        });
        self.carry(bot, Pipe::Account, due_ms - self.now_ms, Happening::Frame(bot, epoch, link, text));
    }
}
