//! Declared parameters of strategies: name, kind and range, default, unit, meaning; and values checked against them.
//!
//! Invariants: a [`Settings`] holds exactly the declared parameters, each within its range; a name that was not declared is
//! an error that says which one may be meant; money is exact decimal text, never a float.

use crate::exits::{self, ExitRules};
use keel_model::Notional;
use std::fmt;
use std::time::Duration;

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
    /// The instruments of the run are not what it trades.
    #[error("strategy `{strategy}`: {cause}")]
    Instruments {
        /// The strategy.
        strategy: &'static str,
        /// What it needs.
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
    /// A text of at most this many characters; whoever takes it checks what it says.
    Text(usize),
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(from, to) => write!(f, "a whole number from {from} to {to}"),
            Self::Real(from, to) => write!(f, "a number from {from} to {to}"),
            Self::Money(from, to) => write!(f, "an exact decimal from {from} to {to}"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text(chars_max) => write!(f, "a text of at most {chars_max} characters"),
        }
    }
}

/// How a parameter is varied by a sweep that is not told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepSpec {
    /// Not at all: it keeps its default.
    Fixed,
    /// From the first to the last by the step, both ends included; exact decimals.
    Range {
        /// First value.
        from: &'static str,
        /// No value is greater.
        to: &'static str,
        /// Distance from one value to the next.
        step: &'static str,
    },
    /// Worked out from kind and default: half, once and twice the default and what lies between, or each of the words.
    Derived,
}

/// A declared parameter: one source for configuration, documentation and sweeps.
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
    /// How a sweep varies it.
    pub sweep: SweepSpec,
}

/// The most values of one parameter in a sweep.
pub const SWEEP_VALUES_MAX: usize = 1_000_000;

impl ParamSpec {
    /// A whole number from..=to.
    #[must_use]
    pub const fn whole(
        name: &'static str,
        from: u64,
        to: u64,
        default: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind: ParamKind::Whole(from, to), default, unit, description, sweep: SweepSpec::Derived }
    }

    /// A number from..=to; for ratios and indicator settings, not for money.
    #[must_use]
    pub const fn real(
        name: &'static str,
        from: f64,
        to: f64,
        default: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind: ParamKind::Real(from, to), default, unit, description, sweep: SweepSpec::Derived }
    }

    /// An exact amount of money from..=to. A sweep leaves it alone unless told otherwise.
    #[must_use]
    pub const fn money(
        name: &'static str,
        from: i64,
        to: i64,
        default: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind: ParamKind::Money(from, to), default, unit, description, sweep: SweepSpec::Fixed }
    }

    /// One of these words.
    #[must_use]
    pub const fn word(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind: ParamKind::Word(words), default, unit: "", description, sweep: SweepSpec::Derived }
    }

    /// A text of at most this many characters. A sweep leaves it alone.
    #[must_use]
    pub const fn text(
        name: &'static str,
        chars_max: usize,
        default: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind: ParamKind::Text(chars_max), default, unit, description, sweep: SweepSpec::Fixed }
    }

    /// A sweep leaves it at its default.
    #[must_use]
    pub const fn fixed(self) -> Self {
        Self { sweep: SweepSpec::Fixed, ..self }
    }

    /// A sweep takes these values: from, from + step, … up to `to`; exact decimals within the range of the parameter.
    #[must_use]
    pub const fn swept(self, from: &'static str, to: &'static str, step: &'static str) -> Self {
        Self { sweep: SweepSpec::Range { from, to, step }, ..self }
    }

    /// The values that a sweep takes when it is not told otherwise, as text for [`Params`]; the default alone where it is
    /// not varied.
    #[must_use]
    pub fn sweep_values(&self) -> Vec<String> {
        let default = || vec![self.default.to_owned()];
        match self.sweep {
            SweepSpec::Fixed => default(),
            SweepSpec::Range { from, to, step } => self.grid("", from, to, step).unwrap_or_else(|_| default()),
            SweepSpec::Derived => self.derived_values(),
        }
    }

    /// Is this text a value of it?
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        parse(self.kind, text).is_some()
    }

    /// The values from, from + step, … up to `to`, each checked against the parameter's range; texts are exact decimals.
    /// `strategy` is only for the error.
    pub fn grid(&self, strategy: &'static str, from: &str, to: &str, step: &str) -> Result<Vec<String>, StrategyError> {
        let bad = |value: &str, expected: &str| StrategyError::BadValue {
            strategy,
            name: self.name,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let number = |text: &str| text.parse::<Notional>().map_err(|_| bad(text, "an exact decimal"));
        let (mut at, to_value, step_value) = (number(from)?, number(to)?, number(step)?);
        if !step_value.is_positive() {
            return Err(bad(step, "a step greater than zero"));
        }
        if at > to_value {
            return Err(bad(to, "at least the first value of the range"));
        }
        let mut values = Vec::new();
        while at <= to_value {
            let text = at.normalized().to_string();
            if parse(self.kind, &text).is_none() {
                return Err(bad(&text, &self.kind.to_string()));
            }
            if values.len() >= SWEEP_VALUES_MAX {
                return Err(bad(step, "a step that gives at most 1000000 values"));
            }
            values.push(text);
            at = at.checked_add(step_value).map_err(|_| bad(to, "a range that fits a decimal"))?;
        }
        Ok(values)
    }

    fn derived_values(&self) -> Vec<String> {
        const FACTORS: [f64; 7] = [0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0];
        let mut values: Vec<String> = match (self.kind, self.default.parse::<f64>()) {
            (ParamKind::Word(words), _) => return words.iter().map(|word| (*word).to_owned()).collect(),
            (ParamKind::Whole(from, to), Ok(default)) => {
                let near = |factor: f64| ((default * factor).round() as u64).clamp(from, to).to_string();
                FACTORS.into_iter().map(near).collect()
            }
            (ParamKind::Real(from, to), Ok(default)) => {
                let near = |factor: f64| (default * factor).clamp(from, to);
                FACTORS.into_iter().map(|factor| format!("{}", (near(factor) * 1e9).round() / 1e9)).collect()
            }
            _ => return vec![self.default.to_owned()],
        };
        values.dedup();
        values
    }
}

