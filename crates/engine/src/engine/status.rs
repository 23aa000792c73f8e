//! Status for people and digest for proofs.

use super::Engine;
use crate::digest::{self, Bag, Named, Part, StateDigest};
use keel_execution::Order;
use keel_model::{
    Asset, CancelOrder, InstrumentId, Notional, OpenOrderView, OrderPurpose, PositionView, Price, Quantity, Side,
    StatusSnapshot,
};
use keel_risk::RiskSnapshot;
use sha2::{Digest, Sha256};

/// Decimal places of average prices beyond the tick.
const AVERAGE_EXTRA_SCALE: u8 = 4;

/// State, in words, of an order that the venue had accepted and does not know any more.
pub const MISSING: &str = "Missing at the venue";

/// What is counted from the first record of the journal on.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    submitted: u64,
    denied: u64,
    rejected: u64,
    fills: u64,
    realized: Notional,
    fees: Vec<(Asset, Notional)>,
}

impl Totals {
    /// What came since `base`.
    fn less(self, base: &Self) -> Self {
        let since = |(asset, fee): (Asset, Notional)| {
            let before = base.fees.iter().find(|(known, _)| *known == asset).map_or(Notional::ZERO, |(_, fee)| *fee);
            (asset, fee.checked_sub(before).unwrap_or(fee))
        };
        Self {
            submitted: self.submitted.saturating_sub(base.submitted),
            denied: self.denied.saturating_sub(base.denied),
            rejected: self.rejected.saturating_sub(base.rejected),
            fills: self.fills.saturating_sub(base.fills),
            realized: self.realized.checked_sub(base.realized).unwrap_or(self.realized),
            fees: self.fees.into_iter().map(since).filter(|(_, fee)| !fee.is_zero()).collect(),
        }
    }
}

impl Engine {
    /// The state of the run at this moment. Allocates; not for every tick.
    #[must_use]
    pub fn status(&self) -> StatusSnapshot {
        let quote = self.risk.limits().quote_asset;
        let run = self.totals().less(&self.base);
        let fees = run.fees.iter().find(|(asset, _)| *asset == quote).map_or(Notional::ZERO, |(_, fee)| *fee);
        let (fees_valued, unrealized) = (self.value_of(&run.fees, quote), self.unrealized(quote));
        let sum = unrealized.and_then(|open| run.realized.checked_add(open).ok());
        StatusSnapshot {
            ts: self.now,
            trading_state: self.risk.state(),
            orders_total: run.submitted,
            orders_denied: run.denied,
            orders_rejected: run.rejected,
            fills_total: run.fills,
            open_orders: self.orders.open().map(order_view).collect(),
            positions: self.position_views(),
            balances: self.portfolio.balances().to_vec(),
            realized: run.realized,
            fees,
            market_events: self.market_events,
            quote_asset: Some(quote),
            fees_valued,
            unrealized,
            profit_after_fees: sum.zip(fees_valued).and_then(|(sum, fees)| sum.checked_sub(fees).ok()),
            fees_by_asset: run.fees,
            guards: self.guard_views(),
            emergency: self.emergency_report(),
            holds: self.hold_views(),
            operator: self.operator_view(),
            parents: self.parents.views(),
        }
    }

    /// Everything counted since the first record of the journal.
    pub(super) fn totals(&self) -> Totals {
        let counters = self.orders.counters();
        let quote = self.risk.limits().quote_asset;
        let quoted = self.portfolio.positions().filter(|position| self.is_quoted(position.instrument, quote));
        let mut realized = quoted.map(|position| position.realized);
        let realized = realized.try_fold(Notional::ZERO, |sum, it| sum.checked_add(it)).unwrap_or_default();
        Totals {
            submitted: counters.submitted,
            denied: self.risk.denied_total(),
            rejected: counters.rejected,
            fills: counters.fills,
            realized,
            fees: self.portfolio.fees().to_vec(),
        }
    }

    fn is_quoted(&self, id: InstrumentId, quote: Asset) -> bool {
        self.instruments.get(id).is_some_and(|known| known.quote == quote)
    }

