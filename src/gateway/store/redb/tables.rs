//! The layout: tables, their versions, and the way from one to the next.
//!
//! A field that is added to a record needs no new version, if records without it can be read. A table or a key that
//! is added does: an older gateway would not keep it up to date.

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, TableError, WriteTransaction};

use super::fault::{Fault, encode};
use crate::gateway::store::{DeploymentRecord, Idempotency};

/// The newest layout that this code reads and writes. 1 had clusters and tokens alone.
pub(super) const SCHEMA: u64 = 2;
pub(super) const SCHEMA_KEY: &str = "schema_version";

/// Numbers about the store itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Clusters by id.
pub(super) const CLUSTERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("clusters");
/// Tokens by id.
pub(super) const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
/// Deployments by id, so by time.
pub(super) const DEPLOYMENTS: TableDefinition<'_, &str, &[u8]> =
    TableDefinition::new("deployments");
/// Manifests by their deployment's id.
pub(super) const MANIFESTS: TableDefinition<'_, &str, &str> = TableDefinition::new("manifests");
/// Entries of the audit log by their number.
pub(super) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");

/// Index: a cluster's id and a deployment's.
pub(super) const BY_CLUSTER: TableDefinition<'_, (&str, &str), ()> =
    TableDefinition::new("cluster_deployments");
/// Index: deployments that have not ended.
pub(super) const UNFINISHED: TableDefinition<'_, &str, ()> =
    TableDefinition::new("unfinished_deployments");
/// Index: a cluster's id and an idempotency key to a deployment's id.
pub(super) const KEYS: TableDefinition<'_, (&str, &str), &str> =
    TableDefinition::new("idempotency_keys");
/// Index: the same backwards, so by time.
pub(super) const KEY_AGES: TableDefinition<'_, &str, (&str, &str)> =
    TableDefinition::new("idempotency_ages");

/// Zero for a file that was just made.
pub(super) fn schema_version(txn: &ReadTransaction) -> Result<u64, Fault> {
    let Some(meta) = existing(txn.open_table(META))? else {
        return Ok(0);
    };
    Ok(meta.get(SCHEMA_KEY)?.map_or(0, |version| version.value()))
}

/// Makes what an older layout lacks. Nothing that it has is touched, so this is the way from 0 as from 1; it is one
/// transaction, so a crash leaves the one or the other.
pub(super) fn migrate(txn: &WriteTransaction) -> Result<(), Fault> {
    txn.open_table(CLUSTERS)?;
    txn.open_table(TOKENS)?;
    txn.open_table(AUDIT)?;
    Deployments::open(txn)?;
    txn.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    Ok(())
}

/// A table, or none in an older layout.
pub(super) fn existing<K: redb::Key + 'static, V: redb::Value + 'static>(
    opened: Result<ReadOnlyTable<K, V>, TableError>,
) -> Result<Option<ReadOnlyTable<K, V>>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Everything about deployments, open for one change.
pub(super) struct Deployments<'txn> {
    pub(super) records: Table<'txn, &'static str, &'static [u8]>,
    pub(super) manifests: Table<'txn, &'static str, &'static str>,
    pub(super) by_cluster: Table<'txn, (&'static str, &'static str), ()>,
    pub(super) unfinished: Table<'txn, &'static str, ()>,
    pub(super) keys: Table<'txn, (&'static str, &'static str), &'static str>,
    pub(super) key_ages: Table<'txn, &'static str, (&'static str, &'static str)>,
}

impl<'txn> Deployments<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            records: txn.open_table(DEPLOYMENTS)?,
            manifests: txn.open_table(MANIFESTS)?,
            by_cluster: txn.open_table(BY_CLUSTER)?,
            unfinished: txn.open_table(UNFINISHED)?,
            keys: txn.open_table(KEYS)?,
            key_ages: txn.open_table(KEY_AGES)?,
        })
    }

    /// Writes a record and what leads to it.
    pub(super) fn put(&mut self, record: &DeploymentRecord) -> Result<(), Fault> {
        let json = encode(record.id.as_str(), record)?;
        self.put_json(record, &json)
    }

    /// [`Deployments::put`] of a record that was read from this JSON.
    pub(super) fn put_json(&mut self, record: &DeploymentRecord, json: &[u8]) -> Result<(), Fault> {
        let id = record.id.as_str();
        self.records.insert(id, json)?;
        self.by_cluster.insert((record.cluster.as_str(), id), ())?;
        if record.state.is_finished() {
            self.unfinished.remove(id)?;
        } else {
            self.unfinished.insert(id, ())?;
        }
        Ok(())
    }

    /// Lets a deployment be found by its idempotency key, and no older one any more.
    pub(super) fn put_key(&mut self, record: &DeploymentRecord) -> Result<(), Fault> {
        let Some(Idempotency { key, .. }) = &record.idempotency else {
            return Ok(());
        };
        let pair = (record.cluster.as_str(), key.as_str());
        let older = self.keys.insert(pair, record.id.as_str())?;
        let older = older.map(|id| id.value().to_owned());
        if let Some(older) = older {
            self.key_ages.remove(older.as_str())?;
        }
        self.key_ages.insert(record.id.as_str(), pair)?;
        Ok(())
    }

    /// Forgets the idempotency key of a deployment.
    pub(super) fn remove_key(&mut self, id: &str) -> Result<(), Fault> {
        if let Some(pair) = self.key_ages.remove(id)? {
            self.keys.remove(pair.value())?;
        }
        Ok(())
    }

    /// Removes a deployment and all that belongs to it.
    pub(super) fn remove(&mut self, cluster: &str, id: &str) -> Result<(), Fault> {
        self.remove_key(id)?;
        self.records.remove(id)?;
        self.manifests.remove(id)?;
        self.unfinished.remove(id)?;
        self.by_cluster.remove((cluster, id))?;
        Ok(())
    }
}
