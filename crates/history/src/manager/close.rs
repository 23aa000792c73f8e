//! Closing: everything is taken out first, then closed side by side under one deadline (S4-014…021).

use super::{DataManager, Held};
use crate::fetch::Fetch;
use crate::part::PartFolder;
use keel_lifecycle::{CleanupReport, CleanupScope};
use std::sync::Arc;

impl DataManager {
    /// Ends requests under way, closes the session and the writer, removes downloads that are not complete. Idempotent, never
    /// fails: what did not go well is in the report, and in the log as a warning. Takes at most the close time-out and a little.
    pub async fn close(&self) -> CleanupReport {
        self.closing.cancel();
        // Nothing that is closed can be found any more, by whomever, while it is being closed.
        let Held { session, worker, parts, lock } = std::mem::take(&mut *self.held.lock());
        if session.is_none() && worker.is_none() && parts.is_none() {
            tracing::debug!("no resources to clean up");
            return CleanupReport::default();
        }
        tracing::debug!("closing the data manager");
        let mut scope = CleanupScope::new(self.settings.close_timeout);
        scope.start_deadline();
        if let Some(session) = session {
            scope.spawn("session", async move { session.close().await });
        }
        scope.spawn("writer and downloads", async move {
            let ended = match worker {
                Some(worker) => worker.close().await,
                None => Ok(()),
            };
            // Only when nobody writes them any more; the lock last of all.
            let removed = parts.map_or(Ok(()), |parts| remove(&parts));
            drop(lock);
            ended.and(removed)
        });
        let report = scope.finish().await;
        tracing::debug!(is_clean = report.is_clean(), "closed the data manager");
        report
    }

    /// Is there anything left to close?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let held = self.held.lock();
        held.session.is_none() && held.worker.is_none() && held.parts.is_none()
    }
}

/// Removes what is not complete. A kill leaves it, and the next run goes on with it; an orderly end leaves nothing.
fn remove(parts: &PartFolder) -> Result<(), String> {
    match std::fs::remove_dir_all(&parts.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", parts.path.display()))
        }
        _ => Ok(()),
    }
}

impl Drop for DataManager {
    /// Closing is optional: dropping does the same without waiting (S4-029, S4-031).
    fn drop(&mut self) {
        let held = self.held.get_mut();
        let session: Option<Arc<dyn Fetch>> = held.session.take();
        drop(session);
        // The thread ends by itself when its last job is done; nobody can hand in another one.
        if let Some(worker) = held.worker.take() {
            worker.leave();
        }
        if let Some(parts) = held.parts.take()
            && let Err(error) = remove(&parts)
        {
            tracing::warn!(error, "error during cleanup");
        }
    }
}
