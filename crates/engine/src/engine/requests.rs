//! What strategies ask for: review, booking, effect.

use super::{DENIALS_TOLD_PER_S_MAX, Engine, News};
use crate::outbox::{Effect, Notice, Outbox};
use keel_execution::{Order, OrderState};
use keel_model::order::ReasonText;
use keel_model::{ClientOrderId, InstrumentId, NewOrder, Quantity, ReplaceOrder, StrategyId};
use keel_risk::Denied;
use keel_strategy::{OpenOrder, OpenOrderState, OrderUpdate, OrderUpdateKind, StrategyRequest};
use std::fmt::Write as _;

impl Engine {
    pub(super) fn on_request(&mut self, strategy: StrategyId, request: &StrategyRequest, out: &mut Outbox) {
        match *request {
            StrategyRequest::Submit(new) => {
                self.submit(new, out);
            }
            // A strategy has a say over its own orders only.
            StrategyRequest::Cancel(id) => {
                if self.orders.get(id).is_some_and(|order| order.new.strategy == strategy) {
                    self.cancel(id, out);
                }
            }
            StrategyRequest::Replace { cancel, new } => {
                if self.orders.get(cancel).is_some_and(|order| order.new.strategy == strategy) {
                    self.replace(cancel, new, out);
                } else {
                    self.refuse(&new, "the order to be replaced is not one of this strategy");
                }
            }
            StrategyRequest::CancelAll(instrument) => self.cancel_all(strategy, instrument, out),
            StrategyRequest::Parent(id, ref plan) => self.create_parent(id, strategy, plan, out),
            StrategyRequest::CancelParent(id) => self.end_parent(id, strategy, false, out),
            StrategyRequest::CloseParent(id) => self.end_parent(id, strategy, true, out),
            StrategyRequest::Tag(id, tag) => self.tags.set(id, tag),
            StrategyRequest::Overflow { refused } => {
                out.notify(Notice::RequestsRefused { strategy: Some(strategy), count: refused });
            }
        }
    }

    /// Reviews an order and sends it if it passes. Answers whether it did.
    pub(super) fn submit(&mut self, new: NewOrder, out: &mut Outbox) -> bool {
        match self.risk.review(new, self.now) {
            Ok(approved) => match self.orders.submit(approved, self.now) {
                Ok(approved) => {
                    self.open_views.push(view(&new));
                    out.push(Effect::Submit(approved));
                    true
                }
                Err(_) => self.refuse(&new, "client order id was used before"),
            },
            Err(denied) => {
                self.tell_denied(&new, &denied, out);
                false
            }
        }
    }

    fn tell_denied(&mut self, new: &NewOrder, denied: &Denied, out: &mut Outbox) {
        let second = self.now.as_ns() / 1_000_000_000;
        if self.denials.0 != second {
            self.tell_more_denials(out);
            (self.denials.0, self.denials.1) = (second, 0);
        }
        if self.denials.1 < DENIALS_TOLD_PER_S_MAX {
            self.denials.1 += 1;
            out.notify(Notice::Denied(*denied, *new));
        } else {
            self.denials.2 += 1;
        }
        let mut text = TextBuffer::default();
        let _cut = write!(text, "{} {}", denied.control, denied.reason);
        self.push_update(new, Quantity::ZERO, OrderUpdateKind::Denied(text.finish()));
    }

    /// Tells how many denials were not told singly.
    pub(super) fn tell_more_denials(&mut self, out: &mut Outbox) {
        let count = std::mem::take(&mut self.denials.2);
        if count > 0 {
            out.notify(Notice::DeniedMore { count });
        }
    }

    /// Refuses an order for a reason of our own; answers `false`.
    fn refuse(&mut self, new: &NewOrder, why: &str) -> bool {
        self.push_update(new, Quantity::ZERO, OrderUpdateKind::Denied(ReasonText::truncated(why)));
        false
    }

