//! One supervised task: its kinds, what it may return, the wrapper that watches it, and its handle.

use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::registry::TaskState;

/// What it means when a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Must run until cancelled: a panic, an error or an early return asks for the stop (exit 1).
    Critical,
    /// A job that may end: an error is logged and recorded; a panic is recorded and makes the exit code 1.
    Background,
}

/// What a task may return: nothing, or a result with an error that can be shown.
pub trait TaskOutput: Send + 'static {
    /// The result, with the error as text.
    ///
    /// # Errors
    /// The task's own error.
    fn into_result(self) -> Result<(), String>;
}

impl TaskOutput for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display + Send + 'static> TaskOutput for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// It returned without an error.
    Finished,
    /// It returned an error.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It was aborted, or its runtime went away.
    Aborted,
    /// It never ran: its group had been told to stop, or there was no runtime.
    Refused,
}

/// A spawned task. Dropping the handle changes nothing: the task stays supervised.
#[derive(Debug)]
pub struct TaskHandle {
    pub(crate) name: Arc<str>,
    pub(crate) token: CancellationToken,
    pub(crate) join: Option<JoinHandle<TaskEnd>>,
}

impl TaskHandle {
    /// group/name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The task's own token; cancelling it stops this task alone.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Drops the task's future at its next await. Prefer cancelling its token.
    pub fn abort(&self) {
        self.token.cancel();
        if let Some(join) = &self.join {
            join.abort();
        }
    }

    /// A handle for aborting from elsewhere.
    #[must_use]
    pub fn abort_handle(&self) -> Option<AbortHandle> {
        self.join.as_ref().map(JoinHandle::abort_handle)
    }

    /// Waits until the task has ended.
    pub async fn ended(self) -> TaskEnd {
        match self.join {
            None => TaskEnd::Refused,
            Some(join) => match join.await {
                Ok(end) => end,
                Err(error) if error.is_panic() => {
                    TaskEnd::Panicked(crate::panics::message_of(error.into_panic().as_ref()))
                }
                Err(_) => TaskEnd::Aborted,
            },
        }
    }
}

/// Polls a future, marks each poll in the registry and turns a panic into a value; also a panic while it is dropped.
pub(crate) struct Watched<F> {
    future: Option<Pin<Box<F>>>,
    state: Arc<TaskState>,
}

impl<F: Future> Watched<F> {
    pub(crate) fn new(state: Arc<TaskState>, future: F) -> Self {
        Self { future: Some(Box::pin(future)), state }
    }

    fn drop_future(&mut self) -> Result<(), String> {
        let future = self.future.take();
        catch_unwind(AssertUnwindSafe(|| drop(future))).map_err(|panic| crate::panics::message_of(panic.as_ref()))
    }
}

impl<F: Future> Future for Watched<F>
where
    F::Output: TaskOutput,
{
    type Output = TaskEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        let this = self.get_mut();
        let Some(future) = this.future.as_mut() else { return Poll::Ready(TaskEnd::Aborted) };
        this.state.poll_edge();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let end = match polled {
            Ok(Poll::Pending) => {
                this.state.poll_edge();
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => match output.into_result() {
                Ok(()) => TaskEnd::Finished,
                Err(error) => TaskEnd::Failed(error),
            },
            Err(panic) => TaskEnd::Panicked(crate::panics::message_of(panic.as_ref())),
        };
        let dropped = this.drop_future();
        this.state.poll_edge();
        Poll::Ready(match (end, dropped) {
            (TaskEnd::Finished, Err(message)) => TaskEnd::Panicked(message),
            (end, _) => end,
        })
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        if future.is_some()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future)))
        {
            let message = crate::panics::message_of(panic.as_ref());
            tracing::error!(task = %self.state.name, message, "a cancelled task panicked while it was dropped");
        }
    }
}
