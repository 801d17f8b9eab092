//! The async runtimes of a program.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, RuntimeMetrics};

use super::registry::{Kind, Open, Registry};

const RUNTIME: Open = Open {
    name: "runtime",
    values: "the program's runtimes: `main`, `agent`, `admin`, `worker-0` …",
};

/// The runtimes that have made themselves known. A program makes them at its start, a fixed number.
#[derive(Debug, Clone, Default)]
pub struct Runtimes(Arc<Mutex<Vec<(String, Handle)>>>);

impl Runtimes {
    /// Adds what is counted of runtimes to a program's registry.
    ///
    /// # Errors
    /// When a name is there already.
    pub fn new(registry: &mut Registry) -> prometheus::Result<Self> {
        let all = Self::default();
        let mut computed = |kind, name, help, value: fn(&RuntimeMetrics) -> f64| {
            let all = all.clone();
            registry.computed_by(kind, name, help, &[RUNTIME], move || all.each(value))
        };
        computed(
            Kind::Gauge,
            "runtime_workers",
            "Threads that a runtime runs its tasks on.",
            |runtime| count(runtime.num_workers()),
        )?;
        computed(
            Kind::Gauge,
            "runtime_alive_tasks",
            "Tasks of a runtime that have not ended.",
            |runtime| count(runtime.num_alive_tasks()),
        )?;
        computed(
            Kind::Gauge,
            "runtime_queue_depth",
            "Tasks that wait in a runtime's global queue.",
            |runtime| count(runtime.global_queue_depth()),
        )?;
        computed(
            Kind::Counter,
            "runtime_busy_seconds_total",
            "Time that a runtime's threads were busy.",
            |runtime| {
                let workers = 0..runtime.num_workers();
                workers
                    .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
                    .sum()
            },
        )?;
        Ok(all)
    }

    /// Makes a runtime known; one of the same name takes the place of the one before.
    pub fn add(&self, name: impl Into<String>, handle: Handle) {
        let name = name.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != name);
        all.push((name, handle));
    }

    /// Tasks that have not ended, of all runtimes.
    #[must_use]
    pub fn alive_tasks(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(_, handle)| handle.metrics().num_alive_tasks())
            .sum()
    }

    fn each(&self, value: fn(&RuntimeMetrics) -> f64) -> Vec<(Vec<String>, f64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(name, handle)| (vec![name.clone()], value(&handle.metrics())))
            .collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}
