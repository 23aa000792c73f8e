//! What a strategy author needs, from one place.
