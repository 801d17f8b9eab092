//! A cluster as the API shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::fleet::{Connected, Seen};
use crate::gateway::platform::Platform;
use crate::gateway::store::ClusterRecord;
use crate::metrics::Traffic;
use crate::wire::control::{ClusterStatus, Health, UsageSource};

/// A cluster: what is registered, whether it is connected, and what its agent last said.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::gateway::platform) struct Cluster {
    /// Names it in hosts (`tunnel-{id}.…`); never changes.
    id: String,
    /// Names it in paths.
    name: String,
    /// A sentence for people.
    description: Option<String>,
    /// What it is sorted by.
    labels: BTreeMap<String, String>,
    /// Whether it can be reached now.
    status: Status,
    /// When it was registered.
    created_at: Timestamp,
    /// The agent's version.
    version: Option<String>,
    /// What the cluster's API server runs.
    kubernetes_version: Option<String>,
    /// When the agent last gave a sign of life.
    last_heartbeat: Option<Timestamp>,
    /// When the agent last said how the cluster is.
    last_status: Option<Timestamp>,
    /// Since when no agent is connected; `null` while one is, and where none ever was since the gateway started.
    disconnected_since: Option<Timestamp>,
    /// How it is as a whole, as the agent last said.
    health: Health,
    /// Why it is not healthy.
    health_reasons: Vec<String>,
    /// Nodes.
    nodes: Option<u64>,
    /// Of these, ready ones.
    nodes_ready: Option<u64>,
    /// Pods.
    pods: Option<u64>,
    /// Of these, running ones.
    pods_running: Option<u64>,
    /// Services.
    services: Option<u64>,
    /// Figures of the last heartbeat: `cpu_usage` and `memory_usage` from 0 to 1, `active_pods`.
    metrics: BTreeMap<String, f64>,
    /// Whether `cpu_usage` and `memory_usage` were measured, or are what pods have requested.
    metrics_source: Option<UsageSource>,
    /// What the control channel's last round trip took, in milliseconds.
    latency_ms: Option<f64>,
    /// What went through the tunnel since the gateway started.
    traffic: Sums,
    /// The agents that are connected, oldest first; the last one gets new requests.
    agents: Vec<Agent>,
}

/// What went through the tunnel to a cluster since the gateway started; the difference of two answers is what went
/// meanwhile.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Traffic)]
struct Sums {
    /// Bytes of bodies and of upgraded connections that went to the cluster.
    bytes_sent: u64,
    /// The same that came from it.
    bytes_received: u64,
    /// Requests and connections that were begun.
    requests: u64,
    /// Those of them that are open now.
    streams: u64,
}

impl From<&Traffic> for Sums {
    fn from(traffic: &Traffic) -> Self {
        Self {
            bytes_sent: traffic.sent(),
            bytes_received: traffic.received(),
            requests: traffic.requests(),
            streams: traffic.streams(),
        }
    }
}

/// Whether a cluster can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// An agent is connected.
    Connected,
    /// The only agents that are connected go away.
    Draining,
    /// No agent is connected.
    Disconnected,
}

/// A connected agent.
#[derive(Debug, Serialize, ToSchema)]
struct Agent {
    /// Its connection, as in both programs' logs.
    session_id: String,
    /// Since when.
    connected_since: Timestamp,
    /// What its control channel's last round trip took, in milliseconds.
    latency_ms: Option<f64>,
    /// It takes nothing new.
    draining: bool,
}

impl Cluster {
    pub(in crate::gateway::platform) fn of(platform: &Platform, record: &ClusterRecord) -> Self {
        let known = platform.shared.fleet.cluster(record.id.as_str());
        let (agents, seen, traffic) = known
            .map(|known| (known.agents(), known.seen(), (&*known.traffic).into()))
            .unwrap_or_default();
        Self {
            traffic,
            ..Self::assembled(record, &agents, seen)
        }
    }

    fn assembled(record: &ClusterRecord, agents: &[Connected], seen: Seen) -> Self {
        let (last_heartbeat, beat) = seen.heartbeat.unzip();
        let (last_status, status) = seen.status.unzip();
        let beat = beat.unwrap_or_default();
        let ClusterStatus {
            nodes,
            pods,
            services,
            health,
            nodes_ready,
            pods_running,
            kubernetes_version,
            agent_version,
            reasons,
        } = status.unwrap_or_default();
        // An agent that has not seen its cluster yet says so, and no numbers that mean anything.
        let counted = |count| (health != Health::Unknown).then_some(count);
        Self {
            id: record.id.to_string(),
            name: record.name.to_string(),
            description: record.description.clone(),
            labels: record.labels.clone(),
            status: Status::of(agents),
            created_at: record.created_at,
            version: agent_version,
            kubernetes_version,
            last_heartbeat,
            last_status,
            disconnected_since: seen.left,
            health,
            health_reasons: reasons,
            nodes: counted(nodes),
            nodes_ready,
            pods: counted(pods),
            pods_running,
            services: counted(services),
            metrics: beat.metrics,
            metrics_source: beat.source,
            latency_ms: agents.last().and_then(latency),
            traffic: Sums::default(),
            agents: agents.iter().map(Agent::of).collect(),
        }
    }
}

impl Status {
    fn of(agents: &[Connected]) -> Self {
        match (agents.is_empty(), agents.iter().all(|agent| agent.draining)) {
            (true, _) => Self::Disconnected,
            (false, true) => Self::Draining,
            (false, false) => Self::Connected,
        }
    }
}

impl Agent {
    fn of(agent: &Connected) -> Self {
        Self {
            session_id: format!("{}-{}", agent.key.cluster, agent.key.generation),
            connected_since: agent.since,
            latency_ms: latency(agent),
            draining: agent.draining,
        }
    }
}

fn latency(agent: &Connected) -> Option<f64> {
    agent.round_trip().map(|took| took.as_secs_f64() * 1e3)
}
