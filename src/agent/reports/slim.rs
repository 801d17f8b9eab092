//! Kubernetes' objects with nothing but what is reported of them.
//!
//! What is not named here is skipped as the server's answer is read: no label, annotation or managed field is ever held.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

/// Declares how an object is asked for.
macro_rules! resource {
    ($type:ty, $scope:ty, $group:literal / $version:literal / $plural:literal, $kind:literal, metadata: $metadata:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn metadata_api() -> bool {
                $metadata
            }

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SlimPod {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}
resource!(SlimPod, NamespaceResourceScope, "" / "v1" / "pods", "Pod", metadata: false);

/// What a pod is to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Vec<Container>,
    pub(super) overhead: Amounts,
    /// Of the pod as a whole; comes before the containers' (KEP-2837).
    pub(super) resources: Resources,
}

/// A container of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) image: String,
    pub(super) restart_policy: Option<String>,
    pub(super) resources: Resources,
}

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) requests: Amounts,
}

/// Processor and memory as quantities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Amounts {
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
}

/// What a pod is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) container_statuses: Vec<ContainerStatus>,
    pub(super) init_container_statuses: Vec<ContainerStatus>,
}

/// A condition of a pod or a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_transition_time: Option<Timestamp>,
}

/// What a container is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    pub(super) restart_count: u32,
    pub(super) state: ContainerState,
    pub(super) last_state: ContainerState,
}

/// One of them is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
    pub(super) terminated: Option<Terminated>,
}

/// Why a container does not run yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) reason: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Terminated {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) exit_code: i64,
    pub(super) finished_at: Option<Timestamp>,
}

/// A node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SlimNode {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    pub(super) status: NodeStatus,
}
resource!(SlimNode, ClusterResourceScope, "" / "v1" / "nodes", "Node", metadata: false);

/// What a node is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub(super) allocatable: Amounts,
    pub(super) conditions: Vec<Condition>,
}

/// A service: only counted, so only its metadata is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SlimService {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
}
resource!(SlimService, NamespaceResourceScope, "" / "v1" / "services", "Service", metadata: true);

/// One of Kubernetes' own events.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SlimEvent {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    pub(super) involved_object: Involved,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) count: Option<u32>,
    pub(super) series: Option<Series>,
    pub(super) event_time: Option<Timestamp>,
    pub(super) last_timestamp: Option<Timestamp>,
}
resource!(SlimEvent, NamespaceResourceScope, "" / "v1" / "events", "Event", metadata: false);

/// What an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Involved {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// How often an event of the newer form has happened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Series {
    pub(super) count: u32,
    pub(super) last_observed_time: Option<Timestamp>,
}

/// What a node measured of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeMetrics {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    pub(super) usage: Amounts,
}
resource!(NodeMetrics, ClusterResourceScope, "metrics.k8s.io" / "v1beta1" / "nodes", "NodeMetrics", metadata: false);

/// Names and times of an object, and nothing else of its metadata.
fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp,
        ..ObjectMeta::default()
    })
}
