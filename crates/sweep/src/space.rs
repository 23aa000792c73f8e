//! The space of a sweep: which declared parameters are varied over which values, and everything else as configured.
//!
//! Invariants: each value lies within the declared range; a point is a number below [`Space::count`] and means one value of
//! each dimension, the last dimension fastest; values that contradict each other (a fast average that is not the faster)
//! make a point impossible, which is no error.

use crate::SweepError;
pub use keel_strategy::params::nearest;
use keel_strategy::registry;
use keel_strategy::{ParamKind, ParamSpec, Params, StrategyError, StrategyInfo, exits};

/// The most points that a search lists one by one.
pub const POINTS_MAX: u64 = 1_000_000;

/// One parameter that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Name, with `exits.` before it for exits.
    pub name: String,
    /// Its values as text, in order.
    pub values: Vec<String>,
}

/// A strategy, what is varied, and what is not.
#[derive(Clone, Debug)]
pub struct Space {
    strategy: &'static StrategyInfo,
    base: Params,
    dimensions: Vec<Dimension>,
}

/// The declaration of a parameter of a strategy or of the exits.
fn spec_of(strategy: &'static StrategyInfo, name: &str) -> Result<&'static ParamSpec, SweepError> {
    let plain = name.replace('-', "_");
    let exit = plain.strip_prefix(exits::PREFIX);
    let (specs, wanted) = exit.map_or((strategy.params, plain.as_str()), |exit| (exits::PARAMS, exit));
    specs.iter().find(|spec| spec.name == wanted).ok_or_else(|| {
        let nearest = nearest(wanted, specs.iter().map(|spec| spec.name));
        StrategyError::UnknownParameter { strategy: strategy.name, name: name.to_owned(), nearest }.into()
    })
}

impl Space {
    /// Reads ranges such as `fast_bars_count=5..50:5`, `entry=market,limit` or `bar_s=60`; without any, the strategy's own.
    ///
    /// # Errors
    /// Text that is no range, a name that is not declared, a value outside its range, no values at all, a name given twice.
    pub fn new(strategy: &'static StrategyInfo, base: Params, ranges: &[String]) -> Result<Self, SweepError> {
        let mut dimensions: Vec<Dimension> = Vec::new();
        for text in ranges {
            let bad = |cause: &str| SweepError::BadRange { text: text.clone(), cause: cause.to_owned() };
            let (name, values) = text.split_once('=').ok_or_else(|| bad("there is no `=`"))?;
            let spec = spec_of(strategy, name.trim())?;
            let name = name.trim().replace('-', "_");
            if dimensions.iter().any(|known| known.name == name) {
                return Err(bad("this parameter is given twice"));
            }
            dimensions.push(Dimension { values: values_of(strategy.name, spec, values.trim(), &bad)?, name });
        }
        if ranges.is_empty() {
            let varied = strategy
                .params
                .iter()
                .map(|spec| Dimension { name: spec.name.to_owned(), values: spec.sweep_values() });
            dimensions = varied.filter(|dimension| dimension.values.len() > 1).collect();
        }
        if dimensions.is_empty() {
            return Err(SweepError::Empty(format!(
                "strategy `{}` declares nothing to vary; name a parameter with --param NAME=FROM..TO:STEP",
                strategy.name
            )));
        }
        Ok(Self { strategy, base, dimensions })
    }

    /// The strategy.
    #[must_use]
    pub const fn strategy(&self) -> &'static StrategyInfo {
        self.strategy
    }

    /// What is varied.
    #[must_use]
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Points, possible or not.
    #[must_use]
    pub fn count(&self) -> u128 {
        let sizes = self.dimensions.iter().map(|dimension| dimension.values.len() as u128);
        sizes.fold(1, u128::saturating_mul)
    }

    /// Which value of each dimension a point means.
    #[must_use]
    pub fn places(&self, point: u64) -> Vec<usize> {
        let mut rest = point;
        let mut places = vec![0; self.dimensions.len()];
        for (place, dimension) in places.iter_mut().zip(&self.dimensions).rev() {
            let size = dimension.values.len() as u64;
            (*place, rest) = ((rest % size) as usize, rest / size);
        }
        places
    }

    /// The point of these places.
    #[must_use]
    pub fn point(&self, places: &[usize]) -> u64 {
        let sizes = self.dimensions.iter().map(|dimension| dimension.values.len() as u64);
        places.iter().zip(sizes).fold(0, |point, (place, size)| point * size + *place as u64)
    }

    /// The values of a point, in the order of the dimensions.
    #[must_use]
    pub fn values(&self, point: u64) -> Vec<&str> {
        let named = self.dimensions.iter().zip(self.places(point));
        named.map(|(dimension, place)| dimension.values.get(place).map_or("", String::as_str)).collect()
    }

    /// Everything that the strategy is given at a point.
    #[must_use]
    pub fn params(&self, point: u64) -> Params {
        let named = self.dimensions.iter().zip(self.values(point));
        named.fold(self.base.clone(), |params, (dimension, value)| params.with(&dimension.name, value))
    }

    /// Do the values of a point go together?
    ///
    /// # Errors
    /// Why the strategy cannot be made, when that is not about values that contradict each other.
    pub fn is_possible(&self, point: u64) -> Result<bool, SweepError> {
        match registry::check(self.strategy.name, &self.params(point)) {
            Ok(()) => Ok(true),
            Err(StrategyError::Contradiction { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn values_of(
    strategy: &'static str,
    spec: &'static ParamSpec,
    text: &str,
    bad: &dyn Fn(&str) -> SweepError,
) -> Result<Vec<String>, SweepError> {
    if text.is_empty() {
        return Err(bad("there are no values"));
    }
    if let Some((from, rest)) = text.split_once("..") {
        let whole = matches!(spec.kind, ParamKind::Whole(..));
        let (to, step) = match rest.split_once(':') {
            Some((to, step)) => (to, step),
            None if whole => (rest, "1"),
            None => return Err(bad("a range of numbers that are not whole needs a step")),
        };
        if matches!(spec.kind, ParamKind::Word(_) | ParamKind::Text(_)) {
            return Err(bad("this parameter is no number: list its values"));
        }
        return Ok(spec.grid(strategy, from.trim(), to.trim(), step.trim())?);
    }
    let mut values: Vec<String> = Vec::new();
    for value in text.split(',').map(str::trim) {
        // One value alone is a grid of one; words are looked up.
        if !spec.accepts(value) {
            let expected = spec.kind.to_string();
            let value = value.to_owned();
            return Err(StrategyError::BadValue { strategy, name: spec.name, value, expected }.into());
        }
        if values.iter().any(|known| known == value) {
            return Err(bad("a value is given twice"));
        }
        values.push(value.to_owned());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(ranges: &[&str]) -> Result<Space, SweepError> {
        let ranges: Vec<String> = ranges.iter().map(|range| (*range).to_owned()).collect();
        Space::new(registry::find("ema-cross").unwrap(), Params::new().with("bar_s", 60), &ranges)
    }

    #[test]
    fn a_point_is_one_value_of_each_dimension_and_back() {
        let space = space(&["fast_bars_count=5..50:5", "slow_bars_count=20,40,80", "entry=market"]).unwrap();
        assert_eq!(space.count(), 30);
        for point in 0..30 {
            assert_eq!(space.point(&space.places(point)), point);
        }
        assert_eq!(space.values(0), ["5", "20", "market"]);
        assert_eq!(space.values(29), ["50", "80", "market"]);
        assert_eq!(space.params(4).get("fast_bars_count"), Some("10"));
        assert_eq!(space.params(4).get("bar_s"), Some("60"), "what is configured stays");
        assert!(space.is_possible(0).unwrap() && !space.is_possible(27).unwrap(), "50 is not below 20");
    }

    #[test]
    fn what_is_wrong_with_a_range_is_told_with_the_nearest_name() {
        for (range, cause) in [
            ("fast_bar_count=5..50:5", "did you mean `fast_bars_count`?"),
            ("fast_bars_count=0..50:5", "`0` is not a whole number from 1 to 10000"),
            ("fast_bars_count=5..50:0", "a step greater than zero"),
            ("fast_bars_count", "there is no `=`"),
            ("fast_bars_count=", "there are no values"),
            ("fast_bars_count=5,5", "given twice"),
            ("fast_bars_count=5,x", "`x` is not a whole number"),
            ("entry=limit..market:1", "list its values"),
            ("slippage_bps=1..5", "needs a step"),
            ("exits.stop_los_bps=5", "did you mean `stop_loss_bps`?"),
        ] {
            let error = space(&[range]).unwrap_err().to_string();
            assert!(error.contains(cause), "{range}: {error}");
        }
        assert!(space(&["entry=market", "entry=limit"]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn without_ranges_the_declared_ones_are_taken_and_nothing_to_vary_is_an_error() {
        assert!(space(&[]).unwrap().dimensions().iter().any(|dimension| dimension.name == "fast_bars_count"));
        let idle = Space::new(registry::find("idle").unwrap(), Params::new(), &[]).unwrap_err();
        assert!(idle.to_string().contains("declares nothing to vary"), "{idle}");
    }
}
