//! Which points are tried: all of a grid, random ones, or those that earlier trials speak for (TPE).
//!
//! Invariants: a point is tried once; the next points depend on seed, space and the trials so far alone, so that a search that
//! was interrupted between two batches goes on as if it had not been. Random numbers come from a counter, not from a state.

use crate::SweepError;
use crate::space::{POINTS_MAX, Space};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// How points are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Every possible point, in order.
    Grid,
    /// So many of them, by chance.
    Random {
        /// How many.
        trials: u64,
        /// Seed.
        seed: u64,
    },
    /// So many, by a tree-structured Parzen estimator.
    Tpe {
        /// How many.
        trials: u64,
        /// Seed.
        seed: u64,
    },
}

/// Trials of TPE that are random, at least.
const STARTUP_MIN: u64 = 16;
/// Points that TPE chooses from the same trials.
const TPE_BATCH: u64 = 8;
/// Candidates from which TPE takes the best.
const CANDIDATES: u64 = 32;
/// Draws for one random point before the space counts as used up.
const DRAWS_MAX: u64 = 10_000;

/// SplitMix64 at place `at` of a stream.
const fn random(seed: u64, at: u64) -> u64 {
    let mut z = seed.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number of 0..1.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A search over a space.
#[derive(Debug)]
pub struct Search {
    method: Method,
    /// Points in order, where they do not depend on results.
    listed: Vec<u64>,
    /// Points that contradict themselves, out of those that were looked at.
    impossible: u64,
    target: u64,
}

type Seen = HashSet<u64, BuildHasherDefault<DefaultHasher>>;

impl Search {
    /// Prepares a search.
    ///
    /// # Errors
    /// No trials, no possible point, or a grid of more than [`POINTS_MAX`] points.
    pub fn new(method: Method, space: &Space) -> Result<Self, SweepError> {
        let count = space.count();
        let mut search = Self { method, listed: Vec::new(), impossible: 0, target: 0 };
        match method {
            Method::Random { trials: 0, .. } | Method::Tpe { trials: 0, .. } => {
                return Err(SweepError::Empty("--trials 0 tries nothing; give a number".to_owned()));
            }
            Method::Grid if count > u128::from(POINTS_MAX) => {
                return Err(SweepError::TooMany { count, max: POINTS_MAX });
            }
            Method::Grid => {
                for point in 0..count as u64 {
                    if space.is_possible(point)? {
                        search.listed.push(point);
                    }
                }
                search.impossible = count as u64 - search.listed.len() as u64;
                search.target = search.listed.len() as u64;
            }
            Method::Random { trials, seed } | Method::Tpe { trials, seed } => {
                if trials > POINTS_MAX {
                    return Err(SweepError::TooMany { count: trials.into(), max: POINTS_MAX });
                }
                let is_tpe = matches!(method, Method::Tpe { .. });
                let wanted = if is_tpe { (trials / 5).max(STARTUP_MIN).min(trials) } else { trials };
                search.list_random(space, wanted, seed)?;
                let is_used_up = (search.listed.len() as u64) < wanted;
                search.target = if is_tpe && !is_used_up { trials } else { search.listed.len() as u64 };
            }
        }
        if search.target == 0 {
            return Err(SweepError::Empty(format!(
                "none of {count} combinations is possible: their values contradict each other; change the ranges"
            )));
        }
        Ok(search)
    }

    /// Trials that the search will make, at most.
    #[must_use]
    pub const fn target(&self) -> u64 {
        self.target
    }

    /// Points of a grid that contradict themselves.
    #[must_use]
    pub const fn impossible(&self) -> u64 {
        self.impossible
    }

    fn list_random(&mut self, space: &Space, wanted: u64, seed: u64) -> Result<(), SweepError> {
        let mut seen = Seen::default();
        let sizes: Vec<u64> = space.dimensions().iter().map(|dimension| dimension.values.len() as u64).collect();
        let count = u64::try_from(space.count()).unwrap_or(u64::MAX);
        let mut draw = 0;
        while (self.listed.len() as u64) < wanted && (seen.len() as u64) < count {
            let mut fresh = None;
            for _ in 0..DRAWS_MAX {
                let places: Vec<usize> = sizes
                    .iter()
                    .map(|size| {
                        draw += 1;
                        (random(seed, draw) % size) as usize
                    })
                    .collect();
                let point = space.point(&places);
                if seen.insert(point) {
                    fresh = Some(point);
                    break;
                }
            }
            // So many in a row were tried already: take what is left in order.
            let Some(point) = fresh.or_else(|| (0..count.min(POINTS_MAX)).find(|point| seen.insert(*point))) else {
                return Ok(());
            };
            if space.is_possible(point)? {
                self.listed.push(point);
            } else {
                self.impossible += 1;
                if self.impossible > POINTS_MAX {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next points, at most `batch` of them; none when the search is over. `trials` are all trials so far, each with its
    /// score; a trial without one counts as the worst.
    ///
    /// # Errors
    /// A strategy that cannot be made for a reason other than contradicting values.
    pub fn next(&self, space: &Space, trials: &[(u64, Option<f64>)], batch: usize) -> Result<Vec<u64>, SweepError> {
        let done = trials.len();
        let left = (self.target as usize).saturating_sub(done);
        if let Some(listed) = self.listed.get(done..).filter(|listed| !listed.is_empty()) {
            return Ok(listed.iter().copied().take(batch.max(1)).collect());
        }
        match self.method {
            Method::Tpe { seed, .. } if left > 0 => {
                let wanted = left.min(TPE_BATCH as usize);
                Parzen::new(space, trials).choose(wanted, random(seed, done as u64 ^ 0x5EED))
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Two densities over each dimension: of the good trials and of the others. Values are ordered, so a trial speaks for its
/// neighbours, too.
struct Parzen<'a> {
    space: &'a Space,
    good: Vec<Vec<f64>>,
    rest: Vec<Vec<f64>>,
    seen: Seen,
}

impl<'a> Parzen<'a> {
    fn new(space: &'a Space, trials: &[(u64, Option<f64>)]) -> Self {
        let mut ranked: Vec<&(u64, Option<f64>)> = trials.iter().collect();
        // Stable: equals stay in the order in which they were tried.
        ranked.sort_by(|a, b| b.1.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.1.unwrap_or(f64::NEG_INFINITY)));
        // A quarter of the square root, as Bergstra et al. chose, but never fewer than four.
        let good = ((0.15 * trials.len() as f64).ceil() as usize).clamp(4, 25).min(ranked.len());
        let (good, rest) = ranked.split_at(good);
        let places = |trials: &[&(u64, Option<f64>)]| -> Vec<Vec<usize>> {
            trials.iter().map(|(point, _)| space.places(*point)).collect()
        };
        let (good, rest) = (places(good), places(rest));
        let density = |trials: &[Vec<usize>], at: usize, size: usize| -> Vec<f64> {
            let width = (size as f64 / 4.0 / (trials.len().max(1) as f64).powf(0.2)).max(0.5);
            // A uniform prior with the weight of one trial.
            let mut density = vec![1.0 / size as f64; size];
            for place in trials.iter().filter_map(|places| places.get(at)) {
                let kernel = |to: usize| (-((to as f64 - *place as f64) / width).powi(2) / 2.0).exp();
                let total: f64 = (0..size).map(kernel).sum();
                density.iter_mut().enumerate().for_each(|(to, value)| *value += kernel(to) / total);
            }
            let total: f64 = density.iter().sum();
            density.iter().map(|value| value / total).collect()
        };
        let all = |trials: &[Vec<usize>]| -> Vec<Vec<f64>> {
            let sizes = space.dimensions().iter().map(|dimension| dimension.values.len());
            sizes.enumerate().map(|(at, size)| density(trials, at, size)).collect()
        };
        Self { space, good: all(&good), rest: all(&rest), seen: trials.iter().map(|(point, _)| *point).collect() }
    }

    fn choose(&mut self, wanted: usize, seed: u64) -> Result<Vec<u64>, SweepError> {
        let mut chosen = Vec::new();
        let mut draw = 0;
        while chosen.len() < wanted {
            let mut best: Option<(f64, u64)> = None;
            let mut candidates = 0;
            let mut draws = 0;
            while candidates < CANDIDATES && draws < DRAWS_MAX {
                draws += 1;
                let places: Vec<usize> = self
                    .good
                    .iter()
                    .map(|density| {
                        draw += 1;
                        sample(density, unit(random(seed, draw)))
                    })
                    .collect();
                let point = self.space.point(&places);
                if self.seen.contains(&point) || !self.space.is_possible(point)? {
                    continue;
                }
                candidates += 1;
                let gain = self.gain(&places);
                if best.is_none_or(|(most, _)| gain > most) {
                    best = Some((gain, point));
                }
            }
            let Some((_, point)) = best else { break };
            self.seen.insert(point);
            chosen.push(point);
        }
        Ok(chosen)
    }

    /// Log of the ratio of the two densities.
    fn gain(&self, places: &[usize]) -> f64 {
        let at = |densities: &[Vec<f64>], dimension: usize, place: usize| {
            densities.get(dimension).and_then(|density| density.get(place)).copied().unwrap_or(1.0).ln()
        };
        places.iter().enumerate().map(|(d, place)| at(&self.good, d, *place) - at(&self.rest, d, *place)).sum()
    }
}

fn sample(density: &[f64], at: f64) -> usize {
    let mut left = at;
    for (place, share) in density.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return place;
        }
    }
    density.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_strategy::{Params, registry};

    fn space(ranges: &[&str]) -> Space {
        let ranges: Vec<String> = ranges.iter().map(|range| (*range).to_owned()).collect();
        Space::new(registry::find("ema-cross").unwrap(), Params::new(), &ranges).unwrap()
    }

    /// A hill with its top at fast 20, slow 160.
    fn hill(space: &Space, point: u64) -> f64 {
        let values: Vec<f64> = space.values(point).iter().map(|value| value.parse().unwrap()).collect();
        -((values[0] - 20.0) / 10.0).powi(2) - ((values[1] - 160.0) / 40.0).powi(2)
    }

    fn search(space: &Space, method: Method) -> Vec<(u64, Option<f64>)> {
        let search = Search::new(method, space).unwrap();
        let mut trials = Vec::new();
        loop {
            let points = search.next(space, &trials, 7).unwrap();
            if points.is_empty() {
                assert_eq!(trials.len() as u64, search.target());
                return trials;
            }
            trials.extend(points.iter().map(|point| (*point, Some(hill(space, *point)))));
        }
    }

    #[test]
    fn a_grid_is_every_possible_point_once() {
        let space = space(&["fast_bars_count=10..40:10", "slow_bars_count=20..50:10"]);
        let trials = search(&space, Method::Grid);
        assert_eq!(trials.len(), 10, "16 less those where fast is not below slow");
        assert_eq!(Search::new(Method::Grid, &space).unwrap().impossible(), 6);
    }

    #[test]
    fn random_points_are_distinct_repeatable_and_end_with_the_space() {
        let space = space(&["fast_bars_count=1..100:1", "slow_bars_count=101..200:1"]);
        let run = |seed| search(&space, Method::Random { trials: 500, seed });
        let trials = run(7);
        let distinct: HashSet<u64> = trials.iter().map(|(point, _)| *point).collect();
        assert_eq!((trials.len(), distinct.len()), (500, 500));
        assert_eq!(trials, run(7));
        assert_ne!(trials, run(8));
        let small = self::space(&["fast_bars_count=10..40:10", "slow_bars_count=20..50:10"]);
        assert_eq!(search(&small, Method::Random { trials: 500, seed: 1 }).len(), 10);
    }

    #[test]
    fn tpe_climbs_a_hill_that_chance_does_not_find() {
        let space = space(&["fast_bars_count=1..100:1", "slow_bars_count=101..600:1"]);
        let best =
            |trials: Vec<(u64, Option<f64>)>| trials.iter().filter_map(|t| t.1).fold(f64::NEG_INFINITY, f64::max);
        let median = |method: &dyn Fn(u64) -> Method| {
            let mut bests: Vec<f64> = (0..9).map(|seed| best(search(&space, method(seed)))).collect();
            bests.sort_by(f64::total_cmp);
            bests[4]
        };
        let tpe = median(&|seed| Method::Tpe { trials: 150, seed });
        let chance = median(&|seed| Method::Random { trials: 150, seed });
        assert!(tpe > chance && tpe > -0.1, "TPE {tpe}, chance {chance}");
    }

    #[test]
    fn a_search_without_trials_or_possible_points_is_an_error() {
        let space = space(&["fast_bars_count=50", "slow_bars_count=20..40:10"]);
        let error = Search::new(Method::Grid, &space).unwrap_err().to_string();
        assert!(error.contains("none of 3 combinations is possible"), "{error}");
        let error = Search::new(Method::Random { trials: 0, seed: 0 }, &space).unwrap_err().to_string();
        assert!(error.contains("--trials 0"), "{error}");
        let wide = self::space(&["fast_bars_count=1..10000:1", "slow_bars_count=2..10000:1"]);
        assert!(Search::new(Method::Grid, &wide).unwrap_err().to_string().contains("99990000 combinations"));
    }
}
