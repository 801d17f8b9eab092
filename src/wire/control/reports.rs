//! What an agent says of its cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The agent's sign of life.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// `healthy`, or `degraded` while a configured service can not be served.
    pub status: String,
    /// Figures about the cluster where known: `cpu_usage` and `memory_usage` as shares of what the
    /// nodes can give (0 to 1), `active_pods` as a count of pods that run.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// What `cpu_usage` and `memory_usage` are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<UsageSource>,
}

/// Where the figures about use come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// What the nodes measured (`metrics.k8s.io`).
    Measured,
    /// What the pods have requested of the nodes' capacity: no measurement is served.
    Requested,
}

/// How large the cluster is and how it does; sent when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// Nodes.
    pub nodes: u64,
    /// Pods, also those that have ended.
    pub pods: u64,
    /// Services.
    pub services: u64,
    /// How it is as a whole.
    pub health: Health,
    /// Of the nodes, those that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_ready: Option<u64>,
    /// Of the pods, those that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_running: Option<u64>,
    /// What the API server runs (`v1.36.3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// What the agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Why it is not healthy, in sentences; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// How a cluster is as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All nodes are ready.
    Healthy,
    /// Some are not, or the agent does not see all of the cluster.
    Degraded,
    /// No node is ready.
    Unhealthy,
    /// A word that this version does not know, or nothing seen yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Something that happened in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
pub struct Event {
    /// `pod_created`, `pod_deleted`, `pod_ready`, `pod_failed`, `container_restarted`, `node_ready`, `node_not_ready`,
    /// `node_created`, `node_deleted`; of Kubernetes' own events `warning`; or one that is not known yet.
    pub event_type: String,
    /// The namespace of what it is about; empty for what has none.
    #[serde(default)]
    pub namespace: String,
    /// The name of what it is about.
    pub resource: String,
    /// More, by type of event: `image`, `node`, `reason`, `message`, `kind`.
    #[serde(default)]
    pub details: Map<String, Value>,
    /// When it happened, by the cluster's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// How often it happened since the last report of it; 1 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Events in one message; from protocol version 2 on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventBatch {
    /// Oldest first; at most [`MAX_EVENT_BATCH`](crate::wire::limits::MAX_EVENT_BATCH).
    pub events: Vec<Event>,
}

/// Events that were not reported one by one, because there were too many; from protocol version 2 on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
pub struct EventSummary {
    /// From when on they happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How many.
    pub left_out: u64,
    /// How many of each type.
    #[serde(default)]
    pub by_type: BTreeMap<String, u64>,
}
