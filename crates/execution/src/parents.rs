//! Parent orders: brackets, OCO pairs, TWAP and iceberg, carried out through child orders.
//!
//! - What a parent does next is decided anew at each step from its plan, its children and the market, never from what it
//!   meant to do before: after any order of events, and after a crash at any instant, it goes on from what is true.
//! - What has to survive is the plan and the list of children: [`ParentRecord`]. A child is on that list before its intent is
//!   durable, so that no order of ours is without its parent.
//! - What the children could still come to, unknown ones counted in full, never exceeds what the plan allows.
//! - A position that its bracket cannot protect is told: nothing is unprotected in silence.
//! - Bounded: [`PARENTS_MAX`] open parents, [`keel_model::parent::CHILDREN_MAX`] children each, [`ATTEMPTS_MAX`] failures in a
//!   row; beyond them a plan is refused, ended, or given up with an alarm.

use crate::action::Change;
use crate::hash::FixedMap;
use crate::manager::OrderManager;
use crate::order::Order;
use crate::state::OrderState;
pub(crate) use keel_model::parent::part_of as part;
use keel_model::parent::{ParentEnd, ParentId, ParentPlan, ParentView};
use keel_model::{
    ClientOrderId, Instrument, InstrumentId, OrderIntent, Price, Quantity, RejectReason, Side, StrategyId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

mod pair;
mod parent;
mod slices;

pub use parent::{Child, Parent, Role};

/// Most parents that are open at once; a further one is refused.
pub const PARENTS_MAX: usize = 1_024;
/// Failures in a row after which a parent gives up.
pub const ATTEMPTS_MAX: u32 = 10;
/// Brackets that are over and stay in memory, so that a late fill of their entry is protected; the oldest leave.
const ENDED_MAX: usize = 1_024;
/// A position may be without its exit for this long (between an entry's fill and the exit's placement, or while exits are
/// exchanged) before it is told.
const GRACE: Duration = Duration::from_secs(1);
/// First pause after a failure, doubled each time.
const PAUSE_MS: u64 = 250;
/// Longest pause after a failure.
const PAUSE_MS_MAX: u64 = 30_000;
/// A child that worked for this long did not fail, however it ended.
const WORKED: Duration = Duration::from_secs(60);

/// One entry of a parent's history, as the journal keeps it. New variants are added at the end; a changed one becomes a new
/// variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentRecord {
    /// A plan was taken.
    Created {
        /// Its id.
        parent: ParentId,
        /// Whose plan.
        strategy: StrategyId,
        /// When.
        ts: Timestamp,
        /// What is to be done.
        plan: ParentPlan,
    },
    /// A child order is about to be placed.
    Child {
        /// Whose child.
        parent: ParentId,
        /// Its order.
        child: ClientOrderId,
        /// What it is in the plan.
        role: Role,
        /// Its quantity.
        quantity: Quantity,
    },
    /// It was cancelled: nothing is opened any more.
    Cancel {
        /// Which.
        parent: ParentId,
    },
    /// Its position is to be closed at the market.
    Close {
        /// Which.
        parent: ParentId,
    },
    /// It is over.
    Ended {
        /// Which.
        parent: ParentId,
        /// How.
        end: ParentEnd,
    },
    /// A bracket that was over goes on: its entry has filled late.
    Revived {
        /// Which.
        parent: ParentId,
    },
}

impl ParentRecord {
    /// The plan that it carries, to be brought to the instrument numbers of another run.
    pub const fn plan_mut(&mut self) -> Option<&mut ParentPlan> {
        match self {
            Self::Created { plan, .. } => Some(plan),
            _ => None,
        }
    }
}

/// What a parent asks for and tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentAction {
    /// Place a child.
    Place {
        /// Whose child.
        parent: ParentId,
        /// Whose order.
        strategy: StrategyId,
        /// What it is in the plan.
        role: Role,
        /// The order.
        intent: OrderIntent,
    },
    /// Cancel a child.
    Cancel(ClientOrderId),
    /// To be made durable before what follows.
    Record(ParentRecord),
    /// News.
    Tell {
        /// About whom, as it is now.
        about: ParentState,
        /// What.
        news: ParentNews,
    },
}

/// A parent in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentState {
    /// Its id.
    pub id: ParentId,
    /// Whose plan.
    pub strategy: StrategyId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side of what it opens with.
    pub side: Side,
    /// What it is to come to.
    pub quantity: Quantity,
    /// What of it is filled.
    pub filled: Quantity,
    /// What the exits of a bracket have closed.
    pub closed: Quantity,
}

