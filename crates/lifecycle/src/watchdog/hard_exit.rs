//! The one place that ends the process by force.

/// Ends the process at once with `code`, without destructors and exit handlers: they may belong to what is stuck.
pub(super) fn hard_exit(code: u8) {
    #[allow(unsafe_code, reason = "_exit takes an integer, touches no memory of ours and does not return")]
    // SAFETY: `_exit` has no preconditions. Nothing after it runs, so no invariant can be broken by it.
    unsafe {
        libc::_exit(i32::from(code))
    }
}
