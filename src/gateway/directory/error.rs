//! Why a token, a request or a change is refused.

use jiff::Timestamp;
use thiserror::Error;

use crate::gateway::store::StoreError;
use crate::wire::token::{ClusterId, ClusterName, Subject, TokenFormatError, TokenId};

/// Why a token is not accepted. Maps to 401. The messages may be shown to whoever sent the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthError {
    /// Not the form of a token.
    #[error("this is not a PipeOps token: {0}")]
    Malformed(TokenFormatError),
    /// No such id, or an id of the other kind.
    #[error("unknown token: check that it belongs to this gateway, or ask for a new one")]
    Unknown,
    /// The id exists and the secret is another. Outside it reads like [`AuthError::Unknown`].
    #[error("unknown token: check that it belongs to this gateway, or ask for a new one")]
    WrongSecret,
    /// Someone revoked it.
    #[error("this token was revoked: ask for a new one")]
    Revoked,
    /// Its time is over.
    #[error("this token expired at {at}: ask for a new one")]
    Expired {
        /// Since when.
        at: Timestamp,
    },
}

/// Why a valid token may not do what it asks. Maps to 403. The messages may be shown to the token's holder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denied {
    /// An agent's token where a user's is needed.
    #[error(
        "token '{subject}' (id {token_id}) lets an agent connect and nothing else; use a user token \
         (pipeops-gateway token create user)"
    )]
    Kind {
        /// Whose token.
        subject: Subject,
        /// Which token.
        token_id: TokenId,
    },
    /// Not a cluster of this token, or no cluster at all: which of them is not said.
    #[error(
        "token '{subject}' (id {token_id}) may use no such cluster; check the cluster's name, or ask for a token \
         with --cluster and that name"
    )]
    Cluster {
        /// Whose token.
        subject: Subject,
        /// Which token.
        token_id: TokenId,
    },
    /// The scope is missing.
    #[error(
        "token '{subject}' (id {token_id}) lacks the scope {needed}; ask for a token with --scope {needed}"
    )]
    Scope {
        /// Whose token.
        subject: Subject,
        /// Which token.
        token_id: TokenId,
        /// What it would need.
        needed: String,
    },
}

/// Why a change or a look-up by an operator failed.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No cluster has this name.
    #[error("no cluster is named '{name}'{}", hint(similar))]
    UnknownCluster {
        /// The name asked for.
        name: ClusterName,
        /// Up to three names that look like it.
        similar: Vec<ClusterName>,
    },
    /// No cluster has this id.
    #[error("no cluster has the id '{0}'")]
    UnknownClusterId(ClusterId),
    /// The name and the id belong to different clusters already.
    #[error(
        "cluster '{name}' has the id '{id}' already: leave the id out, or choose another name and id"
    )]
    Conflict {
        /// The name of the cluster that exists.
        name: ClusterName,
        /// Its id.
        id: ClusterId,
    },
    /// No token has this id.
    #[error("no token has the id '{0}': token list shows them")]
    UnknownToken(TokenId),
    /// The token would be refused from the start.
    #[error("{at} is in the past: a token must expire later than now")]
    AlreadyExpired {
        /// When it would have ended.
        at: Timestamp,
    },
    /// The operating system gave no random bytes.
    #[error("the system has no random numbers to make a secret from: try again")]
    Random(getrandom::Error),
    /// A token of our own making does not parse: a defect of this program.
    #[error("a new token came out malformed; please report this")]
    Format(#[from] TokenFormatError),
    /// The runtime is shutting down.
    #[error(
        "the gateway is stopping; whether the change was made is not known: look, then try again"
    )]
    Interrupted,
}

fn hint(similar: &[ClusterName]) -> String {
    let names: Vec<&str> = similar.iter().map(ClusterName::as_str).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", names.join(" or "))
    }
}