/// News about a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentNews {
    /// This much of its position has no exit at the venue, for longer than it takes to place one.
    Unprotected {
        /// How much.
        quantity: Quantity,
    },
    /// The exit could not be placed in [`ATTEMPTS_MAX`] tries; a person must look.
    GaveUp {
        /// How much is without protection.
        quantity: Quantity,
    },
    /// What was unprotected is protected again.
    Protected,
    /// It is over.
    Ended(ParentEnd),
    /// Both legs of an OCO have filled, by this much more than was wanted.
    Overfilled {
        /// How much.
        quantity: Quantity,
    },
}

/// What a parent sees of the world.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Engine time.
    pub now: Timestamp,
    /// Rules of its instrument.
    pub rules: &'a Instrument,
    /// Best bid, while the book may be decided on.
    pub bid: Option<Price>,
    /// Best ask, while the book may be decided on.
    pub ask: Option<Price>,
    /// Position in its instrument; signed.
    pub held: Quantity,
    /// What may be placed to reduce that position, next to what our orders hold already.
    pub closable: Quantity,
    /// Only what protects may be placed: the exit policy is under way.
    pub is_protecting_only: bool,
    /// Does risk take what opens or adds at the moment?
    pub may_open: bool,
}

/// All parents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ParentBook {
    parents: BTreeMap<ParentId, Parent>,
    by_child: FixedMap<ClientOrderId, (ParentId, u32)>,
    /// Brackets that are over, oldest first.
    ended: VecDeque<ParentId>,
    /// To be looked at with the next step.
    dirty: Vec<ParentId>,
    /// Those that are not over.
    open: BTreeSet<ParentId>,
    /// Those of them that wait for a price or count public trades, with their instruments.
    watchers: Vec<(InstrumentId, ParentId)>,
    /// Has the run begun? Before, nothing is done: what is true is not known yet.
    #[serde(skip)]
    has_begun: bool,
}

impl ParentBook {
    /// To be looked at with the next step. Bounded: while nobody steps, as in a replay, it is thinned out.
    fn touch(&mut self, id: ParentId) {
        if self.dirty.last() == Some(&id) {
            return;
        }
        if self.dirty.len() >= 4 * PARENTS_MAX {
            self.dirty.sort_unstable();
            self.dirty.dedup();
        }
        self.dirty.push(id);
    }

    /// Renumbers instruments, after the books were taken over from another run. The instrument that is not known any more is
    /// the error.
    pub fn renumber(&mut self, renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>) -> Result<(), InstrumentId> {
        for parent in self.parents.values_mut() {
            let id = parent.plan.instrument();
            parent.plan.set_instrument(renumber(id).ok_or(id)?);
        }
        for (instrument, _) in &mut self.watchers {
            *instrument = renumber(*instrument).ok_or(*instrument)?;
        }
        Ok(())
    }

