//! Does the account add up? Each complete report of balances is judged by the ledger once every trade that was asked for is
//! in; what stays different is taken over and told, or holds the instruments of the asset.
//!
//! What is taken over: a change that the venue announced (a deposit, withdrawal or transfer); a change of an asset that no
//! instrument of the run trades; and a change of one asset alone that came while the account stream or this program was away,
//! as long as what is left covers our position. Everything else holds the instruments of the asset until a person has looked:
//! a change under a live stream that nobody announced, two assets of one instrument that moved against each other (a trade that
//! is not in our books), less than our position, a negative balance.

use super::{Engine, Phase};
use crate::ledger::{Difference, Look};
use crate::outbox::{Notice, Outbox};
use keel_execution::Order;
use keel_model::{
    Asset, Balance, BalanceCause, Fill, Finding, HoldCause, InstrumentId, InstrumentKind, Notional, NumberError,
    Quantity, Side, Timestamp,
};
use std::time::Duration;

/// How long a report waits before it is judged, so that the trades around its moment have come in.
const SETTLE: Duration = Duration::from_millis(1_000);
/// Pause before a second look; shorter while the start waits for it.
const LOOK_PAUSE: Duration = Duration::from_millis(2_000);
const LOOK_PAUSE_AT_START: Duration = Duration::from_millis(250);

impl Engine {
    /// Has trading begun?
    fn is_running(&self) -> bool {
        self.phase != Phase::Recovering
    }

    /// What a fill does to balances.
    pub(super) fn book_balances(&mut self, fill: &Fill, out: &mut Outbox) {
        if let Err(error) = self.try_book_balances(fill) {
            let reason = format!("the balances after fill {} do not fit: {error}", fill.trade_id);
            self.hold(fill.instrument, HoldCause::Booking, reason, out);
        }
    }

    fn try_book_balances(&mut self, fill: &Fill) -> Result<(), NumberError> {
        let Some(instrument) = self.instruments.get(fill.instrument) else { return Ok(()) };
        if !fill.fee.is_zero() {
            self.ledger.add(fill.fee_asset, fill.fee.neg()?, fill.ts_event)?;
        }
        if instrument.kind != InstrumentKind::Spot {
            return Ok(());
        }
        let quantity = Notional::of(keel_model::Price::from_int(1), fill.quantity);
        let value = Notional::of(fill.price, fill.quantity);
        let (base, quote) = match fill.side {
            Side::Buy => (quantity, value.neg()?),
            Side::Sell => (quantity.neg()?, value),
        };
        self.ledger.add(instrument.base, base, fill.ts_event)?;
        self.ledger.add(instrument.quote, quote, fill.ts_event)
    }

    /// The venue announced a change without a trade.
    pub(super) fn on_transfer(&mut self, asset: Asset, change: Notional, ts_event: Timestamp, out: &mut Outbox) {
        if self.ledger.add(asset, change, ts_event).is_ok() {
            out.notify(Notice::BalanceChanged { asset, change, cause: BalanceCause::Announced });
        }
    }

    /// A complete report came in. A balance that cannot be holds at once.
    pub(super) fn note_balances(&mut self, balances: &[Balance], ts_event: Timestamp, out: &mut Outbox) {
        for balance in balances.iter().filter(|it| it.free.is_negative() || it.locked.is_negative()) {
            let (free, locked) = (balance.free.normalized(), balance.locked.normalized());
            let reason = format!("the venue reports {free} {0} free and {locked} {0} locked", balance.asset);
            self.hold_asset(balance.asset, HoldCause::Balance, &reason, out);
        }
        self.ledger.note_report(balances, ts_event);
        self.reported_at = self.now;
    }

    /// Judges the report at hand, once all that was asked for is in and it has settled.
    pub(super) fn judge_balances(&mut self, out: &mut Outbox) {
        if !self.ledger.has_report() || self.reconciliation.is_open() {
            return;
        }
        if self.is_running() && self.now.since(self.reported_at) < SETTLE {
            return;
        }
        let lag_max = self.orders.lag_max(self.now);
        let (mut differences, mut is_left) = (Vec::new(), false);
        for asset in self.ledger.assets() {
            if self.is_leveraged(asset) {
                continue;
            }
            if self.is_owed(asset) {
                // An order whose fills are not known explains anything; it is judged when the order is resolved.
                is_left = true;
                continue;
            }
            match self.ledger.look(asset, lag_max) {
                Ok(Look::Differs(difference)) => differences.push(difference),
                Ok(Look::First { total }) => self.note_first(asset, total, out),
                Ok(Look::Fits | Look::Doubt | Look::NotJudged) => {}
                Err(error) => {
                    let reason = format!("the balance of {asset} does not fit: {error}");
                    self.hold_asset(asset, HoldCause::Balance, &reason, out);
                }
            }
        }
        for difference in &differences {
            self.judge(difference, &differences, out);
        }
        if !is_left {
            self.ledger.drop_report();
        }
        self.apply_state();
    }

