//! The audit log as it is kept, in JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::token::{ClusterId, Subject, TokenId};

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its place in the log, from 1. The store sets it.
    #[serde(default)]
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who; none for the operator on the admin socket, and for who could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// With which token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// From where: an address, or `admin.sock`.
    pub peer: String,
    /// The request's id, as in the log and the answer.
    pub request_id: String,
    /// What: `deployment.create`, `token.revoke`.
    pub action: String,
    /// In which cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// To what: a deployment's id, a pod.
    pub target: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// The status of the answer.
    pub status: u16,
    /// What else there is to know; never a secret.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Allowed,
    /// It was not: the caller may not, or asked for nonsense.
    Refused,
    /// It was tried and did not work out.
    Failed,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// Which entries of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only older ones than this.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only of this cluster.
    pub cluster: Option<ClusterId>,
    /// Only of this subject.
    pub subject: Option<Subject>,
}

impl AuditQuery {
    /// Whether an entry is one of those asked for, wherever it stands.
    pub(super) fn wants(&self, record: &AuditRecord) -> bool {
        let cluster = self.cluster.as_ref();
        let subject = self.subject.as_ref();
        cluster.is_none_or(|wanted| record.cluster.as_ref() == Some(wanted))
            && subject.is_none_or(|wanted| record.subject.as_ref() == Some(wanted))
    }
}

/// A part of the audit log, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditPage {
    /// The entries.
    pub items: Vec<AuditRecord>,
    /// `before` for the next page; none at the end. There may be a next page behind one that is not full, even empty:
    /// one call looks through a bounded part of the log.
    pub next: Option<u64>,
}
