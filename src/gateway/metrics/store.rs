//! A store whose writes are timed.

use prometheus::{Histogram, IntCounter};
use tokio::time::Instant;

use crate::gateway::store::{ClusterRecord, Contents, Store, StoreError, TokenRecord};
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

impl<S: Store> MeteredStore<S> {
    /// Counts what `inner` does in `registry`.
    pub(in crate::gateway) fn new(inner: S, registry: &mut Registry) -> prometheus::Result<Self> {
        Ok(Self {
            inner,
            seconds: registry.histogram(
                "store_write_seconds",
                "Time until a change to clusters or tokens is on the disk.",
                &WRITE,
            )?,
            errors: registry.counters(
                "store_errors_total",
                "Changes to clusters or tokens that failed, by cause.",
            )?,
        })
    }

    fn write(&self, change: impl FnOnce(&S) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let result = change(&self.inner);
        match &result {
            Ok(()) => self.seconds.observe(begun.elapsed().as_secs_f64()),
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

impl From<&StoreError> for StoreFailure {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Locked { .. } => Self::Locked,
            StoreError::Permission { .. } => Self::Permission,
            StoreError::DiskFull { .. } => Self::DiskFull,
            StoreError::Corrupted { .. } | StoreError::NewerSchema { .. } => Self::Corrupted,
            StoreError::Io { .. } => Self::Io,
        }
    }
}
