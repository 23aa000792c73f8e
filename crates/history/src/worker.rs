//! The thread on which archives are unpacked, decoded and written, so that the sockets never wait for it.
//!
//! Invariants: jobs run one after another in their order, each to its end, whether or not somebody still waits for it; at most
//! [`JOBS_MAX`] wait, and whoever hands in another one waits with them; the thread ends when its worker is closed or dropped.

use crate::HistoryError;
use keel_lifecycle::{LeaseKind, ResourceLedger, ThreadHandle, spawn_thread};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a dropped worker's last job is waited for.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Jobs that wait at most.
const JOBS_MAX: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the thread; it hands in jobs.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    sender: mpsc::Sender<Job>,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Jobs,
    thread: ThreadHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    pub(crate) fn start(ledger: &ResourceLedger) -> Result<Self, HistoryError> {
        let (sender, mut receiver) = mpsc::channel::<Job>(JOBS_MAX);
        let (tell, ended) = oneshot::channel();
        let lease = ledger.lease(LeaseKind::Thread, "history", "writer");
        let thread = spawn_thread("history", lease, move || {
            while let Some(job) = receiver.blocking_recv() {
                job();
            }
            // Nobody waits where nobody closes.
            tell.send(()).unwrap_or_default();
        });
        let thread = thread.map_err(|error| HistoryError::Client(error.to_string()))?;
        Ok(Self { jobs: Jobs { sender }, thread, ended })
    }

    pub(crate) fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }

    /// Waits until the jobs under way are done and the thread has ended.
    pub(crate) async fn close(self) -> Result<(), String> {
        let Self { jobs, thread, ended } = self;
        drop(jobs);
        // An error means that it panicked, which the joining tells.
        drop(ended.await);
        thread.join().map_err(|error| error.to_string())
    }
}

impl Worker {
    /// The same where nothing can be awaited: waits for the job under way, but not for long.
    pub(crate) fn leave(self) {
        let Self { jobs, thread, .. } = self;
        drop(jobs);
        if let Err(error) = thread.join_timeout(LEAVE_TIMEOUT) {
            tracing::warn!(%error, "error during cleanup");
        }
    }
}

impl Jobs {
    /// Runs a job and waits for what it comes to.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        self.sender.send(job).await.map_err(|_| HistoryError::Closed)?;
        told.await.map_err(|_| HistoryError::Closed)?
    }
}
