//! What survives a restart: clusters and tokens, deployments and the audit log, behind two small traits.
//!
//! The directory calls [`Store`], the platform API calls [`History`]. The calls block on the disk: run them where
//! blocking is allowed. `redb` is the one file that is behind both; `backup`, `restore` and `check` are what an
//! operator does to it (`docs/store.md`).

mod audit;
mod backup;
mod check;
mod deployment;
mod error;
mod records;
mod redb;
mod restore;

pub use self::audit::{AuditOutcome, AuditPage, AuditQuery, AuditRecord};
pub use self::backup::{BackupError, BackupFault, Counts, verify};
pub use self::check::Report;
pub use self::deployment::{
    DeploymentEvent, DeploymentId, DeploymentIdError, DeploymentRecord, DeploymentState,
    Idempotency, MAX_HISTORY, RequestedBy,
};
pub use self::error::StoreError;
pub use self::records::{ClusterAccess, ClusterRecord, SecretHash, TokenRecord};
pub use self::redb::{
    KEEP_DEPLOYMENTS, KEEP_FINISHED, KEEP_KEYS, MAX_AUDIT, MAX_DEPLOYMENT_PAGE, RedbStore,
};
pub use self::restore::{RestoreError, Restored, restore};

use std::fmt;
use std::io::Write;

use jiff::Timestamp;

use crate::wire::token::ClusterId;

/// What the directory reads at start.
#[derive(Debug, Default)]
pub struct Contents {
    /// All clusters, in no order.
    pub clusters: Vec<ClusterRecord>,
    /// All tokens, also those that have ended, in no order.
    pub tokens: Vec<TokenRecord>,
}

/// Where clusters and tokens are kept. A write is durable when the call returns without an error.
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads all clusters and tokens. Called once, at start.
    ///
    /// # Errors
    /// [`StoreError`], as for every method here.
    fn load(&self) -> Result<Contents, StoreError>;

    /// Adds a cluster, or replaces the one with its id.
    fn put_cluster(&self, cluster: &ClusterRecord) -> Result<(), StoreError>;

    /// Removes a cluster and its deployments; removing what is not there is no error. The deployments go first, in
    /// several transactions: after a crash in between, the cluster is still there and can be removed again.
    fn remove_cluster(&self, id: &ClusterId) -> Result<(), StoreError>;

    /// Adds a token, or replaces the one with its id.
    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError>;

    /// The version of the layout that the store holds.
    fn schema_version(&self) -> Result<u64, StoreError>;
}

/// Where deployments and the audit log are kept. A write is durable when the call returns without an error.
pub trait History: Send + Sync + fmt::Debug {
    /// Adds a deployment with its manifest, unless one with its idempotency key (or its id) is there, and removes what
    /// has been kept for long enough; all in one transaction.
    ///
    /// # Errors
    /// [`StoreError`], as for every method here; nothing was added then.
    fn add_deployment(
        &self,
        record: &DeploymentRecord,
        manifest: &str,
    ) -> Result<Added, StoreError>;

    /// Replaces the record of a deployment; `false` where it is gone, such as with its cluster, and then stays gone.
    fn put_deployment(&self, record: &DeploymentRecord) -> Result<bool, StoreError>;

    /// The deployment with this id.
    fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRecord>, StoreError>;

    /// The manifest that the deployment with this id was made with.
    fn manifest(&self, id: DeploymentId) -> Result<Option<String>, StoreError>;

    /// Deployments of a cluster, the newest first, from those older than `before` on; at most
    /// [`MAX_DEPLOYMENT_PAGE`].
    fn list_deployments(
        &self,
        cluster: &ClusterId,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentRecord>, StoreError>;

    /// The deployment of a cluster that was made with this idempotency key less than [`KEEP_KEYS`] before `now`.
    fn deployment_by_key(
        &self,
        cluster: &ClusterId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<DeploymentRecord>, StoreError>;

    /// All deployments that have not ended, the oldest first: what to take up again at start.
    fn unfinished_deployments(&self) -> Result<Vec<DeploymentRecord>, StoreError>;

    /// Removes deployments that ended and are older than [`KEEP_FINISHED`], in bounded transactions, and answers how
    /// many. Adding one does so too, for a few; this is for what nobody adds to any more. Once a day is enough.
    fn prune(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Appends entries to the audit log, all or none, and forgets the oldest beyond [`MAX_AUDIT`]. The store numbers
    /// them; answers the number of the last, 0 for none at all.
    fn append_audit(&self, records: &[AuditRecord]) -> Result<u64, StoreError>;

    /// Entries of the audit log, the newest first.
    fn list_audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// Writes a backup of everything, clusters and tokens included, as it is at this moment; changes meanwhile do
    /// not show in it and do not wait for it.
    ///
    /// # Errors
    /// [`BackupError`]; what was written so far is not a whole backup and says so.
    fn backup(&self, out: &mut dyn Write) -> Result<Counts, BackupError>;
}

/// What has come of [`History::add_deployment`].
#[derive(Debug, Clone, PartialEq)]
pub enum Added {
    /// It is there.
    New,
    /// Nothing was added: this one has the same idempotency key, or the same id.
    Existing(Box<DeploymentRecord>),
    /// Nothing was added: there is no such cluster (any more).
    NoCluster,
}
