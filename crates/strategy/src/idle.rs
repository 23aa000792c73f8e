//! A strategy that listens and does nothing: what it costs to run is what the system itself costs.

use crate::{Strategy, Subscription};
use keel_model::InstrumentId;

/// Listens to the top of book and does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    instrument: InstrumentId,
}

impl Idle {
    /// Listens to one instrument.
    #[must_use]
    pub const fn new(instrument: InstrumentId) -> Self {
        Self { instrument }
    }
}

impl Strategy for Idle {
    fn name(&self) -> &str {
        "idle"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(self.instrument)]
    }
}
