//! How fast something may happen: one rate, by GCRA.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// tokio's time for `governor`, so that a limit stands still where a test's clock does.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    since: Instant,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self {
            since: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.since.elapsed()
    }
}

/// So many a minute, and so many at once after a pause.
#[must_use]
pub const fn per_minute(rate: NonZeroU32, burst: NonZeroU32) -> Quota {
    Quota::per_minute(rate).allow_burst(burst)
}

/// Keeps one thing to its quota: in any time `t` no more than burst + rate · t are let through.
#[derive(Debug)]
pub struct Pace {
    clock: TokioClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
}

impl Pace {
    /// Starts with the whole burst at hand.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let clock = TokioClock::default();
        Self {
            clock,
            limiter: RateLimiter::direct_with_clock(quota, clock),
        }
    }

    /// Lets one through.
    ///
    /// # Errors
    /// How long it is until one may pass.
    pub fn check(&self) -> Result<(), Duration> {
        self.limiter
            .check()
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::time::advance;

    const RATE: u32 = 1000;
    const BURST: u32 = 100;

    fn quota() -> Quota {
        per_minute(RATE.try_into().unwrap(), BURST.try_into().unwrap())
    }

    /// Asks after each of these pauses; answers when one was let through, in nanoseconds.
    fn passed(pauses: &[u64]) -> Vec<u128> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (pace, start) = (Pace::new(quota()), Instant::now());
            let mut passed = Vec::new();
            for &pause in pauses {
                advance(Duration::from_micros(pause)).await;
                if pace.check().is_ok() {
                    passed.push(start.elapsed().as_nanos());
                }
            }
            passed
        })
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(pauses in prop::collection::vec(
            prop_oneof![5 => 0..2_000u64, 3 => 50_000..70_000u64, 1 => 0..10_000_000u64], 1..600)
        ) {
            let passed = passed(&pauses);
            let each = u128::from(60_000_000_000 / u64::from(RATE));
            // Of any time, not only of that from the start on.
            for (from, begin) in passed.iter().enumerate() {
                for (to, end) in passed.iter().enumerate().skip(from) {
                    let allowed = u128::from(BURST) + (end - begin) / each;
                    prop_assert!((to - from + 1) as u128 <= allowed, "{from}..={to} of {passed:?}");
                }
            }
            prop_assert!(passed.len() >= pauses.len().min(BURST as usize), "a whole burst passes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_is_told_is_enough_and_not_too_long() {
        let pace = Pace::new(quota());
        for _ in 0..BURST {
            pace.check().unwrap();
        }
        let wait = pace.check().unwrap_err();
        assert_eq!(wait, Duration::from_millis(60));
        advance(wait - Duration::from_nanos(1)).await;
        assert_eq!(pace.check(), Err(Duration::from_nanos(1)));
        advance(Duration::from_nanos(1)).await;
        assert_eq!(pace.check(), Ok(()));
    }
}
