//! An order that neither the stream nor any question accounts for is settled by the word of a person who looked it up.
//!
//! Invariants: a person's word never contradicts what the venue has proven (fills that are booked, a count that it told);
//! news that comes later still counts: a trade that contradicts the settlement raises the order again, with an alarm.

use super::{Actions, OrderManager};
use crate::action::Change;
use crate::state::{OrderState, Step};
use keel_model::{
    Asset, ClientOrderId, Fill, Liquidity, Notional, OrderStatus, Quantity, Settlement, Timestamp, TradeId,
    UnknownReason,
};

/// Why a settlement was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Not in the books.
    #[error("order {0} is not in the books; `launcher status` lists the open ones")]
    NotOurs(ClientOrderId),
    /// Closed already.
    #[error("order {id} is {state}: there is nothing to settle")]
    Closed {
        /// Our id.
        id: ClientOrderId,
        /// State.
        state: OrderState,
    },
    /// It works at the venue, by all that is known.
    #[error("order {0} works at the venue; cancel it instead of settling it")]
    Working(ClientOrderId),
    /// The venue has proven that it had the order.
    #[error("order {id} was at the venue ({filled} filled): settle it as canceled, with the quantity that was filled")]
    WasAccepted {
        /// Our id.
        id: ClientOrderId,
        /// Quantity filled, as far as it is known.
        filled: Quantity,
    },
    /// Less than what the venue has told.
    #[error("order {id} has {known} filled by the venue's word; it cannot be settled with {filled}")]
    TooLittle {
        /// Our id.
        id: ClientOrderId,
        /// What is known to be filled.
        known: Quantity,
        /// What the person said.
        filled: Quantity,
    },
    /// More than was ordered.
    #[error("order {id} is of {quantity}; it cannot be settled with {filled}")]
    TooMuch {
        /// Our id.
        id: ClientOrderId,
        /// Ordered.
        quantity: Quantity,
        /// What the person said.
        filled: Quantity,
    },
    /// A fill that is not booked needs a price.
    #[error("order {id} has {missing} more filled than is booked: say at which average price")]
    NoPrice {
        /// Our id.
        id: ClientOrderId,
        /// What is not booked.
        missing: Quantity,
    },
    /// A number that cannot be.
    #[error("a quantity or price of the settlement of order {0} cannot be")]
    BadNumber(ClientOrderId),
}

impl OrderManager {
    /// Takes a person's word about an order. What was filled and is not booked is booked at the price that was given, without
    /// a fee, in `fee_asset`. While `is_replay`, the order is taken as it stood when the word was given: it had been open,
    /// and its outcome unknown.
    pub fn settle_by_hand(
        &mut self,
        id: ClientOrderId,
        settlement: Settlement,
        fee_asset: Asset,
        is_replay: bool,
        now: Timestamp,
        out: &mut Actions,
    ) -> Result<(), SettleError> {
        let order = self.get(id).ok_or(SettleError::NotOurs(id))?;
        if order.state.is_closed() {
            return Err(SettleError::Closed { id, state: order.state });
        }
        let is_owed = order.is_unresolved() || order.is_missing;
        if !is_owed && !is_replay {
            return Err(SettleError::Working(id));
        }
        match settlement {
            Settlement::NeverAccepted => {
                if order.was_accepted || order.cum.is_positive() {
                    return Err(SettleError::WasAccepted { id, filled: order.cum });
                }
                self.step(id, Step::Unsure, Change::Unknown(UnknownReason::Restart), now, out);
                self.step(id, Step::Disproved, Change::Plain, now, out);
                Ok(())
            }
            Settlement::Ended { filled, price } => {
                let (known, booked, quantity) = (order.cum, order.filled, order.new.intent.quantity);
                let intent = order.new.intent;
                if filled < known {
                    return Err(SettleError::TooLittle { id, known, filled });
                }
                if quantity.is_positive() && filled > quantity {
                    return Err(SettleError::TooMuch { id, quantity, filled });
                }
                let missing = filled.checked_sub(booked).map_err(|_| SettleError::BadNumber(id))?;
                if missing.is_positive() {
                    let price = price.ok_or(SettleError::NoPrice { id, missing })?;
                    let trade_id = TradeId::new(&format!("hand-{id}")).map_err(|_| SettleError::BadNumber(id))?;
                    if !price.is_positive() {
                        return Err(SettleError::BadNumber(id));
                    }
                    let fill = Fill {
                        trade_id,
                        instrument: intent.instrument,
                        side: intent.side,
                        price,
                        quantity: missing,
                        fee: Notional::ZERO,
                        fee_asset,
                        liquidity: Liquidity::Taker,
                        ts_event: now,
                    };
                    self.apply_fill(id, &fill, now, out);
                }
                let status = if filled == quantity { OrderStatus::Filled } else { OrderStatus::Canceled };
                if let Some(order) = self.order_mut(id) {
                    // The person ends it: no word that it was ended without being asked.
                    order.is_cancel_wanted = true;
                }
                self.ends(id, status, filled, now, out);
                Ok(())
            }
        }
    }
}