    /// When the next look at a difference is due; `None` while there is none in doubt.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let pause = if self.is_running() { LOOK_PAUSE } else { LOOK_PAUSE_AT_START };
        (self.ledger.has_doubts() && !self.ledger.has_report()).then_some(pause)
    }

    fn note_first(&mut self, asset: Asset, total: Notional, out: &mut Outbox) {
        let as_of = self.ledger.as_of(asset);
        let (change, cause) = (Notional::ZERO, BalanceCause::First);
        out.notify(Notice::Found(Finding::Balance { asset, total, change, cause, as_of }));
        if let Some(reason) = self.shortage(asset, total) {
            self.hold_asset(asset, HoldCause::Position, &reason, out);
        }
    }

    fn judge(&mut self, found: &Difference, all: &[Difference], out: &mut Outbox) {
        let asset = found.asset;
        let is_ours = self.instruments.iter().any(|it| it.base == asset || it.quote == asset);
        let shortage = self.shortage(asset, found.venues);
        let is_trade = all.iter().any(|other| self.are_traded_against(found, other));
        if !is_ours || (found.has_gap && !is_trade && shortage.is_none()) {
            let Ok(Some((total, as_of))) = self.ledger.adopt(asset, found.change) else { return };
            let (change, cause) = (found.change, BalanceCause::Outside);
            out.notify(Notice::Found(Finding::Balance { asset, total, change, cause, as_of }));
            out.notify(Notice::BalanceChanged { asset, change, cause });
            return;
        }
        self.ledger.note_judged(asset);
        let (ours, venues, change) = (found.ours, found.venues, found.change);
        out.notify(Notice::Mismatch(*found));
        let why = match (&shortage, is_trade) {
            (Some(shortage), _) => format!("; {shortage}"),
            (None, true) => "; it looks like a trade that is not in our books".to_owned(),
            (None, false) => "; nobody announced a deposit or withdrawal".to_owned(),
        };
        let reason = format!("{asset} does not add up: expected {ours}, the venue says {venues} ({change}){why}");
        let cause = if shortage.is_some() { HoldCause::Position } else { HoldCause::Balance };
        self.hold_asset(asset, cause, &reason, out);
    }

    /// Less there than our position says?
    fn shortage(&self, asset: Asset, venues: Notional) -> Option<String> {
        let spot = self.instruments.iter().filter(|it| it.base == asset && it.kind == InstrumentKind::Spot);
        let mut held = spot.map(|it| self.portfolio.position(it.id).quantity);
        let held = held.try_fold(Quantity::ZERO, |sum, it| sum.checked_add(it)).ok()?;
        let needed = Notional::of(keel_model::Price::from_int(1), held);
        // Fees paid in the asset itself make the account hold a little less than was bought.
        let needed = needed.checked_sub(self.portfolio.fee_in(asset)).unwrap_or(needed);
        (held.is_positive() && venues < needed)
            .then(|| format!("our position is {} {asset}, the venue has {}", needed.normalized(), venues.normalized()))
    }

    /// Did base and quote of one instrument move against each other?
    fn are_traded_against(&self, one: &Difference, other: &Difference) -> bool {
        let is_pair = self.instruments.iter().any(|it| {
            (it.base == one.asset && it.quote == other.asset) || (it.base == other.asset && it.quote == one.asset)
        });
        is_pair && one.change.is_positive() != other.change.is_positive()
    }

    /// Holds every instrument of an asset.
    fn hold_asset(&mut self, asset: Asset, cause: HoldCause, reason: &str, out: &mut Outbox) {
        let of_asset = self.instruments.iter().filter(|it| it.base == asset || it.quote == asset);
        let ids: Vec<InstrumentId> = of_asset.map(|it| it.id).collect();
        for id in ids {
            self.hold(id, cause, reason.to_owned(), out);
        }
    }

    /// Is there an order on the asset's instruments whose outcome or fills are not known?
    fn is_owed(&self, asset: Asset) -> bool {
        let concerns = |order: &Order| {
            let instrument = self.instruments.get(order.new.intent.instrument);
            instrument.is_some_and(|it| it.base == asset || it.quote == asset)
        };
        self.orders.open().any(|order| (order.is_owed()) && concerns(order))
    }

    /// Does a balance of the asset move with something else than trades and transfers?
    fn is_leveraged(&self, asset: Asset) -> bool {
        self.instruments.iter().any(|it| it.kind != InstrumentKind::Spot && it.quote == asset)
    }

    /// A person has looked: what the venue says about the instrument's assets counts from now on.
    pub(super) fn accept_balances(&mut self, instrument: InstrumentId, out: &mut Outbox) {
        let Some((base, quote)) = self.instruments.get(instrument).map(|it| (it.base, it.quote)) else { return };
        let forgiven = [base, quote].map(|asset| self.ledger.forgive(asset));
        if forgiven.contains(&true) && self.is_running() && !self.reconciliation.is_open() {
            self.begin_reconciliation(false, out);
        }
    }
}
