//! A backup's records into an empty store, many in one transaction.

use std::io::BufRead;

use redb::{ReadableTableMetadata, WriteTransaction};

use super::RedbStore;
use super::fault::Fault;
use super::tables::{AUDIT, CLUSTERS, DEPLOYMENTS, Deployments, SCHEMA, TOKENS, existing};
use crate::gateway::store::backup::{Entry, Reader, Row};
use crate::gateway::store::{BackupFault, Counts, StoreError};

/// Records in one transaction: each transaction waits for the disk.
const RECORDS_AT_ONCE: usize = 1_000;
/// Bytes in one transaction.
const BYTES_AT_ONCE: usize = 8 << 20;

/// Why a backup was not loaded.
pub(in crate::gateway::store) enum LoadFault {
    /// It is at fault.
    Backup(BackupFault),
    /// It is of a newer layout.
    NewerSchema(u64),
    /// The new store is at fault.
    Store(StoreError),
}

impl RedbStore {
    /// The newest layout.
    pub(in crate::gateway::store) const SCHEMA: u64 = SCHEMA;

    /// Puts all records of a backup into this store, which is empty.
    pub(in crate::gateway::store) fn load_backup(
        &self,
        input: impl BufRead,
    ) -> Result<Counts, LoadFault> {
        let mut reader = Reader::open(input).map_err(LoadFault::Backup)?;
        if reader.header().schema > SCHEMA {
            return Err(LoadFault::NewerSchema(reader.header().schema));
        }
        loop {
            let (batch, more) = next_batch(&mut reader).map_err(LoadFault::Backup)?;
            self.write(|txn| insert(txn, &batch))
                .map_err(LoadFault::Store)?;
            if !more {
                return Ok(reader.counts());
            }
        }
    }

    /// Whether nothing is in it that somebody could miss.
    pub(in crate::gateway::store) fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|txn| {
            for table in [CLUSTERS, TOKENS, DEPLOYMENTS] {
                let table = existing(txn.open_table(table))?;
                if !table.map_or(Ok(true), |table| table.is_empty())? {
                    return Ok(false);
                }
            }
            let log = existing(txn.open_table(AUDIT))?;
            Ok(log.map_or(Ok(true), |log| log.is_empty())?)
        })
    }
}

fn next_batch(reader: &mut Reader<impl BufRead>) -> Result<(Vec<Entry>, bool), BackupFault> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < RECORDS_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(entry) = reader.next()? else {
            return Ok((batch, false));
        };
        bytes += entry.json.len();
        batch.push(entry);
    }
    Ok((batch, true))
}

fn insert(txn: &WriteTransaction, batch: &[Entry]) -> Result<(), Fault> {
    let mut clusters = txn.open_table(CLUSTERS)?;
    let mut tokens = txn.open_table(TOKENS)?;
    let mut log = txn.open_table(AUDIT)?;
    let mut deployments = Deployments::open(txn)?;
    for Entry { row, json } in batch {
        match row {
            Row::Cluster(cluster) => drop(clusters.insert(cluster.id.as_str(), json.as_slice())?),
            Row::Token(token) => drop(tokens.insert(token.id.as_str(), json.as_slice())?),
            Row::Audit(entry) => drop(log.insert(entry.sequence, json.as_slice())?),
            Row::Manifest(id, text) => {
                drop(deployments.manifests.insert(id.as_str(), text.as_str())?);
            }
            Row::Deployment(record) => {
                deployments.put_json(record, json)?;
                deployments.put_key(record)?;
            }
        }
    }
    Ok(())
}
