//! The simulated venue, pure: matching engine with latency, queue and fee models, seeded markets and fault plans.
