//! The published list of our open orders: written by the coordinator, read without a lock by the control thread.
//!
//! Invariant: an order stands on the board before its first byte leaves, and stays there until the engine calls it closed;
//! so whatever the venue may have of ours, the escape path can name.

use arc_swap::ArcSwap;
use keel_model::{CancelOrder, ClientOrderId, OrderPurpose};
use std::sync::Arc;

/// An order of ours that may be open at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedOrder {
    /// What a cancel of it needs.
    pub cancel: CancelOrder,
    /// What it is for.
    pub purpose: OrderPurpose,
}

impl PublishedOrder {
    /// Our id.
    #[must_use]
    pub const fn id(&self) -> ClientOrderId {
        self.cancel.client_order_id
    }
}

/// The board.
#[derive(Debug, Default)]
pub struct OpenOrderBoard {
    orders: ArcSwap<Vec<PublishedOrder>>,
}

impl OpenOrderBoard {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the list. Only the coordinator does.
    pub fn publish(&self, orders: Vec<PublishedOrder>) {
        self.orders.store(Arc::new(orders));
    }

    /// The list as it is now; never blocks.
    #[must_use]
    pub fn read(&self) -> Arc<Vec<PublishedOrder>> {
        self.orders.load_full()
    }

    /// How many orders stand on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.load().len()
    }

    /// Is it empty?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
