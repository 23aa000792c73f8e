//! The async shell around the engine: lanes in, outbox out; journal, gate, sign, send, classify; the escape path.
