//! Metrics in Prometheus' text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! A family is begun once and then has its samples; names and labels are ours and fixed, values of labels are escaped.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up within a run.
    Counter,
    /// Counts by upper bound.
    Histogram,
}

/// A text that grows.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Units are in the name: `_seconds`, `_bytes`, `_total`.
    pub fn family(&mut self, name: &'static str, kind: MetricKind, help: &str) -> &mut Self {
        let kind = match kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
        };
        self.name = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self
    }

    /// One sample of the family begun last. Values that are not numbers are left out.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, value)
    }

    /// A histogram: upper bounds with how many lie at or below each (cumulated), the sum and the count.
    pub fn histogram(&mut self, labels: &[(&str, &str)], buckets: &[(f64, u64)], sum: f64, count: u64) -> &mut Self {
        for (bound, below) in buckets {
            let bound = bound.to_string();
            let mut all = labels.to_vec();
            all.push(("le", &bound));
            self.line("_bucket", &all, *below as f64);
        }
        let mut all = labels.to_vec();
        all.push(("le", "+Inf"));
        self.line("_bucket", &all, count as f64);
        self.line("_sum", labels, sum).line("_count", labels, count as f64)
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        if !value.is_finite() {
            return self;
        }
        let text = &mut self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(&format!("{label}=\"{value}\""));
        }
        if !labels.is_empty() {
            text.push('}');
        }
        text.push_str(&format!(" {value}\n"));
        self
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_histograms_are_written_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.family("keel_fills_total", MetricKind::Counter, "Fills\napplied.").sample(&[], 3.0);
        out.family("keel_position", MetricKind::Gauge, "Position.").sample(&[("symbol", "A\"B\\\n")], -0.5);
        out.sample(&[("symbol", "none")], f64::NAN);
        out.family("keel_wait_seconds", MetricKind::Histogram, "Wait.");
        out.histogram(&[("stage", "ack")], &[(0.001, 2), (0.01, 5)], 0.02, 6);
        assert_eq!(
            out.into_text(),
            "# HELP keel_fills_total Fills\\napplied.\n# TYPE keel_fills_total counter\nkeel_fills_total 3\n\
             # HELP keel_position Position.\n# TYPE keel_position gauge\nkeel_position{symbol=\"A\\\"B\\\\\\n\"} -0.5\n\
             # HELP keel_wait_seconds Wait.\n# TYPE keel_wait_seconds histogram\n\
             keel_wait_seconds_bucket{stage=\"ack\",le=\"0.001\"} 2\nkeel_wait_seconds_bucket{stage=\"ack\",le=\"0.01\"} 5\n\
             keel_wait_seconds_bucket{stage=\"ack\",le=\"+Inf\"} 6\nkeel_wait_seconds_sum{stage=\"ack\"} 0.02\n\
             keel_wait_seconds_count{stage=\"ack\"} 6\n"
        );
    }
}
