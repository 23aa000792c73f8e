//! The simulated venue as a server that speaks Binance spot's REST and WebSocket protocol on loopback.
