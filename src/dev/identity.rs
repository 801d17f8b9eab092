//! The cluster and the tokens of a trial: made once, used again, renewed when they no longer do.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::gateway::cli::CliError;
use crate::gateway::cli::kubeconfig::{Kubeconfig, PublicAddress, render, write_private};
use crate::gateway::directory::{Directory, DirectoryError, Grant, NewToken};
use crate::gateway::store::{ClusterAccess, ClusterRecord};
use crate::wire::token::{
    ClusterId, ClusterName, NameError, Role, Scope, ScopeError, Subject, TokenKind,
};

/// The one cluster of a trial: its name, and its id, so that its host is short to type.
const CLUSTER: &str = "dev";
/// Who the user's token speaks for.
const SUBJECT: &str = "pipeops-dev";
/// A person's token ends some day, also where it is only a trial.
const USER_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A token with less time left than this is renewed at the start.
const USER_TOKEN_REST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why there is no cluster or token to work with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The gateway's store said no.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file can not be written.
    #[error(transparent)]
    Write(#[from] CliError),
    /// A file can not be read or made private.
    #[error("can not use {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name of our own is none: a defect of this program.
    #[error("a name of this program's own is not valid; please report this: {0}")]
    Name(#[from] NameError),
    /// The same of a scope.
    #[error("a scope of this program's own is not valid; please report this: {0}")]
    Scope(#[from] ScopeError),
}

/// What a trial works with.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) cluster: Arc<ClusterRecord>,
    /// Holds the agent's token, 0600.
    pub(super) agent_token: PathBuf,
    /// Holds the user's token, 0600.
    pub(super) user_token: PathBuf,
    token: SecretString,
}

impl Identity {
    /// Takes what an earlier run left in `folder`, and makes what is missing or no longer good.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub(super) async fn establish(
        directory: &Arc<Directory>,
        folder: &Path,
    ) -> Result<Self, IdentityError> {
        let id: ClusterId = CLUSTER.parse()?;
        let cluster = directory
            .ensure_cluster(CLUSTER.parse()?, Some(id))
            .await?
            .cluster;
        let (agent_token, user_token) = (folder.join("agent.token"), folder.join("user.token"));
        let agent = Wanted {
            kind: TokenKind::Agent,
            subject: cluster.name.clone().into(),
            new: NewToken::Agent {
                cluster: cluster.id.clone(),
                expires_at: None,
            },
        };
        agent
            .keep_or_make(directory, &cluster, &agent_token)
            .await?;
        let user = Wanted {
            kind: TokenKind::User,
            subject: SUBJECT.parse()?,
            new: NewToken::User {
                subject: SUBJECT.parse()?,
                role: Role::Admin,
                clusters: ClusterAccess::List(vec![cluster.id.clone()]),
                scopes: scopes()?,
                expires_at: Timestamp::now().checked_add(USER_TOKEN_LIFE).ok(),
            },
        };
        let token = user.keep_or_make(directory, &cluster, &user_token).await?;
        Ok(Self {
            cluster,
            agent_token,
            user_token,
            token,
        })
    }

    /// Writes a kubeconfig with the user's token, 0600.
    ///
    /// # Errors
    /// [`IdentityError::Write`].
    pub(super) fn write_kubeconfig(
        &self,
        path: &Path,
        address: &PublicAddress,
    ) -> Result<(), IdentityError> {
        let cluster: &ClusterName = &self.cluster.name;
        let (subject, token): (Subject, _) = (SUBJECT.parse()?, &self.token);
        let text = render(&Kubeconfig {
            cluster,
            subject: &subject,
            address,
            token,
            namespace: None,
        });
        Ok(write_private(path, &text)?)
    }
}

/// All that a person may do in a cluster; what it is worth there is the agent's policy and the role.
fn scopes() -> Result<Vec<Scope>, ScopeError> {
    let all = ["tunnel:*", "read", "logs", "exec", "deploy"];
    all.iter().map(|scope| scope.parse()).collect()
}

/// A token that must be there.
struct Wanted {
    kind: TokenKind,
    subject: Subject,
    new: NewToken,
}

impl Wanted {
    async fn keep_or_make(
        self,
        directory: &Arc<Directory>,
        cluster: &ClusterRecord,
        path: &Path,
    ) -> Result<SecretString, IdentityError> {
        if let Some(token) = read(path)?
            && directory
                .authenticate(token.expose_secret(), Timestamp::now())
                .is_ok_and(|grant| self.fits(&grant, cluster))
        {
            let private = fs::set_permissions(path, Permissions::from_mode(0o600));
            private.map_err(|source| IdentityError::Read {
                path: path.to_owned(),
                source,
            })?;
            return Ok(token);
        }
        // Whatever an earlier run made is lost, or of no more use: it must not go on to open doors.
        for old in directory.list_tokens() {
            if old.kind == self.kind && old.subject == self.subject && old.revoked_at.is_none() {
                directory.revoke_token(old.id).await?;
            }
        }
        let (_, token) = directory.create_token(self.new).await?;
        write_private(path, token.expose_secret())?;
        Ok(token)
    }

    fn fits(&self, grant: &Grant, cluster: &ClusterRecord) -> bool {
        let soon = Timestamp::now()
            .checked_add(USER_TOKEN_REST)
            .unwrap_or(Timestamp::MAX);
        let lasts = grant.expires_at.is_none_or(|at| at > soon);
        let may = match &self.new {
            NewToken::Agent { .. } => grant.agent_cluster() == Some(&cluster.id),
            NewToken::User { role, scopes, .. } => {
                grant.role == Some(*role)
                    && scopes
                        .iter()
                        .all(|scope| grant.authorize(cluster, scope.as_str()).is_ok())
            }
        };
        grant.kind == self.kind && grant.subject == self.subject && lasts && may
    }
}

/// The token in a file; `None` when there is no file, or something else in it.
fn read(path: &Path) -> Result<Option<SecretString>, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .ok()
            .map(|text| SecretString::from(text.trim()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
