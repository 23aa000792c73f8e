//! Placing, cancelling, replacing and amending single orders.

use super::MatchingEngine;
use crate::accounts::AMOUNT_MAX;
use crate::reject::Reject;
use crate::store::{NIL, Order, SideInt, TifInt, TypeInt};
use crate::types::{
    AccountId, AmendRequest, CancelReplace, CancelRequest, CancelRestriction, ClientId, ExpiryReason, ListId, OrderRef,
    OrderRequest, OrderSize, OrderState, OrderView, ReplaceMode, ReplaceResult,
};
use keel_model::{ExecType, InstrumentId, OrderType, Side, TimeInForce, Timestamp};

/// A request in integers, checked against every rule but the account's funds and counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) side: Side,
    pub(super) order_type: OrderType,
    pub(super) tif: TimeInForce,
    pub(super) price: i64,
    pub(super) stop: i64,
    pub(super) quantity: i64,
    pub(super) quote_quantity: i128,
}

impl MatchingEngine {
    /// Places an order. The answer is the order after its own matching; its fills are in [`Self::last_fills`].
    pub fn submit(&mut self, now: Timestamp, account: AccountId, request: &OrderRequest) -> Result<OrderView, Reject> {
        self.begin(now);
        let m = self.market_index(request.instrument)?;
        let view = self.place(m, account, request)?;
        self.finish(m);
        Ok(view)
    }

    /// Checks an order as [`Self::submit`] would and does nothing.
    pub fn test_order(&mut self, now: Timestamp, account: AccountId, request: &OrderRequest) -> Result<(), Reject> {
        self.begin(now);
        let m = self.market_index(request.instrument)?;
        self.check_account(account)?;
        let draft = self.draft(m, request)?;
        self.check_counts(m, account, &draft, request.client_order_id)?;
        self.check_funds(m, account, &draft, request).map(|_| ())
    }

    /// Cancels an open order; if it belongs to a list of which no leg has traded or triggered, the whole list.
    pub fn cancel(&mut self, now: Timestamp, account: AccountId, request: &CancelRequest) -> Result<OrderView, Reject> {
        self.begin(now);
        let m = self.market_index(request.instrument)?;
        let view = self.cancel_one(m, account, request)?;
        self.finish(m);
        Ok(view)
    }

    /// Cancels every open order of an account on an instrument. Refused when there is none.
    pub fn cancel_all(
        &mut self,
        now: Timestamp,
        account: AccountId,
        instrument: InstrumentId,
        out: &mut Vec<OrderView>,
    ) -> Result<(), Reject> {
        self.begin(now);
        let m = self.market_index(instrument)?;
        self.check_account(account)?;
        let first = out.len();
        loop {
            let Some(slot) = self.store.open_slots(account, instrument).next() else { break };
            let before = self.store.open_total;
            self.cancel_slot(m, slot, ClientId::EMPTY, Some(out));
            if self.store.open_total >= before {
                break;
            }
        }
        self.finish(m);
        if out.len() == first { Err(Reject::UnknownOrder) } else { Ok(()) }
    }

    /// Cancels one order and places another. The new order's filters are checked first; if it breaks one, nothing is done.
    /// What only the market decides (post-only, trigger, liquidity) is looked at after the cancel, as at the real venue.
    pub fn cancel_replace(
        &mut self,
        now: Timestamp,
        account: AccountId,
        request: &CancelReplace,
    ) -> Result<ReplaceResult, Reject> {
        self.begin(now);
        let m = self.market_index(request.new.instrument)?;
        if request.cancel.instrument != request.new.instrument {
            return Err(Reject::Shape);
        }
        self.check_account(account)?;
        match self.draft(m, &request.new) {
            Ok(_) | Err(Reject::WouldTake | Reject::WouldTrigger | Reject::NoLastPrice | Reject::NoLiquidity) => {}
            Err(reject) => return Err(reject),
        }
        let cancel = self.cancel_one(m, account, &request.cancel);
        if cancel.is_err() && request.mode == ReplaceMode::StopOnFailure {
            return Ok(ReplaceResult { cancel, new: None });
        }
        let new = self.place(m, account, &request.new);
        self.finish(m);
        Ok(ReplaceResult { cancel, new: Some(new) })
    }

