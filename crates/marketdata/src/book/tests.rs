//! Tests of the order book.
