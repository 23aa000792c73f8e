//! Brings the deltas of a recording into step with its snapshots before the engine sees them, as a live session does: deltas
//! that come before a snapshot wait for it, and those that are newer than it follow it.

use keel_model::{BookDelta, BookSnapshot};
use std::collections::VecDeque;

/// Most deltas that wait for a snapshot; the oldest leaves first, and the book then waits for the next snapshot.
const WAITING_MAX: usize = 2_048;

/// One instrument's deltas.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    waiting: VecDeque<BookDelta>,
    /// The last update that was handed on; `None` while a snapshot is awaited.
    last_update_id: Option<u64>,
}

impl Sync {
    /// May this delta be handed on now? If not, it is kept for the next snapshot.
    pub(crate) fn delta(&mut self, delta: &BookDelta) -> bool {
        let follows = match self.last_update_id {
            None => false,
            Some(_) if delta.last_update_id == 0 => return true,
            Some(last) if delta.last_update_id <= last => return true,
            Some(last) if delta.previous_update_id > 0 => {
                delta.previous_update_id == last || delta.first_update_id <= last
            }
            Some(last) => delta.first_update_id <= last.saturating_add(1),
        };
        if follows {
            self.last_update_id = Some(delta.last_update_id);
            return true;
        }
        // A gap is handed on once, so that the engine knows; from then on a snapshot is awaited.
        let is_gap = self.last_update_id.take().is_some();
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(delta.clone());
        is_gap
    }

    /// A snapshot was handed on. Returns the deltas that must follow it, oldest first.
    pub(crate) fn snapshot(&mut self, snapshot: &BookSnapshot) -> VecDeque<BookDelta> {
        let mut newer = std::mem::take(&mut self.waiting);
        newer.retain(|delta| delta.last_update_id > snapshot.last_update_id);
        self.last_update_id = Some(newer.back().map_or(snapshot.last_update_id, |delta| delta.last_update_id));
        newer
    }
}
