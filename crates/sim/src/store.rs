//! All orders, open and closed, in one slab, with every index that queries need.
//!
//! Invariants: a slot is in `by_id` exactly while it is in use; open orders of an account and instrument form a linked list
//! in order of their ids; closed orders wait in one queue and the oldest makes room when the bound is reached.

use crate::engine::LinearPosition;
use crate::event::AccountTrade;
use crate::hash::FastMap;
use crate::types::{AccountId, ClientId, ExpiryReason, ListId, OrderId, OrderState, StpMode};
use keel_model::{InstrumentId, OrderType, Side, TimeInForce, Timestamp};
use std::collections::VecDeque;

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;

/// An order in integers of its instrument's scales; amounts in atoms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) client_id: ClientId,
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) list: ListId,
    pub(crate) side: SideInt,
    pub(crate) order_type: TypeInt,
    pub(crate) tif: TifInt,
    pub(crate) stp: StpMode,
    pub(crate) state: OrderState,
    pub(crate) expiry: ExpiryReason,
    pub(crate) is_house: bool,
    /// May only make the position smaller.
    pub(crate) is_reduce_only: bool,
    pub(crate) is_working: bool,
    pub(crate) is_on_book: bool,
    pub(crate) price: i64,
    pub(crate) stop: i64,
    pub(crate) quantity: i64,
    pub(crate) filled: i64,
    pub(crate) prevented: i64,
    /// Quote amount ordered, in units of price × quantity; zero unless ordered that way.
    pub(crate) quote_quantity: i128,
    /// Value filled, in units of price × quantity.
    pub(crate) cum_quote: i128,
    /// What this order has locked itself, in atoms; zero while its list holds the lock.
    pub(crate) locked: i128,
    /// External quantity in front of it, in a recorded market.
    pub(crate) ahead: i64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) working_since: Timestamp,
    /// Neighbours in the price level.
    pub(crate) level_prev: u32,
    pub(crate) level_next: u32,
    /// Neighbours among the account's open orders of the instrument.
    pub(crate) open_prev: u32,
    pub(crate) open_next: u32,
}

impl Order {
    pub(crate) const fn remaining(&self) -> i64 {
        self.quantity - self.filled - self.prevented
    }
    pub(crate) const fn side(&self) -> Side {
        self.side.0
    }
    pub(crate) const fn order_type(&self) -> OrderType {
        self.order_type.0
    }
    /// Is it a stop or take-profit order that waits for its trigger?
    pub(crate) const fn is_waiting(&self) -> bool {
        self.order_type.0.has_stop_price() && !self.is_working
    }
}

/// [`Side`] with a default, so that a slot can be empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideInt(pub(crate) Side);
impl Default for SideInt {
    fn default() -> Self {
        Self(Side::Buy)
    }
}
/// [`OrderType`] with a default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeInt(pub(crate) OrderType);
impl Default for TypeInt {
    fn default() -> Self {
        Self(OrderType::Limit)
    }
}
/// [`TimeInForce`] with a default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TifInt(pub(crate) TimeInForce);
impl Default for TifInt {
    fn default() -> Self {
        Self(TimeInForce::Gtc)
    }
}

/// What an account has on one instrument.
#[derive(Debug)]
pub(crate) struct AccountBook {
    pub(crate) open_head: u32,
    open_tail: u32,
    pub(crate) open: u32,
    pub(crate) waiting: u32,
    pub(crate) lists: u32,
    /// Ids of all its orders, ascending; may hold ids that were evicted since.
    history: VecDeque<OrderId>,
    stale: usize,
    pub(crate) trades: VecDeque<AccountTrade>,
    /// Net position, where the instrument is a perpetual.
    pub(crate) linear: LinearPosition,
}

