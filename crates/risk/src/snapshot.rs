//! The frozen state: taken when trading ends, saved, and only then may the service be cleared. A restart that does not find
//! it starts with what it can rebuild and with the day's loss at zero; one that does keeps latches over the restart.

use keel_model::{Asset, ClientOrderId, InstrumentId, Notional, Quantity, Side, Timestamp, TradingState};
use serde::{Deserialize, Serialize};

/// What one open order held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Quantity that may still fill.
    pub remaining: Quantity,
    /// Is its outcome unknown?
    pub is_unknown: bool,
}

/// The whole state of risk at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskSnapshot {
    /// When it was frozen.
    pub ts: Timestamp,
    /// Trading state.
    pub trading_state: TradingState,
    /// Is the emergency stop latched?
    pub is_emergency: bool,
    /// Is the daily loss latched?
    pub is_loss_latched: bool,
    /// UTC day of the loss account, counted from the epoch.
    pub day: u64,
    /// Profit since the day began, fees included.
    pub day_pnl: Notional,
    /// Orders approved.
    pub approved_total: u64,
    /// Orders denied.
    pub denied_total: u64,
    /// Gross exposure, projected.
    pub gross_exposure: Notional,
    /// Positions as risk counts them.
    pub positions: Vec<(InstrumentId, Quantity)>,
    /// Instruments held after a mismatch.
    pub held: Vec<InstrumentId>,
    /// What open orders hold, in the order of their ids.
    pub reservations: Vec<ReservationView>,
    /// What open orders hold of each asset.
    pub reserved: Vec<(Asset, Notional)>,
}
