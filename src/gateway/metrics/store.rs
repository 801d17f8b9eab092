//! A store whose writes are timed.

use std::io::Write;

use jiff::Timestamp;
use prometheus::{Histogram, IntCounter};
use tokio::time::Instant;

use crate::gateway::store::{
    Added, AuditPage, AuditQuery, AuditRecord, BackupError, ClusterRecord, Contents, Counts,
    DeploymentId, DeploymentRecord, History, Store, StoreError, TokenRecord,
};
use crate::metrics::{Registry, Table, label};
use crate::wire::token::ClusterId;

/// Upper bounds for a write that waits for the disk.
const WRITE: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

label! {
    /// Why a write to the store failed.
    pub(in crate::gateway) StoreFailure as "reason" {
        /// Another process has it open.
        Locked = "locked",
        /// The system denies access.
        Permission = "permission",
        /// No space.
        DiskFull = "disk_full",
        /// What is there makes no sense.
        Corrupted = "corrupted",
        /// Anything else of the disk or file system.
        Io = "io",
    }
}

/// Another store, and what its writes cost.
#[derive(Debug)]
pub(in crate::gateway) struct MeteredStore<S> {
    inner: S,
    seconds: Histogram,
    errors: Table<IntCounter, StoreFailure>,
}

impl<S> MeteredStore<S> {
    /// Counts what `inner` does in `registry`.
    pub(in crate::gateway) fn new(inner: S, registry: &mut Registry) -> prometheus::Result<Self> {
        Ok(Self {
            inner,
            seconds: registry.histogram(
                "store_write_seconds",
                "Time until a change to the store is on the disk.",
                &WRITE,
            )?,
            errors: registry.counters(
                "store_errors_total",
                "Changes to the store that failed, by cause.",
            )?,
        })
    }

    fn write<T>(&self, change: impl FnOnce(&S) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let result = change(&self.inner);
        match &result {
            Ok(_) => self.seconds.observe(begun.elapsed().as_secs_f64()),
            Err(error) => self.errors.get(error.into()).inc(),
        }
        result
    }
}

impl<S: Store> Store for MeteredStore<S> {
    fn load(&self) -> Result<Contents, StoreError> {
        self.inner.load()
    }

    fn put_cluster(&self, cluster: &ClusterRecord) -> Result<(), StoreError> {
        self.write(|store| store.put_cluster(cluster))
    }

    fn remove_cluster(&self, id: &ClusterId) -> Result<(), StoreError> {
        self.write(|store| store.remove_cluster(id))
    }

    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.write(|store| store.put_token(token))
    }

    fn schema_version(&self) -> Result<u64, StoreError> {
        self.inner.schema_version()
    }
}

impl<S: History> History for MeteredStore<S> {
    fn add_deployment(
        &self,
        record: &DeploymentRecord,
        manifest: &str,
    ) -> Result<Added, StoreError> {
        self.write(|store| store.add_deployment(record, manifest))
    }

    fn put_deployment(&self, record: &DeploymentRecord) -> Result<bool, StoreError> {
        self.write(|store| store.put_deployment(record))
    }

    fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRecord>, StoreError> {
        self.inner.deployment(id)
    }

    fn manifest(&self, id: DeploymentId) -> Result<Option<String>, StoreError> {
        self.inner.manifest(id)
    }

    fn list_deployments(
        &self,
        cluster: &ClusterId,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        self.inner.list_deployments(cluster, before, limit)
    }

    fn deployment_by_key(
        &self,
        cluster: &ClusterId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        self.inner.deployment_by_key(cluster, key, now)
    }

    fn unfinished_deployments(&self) -> Result<Vec<DeploymentRecord>, StoreError> {
        self.inner.unfinished_deployments()
    }

    fn prune(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|store| store.prune(now))
    }

    fn append_audit(&self, records: &[AuditRecord]) -> Result<u64, StoreError> {
        self.write(|store| store.append_audit(records))
    }

    fn list_audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.inner.list_audit(query)
    }

    fn backup(&self, out: &mut dyn Write) -> Result<Counts, BackupError> {
        self.inner.backup(out)
    }
}

impl From<&StoreError> for StoreFailure {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Locked { .. } => Self::Locked,
            StoreError::Permission { .. } => Self::Permission,
            StoreError::DiskFull { .. } => Self::DiskFull,
            StoreError::Corrupted { .. } | StoreError::NewerSchema { .. } => Self::Corrupted,
            StoreError::Missing { .. } | StoreError::Io { .. } => Self::Io,
        }
    }
}
