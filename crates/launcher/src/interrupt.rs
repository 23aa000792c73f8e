//! Verbs that work through data on one thread and end at once when they are told to: Ctrl+C with exit code 130, SIGTERM and
//! SIGHUP with 0, as in the verbs that run under the whole lifecycle.
//!
//! The work is on a thread of its own, and the thread that was there first waits for its result or for a signal, so a stop
//! needs nothing of what is busy: a decoder, the engine, a strategy that never returns, a read of a terminal. What was not
//! finished is given up; its half-written files are removed, and none can be put into its place any more. Invariant: a file
//! that such a verb writes is whole or is not there.

use crate::error::LaunchError;
use crate::out;
use keel_lifecycle::{
    Clock, ControlPlane, ExitStatus, LeaseKind, ResourceLedger, StopSignal, Supervisor, spawn_thread,
};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// What the control thread may take to end once the work has.
const CONTROL_LIMIT: Duration = Duration::from_millis(500);

/// What is waited for.
enum Heard {
    Done(Result<ExitStatus, LaunchError>),
    /// The work ended without a result.
    Panicked,
    Stop,
}

/// Tells of the end of the work, a panic included.
struct Told {
    result: Option<Result<ExitStatus, LaunchError>>,
    sender: SyncSender<Heard>,
}

impl Drop for Told {
    fn drop(&mut self) {
        // Where nobody hears it any more, a stop was quicker.
        drop(self.sender.try_send(self.result.take().map_or(Heard::Panicked, Heard::Done)));
    }
}

/// Does the work of a verb unless a signal is quicker.
pub(crate) fn interruptible(
    work: impl FnOnce() -> Result<ExitStatus, LaunchError> + Send + 'static,
) -> Result<ExitStatus, LaunchError> {
    keel_lifecycle::install_panic_hook();
    let clock = Clock::system();
    let ledger = ResourceLedger::new(clock.clone());
    let stop = StopSignal::new(clock.clone());
    let supervisor = Supervisor::new(stop.clone(), clock, ledger.clone());
    let control = ControlPlane::start(&supervisor, true).map_err(|error| LaunchError::start("start", error))?;
    // Room for the end of the work and the only stop that is told.
    let (sender, heard) = sync_channel(2);
    let for_stop = sender.clone();
    stop.on_request(move |_| drop(for_stop.try_send(Heard::Stop)));
    let lease = ledger.lease(LeaseKind::Thread, "verb", "work").until_exit();
    let thread = spawn_thread("work", lease, move || {
        let mut told = Told { result: None, sender };
        told.result = Some(work());
    })
    .map_err(|error| LaunchError::start("start", error))?;
    match heard.recv() {
        Ok(Heard::Stop) => {
            keel_catalogue::give_up();
            // It ends with the process.
            thread.leave_to_group();
            out::note("interrupted: given up; nothing is half-written");
            Ok(stop.worst())
        }
        Ok(Heard::Done(result)) => {
            drop(thread.join());
            drop(control.shutdown(CONTROL_LIMIT));
            result
        }
        Ok(Heard::Panicked) | Err(_) => {
            out::note("error: the work ended by a panic; the lines above have the place");
            Ok(ExitStatus::Failed)
        }
    }
}
