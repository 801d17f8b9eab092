//! Who exists and who may do what, in memory: listeners ask it for every request.
//!
//! Reads look something up under a short lock and never wait for the disk. Writes go through the store first, one at
//! a time, and are seen only once they are durable. `grant` is what a token turns into, `tables` what is looked up.

mod clusters;
mod error;
mod grant;
mod similar;
mod tables;

pub use error::{AuthError, Denied, DirectoryError};
pub use grant::Grant;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::store::{ClusterAccess, ClusterRecord, SecretHash, Store, StoreError, TokenRecord};
use crate::wire::token::{
    self, ClusterId, ClusterName, ID_BYTES, Role, SECRET_BYTES, Scope, Subject, TokenId, TokenKind,
};
use tables::{Tables, TokenEntry};

/// How often expired grants are looked for: streams end within a second of their token, with time to spare.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Clusters and tokens. Shared by all threads of a gateway.
#[derive(Debug)]
pub struct Directory {
    store: Arc<dyn Store>,
    tables: RwLock<Tables>,
    /// Held while a change is written to the store and then shown, so that changes don't interleave.
    writer: Arc<Mutex<()>>,
}

/// What a new token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewToken {
    /// Lets one agent connect.
    Agent {
        /// The cluster it connects as; must be registered.
        cluster: ClusterId,
        /// From when on it is refused; `None` for never.
        expires_at: Option<Timestamp>,
    },
    /// Lets a person or program send requests.
    User {
        /// Who, for audit lines.
        subject: Subject,
        /// As whom inside the cluster.
        role: Role,
        /// Where; each must be registered.
        clusters: ClusterAccess,
        /// What.
        scopes: Vec<Scope>,
        /// From when on it is refused; `None` for never.
        expires_at: Option<Timestamp>,
    },
}

/// A cluster, and whether this call registered it.
#[derive(Debug, Clone)]
pub struct EnsuredCluster {
    /// The record.
    pub cluster: Arc<ClusterRecord>,
    /// It did not exist before.
    pub created: bool,
}

