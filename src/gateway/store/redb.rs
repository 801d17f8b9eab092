//! One file, `gateway.redb`, by [redb](https://docs.rs/redb): JSON values under their ids, every commit synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ClusterRecord, Contents, Store, StoreError, TokenRecord};
use crate::wire::token::ClusterId;

/// The newest layout that this code reads and writes.
const SCHEMA: u64 = 1;
/// The whole store of ten thousand clusters is about this large; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const CLUSTERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("clusters");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");
const SCHEMA_KEY: &str = "schema_version";

/// The embedded store. One process at a time.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// `None` only after a failure that closed it and until the next call opens it again.
    db: Mutex<Option<Database>>,
}

impl RedbStore {
    /// The name of the file in the state directory.
    pub const FILE_NAME: &'static str = "gateway.redb";

    /// Opens the store in `state_dir`; makes the directory (0700) and the file (0600) when they are missing.
    ///
    /// # Errors
    /// [`StoreError`]: in use, no permission, disk full, damaged, or written by a newer gateway.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        create_private_dir(state_dir)?;
        let path = state_dir.join(Self::FILE_NAME);
        let db = open_database(&path)?;
        let store = Self {
            path,
            db: Mutex::new(Some(db)),
        };
        store.prepare()?;
        Ok(store)
    }

    /// Refuses a newer layout before anything is written, and makes the tables of a fresh file.
    fn prepare(&self) -> Result<(), StoreError> {
        let found = self.schema_version()?;
        if found > SCHEMA {
            return Err(StoreError::NewerSchema {
                path: self.path.clone(),
                found,
                supported: SCHEMA,
            });
        }
        if found == SCHEMA {
            return Ok(());
        }
        self.write(|txn| {
            txn.open_table(CLUSTERS)?;
            txn.open_table(TOKENS)?;
            txn.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
            Ok(())
        })
    }

    /// Runs one read, or one write transaction, opening the file again if an earlier failure closed it.
    fn with<T>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut slot = self.lock();
        let db = match slot.take() {
            Some(db) => db,
            None => open_database(&self.path)?,
        };
        let result = run(&db);
        // redb refuses all work after an I/O error until the file is opened anew: a disk that was full for a minute
        // must not cost a restart.
        if !matches!(result, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            *slot = Some(db);
        }
        result.map_err(|error| self.fault(error))
    }

    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.with(|db| {
            let mut txn = db.begin_write()?;
            txn.set_durability(Durability::Immediate)?;
            change(&txn)?;
            Ok(txn.commit()?)
        })
    }

    fn put(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
        record: &impl Serialize,
    ) -> Result<(), StoreError> {
        let json = serde_json::to_vec(record).map_err(|error| self.damaged(key, &error))?;
        self.write(|txn| {
            txn.open_table(table)?.insert(key, json.as_slice())?;
            Ok(())
        })
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.with(|db| {
            let table = db.begin_read()?.open_table(table)?;
            let rows = table.iter()?.map(|row| {
                row.map(|(key, value)| (key.value().to_owned(), value.value().to_vec()))
            });
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        let parse = |(key, json): (String, Vec<u8>)| {
            serde_json::from_slice(&json).map_err(|e| self.damaged(&key, &e))
        };
        rows.into_iter().map(parse).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self, key: &str, error: &serde_json::Error) -> StoreError {
        StoreError::Corrupted {
            path: self.path.clone(),
            detail: format!("record '{key}': {error}"),
        }
    }

    fn fault(&self, error: redb::Error) -> StoreError {
        classify(&self.path, error)
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Contents, StoreError> {
        Ok(Contents {
            clusters: self.all(CLUSTERS)?,
            tokens: self.all(TOKENS)?,
        })
    }

    fn put_cluster(&self, cluster: &ClusterRecord) -> Result<(), StoreError> {
        self.put(CLUSTERS, cluster.id.as_str(), cluster)
    }

    fn remove_cluster(&self, id: &ClusterId) -> Result<(), StoreError> {
        self.write(|txn| {
            txn.open_table(CLUSTERS)?.remove(id.as_str())?;
            Ok(())
        })
    }

    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.put(TOKENS, token.id.as_str(), token)
    }

    /// Zero for a file that was just made.
    fn schema_version(&self) -> Result<u64, StoreError> {
        self.with(|db| match db.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get(SCHEMA_KEY)?.map_or(0, |version| version.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        })
    }
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    let file = open_private(path).map_err(|source| StoreError::from_io(path, source))?;
    let backend = FileBackend::new(file).map_err(|error| classify(path, error.into()))?;
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        // The file is small, and a damaged one must end in an error, not in a panic on a later read.
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)
        .map_err(|error| classify(path, error.into()))
}

fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// A directory that exists is left as it is: it may be a volume whose mode is not ours to change. Files in it are 0600.
fn create_private_dir(dir: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    let mode = made
        .and_then(|()| fs::metadata(dir))
        .map_err(|source| StoreError::from_io(dir, source))?;
    if mode.permissions().mode() & 0o002 != 0 {
        tracing::warn!(dir = %dir.display(), "anyone may write to the state directory: chmod it to 0700");
    }
    Ok(())
}

/// Says in our terms what redb reports.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is left means a file that is not as this code wrote it"
)]
fn classify(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::Locked { path }
        }
        redb::Error::Io(source) => StoreError::from_io(path, source),
        redb::Error::PreviousIo => StoreError::Io {
            path,
            source: io::Error::other("an earlier write failed"),
        },
        other => StoreError::Corrupted {
            path,
            detail: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::store::{ClusterAccess, SecretHash};
    use crate::wire::token::{TokenId, TokenKind};
    use jiff::Timestamp;

    fn cluster(id: &str) -> ClusterRecord {
        ClusterRecord {
            id: id.parse().unwrap(),
            name: format!("{id}-name").parse().unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn token() -> TokenRecord {
        TokenRecord {
            id: TokenId::from_random([3; 10]),
            kind: TokenKind::Agent,
            hash: SecretHash::of("secret"),
            subject: "one".parse().unwrap(),
            role: None,
            clusters: ClusterAccess::List(vec!["cls-1".parse().unwrap()]),
            scopes: vec![],
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn records_survive_reopening_and_files_are_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let store = RedbStore::open(&dir).unwrap();
        store.put_cluster(&cluster("cls-1")).unwrap();
        store.put_cluster(&cluster("cls-2")).unwrap();
        store.remove_cluster(&cluster("cls-2").id).unwrap();
        store.remove_cluster(&cluster("cls-3").id).unwrap();
        store.put_token(&token()).unwrap();
        let revoked = TokenRecord {
            revoked_at: Some(Timestamp::UNIX_EPOCH),
            ..token()
        };
        store.put_token(&revoked).unwrap();
        drop(store);

        let store = RedbStore::open(&dir).unwrap();
        let contents = store.load().unwrap();
        assert_eq!(contents.clusters, [cluster("cls-1")]);
        assert_eq!(contents.tokens, [revoked]);
        assert_eq!(store.schema_version().unwrap(), SCHEMA);
        assert_eq!(
            (mode(&dir), mode(&dir.join(RedbStore::FILE_NAME))),
            (0o700, 0o600)
        );
    }

    #[test]
    fn a_second_opener_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let _first = RedbStore::open(dir.path()).unwrap();
        let error = RedbStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        assert!(
            error.to_string().contains("gateway.redb is in use"),
            "{error}"
        );
    }

    #[test]
    fn a_newer_layout_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path()).unwrap();
        store
            .write(|txn| {
                txn.open_table(META)?.insert(SCHEMA_KEY, SCHEMA + 1)?;
                Ok(())
            })
            .unwrap();
        drop(store);
        let error = RedbStore::open(dir.path()).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::NewerSchema {
                    found: 2,
                    supported: 1,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_file_or_record_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RedbStore::FILE_NAME);
        fs::write(
            &path,
            "not a database, but long enough to have a header".repeat(100),
        )
        .unwrap();
        let error = RedbStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupted { .. }), "{error}");

        fs::remove_file(&path).unwrap();
        let store = RedbStore::open(dir.path()).unwrap();
        store
            .write(|txn| {
                txn.open_table(TOKENS)?.insert("x", b"{".as_slice())?;
                Ok(())
            })
            .unwrap();
        let error = store.load().unwrap_err();
        assert!(error.to_string().contains("record 'x'"), "{error}");
    }

    #[test]
    fn opens_again_after_an_io_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(dir.path()).unwrap();
        let failed = store
            .with::<()>(|_| Err(redb::Error::Io(io::ErrorKind::StorageFull.into())))
            .unwrap_err();
        assert!(matches!(failed, StoreError::DiskFull { .. }), "{failed}");
        store.put_token(&token()).unwrap();
        assert_eq!(store.load().unwrap().tokens.len(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = RedbStore::open(&file.path().join("state")).unwrap_err();
        assert!(error.to_string().contains("state"), "{error}");
    }
}
