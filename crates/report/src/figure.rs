//! A figure with its name, convention and unit, and the two ways to show a list of them.

use serde_json::{Map, Value};

/// How a figure is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Number,
    /// A share, shown in percent.
    Share,
    /// A count, shown without decimals.
    Count,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// How it is defined.
    pub convention: &'static str,
    /// How it is shown.
    pub unit: Unit,
    /// Its value; `None` where it is not defined.
    pub value: Option<f64>,
}

impl Figure {
    /// A figure.
    #[must_use]
    pub const fn new(
        key: &'static str,
        label: &'static str,
        unit: Unit,
        value: Option<f64>,
        convention: &'static str,
    ) -> Self {
        Self { key, label, convention, unit, value }
    }

    /// The value as people read it; `n/a` where it is not defined.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some(value) = self.value.filter(|value| value.is_finite()) else { return "n/a".to_owned() };
        match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Share => format!("{:.2} %", value * 100.0),
            Unit::Number if value != 0.0 && value.abs() < 1e-4 => format!("{value:.3e}"),
            Unit::Number => format!("{value:.4}"),
        }
    }
}

/// Figures as one JSON object; `null` where one is not defined.
#[must_use]
pub fn to_json(figures: &[Figure]) -> Map<String, Value> {
    let value = |figure: &Figure| match (figure.unit, figure.value.filter(|value| value.is_finite())) {
        (_, None) => Value::Null,
        #[allow(clippy::cast_possible_truncation, reason = "counts are whole and far below 2^53")]
        (Unit::Count, Some(value)) => Value::from(value as i64),
        (_, Some(value)) => Value::from(value),
    };
    figures.iter().map(|figure| (figure.key.to_owned(), value(figure))).collect()
}

/// Figures as a table with their conventions.
#[must_use]
pub fn to_table(figures: &[Figure]) -> String {
    let label = figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
    let shown = figures.iter().map(|figure| figure.shown().chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for figure in figures {
        let line = format!("{:<label$}  {:>shown$}  {}\n", figure.label, figure.shown(), figure.convention);
        table.push_str(&line);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_says_so() {
        let figures = [
            Figure::new("sharpe", "Sharpe", Unit::Number, None, "mean/std"),
            Figure::new("cagr", "CAGR", Unit::Share, Some(0.1634), "a year"),
            Figure::new("days", "Days", Unit::Count, Some(90.0), "in the series"),
            Figure::new("ruin", "Risk of ruin", Unit::Number, Some(f64::INFINITY), "never shown"),
        ];
        assert_eq!(figures.map(|figure| figure.shown()), ["n/a", "16.34 %", "90", "n/a"]);
        let json = to_json(&figures);
        assert_eq!((&json["sharpe"], &json["days"], &json["ruin"]), (&Value::Null, &Value::from(90), &Value::Null));
        assert!(to_table(&figures).starts_with("Sharpe            n/a  mean/std\n"));
    }
}
