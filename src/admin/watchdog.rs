//! Whether the threads that carry data make progress.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Check, Failing};

/// How often a thread says that it goes on: often enough that a single late one means nothing.
const EVERY: Duration = Duration::from_millis(500);

/// A thread that said nothing for this long is stuck. No task of ours may hold its thread for a
/// tenth of a second; a machine that is out of memory or processor time holds it for a few. Below
/// three probes of the kubelet's default period, which is when it restarts the pod.
const STUCK: Duration = Duration::from_secs(10);

/// Knows when each thread that it watches last made progress. Clones are the same.
#[derive(Debug, Clone)]
pub struct Watchdog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    stuck: Duration,
    threads: Mutex<Vec<Thread>>,
}

#[derive(Debug)]
struct Thread {
    name: String,
    /// Milliseconds from `started` to its last beat.
    last: Arc<AtomicU64>,
}

/// One thread's way to say that it goes on.
#[derive(Debug)]
pub struct Beat {
    last: Arc<AtomicU64>,
    watchdog: Watchdog,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::with_patience(STUCK)
    }
}

impl Watchdog {
    fn with_patience(stuck: Duration) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            stuck,
            threads: Mutex::default(),
        }))
    }

    /// Watches one more thread, from now on.
    #[must_use]
    pub fn watch(&self, name: impl Into<String>) -> Beat {
        let beat = Beat {
            last: Arc::default(),
            watchdog: self.clone(),
        };
        beat.now();
        self.with(|threads| {
            threads.push(Thread {
                name: name.into(),
                last: Arc::clone(&beat.last),
            });
        });
        beat
    }

    /// A check for each thread, under its name.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let now = self.elapsed();
        self.with(|threads| {
            let checks = threads.iter().map(|thread| Check {
                name: thread.name.clone().into(),
                failing: self.failing(now.saturating_sub(thread.last.load(Ordering::Relaxed))),
            });
            checks.collect()
        })
    }

    fn failing(&self, silent_ms: u64) -> Option<Failing> {
        let silent = Duration::from_millis(silent_ms);
        if silent <= self.0.stuck {
            return None;
        }
        let now = Timestamp::now();
        let since = now.checked_sub(silent).unwrap_or(now);
        let reason = format!(
            "the thread has made no progress for {} s: something blocks it",
            silent.as_secs()
        );
        Some(Failing::new(reason, since))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<Thread>) -> R) -> R {
        f(&mut self
            .0
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

impl Beat {
    /// Runs what the thread is there for, and beats beside it. The thread is forgotten when that
    /// comes to its end, and not when it panics.
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            done = work => done,
            () = self.run() => pending().await,
        };
        self.watchdog
            .with(|threads| threads.retain(|thread| !Arc::ptr_eq(&thread.last, &self.last)));
        done
    }

    async fn run(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.now();
        }
    }

    fn now(&self) {
        self.last.store(self.watchdog.elapsed(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Waits until this thread counts as stuck, or no longer; how long that takes is the machine's
    /// affair.
    fn until(watchdog: &Watchdog, name: &str, stuck: bool) -> Option<Failing> {
        loop {
            let checks = watchdog.checks();
            let check = checks.into_iter().find(|check| check.name == name).unwrap();
            if check.failing.is_some() == stuck {
                return check.failing;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_thread_that_blocks_is_named_until_it_goes_on() {
        let watchdog = Watchdog::with_patience(Duration::from_secs(2));
        let (block, blocked) = mpsc::channel::<()>();
        let (go_on, told) = mpsc::channel::<()>();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let beats = [watchdog.watch("agent"), watchdog.watch("worker-0")];
        let [stuck, well] = beats;
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let first = thread::spawn(move || {
            runtime().block_on(stuck.beside(async {
                tokio::spawn(async move {
                    block.send(()).unwrap();
                    told.recv().unwrap();
                });
                drop(ended.await);
            }));
        });
        let (end_other, other_ended) = tokio::sync::oneshot::channel::<()>();
        let second = thread::spawn(move || {
            drop(runtime().block_on(well.beside(other_ended)));
        });
        blocked.recv().unwrap();
        until(&watchdog, "worker-0", false);
        let failing = until(&watchdog, "agent", true).unwrap();
        assert!(failing.reason.contains("no progress"), "{failing:?}");
        assert!(failing.since < Timestamp::now());
        go_on.send(()).unwrap();
        until(&watchdog, "agent", false);
        drop((end, end_other));
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(watchdog.checks(), []);
    }

    #[test]
    fn a_thread_that_panicked_stays() {
        let watchdog = Watchdog::default();
        let beat = watchdog.watch("worker-0");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let died = thread::spawn(move || {
            runtime.block_on(beat.beside(async { panic!("on purpose") }));
        });
        assert!(died.join().is_err());
        assert_eq!(watchdog.checks().len(), 1);
    }
}
