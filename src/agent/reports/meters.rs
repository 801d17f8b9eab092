//! What is counted of the reports.

use prometheus::{IntCounter, IntGauge};

use super::happening::EventType;
use crate::metrics::{Registry, Table, label};

label! {
    /// What is watched.
    pub(in crate::agent) Watched as "resource" {
        /// Nodes.
        Nodes = "nodes",
        /// Pods.
        Pods = "pods",
        /// Services.
        Services = "services",
        /// Kubernetes' own events, of the type `Warning`.
        Events = "events",
    }
}

/// What is counted of the reports.
#[derive(Debug)]
pub(in crate::agent) struct Meters {
    /// Handed to the control channel.
    pub(super) reported: IntCounter,
    /// Only told as a number, by type.
    pub(super) left_out: Table<IntCounter, EventType>,
    /// Objects in the caches.
    pub(super) watched: Table<IntGauge, Watched>,
    /// Watches that failed.
    pub(super) failures: Table<IntCounter, Watched>,
}

impl Meters {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub(in crate::agent) fn new(registry: &mut Registry) -> prometheus::Result<Self> {
        Ok(Self {
            reported: registry.counter(
                "pipeops_agent_events_reported_total",
                "Events of the cluster that were reported, repetitions included.",
            )?,
            left_out: registry.counters(
                "pipeops_agent_events_left_out_total",
                "Events of the cluster that were reported as a number only, because there were too many.",
            )?,
            watched: registry.gauges(
                "pipeops_agent_watched_objects",
                "Objects of the cluster that the agent keeps in view.",
            )?,
            failures: registry.counters(
                "pipeops_agent_watch_failures_total",
                "Failures of the agent's watches of the cluster; each is taken up again.",
            )?,
        })
    }
}