    /// Is there room for one more?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.len() < PARENTS_MAX
    }

    /// Takes a plan that was checked. It acts with the next step.
    pub fn create(&mut self, id: ParentId, strategy: StrategyId, plan: ParentPlan, ts: Timestamp) -> ParentRecord {
        self.insert(Parent::new(id, strategy, plan, ts));
        ParentRecord::Created { parent: id, strategy, ts, plan }
    }

    fn insert(&mut self, parent: Parent) {
        let id = parent.id;
        self.parents.insert(id, parent);
        self.open(id);
    }

    fn open(&mut self, id: ParentId) {
        let Some(parent) = self.parents.get(&id) else { return };
        let watcher = (parent.plan.instrument(), id);
        if parent.is_watching() && !self.watchers.contains(&watcher) {
            self.watchers.push(watcher);
        }
        self.open.insert(id);
        self.touch(id);
    }

    /// Takes a record of the journal again.
    pub fn restore(&mut self, record: &ParentRecord) {
        match *record {
            ParentRecord::Created { parent, strategy, ts, plan } => {
                self.insert(Parent { is_restored: true, ..Parent::new(parent, strategy, plan, ts) });
            }
            ParentRecord::Child { parent, child, role, quantity } => self.link(parent, child, role, quantity),
            ParentRecord::Cancel { parent } => {
                let _known = self.cancel(parent);
            }
            ParentRecord::Close { parent } => {
                let _known = self.close(parent);
            }
            ParentRecord::Ended { parent, end } => self.end(parent, end),
            ParentRecord::Revived { parent } => self.revive(parent),
        }
    }

    /// Gives every parent to the strategy that stands for its own in this run.
    pub fn reassign(&mut self, place: &dyn Fn(StrategyId) -> StrategyId) {
        for parent in self.parents.values_mut() {
            parent.strategy = place(parent.strategy);
        }
    }

    /// Begins a run: what is here was begun by a former process, and what failed then may be tried again.
    pub fn begin(&mut self) {
        self.has_begun = true;
        for parent in self.parents.values_mut() {
            parent.is_restored = true;
        }
        self.resume();
    }

    /// Puts a child on its parent's list. It counts from the moment at which the order manager has it.
    pub fn link(&mut self, parent: ParentId, child: ClientOrderId, role: Role, quantity: Quantity) {
        let Some(known) = self.parents.get_mut(&parent) else { return };
        let at = known.link(child, role, quantity);
        self.by_child.insert(child, (parent, at));
    }

    /// Whose child an order is.
    #[must_use]
    pub fn parent_of(&self, child: ClientOrderId) -> Option<ParentId> {
        self.by_child.get(&child).map(|(parent, _)| *parent)
    }

    /// One parent, while memory holds it.
    #[must_use]
    pub fn get(&self, id: ParentId) -> Option<&Parent> {
        self.parents.get(&id)
    }

    /// Parents that are not over, by id.
    pub fn all_open(&self) -> impl Iterator<Item = &Parent> {
        self.open.iter().filter_map(|id| self.parents.get(id))
    }

    /// How many are not over.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Is there nothing to do before something happens?
    #[must_use]
    #[inline]
    pub const fn is_idle(&self) -> bool {
        self.dirty.is_empty() || !self.has_begun
    }

    /// Is any order known to belong to a parent?
    #[must_use]
    #[inline]
    pub fn has_children(&self) -> bool {
        !self.by_child.is_empty()
    }

    /// Does anybody wait for prices or public trades?
    #[must_use]
    #[inline]
    pub const fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// An order is what it is now: its parent is brought up to date and looked at with the next step.
    #[inline]
    pub fn note(&mut self, order: &Order) {
        if self.by_child.is_empty() {
            return;
        }
        let Some((id, at)) = self.by_child.get(&order.id()).copied() else { return };
        let Some(parent) = self.parents.get_mut(&id) else { return };
        let has_filled = parent.note(at, order);
        if parent.end.is_none() || (has_filled && parent.is_bracket()) {
            self.touch(id);
        }
    }

    /// A child changed its state: a failure is counted, and what it means is drawn from it.
    pub fn note_change(&mut self, order: &Order, change: Change, now: Timestamp) {
        if self.by_child.is_empty() {
            return;
        }
        let Some((id, at)) = self.by_child.get(&order.id()).copied() else { return };
        let Some(parent) = self.parents.get_mut(&id) else { return };
        if let Change::Rejected(reject) = change
            && reject.reason == RejectReason::WouldTrigger
        {
            parent.note_triggered(at);
        }
        let is_refused = matches!(
            order.state,
            OrderState::Rejected | OrderState::Denied | OrderState::Abandoned | OrderState::NeverAccepted
        );
        let is_over = order.state == OrderState::Done && order.leaves().is_positive();
        let has_worked = now.since(order.ts_created) >= WORKED;
        if is_refused || (is_over && !parent.is_cancel_asked(at) && !has_worked) {
            parent.fail(now);
        }
    }

    /// A child was refused by risk, or its id was taken: it never came to be.
    pub fn note_denied(&mut self, child: ClientOrderId, now: Timestamp) {
        let Some((id, _)) = self.by_child.get(&child).copied() else { return };
        if let Some(parent) = self.parents.get_mut(&id) {
            parent.fail(now);
        }
        self.touch(id);
    }

    /// The price of an instrument has changed: who waits for prices is looked at.
    pub fn note_quote(&mut self, instrument: InstrumentId) {
        for at in 0..self.watchers.len() {
            let Some((known, id)) = self.watchers.get(at).copied() else { break };
            if known == instrument && self.parents.get(&id).is_some_and(Parent::waits_for_price) {
                self.touch(id);
            }
        }
    }

    /// A public trade: counted by those who take a part of the volume.
    pub fn note_trade(&mut self, instrument: InstrumentId, quantity: Quantity) {
        for (known, id) in &self.watchers {
            if *known == instrument
                && let Some(parent) = self.parents.get_mut(id)
            {
                parent.count_volume(quantity);
            }
        }
    }

    /// Time has passed: everybody is looked at. Cost: one look at each open parent.
    pub fn note_time(&mut self) {
        if self.has_begun {
            self.dirty.extend(self.open.iter().copied());
        }
    }

    /// Opens nothing any more. Exits of a bracket stay as long as there is something to protect. `None` when it is over.
    pub fn cancel(&mut self, id: ParentId) -> Option<ParentRecord> {
        let parent = self.parents.get_mut(&id).filter(|parent| parent.end.is_none())?;
        parent.is_cancel_wanted = true;
        self.dirty.push(id);
        Some(ParentRecord::Cancel { parent: id })
    }

    /// Cancels, and closes what is held at the market. `None` when it is over.
    pub fn close(&mut self, id: ParentId) -> Option<ParentRecord> {
        let parent = self.parents.get_mut(&id).filter(|parent| parent.end.is_none())?;
        (parent.is_cancel_wanted, parent.is_close_wanted) = (true, true);
        self.dirty.push(id);
        Some(ParentRecord::Close { parent: id })
    }

    /// A person says that it may be tried again.
    pub fn resume(&mut self) {
        for id in &self.open {
            if let Some(parent) = self.parents.get_mut(id) {
                (parent.failures, parent.retry_at, parent.has_given_up) = (0, Timestamp::ZERO, false);
                self.dirty.push(*id);
            }
        }
    }

    /// The ids that are to be looked at, in their order and once each.
    pub fn take_dirty(&mut self, into: &mut Vec<ParentId>) {
        into.clear();
        into.append(&mut self.dirty);
        into.sort_unstable();
        into.dedup();
    }

    /// One look at one parent: what it asks for and tells is appended to `out`.
    pub fn step(
        &mut self,
        id: ParentId,
        around: &Surroundings<'_>,
        orders: &OrderManager,
        out: &mut Vec<ParentAction>,
    ) {
        let Some(parent) = self.parents.get_mut(&id) else { return };
        if parent.end.is_some() {
            if !parent.is_bracket() || !parent.wants_revival(around) {
                return;
            }
            out.push(ParentAction::Record(ParentRecord::Revived { parent: id }));
            self.revive(id);
        }
        let Some(parent) = self.parents.get_mut(&id) else { return };
        let was_closing = parent.is_close_wanted;
        let end = parent.step(around, orders, out);
        if parent.is_close_wanted && !was_closing {
            out.push(ParentAction::Record(ParentRecord::Close { parent: id }));
        }
        if let Some(end) = end {
            let tell = parent.tell(ParentNews::Ended(end));
            out.push(ParentAction::Record(ParentRecord::Ended { parent: id, end }));
            out.push(tell);
            self.end(id, end);
        }
    }

    /// Ends the parents that are meant: their orders are cancelled, and the exit policy takes over what they held.
    pub fn end_where(&mut self, end: ParentEnd, is_meant: impl Fn(&Parent) -> bool, out: &mut Vec<ParentAction>) {
        let meant: Vec<ParentId> = self.all_open().filter(|parent| is_meant(parent)).map(|parent| parent.id).collect();
        for id in meant {
            let Some(parent) = self.parents.get_mut(&id) else { continue };
            parent.cancel_children(|_| true, out);
            out.push(ParentAction::Record(ParentRecord::Ended { parent: id, end }));
            let tell = parent.tell(ParentNews::Ended(end));
            out.push(tell);
            self.end(id, end);
        }
    }

    /// Cancels the entries of brackets; what has filled stays protected.
    pub fn cancel_entries(&mut self, is_meant: impl Fn(&Parent) -> bool, out: &mut Vec<ParentAction>) {
        let is_meant = |parent: &&Parent| parent.is_bracket() && !parent.is_cancel_wanted && is_meant(parent);
        let meant: Vec<ParentId> = self.all_open().filter(is_meant).map(|parent| parent.id).collect();
        for id in meant {
            out.extend(self.cancel(id).map(ParentAction::Record));
        }
    }

    fn end(&mut self, id: ParentId, end: ParentEnd) {
        let Some(parent) = self.parents.get_mut(&id).filter(|parent| parent.end.is_none()) else { return };
        parent.end = Some(end);
        let is_over_for_good = !parent.is_bracket() || end == ParentEnd::Stopped;
        self.open.remove(&id);
        self.watchers.retain(|(_, watcher)| *watcher != id);
        if is_over_for_good {
            self.forget(id);
            return;
        }
        self.ended.push_back(id);
        while self.ended.len() > ENDED_MAX {
            let Some(oldest) = self.ended.pop_front() else { break };
            if self.parents.get(&oldest).is_some_and(|parent| parent.end.is_some()) {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, id: ParentId) {
        if let Some(parent) = self.parents.remove(&id) {
            for child in &parent.children {
                self.by_child.remove(&child.id);
            }
        }
    }

    fn revive(&mut self, id: ParentId) {
        let Some(parent) = self.parents.get_mut(&id).filter(|parent| parent.end.is_some()) else { return };
        parent.end = None;
        parent.is_cancel_wanted = true;
        self.ended.retain(|ended| *ended != id);
        self.open(id);
    }

    /// Parents that are not over, for people.
    #[must_use]
    pub fn views(&self) -> Vec<ParentView> {
        self.all_open().map(Parent::view).collect()
    }
}

pub(crate) fn plus(a: Quantity, b: Quantity) -> Quantity {
    a.checked_add(b).unwrap_or_else(|_| Quantity::from_int(i64::MAX))
}

/// `a − b`, not below zero.
pub(crate) fn less(a: Quantity, b: Quantity) -> Quantity {
    a.checked_sub(b).ok().filter(|left| left.is_positive()).unwrap_or(Quantity::ZERO)
}

/// A number from a seed and an index: the same in each run.
pub(crate) const fn random(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MS_MAX))
}
