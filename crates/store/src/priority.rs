//! Scheduling priority of the journal's thread. Audited unsafe code: one system call with a pointer to a local value.
//!
//! At normal priority on a loaded machine a sync of 0.1 ms takes 4 ms, because the thread waits for a processor after the
//! disk has answered. What the system refuses is done without.

/// What the thread got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As every other thread.
    #[default]
    Normal,
    /// Ahead of the process's other threads, by nice value.
    Nice,
    /// Real-time, round robin.
    RealTime,
}

/// Real-time priority 1 is the lowest of its kind and still ahead of all normal threads.
const REAL_TIME_PRIORITY: i32 = 1;
const NICE: i32 = -15;
const NICE_BACKGROUND: i32 = 15;

/// Raises the calling thread as far as it may be raised.
pub fn raise_current_thread() -> Priority {
    if set_round_robin() {
        return Priority::RealTime;
    }
    // On Linux, nice values belong to threads.
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        Ok(()) => Priority::Nice,
        Err(_) => Priority::Normal,
    }
}

/// Lets every other thread of the machine go before the calling one, as far as that may be asked for.
pub fn lower_current_thread() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE_BACKGROUND) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}

#[allow(unsafe_code, reason = "neither std nor rustix offers sched_setscheduler")]
fn set_round_robin() -> bool {
    let parameter = libc::sched_param { sched_priority: REAL_TIME_PRIORITY };
    // SAFETY: `parameter` is a valid, initialised sched_param that lives across the call, which only reads it; pid 0 is
    // the calling thread. SCHED_RESET_ON_FORK keeps children at normal priority.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameter) == 0 }
}