impl Directory {
    /// Reads everything the store holds. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Arc<Self>, StoreError> {
        let tables = Tables::from(store.load()?);
        Ok(Arc::new(Self {
            store,
            tables: RwLock::new(tables),
            writer: Arc::default(),
        }))
    }

    /// The grant of a token's text. All callers with the same token share one grant for as long as it lives.
    ///
    /// # Errors
    /// [`AuthError`]. An unknown id and a wrong secret take the same path and read the same.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Arc<Grant>, AuthError> {
        let parsed = token::parse(token).map_err(AuthError::Malformed)?;
        let offered = SecretHash::of(parsed.secret);
        let tables = self.read();
        let entry = tables
            .token(parsed.id)
            .filter(|entry| entry.record.kind == parsed.kind);
        let known = entry.map_or(SecretHash::NONE, |entry| entry.record.hash);
        let matches = bool::from(known.ct_eq(&offered));
        let entry = entry.ok_or(AuthError::Unknown)?;
        if !matches {
            return Err(AuthError::WrongSecret);
        }
        entry.live_grant(now)
    }

    /// The cluster with this id.
    pub fn cluster_by_id(&self, id: &str) -> Option<Arc<ClusterRecord>> {
        self.read().cluster_by_id(id)
    }

    /// The cluster with this name.
    pub fn cluster_by_name(&self, name: &str) -> Option<Arc<ClusterRecord>> {
        self.read().cluster_by_name(name)
    }

    /// The cluster with this name, for an operator who may know which others there are.
    ///
    /// # Errors
    /// [`DirectoryError::UnknownCluster`] with up to three similar names.
    pub fn require_cluster(
        &self,
        name: &ClusterName,
    ) -> Result<Arc<ClusterRecord>, DirectoryError> {
        let tables = self.read();
        tables
            .cluster_by_name(name.as_str())
            .ok_or_else(|| DirectoryError::UnknownCluster {
                name: name.clone(),
                similar: similar::names(name.as_str(), tables.cluster_names()),
            })
    }

    /// How many clusters there are.
    pub fn cluster_count(&self) -> usize {
        self.read().cluster_names().count()
    }

    /// Whether the store can be read; waits for the disk beside the runtime.
    ///
    /// # Errors
    /// [`DirectoryError`] when it can not.
    pub async fn check_store(&self) -> Result<(), DirectoryError> {
        let store = Arc::clone(&self.store);
        let read = tokio::task::spawn_blocking(move || store.schema_version()).await;
        read.map_err(|_| DirectoryError::Interrupted)??;
        Ok(())
    }

    /// All clusters, by name.
    pub fn list_clusters(&self) -> Vec<Arc<ClusterRecord>> {
        self.read().clusters()
    }

    /// All tokens, also those that have ended, by id.
    pub fn list_tokens(&self) -> Vec<Arc<TokenRecord>> {
        self.read().tokens()
    }

    /// The cluster of this name, registered now if it is new. Without `id`, a new one gets a random id.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when the name has another id or the id another name; store errors.
    pub async fn ensure_cluster(
        self: &Arc<Self>,
        name: ClusterName,
        id: Option<ClusterId>,
    ) -> Result<EnsuredCluster, DirectoryError> {
        self.change(move |directory| {
            if let Some(cluster) = directory.read().matching_cluster(&name, id.as_ref())? {
                return Ok(EnsuredCluster {
                    cluster,
                    created: false,
                });
            }
            let id = match id {
                Some(id) => id,
                None => ClusterId::from_random(random()?),
            };
            let created_at = whole_second(Timestamp::now());
            let cluster = Arc::new(ClusterRecord::new(id, name, created_at));
            directory.store.put_cluster(&cluster)?;
            directory.write().add_cluster(Arc::clone(&cluster));
            Ok(EnsuredCluster {
                cluster,
                created: true,
            })
        })
        .await
    }

    /// Makes a token. The secret is returned once and kept nowhere.
    ///
    /// # Errors
    /// [`DirectoryError::UnknownClusterId`], [`DirectoryError::AlreadyExpired`]; store errors.
    pub async fn create_token(
        self: &Arc<Self>,
        new: NewToken,
    ) -> Result<(Arc<TokenRecord>, SecretString), DirectoryError> {
        self.change(move |directory| {
            let id = TokenId::from_random(random::<ID_BYTES>()?);
            let secret = random::<SECRET_BYTES>()?;
            let (record, text) = directory.record_of(new, id, &secret, Timestamp::now())?;
            directory.store.put_token(&record)?;
            let record = Arc::new(record);
            directory
                .write()
                .put_token(TokenEntry::new(Arc::clone(&record)));
            Ok((record, text))
        })
        .await
    }

    /// Revokes a token and ends its live streams. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`DirectoryError::UnknownToken`]; store errors, after which the token still works.
    pub async fn revoke_token(
        self: &Arc<Self>,
        id: TokenId,
    ) -> Result<Arc<TokenRecord>, DirectoryError> {
        self.change(move |directory| {
            let known = directory
                .read()
                .token(id)
                .map(|entry| Arc::clone(&entry.record));
            directory.end_token(&known.ok_or(DirectoryError::UnknownToken(id))?)
        })
        .await
    }

    /// Revokes a token that is known; changes nothing where that was done before.
    fn end_token(&self, known: &Arc<TokenRecord>) -> Result<Arc<TokenRecord>, DirectoryError> {
        if known.revoked_at.is_some() {
            return Ok(Arc::clone(known));
        }
        let revoked_at = Some(whole_second(Timestamp::now()));
        let record = Arc::new(TokenRecord {
            revoked_at,
            ..TokenRecord::clone(known)
        });
        self.store.put_token(&record)?;
        self.write().revoke(Arc::clone(&record));
        Ok(record)
    }

    /// Ends the grants of all tokens that have expired by `now`. Cheap when there are none.
    pub fn sweep(&self, now: Timestamp) {
        if self.read().any_due(now) {
            self.write().expire(now);
        }
    }

    /// Sweeps twice a second, until `stop`.
    pub async fn sweep_until(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sweep(Timestamp::now());
        }
    }

    fn record_of(
        &self,
        new: NewToken,
        id: TokenId,
        secret: &[u8; SECRET_BYTES],
        now: Timestamp,
    ) -> Result<(TokenRecord, SecretString), DirectoryError> {
        let (kind, subject, role, clusters, scopes, expires_at) = match new {
            NewToken::Agent {
                cluster,
                expires_at,
            } => {
                let name = self.named(&cluster)?.name.clone();
                let only = ClusterAccess::List(vec![cluster]);
                (
                    TokenKind::Agent,
                    name.into(),
                    None,
                    only,
                    vec![],
                    expires_at,
                )
            }
            NewToken::User {
                subject,
                role,
                clusters,
                scopes,
                expires_at,
            } => (
                TokenKind::User,
                subject,
                Some(role),
                clusters,
                scopes,
                expires_at,
            ),
        };
        if let ClusterAccess::List(ids) = &clusters {
            ids.iter().try_for_each(|id| self.named(id).map(drop))?;
        }
        if let Some(at) = expires_at.filter(|at| *at <= now) {
            return Err(DirectoryError::AlreadyExpired { at });
        }
        let text = token::format(kind, id, secret);
        let hash =
            token::parse(text.expose_secret()).map(|parsed| SecretHash::of(parsed.secret))?;
        let created_at = whole_second(now);
        let record = TokenRecord {
            id,
            kind,
            hash,
            subject,
            role,
            clusters,
            scopes,
            created_at,
            expires_at,
            revoked_at: None,
        };
        Ok((record, text))
    }

    fn named(&self, id: &ClusterId) -> Result<Arc<ClusterRecord>, DirectoryError> {
        self.cluster_by_id(id.as_str())
            .ok_or_else(|| DirectoryError::UnknownClusterId(id.clone()))
    }

    /// Runs one change where blocking is allowed. It runs to its end even if the caller goes away: what was written
    /// is always shown, and a revocation always takes effect.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Self) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = run(&this);
            drop(turn);
            result
        });
        task.await.map_err(|_| DirectoryError::Interrupted)?
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random<const N: usize>() -> Result<[u8; N], DirectoryError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(DirectoryError::Random)?;
    Ok(bytes)
}

/// Times in records and answers carry no fractions, as in the contract's examples.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests;
