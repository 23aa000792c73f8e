//! A small, fast hasher with a fixed seed. Keys are our own ids and the venue's trade ids on an authenticated stream, so
//! the random seed of the standard hasher would cost determinism and buy nothing.

use std::hash::{BuildHasherDefault, Hasher};

/// A map whose iteration order and cost are the same in each run.
#[allow(clippy::disallowed_types, reason = "this is the replacement: the hasher is fixed")]
pub type FixedMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<FixedHasher>>;
/// A set whose iteration order and cost are the same in each run.
#[allow(clippy::disallowed_types, reason = "this is the replacement: the hasher is fixed")]
pub type FixedSet<K> = std::collections::HashSet<K, BuildHasherDefault<FixedHasher>>;

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiply and rotate, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedHasher {
    state: u64,
}

impl FixedHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        self.state = (self.state.rotate_left(5) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for FixedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.add(u64::from_le_bytes(word));
        }
    }
    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }
    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        // The table takes the high bits for its tags and the low bits for its slots: both must be mixed.
        self.state ^ (self.state >> 32)
    }
}
