//! Reads a backup's lines, and believes none of them before it has been looked at.

use std::io::{BufRead, Read};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{BackupFault, Counts, End, FORMAT, Header, MAX_LINE, Table, VERSION};
use crate::gateway::store::{
    AuditRecord, ClusterRecord, DeploymentId, DeploymentRecord, TokenRecord,
};

/// A record of a backup.
pub(in crate::gateway::store) struct Entry {
    pub(in crate::gateway::store) row: Row,
    /// As it is kept, with what this version does not know of it.
    pub(in crate::gateway::store) json: Vec<u8>,
}

/// What a record is.
pub(in crate::gateway::store) enum Row {
    Cluster(ClusterRecord),
    Token(TokenRecord),
    Deployment(Box<DeploymentRecord>),
    Manifest(DeploymentId, String),
    Audit(AuditRecord),
}

/// A line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Record {
        table: Table,
        key: String,
        value: Value,
    },
    End(End),
}

/// Reads a backup, record by record. Only when there is no next one is it known to be whole.
pub(in crate::gateway::store) struct Reader<R> {
    input: R,
    hash: Sha256,
    counts: Counts,
    header: Header,
    /// The line that was read last.
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub(in crate::gateway::store) fn open(input: R) -> Result<Self, BackupFault> {
        let mut reader = Self {
            input,
            hash: Sha256::new(),
            counts: Counts::default(),
            header: Header::default(),
            line: Vec::new(),
            number: 0,
        };
        match reader.advance() {
            Ok(true) => {}
            Err(BackupFault::Read(error)) => return Err(BackupFault::Read(error)),
            Ok(false) | Err(_) => return Err(BackupFault::Other),
        }
        reader.header = header(&reader.line)?;
        reader.hash.update(&reader.line);
        Ok(reader)
    }

    /// The first line.
    pub(in crate::gateway::store) fn header(&self) -> &Header {
        &self.header
    }

    /// What was read so far.
    pub(in crate::gateway::store) fn counts(&self) -> Counts {
        self.counts
    }

    /// The next record; none at the end of a backup that is whole.
    pub(in crate::gateway::store) fn next(&mut self) -> Result<Option<Entry>, BackupFault> {
        if !self.advance()? {
            return Err(self.truncated());
        }
        match serde_json::from_slice(&self.line).map_err(|error| self.damaged(error))? {
            Line::Record { table, key, value } => {
                self.hash.update(&self.line);
                *self.counts.of(table) += 1;
                let row = row(table, &key, &value).map_err(|detail| self.damaged(detail))?;
                let json = serde_json::to_vec(&value).map_err(|error| self.damaged(error))?;
                Ok(Some(Entry { row, json }))
            }
            Line::End(end) => self.end(&end).map(|()| None),
        }
    }

    fn end(&mut self, end: &End) -> Result<(), BackupFault> {
        let found = HEXLOWER.encode(&self.hash.finalize_reset());
        if end.records != self.counts.total() || end.sha256 != found {
            return Err(self.damaged("the checksum of all lines before it is another"));
        }
        if self.advance()? {
            return Err(self.damaged("it comes after the last one"));
        }
        Ok(())
    }

    /// Reads a whole line with its end; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool, BackupFault> {
        self.line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .map_err(BackupFault::Read)?;
        if read == 0 {
            return Ok(false);
        }
        if self.line.last() == Some(&b'\n') {
            self.number += 1;
            return Ok(true);
        }
        if read >= MAX_LINE {
            self.number += 1;
            return Err(self.damaged("it is too long"));
        }
        Err(self.truncated())
    }

    fn truncated(&self) -> BackupFault {
        BackupFault::Truncated { line: self.number }
    }

    fn damaged(&self, detail: impl ToString) -> BackupFault {
        BackupFault::Damaged {
            line: self.number,
            detail: detail.to_string(),
        }
    }
}

fn header(line: &[u8]) -> Result<Header, BackupFault> {
    let value: Value = serde_json::from_slice(line).map_err(|_| BackupFault::Other)?;
    if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(BackupFault::Other);
    }
    let version = value.get("version").and_then(Value::as_u64);
    let version = version.and_then(|version| u32::try_from(version).ok());
    match version {
        Some(found) if found > VERSION => Err(BackupFault::Newer { found }),
        _ => serde_json::from_value(value).map_err(|error| BackupFault::Damaged {
            line: 1,
            detail: error.to_string(),
        }),
    }
}

fn row(table: Table, key: &str, value: &Value) -> Result<Row, String> {
    let (row, own) = match table {
        Table::Clusters => {
            let record: ClusterRecord = parse(value)?;
            let own = record.id.to_string();
            (Row::Cluster(record), own)
        }
        Table::Tokens => {
            let record: TokenRecord = parse(value)?;
            let own = record.id.to_string();
            (Row::Token(record), own)
        }
        Table::Deployments => {
            let record: Box<DeploymentRecord> = parse(value)?;
            let own = record.id.to_string();
            (Row::Deployment(record), own)
        }
        Table::Manifests => {
            let id: DeploymentId = key.parse().map_err(|_| "its key is no deployment's id")?;
            (Row::Manifest(id, parse(value)?), key.to_owned())
        }
        Table::Audit => {
            let record: AuditRecord = parse(value)?;
            let own = record.sequence.to_string();
            (Row::Audit(record), own)
        }
    };
    if own == key {
        Ok(row)
    } else {
        Err(format!("it has the key '{key}' and is of '{own}'"))
    }
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