    /// Amounts of several assets in `quote`, at what selling them would bring now.
    fn value_of(&self, amounts: &[(Asset, Notional)], quote: Asset) -> Option<Notional> {
        amounts.iter().try_fold(Notional::ZERO, |sum, (asset, amount)| {
            if *asset == quote || amount.is_zero() {
                return sum.checked_add(*amount).ok();
            }
            let market = self.instruments.iter().find(|known| known.base == *asset && known.quote == quote)?;
            let price = self.closing_price(market.id, Side::Sell)?;
            sum.checked_add(Notional::of(price, amount.to_quantity().ok()?)).ok()
        })
    }

    fn unrealized(&self, quote: Asset) -> Option<Notional> {
        let open = self.portfolio.positions().filter(|position| !position.is_flat());
        open.filter(|position| self.is_quoted(position.instrument, quote)).try_fold(Notional::ZERO, |sum, position| {
            let closing_side = if position.quantity.is_positive() { Side::Sell } else { Side::Buy };
            let price = self.closing_price(position.instrument, closing_side)?;
            sum.checked_add(position.unrealized(price).ok()?).ok()
        })
    }

    pub(super) fn position_views(&self) -> Vec<PositionView> {
        let open = self.portfolio.positions().filter(|position| !position.is_flat());
        open.map(|position| {
            let closing_side = if position.quantity.is_positive() { Side::Sell } else { Side::Buy };
            let protects = |order: &Order| order.is_protective() && order.new.intent.side == closing_side;
            let scale = self.instruments.get(position.instrument).map_or(8, |known| known.tick_size.scale());
            PositionView {
                instrument: position.instrument,
                quantity: position.quantity,
                average_price: position
                    .average_price(scale.saturating_add(AVERAGE_EXTRA_SCALE).min(18))
                    .unwrap_or_default(),
                unrealized: self
                    .closing_price(position.instrument, closing_side)
                    .and_then(|price| position.unrealized(price).ok()),
                is_protected: self.orders.open_of(position.instrument).any(protects),
                unattributed: self.owners.nobodys().position(position.instrument).quantity,
            }
        })
        .collect()
    }

    /// The price at which a position would be closed now.
    fn closing_price(&self, instrument: InstrumentId, side: Side) -> Option<Price> {
        let book = self.books.get(instrument.index()).filter(|book| book.is_live())?;
        let level = match side {
            Side::Sell => book.best_bid(),
            Side::Buy => book.best_ask(),
        };
        level.map(|level| level.price)
    }

    /// What it would take to cancel every open order of ours: published for the escape path. Protective orders come last.
    pub fn cancels(&self) -> impl Iterator<Item = CancelOrder> {
        let of = |order: &Order| CancelOrder {
            client_order_id: order.id(),
            venue_order_id: order.venue_order_id,
            instrument: order.new.intent.instrument,
        };
        let is_protective = |order: &&Order| order.new.intent.purpose == OrderPurpose::Protective;
        let first = self.orders.open().filter(move |order| !is_protective(order));
        first.chain(self.orders.open().filter(is_protective)).map(of)
    }

    /// A fingerprint of the whole trading state; see [`crate::digest`].
    #[must_use]
    pub fn digest(&self) -> StateDigest {
        self.digest_with(&self.risk.snapshot(self.now))
    }

    /// The fingerprint where a run has ended, told from its journal: what risk was then stands there as the run saved it,
    /// since prices, approvals and denials are not in the journal.
    #[must_use]
    pub fn digest_of_replay(&self) -> StateDigest {
        self.replay.risk.as_ref().map_or_else(|| self.digest(), |risk| self.digest_with(risk))
    }