    /// Reduces an order's quantity; it keeps its place in the queue.
    pub fn amend(&mut self, now: Timestamp, account: AccountId, request: &AmendRequest) -> Result<OrderView, Reject> {
        self.begin(now);
        let m = self.market_index(request.instrument)?;
        let slot = self.find_open(account, request.instrument, request.order)?;
        let rules = self.markets[m].rules;
        let quantity = rules.check_quantity(request.quantity, false)?;
        let order = &self.store[slot];
        if self.is_list_pending(order.list) {
            return Err(Reject::ListTypes);
        }
        if quantity >= order.quantity || quantity <= order.filled + order.prevented {
            return Err(Reject::AmendQuantity);
        }
        if order.price > 0 {
            rules.check_value(rules.value(order.price, quantity)?, false)?;
        }
        if !request.new_client_order_id.is_empty() && request.new_client_order_id != order.client_id {
            self.check_client_id(account, request.instrument, request.new_client_order_id)?;
        }
        let (removed, side, price) = (order.quantity - quantity, order.side(), order.price);
        let is_on_book = order.is_on_book;
        let before = self.need(m, slot);
        let original = self.store[slot].client_id;
        self.store[slot].quantity = quantity;
        self.store[slot].updated = self.now;
        let freed = before - self.need(m, slot);
        self.release(m, slot, freed);
        if !request.new_client_order_id.is_empty() && request.new_client_order_id != original {
            self.store.rename(slot, request.new_client_order_id);
        }
        if is_on_book {
            let total = self.markets[m].book.shrink(side, price, removed);
            self.book_changed(m, side, price, total);
        }
        self.report(m, slot, ExecType::Replaced, original);
        let view = self.view_slot(slot);
        self.finish(m);
        Ok(view)
    }

    pub(super) fn check_account(&self, account: AccountId) -> Result<(), Reject> {
        self.accounts.get(account).map(|_| ()).ok_or(Reject::UnknownAccount)
    }

    /// Turns a request into integers and checks it against the instrument's rules and the market.
    pub(super) fn draft(&self, m: usize, request: &OrderRequest) -> Result<Draft, Reject> {
        let market = &self.markets[m];
        let rules = &market.rules;
        if !market.instrument.status.is_tradable() {
            return Err(Reject::NotTrading);
        }
        let order_type = request.order_type;
        if request.price.is_some() != order_type.has_price()
            || request.stop_price.is_some() != order_type.has_stop_price()
        {
            return Err(Reject::Shape);
        }
        let price = request.price.map_or(Ok(0), |price| rules.check_price(price))?;
        let stop = request.stop_price.map_or(Ok(0), |price| rules.check_price(price))?;
        let is_market = !order_type.has_price();
        let (quantity, quote_quantity) = match request.size {
            OrderSize::Base(quantity) => (rules.check_quantity(quantity, is_market)?, 0),
            OrderSize::Quote(amount) if order_type == OrderType::Market && amount.is_positive() => {
                let scale = rules.price_scale + rules.quantity_scale;
                let units = keel_model::Notional::from(amount).round(scale, keel_model::Rounding::Down);
                let units = units.map_err(|_| Reject::TooLarge)?;
                let up = crate::accounts::pow10(scale - units.scale().min(scale));
                let units = units.mantissa().checked_mul(up).filter(|units| *units < AMOUNT_MAX / rules.quote_unit);
                let units = units.ok_or(Reject::TooLarge)?;
                // What the amount reaches in the present book is the quantity ordered.
                let (quantity, _) = self.quote_reach(m, request.side, units);
                if quantity < rules.lot.min.max(1) {
                    return Err(Reject::NoLiquidity);
                }
                (quantity, units)
            }
            OrderSize::Quote(_) => return Err(Reject::Shape),
        };
        let draft =
            Draft { side: request.side, order_type, tif: request.time_in_force, price, stop, quantity, quote_quantity };
        self.check_market(m, &draft)?;
        Ok(draft)
    }

