//! Order lists: one cancels the other.
//!
//! While a list is pending (no leg has traded or triggered) it holds one lock for both legs: the larger need. When one leg
//! trades or triggers, the other expires and the lock passes to the leg that is left.

use super::MatchingEngine;
use super::ordering::{Draft, made_up};
use crate::event::{ListReport, SimEvent};
use crate::reject::Reject;
use crate::store::NIL;
use crate::types::{
    AccountId, ClientId, Contingency, ExpiryReason, ListId, ListStatus, OcoLeg, OcoRequest, OrderId, OrderListView,
    OrderRequest, OrderSize, OrderState, OrderView,
};
use keel_model::{ExecType, InstrumentId, OrderType, Side, Timestamp};

/// Most open order lists of an account on one instrument (Binance `MAX_NUM_ORDER_LISTS`).
const LISTS_MAX: u32 = 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderList {
    client_id: ClientId,
    pub(super) account: AccountId,
    pub(super) instrument: InstrumentId,
    legs: [u32; 2],
    orders: [(OrderId, ClientId); 2],
    locked: i128,
    is_pending: bool,
    open_legs: u8,
    updated: Timestamp,
}

impl MatchingEngine {
    /// Places two orders of which one cancels the other.
    pub fn submit_oco(
        &mut self,
        now: Timestamp,
        account: AccountId,
        request: &OcoRequest,
    ) -> Result<OrderListView, Reject> {
        self.begin(now);
        let m = self.market_index(request.instrument)?;
        self.check_account(account)?;
        check_types(request)?;
        let (above, below) = (leg_request(request, &request.above), leg_request(request, &request.below));
        self.check_list_prices(m, request)?;
        let (first, second) = (self.draft(m, &above)?, self.draft(m, &below)?);
        self.check_list_counts(m, account, [&first, &second], request)?;
        let lock = self.check_funds(m, account, &first, &above)?.max(self.check_funds(m, account, &second, &below)?);
        let list = self.open_list(m, account, request, [(&first, &above), (&second, &below)], lock)?;
        let view = self.list_view(list).ok_or(Reject::NoSuchOrder)?;
        self.events.push(SimEvent::List(ListReport { list: view, is_new: true }));
        let legs = self.lists.get(&list).map_or([NIL; 2], |found| found.legs);
        for slot in legs {
            self.report(m, slot, ExecType::New, self.store[slot].client_id);
        }
        for slot in legs {
            if self.store[slot].is_waiting() {
                self.work(m, slot);
            } else {
                self.rest(m, slot);
            }
        }
        self.finish(m);
        Ok(view)
    }

    /// Cancels an open order list, by its own id or its client id.
    pub fn cancel_list(
        &mut self,
        now: Timestamp,
        account: AccountId,
        instrument: InstrumentId,
        which: Result<ListId, ClientId>,
        out: &mut Vec<OrderView>,
    ) -> Result<OrderListView, Reject> {
        self.begin(now);
        let m = self.market_index(instrument)?;
        let id = self.find_list(account, which).ok_or(Reject::UnknownOrder)?;
        let Some(list) = self.lists.get(&id).copied() else { return Err(Reject::UnknownOrder) };
        if list.open_legs == 0 || list.instrument != instrument {
            return Err(Reject::UnknownOrder);
        }
        if list.is_pending {
            self.cancel_list_legs(m, id, ClientId::EMPTY, Some(out));
        } else {
            for (order, _) in list.orders {
                let slot = self.store.slot_of(order).filter(|slot| self.store[*slot].state.is_open());
                if let Some(slot) = slot {
                    self.cancel_slot(m, slot, ClientId::EMPTY, Some(out));
                }
            }
        }
        self.finish(m);
        self.list_view(id).ok_or(Reject::UnknownOrder)
    }

    /// An order list of an account.
    #[must_use]
    pub fn order_list(&self, account: AccountId, which: Result<ListId, ClientId>) -> Option<OrderListView> {
        self.find_list(account, which).and_then(|id| self.list_view(id))
    }

