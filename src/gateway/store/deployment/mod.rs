//! Deployments as they are kept, in JSON. The manifest is kept beside, so that a list does not read it.

mod id;

pub use id::{DeploymentId, DeploymentIdError};

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wire::control::{CommandError, ObjectStatus, Outcome};
use crate::wire::token::{ClusterId, Role, Subject, TokenId};

/// Events of a deployment that are kept: the first and the newest. A rollout has about ten; this one was retried.
pub const MAX_HISTORY: usize = 64;

/// Manifests that somebody had applied in a cluster, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// Names it; sorts by the time it was made.
    pub id: DeploymentId,
    /// Where.
    pub cluster: ClusterId,
    /// Whose the objects are.
    pub project_id: String,
    /// Where inside the cluster.
    pub namespace: String,
    /// Tried only, nothing applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Milliseconds that the rollout may take, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Not begun after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Who wanted it.
    pub requested_by: RequestedBy,
    /// What tells a repeated request from a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// The agent's process that it was given to; no other one gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How far it is.
    pub state: DeploymentState,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why it has not succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
    /// The objects, in the order in which they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When this record changed last.
    pub updated_at: Timestamp,
    /// When it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The states that it went through: the first one and the newest, at most [`MAX_HISTORY`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<DeploymentEvent>,
}

/// Who wanted a deployment, as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBy {
    /// The holder of the token.
    pub subject: Subject,
    /// The token.
    pub token_id: TokenId,
    /// The account in the cluster that it is applied as.
    pub role: Role,
}

/// The client's name for a request, and what the request was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// `Idempotency-Key`
    pub key: String,
    /// SHA-256 of the request, in lowercase hex: the same key with another request is a conflict.
    pub digest: String,
}

/// One step of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentEvent {
    /// Counts the events of this deployment from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The state that it came to.
    pub state: DeploymentState,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// It waits for an agent.
    Pending,
    /// An agent has it.
    Sent,
    /// The documents are read and tried.
    Validating,
    /// They are being applied.
    Applying,
    /// Applied; what they describe comes about.
    RollingOut,
    /// As it should.
    Succeeded,
    /// It did not work out; what was applied stays.
    Failed,
    /// Not within its time.
    TimedOut,
    /// Not begun: the agent's policy, or the request itself is at fault.
    Refused,
    /// Not begun: too late.
    Expired,
    /// Given up because somebody asked for it.
    Cancelled,
    /// Its objects are being deleted.
    Pruning,
    /// Its objects are deleted.
    Pruned,
    /// Nobody knows: the agent was restarted meanwhile. Also a word of a newer version.
    #[serde(other)]
    Unknown,
}

impl DeploymentState {
    /// Whether nothing more comes by itself.
    #[must_use]
    pub fn is_finished(self) -> bool {
        match self {
            Self::Pending
            | Self::Sent
            | Self::Validating
            | Self::Applying
            | Self::RollingOut
            | Self::Pruning => false,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Refused
            | Self::Expired
            | Self::Cancelled
            | Self::Pruned
            | Self::Unknown => true,
        }
    }

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Validating => "validating",
            Self::Applying => "applying",
            Self::RollingOut => "rolling_out",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Pruning => "pruning",
            Self::Pruned => "pruned",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Outcome> for DeploymentState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Refused => Self::Refused,
            Outcome::Expired => Self::Expired,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

impl DeploymentRecord {
    /// Goes to a state, and remembers it as an event. The first event stays when there are too many.
    pub fn advance(&mut self, state: DeploymentState, message: impl Into<String>, at: Timestamp) {
        self.state = state;
        self.message = message.into();
        self.updated_at = at;
        self.finished_at = state.is_finished().then_some(at);
        let sequence = self.history.last().map_or(1, |event| event.sequence + 1);
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(1);
        }
        self.history.push(DeploymentEvent {
            sequence,
            at,
            state,
            message: self.message.clone(),
        });
    }
}

#[cfg(test)]
mod tests;
