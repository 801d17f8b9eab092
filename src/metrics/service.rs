//! What is counted for each service.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::label::{Direction, Outcome, Table};
use super::registry::{Open, Registry};

/// Services that have series of their own; what comes after them counts as [`OTHER`].
pub const MAX_SERVICES: usize = 100;

/// The label of every service beyond [`MAX_SERVICES`], and of names that no agent has accepted.
pub const OTHER: &str = "other";

/// Upper bounds for the time to a response's head.
const FIRST_BYTE: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The counters of one service, got once for each request.
#[derive(Debug)]
pub struct Service {
    bytes: Table<IntCounter, Direction>,
    outcomes: Table<IntCounter, Outcome>,
    /// Time to the response's head.
    pub first_byte: Histogram,
}

impl Service {
    /// Bytes of bodies in one direction.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> &IntCounter {
        self.bytes.get(direction)
    }

    /// Requests that ended so.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> &IntCounter {
        self.outcomes.get(outcome)
    }
}

/// The services that are counted by name, a bounded number.
pub struct Services {
    bytes: IntCounterVec,
    outcomes: IntCounterVec,
    first_byte: HistogramVec,
    known: RwLock<BTreeMap<String, Arc<Service>>>,
    other: Arc<Service>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl Services {
    pub(super) fn new(registry: &mut Registry, names: &'static str) -> prometheus::Result<Self> {
        let by = Open {
            name: "service",
            values: names,
        };
        let bytes = registry.counters_by::<Direction>(
            Some(by),
            "service_bytes_total",
            "Bytes of request and response bodies and of upgraded connections, without heads and framing.",
        )?;
        let outcomes = registry.counters_by::<Outcome>(
            Some(by),
            "requests_total",
            "Requests to services that have ended.",
        )?;
        let first_byte = registry.histograms_by(
            by,
            "first_byte_seconds",
            "From a request's head to its response's.",
            &FIRST_BYTE,
        )?;
        let other = Arc::new(series(&bytes, &outcomes, &first_byte, OTHER)?);
        Ok(Self {
            bytes,
            outcomes,
            first_byte,
            known: RwLock::default(),
            other,
        })
    }

    /// The counters of a service that has some.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Arc<Service>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    /// The counters of a service that exists; from now on it has some of its own, as long as there
    /// are fewer than [`MAX_SERVICES`].
    pub fn admit(&self, name: &str) -> Arc<Service> {
        if let Some(service) = self.known(name) {
            return service;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = known.get(name) {
            return Arc::clone(service);
        }
        if known.len() >= MAX_SERVICES {
            return self.other();
        }
        match series(&self.bytes, &self.outcomes, &self.first_byte, name) {
            Ok(service) => Arc::clone(known.entry(name.to_owned()).or_insert(Arc::new(service))),
            Err(_) => self.other(),
        }
    }

    /// The counters of all services that have none of their own.
    #[must_use]
    pub fn other(&self) -> Arc<Service> {
        Arc::clone(&self.other)
    }

    /// Bytes of all services together.
    #[must_use]
    pub fn total(&self, direction: Direction) -> u64 {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .chain([&self.other])
            .map(|service| service.bytes(direction).get())
            .sum()
    }
}

fn series(
    bytes: &IntCounterVec,
    outcomes: &IntCounterVec,
    first_byte: &HistogramVec,
    name: &str,
) -> prometheus::Result<Service> {
    Ok(Service {
        bytes: Table::of(bytes, &[name])?,
        outcomes: Table::of(outcomes, &[name])?,
        first_byte: first_byte.get_metric_with_label_values(&[name])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_count_as_other() {
        let mut registry = Registry::new("test");
        let services = Services::new(&mut registry, "any").unwrap();
        for n in 0..MAX_SERVICES + 20 {
            services
                .admit(&format!("s{n}"))
                .bytes(Direction::Sent)
                .inc_by(1);
        }
        assert!(services.known("s99").is_some());
        assert!(services.known("s100").is_none());
        assert_eq!(services.other().bytes(Direction::Sent).get(), 20);
        assert_eq!(services.total(Direction::Sent), 120);
        let families = registry.gather();
        let bytes = families
            .iter()
            .find(|f| f.name() == "test_service_bytes_total");
        assert_eq!(bytes.unwrap().get_metric().len(), 2 * (MAX_SERVICES + 1));
    }
}
