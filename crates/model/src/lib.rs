//! The vocabulary: exact numbers, instruments, orders, reports, positions, events. No IO, no async, no clock.
