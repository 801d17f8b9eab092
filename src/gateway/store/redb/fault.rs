//! What goes wrong inside a transaction, before it is said in the store's terms.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gateway::store::StoreError;

/// A failure of the database, or of a record in it.
#[derive(Debug)]
pub(super) enum Fault {
    /// redb says so.
    Redb(redb::Error),
    /// A record that can't be read.
    Record { key: String, detail: String },
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Fault {
    pub(super) fn closed() -> Self {
        Self::Redb(redb::Error::DatabaseClosed)
    }

    pub(super) fn record(key: &str, detail: impl ToString) -> Self {
        Self::Record {
            key: key.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// Whether redb takes no more work until the file is opened again.
    pub(super) fn breaks_the_file(&self) -> bool {
        matches!(
            self,
            Self::Redb(redb::Error::Io(_) | redb::Error::PreviousIo)
        )
    }

    /// The same, said of this file.
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Redb(error) => classify(path, error),
            Self::Record { key, detail } => StoreError::Corrupted {
                path: path.to_owned(),
                detail: format!("record '{key}': {detail}"),
            },
        }
    }
}

/// The record as it is kept.
pub(super) fn encode(key: &str, record: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(record).map_err(|error| Fault::record(key, error))
}

/// The record that is kept under this key.
pub(super) fn decode<T: DeserializeOwned>(key: &str, json: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(json).map_err(|error| Fault::record(key, error))
}

/// Says in our terms what redb reports.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is left means a file that is not as this code wrote it"
)]
pub(super) fn classify(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    let failed = |path, what| StoreError::Io {
        path,
        source: io::Error::other(what),
    };
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::Locked { path }
        }
        redb::Error::Io(source) => StoreError::from_io(path, source),
        redb::Error::PreviousIo => failed(path, "an earlier write failed"),
        redb::Error::DatabaseClosed => failed(path, "a write failed meanwhile; try again"),
        other => StoreError::Corrupted {
            path,
            detail: other.to_string(),
        },
    }
}