    fn digest_with(&self, risk: &RiskSnapshot) -> StateDigest {
        let mut whole = Sha256::new();
        whole.update(b"keel state digest 1");
        let mut orders = self.evicted_part.clone();
        let all = self.orders.all();
        for order in &all {
            add_order(&mut orders, order);
        }
        orders.finish("orders", &mut whole);
        self.fills_part.clone().finish("fills", &mut whole);
        let mut positions = Part::default();
        for position in self.portfolio.positions() {
            positions.add(format_args!(
                "{} {} {} {} {} {}",
                position.instrument.0,
                position.quantity.normalized(),
                position.cost.normalized(),
                position.realized.normalized(),
                position.bought.normalized(),
                position.sold.normalized()
            ));
        }
        positions.finish("positions", &mut whole);
        let mut balances: Vec<_> = self.portfolio.balances().to_vec();
        balances.sort_unstable_by_key(|balance| balance.asset);
        let mut part = Part::default();
        for balance in balances.iter().filter(|balance| !balance.free.is_zero() || !balance.locked.is_zero()) {
            part.add(format_args!("{} {} {}", balance.asset, balance.free.normalized(), balance.locked.normalized()));
        }
        part.finish("balances", &mut whole);
        let mut fees: Vec<_> = self.portfolio.fees().to_vec();
        fees.sort_unstable_by_key(|(asset, _)| *asset);
        let mut part = Part::default();
        for (asset, fee) in &fees {
            part.add(format_args!("{asset} {}", fee.normalized()));
        }
        part.finish("fees", &mut whole);
        self.risk_part(risk).finish("risk", &mut whole);
        digest::finish(whole)
    }

    fn risk_part(&self, risk: &RiskSnapshot) -> Part {
        let mut part = Part::default();
        part.add(format_args!(
            "{:?} {} {} {} {} {} {}",
            risk.trading_state,
            risk.is_emergency,
            risk.is_loss_latched,
            risk.approved_total,
            risk.denied_total,
            risk.gross_exposure.normalized(),
            risk.day_pnl.normalized()
        ));
        for id in &risk.held {
            part.add(format_args!("held {}", id.0));
        }
        let mut held: Vec<_> = risk
            .reservations
            .iter()
            .map(|view| (self.orders.get(view.client_order_id).map_or(0, Order::ordinal), view))
            .collect();
        held.sort_unstable_by_key(|(number, _)| *number);
        for (number, view) in held {
            part.add(format_args!(
                "{number} {} {:?} {} {}",
                view.instrument.0,
                view.side,
                view.remaining.normalized(),
                view.is_unknown
            ));
        }
        part
    }

    /// Orders that left memory go into the digest when they leave.
    pub(super) fn note_evicted(&mut self) {
        for order in self.orders.take_evicted() {
            add_order(&mut self.evicted_part, &order);
        }
    }
}

fn add_order(part: &mut Bag, order: &Order) {
    let intent = &order.new.intent;
    let price = |price: Option<Price>| price.map(Price::normalized).unwrap_or_default();
    let (limit, stop) = (price(intent.price), price(intent.stop_price));
    let quantities = [intent.quantity, order.filled, order.cum].map(Quantity::normalized);
    let [quantity, filled, cum] = quantities.map(|it| (i128::from(it.mantissa()), it.scale()));
    part.record(|line| {
        line.number(order.ordinal()).number(order.new.strategy.0.into()).number(intent.instrument.0.into());
        line.word(intent.side.name()).word(intent.order_type.name()).word(intent.time_in_force.name());
        line.word(intent.purpose.name()).decimal(quantity.0, quantity.1);
        line.decimal(limit.mantissa().into(), limit.scale()).decimal(stop.mantissa().into(), stop.scale());
        line.word(order.state.as_str()).decimal(filled.0, filled.1).decimal(cum.0, cum.1);
    });
}

fn order_view(order: &Order) -> OpenOrderView {
    let intent = &order.new.intent;
    OpenOrderView {
        client_order_id: order.id(),
        venue_order_id: order.venue_order_id,
        instrument: intent.instrument,
        side: intent.side,
        quantity: intent.quantity,
        cum_quantity: order.filled,
        price: intent.price,
        purpose: intent.purpose,
        state: if order.is_missing { MISSING.to_owned() } else { order.state.to_string() },
        order_type: Some(intent.order_type),
        stop_price: intent.stop_price,
    }
}