    pub(super) fn push_update(&mut self, new: &NewOrder, cum_quantity: Quantity, kind: OrderUpdateKind) {
        let update = OrderUpdate {
            client_order_id: new.client_order_id,
            instrument: new.intent.instrument,
            side: new.intent.side,
            quantity: new.intent.quantity,
            cum_quantity,
            ts: self.now,
            kind,
        };
        self.news.push(News::Order(new.strategy, update));
    }

    /// Cancels an order, whoever asks.
    pub(super) fn cancel(&mut self, id: ClientOrderId, out: &mut Outbox) {
        if let Some(cancel) = self.orders.cancel(id, self.now) {
            self.risk.on_cancel(self.now);
            self.set_view_state(id, OpenOrderState::Canceling);
            out.push(Effect::Cancel(cancel));
        }
    }

    fn cancel_all(&mut self, strategy: StrategyId, instrument: InstrumentId, out: &mut Outbox) {
        for at in 0..self.open_views.len() {
            let Some(view) = self.open_views.get(at).copied() else { break };
            if view.strategy == strategy && view.instrument == instrument {
                self.cancel(view.client_order_id, out);
            }
        }
    }

    /// Cancel and place: in one request where the venue can and the old order is known to work there.
    fn replace(&mut self, cancel: ClientOrderId, new: NewOrder, out: &mut Outbox) {
        let is_live = |order: &&Order| order.state == OrderState::Live && !order.is_cancel_wanted;
        let Some(old) = self.orders.get(cancel).filter(is_live) else {
            self.cancel(cancel, out);
            self.refuse(&new, "the order to be replaced is not working at the venue");
            return;
        };
        if !self.config.has_replace || old.new.intent.instrument != new.intent.instrument {
            self.cancel(cancel, out);
            self.submit(new, out);
            return;
        }
        let cancel_order = keel_model::CancelOrder {
            client_order_id: cancel,
            venue_order_id: old.venue_order_id,
            instrument: old.new.intent.instrument,
        };
        match self.risk.review_replace(ReplaceOrder { cancel: cancel_order, new }, self.now) {
            Ok(approved) => match self.orders.replace(approved, self.now) {
                Ok(approved) => {
                    self.set_view_state(cancel, OpenOrderState::Canceling);
                    self.open_views.push(view(&new));
                    out.push(Effect::Replace(approved));
                }
                Err(_) => {
                    self.refuse(&new, "client order id was used before");
                }
            },
            Err(denied) => self.tell_denied(&new, &denied, out),
        }
    }

    pub(super) fn set_view_state(&mut self, id: ClientOrderId, state: OpenOrderState) {
        if let Some(view) = self.open_views.iter_mut().rfind(|view| view.client_order_id == id) {
            view.state = state;
        }
    }

    /// An order id of the house, for closing positions.
    pub(super) fn house_id(&mut self) -> ClientOrderId {
        self.ids.next_id()
    }
}

/// What strategies see of an order that is on its way.
pub(super) fn view(new: &NewOrder) -> OpenOrder {
    OpenOrder {
        client_order_id: new.client_order_id,
        strategy: new.strategy,
        instrument: new.intent.instrument,
        side: new.intent.side,
        order_type: new.intent.order_type,
        purpose: new.intent.purpose,
        price: new.intent.price,
        stop_price: new.intent.stop_price,
        quantity: new.intent.quantity,
        cum_quantity: Quantity::ZERO,
        state: OpenOrderState::Pending,
    }
}

/// Formats into a fixed buffer; what does not fit is cut.
struct TextBuffer {
    bytes: [u8; 95],
    length: usize,
}

impl Default for TextBuffer {
    fn default() -> Self {
        Self { bytes: [0; 95], length: 0 }
    }
}

impl TextBuffer {
    fn finish(&self) -> ReasonText {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        ReasonText::truncated(std::str::from_utf8(bytes).unwrap_or_default())
    }
}

impl std::fmt::Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.len().saturating_sub(self.length);
        let end = (0..=text.len().min(room)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.length..self.length + end), text.as_bytes().get(..end))
        {
            to.copy_from_slice(from);
            self.length += end;
        }
        Ok(())
    }
}
