//! The venue API and its adapters: signing, rate limits, stream sessions, decoding.
