//! What a running system publishes about itself, for people and for the escape path.

use crate::{
    Asset, Balance, ClientOrderId, HoldView, InstrumentId, Notional, OperatorView, OrderPurpose, OrderType, Price,
    Quantity, Side, Timestamp, VenueOrderId,
};
use serde::{Deserialize, Serialize};

/// What risk allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TradingState {
    /// Everything within limits.
    Active,
    /// Only orders that reduce positions.
    Reducing,
    /// No orders; also the state before recovery is complete.
    #[default]
    Halted,
}

/// An order of ours that is not terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrderView {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// The venue's id, when known.
    pub venue_order_id: Option<VenueOrderId>,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Quantity ordered.
    pub quantity: Quantity,
    /// Quantity filled.
    pub cum_quantity: Quantity,
    /// Limit price, where there is one.
    pub price: Option<Price>,
    /// What it is for.
    pub purpose: OrderPurpose,
    /// State of our order machine, in words (`Live`, `Unknown`, `Settling`, …).
    pub state: String,
    /// What kind of order it is.
    #[serde(default)]
    pub order_type: Option<OrderType>,
    /// Trigger price, where there is one.
    #[serde(default)]
    pub stop_price: Option<Price>,
}

/// A position that is not flat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionView {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Signed quantity.
    pub quantity: Quantity,
    /// Average entry price.
    pub average_price: Price,
    /// Profit of what is still open, in quote asset; `None` without a current price.
    pub unrealized: Option<Notional>,
    /// Is there a protective order for it?
    pub is_protected: bool,
    /// The part of it that no strategy of this run made: adopted orders, strategies that are gone. Nobody manages it.
    #[serde(default)]
    pub unattributed: Quantity,
}

/// The state of a run at one moment. Counts, fees and realised profit are of this run: they start when the journal has been
/// read. Open orders, positions and balances are what is held now, whichever run it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSnapshot {
    /// Engine time.
    pub ts: Timestamp,
    /// What risk allows.
    pub trading_state: TradingState,
    /// Orders sent so far (approved by risk).
    pub orders_total: u64,
    /// Orders refused by risk.
    pub orders_denied: u64,
    /// Orders refused by the venue.
    pub orders_rejected: u64,
    /// Fills applied.
    pub fills_total: u64,
    /// Orders that are not terminal.
    pub open_orders: Vec<OpenOrderView>,
    /// Positions that are not flat.
    pub positions: Vec<PositionView>,
    /// Balances.
    pub balances: Vec<Balance>,
    /// Realised profit in the account's quote asset, fees not subtracted.
    pub realized: Notional,
    /// Fees in the account's quote asset, as far as they were paid in it.
    pub fees: Notional,
    /// Market events processed.
    pub market_events: u64,
    /// The account's quote asset.
    #[serde(default)]
    pub quote_asset: Option<Asset>,
    /// Fees by asset, as they were paid.
    #[serde(default)]
    pub fees_by_asset: Vec<(Asset, Notional)>,
    /// All fees in the quote asset, those paid in another asset at its last price; `None` where a price is missing.
    #[serde(default)]
    pub fees_valued: Option<Notional>,
    /// Profit of what is still open, in the quote asset; `None` where a price is missing.
    #[serde(default)]
    pub unrealized: Option<Notional>,
    /// Realised and unrealised profit less all fees, in the quote asset; `None` where a price is missing.
    #[serde(default)]
    pub profit_after_fees: Option<Notional>,
    /// Instruments that take no new exposure until a person has looked, each with its reason and what to do.
    #[serde(default)]
    pub holds: Vec<HoldView>,
    /// What a person has said, and how far it has come.
    #[serde(default)]
    pub operator: OperatorView,
    /// Brackets, OCO pairs, TWAP and iceberg orders that are not over; each says what of its position has no exit at the venue.
    #[serde(default)]
    pub parents: Vec<crate::ParentView>,
    /// Kill switches, breakers that are not closed, and locks.
    #[serde(default)]
    pub guards: Vec<GuardView>,
    /// How far the emergency stop of this run has come, as far as the venue has confirmed it.
    #[serde(default)]
    pub emergency: Option<EmergencyReport>,
}

/// A guard that keeps orders out that open or add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardView {
    /// What it covers.
    pub scope: crate::RiskScope,
    /// Which guard: `kill-switch`, `breaker/daily-loss`, `lock/cool-down`, …
    pub name: String,
    /// Its state, in words.
    pub state: String,
    /// Until when; `None`: until a person re-arms it.
    pub until: Option<Timestamp>,
}

/// How far an emergency stop has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyReport {
    /// Why it was thrown.
    pub reason: String,
    /// When.
    pub since: Timestamp,
    /// Is the latch durable, so that a restart keeps it?
    pub is_persisted: bool,
    /// Was it told to logs and alerts?
    pub is_notified: bool,
    /// Orders that were open then.
    pub orders: usize,
    /// Those that the venue has confirmed to be over.
    pub orders_confirmed: usize,
    /// Positions that were open then.
    pub positions: usize,
    /// Those that are closed by the venue's fills, or down to what is too small to trade.
    pub positions_closed: usize,
    /// Instruments with a position that no protective order stands behind.
    pub unprotected: Vec<InstrumentId>,
}

impl EmergencyReport {
    /// Is everything done and confirmed?
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_persisted
            && self.is_notified
            && self.orders_confirmed == self.orders
            && self.positions_closed == self.positions
    }
}
