//! The trait users implement, and good examples of it.
