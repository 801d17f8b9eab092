//! How long to wait before the next attempt to connect.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The longest wait for a gateway that does not answer, before jitter doubles it at most.
pub(super) const CAP: Duration = Duration::from_secs(15);

/// The wait after a refusal, which a person must mend: long enough not to be a nuisance.
const SLOW: Duration = Duration::from_secs(30);

/// Waits that grow from a quarter of a second, jittered, without end.
#[derive(Debug)]
pub(super) struct Backoff {
    waits: ExponentialBackoff,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            waits: exponential().with_max_delay(CAP).build(),
        }
    }

    /// After a failure that may pass by itself.
    pub(super) fn next(&mut self) -> Duration {
        self.waits.next().unwrap_or(CAP)
    }

    /// After a refusal.
    pub(super) fn slow() -> Duration {
        exponential()
            .with_min_delay(SLOW)
            .with_max_delay(SLOW)
            .build()
            .next()
            .unwrap_or(SLOW)
    }

    /// After a success: the next failure starts from the shortest wait.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

fn exponential() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_end() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = std::iter::repeat_with(|| backoff.next())
            .take(1000)
            .collect();
        assert!(waits[0] >= Duration::from_millis(250) && waits[0] <= Duration::from_millis(500));
        assert!(waits.iter().all(|wait| *wait <= 2 * CAP));
        assert!(waits[999] >= CAP);
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(500));
        assert!(Backoff::slow() >= SLOW);
    }

    #[test]
    fn two_agents_do_not_wait_in_step() {
        let waits: Vec<_> = std::iter::repeat_with(|| Backoff::new().next())
            .take(20)
            .collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
