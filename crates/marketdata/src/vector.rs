//! Runs a loop in the version compiled for the vector instructions of the processor at hand. Audited unsafe code: one call of
//! a function that needs instructions, right after it was asked whether they are there.
//!
//! Only the width of the vectors differs, nothing is fused: every version gives the same bits.

/// Calls `body` with `arguments`, compiled for AVX2 where the processor has it. `body` must be a function marked
/// `#[inline(always)]`: what is not inlined is not compiled anew.
#[inline]
pub fn wide<A, R>(body: impl FnOnce(A) -> R, arguments: A) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just found to have what `with_avx2` needs.
        #[allow(unsafe_code, reason = "the way to call a version of a function for other instructions")]
        return unsafe { with_avx2(body, arguments) };
    }
    body(arguments)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<A, R>(body: impl FnOnce(A) -> R, arguments: A) -> R {
    body(arguments)
}
