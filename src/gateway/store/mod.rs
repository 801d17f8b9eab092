//! What survives a restart: clusters and tokens, behind a small trait.
//!
//! Only the directory calls it. The calls block on the disk: run them where blocking is allowed.

mod records;
mod redb;

pub use self::records::{ClusterAccess, ClusterRecord, SecretHash, TokenRecord};
pub use self::redb::RedbStore;

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::wire::token::ClusterId;

/// Everything a store holds, as read at start.
#[derive(Debug, Default)]
pub struct Contents {
    /// All clusters, in no order.
    pub clusters: Vec<ClusterRecord>,
    /// All tokens, also those that have ended, in no order.
    pub tokens: Vec<TokenRecord>,
}

/// Where records are kept. A write is durable when the call returns without an error.
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads everything. Called once, at start.
    ///
    /// # Errors
    /// [`StoreError`], as for every method here.
    fn load(&self) -> Result<Contents, StoreError>;

    /// Adds a cluster, or replaces the one with its id.
    fn put_cluster(&self, cluster: &ClusterRecord) -> Result<(), StoreError>;

    /// Removes a cluster; removing what is not there is no error.
    fn remove_cluster(&self, id: &ClusterId) -> Result<(), StoreError>;

    /// Adds a token, or replaces the one with its id.
    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError>;

    /// The version of the layout that the store holds.
    fn schema_version(&self) -> Result<u64, StoreError>;
}

/// A store that can't be opened, read or written. Each message says whose fault it is and what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "{} is in use by another process, most likely a gateway with this state directory: \
         stop it, or use its admin socket", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The operating system denies access.
    #[error("no permission for {}: run as the user that owns it, or give it to this user", path.display())]
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space, or over quota.
    #[error("the disk that holds {} is full: free some space and try again; nothing was changed", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes make no sense.
    #[error(
        "{} is damaged ({detail}): stop the gateway, keep the file aside and restore a backup", path.display()
    )]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// A newer gateway wrote it.
    #[error(
        "{} has schema version {found} and this gateway knows {supported}: use the newer gateway again", path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The newest version that this program can read.
        supported: u64,
    },
    /// Any other failure of the disk or the file system.
    #[error("cannot use {}: check the disk and the file system it is on", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Sorts an I/O error by whose fault it is.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other kinds have one remedy"
    )]
    pub(super) fn from_io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            io::ErrorKind::InvalidData => Self::Corrupted {
                path,
                detail: source.to_string(),
            },
            _ => Self::Io { path, source },
        }
    }
}
