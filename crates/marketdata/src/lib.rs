//! Order books from deltas, gap detection, staleness, bars and streaming indicators; pure.
