//! Databases that are locked, gone, damaged, full or away.
