//! Wrong variants of the rules, for the test of the tests: [`mutant!`](crate::mutant!) names a place, what is right there and
//! what would be wrong. Without the feature `mutants` only the right one is compiled.
//!
//! Invariant: at most one mutant is active on a thread, and none unless somebody chose it there.

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<u16> = const { std::cell::Cell::new(0) };
}

/// Makes a mutant active on this thread; zero: none.
#[cfg(feature = "mutants")]
pub fn choose(number: u16) {
    ACTIVE.with(|active| active.set(number));
}

/// Is this mutant active on this thread?
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_active(number: u16) -> bool {
    ACTIVE.with(|active| active.get() == number)
}

/// `mutant!(number, right, wrong)`: what is right, unless this mutant is active.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutant {
    ($number:literal, $right:expr, $wrong:expr) => {
        if $crate::mutant::is_active($number) { $wrong } else { $right }
    };
}

/// `mutant!(number, right, wrong)`: what is right; the rest is not compiled.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutant {
    ($number:literal, $right:expr, $wrong:expr) => {
        $right
    };
}
