//! Everything in the store, as the lines of a backup.

use std::io::{self, Write};

use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable};
use serde::de::IgnoredAny;

use super::RedbStore;
use super::fault::{Fault, decode};
use super::tables::{self, AUDIT, CLUSTERS, DEPLOYMENTS, MANIFESTS, TOKENS, existing};
use crate::gateway::store::backup::{Table, Writer};
use crate::gateway::store::{BackupError, Counts};

impl RedbStore {
    /// Writes all records from one read transaction.
    pub(super) fn dump(&self, out: &mut dyn Write) -> Result<Counts, BackupError> {
        // What takes the lines fails in its own way, which is none of the store's.
        let mut refused = None;
        let dumped = self.read(|txn| {
            dump(txn, out).map_err(|fault| match fault {
                DumpFault::Store(fault) => fault,
                DumpFault::Write(error) => {
                    refused = Some(error);
                    Fault::closed()
                }
            })
        });
        match refused {
            Some(error) => Err(BackupError::Write(error)),
            None => Ok(dumped?),
        }
    }
}

enum DumpFault {
    Store(Fault),
    Write(io::Error),
}

impl<E: Into<redb::Error>> From<E> for DumpFault {
    fn from(error: E) -> Self {
        Self::Store(error.into().into())
    }
}

fn dump(txn: &ReadTransaction, out: &mut dyn Write) -> Result<Counts, DumpFault> {
    let schema = tables::schema_version(txn).map_err(DumpFault::Store)?;
    let mut writer = Writer::begin(out, schema, Timestamp::now()).map_err(DumpFault::Write)?;
    for (name, table) in [
        (Table::Clusters, CLUSTERS),
        (Table::Tokens, TOKENS),
        (Table::Deployments, DEPLOYMENTS),
    ] {
        let Some(table) = existing(txn.open_table(table)).map_err(DumpFault::Store)? else {
            continue;
        };
        for row in table.iter()? {
            let (key, json) = row?;
            put(&mut writer, name, key.value(), json.value())?;
        }
    }
    if let Some(table) = existing(txn.open_table(MANIFESTS)).map_err(DumpFault::Store)? {
        for row in table.iter()? {
            let (key, text) = row?;
            let json = serde_json::to_vec(text.value()).map_err(|e| DumpFault::Write(e.into()))?;
            put(&mut writer, Table::Manifests, key.value(), &json)?;
        }
    }
    if let Some(table) = existing(txn.open_table(AUDIT)).map_err(DumpFault::Store)? {
        for row in table.iter()? {
            let (sequence, json) = row?;
            let key = sequence.value().to_string();
            put(&mut writer, Table::Audit, &key, json.value())?;
        }
    }
    writer.finish().map_err(DumpFault::Write)
}

/// Adds a record as it is, once it is known to be JSON: one that is not would damage the lines after it.
fn put(writer: &mut Writer<'_>, table: Table, key: &str, json: &[u8]) -> Result<(), DumpFault> {
    decode::<IgnoredAny>(key, json).map_err(DumpFault::Store)?;
    if json.contains(&b'\n') {
        return Err(DumpFault::Store(Fault::record(key, "it has a line end")));
    }
    writer.record(table, key, json).map_err(DumpFault::Write)
}
