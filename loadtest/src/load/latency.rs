//! How long things took.

use anyhow::Result;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The percentiles that are drawn.
const CURVE: [f64; 14] = [
    0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 100.0,
];

/// Times, kept to three digits between 1 µs and a minute.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// None yet.
    ///
    /// # Errors
    /// Never, with these bounds.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?))
    }

    /// Notes one; what is out of bounds counts as the bound.
    pub(crate) fn record(&mut self, took: Duration) {
        self.0
            .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds those of another.
    ///
    /// # Errors
    /// Never, as both have the same bounds.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds, what this share (0 to 100) of them did not exceed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a minute of nanoseconds fits an f64"
    )]
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        self.0.value_at_percentile(share) as f64 / 1e6
    }

    /// Percentiles and milliseconds, to be drawn.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        CURVE
            .iter()
            .map(|&share| (share, self.percentile(share)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latency = Latency::new().unwrap();
        for n in 1..=1000 {
            latency.record(Duration::from_micros(n));
        }
        assert_eq!(latency.count(), 1000);
        assert!((latency.percentile(50.0) - 0.5).abs() < 0.005);
        assert!((latency.percentile(99.0) - 0.99).abs() < 0.005);
        latency.record(Duration::from_secs(3600));
        assert!((latency.percentile(100.0) - 60_000.0).abs() < 100.0);
        assert_eq!(latency.curve().len(), CURVE.len());
    }
}
