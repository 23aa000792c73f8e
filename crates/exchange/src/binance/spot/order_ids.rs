//! Which order of ours has which venue id: trades come with the venue's id alone.
//!
//! Invariant: an id is never told for an order it was not learned for. Bounded: beyond [`IDS_MAX`] the oldest are
//! forgotten, and are learned again from the venue when they are needed.

use keel_model::ClientOrderId;
use std::collections::{BTreeMap, VecDeque};

/// Most orders remembered.
const IDS_MAX: usize = 65_536;

/// Venue id → our id, `None` for an order that is not ours.
#[derive(Clone, Debug, Default)]
pub struct OrderIds {
    by_venue_id: BTreeMap<i64, Option<ClientOrderId>>,
    age: VecDeque<i64>,
}

impl OrderIds {
    /// Learns from the venue's id as text; what is no number is passed over.
    pub fn learn(&mut self, venue_id: &str, id: ClientOrderId) {
        if let Ok(number) = venue_id.parse() {
            self.learn_number(number, Some(id));
        }
    }

    /// Learns whose order a venue id is; `None`: not ours.
    pub fn learn_number(&mut self, venue_id: i64, id: Option<ClientOrderId>) {
        if self.by_venue_id.insert(venue_id, id).is_some() {
            return;
        }
        self.age.push_back(venue_id);
        if self.age.len() > IDS_MAX
            && let Some(oldest) = self.age.pop_front()
        {
            self.by_venue_id.remove(&oldest);
        }
    }

    /// Is it known whose order this is?
    #[must_use]
    pub fn is_known(&self, venue_id: i64) -> bool {
        self.by_venue_id.contains_key(&venue_id)
    }

    /// Our id of the order, if it is ours.
    #[must_use]
    pub fn get(&self, venue_id: i64) -> Option<ClientOrderId> {
        self.by_venue_id.get(&venue_id).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_up_to_the_bound_and_foreign_orders_stay_foreign() {
        let mut ids = OrderIds::default();
        for n in 0..IDS_MAX as i64 + 10 {
            ids.learn_number(n, Some(ClientOrderId { instance: 1, epoch: 1, sequence: n as u64 }));
        }
        assert!(!ids.is_known(9) && ids.is_known(10));
        assert_eq!(ids.get(10).map(|id| id.sequence), Some(10));
        ids.learn_number(-5, None);
        assert!(ids.is_known(-5) && ids.get(-5).is_none());
        ids.learn("not a number", ClientOrderId::default());
        assert_eq!(ids.by_venue_id.len(), ids.age.len());
    }
}
