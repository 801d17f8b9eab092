//! Time during which something is so.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts the time during which something is so.
#[derive(Debug, Default)]
pub(in crate::agent) struct Stopwatch(Mutex<(Duration, Option<Instant>)>);

impl Stopwatch {
    /// Runs from now on, or stops.
    pub(in crate::agent) fn run(&self, runs: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, since) = &mut *state;
        match (runs, since.take()) {
            (true, before) => *since = before.or(Some(Instant::now())),
            (false, Some(before)) => *total += before.elapsed(),
            (false, None) => {}
        }
    }

    /// The time so far.
    #[must_use]
    pub(in crate::agent) fn elapsed(&self) -> Duration {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, since) = *state;
        total + since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_time_while_it_runs_counts() {
        let watch = Stopwatch::default();
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        pass(1).await;
        watch.run(true);
        pass(2).await;
        assert_eq!(watch.elapsed(), Duration::from_secs(2));
        watch.run(true);
        pass(3).await;
        watch.run(false);
        watch.run(false);
        pass(4).await;
        assert_eq!(watch.elapsed(), Duration::from_secs(5));
        watch.run(true);
        pass(1).await;
        assert_eq!(watch.elapsed(), Duration::from_secs(6));
    }
}
