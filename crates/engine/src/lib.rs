//! The single-writer core that ties strategy, risk and execution together.
