//! Order state machines, order manager, reconciliation; pure.
