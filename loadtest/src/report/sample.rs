//! One measurement of one subject.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::load::latency::Latency;

/// Points of a line.
pub(crate) type Points = Vec<(f64, f64)>;

/// What one case says of one subject, once.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// By name, with its unit, in the order of the table.
    values: Map<String, Value>,
    /// Lines to be drawn: percentiles, and what was watched over time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) curves: Vec<(String, Points)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) series: Vec<(String, Points)>,
    /// The largest share of the machine that others took.
    pub(crate) foreign: f64,
    /// What went wrong and did not end the measurement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

impl Outcome {
    /// Notes a figure.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        if let Some(value) = Number::from_f64(value) {
            self.values.insert(name.to_owned(), value.into());
        }
    }

    /// Notes a latency: its median, its 99th percentile, and its curve.
    pub(crate) fn latency(&mut self, latency: &Latency, prefix: &str) {
        self.set(&format!("{prefix}p50 ms"), latency.percentile(50.0));
        self.set(&format!("{prefix}p99 ms"), latency.percentile(99.0));
        self.set(&format!("{prefix}max ms"), latency.percentile(100.0));
        self.curves
            .push((prefix.trim().to_owned(), latency.curve()));
    }

    /// Notes what was watched over time.
    pub(crate) fn series(&mut self, name: &str, points: Points) {
        self.series.push((name.to_owned(), points));
    }

    /// Notes what went wrong, if anything did.
    pub(crate) fn note(&mut self, said: Option<String>) {
        self.notes.extend(said);
    }
}

/// An [`Outcome`], and whose it is.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) subject: String,
    pub(crate) case: String,
    pub(crate) round: u32,
    /// Why there are no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl std::ops::Deref for Sample {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        &self.outcome
    }
}

impl Outcome {
    /// The first three figures, for a line.
    pub(crate) fn summary(&self) -> String {
        let first = self.values.iter().take(3);
        let text: Vec<_> = first
            .map(|(name, value)| format!("{name} {:.3}", value.as_f64().unwrap_or_default()))
            .collect();
        text.join("  ")
    }

    /// The names of its figures.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A figure.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.as_f64()
    }
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "no count of ours reaches 2^53")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}
