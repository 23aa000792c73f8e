//! Holds signals back from the first instruction of `main` until somebody handles them, so that none that comes in between
//! kills the process or is lost: the kernel keeps it until the control thread has its handlers.
//!
//! Invariant: a held signal is pending, never dropped. Threads inherit the mask of the thread that starts them, so hold
//! before any thread is started; the control thread lets them through for itself alone.

/// The signals that this program answers.
const SIGNALS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Holds the signals back for the calling thread and those it starts. The control thread takes them as soon as it is up;
/// what waits for a person or a child without it calls [`release_signals`].
pub fn hold_signals() {
    change(libc::SIG_BLOCK);
}

/// Lets the signals through to the calling thread, those that came meanwhile at once.
pub fn release_signals() {
    change(libc::SIG_UNBLOCK);
}

fn change(how: libc::c_int) {
    #[allow(unsafe_code, reason = "a signal mask can be had from libc only; the set lives on this stack frame")]
    // SAFETY: `sigemptyset` initialises the set before anything reads it, the signal numbers are valid, and
    // `pthread_sigmask` takes a null pointer for the old mask.
    let result = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        for signal in SIGNALS {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut())
    };
    debug_assert_eq!(result, 0, "only a wrong `how` is refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[test]
    fn signals_are_held_and_let_through_again() {
        let all: u64 = SIGNALS.iter().map(|signal| 1u64 << (signal - 1)).sum();
        hold_signals();
        assert_eq!(blocked() & all, all);
        release_signals();
        assert_eq!(blocked() & all, 0);
    }
}