    /// All kept order lists of an account, oldest first; only those with open orders if asked so.
    #[must_use]
    pub fn order_lists(&self, account: AccountId, only_open: bool) -> Vec<OrderListView> {
        let mut ids: Vec<ListId> =
            self.lists.iter().filter(|(_, list)| list.account == account).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let views = ids.into_iter().filter_map(|id| self.list_view(id));
        views.filter(|view| !only_open || view.status == ListStatus::Executing).collect()
    }

    fn find_list(&self, account: AccountId, which: Result<ListId, ClientId>) -> Option<ListId> {
        match which {
            Ok(id) => self.lists.get(&id).filter(|list| list.account == account).map(|_| id),
            // Client ids of lists are rarely asked for: a walk over the bounded number of lists will do.
            Err(client) => {
                let of_client =
                    self.lists.iter().filter(|(_, list)| list.account == account && list.client_id == client);
                of_client.map(|(id, _)| *id).max()
            }
        }
    }

    fn list_view(&self, id: ListId) -> Option<OrderListView> {
        let list = self.lists.get(&id)?;
        Some(OrderListView {
            list_id: id,
            list_client_order_id: list.client_id,
            account: list.account,
            instrument: list.instrument,
            contingency: Contingency::Oco,
            status: if list.open_legs > 0 { ListStatus::Executing } else { ListStatus::AllDone },
            orders: list.orders,
            ts_transact: list.updated,
        })
    }

    fn check_list_prices(&self, m: usize, request: &OcoRequest) -> Result<(), Reject> {
        let market = &self.markets[m];
        let last = market.rules.price(market.reference_price().ok_or(Reject::NoLastPrice)?);
        let (Some(above), Some(below)) = (trigger_or_price(&request.above), trigger_or_price(&request.below)) else {
            return Err(Reject::Shape);
        };
        if above > last && last > below { Ok(()) } else { Err(Reject::ListPrices) }
    }

    fn check_list_counts(
        &self,
        m: usize,
        account: AccountId,
        drafts: [&Draft; 2],
        request: &OcoRequest,
    ) -> Result<(), Reject> {
        let [above, below] = [request.above.client_order_id, request.below.client_order_id];
        if !above.is_empty() && above == below {
            return Err(Reject::DuplicateClientId);
        }
        self.check_counts(m, account, drafts[0], above)?;
        self.check_counts(m, account, drafts[1], below)?;
        let instrument = &self.markets[m].instrument;
        let Some(book) = self.store.book(account, instrument.id) else { return Ok(()) };
        let algo = drafts.iter().map(|draft| u32::from(draft.order_type.has_stop_price())).sum::<u32>();
        let algo_max = instrument.max_open_algo_orders;
        if instrument.max_open_orders > 0 && book.open + 2 > instrument.max_open_orders {
            return Err(Reject::MaxNumOrders);
        }
        if algo_max > 0 && book.waiting + algo > algo_max {
            return Err(Reject::MaxNumAlgoOrders);
        }
        if book.lists >= LISTS_MAX { Err(Reject::MaxNumOrderLists) } else { Ok(()) }
    }

    fn open_list(
        &mut self,
        m: usize,
        account: AccountId,
        request: &OcoRequest,
        legs: [(&Draft, &OrderRequest); 2],
        lock: i128,
    ) -> Result<ListId, Reject> {
        let asset = self.given_asset(m, request.side);
        self.accounts.lock(account, asset, lock)?;
        self.touch(account);
        let id = self.next_list_id;
        self.next_list_id += 1;
        let mut slots = [NIL; 2];
        for (slot, (draft, leg)) in slots.iter_mut().zip(legs) {
            *slot = self.open_order(m, account, draft, leg, 0, id)?;
        }
        let orders = slots.map(|slot| (self.store[slot].id, self.store[slot].client_id));
        let list = OrderList {
            client_id: made_up(request.list_client_order_id, id),
            account,
            instrument: request.instrument,
            legs: slots,
            orders,
            locked: lock,
            is_pending: true,
            open_legs: 2,
            updated: self.now,
        };
        self.lists.insert(id, list);
        self.store.book_mut(account, request.instrument).lists += 1;
        Ok(id)
    }

    /// Is this a list of which no leg has traded or triggered?
    pub(super) fn is_list_pending(&self, list: ListId) -> bool {
        list > 0 && self.lists.get(&list).is_some_and(|list| list.is_pending)
    }

