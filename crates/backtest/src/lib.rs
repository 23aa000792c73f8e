//! Drives the live engine, unchanged, over recorded or historical events on a virtual clock.