    /// Checks that depend on where the market is: value, distance, triggers, post-only.
    fn check_market(&self, m: usize, draft: &Draft) -> Result<(), Reject> {
        let market = &self.markets[m];
        let rules = &market.rules;
        let average = match &market.touch {
            Some(_) => market.mark_price(),
            None => market.tape.average_price(self.now),
        };
        if draft.order_type.has_price() {
            rules.check_percent(draft.side, draft.price, average)?;
        }
        let is_market = !draft.order_type.has_price();
        let value_price = match (draft.price, draft.stop) {
            (0, 0) => average,
            (0, stop) => Some(stop),
            (price, _) => Some(price),
        };
        if draft.quote_quantity > 0 {
            rules.check_value(draft.quote_quantity * rules.quote_unit, true)?;
        } else if let Some(price) = value_price {
            rules.check_value(rules.value(price, draft.quantity)?, is_market)?;
        }
        if draft.order_type.has_stop_price() {
            let last = market.reference_price().ok_or(Reject::NoLastPrice)?;
            let is_reached =
                if triggers_up(draft.order_type, draft.side) { last >= draft.stop } else { last <= draft.stop };
            if is_reached {
                return Err(Reject::WouldTrigger);
            }
        }
        if draft.order_type == OrderType::LimitMaker && self.would_take(m, draft.side, draft.price) {
            return Err(Reject::WouldTake);
        }
        Ok(())
    }

    pub(super) fn check_client_id(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        client: ClientId,
    ) -> Result<(), Reject> {
        let slot = self.store.slot_of_client(account, instrument, client);
        let is_open = slot.is_some_and(|slot| self.store[slot].state.is_open());
        if is_open && !client.is_empty() { Err(Reject::DuplicateClientId) } else { Ok(()) }
    }

    /// Checks what depends on the account's other orders.
    pub(super) fn check_counts(
        &self,
        m: usize,
        account: AccountId,
        draft: &Draft,
        client: ClientId,
    ) -> Result<(), Reject> {
        let instrument = &self.markets[m].instrument;
        self.check_client_id(account, instrument.id, client)?;
        if self.store.open_total >= self.config.limits.open_orders_max
            || self.events.len() >= self.config.limits.events_max.saturating_mul(2)
        {
            return Err(Reject::VenueFull);
        }
        if self.accounts.is_house(account) {
            return Ok(());
        }
        let Some(book) = self.store.book(account, instrument.id) else { return Ok(()) };
        if instrument.max_open_orders > 0 && book.open >= instrument.max_open_orders {
            return Err(Reject::MaxNumOrders);
        }
        let is_algo = draft.order_type.has_stop_price();
        if is_algo && instrument.max_open_algo_orders > 0 && book.waiting >= instrument.max_open_algo_orders {
            return Err(Reject::MaxNumAlgoOrders);
        }
        Ok(())
    }

    /// Checks that the account can pay; returns what must be locked, in atoms.
    pub(super) fn check_funds(
        &self,
        m: usize,
        account: AccountId,
        draft: &Draft,
        request: &OrderRequest,
    ) -> Result<i128, Reject> {
        let market = &self.markets[m];
        if market.is_linear {
            self.check_reduce_only(m, account, draft, request)?;
            return self.check_margin(m, account, draft, request.reduce_only).map(|()| 0);
        }
        let rules = &market.rules;
        let asset = if draft.side == Side::Buy { market.quote } else { market.base };
        let lock = match (draft.side, draft.order_type) {
            (_, OrderType::Market) => 0,
            (Side::Buy, _) => rules.value(if draft.price > 0 { draft.price } else { draft.stop }, draft.quantity)?,
            (Side::Sell, _) => i128::from(draft.quantity) * rules.base_unit,
        };
        let needed = if draft.order_type == OrderType::Market { self.market_need(m, draft)? } else { lock };
        if self.accounts.cell(account, asset).free < needed && !self.accounts.is_house(account) {
            return Err(Reject::InsufficientBalance);
        }
        debug_assert!(request.instrument == market.instrument.id);
        Ok(lock)
    }

    /// What a market order needs at the book's present state, in atoms.
    fn market_need(&self, m: usize, draft: &Draft) -> Result<i128, Reject> {
        let rules = &self.markets[m].rules;
        Ok(match draft.side {
            Side::Sell => i128::from(draft.quantity) * rules.base_unit,
            Side::Buy => self.buy_cost(m, draft.quantity).saturating_mul(rules.quote_unit),
        })
    }

    /// Checks and places an order, matches it, and lets it rest, wait or end.
    fn place(&mut self, m: usize, account: AccountId, request: &OrderRequest) -> Result<OrderView, Reject> {
        self.check_account(account)?;
        let draft = self.draft(m, request)?;
        self.check_counts(m, account, &draft, request.client_order_id)?;
        let lock = self.check_funds(m, account, &draft, request)?;
        let slot = self.open_order(m, account, &draft, request, lock, 0)?;
        self.report(m, slot, ExecType::New, self.store[slot].client_id);
        Ok(self.work(m, slot))
    }

