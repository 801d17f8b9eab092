//! Entries of the audit log as the API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::gateway::store::{AuditOutcome, AuditRecord};

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::gateway::platform) struct EntryQuery {
    /// 1 to 1000 entries; 100 when missing.
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<u64>,
    /// Only of this cluster, by its name.
    pub(super) cluster: Option<String>,
    /// Only of this subject.
    pub(super) subject: Option<String>,
}

/// Something that somebody did, or tried to do.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::gateway::platform) struct Entry {
    /// Its place in the log.
    sequence: u64,
    /// When.
    at: Timestamp,
    /// Who.
    subject: Option<String>,
    /// With which token.
    token_id: Option<String>,
    /// From where.
    peer: String,
    /// The request's id.
    request_id: String,
    /// What: `cluster.create`, `cluster.update`, `cluster.delete`, `deployment.create`, `deployment.delete`, `deployment.cancel`,
    /// `exec`, `token.create`, `token.revoke`.
    action: String,
    /// The cluster's id.
    cluster: Option<String>,
    /// To what.
    target: String,
    /// `allowed`, `refused` or `failed`.
    #[schema(value_type = String)]
    outcome: AuditOutcome,
    /// The status of the answer.
    status: u16,
    /// What else there is to know.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

impl From<AuditRecord> for Entry {
    fn from(record: AuditRecord) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at,
            subject: record.subject.map(|subject| subject.to_string()),
            token_id: record.token_id.map(|id| id.to_string()),
            peer: record.peer,
            request_id: record.request_id,
            action: record.action,
            cluster: record.cluster.map(|cluster| cluster.to_string()),
            target: record.target,
            outcome: record.outcome,
            status: record.status,
            details: record.details,
        }
    }
}
