//! What the stop did, step by step: for people as a table, for machines as JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::reason::Urgency;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "detail")]
pub enum StepOutcome {
    /// It did what it should.
    Done,
    /// It returned an error.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// Its time was up and it was cut off.
    DeadlinePassed,
    /// No time was left for it, because what was left belongs to essential steps.
    NoTimeLeft,
    /// An urgent stop cut it or left it out; that alone is no failure.
    CutByUrgency,
    /// The stop was aborted before or while it ran.
    Aborted,
    /// The runtime went away before the step could be reported.
    Lost,
}

impl StepOutcome {
    /// Whether this makes the exit code 1.
    #[must_use]
    pub fn is_failure(&self, essential: bool) -> bool {
        match self {
            Self::Done | Self::CutByUrgency => false,
            Self::Aborted => essential,
            Self::Failed(_) | Self::Panicked(_) | Self::DeadlinePassed | Self::NoTimeLeft | Self::Lost => true,
        }
    }
}

impl std::fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(error) => write!(f, "FAILED: {error}"),
            Self::Panicked(message) => write!(f, "PANICKED: {message}"),
            Self::DeadlinePassed => f.write_str("DEADLINE PASSED"),
            Self::NoTimeLeft => f.write_str("NO TIME LEFT"),
            Self::CutByUrgency => f.write_str("cut by the urgent stop"),
            Self::Aborted => f.write_str("aborted"),
            Self::Lost => f.write_str("LOST: the runtime went away"),
        }
    }
}

/// One step's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The step.
    pub name: String,
    /// Whether it runs in an urgent stop too.
    pub essential: bool,
    /// Whether it closes something, and so gets a moment in an urgent stop.
    pub closes: bool,
    /// When it started, counted from the beginning of the plan; `None` if it never did.
    #[serde(rename = "started_ms", serialize_with = "optional_ms")]
    pub started: Option<Duration>,
    /// How long it ran.
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub took: Duration,
    /// How long it was allowed to run.
    #[serde(rename = "budget_ms", serialize_with = "ms")]
    pub budget: Duration,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: StepOutcome,
    /// What it had to say, such as orders kept by policy.
    pub notes: Vec<String>,
}

impl StepReport {
    /// Whether this makes the exit code 1.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.outcome.is_failure(self.essential)
    }
}

/// The whole stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// One line for each step of the plan, in the order in which they ended.
    pub steps: Vec<StepReport>,
    /// How long the plan ran.
    #[serde(rename = "took_ms", serialize_with = "ms")]
    pub took: Duration,
    /// How long it was allowed to run.
    #[serde(rename = "total_ms", serialize_with = "ms")]
    pub total: Duration,
    /// The urgency at its end.
    pub urgency: Urgency,
}

impl StopReport {
    /// How many steps failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.steps.iter().filter(|step| step.is_failure()).count()
    }

    /// Whether no step failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures() == 0
    }

    /// Whether a step that closes something was cut by a second signal.
    #[must_use]
    pub fn has_cut_closing(&self) -> bool {
        self.steps.iter().any(|step| step.closes && step.outcome == StepOutcome::CutByUrgency)
    }

    /// The line of one step.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// How it went, in a word or two: only a stop without failures was orderly.
    #[must_use]
    pub fn manner(&self) -> String {
        match (self.failures(), self.urgency) {
            (0, urgency) => urgency.to_string(),
            (1, Urgency::Orderly) => "1 step failed".to_owned(),
            (failures, Urgency::Orderly) => format!("{failures} steps failed"),
            (failures, urgency) => format!("{urgency}, {failures} failed"),
        }
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0).max(4);
        let mut lines = vec![format!("{:<width$}  {:>10}  {:>10}  outcome", "step", "start ms", "took ms")];
        for step in &self.steps {
            let started = step.started.map_or_else(|| "-".to_owned(), |at| format!("{:.1}", millis(at)));
            let took = millis(step.took);
            lines.push(format!("{:<width$}  {started:>10}  {took:>10.1}  {}", step.name, step.outcome));
            lines.extend(step.notes.iter().map(|note| format!("{:<width$}  {note}", "")));
        }
        let (took, total) = (millis(self.took), millis(self.total));
        lines.push(format!("stopped in {took:.1} ms of {total:.0} ms allowed ({})", self.manner()));
        lines.join("\n")
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(millis(*duration))
}

fn optional_ms<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&millis(*duration)),
        None => serializer.serialize_none(),
    }
}
