//! Reads every record and follows every reference.

use std::collections::{HashMap, HashSet};

use redb::{Database, ReadTransaction, ReadableTable, ReadableTableMetadata};
use serde::de::DeserializeOwned;

use super::RedbStore;
use super::fault::Fault;
use super::tables::{
    self, AUDIT, BY_CLUSTER, CLUSTERS, DEPLOYMENTS, KEYS, MANIFESTS, TOKENS, UNFINISHED, existing,
};
use crate::gateway::store::check::Report;
use crate::gateway::store::{
    AuditRecord, ClusterAccess, ClusterRecord, DeploymentRecord, StoreError, TokenRecord,
};
use crate::wire::token::TokenKind;

impl RedbStore {
    /// Has redb check the file, then checks every record in it.
    pub(in crate::gateway::store) fn inspect(&self) -> Result<Report, StoreError> {
        let mut report = Report::default();
        let checked = self.exclusive().as_mut().map(Database::check_integrity);
        if let Some(sound) = checked {
            report.repaired = !sound.map_err(|error| self.failed(error.into()))?;
        }
        self.inspect_records(&mut report)?;
        Ok(report)
    }

    /// Checks every record.
    pub(in crate::gateway::store) fn inspect_records(
        &self,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        self.read(|txn| {
            report.schema = tables::schema_version(txn)?;
            let clusters = clusters(txn, report)?;
            tokens(txn, &clusters, report)?;
            deployments(txn, &clusters, report)?;
            indexes(txn, report)?;
            log(txn, report)
        })
    }
}

fn parse<T: DeserializeOwned>(
    what: &str,
    key: &str,
    json: &[u8],
    report: &mut Report,
) -> Option<T> {
    serde_json::from_slice(json)
        .inspect_err(|error| report.problem(format!("{what} '{key}' cannot be read: {error}")))
        .ok()
}

fn clusters(txn: &ReadTransaction, report: &mut Report) -> Result<HashSet<String>, Fault> {
    let mut ids = HashSet::new();
    let mut names = HashMap::new();
    let Some(table) = existing(txn.open_table(CLUSTERS))? else {
        return Ok(ids);
    };
    for row in table.iter()? {
        let (key, json) = row?;
        let key = key.value();
        report.counts.clusters += 1;
        ids.insert(key.to_owned());
        let Some(cluster) = parse::<ClusterRecord>("cluster", key, json.value(), report) else {
            continue;
        };
        own("cluster", key, cluster.id.as_str(), report);
        if let Some(other) = names.insert(cluster.name.clone(), key.to_owned()) {
            let name = cluster.name;
            report.problem(format!(
                "clusters '{other}' and '{key}' have one name, {name}"
            ));
        }
    }
    Ok(ids)
}

fn tokens(
    txn: &ReadTransaction,
    clusters: &HashSet<String>,
    report: &mut Report,
) -> Result<(), Fault> {
    let Some(table) = existing(txn.open_table(TOKENS))? else {
        return Ok(());
    };
    for row in table.iter()? {
        let (key, json) = row?;
        let key = key.value();
        report.counts.tokens += 1;
        let Some(token) = parse::<TokenRecord>("token", key, json.value(), report) else {
            continue;
        };
        own("token", key, token.id.as_str(), report);
        // A person's token may outlive one of its clusters; an agent's is for nothing else.
        let live_agent = token.kind == TokenKind::Agent && token.revoked_at.is_none();
        if let (true, ClusterAccess::List(ids)) = (live_agent, &token.clusters) {
            for id in ids.iter().filter(|id| !clusters.contains(id.as_str())) {
                report.problem(format!(
                    "token '{key}' is for the cluster '{id}', which is not there: revoke it"
                ));
            }
        }
    }
    Ok(())
}

fn deployments(
    txn: &ReadTransaction,
    clusters: &HashSet<String>,
    report: &mut Report,
) -> Result<(), Fault> {
    let Some(table) = existing(txn.open_table(DEPLOYMENTS))? else {
        return Ok(());
    };
    let manifests = txn.open_table(MANIFESTS)?;
    let by_cluster = txn.open_table(BY_CLUSTER)?;
    let unfinished = txn.open_table(UNFINISHED)?;
    for row in table.iter()? {
        let (key, json) = row?;
        let key = key.value();
        report.counts.deployments += 1;
        let Some(record) = parse::<DeploymentRecord>("deployment", key, json.value(), report)
        else {
            continue;
        };
        own("deployment", key, record.id.as_str(), report);
        let cluster = record.cluster.as_str();
        if !clusters.contains(cluster) {
            report.problem(format!(
                "deployment '{key}' is of the cluster '{cluster}', which is not there"
            ));
        }
        if manifests.get(key)?.is_none() {
            report.problem(format!("deployment '{key}' has no manifest"));
        }
        let listed = by_cluster.get((cluster, key))?.is_some();
        if !listed || unfinished.get(key)?.is_some() == record.state.is_finished() {
            report.problem(format!(
                "deployment '{key}' is not in the indexes that it should be in"
            ));
        }
    }
    Ok(())
}

/// What leads to a deployment that is not there.
fn indexes(txn: &ReadTransaction, report: &mut Report) -> Result<(), Fault> {
    let Some(records) = existing(txn.open_table(DEPLOYMENTS))? else {
        return Ok(());
    };
    let mut check = |what: &str, id: &str| -> Result<(), Fault> {
        if records.get(id)?.is_none() {
            report.problem(format!(
                "{what} of the deployment '{id}' is there without it"
            ));
        }
        Ok(())
    };
    for row in txn.open_table(MANIFESTS)?.iter()? {
        check("the manifest", row?.0.value())?;
    }
    for row in txn.open_table(BY_CLUSTER)?.iter()? {
        check("the place in a cluster", row?.0.value().1)?;
    }
    for row in txn.open_table(UNFINISHED)?.iter()? {
        check("the mark", row?.0.value())?;
    }
    for row in txn.open_table(KEYS)?.iter()? {
        check("the idempotency key", row?.1.value())?;
    }
    report.counts.manifests = txn.open_table(MANIFESTS)?.len()?;
    Ok(())
}

fn log(txn: &ReadTransaction, report: &mut Report) -> Result<(), Fault> {
    let Some(table) = existing(txn.open_table(AUDIT))? else {
        return Ok(());
    };
    for row in table.iter()? {
        let (sequence, json) = row?;
        let key = sequence.value().to_string();
        report.counts.audit += 1;
        if let Some(entry) = parse::<AuditRecord>("audit entry", &key, json.value(), report) {
            own("audit entry", &key, &entry.sequence.to_string(), report);
        }
    }
    Ok(())
}

fn own(what: &str, key: &str, id: &str, report: &mut Report) {
    if key != id {
        report.problem(format!("{what} '{id}' is kept as '{key}'"));
    }
}
