//! The proof that an order passed the review. Nothing outside this crate can make one, and it is not `Clone`: an approval
//! is used once.

use std::ops::Deref;

/// An order that risk has reviewed and reserved exposure for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an approval that is dropped keeps its reservation: hand it to the order manager"]
pub struct Approved<T> {
    value: T,
    is_reducing: bool,
}

impl<T> Approved<T> {
    pub(crate) const fn new(value: T, is_reducing: bool) -> Self {
        Self { value, is_reducing }
    }

    /// What was approved.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// Can it only reduce a position, whatever happens to our other orders? Such an order may pass a gate that is closed
    /// for new exposure.
    #[must_use]
    pub const fn is_reducing(&self) -> bool {
        self.is_reducing
    }

    /// Ends the approval and gives the order back, for sending.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Approved<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