/// Parameters as they were given: names and values as text, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    given: Vec<(String, String)>,
}

impl Params {
    /// Names and values, in the order in which they were given.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

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

    /// These, and what `others` give that these do not.
    #[must_use]
    pub fn over(&self, others: &Self) -> Self {
        let mut all = others.clone();
        self.given.iter().for_each(|(name, value)| all.set(name, value));
        all
    }

    /// Those whose names begin with `prefix`, without it, and the others.
    fn split(&self, prefix: &str) -> (Self, Self) {
        let (mut with, mut without) = (Self::new(), Self::new());
        for (name, value) in &self.given {
            match name.strip_prefix(prefix) {
                Some(name) => with.set(name, value),
                None => without.set(name, value),
            }
        }
        (with, without)
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

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Whole(u64),
    Real(f64),
    Money(Notional),
    Word(&'static str),
    Text(String),
}

/// Checked values of all declared parameters of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    strategy: &'static str,
    values: Vec<(&'static str, Value)>,
    exits: ExitRules,
}

impl Settings {
    /// Checks what was given against what is declared, and fills in the defaults. What is called `exits.…` is for the exits
    /// that any strategy can have, see [`exits::PARAMS`].
    pub fn check(strategy: &'static str, specs: &'static [ParamSpec], params: &Params) -> Result<Self, StrategyError> {
        let (exits, own) = params.split(exits::PREFIX);
        let mut settings = Self::check_own(strategy, specs, &own)?;
        if !exits.given.is_empty() {
            settings.exits = ExitRules::from_settings(&Self::check_own("exits", exits::PARAMS, &exits)?)?;
        }
        Ok(settings)
    }

    fn check_own(strategy: &'static str, specs: &'static [ParamSpec], params: &Params) -> Result<Self, StrategyError> {
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
        let values = specs.iter().map(value).collect::<Result<_, StrategyError>>()?;
        Ok(Self { strategy, values, exits: ExitRules::default() })
    }

    /// The exits that are set for it.
    #[must_use]
    pub const fn exits(&self) -> &ExitRules {
        &self.exits
    }

    /// The length of its bars, out of a whole number of seconds that divides a day.
    pub fn bar_length(&self, name: &'static str) -> Result<Duration, StrategyError> {
        let bar_s = self.whole(name)?;
        if bar_s == 0 || !86_400u64.is_multiple_of(bar_s) {
            return Err(self.contradiction(format!("{name} {bar_s} does not divide a day; try 1, 5, 60 or 300")));
        }
        Ok(Duration::from_secs(bar_s))
    }

    /// A whole number.
    pub fn whole(&self, name: &'static str) -> Result<u64, StrategyError> {
        self.get(name, "declared as a whole number", |value| match value {
            Value::Whole(value) => Some(*value),
            _ => None,
        })
    }

    /// A count that becomes a length in memory.
    pub fn count(&self, name: &'static str) -> Result<usize, StrategyError> {
        self.get(name, "declared as a whole number", |value| match value {
            Value::Whole(value) => usize::try_from(*value).ok(),
            _ => None,
        })
    }

    /// A number.
    pub fn real(&self, name: &'static str) -> Result<f64, StrategyError> {
        self.get(name, "declared as a number", |value| match value {
            Value::Real(value) => Some(*value),
            _ => None,
        })
    }

    /// An amount of money.
    pub fn money(&self, name: &'static str) -> Result<Notional, StrategyError> {
        self.get(name, "declared as money", |value| match value {
            Value::Money(value) => Some(*value),
            _ => None,
        })
    }

    /// A word.
    pub fn word(&self, name: &'static str) -> Result<&'static str, StrategyError> {
        self.get(name, "declared as a word", |value| match value {
            Value::Word(value) => Some(*value),
            _ => None,
        })
    }

    /// A text.
    pub fn text(&self, name: &'static str) -> Result<String, StrategyError> {
        self.get(name, "declared as a text", |value| match value {
            Value::Text(value) => Some(value.clone()),
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
        take: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, StrategyError> {
        let known = self.values.iter().find(|(known, _)| *known == name);
        known.and_then(|(_, value)| take(value)).ok_or_else(|| StrategyError::BadValue {
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
        ParamKind::Text(chars_max) => (text.chars().count() <= chars_max).then(|| Value::Text(text.to_owned())),
    }
}

/// The name most like `wrong`, when one is near enough to be meant. Case, `-` and `_` make no difference.
#[must_use]
pub fn nearest(wrong: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
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
        ParamSpec::whole("bars_count", 1, 10, "3", "bars", "n"),
        ParamSpec::real("width_bps", 0.0, 5.0, "0.5", "bps", "w"),
        ParamSpec::money("value_quote", 1, 100, "1", "q", "v"),
        ParamSpec::word("entry", &["a", "b"], "a", "e"),
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
    fn a_sweep_takes_what_was_declared_or_what_is_derived_from_the_default() {
        let of = |spec: ParamSpec| spec.sweep_values().join(" ");
        assert_eq!(of(ParamSpec::whole("n_count", 1, 50, "10", "", "").swept("5", "20", "5")), "5 10 15 20");
        assert_eq!(of(ParamSpec::real("w_bps", 0.0, 3.0, "1", "", "").swept("0.5", "1.2", "0.25")), "0.5 0.75 1");
        assert_eq!(of(ParamSpec::whole("n_count", 1, 50, "10", "", "")), "5 7 9 10 12 15 20");
        assert_eq!(of(ParamSpec::whole("n_count", 9, 12, "10", "", "")), "9 10 12", "never outside the range");
        assert_eq!(of(ParamSpec::real("w_bps", 0.0, 1.0, "0.5", "", "")), "0.25 0.35 0.425 0.5 0.6 0.75 1");
        assert_eq!(of(ParamSpec::word("entry", &["a", "b"], "a", "")), "a b");
        assert_eq!(of(ParamSpec::money("v_quote", 1, 9, "2", "", "")), "2");
        assert_eq!(of(ParamSpec::whole("n_count", 1, 50, "10", "", "").fixed()), "10");
    }

    #[test]
    fn a_grid_outside_the_range_backwards_or_without_end_is_refused() {
        let spec = ParamSpec::whole("n_count", 1, 50, "10", "", "");
        let error = |from, to, step| spec.grid("demo", from, to, step).unwrap_err().to_string();
        assert!(error("0", "9", "1").contains("`0` is not a whole number from 1 to 50"));
        assert!(error("1", "9", "0.5").contains("`1.5` is not a whole number"));
        assert!(error("9", "1", "1").contains("at least the first value"));
        assert!(error("1", "9", "0").contains("greater than zero"));
        assert!(error("1", "x", "1").contains("`x` is not an exact decimal"));
        let wide = ParamSpec::real("w_bps", 0.0, 9.0, "1", "", "");
        assert!(wide.grid("demo", "0", "9", "0.000001").is_err());
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
