//! Comparisons of two series as bit masks, by the widest instructions that the machine has; the only unsafe file of the crate.
//!
//! Audit: every `unsafe` block calls a function of this file that needs instructions the processor was asked for
//! ([`Width::is_supported`]), or loads from an array whose length is in its type. Comparing is exact, so all widths give the
//! same bits; a comparison with NaN is false.

/// Bars of a tile.
pub const TILE_BARS: usize = 512;
/// Words of 64 bits that hold one bit for each bar of a tile.
pub const TILE_WORDS: usize = TILE_BARS / 64;

/// One value for each bar of a tile.
pub type Tile = [f64; TILE_BARS];
/// One bit for each bar of a tile; bar 0 is the lowest bit of word 0.
pub type Bits = [u64; TILE_WORDS];

/// Which instructions compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// One comparison at a time; every machine.
    Scalar,
    /// Four lanes.
    Avx2,
    /// Eight lanes.
    Avx512,
}

impl Width {
    /// All of them, narrowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// Does this machine have it?
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The widest that this machine has.
    #[must_use]
    pub fn widest() -> Self {
        Self::ALL.into_iter().rev().find(|width| width.is_supported()).unwrap_or(Self::Scalar)
    }

    /// Name in options and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// Series that are compared with one other in one go, so that it is loaded once.
pub const BLOCK: usize = 4;

/// A comparison with its instructions chosen once.
#[derive(Clone, Copy, Debug)]
pub struct Greater {
    width: Width,
    one: fn([&Tile; 1], &Tile) -> [Bits; 1],
    block: fn([&Tile; BLOCK], &Tile) -> [Bits; BLOCK],
}

impl Greater {
    /// Compares by `width`, or by the widest below it that the machine has.
    #[must_use]
    pub fn new(width: Width) -> Self {
        let width = if width.is_supported() { width } else { Width::widest().min(width) };
        match width {
            Width::Scalar => Self { width, one: scalar, block: scalar },
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => Self { width, one: x86::avx2, block: x86::avx2 },
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => Self { width, one: x86::avx512, block: x86::avx512 },
            #[cfg(not(target_arch = "x86_64"))]
            _ => Self { width: Width::Scalar, one: scalar, block: scalar },
        }
    }

    /// What it compares by.
    #[must_use]
    pub const fn width(self) -> Width {
        self.width
    }

    /// Bit i: a[i] > b[i].
    #[inline]
    #[must_use]
    pub fn bits(self, a: &Tile, b: &Tile) -> Bits {
        let [bits] = (self.one)([a], b);
        bits
    }

    /// Bit i of each: a[i] > b[i].
    #[inline]
    #[must_use]
    pub fn block(self, a: [&Tile; BLOCK], b: &Tile) -> [Bits; BLOCK] {
        (self.block)(a, b)
    }
}

fn scalar<const N: usize>(a: [&Tile; N], b: &Tile) -> [Bits; N] {
    a.map(|a| {
        let mut bits = [0; TILE_WORDS];
        for (word, (a, b)) in bits.iter_mut().zip(a.chunks_exact(64).zip(b.chunks_exact(64))) {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                *word |= u64::from(a > b) << at;
            }
        }
        bits
    })
}

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    clippy::indexing_slicing,
    reason = "vector instructions behind a check of the processor, audited above; all lengths are in the types"
)]
mod x86 {
    use super::{Bits, TILE_WORDS, Tile};
    use std::arch::x86_64::{
        __m512d, _CMP_GT_OQ, _mm256_cmp_pd, _mm256_loadu_pd, _mm256_movemask_pd, _mm512_cmp_pd_mask, _mm512_kunpackb,
        _mm512_kunpackd, _mm512_kunpackw, _mm512_loadu_pd,
    };

    pub(super) fn avx2<const N: usize>(a: [&Tile; N], b: &Tile) -> [Bits; N] {
        // SAFETY: `Greater::new` chooses this function only where the processor has AVX2.
        unsafe { avx2_lanes(a, b) }
    }

    pub(super) fn avx512<const N: usize>(a: [&Tile; N], b: &Tile) -> [Bits; N] {
        // SAFETY: `Greater::new` chooses this function only where the processor has AVX-512F and BW.
        unsafe { avx512_lanes(a, b) }
    }

    #[target_feature(enable = "avx2")]
    fn avx2_lanes<const N: usize>(a: [&Tile; N], b: &Tile) -> [Bits; N] {
        let mut bits = [[0; TILE_WORDS]; N];
        for (at, b) in b.as_chunks::<64>().0.iter().enumerate() {
            for (bits, a) in bits.iter_mut().zip(a) {
                let mut word = 0;
                for (lane, (a, b)) in
                    a.as_chunks::<64>().0[at].as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0).enumerate()
                {
                    // SAFETY: both pointers are to arrays of four doubles.
                    let (a, b) = unsafe { (_mm256_loadu_pd(a.as_ptr()), _mm256_loadu_pd(b.as_ptr())) };
                    let mask = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(a, b));
                    word |= u64::from(mask as u32) << (4 * lane);
                }
                bits[at] = word;
            }
        }
        bits
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn eight(values: &[f64; 64]) -> [__m512d; 8] {
        let lanes = values.as_chunks::<8>().0;
        // SAFETY: each pointer is to an array of eight doubles.
        std::array::from_fn(|at| unsafe { _mm512_loadu_pd(lanes[at].as_ptr()) })
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn avx512_lanes<const N: usize>(a: [&Tile; N], b: &Tile) -> [Bits; N] {
        let mut bits = [[0; TILE_WORDS]; N];
        for (at, b) in b.as_chunks::<64>().0.iter().enumerate() {
            let b = eight(b);
            for (bits, a) in bits.iter_mut().zip(a) {
                let a = eight(&a.as_chunks::<64>().0[at]);
                let m: [u8; 8] = std::array::from_fn(|lane| _mm512_cmp_pd_mask::<_CMP_GT_OQ>(a[lane], b[lane]));
                let half = |m: &[u8]| {
                    let low = _mm512_kunpackb(u16::from(m[1]), u16::from(m[0]));
                    let high = _mm512_kunpackb(u16::from(m[3]), u16::from(m[2]));
                    _mm512_kunpackw(u32::from(high), u32::from(low))
                };
                bits[at] = _mm512_kunpackd(u64::from(half(&m[4..])), u64::from(half(&m[..4])));
            }
        }
        bits
    }
}
