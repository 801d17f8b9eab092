//! Deployments: added once with their manifest, replaced as they go on, listed by cluster.

use std::io::Write;

use jiff::Timestamp;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, WriteTransaction};

use super::RedbStore;
use super::fault::{Fault, decode};
use super::retention::{KEEP_KEYS, LAST};
use super::tables::{BY_CLUSTER, CLUSTERS, DEPLOYMENTS, Deployments, KEYS, MANIFESTS, UNFINISHED};
use crate::gateway::store::{
    Added, AuditPage, AuditQuery, AuditRecord, BackupError, Counts, DeploymentId, DeploymentRecord,
    History, StoreError,
};
use crate::wire::token::ClusterId;

/// Deployments in one list: a few megabytes where they have a hundred objects each.
pub const MAX_DEPLOYMENT_PAGE: usize = 200;

type Records = ReadOnlyTable<&'static str, &'static [u8]>;

impl History for RedbStore {
    fn add_deployment(
        &self,
        record: &DeploymentRecord,
        manifest: &str,
    ) -> Result<Added, StoreError> {
        self.write(|txn| add(txn, record, manifest))
    }

    fn put_deployment(&self, record: &DeploymentRecord) -> Result<bool, StoreError> {
        self.write(|txn| {
            let mut deployments = Deployments::open(txn)?;
            let kept = deployments.records.get(record.id.as_str())?.is_some();
            if kept {
                deployments.put(record)?;
            }
            Ok(kept)
        })
    }

    fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRecord>, StoreError> {
        self.read(|txn| find(&txn.open_table(DEPLOYMENTS)?, id.as_str()))
    }

    fn manifest(&self, id: DeploymentId) -> Result<Option<String>, StoreError> {
        self.read(|txn| {
            let found = txn.open_table(MANIFESTS)?.get(id.as_str())?;
            Ok(found.map(|manifest| manifest.value().to_owned()))
        })
    }

    fn list_deployments(
        &self,
        cluster: &ClusterId,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        let limit = limit.min(MAX_DEPLOYMENT_PAGE);
        let end = before.as_ref().map_or(LAST, DeploymentId::as_str);
        self.read(|txn| list(txn, cluster.as_str(), end, limit))
    }

    fn deployment_by_key(
        &self,
        cluster: &ClusterId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        self.read(|txn| {
            let keys = txn.open_table(KEYS)?;
            let Some(id) = keys.get((cluster.as_str(), key))? else {
                return Ok(None);
            };
            let found: Option<DeploymentRecord> = find(&txn.open_table(DEPLOYMENTS)?, id.value())?;
            Ok(found.filter(|record| is_fresh(record, now)))
        })
    }

    fn unfinished_deployments(&self) -> Result<Vec<DeploymentRecord>, StoreError> {
        self.read(|txn| {
            let records = txn.open_table(DEPLOYMENTS)?;
            let mut unfinished = Vec::new();
            for row in txn.open_table(UNFINISHED)?.iter()? {
                unfinished.extend(find(&records, row?.0.value())?);
            }
            Ok(unfinished)
        })
    }

    fn prune(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.prune_old(now)
    }

    fn append_audit(&self, records: &[AuditRecord]) -> Result<u64, StoreError> {
        self.append(records)
    }

    fn list_audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.list_log(query)
    }

    fn backup(&self, out: &mut dyn Write) -> Result<Counts, BackupError> {
        self.dump(out)
    }
}

fn add(txn: &WriteTransaction, record: &DeploymentRecord, manifest: &str) -> Result<Added, Fault> {
    let cluster = record.cluster.as_str();
    if txn.open_table(CLUSTERS)?.get(cluster)?.is_none() {
        return Ok(Added::NoCluster);
    }
    let mut deployments = Deployments::open(txn)?;
    if let Some(existing) = deployments.same(record)? {
        return Ok(Added::Existing(Box::new(existing)));
    }
    deployments.put(record)?;
    deployments.put_key(record)?;
    deployments.manifests.insert(record.id.as_str(), manifest)?;
    deployments.trim(cluster, record.created_at)?;
    Ok(Added::New)
}

impl Deployments<'_> {
    /// The deployment that a request has already led to.
    fn same(&self, record: &DeploymentRecord) -> Result<Option<DeploymentRecord>, Fault> {
        if let Some(same) = find(&self.records, record.id.as_str())? {
            return Ok(Some(same));
        }
        let Some(idempotency) = &record.idempotency else {
            return Ok(None);
        };
        let pair = (record.cluster.as_str(), idempotency.key.as_str());
        let Some(id) = self.keys.get(pair)? else {
            return Ok(None);
        };
        let found: Option<DeploymentRecord> = find(&self.records, id.value())?;
        Ok(found.filter(|found| is_fresh(found, record.created_at)))
    }
}

fn is_fresh(record: &DeploymentRecord, now: Timestamp) -> bool {
    now.duration_since(record.created_at) < KEEP_KEYS
}

fn find(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
    id: &str,
) -> Result<Option<DeploymentRecord>, Fault> {
    let json = records.get(id)?;
    json.map(|json| decode(id, json.value())).transpose()
}

fn list(
    txn: &ReadTransaction,
    cluster: &str,
    end: &str,
    limit: usize,
) -> Result<Vec<DeploymentRecord>, Fault> {
    let records: Records = txn.open_table(DEPLOYMENTS)?;
    let index = txn.open_table(BY_CLUSTER)?;
    let mut page = Vec::new();
    for row in index
        .range((cluster, "")..(cluster, end))?
        .rev()
        .take(limit)
    {
        page.extend(find(&records, row?.0.value().1)?);
    }
    Ok(page)
}
