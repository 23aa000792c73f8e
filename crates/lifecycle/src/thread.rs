//! Named OS threads that are never detached silently.
//!
//! A thread holds its [`Lease`] while it runs, so one that is left behind is named in the leak report; dropping the
//! handle of a running thread is logged.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::LifecycleError;
use crate::ledger::Lease;

/// A running named thread; join it.
#[must_use = "a thread that nobody joins is a leak"]
pub struct ThreadHandle<T> {
    name: String,
    join: Option<JoinHandle<()>>,
    result: Receiver<Result<T, String>>,
}

impl<T> std::fmt::Debug for ThreadHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadHandle")
            .field("name", &self.name)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Starts a thread called `name` (Linux shows its first 15 bytes) that holds `lease` while it runs. A panic in it is
/// caught and handed to whoever joins.
///
/// ```
/// use keel_lifecycle::{LeaseKind, ResourceLedger, spawn_thread};
/// let ledger = ResourceLedger::default();
/// let lease = ledger.lease(LeaseKind::Thread, "store", "journal");
/// let thread = spawn_thread("journal", lease, || 40 + 2)?;
/// assert_eq!(thread.join()?, 42);
/// assert_eq!(ledger.total(), 0);
/// # Ok::<(), keel_lifecycle::LifecycleError>(())
/// ```
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn_thread<T, F>(name: &str, lease: Lease, f: F) -> Result<ThreadHandle<T>, LifecycleError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, result) = sync_channel(1);
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(f)).map_err(|panic| crate::panics::message_of(panic.as_ref()));
        drop(lease);
        // The channel holds one value and nothing else is ever sent; a gone receiver means that nobody waits.
        drop(sender.try_send(outcome));
    };
    let join =
        start_thread(name, body).map_err(|source| LifecycleError::ThreadSpawn { name: name.to_owned(), source })?;
    Ok(ThreadHandle { name: name.to_owned(), join: Some(join), result })
}

pub(crate) fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A name with a NUL inside would panic in std.
    std::thread::Builder::new().name(name.replace('\0', "?")).spawn(body)
}

impl<T> ThreadHandle<T> {
    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread without limit. Only for threads that have been told to stop; else use
    /// [`ThreadHandle::join_timeout`].
    ///
    /// # Errors
    /// When the thread panicked.
    pub fn join(mut self) -> Result<T, LifecycleError> {
        let outcome = self.result.recv().unwrap_or_else(|_| Err("ended without a result".to_owned()));
        self.finish();
        outcome.map_err(|message| LifecycleError::ThreadPanicked { name: self.name.clone(), message })
    }

    /// Waits for the thread for at most `limit`.
    ///
    /// # Errors
    /// When the thread panicked, or did not end in time; then it is left behind, and its lease names it.
    pub fn join_timeout(mut self, limit: Duration) -> Result<T, LifecycleError> {
        match self.result.recv_timeout(limit) {
            Ok(outcome) => {
                self.finish();
                outcome.map_err(|message| LifecycleError::ThreadPanicked { name: self.name.clone(), message })
            }
            Err(RecvTimeoutError::Timeout) => {
                self.join = None;
                Err(LifecycleError::ThreadStuck { name: self.name.clone(), waited: limit })
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.finish();
                Err(LifecycleError::ThreadPanicked {
                    name: self.name.clone(),
                    message: "ended without a result".to_owned(),
                })
            }
        }
    }

    /// Gives the handle away: nobody waits for the result, and the group that the thread belongs to waits for its end.
    pub fn leave_to_group(mut self) {
        self.join = None;
    }

    fn finish(&mut self) {
        if let Some(join) = self.join.take() {
            // The body catches every panic, so there is no second error to see here.
            drop(join.join());
        }
    }
}

impl<T> Drop for ThreadHandle<T> {
    fn drop(&mut self) {
        if let Some(join) = &self.join
            && !join.is_finished()
        {
            tracing::warn!(
                thread = self.name,
                "a running thread's handle was dropped; its lease names it until it ends"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{LeaseKind, ResourceLedger};

    #[test]
    fn panic_in_a_thread_is_handed_to_the_joiner_and_its_lease_released() {
        let ledger = ResourceLedger::default();
        let lease = ledger.lease(LeaseKind::Thread, "test", "boom");
        let thread = spawn_thread("boom", lease, || panic!("no more")).unwrap();
        let error = thread.join().unwrap_err().to_string();
        assert!(error.contains("boom") && error.contains("no more"), "{error}");
        assert_eq!(ledger.total(), 0);
    }

    #[test]
    fn stuck_thread_is_named_and_keeps_its_lease() {
        let ledger = ResourceLedger::default();
        let (release, wait) = sync_channel::<()>(1);
        let lease = ledger.lease(LeaseKind::Thread, "test", "stuck");
        let thread = spawn_thread("stuck", lease, move || wait.recv().is_ok()).unwrap();
        let error = thread.join_timeout(Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, LifecycleError::ThreadStuck { ref name, .. } if name == "stuck"), "{error}");
        assert_eq!(ledger.live()[0].name, "stuck");
        release.send(()).unwrap();
    }
}