    /// Makes an open order out of a checked draft and locks what it needs.
    pub(super) fn open_order(
        &mut self,
        m: usize,
        account: AccountId,
        draft: &Draft,
        request: &OrderRequest,
        lock: i128,
        list: ListId,
    ) -> Result<u32, Reject> {
        let market = &self.markets[m];
        let asset = if draft.side == Side::Buy { market.quote } else { market.base };
        let is_reduce_only = request.reduce_only && market.is_linear;
        self.accounts.lock(account, asset, lock)?;
        if lock != 0 {
            self.touch(account);
        }
        let id = self.next_order_id;
        self.next_order_id += 1;
        let is_stop = draft.order_type.has_stop_price();
        Ok(self.store.insert(Order {
            id,
            client_id: made_up(request.client_order_id, id),
            account,
            instrument: request.instrument,
            list,
            side: SideInt(draft.side),
            order_type: TypeInt(draft.order_type),
            tif: TifInt(draft.tif),
            stp: request.stp_mode.unwrap_or(self.config.stp_default),
            is_house: self.accounts.is_house(account),
            is_reduce_only,
            is_working: !is_stop,
            price: draft.price,
            stop: draft.stop,
            quantity: draft.quantity,
            quote_quantity: draft.quote_quantity,
            locked: lock,
            created: self.now,
            updated: self.now,
            working_since: if is_stop { Timestamp::ZERO } else { self.now },
            level_prev: NIL,
            level_next: NIL,
            ..Order::default()
        }))
    }

    fn cancel_one(&mut self, m: usize, account: AccountId, request: &CancelRequest) -> Result<OrderView, Reject> {
        let slot = self.find_open(account, request.instrument, request.order)?;
        let is_allowed = match request.restriction {
            CancelRestriction::Any => true,
            CancelRestriction::OnlyNew => self.store[slot].state == OrderState::New,
            CancelRestriction::OnlyPartiallyFilled => self.store[slot].state == OrderState::PartiallyFilled,
        };
        if !is_allowed {
            return Err(Reject::CancelRestriction);
        }
        let view = self.view_slot(slot);
        self.cancel_slot(m, slot, request.cancel_client_id, None);
        Ok(OrderView { state: OrderState::Canceled, ts_updated: self.now, ..view })
    }

    /// Cancels an open order, or the list that it belongs to while that is undecided.
    pub(super) fn cancel_slot(&mut self, m: usize, slot: u32, cancel_id: ClientId, out: Option<&mut Vec<OrderView>>) {
        let list = self.store[slot].list;
        if self.is_list_pending(list) {
            self.cancel_list_legs(m, list, cancel_id, out);
            return;
        }
        if let Some(out) = out {
            out.push(OrderView { state: OrderState::Canceled, ts_updated: self.now, ..self.view_slot(slot) });
        }
        self.end(m, slot, OrderState::Canceled, ExpiryReason::None, cancel_id);
    }

    /// The open order meant.
    pub(super) fn find_open(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        which: OrderRef,
    ) -> Result<u32, Reject> {
        let slot = self.find(account, instrument, which).ok_or(Reject::UnknownOrder)?;
        if self.store[slot].state.is_open() { Ok(slot) } else { Err(Reject::UnknownOrder) }
    }

    /// The order meant, open or closed.
    pub(super) fn find(&self, account: AccountId, instrument: InstrumentId, which: OrderRef) -> Option<u32> {
        let slot = match which {
            OrderRef::Id(id) | OrderRef::Both(id, _) => self.store.slot_of(id)?,
            OrderRef::Client(client) => self.store.slot_of_client(account, instrument, client)?,
        };
        let order = &self.store[slot];
        let is_named = match which {
            OrderRef::Both(_, client) => order.client_id == client,
            _ => true,
        };
        (order.account == account && order.instrument == instrument && is_named).then_some(slot)
    }
}

/// Does a stop order of this type and side trigger when the price rises?
pub(super) const fn triggers_up(order_type: OrderType, side: Side) -> bool {
    let is_stop_loss = matches!(order_type, OrderType::StopLoss | OrderType::StopLossLimit);
    is_stop_loss == matches!(side, Side::Buy)
}

/// The given client id, or one made of the number.
pub(super) fn made_up(client: ClientId, number: u64) -> ClientId {
    if client.is_empty() { ClientId::truncated(&format!("sim-{number}")) } else { client }
}