impl Default for AccountBook {
    fn default() -> Self {
        Self {
            open_head: NIL,
            open_tail: NIL,
            open: 0,
            waiting: 0,
            lists: 0,
            history: VecDeque::new(),
            stale: 0,
            trades: VecDeque::new(),
            linear: LinearPosition::default(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct OrderStore {
    slots: Vec<Order>,
    unused: Vec<u32>,
    by_id: FastMap<OrderId, u32>,
    by_client: FastMap<(AccountId, InstrumentId, ClientId), OrderId>,
    closed: VecDeque<OrderId>,
    books: Vec<Vec<AccountBook>>,
    pub(crate) open_total: usize,
}

impl std::ops::Index<u32> for OrderStore {
    type Output = Order;
    #[inline]
    fn index(&self, slot: u32) -> &Order {
        &self.slots[slot as usize]
    }
}
impl std::ops::IndexMut<u32> for OrderStore {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.slots[slot as usize]
    }
}

impl OrderStore {
    pub(crate) fn slot_of(&self, id: OrderId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    #[cfg(test)]
    pub(crate) fn slots_in_use(&self) -> usize {
        self.by_id.len()
    }

    /// The latest order with this client id; the open one, if any is open.
    pub(crate) fn slot_of_client(&self, account: AccountId, instrument: InstrumentId, client: ClientId) -> Option<u32> {
        self.by_client.get(&(account, instrument, client)).and_then(|id| self.slot_of(*id))
    }

    pub(crate) fn book(&self, account: AccountId, instrument: InstrumentId) -> Option<&AccountBook> {
        self.books.get(account.index())?.get(instrument.index())
    }

    pub(crate) fn book_mut(&mut self, account: AccountId, instrument: InstrumentId) -> &mut AccountBook {
        let (a, i) = (account.index(), instrument.index());
        if self.books.len() <= a {
            self.books.resize_with(a + 1, Vec::new);
        }
        let books = &mut self.books[a];
        if books.len() <= i {
            books.resize_with(i + 1, AccountBook::default);
        }
        &mut books[i]
    }

    /// Takes in an open order.
    pub(crate) fn insert(&mut self, order: Order) -> u32 {
        let (id, account, instrument) = (order.id, order.account, order.instrument);
        let (is_house, is_waiting, client_id) = (order.is_house, order.is_waiting(), order.client_id);
        let slot = match self.unused.pop() {
            Some(slot) => {
                self.slots[slot as usize] = order;
                slot
            }
            None => {
                self.slots.push(order);
                u32::try_from(self.slots.len() - 1).unwrap_or(NIL)
            }
        };
        self.by_id.insert(id, slot);
        self.open_total += 1;
        if !is_house {
            self.by_client.insert((account, instrument, client_id), id);
        }
        let book = self.book_mut(account, instrument);
        let tail = book.open_tail;
        book.open_tail = slot;
        book.open += 1;
        book.waiting += u32::from(is_waiting);
        if tail == NIL {
            book.open_head = slot;
        }
        if !is_house {
            book.history.push_back(id);
        }
        if tail != NIL {
            self.slots[tail as usize].open_next = slot;
        }
        let order = &mut self.slots[slot as usize];
        (order.open_prev, order.open_next, order.level_prev, order.level_next) = (tail, NIL, NIL, NIL);
        slot
    }

    /// A waiting order started to work.
    pub(crate) fn set_working(&mut self, slot: u32, now: Timestamp) {
        let order = &mut self.slots[slot as usize];
        let was_waiting = order.is_waiting();
        (order.is_working, order.working_since, order.updated) = (true, now, now);
        let (account, instrument) = (order.account, order.instrument);
        if was_waiting {
            self.book_mut(account, instrument).waiting -= 1;
        }
    }

    /// Gives an open order another client id.
    pub(crate) fn rename(&mut self, slot: u32, client_id: ClientId) {
        let order = &mut self.slots[slot as usize];
        let (account, instrument, id, old) = (order.account, order.instrument, order.id, order.client_id);
        order.client_id = client_id;
        self.by_client.remove(&(account, instrument, old));
        self.by_client.insert((account, instrument, client_id), id);
    }

    /// Takes an order out of the open ones; its state must already be final. House orders are forgotten at once, others
    /// stay to be asked for until `closed_max` younger ones have closed.
    pub(crate) fn close(&mut self, slot: u32, closed_max: usize) {
        let order = &self.slots[slot as usize];
        let (prev, next, id) = (order.open_prev, order.open_next, order.id);
        let (account, instrument, is_house, is_waiting) =
            (order.account, order.instrument, order.is_house, order.is_waiting());
        self.open_total -= 1;
        let book = self.book_mut(account, instrument);
        book.open -= 1;
        book.waiting -= u32::from(is_waiting);
        if book.open_head == slot {
            book.open_head = next;
        }
        if book.open_tail == slot {
            book.open_tail = prev;
        }
        if prev != NIL {
            self.slots[prev as usize].open_next = next;
        }
        if next != NIL {
            self.slots[next as usize].open_prev = prev;
        }
        if is_house {
            self.by_id.remove(&id);
            self.unused.push(slot);
            return;
        }
        self.closed.push_back(id);
        // One is always kept: the order that is just being closed may still be looked at.
        while self.closed.len() > closed_max.max(1) {
            if let Some(oldest) = self.closed.pop_front() {
                self.evict(oldest);
            }
        }
    }

    fn evict(&mut self, id: OrderId) {
        let Some(slot) = self.by_id.remove(&id) else { return };
        self.unused.push(slot);
        let order = &self.slots[slot as usize];
        let (account, instrument, client) = (order.account, order.instrument, order.client_id);
        if self.by_client.get(&(account, instrument, client)) == Some(&id) {
            self.by_client.remove(&(account, instrument, client));
        }
        let by_id = &self.by_id;
        let Some(book) = self.books.get_mut(account.index()).and_then(|books| books.get_mut(instrument.index())) else {
            return;
        };
        book.stale += 1;
        while book.history.front().is_some_and(|id| !by_id.contains_key(id)) {
            book.history.pop_front();
            book.stale = book.stale.saturating_sub(1);
        }
        if book.stale > 64 && book.stale > book.history.len() / 2 {
            book.history.retain(|id| by_id.contains_key(id));
            book.stale = 0;
        }
    }

    /// Open orders of an account on an instrument, oldest first.
    pub(crate) fn open_slots(&self, account: AccountId, instrument: InstrumentId) -> impl Iterator<Item = u32> + '_ {
        let head = self.book(account, instrument).map_or(NIL, |book| book.open_head);
        std::iter::successors((head != NIL).then_some(head), |slot| {
            let next = self.slots[*slot as usize].open_next;
            (next != NIL).then_some(next)
        })
    }

    /// All kept orders of an account on an instrument with at least this id, oldest first.
    pub(crate) fn history(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        from: OrderId,
    ) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let book = self.book(account, instrument);
        let (head, tail) = book.map_or((&[][..], &[][..]), |book| {
            let (head, tail) = book.history.as_slices();
            let cut = |ids: &[OrderId]| ids.partition_point(|id| *id < from);
            (&head[cut(head)..], &tail[cut(tail)..])
        });
        head.iter().chain(tail).filter_map(|id| self.slot_of(*id))
    }
}
