//! Why a store can't be opened, read or written.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

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
    /// There is nothing to read.
    #[error("there is no store at {}: check --state-dir, or --config that names it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
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
