//! What a token that was accepted may do.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Denied;
use crate::gateway::store::{ClusterAccess, ClusterRecord, TokenRecord};
use crate::wire::token::{ClusterId, Role, Scope, Subject, TokenId, TokenKind};

/// A token that was accepted. Holders of a live stream watch [`Grant::ended`].
#[derive(Debug)]
pub struct Grant {
    /// The public part of the token, for logs and audit lines.
    pub token_id: TokenId,
    /// Who it speaks for.
    pub kind: TokenKind,
    /// Who holds it.
    pub subject: Subject,
    /// As whom inside the cluster; `None` for an agent, and then no request may be made.
    pub role: Option<Role>,
    /// Where.
    pub clusters: ClusterAccess,
    /// What.
    pub scopes: Vec<Scope>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Cancelled within a second of the token's revocation or expiry: whatever it started must end then.
    pub ended: CancellationToken,
}

impl Grant {
    pub(super) fn of(record: &TokenRecord) -> Self {
        Self {
            token_id: record.id,
            kind: record.kind,
            subject: record.subject.clone(),
            role: record.role,
            clusters: record.clusters.clone(),
            scopes: record.scopes.clone(),
            expires_at: record.expires_at,
            ended: CancellationToken::new(),
        }
    }

    /// Whether a user may do what `scope` stands for on this cluster.
    ///
    /// # Errors
    /// [`Denied`]; where the cluster is not the token's, see [`Grant::no_such_cluster`].
    pub fn authorize(&self, cluster: &ClusterRecord, scope: &str) -> Result<(), Denied> {
        if self.kind == TokenKind::Agent {
            return Err(Denied::Kind {
                subject: self.subject.clone(),
                token_id: self.token_id,
            });
        }
        if !self.clusters.allows(&cluster.id) {
            return Err(self.no_such_cluster());
        }
        self.authorize_any(scope)
    }

    /// Whether a user may do what `scope` stands for on some cluster.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn authorize_any(&self, scope: &str) -> Result<(), Denied> {
        if self.kind == TokenKind::Agent {
            return Err(self.no_such_cluster());
        }
        if self.scopes.iter().any(|own| own.permits(scope)) {
            return Ok(());
        }
        Err(Denied::Scope {
            subject: self.subject.clone(),
            token_id: self.token_id,
            needed: scope.to_owned(),
        })
    }

    /// Whether a user may do what `scope` stands for at the gateway as a whole.
    ///
    /// # Errors
    /// [`Denied`]; where the token is held to some clusters, see [`Grant::no_such_cluster`].
    pub fn authorize_all(&self, scope: &str) -> Result<(), Denied> {
        self.authorize_any(scope)?;
        match self.clusters {
            ClusterAccess::All => Ok(()),
            ClusterAccess::List(_) => Err(self.no_such_cluster()),
        }
    }

    /// The refusal for a cluster that does not exist: the same as for one that the token may not see, so that names
    /// can't be guessed.
    pub fn no_such_cluster(&self) -> Denied {
        if self.kind == TokenKind::Agent {
            return Denied::Kind {
                subject: self.subject.clone(),
                token_id: self.token_id,
            };
        }
        Denied::Cluster {
            subject: self.subject.clone(),
            token_id: self.token_id,
        }
    }

    /// The one cluster that an agent's token connects as; `None` for a user's token.
    pub fn agent_cluster(&self) -> Option<&ClusterId> {
        match (self.kind, &self.clusters) {
            (TokenKind::Agent, ClusterAccess::List(ids)) => ids.first(),
            (TokenKind::Agent, ClusterAccess::All) | (TokenKind::User, _) => None,
        }
    }
}
