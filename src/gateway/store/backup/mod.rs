//! The backup's format: lines of JSON, readable by any later version.
//!
//! The first line is the [`Header`]. Each line after it is one record: its table, its key and the record itself as it
//! is kept. The last line has their number and the SHA-256 of all bytes before it, so that a backup that was cut off
//! or changed is known for it. Indexes are not in it: they are made anew. `write` makes it, `read` reads it.

mod read;
mod write;

pub(super) use read::{Entry, Reader, Row};
pub(super) use write::Writer;

use std::fmt;
use std::io::{self, BufRead};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::StoreError;

/// What the first line says that it is.
const FORMAT: &str = "pipeops-gateway-backup";
/// The newest form of the lines.
const VERSION: u32 = 1;
/// Bytes of a line: a manifest of 1 MiB, of which each byte may take six.
const MAX_LINE: usize = 16 << 20;

/// The first line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The layout of the store that it was made of.
    pub(super) schema: u64,
    created_at: Timestamp,
    /// The version of the program that made it.
    program: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// How many lines of records there are.
    records: u64,
    /// Of all bytes before this line, in lowercase hex.
    sha256: String,
}

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Table {
    /// Under their ids.
    Clusters,
    /// Under their ids.
    Tokens,
    /// Under their ids.
    Deployments,
    /// Under their deployment's id.
    Manifests,
    /// Under their numbers.
    Audit,
}

impl Table {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Tokens => "tokens",
            Self::Deployments => "deployments",
            Self::Manifests => "manifests",
            Self::Audit => "audit",
        }
    }
}

/// How many records there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clusters.
    pub clusters: u64,
    /// Tokens, also those that have ended.
    pub tokens: u64,
    /// Deployments.
    pub deployments: u64,
    /// Their manifests.
    pub manifests: u64,
    /// Entries of the audit log.
    pub audit: u64,
}

impl Counts {
    pub(super) fn of(&mut self, table: Table) -> &mut u64 {
        match table {
            Table::Clusters => &mut self.clusters,
            Table::Tokens => &mut self.tokens,
            Table::Deployments => &mut self.deployments,
            Table::Manifests => &mut self.manifests,
            Table::Audit => &mut self.audit,
        }
    }

    fn total(&self) -> u64 {
        self.clusters + self.tokens + self.deployments + self.manifests + self.audit
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clusters, {} tokens, {} deployments, {} audit entries",
            self.clusters, self.tokens, self.deployments, self.audit
        )
    }
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What should take it does not.
    #[error("cannot write the backup: check the disk, or the program that reads it")]
    Write(#[source] io::Error),
}

/// Why a file is no backup that can be used.
#[derive(Debug, Error)]
pub enum BackupFault {
    /// Another kind of file.
    #[error("it is not a backup of a gateway's store")]
    Other,
    /// It ends too early.
    #[error(
        "it ends after line {line}, before its last line: the copy is not whole, take another one"
    )]
    Truncated {
        /// The last line that is there.
        line: u64,
    },
    /// It is not as it was written.
    #[error("line {line} is damaged ({detail}): take another copy")]
    Damaged {
        /// Counted from 1.
        line: u64,
        /// What does not fit.
        detail: String,
    },
    /// A newer program made it.
    #[error(
        "it has version {found} of the format and this program knows {VERSION}: use the newer program"
    )]
    Newer {
        /// What it has.
        found: u32,
    },
    /// It can't be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// Reads a whole backup and answers what is in it.
///
/// # Errors
/// [`BackupFault`] where it is not whole.
pub fn verify(input: impl BufRead) -> Result<Counts, BackupFault> {
    let mut reader = Reader::open(input)?;
    while reader.next()?.is_some() {}
    Ok(reader.counts())
}

#[cfg(test)]
mod tests;
