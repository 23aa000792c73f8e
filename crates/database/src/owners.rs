//! Who uses the pool: counts by owner, so that a connection that is not given back has a name (S2-022, S2-023).

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Use of the pool by one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct OwnerUse {
    /// Who.
    pub owner: &'static str,
    /// Connections held now.
    pub held: usize,
    /// The most held at once.
    pub held_max: usize,
    /// Connections taken so far.
    pub taken_total: u64,
    /// Was it released? Then it gets no further connection.
    pub is_released: bool,
}

#[derive(Debug)]
struct Entry {
    usage: OwnerUse,
    token: CancellationToken,
}

/// All owners. There are as many as there are names in the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    inner: Arc<Mutex<BTreeMap<&'static str, Entry>>>,
}

/// Counts one connection of an owner for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    owners: Owners,
    owner: &'static str,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(entry) = self.owners.inner.lock().get_mut(self.owner) {
            entry.usage.held = entry.usage.held.saturating_sub(1);
        }
    }
}

impl Owners {
    /// The owner's token: cancelled once it is released.
    pub(crate) fn token(&self, owner: &'static str) -> CancellationToken {
        let mut all = self.inner.lock();
        let fresh = || Entry { usage: OwnerUse { owner, ..OwnerUse::default() }, token: CancellationToken::new() };
        all.entry(owner).or_insert_with(fresh).token.clone()
    }

    pub(crate) fn hold(&self, owner: &'static str) -> Held {
        if let Some(entry) = self.inner.lock().get_mut(owner) {
            let usage = &mut entry.usage;
            usage.held += 1;
            usage.held_max = usage.held_max.max(usage.held);
            usage.taken_total += 1;
        }
        Held { owners: self.clone(), owner }
    }

    pub(crate) fn release(&self, owner: &'static str) {
        self.token(owner).cancel();
        if let Some(entry) = self.inner.lock().get_mut(owner) {
            entry.usage.is_released = true;
        }
    }

    pub(crate) fn held(&self, owner: &'static str) -> usize {
        self.inner.lock().get(owner).map_or(0, |entry| entry.usage.held)
    }

    pub(crate) fn all(&self) -> Vec<OwnerUse> {
        self.inner.lock().values().map(|entry| entry.usage.clone()).collect()
    }

    /// Who holds connections, for messages; `None` when nobody does.
    pub(crate) fn holders(&self) -> Option<String> {
        let all = self.all();
        let held: Vec<_> = all.iter().filter(|it| it.held > 0).map(|it| format!("{} {}", it.owner, it.held)).collect();
        (!held.is_empty()).then(|| format!("held by: {}", held.join(", ")))
    }
}
