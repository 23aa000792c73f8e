//! A small seeded random number generator (xoshiro256++ seeded by splitmix64): the same seed gives the same numbers on
//! every machine. Not for secrets.

/// The generator.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator for `seed`; every seed is good.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        Self { state: [next(), next(), next(), next()] }
    }

    /// A generator of its own for one purpose: independent of how often others are asked.
    #[must_use]
    pub fn fork(seed: u64, purpose: u64) -> Self {
        Self::new(seed ^ purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let t = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        let (b, a) = (b ^ c, a ^ d);
        self.state = [a, b, c ^ t, d.rotate_left(45)];
        result
    }

    /// A number in `0..bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.min(high).wrapping_add(self.below(span) as i64)
    }

    /// Roughly normal with mean zero and standard deviation `sigma` (sum of four uniforms, so bounded by about 3.5 sigma).
    pub fn bell(&mut self, sigma: i64) -> i64 {
        const UNIT: i64 = 1 << 16;
        let sum: i64 = (0..4).map(|_| self.between(-UNIT, UNIT)).sum();
        // Variance of the sum of four uniforms on (-1, 1) is 4/3.
        ((i128::from(sum) * i128::from(sigma) * 866) / (i128::from(UNIT) * 1000)) as i64
    }

    /// True with a chance of `per_mille` in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_and_bounds_hold() {
        let (mut a, mut b, mut c) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let first: Vec<u64> = (0..100).map(|_| a.next_u64()).collect();
        assert_eq!(first, (0..100).map(|_| b.next_u64()).collect::<Vec<_>>());
        assert_ne!(first, (0..100).map(|_| c.next_u64()).collect::<Vec<_>>());
        for _ in 0..1000 {
            assert!((-3..=5).contains(&a.between(-3, 5)));
            assert!(a.below(3) < 3);
            assert!(a.bell(1000).abs() <= 3_500);
        }
        assert_eq!(a.below(0), 0);
    }

    #[test]
    fn the_bell_has_the_mean_and_spread_it_says() {
        let mut rng = Rng::new(1);
        let values: Vec<i64> = (0..20_000).map(|_| rng.bell(1000)).collect();
        let mean = values.iter().sum::<i64>() / 20_000;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<i64>() / 20_000;
        assert!(mean.abs() < 40, "{mean}");
        assert!((900_000..1_100_000).contains(&variance), "{variance}");
    }
}
