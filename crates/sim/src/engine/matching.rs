//! Matching: an incoming order against the book, self-trade prevention, resting, and triggered stop orders.

use super::MatchingEngine;
use super::ordering::triggers_up;
use crate::book::BookLevel;
use crate::store::NIL;
use crate::tape::TapeTrade;
use crate::types::{ClientId, ExpiryReason, OrderState, OrderView, StpMode};
use keel_model::{ExecType, OrderType, Side, TimeInForce};

/// Where the best liquidity comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// An order of an account.
    Order(u32),
    /// The recorded book, with this much still to be had.
    External(i64),
}

/// Why matching came to an end with something left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// Nothing (more) to trade with at the order's price.
    NoLiquidity,
    /// The account cannot pay for more.
    NoFunds,
    /// Self-trade prevention ended it.
    Prevented,
    /// It may only reduce, and there is nothing left to reduce.
    NothingToReduce,
}

impl MatchingEngine {
    /// Puts a new or triggered order to work: waits, matches, rests or ends. Returns it as it stands afterwards.
    pub(super) fn work(&mut self, m: usize, slot: u32) -> OrderView {
        let order = &self.store[slot];
        let (side, order_type, tif, price) = (order.side(), order.order_type(), order.tif.0, order.price);
        if order.is_waiting() {
            let key = (order.stop, order.id);
            let market = &mut self.markets[m];
            let stops = if triggers_up(order_type, side) { &mut market.stops_up } else { &mut market.stops_down };
            stops.insert(key, slot);
            return self.view_slot(slot);
        }
        if order_type == OrderType::Market && self.waits_for_open(m) {
            let id = self.store[slot].id;
            self.markets[m].waiting_for_open.push_back((slot, id));
            return self.view_slot(slot);
        }
        let limit = order_type.has_price().then_some(price);
        let is_fok = order_type.has_price() && tif == TimeInForce::Fok;
        if is_fok && !self.can_fill(m, slot, price) {
            return self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::UnfilledFok);
        }
        self.work_taker(m, slot, limit, tif)
    }

    /// A market order whose time has come.
    pub(super) fn work_market(&mut self, m: usize, slot: u32) {
        let tif = self.store[slot].tif.0;
        self.work_taker(m, slot, None, tif);
    }

    fn work_taker(&mut self, m: usize, slot: u32, limit: Option<i64>, tif: TimeInForce) -> OrderView {
        let halt = self.match_taker(m, slot, limit);
        let order = &self.store[slot];
        if order.state == OrderState::Filled {
            let view = self.view_slot(slot);
            self.store.close(slot, self.config.limits.closed_orders_max);
            self.list_leg_closed(view.list_id);
            return view;
        }
        match halt {
            Halt::Prevented => self.end_viewed(m, slot, OrderState::ExpiredInMatch, ExpiryReason::SelfTrade),
            Halt::NothingToReduce => self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::NothingToReduce),
            Halt::NoFunds => self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::InsufficientBalance),
            Halt::NoLiquidity if limit.is_none() => {
                self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::InsufficientLiquidity)
            }
            Halt::NoLiquidity if tif == TimeInForce::Ioc => {
                self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::UnfilledIoc)
            }
            Halt::NoLiquidity if tif == TimeInForce::Fok => {
                self.end_viewed(m, slot, OrderState::Expired, ExpiryReason::UnfilledFok)
            }
            Halt::NoLiquidity => {
                self.rest(m, slot);
                self.view_slot(slot)
            }
        }
    }

    pub(super) fn rest(&mut self, m: usize, slot: u32) {
        let (side, price) = (self.store[slot].side(), self.store[slot].price);
        if let Some(external) = &self.markets[m].external {
            // Everything shown at the price stands in front of it.
            self.store[slot].ahead = match self.config.queue {
                crate::QueueModel::Front => 0,
                _ => external.shown_at(side, price),
            };
        }
        let total = self.markets[m].book.push(&mut self.store, slot);
        self.book_changed(m, side, price, total);
    }

    fn end_viewed(&mut self, m: usize, slot: u32, state: OrderState, reason: ExpiryReason) -> OrderView {
        let view = self.view_slot(slot);
        self.end(m, slot, state, reason, ClientId::EMPTY);
        OrderView { state, expiry_reason: reason, ts_updated: self.now, ..view }
    }

    /// Trades the order against the other side as far as its price, funds and self-trade prevention let it.
    fn match_taker(&mut self, m: usize, slot: u32, limit: Option<i64>) -> Halt {
        loop {
            let taker = &self.store[slot];
            let (side, account, stp) = (taker.side(), taker.account, taker.stp);
            if taker.remaining() == 0 {
                return Halt::NoLiquidity;
            }
            let Some((price, source)) = self.best_source(m, side.opposite()) else { return Halt::NoLiquidity };
            let crosses = match (limit, side) {
                (None, _) => true,
                (Some(limit), Side::Buy) => price <= limit,
                (Some(limit), Side::Sell) => price >= limit,
            };
            if !crosses {
                return Halt::NoLiquidity;
            }
            let available = match source {
                Source::External(available) => available,
                Source::Order(maker) if self.store[maker].account == account && stp != StpMode::None => {
                    match self.prevent(m, slot, maker, stp, price) {
                        Some(halt) => return halt,
                        None => continue,
                    }
                }
                Source::Order(maker) => match self.allowed(maker) {
                    0 => {
                        self.end(m, maker, OrderState::Expired, ExpiryReason::NothingToReduce, ClientId::EMPTY);
                        continue;
                    }
                    available => available,
                },
            };
            let (wanted, short) = self.wanted(m, slot, price);
            let quantity = wanted.min(available);
            if quantity <= 0 {
                return short;
            }
            match source {
                Source::Order(maker) => self.trade(m, slot, maker, price, quantity),
                Source::External(_) => self.take_external(m, slot, price, quantity),
            }
        }
    }

    /// The best liquidity on a side of the book. In a recorded market, at equal prices, what stood in front of an account's
    /// order comes before it.
    fn best_source(&self, m: usize, side: Side) -> Option<(i64, Source)> {
        let market = &self.markets[m];
        let own = market.book.best(side).map(|(price, level)| (price, level.head));
        if let Some(touch) = &market.touch {
            let shown = touch.available(side).map(|(price, left)| (price, Source::External(left)));
            let is_better = |own: i64, price: i64| if side == Side::Buy { own > price } else { own < price };
            return match (own, shown) {
                (Some((own, slot)), Some((price, _))) if is_better(own, price) => Some((own, Source::Order(slot))),
                (Some((own, slot)), None) => Some((own, Source::Order(slot))),
                (_, shown) => shown,
            };
        }
        let Some(external) = &market.external else {
            return own.map(|(price, slot)| (price, Source::Order(slot)));
        };
        let shown = external.best_available(side);
        match (own, shown) {
            (None, shown) => shown.map(|(price, available)| (price, Source::External(available))),
            (Some((price, slot)), None) => Some((price, Source::Order(slot))),
            (Some((own, slot)), Some((price, available))) => {
                let is_own_better = if side == Side::Buy { own > price } else { own < price };
                let ahead = self.store[slot].ahead;
                Some(match () {
                    () if is_own_better || (own == price && ahead == 0) => (own, Source::Order(slot)),
                    () if own == price => (price, Source::External(available.min(ahead))),
                    () => (price, Source::External(available)),
                })
            }
        }
    }

    /// How much the taker may still trade at this price, and why not more.
    fn wanted(&self, m: usize, slot: u32, price: i64) -> (i64, Halt) {
        let order = &self.store[slot];
        let market = &self.markets[m];
        let rules = &market.rules;
        let whole = |quantity: i128| i64::try_from(quantity).unwrap_or(i64::MAX) / rules.step() * rules.step();
        let wanted = order.remaining();
        if order.is_reduce_only {
            let allowed = self.allowed(slot);
            return (allowed, if allowed < wanted { Halt::NothingToReduce } else { Halt::NoLiquidity });
        }
        if order.locked != 0 || order.is_house || market.is_linear {
            return (wanted, Halt::NoLiquidity);
        }
        // Not locked: a market order, which pays from the free balance.
        let payable = match order.side() {
            Side::Buy => {
                whole(self.accounts.cell(order.account, market.quote).free / (i128::from(price) * rules.quote_unit))
            }
            Side::Sell => whole(self.accounts.cell(order.account, market.base).free / rules.base_unit),
        };
        if payable < wanted { (payable, Halt::NoFunds) } else { (wanted, Halt::NoLiquidity) }
    }

    /// One trade between two orders.
    fn trade(&mut self, m: usize, taker: u32, maker: u32, price: i64, quantity: i64) {
        let (taker_id, maker_id, side) = (self.store[taker].id, self.store[maker].id, self.store[taker].side());
        let (buyer, seller) = if side == Side::Buy { (taker_id, maker_id) } else { (maker_id, taker_id) };
        let market = &mut self.markets[m];
        let id = market.next_trade_id;
        market.next_trade_id += 1;
        if !market.is_fed() {
            market.is_stop_check_due = true;
            let trade = TapeTrade { id, ts: self.now, price, quantity, aggressor: side, buyer, seller };
            market.tape.add(trade);
            self.publish_trade(m, &trade);
        }
        self.fill_maker(m, maker, price, quantity, id);
        self.fill(m, taker, price, quantity, id, false);
    }

    /// Fills a resting order, which leaves the book when nothing is left of it.
    pub(super) fn fill_maker(&mut self, m: usize, maker: u32, price: i64, quantity: i64, trade_id: u64) {
        self.decide_list(m, maker);
        self.fill(m, maker, price, quantity, trade_id, true);
        let (side, list) = (self.store[maker].side(), self.store[maker].list);
        let total = self.markets[m].book.shrink(side, price, quantity);
        if self.store[maker].state == OrderState::Filled {
            self.markets[m].book.remove(&mut self.store, maker);
            self.store.close(maker, self.config.limits.closed_orders_max);
            self.list_leg_closed((list > 0).then_some(list));
        }
        self.book_changed(m, side, price, total);
    }

    /// Trades against the recorded book.
    fn take_external(&mut self, m: usize, slot: u32, price: i64, quantity: i64) {
        let side = self.store[slot].side().opposite();
        let market = &mut self.markets[m];
        if let Some(touch) = &mut market.touch {
            touch.take(side, quantity);
        }
        let id = market.next_trade_id;
        market.next_trade_id += 1;
        if let Some(external) = &mut market.external {
            external.take(side, price, quantity);
        }
        // What was taken had stood in front of the accounts' orders at the price.
        if self.markets[m].external.is_some() {
            self.shorten_queue(m, side, price, quantity);
        }
        self.fill(m, slot, price, quantity, id, false);
    }

    /// Two orders of one account would trade. Returns why matching ends, or `None` to go on.
    fn prevent(&mut self, m: usize, taker: u32, maker: u32, stp: StpMode, price: i64) -> Option<Halt> {
        self.decide_list(m, maker);
        let prevented_id = self.next_prevented_id;
        self.next_prevented_id += 1;
        let (taker_left, maker_left) = (self.wanted(m, taker, price).0.max(0), self.store[maker].remaining());
        let both = taker_left.min(maker_left);
        let (expire_taker, expire_maker) = match stp {
            StpMode::None => (false, false),
            StpMode::ExpireMaker => (false, true),
            StpMode::ExpireTaker => (true, false),
            StpMode::ExpireBoth => (true, true),
            StpMode::Decrement => (taker_left <= maker_left, maker_left <= taker_left),
        };
        if stp == StpMode::Decrement {
            let side = self.store[maker].side();
            let total = self.markets[m].book.shrink(side, price, both);
            self.take_away(m, maker, both);
            self.take_away(m, taker, both);
            if !expire_maker {
                self.book_changed(m, side, price, total);
            }
        }
        self.report_prevented(m, maker, taker, prevented_id, both, price, expire_maker);
        self.report_prevented(m, taker, maker, prevented_id, both, price, expire_taker);
        if expire_maker {
            self.end_quietly(m, maker, OrderState::ExpiredInMatch, ExpiryReason::SelfTrade);
        }
        expire_taker.then_some(Halt::Prevented)
    }

    /// Self-trade prevention takes a quantity away from an order and gives its lock back.
    fn take_away(&mut self, m: usize, slot: u32, quantity: i64) {
        let before = self.need(m, slot);
        self.store[slot].prevented += quantity;
        let freed = before - self.need(m, slot);
        self.release(m, slot, freed);
    }

    /// Would an order of this side and price trade at once?
    pub(super) fn would_take(&self, m: usize, side: Side, price: i64) -> bool {
        match (side, self.best_source(m, side.opposite())) {
            (Side::Buy, Some((best, _))) => best <= price,
            (Side::Sell, Some((best, _))) => best >= price,
            (_, None) => false,
        }
    }

    /// Visits all liquidity of a side, best first: price, external quantity, the accounts' level. Stops when told `false`.
    fn walk(&self, m: usize, side: Side, mut visit: impl FnMut(i64, i64, Option<&BookLevel>) -> bool) {
        let market = &self.markets[m];
        let mut own = market.book.levels(side).peekable();
        let touched = market.touch.as_ref().and_then(|touch| touch.available(side));
        let external = market.external.iter().flat_map(|external| external.available(side));
        let mut shown = external.chain(touched).peekable();
        loop {
            let is_goes_on = match (own.peek(), shown.peek()) {
                (None, None) => false,
                (Some((price, level)), Some((same, available))) if price == same => {
                    let is_goes_on = visit(*price, *available, Some(level));
                    own.next();
                    shown.next();
                    is_goes_on
                }
                (Some((price, level)), other)
                    if other.is_none_or(|(at, _)| if side == Side::Buy { price > at } else { price < at }) =>
                {
                    let is_goes_on = visit(*price, 0, Some(level));
                    own.next();
                    is_goes_on
                }
                (_, Some((price, available))) => {
                    let is_goes_on = visit(*price, *available, None);
                    shown.next();
                    is_goes_on
                }
                (Some(_), None) => false,
            };
            if !is_goes_on {
                return;
            }
        }
    }

    /// Can the whole order be filled at once at its limit, given self-trade prevention?
    fn can_fill(&self, m: usize, slot: u32, limit: i64) -> bool {
        let taker = &self.store[slot];
        let (side, mut missing, mut is_blocked) = (taker.side(), taker.remaining(), false);
        self.walk(m, side.opposite(), |price, available, level| {
            if if side == Side::Buy { price > limit } else { price < limit } {
                return false;
            }
            missing -= available;
            let mut at = level.map_or(NIL, |level| level.head);
            while at != NIL && missing > 0 {
                let maker = &self.store[at];
                if maker.account != taker.account || taker.stp == StpMode::None {
                    missing -= maker.remaining();
                } else if taker.stp != StpMode::ExpireMaker {
                    is_blocked = true;
                    return false;
                }
                at = maker.level_next;
            }
            missing > 0
        });
        missing <= 0 && !is_blocked
    }

    /// What buying this quantity costs now, in units of price × quantity; what the book lacks costs nothing.
    pub(super) fn buy_cost(&self, m: usize, quantity: i64) -> i128 {
        let (mut left, mut cost) = (quantity, 0i128);
        self.walk(m, Side::Sell, |price, available, level| {
            let taken = left.min(available + level.map_or(0, |level| level.total));
            cost += i128::from(price) * i128::from(taken);
            left -= taken;
            left > 0
        });
        cost
    }

    /// How far a quote amount (in units) reaches now: (quantity, amount used).
    pub(super) fn quote_reach(&self, m: usize, side: Side, amount: i128) -> (i64, i128) {
        let step = self.markets[m].rules.step();
        let (mut quantity, mut used) = (0i64, 0i128);
        self.walk(m, side.opposite(), |price, available, level| {
            let total = available + level.map_or(0, |level| level.total);
            let affordable = i64::try_from((amount - used) / i128::from(price)).unwrap_or(i64::MAX) / step * step;
            let taken = affordable.min(total);
            quantity += taken;
            used += i128::from(price) * i128::from(taken);
            taken == total
        });
        (quantity, used)
    }

    /// Puts every stop order to work whose price the last trade has reached, one after the other; each may trade and so
    /// trigger others. Ends because each pass takes one out of the finite number that wait.
    pub(super) fn run_triggers(&mut self, m: usize) {
        while self.markets[m].is_stop_check_due {
            let market = &mut self.markets[m];
            let Some(last) = market.tape.last.map(|trade| trade.price) else { return };
            let up =
                market.stops_up.first_key_value().filter(|(key, _)| key.0 <= last).map(|(key, slot)| (*key, *slot));
            let down = market.stops_down.last_key_value().filter(|(key, _)| key.0 >= last);
            let down = down.map(|(key, slot)| (*key, *slot));
            let Some((key, slot)) = up.or(down) else {
                market.is_stop_check_due = false;
                return;
            };
            if up.is_some() {
                market.stops_up.remove(&key);
            } else {
                market.stops_down.remove(&key);
            }
            self.activate(m, slot);
        }
    }

    pub(super) fn activate(&mut self, m: usize, slot: u32) {
        self.decide_list(m, slot);
        self.store.set_working(slot, self.now);
        if matches!(self.store[slot].order_type(), OrderType::StopLoss | OrderType::TakeProfit) {
            // From here on it is a market order and pays from the free balance.
            let locked = self.store[slot].locked;
            self.release(m, slot, locked);
        }
        let client = self.store[slot].client_id;
        self.report(m, slot, ExecType::New, client);
        self.work(m, slot);
    }
}
