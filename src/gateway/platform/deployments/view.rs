//! A deployment as the API shows it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::store::{ClusterRecord, DeploymentEvent, DeploymentRecord};
use crate::wire::control::{CommandError, ObjectStatus};

/// Manifests that somebody had applied, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::gateway::platform) struct Deployment {
    /// Names it; sorts by time.
    id: String,
    /// The cluster's name.
    cluster: String,
    /// Whose the objects are.
    project_id: String,
    /// Where in the cluster.
    namespace: String,
    /// `pending`, `sent`, `validating`, `applying`, `rolling_out`, `pruning`; at its end `succeeded`, `failed`, `timed_out`, `refused`,
    /// `expired`, `cancelled`, `pruned` or `unknown`.
    status: &'static str,
    /// The same in a sentence.
    message: String,
    /// Nothing more comes by itself.
    finished: bool,
    /// It was only tried.
    dry_run: bool,
    /// Why it has not succeeded.
    error: Option<CommandError>,
    /// The objects, in the order in which they are applied; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<ObjectStatus>>,
    /// Who wanted it.
    requested_by: String,
    /// When it was asked for.
    created_at: Timestamp,
    /// When it changed last.
    updated_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
    /// What it went through; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Step>>,
}

/// One step of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::gateway::platform) struct Step {
    /// From 1.
    sequence: u64,
    /// When.
    at: Timestamp,
    /// As in the deployment.
    status: &'static str,
    /// The same in a sentence.
    message: String,
}

/// A change of a deployment, as it is told to who watches.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::gateway::platform) struct Change {
    /// The deployment.
    id: String,
    #[serde(flatten)]
    step: Step,
    /// Nothing more comes.
    finished: bool,
    /// The objects as they are now; only with the newest change.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<ObjectStatus>>,
    /// Why it has not succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<CommandError>,
}

impl Deployment {
    pub(super) fn of(record: &DeploymentRecord, cluster: &ClusterRecord) -> Self {
        Self {
            id: record.id.to_string(),
            cluster: cluster.name.to_string(),
            project_id: record.project_id.clone(),
            namespace: record.namespace.clone(),
            status: record.state.as_str(),
            message: record.message.clone(),
            finished: record.state.is_finished(),
            dry_run: record.dry_run,
            error: record.error.clone(),
            objects: Some(record.objects.clone()),
            requested_by: record.requested_by.subject.to_string(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            finished_at: record.finished_at,
            history: Some(record.history.iter().map(Step::of).collect()),
        }
    }

    /// As in a list.
    pub(super) fn short(self) -> Self {
        Self {
            objects: None,
            history: None,
            ..self
        }
    }
}

impl Step {
    fn of(event: &DeploymentEvent) -> Self {
        Self {
            sequence: event.sequence,
            at: event.at,
            status: event.state.as_str(),
            message: event.message.clone(),
        }
    }
}

impl Change {
    /// One event of a record.
    pub(super) fn of(record: &DeploymentRecord, event: &DeploymentEvent) -> Self {
        let newest = record.history.last() == Some(event);
        Self {
            id: record.id.to_string(),
            step: Step::of(event),
            finished: event.state.is_finished(),
            objects: newest.then(|| record.objects.clone()),
            error: record.error.clone().filter(|_| newest),
        }
    }
}
