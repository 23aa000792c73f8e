//! The one gate in front of every order: limits, reservations, trading state, the only maker of Approved.
