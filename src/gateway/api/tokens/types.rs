//! The bodies of `/v1/tokens`.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::gateway::directory::Directory;
use crate::gateway::store::{ClusterAccess, TokenRecord};
use crate::wire::token::{ClusterId, ClusterName, Role, Scope, Subject, TokenId, TokenKind};

/// `POST /v1/tokens`. Names are checked by the gateway, so that the error can say which field is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum CreateToken {
    /// Lets one agent connect; registers its cluster when that is new.
    Agent {
        /// The cluster's name.
        cluster: String,
        /// The id for a new cluster; generated when missing.
        #[serde(default)]
        cluster_id: Option<String>,
        /// RFC 3339; missing or `null` for never, as an agent that is locked out can't be told to renew.
        #[serde(default)]
        expires_at: Option<Timestamp>,
    },
    /// Lets a person or program send requests.
    User {
        /// Who.
        subject: String,
        /// As whom inside the cluster.
        #[schema(value_type = String)]
        role: Role,
        /// Names of registered clusters.
        #[serde(default)]
        clusters: Vec<String>,
        /// Every cluster, also those registered later; `clusters` is empty then.
        #[serde(default)]
        all_clusters: bool,
        /// What; `tunnel:*` when empty.
        #[serde(default)]
        scopes: Vec<String>,
        /// RFC 3339. It must be given; `null` says never.
        #[serde(deserialize_with = "Option::deserialize")]
        expires_at: Option<Timestamp>,
    },
}

/// The answer to `POST /v1/tokens`: the only time the secret is shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token's text.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String)]
    pub token: SecretString,
    /// The call registered the agent's cluster.
    pub cluster_created: bool,
    /// Everything else.
    #[serde(flatten)]
    pub summary: TokenSummary,
}

fn expose<S: Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

/// A token without its secret or the hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenSummary {
    /// The public id.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Agent or user.
    #[schema(value_type = String)]
    pub kind: TokenKind,
    /// Who holds it.
    #[schema(value_type = String)]
    pub subject: Subject,
    /// As whom inside the cluster; `null` for an agent.
    #[schema(value_type = Option<String>)]
    pub role: Option<Role>,
    /// Every cluster; `clusters` is empty then.
    pub all_clusters: bool,
    /// Where.
    pub clusters: Vec<ClusterRef>,
    /// What.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; `null` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What it is now.
    pub status: TokenStatus,
}

/// A cluster that a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterRef {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ClusterId,
    /// Its name; `null` once the cluster is gone.
    #[schema(value_type = Option<String>)]
    pub name: Option<ClusterName>,
}

/// Whether a token works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenStatus {
    /// It works.
    Active,
    /// Its time is over.
    Expired,
    /// Someone revoked it.
    Revoked,
}

impl TokenStatus {
    /// The word in JSON and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    fn of(record: &TokenRecord, now: Timestamp) -> Self {
        match (record.revoked_at, record.expires_at) {
            (Some(_), _) => Self::Revoked,
            (None, Some(at)) if at <= now => Self::Expired,
            (None, _) => Self::Active,
        }
    }
}

impl TokenSummary {
    /// What may be shown of a token.
    pub fn of(record: &TokenRecord, directory: &Directory, now: Timestamp) -> Self {
        let name = |id: &ClusterId| {
            directory
                .cluster_by_id(id.as_str())
                .map(|cluster| cluster.name.clone())
        };
        let clusters = match &record.clusters {
            ClusterAccess::All => Vec::new(),
            ClusterAccess::List(ids) => ids
                .iter()
                .map(|id| ClusterRef {
                    id: id.clone(),
                    name: name(id),
                })
                .collect(),
        };
        Self {
            id: record.id,
            kind: record.kind,
            subject: record.subject.clone(),
            role: record.role,
            all_clusters: record.clusters == ClusterAccess::All,
            clusters,
            scopes: record.scopes.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            status: TokenStatus::of(record, now),
        }
    }
}

/// The query of `GET /v1/tokens`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// 1 to 1000 tokens; 100 when missing.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<TokenId>,
}

/// A page of tokens, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenPage {
    /// The tokens.
    pub items: Vec<TokenSummary>,
    /// Where the next page starts; `null` on the last one.
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<TokenId>,
}
