//! How often a caller may ask: GCRA by key, with a bounded number of keys.

use std::fmt;
use std::hash::Hash;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use lru::LruCache;

use crate::http::pace::{TokioClock, per_minute};

/// How often, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

/// What a limiter says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Requests a minute.
    pub limit: u32,
    /// Requests that would pass right now, after this one.
    pub remaining: u32,
    /// The whole burst is there again after this long.
    pub reset: Duration,
    /// Set when this one does not pass: the next one will, after this long.
    pub retry_after: Option<Duration>,
}

/// A limit for each of the keys that were seen last. Of a key that was forgotten nothing is held
/// against whoever comes with it.
pub struct Limiter<K: Hash + Eq + Clone> {
    rate: Rate,
    keys: Keys<K>,
    inner: RateLimiter<K, Keys<K>, TokioClock, StateInformationMiddleware>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter that remembers `capacity` keys, and forgets the one that was not seen longest.
    #[must_use]
    pub fn new(rate: Rate, capacity: NonZeroUsize) -> Self {
        let quota = per_minute(rate.per_minute, rate.burst);
        let keys = Keys(Arc::new(Mutex::new(LruCache::sparse(capacity))));
        let clock = TokioClock::default();
        Self {
            rate,
            inner: RateLimiter::new(quota, keys.clone(), clock),
            keys,
        }
    }

    /// Counts a request, if it passes.
    pub fn check(&self, key: &K) -> Verdict {
        let now = self.inner.clock().now();
        let outcome = self.inner.check_key(key);
        let full: Duration = self
            .keys
            .lock()
            .peek(key)
            .copied()
            .unwrap_or_default()
            .into();
        Verdict {
            limit: self.rate.per_minute.get(),
            remaining: outcome
                .as_ref()
                .map_or(0, |state| state.remaining_burst_capacity()),
            reset: full.saturating_sub(now),
            retry_after: outcome.err().map(|until| until.wait_time_from(now)),
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("rate", &self.rate)
            .field("keys", &self.keys.lock().len())
            .finish_non_exhaustive()
    }
}

/// When the whole burst of a key is there again, from the limiter's start on.
#[derive(Clone)]
struct Keys<K: Hash + Eq>(Arc<Mutex<LruCache<K, Nanos>>>);

impl<K: Hash + Eq> Keys<K> {
    fn lock(&self) -> MutexGuard<'_, LruCache<K, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Keys<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.lock();
        let (outcome, next) = f(keys.get(key).copied())?;
        keys.put(key.clone(), next);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::runtime::Builder;
    use tokio::time::{Instant, advance};

    use super::*;

    const KEYS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate {
            per_minute: per_minute.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
        }
    }

    /// Runs `test` with a clock that only [`advance`] moves.
    fn stopped(test: impl Future<Output = ()>) {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(test);
    }

    proptest! {
        /// Each step waits, and then one of the keys asks a number of times.
        #[test]
        fn no_key_gets_more_than_its_burst_and_rate(
            (per_minute, burst) in (1u32..600, 1u32..50),
            steps in prop::collection::vec((0u64..5_000, 0usize..20, 1u32..30), 1..120),
        ) {
            stopped(async {
                let limiter = Limiter::new(rate(per_minute, burst), KEYS);
                let start = Instant::now();
                let mut passed = [0u32; 20];
                for (wait, key, times) in steps {
                    advance(Duration::from_millis(wait)).await;
                    let passes = (0..times).filter(|_| limiter.check(&key).retry_after.is_none());
                    passed[key] += u32::try_from(passes.count()).unwrap();
                    let earned = start.elapsed().as_secs_f64() * f64::from(per_minute) / 60.0;
                    assert!(f64::from(passed[key]) <= f64::from(burst) + earned + 1e-6, "{passed:?}");
                }
            });
        }

        /// What a verdict promises comes true, and nothing sooner.
        #[test]
        fn a_verdict_is_kept(
            (per_minute, burst) in (1u32..600, 1u32..50),
            times in 1u32..200,
        ) {
            stopped(async {
                let limiter = Limiter::new(rate(per_minute, burst), KEYS);
                let mut last = limiter.check(&());
                for _ in 0..times {
                    let next = limiter.check(&());
                    assert_eq!(next.retry_after.is_none(), last.remaining > 0);
                    last = next;
                }
                if let Some(wait) = last.retry_after {
                    advance(wait.saturating_sub(Duration::from_millis(1))).await;
                    assert!(limiter.check(&()).retry_after.is_some());
                    advance(Duration::from_millis(1)).await;
                    last = limiter.check(&());
                    assert_eq!(last.retry_after, None);
                }
                advance(last.reset).await;
                assert_eq!(limiter.check(&()).remaining, burst - 1);
            });
        }
    }

    #[test]
    fn a_flood_of_one_key_costs_no_other() {
        stopped(async {
            let limiter = Limiter::new(rate(60, 10), KEYS);
            for second in 0..120 {
                let flood = (0..1_000).filter(|_| limiter.check(&"flood").retry_after.is_none());
                assert!(flood.count() <= if second == 0 { 10 } else { 1 });
                assert_eq!(
                    limiter.check(&"honest").retry_after,
                    None,
                    "second {second}"
                );
                advance(Duration::from_secs(1)).await;
            }
        });
    }

    #[test]
    fn keys_are_bounded_and_the_stalest_goes_first() {
        stopped(async {
            let limiter = Limiter::new(rate(1, 1), KEYS);
            assert_eq!(limiter.check(&0).retry_after, None);
            for key in 1..10_000 {
                assert_eq!(limiter.check(&key).retry_after, None);
                assert!(limiter.check(&0).retry_after.is_some(), "seen just now");
            }
            assert_eq!(limiter.keys.lock().len(), KEYS.get());
            assert_eq!(limiter.check(&1).retry_after, None, "forgotten long ago");
        });
    }
}
