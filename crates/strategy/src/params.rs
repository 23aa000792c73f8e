//! Declared parameters of strategies: name, kind and range, default, unit, meaning; and values checked against them.
//!
//! Invariants: a [`Settings`] holds exactly the declared parameters, each within its range; a name that was not declared is
//! an error that says which one may be meant; money is exact decimal text, never a float.

use keel_model::Notional;
use std::fmt;

/// Why a strategy cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StrategyError {
    /// No such strategy.
    #[error("there is no strategy `{name}`{}", hint(.nearest))]
    UnknownStrategy {
        /// What was asked for.
        name: String,
        /// The known name most like it.
        nearest: Option<&'static str>,
    },
    /// No such parameter.
    #[error("strategy `{strategy}` has no parameter `{name}`{}", hint(.nearest))]
    UnknownParameter {
        /// The strategy.
        strategy: &'static str,
        /// What was given.
        name: String,
        /// The declared name most like it.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong kind or out of range.
    #[error("strategy `{strategy}`, parameter `{name}`: `{value}` is not {expected}")]
    BadValue {
        /// The strategy.
        strategy: &'static str,
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Values that are possible alone but not together.
    #[error("strategy `{strategy}`: {cause}")]
    Contradiction {
        /// The strategy.
        strategy: &'static str,
        /// What contradicts what, and what to do.
        cause: String,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// What a parameter can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamKind {
    /// A whole number from..=to.
    Whole(u64, u64),
    /// A number from..=to; for ratios and indicator settings, not for money.
    Real(f64, f64),
    /// An exact amount of money from..=to.
    Money(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(from, to) => write!(f, "a whole number from {from} to {to}"),
            Self::Real(from, to) => write!(f, "a number from {from} to {to}"),
            Self::Money(from, to) => write!(f, "an exact decimal from {from} to {to}"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// A declared parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamSpec {
    /// Name, with its unit last.
    pub name: &'static str,
    /// What it can be.
    pub kind: ParamKind,
    /// Value when none is given, as text.
    pub default: &'static str,
    /// Unit in words; empty for words and counts of themselves.
    pub unit: &'static str,
    /// What it means.
    pub description: &'static str,
}

/// Parameters as they were given: names and values as text, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    given: Vec<(String, String)>,
}

impl Params {
    /// Nothing given: all defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { given: Vec::new() }
    }

    /// Gives a value; the last one of a name counts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.set(name, value);
        self
    }

    /// A value that was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Gives a value; the last one of a name counts.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        let value = value.to_string();
        match self.given.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.given.push((name.to_owned(), value)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Whole(u64),
    Real(f64),
    Money(Notional),
    Word(&'static str),
}

/// Checked values of all declared parameters of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    strategy: &'static str,
    values: Vec<(&'static str, Value)>,
}

impl Settings {
    /// Checks what was given against what is declared, and fills in the defaults.
    pub fn check(strategy: &'static str, specs: &'static [ParamSpec], params: &Params) -> Result<Self, StrategyError> {
        if let Some((name, _)) = params.given.iter().find(|(name, _)| !specs.iter().any(|spec| spec.name == name)) {
            let nearest = nearest(name, specs.iter().map(|spec| spec.name));
            return Err(StrategyError::UnknownParameter { strategy, name: name.clone(), nearest });
        }
        let value = |spec: &'static ParamSpec| {
            let text = params.get(spec.name).unwrap_or(spec.default);
            let value = parse(spec.kind, text).ok_or_else(|| StrategyError::BadValue {
                strategy,
                name: spec.name,
                value: text.to_owned(),
                expected: spec.kind.to_string(),
            })?;
            Ok((spec.name, value))
        };
        Ok(Self { strategy, values: specs.iter().map(value).collect::<Result<_, StrategyError>>()? })
    }

    /// A whole number.
    pub fn whole(&self, name: &'static str) -> Result<u64, StrategyError> {
        self.get(name, "declared as a whole number", |value| match value {
            Value::Whole(value) => Some(value),
            _ => None,
        })
    }

    /// A count that becomes a length in memory.
    pub fn count(&self, name: &'static str) -> Result<usize, StrategyError> {
        self.get(name, "declared as a whole number", |value| match value {
            Value::Whole(value) => usize::try_from(value).ok(),
            _ => None,
        })
    }

    /// A number.
    pub fn real(&self, name: &'static str) -> Result<f64, StrategyError> {
        self.get(name, "declared as a number", |value| match value {
            Value::Real(value) => Some(value),
            _ => None,
        })
    }

    /// An amount of money.
    pub fn money(&self, name: &'static str) -> Result<Notional, StrategyError> {
        self.get(name, "declared as money", |value| match value {
            Value::Money(value) => Some(value),
            _ => None,
        })
    }

    /// A word.
    pub fn word(&self, name: &'static str) -> Result<&'static str, StrategyError> {
        self.get(name, "declared as a word", |value| match value {
            Value::Word(value) => Some(value),
            _ => None,
        })
    }

    /// An error for values that do not go together.
    pub fn contradiction(&self, cause: impl Into<String>) -> StrategyError {
        StrategyError::Contradiction { strategy: self.strategy, cause: cause.into() }
    }

    fn get<T>(
        &self,
        name: &'static str,
        expected: &str,
        take: impl Fn(Value) -> Option<T>,
    ) -> Result<T, StrategyError> {
        let known = self.values.iter().find(|(known, _)| *known == name);
        known.and_then(|(_, value)| take(*value)).ok_or_else(|| StrategyError::BadValue {
            strategy: self.strategy,
            name,
            value: known.map_or_else(|| "nothing".to_owned(), |(_, value)| format!("{value:?}")),
            expected: expected.to_owned(),
        })
    }
}

fn parse(kind: ParamKind, text: &str) -> Option<Value> {
    match kind {
        ParamKind::Whole(from, to) => text.parse().ok().filter(|value| (from..=to).contains(value)).map(Value::Whole),
        // NaN is in no range.
        ParamKind::Real(from, to) => text.parse().ok().filter(|value| (from..=to).contains(value)).map(Value::Real),
        ParamKind::Money(from, to) => {
            let range = Notional::from_int(from)..=Notional::from_int(to);
            text.parse().ok().filter(|value| range.contains(value)).map(Value::Money)
        }
        ParamKind::Word(words) => words.iter().find(|word| **word == text).map(|word| Value::Word(word)),
    }
}

/// The name most like `wrong`, when one is near enough to be meant. Case, `-` and `_` make no difference.
pub(crate) fn nearest(wrong: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let limit = (wrong.chars().count() / 3).max(2);
    let named = names.into_iter().map(|name| (distance(&wrong, &plain(name)), name));
    named.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Letters to insert, delete or change from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (at, letter) in a.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[ParamSpec] = &[
        ParamSpec { name: "bars_count", kind: ParamKind::Whole(1, 10), default: "3", unit: "bars", description: "n" },
        ParamSpec { name: "width_bps", kind: ParamKind::Real(0.0, 5.0), default: "0.5", unit: "bps", description: "w" },
        ParamSpec { name: "value_quote", kind: ParamKind::Money(1, 100), default: "1", unit: "q", description: "v" },
        ParamSpec { name: "entry", kind: ParamKind::Word(&["a", "b"]), default: "a", unit: "", description: "e" },
    ];

    fn check(params: &Params) -> Result<Settings, StrategyError> {
        Settings::check("demo", SPECS, params)
    }

    #[test]
    fn what_is_not_given_takes_its_default() {
        let settings = check(&Params::new().with("bars_count", 7)).unwrap();
        assert_eq!((settings.whole("bars_count"), settings.count("bars_count")), (Ok(7), Ok(7)));
        assert_eq!((settings.real("width_bps"), settings.word("entry")), (Ok(0.5), Ok("a")));
        assert_eq!(settings.money("value_quote"), Ok(Notional::from_int(1)));
        let twice = check(&Params::new().with("entry", "a").with("entry", "b")).unwrap();
        assert_eq!(twice.word("entry"), Ok("b"), "the last one counts");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_one_that_may_be_meant() {
        let error = check(&Params::new().with("bar-count", 7)).unwrap_err();
        assert_eq!(error.to_string(), "strategy `demo` has no parameter `bar-count`; did you mean `bars_count`?");
        let error = check(&Params::new().with("leverage", 7)).unwrap_err();
        assert_eq!(error.to_string(), "strategy `demo` has no parameter `leverage`");
    }

    #[test]
    fn values_out_of_range_or_of_the_wrong_kind_say_what_is_allowed() {
        for (name, value, expected) in [
            ("bars_count", "0", "a whole number from 1 to 10"),
            ("bars_count", "2.5", "a whole number from 1 to 10"),
            ("width_bps", "NaN", "a number from 0 to 5"),
            ("width_bps", "-1", "a number from 0 to 5"),
            ("value_quote", "100.01", "an exact decimal from 1 to 100"),
            ("value_quote", "1e1", "an exact decimal from 1 to 100"),
            ("entry", "A", "one of a, b"),
        ] {
            let error = check(&Params::new().with(name, value)).unwrap_err();
            assert_eq!(error.to_string(), format!("strategy `demo`, parameter `{name}`: `{value}` is not {expected}"));
        }
    }

    #[test]
    fn reading_a_parameter_as_another_kind_is_an_error_not_a_panic() {
        let settings = check(&Params::new()).unwrap();
        assert!(settings.real("bars_count").is_err() && settings.whole("nothing").is_err());
    }
}