    /// A leg trades or triggers: the other expires, and this one takes over the lock.
    pub(super) fn decide_list(&mut self, m: usize, slot: u32) {
        let id = self.store[slot].list;
        if !self.is_list_pending(id) {
            return;
        }
        let need = self.need(m, slot);
        let now = self.now;
        let Some(list) = self.lists.get_mut(&id) else { return };
        let other = if list.legs[0] == slot { list.legs[1] } else { list.legs[0] };
        let (account, surplus) = (list.account, list.locked - need);
        (list.is_pending, list.locked, list.updated) = (false, 0, now);
        let asset = self.given_asset(m, self.store[slot].side());
        self.accounts.unlock(account, asset, surplus);
        self.store[slot].locked = need;
        self.touch(account);
        self.end(m, other, OrderState::Expired, ExpiryReason::OcoTrigger, ClientId::EMPTY);
    }

    /// Cancels both legs of a pending list.
    pub(super) fn cancel_list_legs(
        &mut self,
        m: usize,
        id: ListId,
        cancel_id: ClientId,
        mut out: Option<&mut Vec<OrderView>>,
    ) {
        let now = self.now;
        let Some(list) = self.lists.get_mut(&id) else { return };
        let (legs, account, locked) = (list.legs, list.account, list.locked);
        (list.is_pending, list.locked, list.updated) = (false, 0, now);
        let asset = self.given_asset(m, self.store[legs[0]].side());
        self.accounts.unlock(account, asset, locked);
        self.touch(account);
        for slot in legs {
            if let Some(out) = out.as_deref_mut() {
                out.push(OrderView { state: OrderState::Canceled, ts_updated: now, ..self.view_slot(slot) });
            }
            self.end(m, slot, OrderState::Canceled, ExpiryReason::None, cancel_id);
        }
    }

    /// A leg has closed; when it was the last, so is its list.
    pub(super) fn list_leg_closed(&mut self, list: Option<ListId>) {
        let Some(id) = list else { return };
        let now = self.now;
        let Some(list) = self.lists.get_mut(&id) else { return };
        list.open_legs = list.open_legs.saturating_sub(1);
        list.updated = now;
        if list.open_legs > 0 {
            return;
        }
        let (account, instrument) = (list.account, list.instrument);
        self.store.book_mut(account, instrument).lists -= 1;
        if let Some(view) = self.list_view(id) {
            self.events.push(SimEvent::List(ListReport { list: view, is_new: false }));
        }
        self.closed_lists.push_back(id);
        while self.closed_lists.len() > self.config.limits.closed_lists_max {
            if let Some(oldest) = self.closed_lists.pop_front() {
                self.lists.remove(&oldest);
            }
        }
    }
}

const fn leg_request(request: &OcoRequest, leg: &OcoLeg) -> OrderRequest {
    OrderRequest {
        client_order_id: leg.client_order_id,
        instrument: request.instrument,
        side: request.side,
        order_type: leg.order_type,
        time_in_force: leg.time_in_force,
        size: OrderSize::Base(request.quantity),
        price: leg.price,
        stop_price: leg.stop_price,
        stp_mode: request.stp_mode,
        reduce_only: false,
    }
}

/// Exactly one leg protects (stop loss) and the other takes profit (post-only limit or take-profit), on the right sides.
fn check_types(request: &OcoRequest) -> Result<(), Reject> {
    let is_stop = |leg: &OcoLeg| matches!(leg.order_type, OrderType::StopLoss | OrderType::StopLossLimit);
    let is_profit = |leg: &OcoLeg| {
        matches!(leg.order_type, OrderType::LimitMaker | OrderType::TakeProfit | OrderType::TakeProfitLimit)
    };
    let (stop, profit) = match request.side {
        Side::Buy => (&request.above, &request.below),
        Side::Sell => (&request.below, &request.above),
    };
    if is_stop(stop) && is_profit(profit) { Ok(()) } else { Err(Reject::ListTypes) }
}

fn trigger_or_price(leg: &OcoLeg) -> Option<keel_model::Price> {
    leg.stop_price.or(leg.price)
}
